"""Canvas Keyframe Plan: strides by name or as a list, and what it shows."""

from pathlib import Path

import comfy_pack
import pytest
import torch

comfy_pack.load_pack()

import folder_paths  # noqa: E402

plan_node = comfy_pack.part("nodes.levels").CanvasKeyframePlan
levels = comfy_pack.part("canvas_core.plan.keyframes")
draw_levels = comfy_pack.part("canvas_core.drawing.keyframes").draw_levels
errors = comfy_pack.part("canvas_core.errors")


@pytest.fixture(autouse=True)
def pictures(tmp_path, monkeypatch):
    """Where previews go."""
    monkeypatch.setattr(folder_paths, "temp_directory", str(tmp_path))
    return tmp_path


def plan(frames, strides, *sizes):
    return plan_node.execute(frames, strides, *sizes).args[0]


@pytest.mark.parametrize(
    ("frames", "strides", "expected"),
    [
        (1, {"strides": "m3ddm"}, (1,)),
        (49, {"strides": "m3ddm"}, (1,)),
        (50, {"strides": "m3ddm"}, (15, 5, 1)),
        (1, {"strides": "globalpaint"}, (1,)),
        (3, {"strides": "globalpaint"}, (1,)),
        (4, {"strides": "globalpaint"}, (3, 1)),
        (9, {"strides": "one level"}, (1,)),
        (9, {"strides": "custom", "list": "4, 2,1"}, (4, 2, 1)),
    ],
)
def test_strides_by_name_or_list(frames, strides, expected):
    assert plan(frames, strides) == levels.plan_levels(frames, expected, 16, 1)


def test_clip_and_overlap_are_passed_on():
    assert plan(40, {"strides": "one level"}, 7, 3) == levels.plan_levels(40, (1,), 7, 3)


def test_the_plan_is_drawn_and_shown(pictures):
    out = plan_node.execute(60, {"strides": "m3ddm"}, 16, 1)
    drawn = draw_levels(levels.plan_levels(60, (15, 5, 1)))
    assert torch.equal((out.args[1][0] * 255).round().byte(), drawn)
    (shown,) = out.ui.as_dict()["images"]
    assert (Path(pictures) / shown["subfolder"] / shown["filename"]).is_file()


@pytest.mark.parametrize(
    ("frames", "strides", "message"),
    [
        (30, {"strides": "custom", "list": "15; 5; 1"}, "the list of strides is '15; 5; 1', but must be whole numbers"),
        (30, {"strides": "custom", "list": ""}, "the list of strides is '', but must be"),
        (30, {"strides": "custom", "list": "5, 15, 1"}, "the strides are 5, 15, 1, but must fall from level to level"),
        (30, {"strides": "custom", "list": "15, 5"}, "and end in 1"),
        (2, {"strides": "custom", "list": "15, 5, 1"}, "3 levels are more than the 2 frames"),
        (30, {"strides": "guess"}, "but must be 'm3ddm', 'globalpaint', 'one level' or 'custom'"),
        (30, None, "in an API prompt name that 'strides.list'"),
    ],
)
def test_strides_that_cannot_work_are_refused(frames, strides, message):
    with pytest.raises(errors.GeometryError, match=message) as caught:
        plan(frames, strides)
    assert "\n" not in str(caught.value)


def test_an_overlap_as_long_as_the_clip_is_refused():
    with pytest.raises(errors.GeometryError, match="clips of 4 frames cannot share 4"):
        plan(30, {"strides": "one level"}, 4, 4)


def test_sockets_are_core_s_and_one_of_ours():
    schema = comfy_pack.part("nodes.levels").CanvasHierarchicalSampler.define_schema()
    from comfy_extras.nodes_custom_sampler import SamplerCustomAdvanced

    core = SamplerCustomAdvanced.define_schema()
    assert [socket.io_type for socket in schema.inputs] == [i.io_type for i in core.inputs] + ["CANVAS_LEVELS"]
    assert [(o.io_type, o.display_name) for o in schema.outputs] == [(o.io_type, o.display_name) for o in core.outputs]
