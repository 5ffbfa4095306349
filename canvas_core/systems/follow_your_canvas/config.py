"""Sizes and choices of the networks."""

from dataclasses import dataclass


@dataclass(frozen=True)
class UNetConfig:
    """Sizes of the UNet; defaults are the published model's. Levels run from full to coarsest resolution."""

    block_out_channels: tuple[int, ...] = (320, 640, 1280, 1280)
    layers_per_block: int = 2
    heads: tuple[int, ...] = (5, 10, 20, 20)
    attention: tuple[bool, ...] = (True, True, True, False)
    """Whether a level has spatial transformers."""
    text_width: int = 1024
    layout_width: int = 1024
    in_channels: int = 9
    """Noisy latent 0:4, mask 4, masked latent 5:9."""
    out_channels: int = 4
    norm_groups: int = 32
    norm_eps: float = 1e-5
    max_frames: int = 64
    """Length of the motion modules' position code."""
    prediction: str = "v"
    """What `forward` returns: v as published, or x0, the clean latent."""
    region_features: int = 320
    """Sinusoid features of each of the six region integers."""
    spread: tuple[float, ...] = ()
    """Standard deviation of hidden clean latents around the smooth fill that x0 prediction starts from, one number a channel."""
    noise_share: float = 0.0
    """Share of the start noise's variance that is common to all frames, 0 to 1."""
    latent_scale: float = 0.18215
    """The network's latents over those the VAE's encoder gives."""
    colours: tuple[float, ...] = ()
    """Red, green and blue (-1..1) of one unit of each of the first latent channels, for previews; none: as Stable Diffusion's."""
    hidden_cells: str = "first"
    """A cell is hidden when its `first` pixel is, as published, or when `any` is."""
    reads_text: bool = True
    """Whether the network was trained with prompts; one that was not gets a single token of zeros."""
    spacing: str = "leading"
    """Time steps of the headless sampler: `leading` as published, or `trailing`, which starts at pure noise."""

    @property
    def time_width(self) -> int:
        return 4 * self.block_out_channels[0]


@dataclass(frozen=True)
class LayoutEncoderConfig:
    """Sizes of the layout encoder; all of them can be read from the shapes of a checkpoint."""

    features: int = 256
    """Channels of the SAM features."""
    width: int = 1024
    """Width of the layout extraction, 4 x features in the published model."""
    temporal_heads: int = 8
    temporal_inner: int = 512
    patch: int = 4
    """Side of the square of SAM tokens that one token of the extraction covers."""
    query_width: int = 1024
    query_heads: int = 12
    query_inner: int = 768
    depth: int = 4
    tokens: int = 64
    output: int = 1024
