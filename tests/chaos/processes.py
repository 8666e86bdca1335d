"""The breaking machine with real processes: workers and Redis are killed while vendors fail and events come in.

All that is drawn at random comes from one seed: events, faults, and whom it hits next.
"""

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import Any, Final, NamedTuple

from cli.embedded import EmbeddedRedis
from producers.intake import Intake
from producers.routing import Router
from sandbox.app import Sandbox
from sandbox.crowd import Crowd
from sandbox.server import serve
from tests.acceptance.conftest import CONFIGURATION
from worker.errors import StoreError
from worker.settings import Settings, load
from worker.store.connection import connect
from worker.store.status import DestinationStatus
from worker.store.store import Store, open_store

SETTLE_SECONDS: Final = 2
SLOW_SECONDS: Final = 1.0
"""Less than `SETTLE_SECONDS`: a vendor applies a request within that time, or the promise is off."""
SUSPENDED_SECONDS: Final = 8.0
CHUNK: Final = 500


class Plan(NamedTuple):
    """How hard to try. `fault_rate` is the share of requests at fault."""

    seed: int
    events: int
    seconds: float
    workers: int
    kills_every: float
    redis_restarts: int
    fault_rate: float


class Outcome(NamedTuple):
    """What came of it. `wrong` memberships and `unaccounted` changes must be 0, and `left` waiting too."""

    events: int
    seconds: float
    requests: int
    faults: int
    kills: int
    redis_restarts: int
    duplicates: int
    buried: int
    wrong: int
    unaccounted: int
    left: int
    most_in_flight: int
    holds: tuple[str, ...]

    @property
    def ok(self) -> bool:
        return (self.wrong, self.unaccounted, self.left) == (0, 0, 0) and self.most_in_flight <= 1


def break_it(plan: Plan, folder: Path, *, patience: float = 180.0) -> Outcome:
    """Run the plan, let everything heal, and compare what each vendor holds with what the events say."""
    started = time.monotonic()
    with _machine(plan, folder) as machine:
        machine.run()
        left, holds = machine.await_empty(patience)
        return machine.outcome(time.monotonic() - started, left, holds)


@contextmanager
def _machine(plan: Plan, folder: Path) -> Iterator["_Machine"]:
    sandbox = Sandbox()
    with serve(sandbox) as server, EmbeddedRedis(folder / ".relay") as redis:
        (folder / "relay.toml").write_text(CONFIGURATION.format(url=server.url, age=0.3, settle=SETTLE_SECONDS))
        settings = load(folder / "relay.toml")
        machine = _Machine(plan, folder, settings, sandbox, redis)
        try:
            yield machine
        finally:
            machine.close()


class _Machine:
    def __init__(self, plan: Plan, folder: Path, settings: Settings, sandbox: Sandbox, redis: EmbeddedRedis) -> None:
        self._plan = plan
        self._folder = folder
        self._settings = settings
        self._sandbox = sandbox
        self._redis = redis
        self._store: Store = open_store(settings)
        self._draw = random.Random(plan.seed)
        self._crowd = Crowd(plan.seed, now_ms=int(time.time() * 1000), people=max(50, plan.events // 10))
        self._workers: list[subprocess.Popen[bytes]] = []
        self._stopped: dict[int, float] = {}
        self._produced = threading.Event()
        self._faults = 0
        self._kills = 0
        self._restarts = 0

    def run(self) -> None:
        """Break things until all events are in and the time is over; then heal."""
        for number in range(self._plan.workers):
            self._workers.append(self._start(number))
        self._script_faults()
        producer = threading.Thread(target=self._produce, name="producer", daemon=True)
        producer.start()
        started = time.monotonic()
        next_kill = started + self._plan.kills_every
        pause = threading.Event()
        while not self._produced.is_set() or time.monotonic() - started < self._plan.seconds:
            pause.wait(0.1)
            self._wake_suspended()
            if time.monotonic() >= next_kill:
                next_kill += self._plan.kills_every
                self._hit_a_worker()
            if self._is_restart_due(time.monotonic() - started):
                self._restart_redis()
        producer.join()
        self._heal()

    def await_empty(self, patience: float) -> tuple[int, tuple[str, ...]]:
        """How many changes still wait when it ended, and the holds that keep them."""
        deadline, pause = time.monotonic() + patience, threading.Event()
        while True:
            statuses = self._statuses()
            left = sum(each.counters["waiting"] for each in statuses)
            if left == 0 or time.monotonic() > deadline:
                return left, _holds(statuses)
            pause.wait(0.2)

    def outcome(self, seconds: float, left: int, holds: tuple[str, ...]) -> Outcome:
        statuses = self._statuses()
        journals = [vendor.requests() for vendor in self._sandbox.vendors.values()]
        return Outcome(
            events=self._plan.events,
            seconds=round(seconds, 1),
            requests=sum(each["total"] for each in journals),
            faults=self._faults,
            kills=self._kills,
            redis_restarts=self._restarts,
            duplicates=sum(each.counters.get("duplicates", 0) for each in statuses),
            buried=sum(each.counters["buried"] for each in statuses),
            wrong=sum(self._wrong(each.name) for each in self._settings.destinations),
            unaccounted=sum(abs(each.unaccounted) for each in statuses),
            left=left,
            most_in_flight=max(most for each in journals for most in each["most_in_flight"].values()),
            holds=holds,
        )

    def close(self) -> None:
        for worker in self._workers:
            if worker.poll() is None:
                worker.send_signal(signal.SIGCONT)
                worker.terminate()
        for worker in self._workers:
            worker.wait(timeout=40)
        self._store.close()

    # ── What comes in ────────────────────────────────────────────────────────────────────────────

    def _produce(self) -> None:
        """Bring the events in over the time of the plan; what is refused is brought again, as a user must."""
        intake = Intake(Router(self._settings.destinations), self._store, lambda: int(time.time() * 1000))
        events = self._crowd.events(self._plan.events)
        pace, pause = self._plan.seconds * 0.9 * CHUNK / self._plan.events, threading.Event()
        while chunk := list(islice(events, CHUNK)):
            self._accept(intake, chunk)
            pause.wait(pace)
        self._produced.set()

    def _accept(self, intake: Intake, chunk: Sequence[bytes]) -> None:
        pause = threading.Event()
        while True:
            with suppress(StoreError):
                intake.accept_many(chunk)
                return
            pause.wait(0.3)

    # ── What breaks ──────────────────────────────────────────────────────────────────────────────

    def _script_faults(self) -> None:
        for name, vendor in self._sandbox.vendors.items():
            kinds = _KINDS if name != "stackadapt" else [each for each in _KINDS if "tokens" not in each["kind"]]
            share = self._plan.fault_rate / len(kinds)
            rules = [{"probability": share, "fault": kind} for kind in kinds]
            vendor.script_faults({"seed": self._draw.randrange(2**31), "rules": rules})

    def _hit_a_worker(self) -> None:
        number = self._draw.randrange(len(self._workers))
        suspend = self._draw.random() < 0.2
        worker = self._workers[number]
        self._kills += 1
        if suspend:
            worker.send_signal(signal.SIGSTOP)
            self._stopped[number] = time.monotonic() + SUSPENDED_SECONDS
            return
        worker.kill()
        worker.wait()
        self._stopped.pop(number, None)
        self._workers[number] = self._start(number)

    def _wake_suspended(self) -> None:
        for number, until in list(self._stopped.items()):
            if time.monotonic() >= until:
                self._workers[number].send_signal(signal.SIGCONT)
                del self._stopped[number]

    def _is_restart_due(self, elapsed: float) -> bool:
        share = (self._restarts + 1) / (self._plan.redis_restarts + 1)
        return self._restarts < self._plan.redis_restarts and elapsed >= self._plan.seconds * share

    def _restart_redis(self) -> None:
        with connect(self._redis.url) as client:
            server = int(client.info("server")["process_id"])
        os.kill(server, signal.SIGKILL)
        pause = threading.Event()
        while not self._redis.ended:
            pause.wait(0.05)
        self._redis.stop()
        self._redis.start()
        self._restarts += 1

    def _heal(self) -> None:
        for vendor in self._sandbox.vendors.values():
            self._faults += sum(rule["fired"] for rule in vendor.faults.summary()["rules"])
            vendor.script_faults(None)
        for number in self._stopped:
            self._workers[number].send_signal(signal.SIGCONT)

    # ── What is looked at ────────────────────────────────────────────────────────────────────────

    def _start(self, number: int) -> "subprocess.Popen[bytes]":
        log = self._folder / f"worker{number}.log"
        options = ["--loglevel", "info", "--without-gossip", "--without-mingle", "-n", f"w{number}x{self._kills}@chaos"]
        environment = os.environ | {"RELAY_CONFIG": str(self._folder / "relay.toml")}
        command = [sys.executable, "-m", "celery", "-A", "worker.app", "worker", *options]
        with log.open("ab") as output:
            return subprocess.Popen(command, env=environment, stdout=output, stderr=output)

    def _statuses(self) -> list[DestinationStatus]:
        pause = threading.Event()
        while True:
            with suppress(StoreError):
                return [self._store.lanes(each.name).status(1000) for each in self._settings.destinations]
            pause.wait(0.3)

    def _wrong(self, vendor: str) -> int:
        held, expected = self._sandbox.vendors[vendor].members(), self._crowd.members(vendor)
        audiences = held.keys() | expected.keys()
        return sum(len(held.get(each, {}).keys() ^ expected.get(each, {}).keys()) for each in audiences)


_KINDS: Final[list[dict[str, Any]]] = [
    {"kind": "status", "status": 500},
    {"kind": "status", "status": 503, "html": "<h1>away</h1>"},
    {"kind": "status", "status": 429, "headers": {"Retry-After": "1"}},
    {"kind": "reset_before"},
    {"kind": "reset_after"},
    {"kind": "slow", "seconds": SLOW_SECONDS},
    {"kind": "slow", "seconds": SLOW_SECONDS, "after": True},
    {"kind": "truncate"},
    {"kind": "html_200"},
    {"kind": "revoke_tokens"},
    {"kind": "expire_tokens"},
]


def _holds(statuses: Sequence[DestinationStatus]) -> tuple[str, ...]:
    of_destinations = [each.hold.reason for each in statuses if each.hold]
    of_lanes = [lane.hold.reason for each in statuses for lane in each.lanes if lane.hold]
    return tuple(sorted({*of_destinations, *of_lanes}))
