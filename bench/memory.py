"""Memory: bytes in Redis of a waiting change; and what a load and a worker hold over millions of changes."""

import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, cast

from redis import Redis

from bench.events import events
from bench.figures import Figure, NotMeasured, Plan, Series
from bench.rig import Rig, destination, rig

WAITING: Final = 200_000
MANY: Final = 5_000_000
LOOK_SECONDS: Final = 0.5
MILLION: Final = 1_000_000
Points = Sequence[tuple[float, float]]


def measure(plan: Plan) -> Iterator[Figure | Series]:
    yield from _waiting(plan)
    yield from _many(plan)


# ── In Redis ─────────────────────────────────────────────────────────────────────────────────────


def _waiting(plan: Plan) -> Iterator[Figure]:
    count = plan.count(WAITING)
    with rig(plan.folder, [destination("criteo")]) as made:
        before = _used(made.redis)
        made.fill(events(count))
        whole = (_used(made.redis) - before) / count
        lanes = _bytes(made.redis, "relay:*:lane:*") / count
        window = _bytes(made.redis, "relay:*:seen:*") / count
    on = f"{count:,} changes of one email without properties, one criteo lane"
    yield Figure("memory.change", "A waiting change, its lane", "bytes", (lanes,), f"{on}; MEMORY USAGE", "less")
    yield Figure(
        "memory.window", "The duplicate window's memory of it", "bytes", (window,), f"{on}; for an hour", "less"
    )
    yield Figure("memory.redis", "All that Redis uses for it", "bytes", (whole,), f"{on}; used_memory", "less")


def _used(redis: Redis) -> int:
    return int(redis.info("memory")["used_memory"])


def _bytes(redis: Redis, pattern: str) -> int:
    keys = list(redis.scan_iter(match=pattern, count=1_000))
    return sum(cast("int", redis.memory_usage(key, samples=0)) for key in keys)


# ── In processes ─────────────────────────────────────────────────────────────────────────────────


def _many(plan: Plan) -> Iterator[Figure | Series]:
    """Both at once: a load from standard input, and a worker that drains what it appends."""
    count = plan.count(MANY)
    with rig(plan.folder, [destination("criteo", max_age_seconds=1.0)]) as made:
        worker = made.start_worker()
        load = _start_load(made)
        feeder = threading.Thread(target=_feed, args=(load, count), daemon=True)
        feeder.start()
        held = _watch(made, {"load": load, "worker": worker})
        if load.wait() or made.accepted() != count:
            raise NotMeasured("audience-relay load did not take all events")
        made.await_drained()
        made.expect_identifiers(count)
    for name, points in held.items():
        yield from _held(name, points, count)


def _start_load(made: Rig) -> "subprocess.Popen[bytes]":
    command = [str(Path(sys.executable).with_name("audience-relay")), "load", "-"]
    with (made.folder / "load.log").open("wb") as log:
        return subprocess.Popen(command, env=made.environment, stdin=subprocess.PIPE, stdout=log, stderr=log)


def _feed(load: "subprocess.Popen[bytes]", count: int) -> None:
    if load.stdin is not None:
        with load.stdin as pipe:
            pipe.writelines(b"%b\n" % each for each in events(count))


def _watch(made: Rig, processes: dict[str, "subprocess.Popen[bytes]"]) -> dict[str, list[tuple[float, float]]]:
    """By process, its megabytes over the millions of changes that were appended until then; while the load runs."""
    held: dict[str, list[tuple[float, float]]] = {name: [] for name in processes}
    while processes["load"].poll() is None:
        millions = made.accepted() / MILLION
        for name, process in processes.items():
            held[name].append((millions, _megabytes(process.pid)))
        time.sleep(LOOK_SECONDS)
    return held


def _megabytes(pid: int) -> float:
    """Resident, anonymous and of files; 0 when it has just ended."""
    status = Path(f"/proc/{pid}/status").read_text()
    found = [line.split()[1] for line in status.splitlines() if line.startswith("VmRSS:")]
    return int(found[0]) / 1024 if found else 0.0


def _held(name: str, points: Points, count: int) -> Iterator[Figure | Series]:
    alive = [point for point in points if point[1] > 0]
    if len(alive) < 4:  # noqa: PLR2004 - a line through fewer in each half means nothing
        raise NotMeasured("the load ended before it could be looked at")
    on = f"{count:,} changes through audience-relay load and one worker, both at once; resident memory"
    yield Series(f"memory.{name}", f"Memory of the {name}", "MB", "million changes", tuple(alive))
    title = f"Growth of the {name}, second half"
    yield Figure(f"memory.{name}.growth", title, "MB/million changes", (slope(alive[len(alive) // 2 :]),), on, "less")
    yield Figure(f"memory.{name}.most", f"Most that the {name} held", "MB", (max(y for _, y in alive),), on, "less")


def slope(points: Points) -> float:
    """Of the line of least squares; 0 where nothing moves."""
    mean_x = sum(x for x, _ in points) / len(points)
    mean_y = sum(y for _, y in points) / len(points)
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / spread if spread else 0.0
