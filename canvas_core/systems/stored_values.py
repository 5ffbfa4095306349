"""Values that a file stores as JSON, checked against the dataclass fields they are meant for."""

import json
import reprlib
import sys
from collections.abc import Mapping
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
    hints = get_type_hints(kind)
    for name, value in values.items():
        if name not in hints:
            raise ValueError(f"{reprlib.repr(name)} is unknown")
        if not _fits(value, hints[name]):
            raise ValueError(f"{name} is {reprlib.repr(value)}, but must be {_describe(hints[name])}")


def _fits(value: Any, hint: Any) -> bool:
    if get_origin(hint) is tuple:
        return isinstance(value, tuple) and all(_fits(item, get_args(hint)[0]) for item in value)
    if isinstance(value, bool) or hint in (bool, str):
        return type(value) is hint
    if hint is float:
        return isinstance(value, int | float) and abs(value) <= sys.float_info.max  # false for NaN
    return isinstance(value, hint)


def _describe(hint: Any) -> str:
    return f"a list, each item {NAMES[get_args(hint)[0]]}" if get_origin(hint) is tuple else NAMES[hint]
