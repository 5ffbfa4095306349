"""The built-in model's latent: a linear transform of 8x8 blocks, learned by PCA and written as a TAESD encoder.

Every block keeps the three colour means and the strongest components of what remains. A component of standard
deviation s is divided by sqrt(s), so that fine detail drowns in noise before coarse structure does.
"""

from collections.abc import Sequence

import numpy as np
import torch

from ..errors import CheckpointError
from ..plan.boxes import CELL
from ..systems.follow_your_canvas.block_latent import encode_blocks
from .tiny_autoencoder import TinyEncoder

VALUES = 3 * CELL * CELL
"""Numbers in a block."""

OPPONENT = torch.tensor([[1.0, 1.0, 1.0], [1.0, 0.0, -1.0], [1.0, -2.0, 1.0]])
"""Lightness, red against blue, green against magenta: colours of pictures hardly correlate along these."""


def learn_blocks(pictures: Sequence[np.ndarray], channels: int, seed: int = 0) -> torch.Tensor:
    """Kernel [channels, 3, 8, 8] of pictures [H, W, 3] uint8: the colour means, then principal components of the rest."""
    means = torch.nn.functional.normalize(OPPONENT.repeat_interleave(CELL * CELL, dim=1))  # 3 (c y x)
    blocks = torch.cat([_blocks(picture, seed) for picture in pictures])
    rest = blocks - blocks @ means.T @ means
    covariance = _symmetric(rest.T @ rest / len(rest))
    values, vectors = torch.linalg.eigh(covariance)
    strongest = values.argsort(descending=True)[: channels - 3]
    rows = torch.cat([means, vectors.T[strongest]])
    spread = torch.cat([(blocks @ means.T).std(0), values[strongest].sqrt()])
    return (rows / spread.sqrt()[:, None]).unflatten(1, (3, CELL, CELL))


def _blocks(picture: np.ndarray, seed: int, count: int = 4000) -> torch.Tensor:
    """Some blocks [N, (c y x)] of one picture, -0.5 to 0.5."""
    x = torch.from_numpy(picture).float() / 255 - 0.5
    h, w = (side // CELL * CELL for side in x.shape[:2])
    blocks = x[:h, :w].unflatten(1, (-1, CELL)).unflatten(0, (-1, CELL)).permute(0, 2, 4, 1, 3).reshape(-1, VALUES)
    return blocks[torch.randperm(len(blocks), generator=torch.Generator().manual_seed(seed))[:count]]


def _symmetric(covariance: torch.Tensor) -> torch.Tensor:
    """Mean over the eight mirrorings of a block: what is true of pictures is true of their mirror images."""
    index = torch.arange(VALUES).view(3, CELL, CELL)
    flips = [index, index.flip(1), index.flip(2), index.flip(1, 2)]
    orders = [order.flatten() for flip in flips for order in (flip, flip.transpose(1, 2))]
    return torch.stack([covariance[order][:, order] for order in orders]).mean(0)


def as_encoder(kernel: torch.Tensor) -> TinyEncoder:
    """A TAESD encoder that computes `encode_blocks`: each strided convolution gathers 2x2 neighbours into channels.

    Its ReLUs pass what is not negative: pixels are, and the result is lifted by its own lower bound until the last layer.
    """
    encoder = TinyEncoder(len(kernel)).requires_grad_(False)
    for parameter in encoder.parameters():
        parameter.zero_()
    first, half, quarter, eighth, last = (encoder[i] for i in (0, 2, 6, 10, 14))
    first.weight[range(3), range(3), 1, 1] = 1
    first.bias[3] = 1  # a constant to carry the lift
    _gather(half.weight, inputs=3)
    _gather(quarter.weight, inputs=12)
    lift = 0.1 - kernel.clamp(max=0).sum((1, 2, 3))  # with a margin for weights stored in half precision
    # y and x of a pixel in its block are the bits (a b c), a from the last gathering, c from the first.
    split = kernel.view(-1, 3, 2, 2, 2, 2, 2, 2)  # n c ya yb yc xa xb xc
    weight = split.permute(0, 3, 6, 4, 7, 1, 2, 5).reshape(len(kernel), 48, 2, 2)  # n (yb xb yc xc c) ya xa
    eighth.weight[: len(kernel), :48, 1:, 1:] = weight
    eighth.weight[: len(kernel), 48, 1, 1] = lift
    last.weight[range(len(kernel)), range(len(kernel)), 1, 1] = 1
    last.bias.copy_(-lift - 0.5 * kernel.sum((1, 2, 3)))
    return encoder


def _gather(weight: torch.Tensor, inputs: int) -> None:
    """Channel (y, x, i) becomes input i at offset (y, x); the constant, after the last input, moves along."""
    for y in range(2):
        for x in range(2):
            start = (2 * y + x) * inputs
            weight[range(start, start + inputs), range(inputs), 1 + y, 1 + x] = 1
    weight[4 * inputs, inputs, 1, 1] = 1


def read_blocks(encoder: TinyEncoder) -> torch.Tensor:
    """The kernel of an encoder made by `as_encoder`, found by encoding impulses. Raises CheckpointError when it is not linear."""
    impulses = torch.eye(VALUES).unflatten(1, (3, CELL, CELL))
    with torch.inference_mode():
        zero = encoder(torch.zeros(1, 3, CELL, CELL))
        kernel = (encoder(impulses) - zero).flatten(1).T.reshape(-1, 3, CELL, CELL).clone()
        probe = torch.rand(2, 3, 3 * CELL, 5 * CELL, generator=torch.Generator().manual_seed(0))
        error = (encoder(probe) - encode_blocks(kernel, probe)).abs().max()
    if error > 1e-3:
        raise CheckpointError(
            f"the VAE's encoder is not a transform of 8x8 blocks (it differs by {error:.3g}); train with the one that recipes/autoencoder.json makes"
        )
    return kernel
