"""Time as people write and read it: spans (`90s`, `10m`, `1h30m`, `2d`) and moments."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import click

_UNITS: Final = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}
_WRITTEN: Final = re.compile("".join(rf"(?:(\d+){unit})?" for unit in _UNITS))
_ADVICE: Final = "write a number and a unit: 90s, 10m, 1h30m or 2d"
_MOMENT_ADVICE: Final = "write 2026-01-31, 2026-01-31T12:00Z, or how long ago it was: 2h or 3d"


class Duration(click.ParamType[timedelta]):
    """A span on the command line."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        if isinstance(value, timedelta):
            return value
        try:
            return read(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


class Moment(click.ParamType[datetime]):
    """A moment on the command line."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        if isinstance(value, datetime):
            return value
        try:
            return moment(value, datetime.now(UTC))
        except ValueError as error:
            self.fail(str(error), param, ctx)


def read(text: str) -> timedelta:
    """`1h30m` → 90 minutes. Raises `ValueError` that says how to write it."""
    match = _WRITTEN.fullmatch(text.strip().lower())
    numbers = [int(number or 0) for number in match.groups()] if match else []
    seconds = sum(number * unit for number, unit in zip(numbers, _UNITS.values(), strict=False))
    if not seconds:
        raise ValueError(f"{text!r} is no span of time; {_ADVICE}")
    try:
        return timedelta(seconds=seconds)
    except OverflowError:
        raise ValueError(f"{text!r} is too long a span of time; {_ADVICE}") from None


def moment(text: str, now: datetime) -> datetime:
    """ISO 8601, in UTC where it names no zone, or so long before `now`. Raises `ValueError` that says how to write it.

    >>> moment("2026-01-31T12:00", datetime.now(UTC)).isoformat()
    '2026-01-31T12:00:00+00:00'
    """
    try:
        return now - read(text)
    except (ValueError, OverflowError):
        pass
    try:
        found = datetime.fromisoformat(text.strip())
    except ValueError:
        raise ValueError(f"{text!r} is no moment; {_MOMENT_ADVICE}") from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def write(seconds: float) -> str:
    """The two largest units: `4s`, `12m 5s`, `1d 3h`."""
    left = max(0, round(seconds))
    parts: list[str] = []
    for unit, size in _UNITS.items():
        number, left = divmod(left, size)
        if number:
            parts.append(f"{number}{unit}")
        elif parts:
            break
    return " ".join(parts[:2]) or "0s"


def utc(milliseconds: int) -> str:
    """`2026-01-31T12:00:00.000Z`"""
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
