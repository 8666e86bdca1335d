"""How late requests begin, by simulation."""

import math
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from heapq import heappop, heappush
from itertools import count, islice, takewhile
from typing import Final, NamedTuple

from bench.simulation.terms import Costs, Load, Vendor
from worker.dispatch import PERIOD_SECONDS

MOST_BATCHES: Final = 200_000
"""After so many the simulation ends, however little time that is."""
FEWEST_BATCHES: Final = 10
NORMAL_FROM: Final = 30
"""From this mean on a Poisson number is drawn as a normal one."""


class Delays(NamedTuple):
    """How long after it was due a lane's first request began, in seconds; and what was in a batch."""

    median: float
    p99: float
    most: float
    changes_a_batch: float
    batches: int
    seconds: float
    """How much time was simulated."""


def simulate(load: Load, vendor: Vendor, costs: Costs, *, seconds: float = 600.0, seed: int = 1) -> Delays:
    """Let changes come at random for so long; the first half of the batches does not count.

    Raises `ValueError` when that is too short.
    """
    fleet = _Fleet(load, vendor, costs, random.Random(seed))  # noqa: S311 - a simulation, to be repeated
    fleet.let_come()
    begun = list(islice(takewhile(lambda each: each.at < seconds, fleet.run()), MOST_BATCHES))
    counted = begun[len(begun) // 2 :]
    if len(counted) < FEWEST_BATCHES:
        raise ValueError(f"{len(counted)} batches are too few; simulate more seconds")
    late = sorted(each.late for each in counted)
    median, p99 = (late[int(len(late) * share)] for share in (0.5, 0.99))
    taken = sum(each.taken for each in counted) / len(counted)
    return Delays(median, p99, late[-1], taken, len(counted), counted[-1].at - counted[0].at)


def drain_seconds(load: Load, vendor: Vendor, costs: Costs, waiting: int, *, seed: int = 1) -> float:
    """How long it takes until so many changes that wait in every lane are delivered, when no more come."""
    fleet = _Fleet(replace(load, rate=0.0), vendor, costs, random.Random(seed))  # noqa: S311 - as above
    fleet.fill(waiting)
    for _ in fleet.run():
        pass
    return fleet.now


class _Begun(NamedTuple):
    """A batch that a worker begins to fold: when, how long after its lane was due, and how many changes it has."""

    at: float
    late: float
    taken: int


class _Lane(NamedTuple):
    """Due when its head, which waits since then, is old enough, or when it is full. So many wait at a moment."""

    due: float
    number: int
    """Of all lanes of all destinations."""
    since: float
    waiting: int
    at: float


@dataclass(slots=True)
class _Destination:
    """How many more lanes may be flushed, those that are due, the oldest first, and when all permits are free again."""

    places: int
    is_awaited: bool = False
    """Whether a look of dispatch is on its way."""
    due: list[_Lane] = field(default_factory=list)
    permitted: float = 0.0


class _Fleet:
    """All destinations, and the cores that they share: events in the order of time."""

    def __init__(self, load: Load, vendor: Vendor, costs: Costs, dice: random.Random) -> None:
        self.now = 0.0
        self._load, self._vendor, self._costs, self._dice = load, vendor, costs, dice
        self._rate = load.rate / load.audiences
        self._destinations = [_Destination(load.max_in_flight) for _ in range(load.destinations)]
        self._cores = [0.0] * load.workers
        self._order = count()
        self._events: list[tuple[float, int, Callable[[_Lane], Iterator[_Begun]], _Lane]] = []

    def let_come(self) -> None:
        """The first change of every lane."""
        for number in range(self._load.destinations * self._load.audiences):
            self._await_due(number, self._next_arrival(), 1)

    def fill(self, waiting: int) -> None:
        for number in range(self._load.destinations * self._load.audiences):
            self._at(0.0, self._fall_due, _Lane(0.0, number, 0.0, waiting, 0.0))

    def run(self) -> Iterator[_Begun]:
        while self._events:
            self.now, _, step, lane = heappop(self._events)
            yield from step(lane)

    # ── What happens ─────────────────────────────────────────────────────────────────────────────

    def _fall_due(self, lane: _Lane) -> Iterator[_Begun]:
        """Dispatch will see it, each worker's once in a period, at a moment of its own."""
        destination = self._of(lane)
        heappush(destination.due, lane)
        look = min(self._dice.uniform(0, PERIOD_SECONDS) for _ in range(self._load.workers))
        self._await_look(destination, self.now + look, lane)
        return iter(())

    def _await_look(self, destination: _Destination, moment: float, lane: _Lane) -> None:
        if not destination.is_awaited:
            destination.is_awaited = True
            self._at(moment, self._look, lane)

    def _look(self, lane: _Lane) -> Iterator[_Begun]:
        self._of(lane).is_awaited = False
        return self._begin(lane)

    def _begin(self, lane: _Lane) -> Iterator[_Begun]:
        """Lease the oldest lanes that are due, while there are places and permits."""
        destination = self._of(lane)
        while destination.places and destination.due:
            if (permitted := self._permitted(destination)) > self.now:
                self._await_look(destination, permitted, lane)
                return
            destination.places -= 1
            yield self._flush(heappop(destination.due))

    def _end(self, lane: _Lane) -> Iterator[_Begun]:
        """The lane waits again, and whoever drained it leases the next one."""
        self._of(lane).places += 1
        if lane.waiting:
            self._await_due(lane.number, lane.since, lane.waiting, lane.at)
        elif self._rate:
            self._await_due(lane.number, self._next_arrival(lane.at), 1)
        return self._begin(lane)

    # ── What that takes ──────────────────────────────────────────────────────────────────────────

    def _flush(self, lane: _Lane) -> _Begun:
        """Fold on the core that is free first, then wait for the vendor."""
        waiting = lane.waiting + self._poisson(self._rate * (self.now - lane.at))
        taken = min(waiting, self._vendor.max_changes)
        begun = max(self.now, heappop(self._cores))
        folded = begun + self._costs.drain_batch + taken * self._costs.drain_change
        heappush(self._cores, folded)
        since = lane.since + (self.now - lane.since) * taken / waiting
        left = _Lane(lane.due, lane.number, since, waiting - taken, self.now)
        self._at(folded + self._vendor.requests * self._vendor.request_seconds, self._end, left)
        return _Begun(begun, begun - lane.due, taken)

    def _await_due(self, number: int, since: float, waiting: int, at: float | None = None) -> None:
        missing = max(0, self._vendor.max_changes - waiting)
        full = (since if at is None else at) + missing / self._rate if self._rate else self.now
        due = max(self.now, min(since + self._load.max_age_seconds, full))
        self._at(due, self._fall_due, _Lane(due, number, since, waiting, since if at is None else at))

    def _permitted(self, destination: _Destination) -> float:
        """When the requests of one batch have permits; taken, if that is now. As permit.lua has it."""
        burst, interval = self._vendor.burst, self._vendor.call_seconds
        arrival = max(destination.permitted, self.now) + min(self._vendor.requests, burst) * interval
        if arrival - burst * interval <= self.now:
            destination.permitted = arrival
        return arrival - burst * interval

    def _of(self, lane: _Lane) -> _Destination:
        return self._destinations[lane.number // self._load.audiences]

    def _at(self, moment: float, step: Callable[[_Lane], Iterator[_Begun]], lane: _Lane) -> None:
        heappush(self._events, (moment, next(self._order), step, lane))

    def _next_arrival(self, after: float = 0.0) -> float:
        return after + self._dice.expovariate(self._rate)

    def _poisson(self, mean: float) -> int:
        if mean > NORMAL_FROM:
            return max(0, round(self._dice.gauss(mean, math.sqrt(mean))))
        number, left, least = 0, self._dice.random(), math.exp(-mean)
        while left > least:
            number, left = number + 1, left * self._dice.random()
        return number
