"""End to end: an NDJSON file to the vendor's memberships, with 1, 2 and 4 workers."""

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from bench.events import events
from bench.figures import Figure, NotMeasured, Plan
from bench.membership import expected
from bench.rig import Rig, destination, rig

EVENTS: Final = 200_000
COMPARED: Final = 60_000
"""How many are compared person by person."""
AUDIENCES: Final = 4
WORKERS: Final = (1, 2, 4)
TIMES: Final = 3
MAX_AGE_SECONDS: Final = 1.0


def measure(plan: Plan) -> Iterator[Figure]:
    """The first time of each number of workers is recorded, compared and not counted."""
    count = plan.count(EVENTS)
    file, fewer = _written(plan, count), _written(plan, plan.count(COMPARED))
    loads: list[float] = []
    for workers in WORKERS:
        _run(plan, fewer, plan.count(COMPARED), workers, record=True)
        runs = [_run(plan, file, count, workers) for _ in range(TIMES)]
        loads += [loaded for loaded, _ in runs]
        yield Figure(
            name=f"end_to_end.{workers}",
            title=f"File to vendor, {workers} worker{'s' if workers > 1 else ''}",
            unit="events/s",
            samples=tuple(count / whole for _, whole in runs),
            measured_on=f"{count:,} events of {AUDIENCES} audiences in one NDJSON file; `audience-relay load` from the "
            f"start of its process, workers beside it, until criteo has all; max_age_seconds {MAX_AGE_SECONDS:g}",
        )
    yield Figure(
        name="end_to_end.load",
        title="File to Redis, beside workers that drain",
        unit="events/s",
        samples=tuple(count / seconds for seconds in loads),
        measured_on="the same runs, until `audience-relay load` has ended",
    )


def _written(plan: Plan, count: int) -> Path:
    file = plan.folder / f"events-{count}.ndjson"
    with file.open("wb") as output:
        output.writelines(b"%b\n" % each for each in events(count, audiences=AUDIENCES))
    return file


def _run(plan: Plan, file: Path, count: int, workers: int, *, record: bool = False) -> tuple[float, float]:
    """Seconds until the load had ended, and until the vendor had all."""
    with rig(plan.folder, [destination("criteo", max_age_seconds=MAX_AGE_SECONDS)], record=record) as made:
        for _ in range(workers):
            made.start_worker()
        started = time.perf_counter()
        _load(made, file)
        loaded = time.perf_counter() - started
        made.await_drained()
        whole = time.perf_counter() - started
        made.expect_identifiers(count)
        if record:
            made.expect_memberships(expected("criteo", count, audiences=AUDIENCES))
        return loaded, whole


def _load(made: Rig, file: Path) -> None:
    command = [str(Path(sys.executable).with_name("audience-relay")), "load", str(file)]
    done = subprocess.run(command, env=made.environment, capture_output=True, check=False)
    if done.returncode:
        raise NotMeasured(f"audience-relay load failed: {done.stderr.decode()[-500:]}")
