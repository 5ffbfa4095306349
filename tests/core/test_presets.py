"""Recommended settings inside a checkpoint, and what they become."""

import json
from dataclasses import asdict, fields, replace
from typing import get_args, get_type_hints

import pytest

from canvas_core.cli.parser import parse
from canvas_core.cli.request import read_request
from canvas_core.errors import CheckpointError, ConditioningError
from canvas_core.plan.boxes import Size
from canvas_core.plan.windows import WindowSettings
from canvas_core.systems.catalogue import SYSTEMS
from canvas_core.systems.follow_your_canvas.files import FOLLOW_YOUR_CANVAS
from canvas_core.systems.follow_your_canvas.relative_region import CONVENTIONS
from canvas_core.systems.follow_your_canvas.settings import Settings
from canvas_core.systems.m3ddm.files import M3DDM
from canvas_core.systems.options import options
from canvas_core.systems.presets import DEFAULT, choose_preset, read_presets, read_recorded
from canvas_core.systems.system import Checkpoint

ANOTHER = {
    bool: lambda v: not v,
    int: lambda v: 2 * v or 24,
    float: lambda v: v / 2 if v else 0.5,
    str: lambda v: v + "a boat",
    Size: lambda v: Size(40, 48),
}


def another(settings, option):
    """A value of an option that is not its default."""
    if choices := option.metadata["choices"]:
        return next(choice for choice in choices if choice != option.default)
    hint = get_type_hints(settings)[option.name]
    return ANOTHER[(get_args(hint) or (hint,))[0]](option.default)


OTHERS = {
    one.name: one.settings(**{name: another(one.settings, option) for name, option in options(one.settings).items()})
    for one in SYSTEMS
}
"""Every setting of every system differs from the published one."""
OTHER = OTHERS[FOLLOW_YOUR_CANVAS.name]

by_system = pytest.mark.parametrize("system", SYSTEMS, ids=lambda one: one.name)


def stored(**presets):
    return {"canvas.presets": json.dumps(presets)}


def checkpoint(system, **presets):
    """A checkpoint of which only the settings matter."""
    return Checkpoint(None, system, None, {}, {DEFAULT: system.settings(), **presets})


def chosen(*words, of):
    """The settings that a command line asks for of a checkpoint."""
    args = parse(["outpaint", "a.mkv", "--output", "b.mkv", "--size", "64x64", *words])
    return read_request(args).model.settings(of)


def as_words(name, value):
    """An option on the command line."""
    if isinstance(value, bool):
        return [f"--{'' if value else 'no-'}{name.replace('_', '-')}"]
    return [f"--{name.replace('_', '-')}", ",".join(map(str, value)) if isinstance(value, Size) else str(value)]


@by_system
def test_the_settings_of_these_tests_are_not_the_published_ones(system):
    published, other = system.settings(), OTHERS[system.name]
    assert not [name for name in options(system.settings) if getattr(published, name) == getattr(other, name)]


@by_system
def test_presets_are_read_back(system):
    other = OTHERS[system.name]
    kept = {name: value for name, value in asdict(other).items() if not isinstance(value, tuple)}
    found = read_presets(stored(default=kept, draft={"steps": 3}), system.settings())
    expected = replace(other, min_overlap=None) if system is FOLLOW_YOUR_CANVAS else other
    assert found == {"default": expected, "draft": system.settings(steps=3)}


def test_a_whole_number_is_a_number_and_nothing_turns_off():
    found = read_presets(stored(default={"cfg": 3, "steps": 4, "layout_cfg": 2}, off={"layout_cfg": None}), Settings())
    assert found == {"default": Settings(cfg=3.0, steps=4, layout_cfg=2.0), "off": Settings()}


@by_system
@pytest.mark.parametrize("metadata", [{}, stored(), {"canvas.presets": "{}"}])
def test_a_checkpoint_without_presets_has_the_published_one(system, metadata):
    assert read_presets(metadata, system.settings()) == {DEFAULT: system.settings()}


STRANGE = {
    "steps": ["many", 2.5, True, None, [4], 0, 1000],
    "cfg": ["8", True, [8.0], {}, float("nan"), float("inf"), 10**400, None],
    "layout_cfg": ["8", True, [8.0], {}, float("nan"), float("inf"), 10**400],
    "min_overlap": [[8, 8], 8, "8,8", True],
    "fill": [3, None, ["cone"], "concrete"],
    "planner": [1, None, "odd"],
    "propagate": [1, "yes", None],
    "strength": [0, 1.5, -1],
    "batch": [0],
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
    with pytest.raises(CheckpointError, match=r"(?s)'canvas.presets' cannot be read .* out of window, .*, steps, cfg"):
        read_presets({"canvas.presets": text}, Settings())


def test_a_strange_value_is_told_with_what_it_must_be():
    with pytest.raises(CheckpointError, match="layout_cfg is 'x', but must be a finite number or null"):
        read_presets(stored(default={"layout_cfg": "x"}), Settings())
    with pytest.raises(CheckpointError, match=r"min_overlap is \[8, 8\], but must be null"):
        read_presets(stored(default={"min_overlap": [8, 8]}), Settings())


@pytest.mark.parametrize("name", ["cfg", "batch", "rre"])
def test_a_preset_of_one_system_is_none_of_another(name):
    assert name in {field.name for field in fields(Settings)}
    with pytest.raises(CheckpointError, match=f"'{name}' is unknown"):
        read_presets(stored(default={name: getattr(OTHER, name)}), M3DDM.settings())


def test_an_unknown_preset_is_refused():
    with pytest.raises(CheckpointError, match="no preset 'fast'; choose one of default, draft"):
        choose_preset(read_presets(stored(draft={}), Settings()), "fast")


@by_system
def test_options_left_out_come_from_the_preset(system):
    other = OTHERS[system.name]
    assert chosen(of=checkpoint(system, default=other)) == other
    draft = checkpoint(system, draft=other)
    assert chosen("--preset", "draft", of=draft) == other
    assert chosen(of=draft) == system.settings()


@pytest.mark.parametrize("zero", ["--feather", "--cfg", "--overlap"])
def test_a_zero_that_was_given_wins(zero):
    found = chosen(zero, "0", of=checkpoint(FOLLOW_YOUR_CANVAS, default=OTHER))
    assert found == replace(OTHER, **{zero.removeprefix("--"): 0})


def test_options_that_were_given_win():
    words = ["--steps", "9", "--no-propagate", "--feather", "0", "--cfg", "0", "--overlap", "0"]
    assert OTHER.propagate and OTHER.feather and OTHER.cfg and OTHER.overlap
    found = chosen(*words, of=checkpoint(FOLLOW_YOUR_CANVAS, default=OTHER))
    assert found == replace(OTHER, steps=9, propagate=False, feather=0, cfg=0.0, overlap=0)


@pytest.mark.parametrize(
    ("system", "name"),
    [(one, name) for one in SYSTEMS for name in options(one.settings)],
    ids=lambda one: getattr(one, "name", one),
)
def test_each_option_sets_what_it_is_called_and_nothing_else(system, name):
    value = getattr(OTHERS[system.name], name)
    found = chosen(*as_words(name, value), of=checkpoint(system))
    assert found == replace(system.settings(), **{name: value})


@by_system
def test_a_preset_and_a_command_line_say_the_same(system):
    other = OTHERS[system.name]
    words = [word for name in options(system.settings) for word in as_words(name, getattr(other, name))]
    assert chosen(*words, of=checkpoint(system)) == chosen(of=checkpoint(system, default=other)) == other


@pytest.mark.parametrize(
    ("system", "words"),
    [(M3DDM, ("--cfg", "3")), (M3DDM, ("--rre", "official")), (FOLLOW_YOUR_CANVAS, ("--context-scale", "3"))],
    ids=lambda x: x if isinstance(x, str) else None,
)
def test_options_of_another_system_are_refused(system, words):
    with pytest.raises(ConditioningError, match=f"{words[0]} means nothing to {system.title}; leave it out"):
        chosen(*words, of=checkpoint(system))


@pytest.mark.parametrize("rre", CONVENTIONS)
def test_all_presets_have_the_convention_that_the_file_records(rre):
    metadata = {"canvas.rre": rre, **stored(draft={"steps": 3})}
    found = read_presets(metadata, read_recorded(metadata, Settings, FOLLOW_YOUR_CANVAS.recorded))
    assert found == {"default": Settings(rre=rre), "draft": Settings(steps=3, rre=rre)}


def test_settings_are_what_is_run():
    assert OTHER.windows == WindowSettings(1024, 256, "official", "official", 128, 32, Size(40, 48))
    assert [len(one.guidance.branches) for one in (Settings(), Settings(cfg=1.0), OTHER)] == [2, 1, 3]
    finishing = OTHER.finishing
    for name in ("match", "texture", "feather", "start_from"):
        assert getattr(finishing, name) == getattr(OTHER, name)
    assert (finishing.refine, finishing.borrow) == (OTHER.fill, OTHER.propagate)
