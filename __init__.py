"""ComfyUI Video Canvas. Imports wait until ComfyUI asks for the nodes, so that importing this file is free."""

WEB_DIRECTORY = "./web"


async def comfy_entrypoint():  # noqa: ANN201 - the type lives in ComfyUI
    """Called by ComfyUI's loader."""
    from .nodes import CanvasExtension

    return CanvasExtension()
