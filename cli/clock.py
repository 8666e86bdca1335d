"""Whether this machine's clock is right, by the clocks of those it talks to."""

from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Final

from cli.durations import write

TOLERATED_SECONDS: Final = 60.0


def vendor_notice(headers: Mapping[str, str], now: float) -> str | None:
    """By the `Date` of an answer that came `now` (seconds since the epoch); None: all is well, or it has none."""
    try:
        date = parsedate_to_datetime(headers.get("date", ""))
    except ValueError:
        return None
    theirs = date.replace(tzinfo=date.tzinfo or UTC).timestamp()
    return _notice(now - theirs, "the vendor's", "tokens and event times depend on it; let NTP set it")


def redis_notice(theirs: float, now: float) -> str | None:
    """By the Redis clock, which schedules everything. Both in seconds since the epoch."""
    return _notice(now - theirs, "that of Redis", "one of them is wrong, and both are used; let NTP set both")


def _notice(apart: float, whose: str, advice: str) -> str | None:
    if abs(apart) <= TOLERATED_SECONDS:
        return None
    return f"the clock of this machine is {write(abs(apart))} {'ahead of' if apart > 0 else 'behind'} {whose}: {advice}"
