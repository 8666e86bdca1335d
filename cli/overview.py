"""What `status` shows: every destination's counters, holds and lanes as they are in Redis now."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from cli.access import known, limits_of
from cli.durations import utc
from worker.destinations.base import DeadLetterSettings, DestinationSettings
from worker.settings import Settings
from worker.store.deadletters import Stock
from worker.store.status import COUNTERS, DestinationStatus, Hold, LaneStatus
from worker.store.store import Store

MOST_LANES: Final = 100_000
"""So many lanes of a destination are looked at."""
BESIDE: Final = ("duplicates", "invalid_unnamed", "expired", "erased")
"""What is counted beside the six counters."""
SOON: Final = timedelta(days=3)
NONE: Final = Stock()
NEARLY: Final = 0.9
"""Dead letters beyond this share of what may be kept will soon be discarded."""


@dataclass(frozen=True, slots=True)
class Overview:
    """One destination. `kind` is None when only Redis knows it."""

    name: str
    kind: str | None
    status: DestinationStatus
    credential_hold: Hold | None = None
    dead_letters: Stock = NONE
    """`before` counts those that will soon be too old."""
    kept: DeadLetterSettings | None = None
    """How many dead letters are kept and how long; None when only Redis knows the destination: all."""

    @property
    def expiring(self) -> int:
        """How many dead letters will soon be discarded: within three days, or since they are nearly too many."""
        if self.kept is None:
            return 0
        return max(self.dead_letters.before, self.dead_letters.total - int(NEARLY * self.kept.max_count))

    @property
    def hold(self) -> Hold | None:
        """Why nothing of the destination is flushed: its own hold, else its credential's."""
        return self.status.hold or self.credential_hold

    @property
    def oldest_seconds(self) -> float | None:
        """How long the oldest change waits; None when nothing waits."""
        return _seconds_since(self.status.oldest_ms, self.status)

    @property
    def buried_seconds(self) -> float | None:
        """How long the oldest dead letter is buried; None when there is none."""
        return _seconds_since(self.dead_letters.oldest_ms, self.status)

    def lane_seconds(self, lane: LaneStatus) -> float | None:
        return _seconds_since(lane.oldest_ms, self.status)


def read(settings: Settings, store: Store) -> list[Overview]:
    """The destinations of the configuration, in its order, then those that only Redis knows."""
    configured = {each.name: each for each in settings.destinations}
    return [_read(name, configured.get(name), store) for name in known(settings, store)]


def as_json(overviews: Sequence[Overview], refused: dict[str, int]) -> dict[str, Any]:
    """The form of `status --json`."""
    return {"destinations": [_destination(each) for each in overviews], "refused": refused}


def hold_as_json(hold: Hold | None) -> dict[str, Any] | None:
    """Times in UTC; an `until` of null lasts until released by hand."""
    if hold is None:
        return None
    return {
        "reason": hold.reason,
        "since": utc(hold.since_ms),
        "until": None if hold.until_ms is None else utc(hold.until_ms),
        "attempts": hold.attempts,
    }


def _read(name: str, settings: DestinationSettings | None, store: Store) -> Overview:
    status = store.lanes(name).status(MOST_LANES)
    if settings is None:
        return Overview(name, None, status, dead_letters=store.dead_letters(name).stock(before_ms=0))
    kept = settings.dead_letters
    old_ms = status.now_ms - round((timedelta(days=kept.max_age_days) - SOON) / timedelta(milliseconds=1))
    stock = store.dead_letters(name).stock(before_ms=old_ms)
    return Overview(name, settings.kind, status, limits_of(settings, store).held(), stock, kept)


def _destination(each: Overview) -> dict[str, Any]:
    return {
        "name": each.name,
        "kind": each.kind,
        **{name: each.status.counters[name] for name in COUNTERS},
        "unaccounted": each.status.unaccounted,
        "oldest_waiting_seconds": each.oldest_seconds,
        "hold": hold_as_json(each.hold),
        "lanes": [_lane(each, lane) for lane in each.status.lanes],
        **{name: each.status.counters.get(name, 0) for name in BESIDE},
        "dead_letters": _dead_letters(each),
        "left_out": dict(each.status.left_out),
        "notices": dict(each.status.notices),
    }


def _dead_letters(each: Overview) -> dict[str, Any]:
    stock = each.dead_letters
    return {
        "count": stock.total,
        "oldest": None if stock.oldest_ms is None else utc(stock.oldest_ms),
        "expiring": each.expiring,
    }


def _lane(each: Overview, lane: LaneStatus) -> dict[str, Any]:
    return {
        "audience": lane.lane.audience,
        "shard": lane.lane.shard,
        "waiting": lane.waiting,
        "oldest_waiting_seconds": each.lane_seconds(lane),
        "hold": hold_as_json(lane.hold),
    }


def _seconds_since(stamp: int | None, status: DestinationStatus) -> float | None:
    return None if stamp is None else max(0, status.now_ms - stamp) / 1000
