"""Spatial windows for any model: each window becomes an area conditioning, and core does the rest.

Core crops the latent and every condition that has its shape, batches windows by free memory, weights the predictions
with our mask, sums and normalises them, and spreads them over several GPUs. No slot is taken and nothing is replaced.
"""

import copy
import math
from collections.abc import Iterator
from typing import Any

import comfy.utils
import torch
from comfy.patcher_extension import WrappersMP

from ...canvas_core.canvas import Box, Size
from ...canvas_core.windows import WindowPlan, WindowSettings

KEY = "canvas_windows"


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

    def __init__(self, settings: WindowSettings, windows_at_once: int, cell: int):
        self.settings, self.windows_at_once, self.cell = settings, windows_at_once, cell
        self._masks: dict[Any, dict[Box, torch.Tensor]] = {}
        self._controls: dict[tuple[int, Box], Any] = {}

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
        split = [
            None if group is None else [part for cond in group for part in self._split(cond, masks, plan.size)]
            for group in conds
        ]
        return executor(model, split, x, timestep, model_options)

    def prepare_sampling(
        self, executor: Any, model: Any, noise_shape: Any, conds: Any, *args: Any, **kwargs: Any
    ) -> Any:
        """Wrapper of the same name: memory is asked for one window, not for the canvas."""
        if len(noise_shape) >= 4:
            window = self.settings.window_on(Size(*noise_shape[-2:]), self.cell)
            noise_shape = [*noise_shape[:-2], *window]
        return executor(model, noise_shape, conds, *args, **kwargs)

    def outer_sample(self, executor: Any, *args: Any, **kwargs: Any) -> Any:
        """Wrapper of the same name: what was made for one sampling run is dropped after it."""
        try:
            return executor(*args, **kwargs)
        finally:
            self._masks.clear()
            self._controls.clear()

    def _plan(self, x: torch.Tensor) -> WindowPlan:
        size = Size(*x.shape[-2:])
        if x.ndim < 4:  # several streams packed into one row: there is no canvas to cut
            return WindowPlan(size, (Box(0, 0, *size),))
        return self.settings.plan(size, self.cell)

    def _window_masks(self, plan: WindowPlan, x: torch.Tensor) -> dict[Box, torch.Tensor]:
        """Weights of each window on the whole canvas, [1, (T,) H, W] float32."""
        key = (tuple(x.shape[2:]), x.device)
        if key not in self._masks:
            self._masks[key] = {box: self._window_mask(box, x) for box in plan.windows}
        return self._masks[key]

    def _window_mask(self, box: Box, x: torch.Tensor) -> torch.Tensor:
        mask = torch.zeros(x.shape[-2:], device=x.device)
        box.crop(mask).copy_(self.settings.weigh(box.size))
        return mask.expand(1, *x.shape[2:])

    def _split(self, cond: dict, masks: dict[Box, torch.Tensor], canvas: Size) -> Iterator[dict]:
        if "default" in cond:  # core gives it what all others leave over
            yield cond
            return
        for box, mask in masks.items():
            seen = box.intersect(_user_area(cond, canvas))
            if seen is None:
                continue
            part = cond | {"area": (seen.h, seen.w, seen.y, seen.x), "mask": _masked(cond, mask)}
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
        if control.cond_hint_original is not None:
            part.cond_hint_original = _crop_hint(
                control.cond_hint_original, box, canvas, ratio, control.upscale_algorithm
            )
        part.extra_concat_orig = [
            _crop_hint(extra, box, canvas, ratio, control.upscale_algorithm) for extra in control.extra_concat_orig
        ]
        if control.previous_controlnet is not None:
            part.previous_controlnet = self._control(control.previous_controlnet, box, canvas)
        clones = getattr(control, "multigpu_clones", {})
        part.multigpu_clones = {device: self._control(clone, box, canvas) for device, clone in clones.items()}
        return part


def _user_area(cond: dict, canvas: Size) -> Box:
    """The area a user gave a condition, in cells; its last two sizes and offsets are spatial."""
    area = cond.get("area")
    if area is None:
        return Box(0, 0, *canvas)
    n = len(area) // 2
    return Box(area[-2], area[-1], min(area[n - 2], canvas.h - area[-2]), min(area[n - 1], canvas.w - area[-1]))


def _masked(cond: dict, weights: torch.Tensor) -> torch.Tensor:
    """The window's weights times the mask a user gave the condition."""
    mask = cond.get("mask")
    if mask is None:
        return weights
    while mask.ndim < weights.ndim:
        mask = mask.unsqueeze(1)
    return weights * mask.to(weights.device)


def _crop_hint(hint: torch.Tensor, box: Box, canvas: Size, ratio: int, method: str) -> torch.Tensor:
    if hint.shape[-2:] == (1, 1):  # core's stand-in for "everywhere"
        return hint
    whole = comfy.utils.common_upscale(hint, canvas.w * ratio, canvas.h * ratio, method, "center")
    return box.scaled(ratio).crop(whole)


def windows_at_once(model: Any) -> int:
    """The batch limit that windows applied earlier to this MODEL have, or 0."""
    wrappers = model.get_wrappers(WrappersMP.CALC_COND_BATCH, KEY)
    return wrappers[0].__self__.windows_at_once if wrappers else 0


def apply_windows(model: Any, settings: WindowSettings, windows_at_once: int = 0) -> Any:
    """A clone of the MODEL that evaluates the canvas window by window. Applying it again replaces the first."""
    patched = model.clone()
    cell = getattr(model.model.latent_format, "spacial_downscale_ratio", 8)
    windows = SpatialWindows(settings, windows_at_once, cell)
    wrappers = {
        WrappersMP.CALC_COND_BATCH: windows.calc_cond_batch,
        WrappersMP.PREPARE_SAMPLING: windows.prepare_sampling,
        WrappersMP.OUTER_SAMPLE: windows.outer_sample,
    }
    for kind, wrapper in wrappers.items():
        patched.remove_wrappers_with_key(kind, KEY)
        patched.add_wrapper_with_key(kind, KEY, wrapper)
    return patched
