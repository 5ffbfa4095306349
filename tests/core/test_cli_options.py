"""The settings of every system are options: none is missing, none is silently ignored, and their defaults are the published ones."""

import argparse
from dataclasses import asdict

import pytest

from canvas_core.cli.options import system_options
from canvas_core.cli.parser import build_parser, parse
from canvas_core.cli.request import read_request
from canvas_core.errors import CanvasError, ConditioningError
from canvas_core.plan.boxes import Size
from canvas_core.systems.catalogue import SYSTEMS
from canvas_core.systems.options import options
from canvas_core.systems.presets import DEFAULT
from canvas_core.systems.system import Checkpoint, Files

SYSTEMS_BY_NAME = {system.name: system for system in SYSTEMS}
SHARED = {
    "planner": "even",
    "weights": "centred",
    "clip": 16,
    "clip_overlap": 1,
    "feather": 8,
    "match": 0,
    "texture": 0.0,
}
DEFAULTS = {
    "follow_your_canvas": {
        "window": 512,
        "overlap": 128,
        "steps": 40,
        "cfg": 8.0,
        "layout_cfg": None,
        "strength": 1.0,
        "fill": "cone + detail",
        "propagate": False,
        "prompt": "",
        "negative": "",
        "rre": "centre_px",
        "start_from": "source",
        "fps": 8,
        "batch": 1,
        "frame_window": 64,
        "frame_overlap": 16,
        "min_overlap": None,
        "refine": False,
        "paste": "feather",
    },
    "m3ddm": {"window": 256, "overlap": 64, "steps": 50, "context_scale": 2.0, "global_scale": 4.0},
}
COMMANDS = {
    "outpaint": "base vae sam seed device dtype model preset aspect size pad anchor offset frames levels output "
    "window overlap planner weights frame-window frame-overlap min-overlap clip clip-overlap "
    "prompt negative rre start-from steps cfg strength fill propagate no-propagate layout-cfg context-scale "
    "global-scale fps batch feather refine no-refine match texture paste",
    "plan": "model preset aspect size pad anchor offset frames levels output "
    "window overlap planner weights frame-window frame-overlap min-overlap clip clip-overlap",
    "inspect": "",
    "convert": "dtype rre",
    "measure": "known",
    "evaluate": "pictures output model presets base vae sam seed device dtype",
    "train": "output minutes until",
    "demo": "base vae sam seed device dtype model preset output "
    "window overlap planner weights frame-window frame-overlap min-overlap "
    "prompt negative rre start-from steps cfg strength fill propagate no-propagate layout-cfg context-scale "
    "global-scale fps batch feather refine no-refine match texture paste",
}


def commands():
    (found,) = (one.choices for one in build_parser()._actions if isinstance(one, argparse._SubParsersAction))
    return found


def option_of(name):
    """What `outpaint` says of an option."""
    return next(one for one in commands()["outpaint"]._actions if one.dest == name)


def checkpoint_of(system):
    return Checkpoint(None, system, None, {}, {DEFAULT: system.settings()})


def flag(name):
    return f"--{name.replace('_', '-')}"


def given(name):
    """Words that give an option, and the value that they stand for, which is not the default of any system."""
    action = option_of(name)
    if isinstance(action, argparse.BooleanOptionalAction):
        return [flag(name)], True
    if action.choices:
        taken = {SHARED.get(name), *(known.get(name) for known in DEFAULTS.values())}
        value = next(one for one in action.choices if one not in taken)
        return [flag(name), value], value
    text = {"H,W": "8,16", "FILE": "file.pth", "DIR": "folder"}.get(action.metavar)
    text = text or {int: "64", float: "0.5"}.get(action.type, "a lake")
    text = {"window": "128", "overlap": "32", "frame_window": "80", "fps": "4"}.get(name, text)
    return [flag(name), text], action.type(text) if action.type else text


def request(*words, command="outpaint"):
    base = {"outpaint": ["clip.mkv", "--size", "96x80", "--output", "out.mkv"], "demo": []}[command]
    return read_request(parse([command, *base, *words]))


FIELDS = [(name, option) for name, system in SYSTEMS_BY_NAME.items() for option in options(system.settings)]
FOREIGN = [
    (name, option)
    for name, system in SYSTEMS_BY_NAME.items()
    for option in (*system_options(), *Files._fields)
    if option not in {*options(system.settings), *system.files}
]


@pytest.mark.parametrize("command", COMMANDS)
def test_options_keep_their_names(command):
    found = {word for one in commands()[command]._actions for word in one.option_strings} - {"-h", "--help"}
    assert found == {f"--{name}" for name in COMMANDS[command].split()}


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_helps(command, capsys):
    with pytest.raises(SystemExit) as caught:
        parse([command, "--help"])
    assert caught.value.code == 0 and all(one.help or not one.option_strings for one in commands()[command]._actions)


@pytest.mark.parametrize("system", SYSTEMS_BY_NAME)
def test_defaults_are_the_published_ones(system):
    assert asdict(SYSTEMS_BY_NAME[system].settings()) == {**SHARED, **DEFAULTS[system]}


@pytest.mark.parametrize(("system", "name"), FIELDS)
def test_every_setting_is_an_option_with_a_help_text(system, name):
    action = option_of(name)
    own = options(SYSTEMS_BY_NAME[system].settings)[name]
    assert flag(name) in action.option_strings and action.default is None
    assert own.metadata["help"] in action.help or any(
        options(other.settings)[name].metadata["help"] in action.help
        for other in SYSTEMS
        if name in options(other.settings)
    )
    if own.default not in (None, "", True, False):
        assert f"{own.default}" in action.help


@pytest.mark.parametrize(("system", "name"), FIELDS)
def test_what_is_given_is_what_a_system_is_run_with(system, name):
    words, value = given(name)
    kind = SYSTEMS_BY_NAME[system]
    # A window needs room for its overlap, and a clip for what it shares.
    roomy = {"window": ["--overlap", "32"], "clip_overlap": ["--clip", "80"], "frame_overlap": ["--frame-window", "80"]}
    settings = request(*words, *roomy.get(name, [])).model.settings(checkpoint_of(kind))
    assert getattr(settings, name) == value != options(kind.settings)[name].default
    untouched = request().model.settings(checkpoint_of(kind))
    assert untouched == kind.settings()


@pytest.mark.parametrize(("system", "name"), FOREIGN)
def test_an_option_of_another_system_is_refused(system, name):
    title = SYSTEMS_BY_NAME[system].title
    with pytest.raises(ConditioningError) as caught:
        request(*given(name)[0]).model.settings(checkpoint_of(SYSTEMS_BY_NAME[system]))
    assert str(caught.value) == f"{flag(name)} means nothing to {title}; leave it out"


def test_there_is_something_to_refuse():
    assert {system for system, _ in FOREIGN} == set(SYSTEMS_BY_NAME)
    assert ("m3ddm", "sam") in FOREIGN and ("follow_your_canvas", "global_scale") in FOREIGN


@pytest.mark.parametrize(("system", "name"), FOREIGN)
def test_help_says_whose_an_option_is(system, name):
    owners = {one.title for one in SYSTEMS if name in options(one.settings)}
    if owners:
        assert option_of(name).help.startswith(f"{' and '.join(sorted(owners))}: ")


@pytest.mark.parametrize("command", ["outpaint", "demo"])
@pytest.mark.parametrize("system", SYSTEMS_BY_NAME)
def test_an_empty_prompt_is_no_prompt(system, command):
    kind = SYSTEMS_BY_NAME[system]
    settings = request("--prompt", "", "--negative", "", command=command).model.settings(checkpoint_of(kind))
    assert settings == kind.settings()


def test_an_empty_prompt_takes_the_place_of_a_preset_s():
    system = SYSTEMS_BY_NAME["follow_your_canvas"]
    checkpoint = Checkpoint(None, system, None, {}, {DEFAULT: system.settings(prompt="a lake", steps=7)})
    settings = request("--prompt", "").model.settings(checkpoint)
    assert (settings.prompt, settings.steps) == ("", 7)


def test_values_are_read_as_what_they_are():
    asked = request("--min-overlap", "8,16", "--no-propagate", "--layout-cfg", "2", "--steps", "9")
    assert asked.model.given == {"min_overlap": Size(8, 16), "propagate": False, "layout_cfg": 2.0, "steps": 9}
    assert type(asked.model.given["layout_cfg"]) is float and type(asked.model.given["min_overlap"]) is Size


@pytest.mark.parametrize("words", ["--steps many", "--planner best", "--min-overlap 8", "--cfg x", "--fill magic"])
def test_values_of_another_kind_are_usage_errors(words, capsys):
    with pytest.raises(SystemExit) as caught:
        request(*words.split())
    assert caught.value.code == 2 and words.split()[0] in capsys.readouterr().err


OUT_OF_RANGE = {
    "follow_your_canvas": {
        "steps": ("0", "number of steps is 0"),
        "strength": ("0", "strength is 0"),
        "fps": ("24", "--fps is 24"),
        "batch": ("0", "windows at once is 0"),
        "texture": ("2", "share of texture is 2"),
        "match": ("-1", "border match is -1 px"),
        "window": ("100", "multiple of 8"),
        "frame_overlap": ("64", "frame overlap is 64"),
    },
    "m3ddm": {
        "steps": ("1", "number of steps is 1, but must be 2"),
        "texture": ("2", "share of texture is 2"),
        "match": ("-1", "border match is -1 px"),
        "overlap": ("256", "overlap is 256 px"),
    },
}


@pytest.mark.parametrize(
    ("system", "name"), [(system, name) for system, names in OUT_OF_RANGE.items() for name in names]
)
def test_values_out_of_range_are_refused_when_settings_are_made(system, name):
    text, message = OUT_OF_RANGE[system][name]
    with pytest.raises(CanvasError, match=message):
        request(flag(name), text).model.settings(checkpoint_of(SYSTEMS_BY_NAME[system]))
