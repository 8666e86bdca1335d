"""ISO 8601, and nothing else: no numbers, no guesses about which part is the month."""

import re
from datetime import UTC, datetime, timedelta
from typing import Final

from msgspec import ValidationError, convert

_ZONE: Final = r"(?:[Zz]|[+-]\d\d(?::?\d\d)?)?"
_EXTENDED: Final = rf"\d{{4}}-\d\d-\d\d(?:[Tt ]\d\d(?::\d\d(?::\d\d(?:[.,]\d+)?)?)?{_ZONE})?"
_BASIC: Final = rf"\d{{8}}[Tt]\d{{4}}(?:\d\d(?:[.,]\d+)?)?{_ZONE}"
_FORMS: Final = re.compile(rf"{_EXTENDED}|{_BASIC}", re.ASCII)

_LONGEST_EXACT: Final = 26
"""Of longer texts msgspec may round the seventh digit of a second and those behind it."""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)


def milliseconds(text: str) -> int | None:
    """The instant in whole milliseconds since the epoch, rounded down; without a zone it is UTC. None: unreadable.

    >>> milliseconds("1970-01-01T01:00:00.0019+01:00")
    1
    """
    read = _read(text)
    if read is None:
        return None
    return ((read if read.tzinfo else read.replace(tzinfo=UTC)) - _EPOCH) // _MILLISECOND


def calendar_date(text: str) -> str | None:
    """The date as it is written, `YYYY-MM-DD`, whatever the zone: a birthday does not move. None: unreadable."""
    read = _read(text)
    return None if read is None else read.date().isoformat()


def _read(text: str) -> datetime | None:
    """Nearly all are RFC 3339, which msgspec reads three times as fast."""
    try:
        return convert(text, datetime) if len(text) <= _LONGEST_EXACT else _read_any(text)
    except ValidationError:
        return _read_any(text)


def _read_any(text: str) -> datetime | None:
    if not _FORMS.fullmatch(text):
        return None
    try:
        return datetime.fromisoformat(text.upper())
    except ValueError:  # the 30th of February
        return None
