"""Profile properties of a source event, in the types that a destination declares.

| type    | takes                                                     | becomes                              |
|---------|-----------------------------------------------------------|--------------------------------------|
| STRING  | text of at most 1,000 characters, numbers, booleans       | text, trimmed                        |
| NUMBER  | finite numbers of 64 bits, and text that is one (`"4e1"`) | the number                           |
| BOOLEAN | `true` and `false`, also as text in any case              | the boolean                          |
| DATE    | ISO 8601, with or without a time                          | `YYYY-MM-DD` as written, in any zone |

Nothing is cut or guessed: text that is longer or has control characters beside tabs and line ends, 1 for `true`,
numbers for a date, objects and lists do not fit.
"""

import math
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from producers.iso8601 import calendar_date
from producers.paths import Parents, Places
from worker.contract import Property
from worker.destinations.base import PropertyReading
from worker.destinations.mapping import text_of
from worker.paths import steps

_NUMBER: Final = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
_INTEGER: Final = re.compile(r"[+-]?\d+", re.ASCII)
_MAX_DIGITS: Final = 40
_INT64: Final = range(-(2**63), 2**63)
"""What a change can hold in the form it has in Redis."""
_LONGEST_TEXT: Final = 1_000
"""In characters. A thousand profiles go into one request, and a vendor that stores less would refuse the person."""
_BOOLEANS: Final = {"true": True, "false": False}
_LARGEST_WRITTEN: Final = 10**_MAX_DIGITS
_UNFIT: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")
"""Control characters, which many databases refuse, and halves of surrogate pairs, which UTF-8 cannot hold."""

Lost = Callable[[str], None]


class PropertyReader:
    """Reads the same properties from one source event after another.

    A value that does not fit its type counts as absent; then the next path is tried.
    """

    def __init__(self, readings: Iterable[PropertyReading], places: Places | None = None) -> None:
        self._places = Places() if places is None else places
        self._readings = [
            (reading.name, _CONVERSIONS[reading.type], [self._places.add(steps(path)) for path in reading.paths])
            for reading in readings
        ]

    def read(self, tree: Mapping[str, Any], lost: Lost | None = None) -> dict[str, Property]:
        """The properties that the event has. `lost` is told the name of each that has a value, but none that fits."""
        return self.read_in(self._places.parents(tree), lost)

    def read_in(self, parents: Parents, lost: Lost | None = None) -> dict[str, Property]:
        """The same of the parents of an event's places."""
        found: dict[str, Property] = {}
        unfit: list[tuple[str, object]] = []
        for name, convert, places in self._readings:
            for at, key in places:
                parent = parents[at]
                if parent and (value := parent.get(key)) is not None:
                    if (fitting := convert(value)) is not None:
                        found[name] = fitting
                        break
                    unfit.append((name, value))
        if unfit and lost is not None:
            for name in {name for name, value in unfit if name not in found and not _is_blank(value)}:
                lost(name)
        return found


def fits(value: object, type_: str) -> bool:
    """Whether it can be a property of that type."""
    return _CONVERSIONS[type_](value) is not None


def _is_blank(value: object) -> bool:
    """Text without a character in it states nothing."""
    return isinstance(value, str) and not value.strip()


def _string(value: object) -> str | None:
    if isinstance(value, str):
        text = value.strip()
        clean = text.isprintable() or not _UNFIT.search(text)
        return text if text and clean and len(text) <= _LONGEST_TEXT else None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value) if -_LARGEST_WRITTEN < value < _LARGEST_WRITTEN else None
    return text_of(value) if isinstance(value, float) and math.isfinite(value) else None


def _number(value: object) -> int | float | None:
    if isinstance(value, str):
        return _number_in(value.strip())
    return _finite(value)


def _boolean(value: object) -> bool | None:
    if isinstance(value, bool):
        return value
    return _BOOLEANS.get(value.strip().lower()) if isinstance(value, str) else None


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
