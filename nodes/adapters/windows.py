"""Spatial windows for any model: each window becomes an area conditioning, and core does the rest.

Core crops the latent and every condition that has its shape, batches windows by free memory, weights the predictions
with our mask, sums and normalises them, and spreads them over several GPUs. No slot is taken and nothing is replaced.
"""

import copy
import math
from collections.abc import Iterator, Sequence
from typing import Any
from uuid import uuid5

import comfy.utils
import torch
from comfy.conds import CONDList, CONDNoiseShape
from comfy.patcher_extension import WrappersMP

from ...canvas_core.errors import SamplingError
from ...canvas_core.plan.boxes import Box, Size
from ...canvas_core.plan.windows import WindowPlan, WindowSettings, shares

KEY = "canvas_windows"
"""Under which a MODEL carries the wrappers, and in its options the windows they belong to"""

FUZZ = 8
"""Cells over which core fades the border of an area."""


class BatchLimit:
    """A model that calls every batch of more than `rows` too large for the memory."""

    def __init__(self, model: Any, rows: int):
        self._model, self._rows = model, rows

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def memory_required(self, input_shape: list[int], *args: Any, **kwargs: Any) -> float:
        return math.inf if input_shape[0] > self._rows else self._model.memory_required(input_shape, *args, **kwargs)


class SpatialWindows:
    """The wrappers that one patched model carries."""

    def __init__(self, settings: WindowSettings, windows_at_once: int, cell: int, step: int):
        self.settings, self.windows_at_once, self.cell, self.step = settings, windows_at_once, cell, step
        self._masks: dict[Any, dict[Box, torch.Tensor]] = {}
        self._controls: dict[tuple[int, Box], Any] = {}
        self._hints: dict[int, list[torch.Tensor | None]] = {}

    def calc_cond_batch(
        self, executor: Any, model: Any, conds: list[Any], x: torch.Tensor, timestep: torch.Tensor, model_options: dict
    ) -> Any:
        """Wrapper of the same name: every condition is split into one per window."""
        plan = self._plan(x)
        if len(plan) < 2:
            return executor(model, conds, x, timestep, model_options)
        if self.windows_at_once:
            groups = sum(group is not None for group in conds)
            model = BatchLimit(model, self.windows_at_once * groups * x.shape[0])
        masks = self._window_masks(plan, x)
        split = [group and self._split_group(group, masks, x, timestep) for group in conds]
        return executor(model, split, x, timestep, model_options)

    def prepare_sampling(
        self, executor: Any, model: Any, noise_shape: Any, conds: Any, *args: Any, **kwargs: Any
    ) -> Any:
        """Wrapper of the same name: memory is asked for one window, not for the canvas."""
        window = self.settings.window_on(_size_of(noise_shape), self.cell)
        return executor(model, [*noise_shape[:-2], *window], conds, *args, **kwargs)

    def outer_sample(self, executor: Any, *args: Any, **kwargs: Any) -> Any:
        """Wrapper of the same name: what was made for one sampling run is dropped after it."""
        try:
            return executor(*args, **kwargs)
        finally:
            self._masks.clear()
            self._controls.clear()
            self._hints.clear()

    def _plan(self, x: torch.Tensor) -> WindowPlan:
        return self.settings.plan(_size_of(x.shape), self.cell, self.step)

    def _window_masks(self, plan: WindowPlan, x: torch.Tensor) -> dict[Box, torch.Tensor]:
        """Weights of each window on the whole canvas, [1, (T,) H, W] float32; together they are 1 everywhere."""
        key = (tuple(x.shape[2:]), x.device)
        if key not in self._masks:
            parts = shares(plan, self.settings, x.device)
            self._masks[key] = {box: part.expand(1, *x.shape[2:]) for box, part in parts.items()}
        return self._masks[key]

    def _split_group(
        self, group: list[dict], masks: dict[Box, torch.Tensor], x: torch.Tensor, timestep: torch.Tensor
    ) -> list[dict]:
        canvas = Size(*x.shape[-2:])
        whole = _without_defaults(group, x, timestep)
        return [part for cond in whole for part in self._split(cond, masks, canvas)]

    def _split(self, cond: dict, masks: dict[Box, torch.Tensor], canvas: Size) -> Iterator[dict]:
        area = _user_area(cond, canvas)
        for box, weights in masks.items():
            seen = box.intersect(area)
            if seen is None:
                continue
            part = cond | {
                "area": (seen.h, seen.w, seen.y, seen.x),
                "mask": weights * _user_mask(cond, weights, canvas),
                "model_conds": {key: _crop_cond(value, seen, canvas) for key, value in cond["model_conds"].items()},
                "uuid": uuid5(cond["uuid"], str(seen)),  # caches of other packs tell conditions apart by it
            }
            if cond.get("control") is not None:
                part["control"] = self._control(cond["control"], seen, canvas)
            yield part

    def _control(self, control: Any, box: Box, canvas: Size) -> Any:
        """The part of a ControlNet that belongs to a window; the same object for all conditions, so that they batch."""
        key = (id(control), box)
        if key not in self._controls:
            self._controls[key] = self._crop_control(control, box, canvas)
        return self._controls[key]

    def _crop_control(self, control: Any, box: Box, canvas: Size) -> Any:
        # A shallow copy: the control's own copy() forgets what pre_run has set.
        part = copy.copy(control)
        part.cond_hint = None
        ratio = control.compression_ratio
        if control.vae is not None:  # core encodes the hint after scaling it by both
            ratio *= control.vae.spacial_compression_encode()
        hints = self._whole_hints(control, Size(canvas.h * ratio, canvas.w * ratio))
        original, *extra = [None if hint is None else _crop_hint(hint, box.scaled(ratio)) for hint in hints]
        part.cond_hint_original, part.extra_concat_orig = original, extra
        if control.previous_controlnet is not None:
            part.previous_controlnet = self._control(control.previous_controlnet, box, canvas)
        clones = getattr(control, "multigpu_clones", {})
        part.multigpu_clones = {device: self._control(clone, box, canvas) for device, clone in clones.items()}
        return part

    def _whole_hints(self, control: Any, size: Size) -> list[torch.Tensor | None]:
        """The hint and what is concatenated to it, scaled to the canvas once for all windows."""
        if id(control) not in self._hints:
            hints = [control.cond_hint_original, *control.extra_concat_orig]
            self._hints[id(control)] = [_scale_hint(hint, size, control.upscale_algorithm) for hint in hints]
        return self._hints[id(control)]


def no_canvas(got: str) -> SamplingError:
    """The error for a latent without height and width."""
    return SamplingError(
        f"the latent is {got}, but windows need one with height and width and cannot cut packed audio and video yet; sample the video alone, without its audio latent, or sample without windows"
    )


def _size_of(shape: Sequence[int]) -> Size:
    """Height and width of a latent. Raises SamplingError for packed streams, which core passes as one row."""
    if len(shape) < 4:
        raise no_canvas(f"of shape {list(shape)}")
    return Size(*shape[-2:])


def _user_area(cond: dict, canvas: Size) -> Box:
    """The area a user gave a condition, in cells; its last two sizes and offsets are spatial."""
    area = cond.get("area")
    if area is None:
        return Box(0, 0, *canvas)
    n = len(area) // 2
    return Box(area[-2], area[-1], min(area[n - 2], canvas.h - area[-2]), min(area[n - 1], canvas.w - area[-1]))


def _user_mask(cond: dict, like: torch.Tensor, canvas: Size) -> torch.Tensor:
    """The mask of a condition, [1 or F, (T,) H, W]: the user's own, core's soft border of an area, or 1."""
    mask = cond.get("mask")
    if mask is None:
        return _area_ramp(_user_area(cond, canvas), canvas).to(like) if "area" in cond else like.new_ones(())
    while mask.ndim < like.ndim:
        mask = mask.unsqueeze(1)
    return mask.to(like.device)


def _area_ramp(area: Box, canvas: Size) -> torch.Tensor:
    """[H, W]: 1 inside the area, falling over 8 cells to sides that are not the canvas border, as core has it."""

    def ramp(start: int, length: int, total: int) -> torch.Tensor:
        reach = max(min(FUZZ, length // 4), 1)
        rising = ((torch.arange(length) + 1) / reach).clamp(max=1)
        line = torch.zeros(total)
        line[start : start + length] = (rising if start else 1) * (rising.flip(0) if start + length < total else 1)
        return line

    return torch.outer(ramp(area.y, area.h, canvas.h), ramp(area.x, area.w, canvas.w))


def _is_active(cond: dict, timestep: torch.Tensor) -> bool:
    now = timestep[0]
    return not (now > cond.get("timestep_start", math.inf) or now < cond.get("timestep_end", -math.inf))


def _without_defaults(conds: list[dict], x: torch.Tensor, timestep: torch.Tensor) -> list[dict]:
    """Default conditions as masked ones that cover what all others leave over, so that they can be split too."""
    defaults = [cond for cond in conds if "default" in cond]
    if not defaults:
        return conds
    canvas, like = Size(*x.shape[-2:]), x.new_ones((1, *x.shape[2:]))
    left = like.clone()
    others = [cond for cond in conds if "default" not in cond]
    for cond in others:
        if _is_active(cond, timestep):
            mask = like * _user_mask(cond, like, canvas) * cond.get("mask_strength", 1.0) * cond.get("strength", 1.0)
            outside = torch.ones(tuple(canvas), device=x.device, dtype=torch.bool)
            _user_area(cond, canvas).crop(outside).zero_()
            left = left - mask.masked_fill(outside, 0)
    left = left.clamp(min=0)
    if not left.any():
        return others
    kept = [
        {key: value for key, value in cond.items() if key != "default"} | {"mask": left, "strength": 1.0}
        for cond in defaults
    ]
    return others + kept


def _crop_cond(value: Any, box: Box, canvas: Size) -> Any:
    """A condition as one window sees it. Core crops CONDNoiseShape; other values of the latent's size, such as the
    control video of Wan VACE, are cropped here."""
    if isinstance(value, CONDNoiseShape):
        return value
    content = getattr(value, "cond", None)
    if _is_canvas(content, canvas):
        return value._copy_with(box.crop(content))
    if isinstance(value, CONDList) and any(_is_canvas(item, canvas) for item in content):
        return value._copy_with([box.crop(item) if _is_canvas(item, canvas) else item for item in content])
    return value


def _is_canvas(content: Any, canvas: Size) -> bool:
    return isinstance(content, torch.Tensor) and content.ndim >= 4 and tuple(content.shape[-2:]) == tuple(canvas)


def _scale_hint(hint: torch.Tensor | None, size: Size, method: str) -> torch.Tensor | None:
    if hint is None or hint.shape[-2:] == (1, 1):  # core's stand-in for "everywhere"
        return hint
    return comfy.utils.common_upscale(hint, size.w, size.h, method, "center")


def _crop_hint(hint: torch.Tensor, box: Box) -> torch.Tensor:
    return hint if hint.shape[-2:] == (1, 1) else box.crop(hint).clone()


def windows_at_once(model: Any) -> int:
    """The batch limit that windows applied earlier to this MODEL have, or 0."""
    windows = model.model_options.get(KEY)
    return windows.windows_at_once if windows else 0


def apply_windows(model: Any, settings: WindowSettings, windows_at_once: int = 0) -> Any:
    """A clone of the MODEL that evaluates the canvas window by window. Applying it again replaces the first."""
    patched = model.clone()
    cell = getattr(model.model.latent_format, "spacial_downscale_ratio", 8)
    patch = getattr(model.model.diffusion_model, "patch_size", 1)
    step = patch[-1] if isinstance(patch, tuple | list) else patch
    windows = patched.model_options[KEY] = SpatialWindows(settings, windows_at_once, cell, step)
    wrappers = {
        WrappersMP.CALC_COND_BATCH: windows.calc_cond_batch,
        WrappersMP.PREPARE_SAMPLING: windows.prepare_sampling,
        WrappersMP.OUTER_SAMPLE: windows.outer_sample,
    }
    for kind, wrapper in wrappers.items():
        patched.remove_wrappers_with_key(kind, KEY)
        patched.add_wrapper_with_key(kind, KEY, wrapper)
    return patched
