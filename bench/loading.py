"""Source events into Redis, timed, in a process that does nothing else: `python -m bench.loading COUNT CONFIG`.

Prints how many seconds it took from events as JSON text to changes in Redis, and how many changes those are.
"""

import gc
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import msgspec

from bench.events import events
from bench.figures import NotMeasured
from bench.rig import ROOT
from producers.clock import now_ms
from producers.intake import Intake
from producers.routing import Router
from worker.settings import load
from worker.store.store import open_store


class Loaded(NamedTuple):
    seconds: float
    changes: int


def load_beside(count: int, config: Path) -> Loaded:
    """Load so many events in a fresh process."""
    command = [sys.executable, "-m", "bench.loading", str(count), str(config)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, check=False)
    if done.returncode:
        raise NotMeasured(f"loading failed: {done.stderr.decode()[-500:]}")
    return msgspec.json.decode(done.stdout, type=Loaded)


def _load_here(count: int, config: Path) -> Loaded:
    """As `audience-relay load` does it, but for reading the file."""
    settings = load(config)
    source_events = list(events(count))
    intake = Intake(Router(settings.destinations), open_store(settings), now_ms)
    gc.freeze()
    started = time.perf_counter()
    report = intake.accept_many(source_events)
    return Loaded(time.perf_counter() - started, report.changes.total())


if __name__ == "__main__":
    sys.stdout.write(msgspec.json.encode(_load_here(int(sys.argv[1]), Path(sys.argv[2]))).decode())
