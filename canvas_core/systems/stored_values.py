"""Values that a file stores as JSON, checked against the dataclass fields they are meant for."""

import json
import reprlib
import sys
from collections.abc import Mapping
from dataclasses import fields
from types import NoneType
from typing import Any, get_args, get_origin, get_type_hints

NAMES = {int: "a whole number", float: "a finite number", bool: "true or false", str: "a text"}


def read_json(text: str) -> Any:
    """What the JSON says. Raises ValueError, however deep it is nested."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deep") from None


def check_values(kind: type, values: Mapping[str, Any]) -> None:
    """Raise ValueError unless every value fits the type of the field of its name, and each name is one."""
    hints, names = get_type_hints(kind), {field.name for field in fields(kind)}
    for name, value in values.items():
        if name not in names:
            raise ValueError(f"{reprlib.repr(name)} is unknown")
        if not _fits(value, hints[name]):
            raise ValueError(f"{name} is {reprlib.repr(value)}, but must be {_describe(hints[name])}")


def _kind(hint: Any) -> tuple[Any, bool]:
    """The type of a field without `| None`, and whether the field may be None."""
    kinds = get_args(hint)
    if NoneType not in kinds:
        return hint, False
    return next(kind for kind in kinds if kind is not NoneType), True


def _fits(value: Any, hint: Any) -> bool:
    kind, optional = _kind(hint)
    if value is None:
        return optional
    if get_origin(kind) is tuple:
        return isinstance(value, tuple) and all(_fits(item, get_args(kind)[0]) for item in value)
    if isinstance(value, bool) or kind in (bool, str):
        return type(value) is kind
    if kind is float:
        return isinstance(value, int | float) and abs(value) <= sys.float_info.max  # false for NaN
    return isinstance(value, kind)


def _describe(hint: Any) -> str:
    kind, optional = _kind(hint)
    if get_origin(kind) is tuple:
        return f"a list, each item {NAMES[get_args(kind)[0]]}"
    known = [NAMES[kind]] if kind in NAMES else []
    return " or ".join([*known, *(["null"] if optional else [])])
