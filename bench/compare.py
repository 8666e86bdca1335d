"""Peers: celery-batches and plain Celery, from the same events to the same sink; and Segment's own `onBatch`.

The Celery peers need an older Celery than some, so they run in an environment of their own; Segment's needs Node.
"""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Literal, NamedTuple

import msgspec

from bench.events import events
from bench.figures import Figure, NotMeasured, Plan, Skipped
from bench.rig import KINDS, ROOT, Rig, destination, end, rig, wait_until
from worker.store.connection import socket_path

Task = Literal["batched", "alone"]
EVENTS: Final = 8_000
ALONE_EVENTS: Final = 1_500
TRIED: Final[dict[Task, int]] = {"batched": 4_000, "alone": 400}
"""How many events each pool is tried with."""
TIMES: Final = 3
PATIENCE_SECONDS: Final = 120.0
SEGMENT: Final = ROOT / "bench" / "peers" / "segment"
SEGMENT_EVENTS: Final = 50_000
SEGMENT_TIMES: Final = 5


class Pool(NamedTuple):
    """A way to run one worker process."""

    name: str
    slots: int

    def __str__(self) -> str:
        return f"{self.name} pool of {self.slots}"


POOLS: Final = (Pool("solo", 1), Pool("threads", 1), Pool("threads", 4), Pool("prefork", 1))


def measure(plan: Plan) -> Iterator[Figure | Skipped]:
    yield from _celery(plan)
    yield from _segment(plan)


# ── Celery ───────────────────────────────────────────────────────────────────────────────────────


def _celery(plan: Plan) -> Iterator[Figure | Skipped]:
    if not plan.peers_python.exists():
        yield Skipped("peers.batches", f"{plan.peers_python} is not there; `make bench` makes its environment")
        return
    count, fewer = plan.count(EVENTS), plan.count(ALONE_EVENTS)
    yield _produced(plan, count)
    yield from _consumed(plan, "batched", "batches", "celery-batches", count)
    yield from _consumed(plan, "alone", "plain", "plain Celery", fewer)


def _produced(plan: Plan, count: int) -> Figure:
    samples = []
    for _ in range(TIMES):
        with rig(plan.folder, [destination("criteo")]) as made:
            samples.append(count / _produce(plan, made, "batched", count))
    on = f"{count:,} events, `task.delay(text)` for each, one process, no worker beside it; its own Redis"
    return Figure("peers.batches.produce", "celery-batches, producing", "events/s", tuple(samples), on)


def _consumed(plan: Plan, task: Task, name: str, title: str, count: int) -> Iterator[Figure]:
    """With the pool that is fastest, of those that can do it at all."""
    rates = {pool: _consume(plan, task, pool, TRIED[task]) for pool in POOLS}
    best = max(rates, key=lambda pool: rates[pool])
    on = f"{count:,} events, one worker, {best} (fastest of {', '.join(map(str, POOLS))}); to the same sink as criteo"
    samples = tuple(_consume(plan, task, best, count) for _ in range(TIMES))
    yield Figure(f"peers.{name}.consume", f"{title}, consuming", "events/s", samples, f"{on}; all queued before")
    samples = tuple(_end_to_end(plan, task, best, count) for _ in range(TIMES))
    yield Figure(
        f"peers.{name}.end_to_end", f"{title}, end to end", "events/s", samples, f"{on}; one producer beside it"
    )


def _produce(plan: Plan, made: Rig, task: Task, count: int) -> float:
    command = [str(plan.peers_python), "-m", "bench.peers.produce", task, str(count)]
    done = subprocess.run(command, cwd=ROOT, env=_environment(made), capture_output=True, check=False)
    if done.returncode:
        raise NotMeasured(f"producing failed: {done.stderr.decode()[-500:]}")
    return float(done.stdout)


def _consume(plan: Plan, task: Task, pool: Pool, count: int) -> float:
    """Events a second, from the first that the sink was sent to the last."""
    with rig(plan.folder, [destination("criteo")]) as made:
        _produce(plan, made, task, count)
        with _worker(plan, made, pool):
            wait_until(lambda: made.tally().identifiers > 0, within=PATIENCE_SECONDS)
            begun, started = made.tally().identifiers, time.perf_counter()
            wait_until(lambda: made.tally().identifiers >= count, within=PATIENCE_SECONDS)
            seconds = time.perf_counter() - started
        made.expect_identifiers(count)
        return (count - begun) / seconds


def _end_to_end(plan: Plan, task: Task, pool: Pool, count: int) -> float:
    """Events a second, from the start of the producer's process until the sink has all."""
    with rig(plan.folder, [destination("criteo")]) as made:
        with _worker(plan, made, pool):
            started = time.perf_counter()
            _produce(plan, made, task, count)
            wait_until(lambda: made.tally().identifiers >= count, within=PATIENCE_SECONDS)
            seconds = time.perf_counter() - started
        made.expect_identifiers(count)
        return count / seconds


@contextmanager
def _worker(plan: Plan, made: Rig, pool: Pool) -> Iterator[None]:
    options = ["--pool", pool.name, "--concurrency", str(pool.slots), "--loglevel", "info"]
    fewer = ["--without-gossip", "--without-mingle", "--without-heartbeat"]
    command = [str(plan.peers_python), "-m", "celery", "-A", "bench.peers.app", "worker", *options, *fewer]
    log = made.folder / "peer.log"
    with log.open("wb") as output:
        process = subprocess.Popen(command, cwd=ROOT, env=_environment(made), stdout=output, stderr=output)
    try:
        wait_until(lambda: b" ready." in log.read_bytes(), within=60)
        yield
    finally:
        end([process])


def _environment(made: Rig) -> dict[str, str]:
    broker = f"redis+socket://{socket_path(made.folder / '.relay')}"
    return os.environ | {"PEER_BROKER": broker, "PEER_SINK": made.sink_url}


# ── Segment ──────────────────────────────────────────────────────────────────────────────────────


class Passes(msgspec.Struct):
    """What the script in Node tells."""

    rates: list[float]
    identifiers: int


def _segment(plan: Plan) -> Iterator[Figure | Skipped]:
    node = shutil.which("node")
    if node is None or not (SEGMENT / "node_modules").exists():
        missing = (
            "Node is not here" if node is None else "its packages are not installed; `make bench` does it with npm"
        )
        yield Skipped("peers.segment", f"Segment's onBatch: {missing}")
        return
    count = plan.count(SEGMENT_EVENTS)
    file = plan.folder / "segment.ndjson"
    file.write_bytes(b"\n".join(events(count)) + b"\n")
    version = _version(SEGMENT)
    for kind in KINDS:
        yield _passes(node, kind, file, count, version)


def _passes(node: str, kind: str, file: Path, count: int, version: str) -> Figure:
    command = [node, "onbatch.js", kind, str(file), str(SEGMENT_TIMES)]
    done = subprocess.run(command, cwd=SEGMENT, capture_output=True, check=False)
    if done.returncode:
        raise NotMeasured(f"onBatch failed: {done.stderr.decode()[-500:]}")
    passes = msgspec.json.decode(done.stdout, type=Passes)
    if passes.identifiers != count:
        raise NotMeasured(f"onBatch sent {passes.identifiers} identifiers, not {count}")
    on = (
        f"{count:,} events, parsed before, 1,000 a call, after one pass that is not counted; answers out of memory; "
        f"@segment/action-destinations {version}"
    )
    return Figure(f"peers.segment.{kind}", f"Segment's onBatch, {kind}", "events/s", tuple(passes.rates), on)


def _version(folder: Path) -> str:
    package = folder / "node_modules" / "@segment" / "action-destinations" / "package.json"
    return str(msgspec.json.decode(package.read_bytes())["version"])
