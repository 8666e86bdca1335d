"""Lanes: what a change costs when the work is spread over 1, 100, 10,000 and 100,000 lanes; and what idling costs.

Flushed in this process, vendors answering from memory. Of many lanes some are flushed: those that hold as many changes
as is told. The others are there, hold one change each, and are as due.
"""

import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

import structlog

from bench.events import message_id
from bench.figures import Figure, NotMeasured, Plan
from bench.in_memory import InMemory
from bench.rig import Rig, destination, rig
from worker.contract import Change, Identifier, LaneKey
from worker.destinations.taboola import MAX_USERS
from worker.edges import Edges, open_edges
from worker.flush import flush_next

KIND: Final = "taboola"
PARTS: Final = 3
APPENDED: Final = 1_000
TIMES: Final = 3
IDLE_SECONDS: Final = 7.0
IDLE_LANES: Final = 100_000
SETTLED_SECONDS: Final = 3.0
HOUR: Final = 3600.0


class Spread(NamedTuple):
    """So many lanes there are, so many of them are flushed, and each of those holds so many changes."""

    lanes: int
    flushed: int
    changes: int


SPREADS: Final = (Spread(1, 1, 600_000), Spread(100, 99, 6_000), Spread(10_000, 999, 500), Spread(100_000, 3_000, 10))


def measure(plan: Plan) -> Iterator[Figure]:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    try:
        for spread in SPREADS:
            yield from _spread(plan, _scaled(plan, spread))
    finally:
        structlog.reset_defaults()
    for lanes in (0, IDLE_LANES):
        yield _idle(plan, lanes)


def _scaled(plan: Plan, spread: Spread) -> Spread:
    """Fewer changes in the one lane, or fewer of many lanes."""
    if spread.flushed == 1:
        return spread._replace(changes=plan.count(spread.changes, least=PARTS * MAX_USERS))
    return spread._replace(flushed=min(spread.flushed, plan.count(spread.flushed, least=PARTS)))


def _spread(plan: Plan, spread: Spread) -> Iterator[Figure]:
    with rig(plan.folder, [destination(KIND)]) as made:
        _append(made, spread)
        costs = [_flush_part(made, spread) for _ in range(PARTS)]
    measured_on = (
        f"{spread.flushed:,} lanes of {spread.changes:,} changes flushed, {spread.lanes:,} lanes known; {KIND}, in one "
        f"process, answers from memory; {PARTS} parts of the same work"
    )
    name, title = f"lanes.{spread.lanes}", f"{spread.lanes:,} lane{'s' if spread.lanes > 1 else ''}"
    aside = tuple((seconds - http) / changes * 1e6 for changes, seconds, http in costs)
    whole = tuple(seconds / changes * 1e6 for changes, seconds, _ in costs)
    yield Figure(name, f"Cost over {title}, HTTP aside", "µs/change", aside, measured_on, "less")
    yield Figure(f"{name}.whole", f"Cost over {title}", "µs/change", whole, measured_on, "less")


def _append(made: Rig, spread: Spread) -> None:
    """Those to be flushed first, so that they are the oldest."""
    for number in range(spread.flushed):
        lane = LaneKey(KIND, f"audience_{number}")
        for first in range(0, spread.changes, APPENDED):
            changes = _changes(number, first, min(first + APPENDED, spread.changes))
            made.store.append(lane, changes, f"{number}-{first}")
    rest = range(spread.flushed, spread.lanes)
    for start in range(0, len(rest), APPENDED):
        pieces = [
            (LaneKey(KIND, f"audience_{number}"), _changes(number, 0, 1), f"{number}")
            for number in rest[start : start + APPENDED]
        ]
        made.store.append_each(pieces)


def _changes(lane: int, first: int, last: int) -> list[Change]:
    """Who enters, of a lane of its own people."""
    numbers = range(lane * 1_000_000 + first, lane * 1_000_000 + last)
    return [Change(True, each, (Identifier("email", f"user{each}@example.com"),), message_id(each)) for each in numbers]


def _flush_part(made: Rig, spread: Spread) -> tuple[int, float, float]:
    """How many changes were flushed, how long it took, and how much of that the HTTP library."""
    client = InMemory()
    edges = open_edges(made.settings.destinations[0], made.store, client)
    wanted, changes = spread.flushed * spread.changes // PARTS, 0
    started = time.perf_counter()
    while changes < wanted:
        changes += _flushed(edges)
    return changes, time.perf_counter() - started, client.http_seconds


def _flushed(edges: Edges) -> int:
    done = flush_next(edges)
    if done is None or not done.changes:
        raise NotMeasured("a lane that is due was not flushed")
    return done.changes


# ── Idle ─────────────────────────────────────────────────────────────────────────────────────────


def _idle(plan: Plan, lanes: int) -> Figure:
    with rig(plan.folder, [destination(KIND, max_age_seconds=HOUR)]) as made:
        _append(made, Spread(lanes, 0, 0))
        worker = made.start_worker()
        time.sleep(SETTLED_SECONDS)
        samples = tuple(_share_of_a_core(worker.pid, plan.seconds(IDLE_SECONDS)) for _ in range(TIMES))
        if made.waiting() != lanes:
            raise NotMeasured("the worker was not idle")
    title = f"Idle worker, {lanes:,} lanes" if lanes else "Idle worker, no lanes"
    measured_on = f"one {KIND} destination, no lane due for an hour; {plan.seconds(IDLE_SECONDS):.0f} s each"
    return Figure(f"lanes.idle.{lanes}", title, "% of a core", samples, measured_on, "less")


def _share_of_a_core(pid: int, seconds: float) -> float:
    before, started = _cpu_seconds(pid), time.monotonic()
    time.sleep(seconds)
    return 100 * (_cpu_seconds(pid) - before) / (time.monotonic() - started)


def _cpu_seconds(pid: int) -> float:
    """Of all threads, to the nanosecond: ticks of 10 ms would be too coarse."""
    return sum(int(each.read_text().split()[0]) for each in Path(f"/proc/{pid}/task").glob("*/schedstat")) / 1e9
