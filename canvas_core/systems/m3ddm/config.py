"""Sizes of the network."""

from dataclasses import dataclass


@dataclass(frozen=True)
class M3DDMConfig:
    """Sizes of the UNet; defaults are the published model's. Levels run from full to coarsest resolution."""

    block_out_channels: tuple[int, ...] = (320, 640, 1280, 1280)
    layers_per_block: int = 2
    heads: int = 8
    """At every level"""
    attention: tuple[bool, ...] = (True, True, True, False)
    """Whether a level has transformers"""
    global_width: int = 320
    """Of the tokens of the global frames"""
    in_channels: int = 9
    """Noisy latent 0:4, context latent 4:8, mask 8"""
    out_channels: int = 4
    norm_groups: int = 32
    norm_eps: float = 1e-5

    @property
    def time_width(self) -> int:
        return 4 * self.block_out_channels[0]
