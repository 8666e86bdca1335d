"""Limits: what Redis itself takes, and what reading JSON and SHA-256 alone cost; one process each."""

import hashlib
import json
import shutil
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Final

import msgspec
from redis import Redis

from bench.events import email, events
from bench.figures import Figure, Plan
from bench.rig import destination, rig
from worker.store.connection import socket_path

COUNT: Final = 100_000
PUSHES: Final = 1_000_000
TIMES: Final = 5
VALUE_BYTES: Final = 110
PIPELINED: Final = 1_000


def measure(plan: Plan) -> Iterator[Figure]:
    yield _redis(plan)
    count = plan.count(COUNT)
    source_events = list(events(count))
    emails = [email(number).encode() for number in range(count)]
    decoder = msgspec.json.Decoder()
    yield _alone("json.msgspec", "JSON alone, msgspec", "events/s", decoder.decode, source_events)
    yield _alone("json.stdlib", "JSON alone, Python's own", "events/s", json.loads, source_events)
    yield _alone("sha256", "SHA-256 alone", "emails/s", _hashed, emails)


def _hashed(text: bytes) -> str:
    return hashlib.sha256(text).hexdigest()


def _alone(name: str, title: str, unit: str, work: Callable[[bytes], object], items: list[bytes]) -> Figure:
    samples = tuple(len(items) / _seconds(work, items) for _ in range(TIMES))
    return Figure(f"limits.{name}", title, unit, samples, f"{len(items):,} {unit.removesuffix('/s')}, one process")


def _seconds(work: Callable[[bytes], object], items: Iterable[bytes]) -> float:
    started = time.perf_counter()
    for each in items:
        work(each)
    return time.perf_counter() - started


def _redis(plan: Plan) -> Figure:
    count = plan.count(PUSHES)
    tool = shutil.which("redis-benchmark")
    with rig(plan.folder, [destination("criteo")]) as made:
        socket = str(socket_path(made.folder / ".relay"))
        if tool:
            samples = tuple(_with_tool(tool, socket, count) for _ in range(TIMES))
        else:
            samples = tuple(_with_our_own(made.redis, count) for _ in range(TIMES))
    by = "redis-benchmark" if tool else "a client in Python, since redis-benchmark is not here (Debian: redis-tools)"
    return Figure(
        "limits.redis",
        "Redis alone",
        "pushes/s",
        samples,
        f"{count:,} RPUSH of {VALUE_BYTES} bytes, {PIPELINED:,} a round trip, through a socket to the Redis as it is "
        f"shipped; by {by}",
    )


def _with_tool(tool: str, socket: str, count: int) -> float:
    options = ["-s", socket, "-c", "1", "-P", str(PIPELINED), "-d", str(VALUE_BYTES), "-n", str(count), "--csv"]
    done = subprocess.run([tool, *options, "-t", "rpush"], capture_output=True, text=True, check=True)
    return float(done.stdout.splitlines()[-1].split(",")[1].strip('"'))


def _with_our_own(redis: Redis, count: int) -> float:
    value = b"x" * VALUE_BYTES
    started = time.perf_counter()
    for _ in range(0, count, PIPELINED):
        pipeline = redis.pipeline(transaction=False)
        for _ in range(PIPELINED):
            pipeline.rpush("bench", value)
        pipeline.execute()
    return count / (time.perf_counter() - started)
