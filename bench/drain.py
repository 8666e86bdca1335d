"""Drain: waiting changes → folded, delivered to the sink; one worker process, one vendor at a time."""

import time
from collections.abc import Iterator
from typing import Final

from bench.events import events
from bench.figures import Figure, Plan
from bench.membership import expected
from bench.rig import KINDS, destination, rig

CHANGES: Final = 250_000
COMPARED: Final = 100_000
"""How many are compared person by person."""
TIMES: Final = 3


def measure(plan: Plan) -> Iterator[Figure]:
    """Before what counts, one drain is recorded, and compared person by person."""
    for kind in KINDS:
        count = plan.count(CHANGES)
        _seconds(plan, kind, plan.count(COMPARED), record=True)
        yield Figure(
            name=f"drain.{kind}",
            title=f"Drain to {kind}",
            unit="changes/s",
            samples=tuple(count / _seconds(plan, kind, count) for _ in range(TIMES)),
            measured_on=f"{count:,} changes of one audience, batches as large as the kind has them; one worker "
            "process, its dispatch included; the sink was sent exactly the right identifiers",
        )


def _seconds(plan: Plan, kind: str, count: int, *, record: bool = False) -> float:
    with rig(plan.folder, [destination(kind)], record=record) as made:
        made.fill(events(count))
        made.start_worker()
        started = time.perf_counter()
        made.release()
        made.await_drained()
        seconds = time.perf_counter() - started
        made.expect_identifiers(count)
        if record:
            made.expect_memberships(expected(kind, count))
        return seconds
