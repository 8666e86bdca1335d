"""What a replay or a discard is about: found first, told, and only then done."""

import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from cli.letters_selection import Filters, destinations, select
from worker.contract import LaneKey
from worker.settings import Settings
from worker.store.deadletters import DeadLetter, Mark, Replayed
from worker.store.store import Store

PATIENCE_SECONDS: Final = 5.0
"""How long a lane that is being flushed is tried again."""
POLL_SECONDS: Final = 0.1


class Group(NamedTuple):
    """Dead letters that are alike."""

    destination: str
    audience: str
    reason: str


@dataclass(slots=True)
class Found:
    """What the filters took: marks by audience, and how many, by group. Holds no change, so there may be many."""

    lanes: defaultdict[LaneKey, list[Mark]] = field(default_factory=lambda: defaultdict(list))
    counts: Counter[Group] = field(default_factory=Counter)
    superseded: Counter[Group] = field(default_factory=Counter)

    @property
    def total(self) -> int:
        return self.counts.total()

    def add(self, letter: DeadLetter) -> None:
        group = Group(letter.lane.destination, letter.lane.audience, letter.reason)
        self.counts[group] += 1
        self.superseded[group] += letter.superseded
        self.lanes[letter.lane.unsharded].append(letter.mark)


def find(filters: Filters, relay: Settings, store: Store) -> Found:
    """Everything that the filters take, over all their destinations."""
    found = Found()
    for name in destinations(filters, relay, store):
        for letter in select(filters, store.dead_letters(name)):
            found.add(letter)
    return found


def replay(found: Found, store: Store, *, force: bool) -> Replayed:
    """Replay what was found; a lane that is being flushed is tried again for a few seconds."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    replayed = superseded = 0
    lanes: Mapping[LaneKey, Sequence[Mark]] = found.lanes
    while True:
        done = {lane: _replay_lane(lane, marks, store, force=force) for lane, marks in lanes.items()}
        replayed += sum(each.replayed for each in done.values())
        superseded += sum(each.superseded for each in done.values())
        lanes = {lane: each.stayed for lane, each in done.items() if each.stayed}
        if not lanes or time.monotonic() > deadline:
            return Replayed(replayed, superseded, tuple(mark for marks in lanes.values() for mark in marks))
        time.sleep(POLL_SECONDS)


def discard(found: Found, store: Store) -> int:
    """Discard what was found; returns how many of it were still there."""
    return sum(
        store.dead_letters(lane.destination).discard([mark.number for mark in marks])
        for lane, marks in found.lanes.items()
    )


def _replay_lane(lane: LaneKey, marks: Sequence[Mark], store: Store, *, force: bool) -> Replayed:
    return store.dead_letters(lane.destination).replay(marks, force=force)
