"""Delay: from append to request at a steady 1,000 events a second; alone, and while a backlog drains elsewhere.

A batch is due `max_age_seconds` after its oldest change was appended. What is told is how much later the sink got the
first byte of its first request. What a relay does once, such as to create an audience, is over before.
"""

import itertools
import time
from collections.abc import Iterable, Iterator, Sequence
from statistics import quantiles
from typing import Final

from bench.events import email, event, events
from bench.figures import Figure, NotMeasured, Plan
from bench.membership import Amendment, amendments, recorded
from bench.rig import Rig, destination, rig, wait_until

RATE: Final = 1_000
CHUNK: Final = 20
AUDIENCES: Final = 10
SECONDS: Final = 25.0
LOADED_SECONDS: Final = 10.0
MAX_AGE_SECONDS: Final = 1.0
BACKLOG_PER_SECOND: Final = 90_000
"""How many changes of the backlog are put there for each second: more than one worker drains in one."""
BACKLOG: Final = "backlog"
WARM_SECONDS: Final = 3.0
"""What comes before is not counted: audiences are created, once."""


def measure(plan: Plan) -> Iterator[Figure]:
    alone = _delays(plan, WARM_SECONDS + plan.seconds(SECONDS), loaded=False)
    yield from _figures("delay", "Delay over the bound", alone, "nothing else going on")
    loaded = _delays(plan, WARM_SECONDS + plan.seconds(LOADED_SECONDS), loaded=True)
    yield from _figures(
        "delay.loaded", "Delay over the bound, under load", loaded, "while a backlog of stackadapt drained"
    )


def lateness(changes: Iterable[Amendment], appended: dict[str, float]) -> list[tuple[float, float]]:
    """Of each batch, when its first request came, and how late that was (seconds).

    `appended`: when each email was. Requests of one audience come in order; an add directly after a remove is of the
    same batch.
    """
    batches: list[tuple[float, float]] = []
    ordered = sorted(changes, key=lambda each: (each.audience, each.at))
    for _, group in itertools.groupby(ordered, key=lambda each: each.audience):
        after_remove = False
        for each in group:
            oldest = min(appended[who] for who in each.identifiers)
            if each.entered and after_remove:
                at, before = batches.pop()
                batches.append((at, min(oldest, before)))
            else:
                batches.append((each.at, oldest))
            after_remove = not each.entered
    return [(at, at - oldest - MAX_AGE_SECONDS) for at, oldest in batches]


def _delays(plan: Plan, seconds: float, *, loaded: bool) -> list[float]:
    destinations = [
        destination("criteo", audiences="live*", max_age_seconds=MAX_AGE_SECONDS),
        destination("stackadapt", audiences=BACKLOG),
    ]
    with rig(plan.folder, destinations, record=True) as made:
        if loaded:
            made.fill(events(round(BACKLOG_PER_SECOND * seconds), first=10_000_000, prefix=BACKLOG))
        made.start_worker()
        made.release()
        appended, busy_until = _append_steadily(made, round(RATE * seconds), loaded=loaded)
        wait_until(lambda: made.store.lanes("criteo").status(0).counters["waiting"] == 0, within=60)
        if made.record is None:
            raise TypeError("the sink does not record")
        found = [each for each in amendments(recorded(made.record)) if each.vendor == "criteo"]
    if sum(len(each.identifiers) for each in found) != len(appended):
        raise NotMeasured("the sink was not sent every change once")
    begins = min(appended.values()) + WARM_SECONDS
    late = [delay for at, delay in lateness(found, appended) if begins <= at <= busy_until]
    if len(late) < AUDIENCES:
        raise NotMeasured("the backlog was drained before anything else was due")
    return late


def _append_steadily(made: Rig, count: int, *, loaded: bool) -> tuple[dict[str, float], float]:
    """When each email was appended; and until when the backlog lasted."""
    intake, appended = made.intake(), dict[str, float]()
    started, busy_until = time.time(), time.time() if loaded else float("inf")
    for first in range(0, count, CHUNK):
        time.sleep(max(0.0, started + first / RATE - time.time()))
        numbers = range(first, first + CHUNK)
        appended.update(dict.fromkeys(map(email, numbers), time.time()))
        intake.accept_many([event(each, f"live_{each % AUDIENCES}") for each in numbers])
        if loaded and made.store.lanes("stackadapt").status(0).counters["waiting"]:
            busy_until = time.time()
    return appended, busy_until


def _figures(name: str, title: str, late: Sequence[float], condition: str) -> Iterator[Figure]:
    measured_on = (
        f"{len(late):,} batches; {RATE:,} events/s appended {CHUNK} at a time to {AUDIENCES} audiences of criteo, "
        f"max_age_seconds {MAX_AGE_SECONDS:g}; {condition}; one worker"
    )
    cuts = quantiles(late, n=100, method="inclusive")
    for which, value in (("p50", cuts[49]), ("p99", cuts[98]), ("max", max(late))):
        yield Figure(f"{name}.{which}", f"{title}, {which}", "ms", (value * 1000,), measured_on, "less")
