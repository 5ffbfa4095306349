"""What conditions say of one clip: per-frame values are cut to its frames, everything else stays."""

from dataclasses import replace
from types import SimpleNamespace

import comfy_pack
import pytest
import torch

comfy_pack.load_pack()

import comfy.conds  # noqa: E402
import comfy.controlnet  # noqa: E402
import core_models as models  # noqa: E402
import tiny  # noqa: E402
from level_runs import Recorder, random, sample_by_levels, sample_plainly  # noqa: E402

from canvas_core.pixels.eight_bit import to_levels  # noqa: E402
from canvas_core.systems.checkpoint import open_checkpoint  # noqa: E402
from canvas_core.systems.follow_your_canvas.sam import encode_frames, load_sam  # noqa: E402
from canvas_core.systems.system import load_network  # noqa: E402

clip_conds = comfy_pack.part("nodes.adapters.clip_conds")
conds_adapter = comfy_pack.part("nodes.adapters.follow_your_canvas.conds")
errors = comfy_pack.part("canvas_core.errors")
levels = comfy_pack.part("canvas_core.plan.keyframes")
boxes = comfy_pack.part("canvas_core.plan.boxes")
pack_canvas = comfy_pack.part("canvas_core.plan.canvas")
windows = comfy_pack.part("canvas_core.plan.windows")

FRAMES, H, W = 7, 5, 9
PLAN = levels.plan_levels(FRAMES, (3, 1), 4, 1)
"""Frames 0 3 6, then 0-3, then 3-6."""


def by_frame(frames=FRAMES, *shape):
    """A tensor [frames, ...] whose rows say their number."""
    return torch.arange(float(frames)).view(-1, *[1] * len(shape)).expand(frames, *shape).clone()


class OfClip:
    """A value that knows itself what it is for a clip."""

    def of_clip(self, clip, latents):
        return clip, latents

    def nulled(self):
        return self


def cut(clip, length=FRAMES, latents=None, **values):
    (group,) = clip_conds.cut_conds({"positive": [values]}, clip_conds.Cut(clip, latents, length)).values()
    return group[0]


@pytest.mark.parametrize("clip", PLAN.clips)
def test_tensors_with_a_row_for_each_frame_are_cut(clip):
    frames = list(clip.frames)
    other = by_frame(6, 3)
    part = cut(clip, mask=by_frame(FRAMES, 4, 6), tokens=other, row=by_frame(1, 3), strength=0.5, whole=torch.tensor(7))
    assert torch.equal(part["mask"], by_frame(FRAMES, 4, 6)[frames])
    assert part["tokens"] is other and part["row"].shape == (1, 3)
    assert part["strength"] == 0.5 and part["whole"] == 7


def test_a_single_frame_is_no_reason_to_cut():
    value = by_frame(1, 3)
    assert cut(levels.plan_levels(1, (1,)).clips[0], 1, value=value)["value"] is value


def test_model_conds_are_cut_and_keep_their_kind():
    clip, values = PLAN.clips[2], by_frame(FRAMES, 3)
    conds = {
        "y": comfy.conds.CONDRegular(values),
        "text": comfy.conds.CONDCrossAttn(by_frame(1, 7, 5)),
        "refs": comfy.conds.CONDList([values, by_frame(2, 3)]),
        "limit": comfy.conds.CONDConstant(12),
        "own": OfClip(),
    }
    part = cut(clip, model_conds=conds)["model_conds"]
    expected = values[list(clip.frames)]
    assert isinstance(part["y"], comfy.conds.CONDRegular) and torch.equal(part["y"].cond, expected)
    assert isinstance(part["text"], comfy.conds.CONDCrossAttn) and len(part["text"].cond) == 1
    assert torch.equal(part["refs"].cond[0], expected) and len(part["refs"].cond[1]) == 2
    assert part["limit"].cond == 12 and part["own"] == (clip, None)
    assert conds["y"].cond is values


@pytest.mark.parametrize("clip", PLAN.clips)
def test_values_of_our_own_know_the_clip_and_its_latents(clip):
    latents = by_frame(len(clip.frames), 4, H, W)
    assert cut(clip, latents=latents, layout=OfClip())["layout"] == (clip, latents)


class Told:
    """A conditioning's value that keeps what each clip tells it."""

    def __init__(self):
        self.clips = []

    def of_clip(self, clip, latents):
        self.clips.append((clip, latents.clone()))
        return self

    def nulled(self):
        return self


def test_the_latents_of_a_clip_are_those_of_its_guides_where_they_are_finished():
    told, latent = Told(), {"samples": random(FRAMES, 4, H, W, seed=5)}
    positive = [[models.conditioning(1)[0][0], {"canvas": told}]]
    result = sample_by_levels(Recorder(models.core_model(), positive, models.conditioning(2)), PLAN, latent, steps=1)
    assert [clip for clip, _ in told.clips] == list(PLAN.clips)
    for clip, latents in told.clips:
        for slot, frame in enumerate(clip.frames):
            start = result[0] if slot in clip.guides else latent
            assert torch.equal(latents[slot], start["samples"][frame])


def test_each_clip_has_conditions_of_its_own():
    guider = Recorder(models.core_model(), models.conditioning(1), models.conditioning(2))
    sample_by_levels(guider, PLAN, {"samples": random(FRAMES, 4, H, W)}, steps=1)
    sample_by_levels(guider, PLAN, {"samples": random(FRAMES, 4, H, W)}, steps=1)
    names = [run.conds["positive"][0]["uuid"] for run in guider.runs]
    assert len(set(names)) == 3 and names[:3] == names[3:]
    assert guider.original_conds["positive"][0]["uuid"] not in names


def test_prompts_of_single_frames_reach_their_frames():
    """With a text for each frame, levels of single frames give what a clip of that text alone gives."""
    model, prompts = models.core_model(), random(FRAMES, 7, models.WIDTH, seed=4)
    latent = {"samples": random(FRAMES, 4, H, W)}
    plan = levels.plan_levels(FRAMES, (2, 1), 3, 0)
    output = sample_by_levels(Recorder(model, [[prompts, {}]], models.conditioning(2)), plan, latent)[0]["samples"]
    alone = sample_plainly(Recorder(model, [[prompts[4:5], {}]], models.conditioning(2)), latent)[0]["samples"]
    assert (output[4] - alone[4]).abs().max() < 1e-3 * alone.abs().max()
    assert (output[2] - alone[2]).abs().max() > 1e-2 * alone.abs().max()


def test_telling_guides_leaves_the_conditions_as_they_are():
    clip, known, mask = PLAN.clips[1], by_frame(4, 4, H, W), torch.ones(4, 1, H * 8, W * 8)
    conds = {"positive": [{"concat_latent_image": known, "concat_mask": mask}]}
    (told,) = clip_conds.tell_guides(conds, clip, -by_frame(4, 4, H, W) - 1)["positive"]
    assert told["concat_latent_image"][:, 0, 0, 0].tolist() == [-1, 1, 2, -4]
    assert told["concat_mask"][:, 0, 0, 0].tolist() == [0, 1, 1, 0]
    assert torch.equal(known, by_frame(4, 4, H, W)) and mask.all()


class Hints(torch.nn.Module):
    """Keeps the hints that it is given; has nothing to say."""

    dtype = torch.float32

    def __init__(self):
        super().__init__()
        self.seen = []

    def forward(self, x, hint, timesteps, context, **kwargs):
        self.seen.append((hint[:, 0, 0, 0].tolist(), hint[:, 3:, 0, 0].flatten().tolist()))
        return {"input": [], "middle": [], "output": []}


def control(rows, extra=(), previous=None):
    net = comfy.controlnet.ControlNet(Hints(), load_device=models.CPU)
    net.set_cond_hint(by_frame(rows, 3, H * 8, W * 8), extra_concat=list(extra))
    return net.set_previous_controlnet(previous) if previous else net


def test_a_frame_is_known_where_one_condition_hides_nothing():
    """A null condition may hide everything, as M3DDM's does; its black latent is not the known one."""
    mask = torch.ones(FRAMES, 1, H, W)
    mask[[1, 4]] = 0
    told = {"concat_latent_image": by_frame(FRAMES, 4, H, W) + 1, "concat_mask": mask}
    null = {"concat_latent_image": torch.zeros(FRAMES, 4, H, W), "concat_mask": torch.ones(FRAMES, 1, H, W)}
    latents = torch.zeros(FRAMES, 4, H, W)
    known = clip_conds.known_frames({"null": [null], "both": [told]}, latents)
    assert sorted(known) == [1, 4]
    assert all(torch.equal(latent, told["concat_latent_image"][frame]) for frame, latent in known.items())
    assert clip_conds.known_frames({"null": [null]}, latents) == {}
    everything = told | {"concat_mask": torch.zeros(1, 1, H, W)}
    assert clip_conds.known_frames({"both": [everything]}, latents) == {}


@pytest.mark.parametrize("rows", [1, 3, FRAMES, FRAMES + 2])
def test_controls_see_the_hints_of_the_frames(rows):
    """Fewer hints than frames repeat, as core repeats them; a single one serves all."""
    first = control(rows, extra=[by_frame(rows, 1, H, W)])
    second = control(FRAMES, previous=first)
    conds = [models.conditioning(seed, control=second) for seed in (1, 2)]
    sample_by_levels(Recorder(models.core_model(), *conds), PLAN, {"samples": random(FRAMES, 4, H, W)}, steps=1)
    for clip, (hints, extra), (chained, _) in zip(
        PLAN.clips, first.control_model.seen, second.control_model.seen, strict=True
    ):  # one call a clip: positive and negative share a batch
        expected = [float(frame % rows) for frame in clip.frames] * 2 if rows > 1 else [0.0]
        assert hints == extra == expected
        assert chained == [float(frame) for frame in clip.frames] * 2
    assert len(second.cond_hint_original) == FRAMES and second.previous_controlnet is first


def test_one_clip_sees_the_hints_that_the_plain_sampler_shows():
    latent, plan = {"samples": random(FRAMES, 4, H, W)}, levels.plan_levels(FRAMES, (1,), FRAMES)
    seen = []
    for sample in (
        lambda guider: sample_by_levels(guider, plan, latent),
        lambda guider: sample_plainly(guider, latent),
    ):
        net = control(4)
        sample(Recorder(models.core_model(), *(models.conditioning(seed, control=net) for seed in (1, 2))))
        seen.append(net.control_model.seen)
    assert seen[0] == seen[1]


@pytest.mark.parametrize(
    ("frames", "span"),
    [
        ((0, 15, 30), range(0, 31, 15)),
        ((4, 5, 6), range(4, 7)),
        ((9,), range(9, 10)),
        ((0, 5, 5), (0, 5, 5)),
        ((3, 3), (3, 3)),
        ((0, 1, 3), (0, 1, 3)),
    ],
)
def test_equal_frames_are_equal_spans(frames, span):
    assert clip_conds.span_of(frames) == span and tuple(span) == frames


def layout(spans, fps=3):
    tokens = {span: torch.full((1, 2, 4), float(index)) for index, span in enumerate(spans)}
    null = {span: -value - 1 for span, value in tokens.items()}
    return conds_adapter.Layout(tokens, null, boxes.Box(0, 0, 8, 8), "centre_px", fps)


def clip_of(frames, stride):
    return replace(PLAN.clips[0], frames=frames, stride=stride, guides=())


@pytest.mark.parametrize(("stride", "fps"), [(1, 3), (3, 9), (5, 15), (6, 16), (15, 16)])
def test_the_layout_of_a_clip_has_its_tokens_and_its_rate(stride, fps):
    frames = tuple(range(0, 3 * stride, stride))
    whole = layout([range(3, 90), range(0, 3 * stride, stride)])
    part = whole.of_clip(clip_of(frames, stride), None)
    assert part.tokens == {range(3): whole.tokens[clip_conds.span_of(frames)]}
    assert part.null_tokens == {range(3): whole.null_tokens[clip_conds.span_of(frames)]}
    assert (part.fps, part.anchor, part.rre) == (fps, whole.anchor, whole.rre)
    assert whole.fps == 3
    assert part.nulled().tokens == part.null_tokens


def test_missing_tokens_of_a_clip_say_which_nodes_to_connect():
    spans = [range(0, 31, 15), *(range(start, start + 4) for start in range(6))]
    message = (
        "there are no layout tokens for the clip of frames 0-6 by 3, only for 0-30 by 15, 0-3, 1-4, 2-5 and 3 more; "
        "connect the same Canvas Keyframe Plan to Canvas Encode Layout and to Canvas Hierarchical Sampler"
    )
    with pytest.raises(errors.ConditioningError) as caught:
        layout(spans).of_clip(clip_of((0, 3, 6), 3), None)
    assert str(caught.value) == message


def test_the_plain_sampler_says_what_a_layout_of_levels_is_for():
    tokens = layout([range(0, 31, 15), range(4)]).tokens
    with pytest.raises(
        errors.ConditioningError, match="no layout tokens for frames 0-6, only for 0-30 by 15, 0-3;"
    ) as e:
        conds_adapter.CONDLayout(tokens).process_cond(7)
    assert "'levels' is for Canvas Hierarchical Sampler" in str(e.value)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    return SimpleNamespace(
        canvas=str(tiny.write_checkpoint(folder / "canvas.safetensors")), sam=str(tiny.write_sam(folder / "sam.pth"))
    )


@pytest.fixture(scope="module")
def reader(files):
    return comfy_pack.part("nodes.adapters.follow_your_canvas.layout").load_layout_reader(files.canvas, files.sam)


def frames_of(source):
    return torch.rand(FRAMES, *source.size, 3, generator=torch.Generator().manual_seed(1))


CANVAS = pack_canvas.canvas_of_size(boxes.Size(40, 56), boxes.Size(40, 96))


def encode(reader, plan):
    node = comfy_pack.part("nodes.follow_your_canvas").CanvasEncodeLayout
    positive, negative = models.conditioning(1), models.conditioning(2)
    settings = windows.WindowSettings(window=64, overlap=16, frames=4, frame_overlap=1)
    return node.execute(positive, negative, frames_of(CANVAS.source), CANVAS, settings, reader, levels=plan).args


def test_tokens_are_encoded_for_the_frames_of_each_clip(files, reader):
    found = [cond[0][1]["canvas"] for cond in encode(reader, PLAN)]
    features = encode_frames(load_sam(files.sam), to_levels(frames_of(CANVAS.source)))
    encoder = load_network(open_checkpoint(files.canvas), "layout")
    for told in found:
        assert set(told.tokens) == set(told.null_tokens) == {range(0, 7, 3), range(4), range(3, 7)}
        for clip in PLAN.clips:
            part = told.of_clip(clip, None)
            with torch.inference_mode():
                real = encoder(features[list(clip.frames)][None])
                null = encoder(torch.zeros_like(features[list(clip.frames)])[None])
            assert (part.tokens[range(len(clip.frames))] - real).abs().max() < 1e-5
            assert (part.null_tokens[range(len(clip.frames))] - null).abs().max() < 1e-5


def test_without_levels_tokens_are_those_of_the_time_windows(reader):
    assert set(encode(reader, None)[0][0][1]["canvas"].tokens) == {range(4), range(3, 7)}


def test_a_plan_for_another_clip_is_refused(reader):
    with pytest.raises(
        errors.ConditioningError, match="the plan is for 9 frames, but there are 7 images; set 'frames'"
    ):
        encode(reader, levels.plan_levels(9, (1,)))


def guide(formula):
    node = comfy_pack.part("nodes.guidance").CanvasGuider
    return node.execute(models.core_model(), models.conditioning(1), models.conditioning(2), formula)


@pytest.mark.parametrize(
    "formula", [{"formula": "text + global"}, {"formula": "text + layout", "text_scale": 1.0}, None]
)
def test_a_formula_that_is_none_names_all(formula):
    message = (
        f"the formula is {formula!r}, but must be 'text + layout' with 'formula.text_scale' and 'formula.layout_scale', or 'context + global' "
        "with 'formula.context_scale' and 'formula.global_scale'"
    )
    with pytest.raises(errors.ConditioningError) as caught:
        guide(formula)
    assert str(caught.value) == message


def test_a_formula_of_the_table_gets_its_scales_in_order(monkeypatch):
    node, guider = comfy_pack.part("nodes.guidance"), comfy_pack.part("nodes.adapters.guider")
    scales = tuple(guider.Scale(name, 1.0, "") for name in ("first", "second", "third"))
    third = guider.Formula("three", scales, lambda *given: given[1:])
    monkeypatch.setattr(node, "FORMULAS", (*node.FORMULAS, third))
    positive, negative, *given = guide({"third": 3.5, "second": 2.5, "first": 1.5, "formula": "three"}).args[0]
    assert given == [1.5, 2.5, 3.5] and torch.equal(positive[0][0], models.conditioning(1)[0][0])
    assert torch.equal(negative[0][0], models.conditioning(2)[0][0])


@pytest.mark.parametrize("system", ["follow_your_canvas", "m3ddm"])
def test_each_system_s_guider_is_in_the_table(system):
    formula = comfy_pack.part("nodes.adapters.guider").Formula
    own = vars(comfy_pack.part(f"nodes.adapters.{system}.guider")).values()
    listed = comfy_pack.part("nodes.adapters.formulas").FORMULAS
    assert [value in listed for value in own if isinstance(value, formula)] == [True]
