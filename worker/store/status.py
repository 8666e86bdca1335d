"""One destination at one moment: its counters, its holds, and the lanes that have something waiting."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from worker.contract import LaneKey

COUNTERS: Final = ("accepted", "delivered", "folded", "buried", "discarded", "waiting")


class Hold(NamedTuple):
    """Why and until when nothing is flushed. `until_ms` None: until released by hand."""

    reason: str
    since_ms: int
    until_ms: int | None
    attempts: int


class LaneStatus(NamedTuple):
    """One lane that has changes waiting, or is held."""

    lane: LaneKey
    waiting: int
    oldest_ms: int | None
    hold: Hold | None
    leased: bool


@dataclass(frozen=True, slots=True)
class DestinationStatus:
    """One destination at one moment."""

    now_ms: int
    counters: Mapping[str, int]
    hold: Hold | None
    oldest_ms: int | None
    """The stamp of the oldest change that waits in any lane."""
    lanes: tuple[LaneStatus, ...]
    notices: Mapping[str, str] = field(default_factory=dict)
    """What somebody should know though delivery goes on, by subject."""
    left_out: Mapping[str, int] = field(default_factory=dict)
    """What it did not get of source events that were accepted, by reason."""

    @property
    def unaccounted(self) -> int:
        """Accepted changes of which nobody knows what became; 0, or there is a fault in this software."""
        gone = sum(self.counters[name] for name in COUNTERS[1:])
        return self.counters["accepted"] - gone


def status_of(destination: str, answer: Sequence[Any]) -> DestinationStatus:
    """What the script `status` tells."""
    now, counters, hold, oldest, lanes, notices, left_out = answer
    return DestinationStatus(
        now_ms=int(now),
        counters=dict.fromkeys(COUNTERS, 0) | _numbers(counters),
        hold=_destination_hold(_texts(hold), int(now)),
        oldest_ms=int(oldest) if oldest else None,
        lanes=tuple(_lane_status(destination, row, int(now)) for row in lanes),
        notices=_texts(notices),
        left_out=_numbers(left_out),
    )


def _lane_status(destination: str, row: Sequence[Any], now: int) -> LaneStatus:
    member, waiting, stamp, hold, leased = row
    return LaneStatus(
        lane=LaneKey.from_member(destination, member.decode()),
        waiting=waiting,
        oldest_ms=int(stamp) if stamp else None,
        hold=lane_hold(hold, now),
        leased=bool(leased),
    )


def _texts(flat: Sequence[bytes]) -> dict[str, str]:
    return {flat[i].decode(): flat[i + 1].decode() for i in range(0, len(flat), 2)}


def _numbers(flat: Sequence[bytes]) -> dict[str, int]:
    return {name: int(value) for name, value in _texts(flat).items()}


def _destination_hold(fields: Mapping[str, str], now: int) -> Hold | None:
    if "until" not in fields:
        return None
    ends = int(fields["until"])
    if ends != -1 and ends <= now:
        return None
    return Hold(fields["reason"], int(fields["since"]), None if ends == -1 else ends, int(fields["attempts"]))


def lane_hold(encoded: bytes, now: int) -> Hold | None:
    if not encoded:
        return None
    hold = json.loads(encoded)
    ends = int(hold["until"])
    if ends != -1 and ends <= now:
        return None
    return Hold(hold["reason"], int(hold["since"]), None if ends == -1 else ends, int(hold["attempts"]))
