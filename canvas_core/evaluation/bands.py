"""Energy of the generated area in frequency bands: too little is blur, too much is noise.

Every frame is turned into BT.601 Y, Cb and Cr (full range) and each plane into the four Laplacian bands of Burt and
Adelson (1983, 5 x 5 binomial kernel): band k is the plane halved k times less the enlargement of the plane halved
k + 1 times. The energy of a band is the mean square of its values in the hidden area, over all frames; the mask of
band k is the pixels that k halvings keep, every 2**k-th. What is left after four halvings, the layout, counts nowhere.

The kernels reach over the border, the coarser the further: a hard seam adds energy to every band, and beside the
source even an empty area has some.
"""

import math
from typing import NamedTuple

import cv2
import numpy as np
import torch

from ..errors import GeometryError
from ..plan.boxes import Size

LEVELS = 4

FLOOR = 1e-8
"""Energy added above and below the fraction, a fortieth of an 8-bit level squared: two flat areas have ratio 1."""

TO_YCBCR = np.array([[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]], dtype=np.float32)
"""Rows Y, Cb, Cr (ITU-R BT.601), without the offset of the chroma planes."""


class BandRatios(NamedTuple):
    """Energy of a result over the reference's in the hidden area: 1 = the same, 0.25 = half as strong.

    NaN where the hidden area is too narrow to hold a pixel of the band.
    """

    luma: tuple[float, ...]
    """One ratio for each of the four bands of Y, finest first"""
    chroma: float
    """Ratio of the sums over Cb, Cr and the four bands"""
    chroma_fine: float
    """Ratio of the sums over Cb and Cr in the finest band alone, where coloured speckle shows"""


def laplacian(planes: np.ndarray) -> list[np.ndarray]:
    """The four bands of planes [H, W, 3], finest first; band k is [H / 2**k, W / 2**k, 3], rounded up."""
    bands = []
    for _ in range(LEVELS):
        smaller = cv2.pyrDown(planes)
        bands.append(planes - cv2.pyrUp(smaller, dstsize=planes.shape[1::-1]))
        planes = smaller
    return bands


def band_energies(frames: torch.Tensor, mask: torch.Tensor) -> np.ndarray:
    """Mean squares [4 bands, 3 planes Y Cb Cr] of frames [F, H, W, 3] 0..1 where the mask [H, W] is 1."""
    hidden = mask.cpu().numpy() > 0
    total = np.zeros((LEVELS, 3))
    for frame in frames.cpu().numpy():
        for level, band in enumerate(laplacian(frame.astype(np.float32) @ TO_YCBCR.T)):
            values = band[hidden[:: 2**level, :: 2**level]].astype(np.float64)  # N 3
            total[level] += np.square(values).mean(axis=0) if len(values) else math.nan
    return total / len(frames)


def _ratio(result: np.ndarray, reference: np.ndarray) -> float:
    return float((result.sum() + FLOOR) / (reference.sum() + FLOOR))


def band_ratios(result: torch.Tensor, reference: torch.Tensor, mask: torch.Tensor) -> BandRatios:
    """Ratios of two clips [F, H, W, 3] 0..1 where the mask [H, W] is 1. Raises GeometryError when they do not match."""
    if result.shape != reference.shape or result.shape[1:3] != mask.shape or not len(result):
        raise GeometryError(
            f"the result is {list(result.shape)} (frames, height, width, 3), the reference {list(reference.shape)} and the mask {list(mask.shape)}; give two clips of one size and length, and a mask of that size"
        )
    if not (mask > 0).any():
        raise GeometryError(
            f"the mask of {Size(*mask.shape)} hides nothing, so there is nothing to compare; set it to 1 where pixels were generated"
        )
    ours, theirs = band_energies(result, mask), band_energies(reference, mask)
    return BandRatios(
        luma=tuple(_ratio(one, other) for one, other in zip(ours[:, 0], theirs[:, 0], strict=True)),
        chroma=_ratio(ours[:, 1:], theirs[:, 1:]),
        chroma_fine=_ratio(ours[0, 1:], theirs[0, 1:]),
    )
