"""Time as people write and read it."""

from datetime import UTC, datetime, timedelta

import pytest

from cli.durations import moment, read, utc, write

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("90s", timedelta(seconds=90)),
        ("10m", timedelta(minutes=10)),
        ("1h30m", timedelta(minutes=90)),
        (" 2D ", timedelta(days=2)),
        ("1d2h3m4s", timedelta(days=1, hours=2, minutes=3, seconds=4)),
    ],
)
def test_a_span_is_numbers_with_units_from_days_to_seconds(text: str, span: timedelta) -> None:
    assert read(text) == span


@pytest.mark.parametrize("text", ["", "10", "m", "ten minutes", "-5m", "1.5h", "5m1h", "0s", "99999999999999d"])
def test_anything_else_is_refused_with_how_to_write_it(text: str) -> None:
    with pytest.raises(ValueError, match="90s, 10m, 1h30m or 2d"):
        read(text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (0.4, "0s"), (59.6, "1m"), (61, "1m 1s"), (3600, "1h"), (3601, "1h"), (90_061, "1d 1h"), (-3, "0s")],
)
def test_a_span_is_shown_in_its_two_largest_units(seconds: float, text: str) -> None:
    assert write(seconds) == text


def test_a_moment_is_shown_in_utc() -> None:
    assert utc(1_795_000_000_120) == "2026-11-18T11:06:40.120Z"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("2h", "2026-03-01T10:00:00+00:00"),
        ("3d", "2026-02-26T12:00:00+00:00"),
        ("2026-01-31", "2026-01-31T00:00:00+00:00"),
        ("2026-01-31T12:00", "2026-01-31T12:00:00+00:00"),
        (" 2026-01-31T12:00:00.5Z", "2026-01-31T12:00:00.500000+00:00"),
        ("2026-01-31T12:00+02:00", "2026-01-31T12:00:00+02:00"),
    ],
)
def test_a_moment_is_written_out_or_as_how_long_ago_it_was(text: str, found: str) -> None:
    assert moment(text, NOW).isoformat() == found


@pytest.mark.parametrize("text", ["", "yesterday", "31.1.2026", "2026-13-01", "12:00", "999999999d"])
def test_no_moment_is_refused_with_how_to_write_one(text: str) -> None:
    with pytest.raises(ValueError, match="2026-01-31T12:00Z, or how long ago it was: 2h or 3d"):
        moment(text, NOW)
