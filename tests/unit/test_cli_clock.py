"""Whether this machine's clock is right, by the clocks of those it talks to."""

import time

import pytest

from cli.clock import redis_notice, vendor_notice

NOON = 1_795_262_400.0
AT_NOON = {"date": "Sat, 21 Nov 2026 12:00:00 GMT"}


@pytest.mark.parametrize("apart", [0, 60, -60])
def test_a_minute_is_tolerated(apart: float) -> None:
    assert vendor_notice(AT_NOON, NOON + apart) is None
    assert redis_notice(NOON, NOON + apart) is None


@pytest.mark.parametrize(("apart", "words"), [(125, "2m 5s ahead of"), (-3600, "1h behind")])
def test_more_is_told_with_what_to_do(apart: float, words: str) -> None:
    told = vendor_notice(AT_NOON, NOON + apart)

    assert told == (
        f"the clock of this machine is {words} the vendor's: tokens and event times depend on it; let NTP set it"
    )
    assert f"is {words} that of Redis" in str(redis_notice(NOON, NOON + apart))


@pytest.mark.parametrize("headers", [{}, {"date": ""}, {"date": "yesterday"}, {"date": "Sat, 99 Nov 2026 12:00:00"}])
def test_an_answer_without_a_date_tells_nothing(headers: dict[str, str]) -> None:
    assert vendor_notice(headers, NOON) is None


def test_a_date_without_a_zone_is_in_utc_wherever_this_machine_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        assert vendor_notice({"date": "Sat, 21 Nov 2026 12:00:00 -0000"}, NOON) is None
    finally:
        monkeypatch.undo()
        time.tzset()
