"""The UNet, the layout encoder and SAM on odd shapes, at half precision, and with another attention."""

import math
from dataclasses import dataclass, replace
from functools import partial

import pytest
import tiny
import torch
from segment_anything.modeling import ImageEncoderViT

from canvas_core.errors import CheckpointError, ConditioningError
from canvas_core.networks.layers import attend, sinusoid
from canvas_core.plan.boxes import Box, Size
from canvas_core.plan.windows import WindowSettings
from canvas_core.sampling.tiling import predict_canvas
from canvas_core.systems.follow_your_canvas.conditions import CanvasClip
from canvas_core.systems.follow_your_canvas.guidance import guide_by_text, guide_by_text_and_layout
from canvas_core.systems.follow_your_canvas.layout_encoder import layout_tokens
from canvas_core.systems.follow_your_canvas.sam import build_sam, encode_frames

# Largest error over the spread of the float32 output; about twice what torch 2.x measures on a CPU.
HALF_BOUNDS = {torch.float16: 0.015, torch.bfloat16: 0.12}


DEEP = replace(tiny.UNET, block_out_channels=(64,) * 4, heads=(1, 2, 1, 1), attention=(True, True, True, False))
"""As many levels as the published model, so that odd cells are halved three times."""


@pytest.fixture(scope="module")
def unet():
    return tiny.unet()


@pytest.fixture(scope="module")
def deep():
    return tiny.unet(DEEP)


@pytest.fixture(scope="module")
def encoder():
    return tiny.layout_encoder()


def noise(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def explicit_attention(q, k, v, heads):
    """Softmax attention head by head."""
    parts = []
    for a, b, c in zip(q.chunk(heads, -1), k.chunk(heads, -1), v.chunk(heads, -1), strict=True):
        parts.append(torch.softmax(a @ b.transpose(1, 2) / a.shape[-1] ** 0.5, dim=-1) @ c)
    return torch.cat(parts, dim=-1)


def slow_sinusoid(values, features):
    """Cosines, then sines, of each number, term by term in float64."""
    half = features // 2
    angles = [[value * 10000 ** (-i / half) for i in range(half)] for value in values.tolist()]
    rows = [[math.cos(a) for a in row] + [math.sin(a) for a in row] for row in angles]
    return torch.tensor(rows, dtype=torch.float64)


@torch.inference_mode()
def run(unet, frames=2, size=(13, 17), offset=(24, -40), clips=1, **options):
    """The UNet's answer [(clips frames), 4, h, w] to seeded inputs, in float32."""
    dtype = unet.conv_in.weight.dtype
    region = torch.tensor([[*offset, 96, 128, 104, 136]]).expand(clips, -1)
    tokens = options.pop("text_width", 32), options.pop("layout_width", 32)
    text, layout = (noise(clips, 5 + width % 3, width, seed=i).to(dtype) for i, width in enumerate(tokens))
    x = noise(clips * frames, 9, *size).to(dtype)
    out = unet(x, torch.full((clips,), 500), text, layout, torch.full((clips,), 8), region, **options)
    return out.float()


@dataclass(frozen=True)
class Predictor:
    """A clip in windows, evaluated `at_once` together."""

    clip: CanvasClip
    settings: WindowSettings
    at_once: int = 1

    def __call__(self, x, timestep):
        return predict_canvas(self.clip, self.settings, x, timestep, self.at_once)


def predictor(unet, encoder, frames=3, size=(13, 17), window=64, guidance=None, **windows):
    """A predictor for a canvas of `size` cells with a random source in its middle."""
    settings = WindowSettings(window, 16, frames=windows.pop("frames", 64), frame_overlap=windows.pop("overlap", 0))
    clip = CanvasClip(
        unet,
        guidance or guide_by_text(5.0),
        mask=torch.ones(frames, 1, *size),
        masked_latents=noise(frames, 4, *size, seed=3),
        text={"negative": noise(1, 7, 32, seed=4), "positive": noise(1, 7, 32, seed=5)},
        layout=layout_tokens(encoder, noise(frames, 16, 8, seed=6), settings.plan_frames(frames), "cpu", torch.float32),
        anchor=Box(16, 24, 72, 88),
        rre="centre_px",
    )
    return Predictor(clip, settings)


def predict(made, frames=3, size=(13, 17)):
    with torch.inference_mode():
        return made(noise(frames, 4, *size, seed=7), torch.tensor(321))


@pytest.mark.parametrize("frames", [1, 2, 5, 17])
@pytest.mark.parametrize("size", [(13, 17), (1, 1), (3, 9), (8, 16)])
def test_any_frame_count_and_any_cells(deep, frames, size):
    out = run(deep, frames, size)
    assert out.shape == (frames, 4, *size)
    assert out.isfinite().all()


@torch.inference_mode()
def test_clips_in_one_batch_do_not_mix(unet):
    regions = [[8, 0, 64, 72, 80, 88], [-8, 5, 9, 9, 8, 8]]
    numbers = (
        torch.tensor([900, 3]),
        noise(2, 7, 32),
        noise(2, 4, 32, seed=1),
        torch.tensor([2, 16]),
        torch.tensor(regions),
    )
    x = noise(6, 9, 13, 17)
    together = unet(x, *numbers)
    for first in range(2):
        alone = unet(x[3 * first : 3 * first + 3], *(value[first : first + 1] for value in numbers))
        assert (together[3 * first : 3 * first + 3] - alone).abs().max() < 1e-5


def test_frames_up_to_the_position_code_and_not_beyond():
    short = tiny.unet(replace(tiny.UNET, max_frames=3))
    assert run(short, frames=3, size=(5, 3)).shape[0] == 3
    with pytest.raises(ConditioningError, match="4 frames, but this model reaches 3"):
        run(short, frames=4, size=(5, 3))


@pytest.mark.parametrize("name", ["text", "layout"])
def test_tokens_of_another_width_are_refused(unet, name):
    with pytest.raises(ConditioningError, match=f"{name} tokens are 48 wide, .* takes 32"):
        run(unet, **{f"{name}_width": 48})


@pytest.mark.parametrize("offset", [(0, 0), (24, -40), (2003, -1999)])
@pytest.mark.parametrize("dtype", HALF_BOUNDS, ids=str)
def test_half_precision_is_close_to_float32(deep, dtype, offset):
    exact = run(deep, frames=3, offset=offset)
    error = (run(tiny.unet(DEEP).to(dtype), frames=3, offset=offset) - exact).abs().max() / exact.std()
    assert error < HALF_BOUNDS[dtype], f"off by {error:.4f} of the output's spread"


@pytest.mark.parametrize("dtype", HALF_BOUNDS, ids=str)
def test_half_precision_does_not_round_the_region(dtype):
    """bfloat16 keeps no odd number above 256, so the sinusoid must be taken before the cast."""
    half, codes = tiny.unet().to(dtype), []
    half.add_cond_embedding.register_forward_pre_hook(lambda _, inputs: codes.append(inputs[0]))
    run(half, offset=(2003, -1999))
    region = torch.tensor([2003, -1999, 96, 128, 104, 136])
    assert codes[0].dtype == dtype
    assert (codes[0].double() - slow_sinusoid(region, 64).flatten()).abs().max() < 2**-8


def test_the_sinusoid_of_large_numbers_is_exact():
    values = torch.tensor([0, 1, -1999, 2003, 16384])
    assert (sinusoid(values, 16).double() - slow_sinusoid(values, 16)).abs().max() < 2e-3


@pytest.mark.parametrize("frames", [1, 3])
def test_attention_is_exchangeable(deep, frames):
    size = (16, 24)  # at least two by three cells at the coarsest level, or GroupNorm magnifies rounding errors
    assert (run(deep, frames, size) - run(deep, frames, size, attend=explicit_attention)).abs().max() < 1e-5


@pytest.mark.parametrize("sequences", [3, 4099])
def test_attention_in_chunks_is_softmax_attention(sequences):
    q, k, v = (noise(sequences, length, 24, seed=i) for i, length in enumerate((5, 7, 7)))
    assert (attend(q, k, v, 8) - explicit_attention(q, k, v, 8)).abs().max() < 1e-5


def control_shapes(unet, frames, size):
    """Shape of every skip, in the order the UNet makes them, then of the middle."""
    shapes = []
    hooks = [unet.conv_in] + [m for down in unet.down_blocks for m in (*down.motion_modules, *down.downsamplers)]
    handles = [module.register_forward_hook(lambda _, __, out: shapes.append(out.shape)) for module in hooks]
    run(unet, frames, size)
    for handle in handles:
        handle.remove()
    return shapes


def test_every_control_residual_reaches_the_output(deep):
    shapes = control_shapes(deep, 2, (13, 17))
    plain = run(deep)
    for index, shape in enumerate(shapes):
        residuals = [None] * index + [noise(*shape)]
        control = {"output": residuals + [None] * (len(shapes) - len(residuals))}
        assert (run(deep, control=control) - plain).abs().max() > 1e-3, f"skip {index}"
        assert len(control["output"]) == len(shapes)
    assert (run(deep, control={"middle": [noise(*shapes[-1])]}) - plain).abs().max() > 1e-3


def test_control_residuals_add_up(unet):
    shapes = control_shapes(unet, 2, (13, 17))
    nothing = {"output": [torch.zeros(shape) for shape in shapes], "middle": [torch.zeros(shapes[-1])]}
    assert torch.equal(run(unet, control=nothing), run(unet))
    assert torch.equal(run(unet, control={}), run(unet))
    fewer = {"output": [noise(*shapes[-1])]}  # the list's last one belongs to the deepest skip
    padded = {"output": [None] * (len(shapes) - 1) + fewer["output"]}
    assert torch.equal(run(unet, control=fewer), run(unet, control=padded))


@pytest.mark.parametrize("frames", [1, 5, 15])
@torch.inference_mode()
def test_short_clips_repeat_their_last_frame(encoder, frames):
    features = noise(2, frames, 16, 8)
    filled = torch.cat([features, *[features[:, -1:]] * (16 - frames)], dim=1)
    assert torch.equal(encoder(features), encoder(filled))


@pytest.mark.parametrize("frames", [1, 5, 16, 20, 33])
@torch.inference_mode()
def test_the_number_of_layout_tokens_does_not_depend_on_the_frames(encoder, frames):
    tokens = encoder(noise(1, frames, 16, 8))
    assert tokens.shape == (1, tiny.LAYOUT.tokens, tiny.LAYOUT.output)
    swapped = encoder(noise(1, frames, 16, 8, seed=1))
    assert tokens.isfinite().all() and not torch.allclose(tokens, swapped, atol=1e-2)


@torch.inference_mode()
def test_the_layout_encoder_takes_another_attention(encoder):
    features = noise(2, 20, 16, 8)
    assert (encoder(features) - encoder(features, explicit_attention)).abs().max() < 1e-5


@pytest.mark.parametrize(
    ("shape", "message"),
    [((1, 16, 16, 7), r"\(1, 16, 16, 7\), but must be"), ((16, 16, 8), "but must be"), ((1, 16, 15, 8), "15 tokens")],
)
def test_features_of_another_shape_are_refused(encoder, shape, message):
    with pytest.raises(ConditioningError, match=message):
        encoder(noise(*shape))


@pytest.mark.parametrize("guidance", [guide_by_text(5.0), guide_by_text_and_layout(5.0, 2.0)], ids=["text", "both"])
def test_windows_at_once_change_nothing(unet, encoder, guidance):
    made = predictor(unet, encoder, guidance=guidance)
    one, three, all_of_them = (predict(replace(made, at_once=count)) for count in (1, 3, 99))
    assert (one - three).abs().max() < 3e-5 * one.abs().max()
    assert (one - all_of_them).abs().max() < 3e-5 * one.abs().max()


@pytest.mark.parametrize("size", [(5, 3), (13, 6), (7, 17)])
def test_a_canvas_smaller_than_a_window(unet, encoder, size):
    made = predictor(unet, encoder, size=size)
    assert made.settings.plan(Size(*size)).windows[0].size == Size(min(8, size[0]), min(8, size[1]))
    assert predict(made, size=size).shape == (3, 4, *size)


def test_one_window_is_the_network_itself(unet, encoder):
    made = predictor(unet, encoder, window=512)
    x, clip = noise(3, 4, 13, 17, seed=7), made.clip
    inputs = torch.cat([x, clip.mask, clip.masked_latents], dim=1)
    region = torch.tensor([[52 - (16 + 36), 68 - (24 + 44), 72, 88, 104, 136]])
    with torch.inference_mode():
        negative, positive = (
            unet(inputs, torch.tensor([321]), clip.text[name], clip.layout["real", range(3)], torch.tensor([8]), region)
            for name in ("negative", "positive")
        )
    assert (predict(made) - (negative + 5 * (positive - negative))).abs().max() < 1e-4


def test_time_windows_see_their_own_frames(unet, encoder):
    made = predictor(unet, encoder, frames=7, window=512)
    cut = replace(made, settings=replace(made.settings, frames=3, frame_overlap=0))
    spans = cut.settings.plan_frames(7)
    tokens = layout_tokens(encoder, noise(7, 16, 8, seed=6), spans, "cpu", torch.float32)
    cut = replace(cut, clip=replace(made.clip, layout=tokens))
    first = replace(made, clip=replace(made.clip, mask=made.clip.mask[:3], masked_latents=made.clip.masked_latents[:3]))
    first = replace(first, clip=replace(first.clip, layout=tokens))
    with torch.inference_mode():
        x = noise(7, 4, 13, 17, seed=7)
        assert (cut(x, torch.tensor(321))[:3] - first(x[:3], torch.tensor(321))).abs().max() < 1e-5


@pytest.mark.parametrize("prefix", ["", "image_encoder."])
@torch.inference_mode()
def test_sam_sizes_are_read_from_the_shapes(prefix):
    weights = tiny.sam().state_dict()
    reference = ImageEncoderViT(**tiny.SAM, norm_layer=partial(torch.nn.LayerNorm, eps=1e-6)).eval()
    reference.load_state_dict(weights)
    extra = {"prompt_encoder.not_a_point_embed.weight": torch.zeros(1, 8)} if prefix else {}
    built = build_sam({prefix + key: value for key, value in weights.items()} | extra)
    assert built.img_size == 64
    picture = noise(1, 3, 64, 64)
    assert torch.equal(built(picture), reference(picture))


def test_sam_features_are_row_by_row():
    encoder, levels = tiny.sam(), (noise(3, 37, 61, 3) * 60 + 128).clamp(0, 255).to(torch.uint8)
    features = encode_frames(encoder, levels)
    assert features.shape == (3, 16, 8)
    alone = torch.cat([encode_frames(encoder, frame[None]) for frame in levels])
    assert (features - alone).abs().max() < 1e-5


@pytest.mark.parametrize("change", ["missing", "cut", "of a vision transformer"])
def test_other_files_are_not_sam(change):
    weights = dict(tiny.sam().state_dict())
    if change == "missing":
        del weights["blocks.1.attn.qkv.weight"]
    elif change == "cut":
        weights["neck.2.weight"] = weights["neck.2.weight"][:3]
    else:
        weights = {"pos_embed": torch.zeros(1, 17, 24), "patch_embed.proj.weight": torch.zeros(24, 3, 16, 16)}
    with pytest.raises(CheckpointError, match="not a Segment Anything file"):
        build_sam(weights)
