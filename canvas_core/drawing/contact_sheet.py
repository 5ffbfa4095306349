"""Pictures side by side with titles, and writing them."""

from collections.abc import Mapping, Sequence

import cv2
import numpy as np

from ..plan.boxes import Size

LABEL_HEIGHT, GAP = 40, 6
"""Pixels."""


def label(text: str, size: Size) -> np.ndarray:
    """White text in a black strip [h, w, 3] uint8, as large as fits."""
    strip = np.zeros((*size, 3), np.uint8)
    (width, height), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 1, 2)
    scale = min(0.9, 0.94 * size.w / width, 0.8 * size.h / height)
    place = ((size.w - int(width * scale)) // 2, (size.h + int(height * scale)) // 2)
    return cv2.putText(strip, text, place, cv2.FONT_HERSHEY_SIMPLEX, scale, (255, 255, 255), 2, cv2.LINE_AA)


def contact_sheet(columns: Mapping[str, Sequence[np.ndarray]], names: Sequence[str]) -> np.ndarray:
    """Pictures [h, w, 3] uint8 of one size: a titled column for each entry, a named row for each name -> [H, W, 3]."""
    h, w = next(iter(columns.values()))[0].shape[:2]
    corner = np.zeros((LABEL_HEIGHT, LABEL_HEIGHT, 3), np.uint8)
    sheet = [np.concatenate([corner, *(np.rot90(label(name, Size(LABEL_HEIGHT, h + GAP))) for name in names)])]
    for title, pictures in columns.items():
        parts = [np.pad(picture, ((0, GAP), (GAP, 0), (0, 0)), constant_values=255) for picture in pictures]
        sheet.append(np.concatenate([label(title, Size(LABEL_HEIGHT, w + GAP)), *parts]))
    return np.concatenate(sheet, axis=1)
