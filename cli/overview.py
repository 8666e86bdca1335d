"""What `status` shows: every destination's counters, holds and lanes as they are in Redis now."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from cli.durations import utc
from worker.destinations import REGISTRY
from worker.destinations.base import DestinationSettings
from worker.settings import Settings
from worker.store.lanes import COUNTERS, DestinationStatus, Hold, LaneStatus
from worker.store.store import Store

MOST_LANES: Final = 1000
"""So many lanes of a destination are looked at."""


@dataclass(frozen=True, slots=True)
class Overview:
    """One destination. `kind` is None when only Redis knows it."""

    name: str
    kind: str | None
    status: DestinationStatus
    credential_hold: Hold | None = None

    @property
    def hold(self) -> Hold | None:
        """Why nothing of the destination is flushed: its own hold, else its credential's."""
        return self.status.hold or self.credential_hold

    @property
    def oldest_seconds(self) -> float | None:
        """How long the oldest change waits; None when nothing waits."""
        stamps = [lane.oldest_ms for lane in self.status.lanes if lane.oldest_ms is not None]
        return _seconds_since(min(stamps, default=None), self.status)

    def lane_seconds(self, lane: LaneStatus) -> float | None:
        return _seconds_since(lane.oldest_ms, self.status)


def read(settings: Settings, store: Store) -> list[Overview]:
    """The destinations of the configuration, in its order, then those that only Redis knows."""
    configured = [each.name for each in settings.destinations]
    unknown = sorted(store.destinations() - set(configured))
    return [
        *(
            Overview(each.name, each.kind, store.lanes(each.name).status(MOST_LANES), _credential_hold(each, store))
            for each in settings.destinations
        ),
        *(Overview(name, None, store.lanes(name).status(MOST_LANES)) for name in unknown),
    ]


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


def _credential_hold(settings: DestinationSettings, store: Store) -> Hold | None:
    return store.limits(REGISTRY[settings.kind](settings).credential).held()


def _destination(each: Overview) -> dict[str, Any]:
    return {
        "name": each.name,
        "kind": each.kind,
        **{name: each.status.counters[name] for name in COUNTERS},
        "unaccounted": each.status.unaccounted,
        "oldest_waiting_seconds": each.oldest_seconds,
        "hold": hold_as_json(each.hold),
        "lanes": [_lane(each, lane) for lane in each.status.lanes],
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
