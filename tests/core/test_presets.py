"""Recommended settings inside a checkpoint, and what they become."""

import json
from dataclasses import asdict, fields

import pytest

from canvas_core.cli import build_parser, fill_in, make_windows
from canvas_core.errors import CheckpointError
from canvas_core.pipeline import settings_of
from canvas_core.systems.follow_your_canvas.relative_region import CONVENTIONS
from canvas_core.systems.presets import DEFAULT, Preset, choose_preset, read_presets

ANOTHER = {bool: lambda v: not v, int: lambda v: 2 * v or 24, float: lambda v: v / 2, str: lambda v: "cone"}
OTHER = Preset(**{field.name: ANOTHER[type(field.default)](field.default) for field in fields(Preset)})
"""Every setting differs from the default one."""


def stored(**presets):
    return {"canvas.presets": json.dumps(presets)}


def arguments(*options):
    return build_parser().parse_args(["outpaint", "a.mkv", "--output", "b.mkv", "--size", "64x64", *options])


def test_presets_are_read_back():
    found = read_presets(stored(default=asdict(OTHER), draft={"steps": 1}))
    assert found == {"default": OTHER, "draft": Preset(steps=1)}


def test_a_whole_number_is_a_number():
    assert read_presets(stored(default={"cfg": 3, "steps": 4}))["default"] == Preset(cfg=3.0, steps=4)


@pytest.mark.parametrize("metadata", [{}, stored(), {"canvas.presets": "{}"}])
def test_a_checkpoint_without_presets_has_the_published_one(metadata):
    assert read_presets(metadata) == {DEFAULT: Preset()}


STRANGE = {
    "steps": ["many", 2.5, True, None, [4]],
    "cfg": ["8", True, [8.0], {}, float("nan"), float("inf"), 10**400],
    "fill": [3, None, ["cone"]],
    "propagate": [1, "yes", None],
}
DEEP = "[" * 100_000 + "]" * 100_000
UNREADABLE = ["{", "[1]", "3", DEEP, '{"default": ' * 100_000 + "{}" + "}" * 100_000]
UNREADABLE += [
    '{"default": 3}',
    '{"default": {"step": 3}}',
    '{"default": [3]}',
    '{"default": []}',
    '{"default": "steps"}',
]
UNREADABLE += [json.dumps({"draft": {name: value}}) for name, values in STRANGE.items() for value in values]


@pytest.mark.parametrize("text", UNREADABLE, ids=lambda text: text[:40])
def test_presets_that_cannot_be_read_are_refused(text):
    with pytest.raises(CheckpointError, match="'canvas.presets' cannot be read .* out of steps, cfg"):
        read_presets({"canvas.presets": text})


def test_an_unknown_preset_is_refused():
    with pytest.raises(CheckpointError, match="no preset 'fast'; choose one of default, draft"):
        choose_preset(read_presets(stored(draft={})), "fast")


def test_options_left_out_come_from_the_preset():
    args = arguments()
    fill_in(args, OTHER)
    assert {field.name: getattr(args, field.name) for field in fields(Preset)} == asdict(OTHER)


def test_options_that_were_given_win():
    args = arguments("--steps", "9", "--no-propagate", "--feather", "0", "--cfg", "0", "--overlap", "0")
    fill_in(args, OTHER)
    assert (args.steps, args.propagate, args.feather, args.cfg, args.overlap) == (9, False, 0, 0, 0)
    assert (args.strength, args.window) == (OTHER.strength, OTHER.window)


@pytest.mark.parametrize("rre", CONVENTIONS)
def test_settings_of_a_preset_are_those_of_the_command_line(rre):
    settings, args = settings_of(OTHER, rre), arguments()
    fill_in(args, OTHER)
    assert settings.windows == make_windows(args)
    assert (settings.rre, len(settings.guidance.branches)) == (rre, 2)
    for name in ("steps", "strength", "fill", "propagate", "feather", "refine", "match", "texture"):
        assert getattr(settings, name) == getattr(OTHER, name)
