"""Pictures of a plan: the source, the rounds, the windows and their summed weights over the first frame."""

from collections.abc import Sequence

import cv2
import numpy as np
import torch
from torch.nn.functional import pad

from ..pixels.placing import place_source
from ..plan.boxes import CELL, Box, Size
from ..plan.canvas import Canvas
from ..plan.rounds import Round
from ..plan.windows import WindowPlan, WindowSettings

WINDOW_COLOURS = ((86, 180, 233), (230, 159, 0), (0, 158, 115), (204, 121, 167), (240, 228, 66))
SOURCE_COLOUR = (255, 255, 255)
ROUND_COLOUR = (213, 94, 0)
BACKGROUND = 0.16
BAR = 8
"""Pixels between pictures."""
LONG_SIDE = 1024
"""Pixels of the longer side of a drawn round."""


def plan_of(canvas: Canvas, settings: WindowSettings) -> WindowPlan:
    """The windows on a canvas, in cells."""
    return settings.plan(Size(-(-canvas.size.h // CELL), -(-canvas.size.w // CELL)))


def summed_weights(plan: WindowPlan, settings: WindowSettings) -> torch.Tensor:
    """Sum of the fusion weights of all windows [h, w], its largest value 1."""
    total = torch.zeros(tuple(plan.size))
    for box in plan.windows:
        box.crop(total).add_(settings.weigh(box.size))
    return total / total.max()


def _outline(
    image: np.ndarray, box: Box, colour: tuple[int, int, int], thickness: int, scale: float, inset: int = 0
) -> None:
    corner = (round(box.x * scale) + inset, round(box.y * scale) + inset)
    opposite = (round(box.right * scale) - 1 - inset, round(box.bottom * scale) - 1 - inset)
    cv2.rectangle(image, corner, opposite, colour, thickness, cv2.LINE_AA)


def _label(image: np.ndarray, text: str, corner: tuple[int, int]) -> None:
    size = max(0.4, image.shape[1] / 1600)
    (width, height), below = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, size, 1)
    x, y = corner
    cv2.rectangle(image, (x - 6, y - height - 6), (x + width + 6, y + below + 4), (0, 0, 0), cv2.FILLED)
    cv2.putText(image, text, corner, cv2.FONT_HERSHEY_SIMPLEX, size, (255, 255, 255), 1, cv2.LINE_AA)


def draw_round(frame: torch.Tensor, step: Round, index: int, count: int, settings: WindowSettings) -> np.ndarray:
    """One round as [H, W, 3] uint8: weights as brightness, windows coloured, the region it starts from in orange. frame [h, w, 3] 0..1."""
    canvas, plan = step.canvas, plan_of(step.canvas, settings)
    scale = LONG_SIDE / max(canvas.size)
    size = (round(canvas.size.w * scale), round(canvas.size.h * scale))
    placed = place_source(frame[None], canvas.size, step.original, BACKGROUND)[0].numpy()
    weights = cv2.resize(summed_weights(plan, settings).sqrt().numpy(), size, interpolation=cv2.INTER_LINEAR)[..., None]
    picture = cv2.resize(placed, size, interpolation=cv2.INTER_AREA) * 0.75 + 0.25 * weights
    image = np.ascontiguousarray((picture.clip(0, 1) * 255).astype(np.uint8))
    for number, box in enumerate(plan.windows):
        _outline(
            image, box.scaled(CELL), WINDOW_COLOURS[number % len(WINDOW_COLOURS)], 1, scale, inset=2 + 2 * (number % 4)
        )
    if canvas.source != step.original:
        _outline(image, canvas.source, ROUND_COLOUR, 2, scale)
    _outline(image, step.original, SOURCE_COLOUR, 2, scale)
    _label(image, f"round {index} of {count}: {canvas.size}, {len(plan)} windows", (12, 28))
    return image


def draw_plan(frame: torch.Tensor, rounds: Sequence[Round], settings: WindowSettings) -> torch.Tensor:
    """All rounds below each other, [H, W, 3] uint8. frame: the first source frame [h, w, 3] 0..1."""
    return below_each_other(
        [
            torch.from_numpy(draw_round(frame, step, index, len(rounds), settings))
            for index, step in enumerate(rounds, start=1)
        ]
    )


def below_each_other(pictures: Sequence[torch.Tensor]) -> torch.Tensor:
    """Pictures [h, w, 3] uint8 as one, narrower ones filled up with black; each is followed by a black bar."""
    width = max(picture.shape[1] for picture in pictures)
    return torch.cat([pad(picture, (0, 0, 0, width - picture.shape[1], 0, BAR)) for picture in pictures])


def describe_plan(canvas: Canvas, settings: WindowSettings, rounds: Sequence[Round], frames: int) -> str:
    """The plan in words, one line a round."""
    spans = settings.plan_frames(frames)
    lines = [str(canvas), str(settings)]
    for index, step in enumerate(rounds, start=1):
        plan = plan_of(step.canvas, settings)
        lines.append(
            f"round {index} of {len(rounds)}: {step.canvas.size} from {step.canvas.source}, {plan}, {len(spans)} time window{'s' if len(spans) > 1 else ''}"
        )
    return "\n".join(lines)
