"""The nodes: schemas and short bodies."""

from comfy_api.latest import ComfyExtension, io

from .adapters.folders import register_folders

register_folders()  # before the loader nodes list its files


class CanvasExtension(ComfyExtension):
    """Everything the pack adds to ComfyUI."""

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        from .canvas import CanvasExpand, CanvasPreview
        from .compositing import CanvasComposite
        from .fill import CanvasFill
        from .follow_your_canvas import (
            CanvasEmptyPrompt,
            CanvasEncodeLayout,
            CanvasLoadLayoutEncoder,
            CanvasOutpaintRounds,
        )
        from .guidance import CanvasGuider
        from .levels import CanvasHierarchicalSampler, CanvasKeyframePlan
        from .loaders import CanvasLoadModel
        from .m3ddm import CanvasGlobalFrames
        from .sampling import CanvasTiledSampler
        from .windows import CanvasApplyWindows, CanvasTimeWindows, CanvasWindows

        return [
            CanvasExpand,
            CanvasWindows,
            CanvasPreview,
            CanvasLoadModel,
            CanvasLoadLayoutEncoder,
            CanvasEncodeLayout,
            CanvasApplyWindows,
            CanvasTimeWindows,
            CanvasGuider,
            CanvasTiledSampler,
            CanvasOutpaintRounds,
            CanvasComposite,
            CanvasFill,
            CanvasEmptyPrompt,
            CanvasKeyframePlan,
            CanvasHierarchicalSampler,
            CanvasGlobalFrames,
        ]
