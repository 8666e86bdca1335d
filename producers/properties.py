"""Profile properties of a source event, in the types that a destination declares."""

import math
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from producers.iso8601 import calendar_date
from worker.contract import Property
from worker.destinations.base import PropertyReading

_NUMBER: Final = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
_INTEGER: Final = re.compile(r"[+-]?\d+", re.ASCII)
_MAX_DIGITS: Final = 40
_NOTHING: Final[Mapping[str, Any]] = {}
_INT64: Final = range(-(2**63), 2**63)
"""What a change can hold in the form it has in Redis."""


def at(tree: object, path: Iterable[str]) -> object:
    """What stands at the path, or None."""
    for step in path:
        if not isinstance(tree, dict):
            return None
        tree = tree.get(step)
    return tree


class PropertyReader:
    """Reads the same properties from one source event after another.

    A value that does not fit its type counts as absent; then the next path is tried.
    """

    def __init__(self, readings: Iterable[PropertyReading]) -> None:
        self._parents: dict[tuple[str, ...], int] = {}
        self._readings = [
            (reading.name, _CONVERSIONS[reading.type], [self._place(path) for path in reading.paths])
            for reading in readings
        ]

    def read(self, tree: object) -> dict[str, Property]:
        parents = [_object_at(tree, steps) for steps in self._parents]
        found: dict[str, Property] = {}
        for name, convert, places in self._readings:
            for parent, leaf in places:
                value = parents[parent].get(leaf)
                if value is not None and (fitting := convert(value)) is not None:
                    found[name] = fitting
                    break
        return found

    def _place(self, path: str) -> tuple[int, str]:
        """The path as the number of its parent, which is looked up once for all readings, and a key in it."""
        *steps, leaf = path.split(".")
        return self._parents.setdefault(tuple(steps), len(self._parents)), leaf


def _object_at(tree: object, steps: tuple[str, ...]) -> Mapping[str, Any]:
    found = at(tree, steps)
    return found if isinstance(found, dict) else _NOTHING


def _string(value: object) -> str | None:
    if isinstance(value, str):
        return value.strip() or None
    if isinstance(value, bool):
        return "true" if value else "false"
    number = _finite(value)
    return None if number is None else str(number)


def _number(value: object) -> int | float | None:
    if isinstance(value, str):
        return _number_in(value.strip())
    return _finite(value)


def _boolean(value: object) -> bool | None:
    if isinstance(value, bool):
        return value
    return {"true": True, "false": False}.get(value) if isinstance(value, str) else None


def _date(value: object) -> str | None:
    return calendar_date(value.strip()) if isinstance(value, str) else None


def _number_in(text: str) -> int | float | None:
    if len(text) > _MAX_DIGITS or not _NUMBER.fullmatch(text):
        return None
    return _finite(int(text) if _INTEGER.fullmatch(text) else float(text))


def _finite(value: object) -> int | float | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value if value in _INT64 else None
    return value if isinstance(value, float) and math.isfinite(value) else None


_CONVERSIONS: Final[Mapping[str, Callable[[object], Property | None]]] = {
    "STRING": _string,
    "NUMBER": _number,
    "BOOLEAN": _boolean,
    "DATE": _date,
}
