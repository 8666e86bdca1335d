"""Real processes: a Redis, the stand-ins on a port, and as many workers as a test starts."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from cli.embedded import EmbeddedRedis
from sandbox.app import Sandbox
from sandbox.crowd import Crowd
from sandbox.server import Server, serve
from tests.conftest import wait_until
from worker.contract import Change, Identifier, LaneKey
from worker.settings import Settings, load
from worker.store.connection import connect, redis_url
from worker.store.status import COUNTERS, DestinationStatus
from worker.store.store import Store, open_store

CONFIGURATION = """
[[destinations]]
name = "criteo"
kind = "criteo"
api_url = "{url}/criteo"
advertiser_id = "4711"
client_id = "relay"
client_secret = "secret"
settle_seconds = {settle}
[destinations.batch]
max_changes = 1000
max_age_seconds = {age}

[[destinations]]
name = "taboola"
kind = "taboola"
api_url = "{url}/taboola"
account_id = "my-account"
client_id = "relay"
client_secret = "secret"
settle_seconds = {settle}
[destinations.batch]
max_changes = 1000
max_age_seconds = {age}

[[destinations]]
name = "stackadapt"
kind = "stackadapt"
api_url = "{url}/stackadapt/graphql"
advertiser_id = "2029"
api_token = "token"
settle_seconds = {settle}
[destinations.batch]
max_changes = 1000
max_age_seconds = {age}
"""


class Fleet:
    """Workers on one Redis, with the stand-ins as their vendors."""

    def __init__(self, folder: Path, server: Server, settings: Settings, redis: EmbeddedRedis) -> None:
        self.folder = folder
        self.server = server
        self.settings = settings
        self.redis = redis
        self.store: Store = open_store(settings)
        self.workers: list[subprocess.Popen[bytes]] = []

    def start_worker(self) -> subprocess.Popen[bytes]:
        """A worker that is ready when this returns."""
        log = self.folder / f"worker{len(self.workers)}.log"
        command = [sys.executable, "-m", "celery", "-A", "worker.app", "worker", "--loglevel", "info"]
        options = ["--without-gossip", "--without-mingle", "-n", f"w{len(self.workers)}@test"]
        environment = os.environ | {"RELAY_CONFIG": str(self.folder / "relay.toml")}
        with log.open("wb") as output:
            worker = subprocess.Popen([*command, *options], env=environment, stdout=output, stderr=output)
        self.workers.append(worker)
        wait_until(lambda: b" ready." in log.read_bytes(), within=30)
        return worker

    def append(self, destination: str, audience: str, *who: str, entered: bool = True) -> None:
        changes = [Change(entered, 0, (Identifier("email", f"{each}@example.com"),)) for each in who]
        self.store.append(LaneKey(destination, audience), changes, os.urandom(8).hex())

    def status(self, destination: str) -> DestinationStatus:
        status = self.store.lanes(destination).status(100)
        assert status.unaccounted == 0
        return status

    def counters(self, destination: str) -> dict[str, int]:
        counters = self.status(destination).counters
        return {name: counters[name] for name in COUNTERS if counters[name]}

    def pass_lease_time(self, destination: str) -> None:
        """Let leases and claims of a stopped worker run out: what they say of their ends is put into the past."""
        leases, parked, wakeups = (f"relay:{{{destination}}}:{each}" for each in ("leases", "parked", "wakeups"))
        past = int(time.time() * 1000) - 60_000
        with connect(redis_url(self.settings)) as redis:
            for lane, lease in redis.hgetall(leases).items():
                _, sent, token = lease.decode().split(" ", 2)
                redis.hset(leases, lane, f"{past} {min(int(sent), past)} {token}")
                redis.zadd(parked, {lane: past})
            for claim in redis.zrange(wakeups, 0, -1):
                redis.zadd(wakeups, {claim: past})

    def drained(self) -> bool:
        return all(self.status(each.name).counters["waiting"] == 0 for each in self.settings.destinations)

    def members(self, vendor: str, audience: str = "vip") -> set[str]:
        return set(self._get(f"members/{vendor}").get(audience, {}))

    def wrong(self, crowd: Crowd) -> dict[str, int]:
        """By destination, how many memberships are not what the crowd's events say."""
        return {each.name: self._wrong(each.kind, crowd) for each in self.settings.destinations}

    def requests(self, vendor: str) -> dict[str, Any]:
        return self._get(f"requests/{vendor}")

    def fault(self, vendor: str, **rule: Any) -> None:
        request = urllib.request.Request(  # noqa: S310 - the stand-in's own address
            f"{self.server.url}/_sandbox/faults/{vendor}",
            data=json.dumps({"rules": [rule]}).encode(),
            headers={"content-type": "application/json"},
            method="PUT",
        )
        urllib.request.urlopen(request).close()  # noqa: S310 - as above

    def faults_fired(self, vendor: str) -> int:
        return sum(int(rule["fired"]) for rule in self._get(f"faults/{vendor}")["rules"])

    def close(self) -> None:
        for worker in self.workers:
            if worker.poll() is None:
                worker.send_signal(signal.SIGCONT)
                worker.terminate()
        for worker in self.workers:
            worker.wait(timeout=40)
        self.store.close()

    def _wrong(self, vendor: str, crowd: Crowd) -> int:
        held, expected = self._get(f"members/{vendor}"), crowd.members(vendor)
        return sum(len(held.get(each, {}).keys() ^ expected.get(each, {}).keys()) for each in held.keys() | expected)

    def _get(self, path: str) -> dict[str, Any]:
        with urllib.request.urlopen(f"{self.server.url}/_sandbox/{path}") as answer:  # noqa: S310 - as above
            found: dict[str, Any] = json.load(answer)
            return found


@pytest.fixture
def fleet(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Fleet]:
    """Parametrize indirectly with {"age": seconds, "settle": seconds}."""
    with (
        EmbeddedRedis(tmp_path / ".relay") as redis,
        fleet_on(tmp_path, redis, **getattr(request, "param", {})) as fleet,
    ):
        yield fleet


@contextmanager
def fleet_on(
    folder: Path, redis: EmbeddedRedis, servers: str = "", age: float = 0.2, settle: float = 1.0
) -> Iterator[Fleet]:
    """Workers to be started on this Redis, or where `servers`, the head of a relay.toml, has their lanes and broker."""
    with serve(Sandbox()) as server:
        destinations = CONFIGURATION.format(url=server.url, age=age, settle=settle)
        (folder / "relay.toml").write_text(servers + destinations)
        fleet = Fleet(folder, server, load(folder / "relay.toml"), redis)
        try:
            yield fleet
        finally:
            fleet.close()
