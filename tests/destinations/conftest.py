"""Each kind of destination with its stand-in, in process: requests go through a transport, not a network."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from sandbox.app import Sandbox
from tests.conftest import Clock
from worker.contract import Change, Identifier, LaneKey
from worker.delivery import GatedTransport
from worker.destinations import REGISTRY
from worker.destinations.base import DestinationSettings
from worker.edges import Edges, open_edges
from worker.flush import Flushed, flush_next
from worker.store.status import COUNTERS, DestinationStatus
from worker.store.store import Store

HOST = "http://sandbox.test"
COMMON = {"name": "shop", "batch": {"max_changes": 100, "max_age_seconds": 60}}
SETTINGS: dict[str, dict[str, Any]] = {
    "criteo": {
        "api_url": f"{HOST}/criteo",
        "advertiser_id": "4711",
        "client_id": "relay",
        "client_secret": "s+e/c&ret",
    },
    "taboola": {
        "api_url": f"{HOST}/taboola",
        "account_id": "my-account",
        "client_id": "relay",
        "client_secret": "s+e/c&ret",
    },
    "stackadapt": {"api_url": f"{HOST}/stackadapt/graphql", "advertiser_id": "2029", "api_token": "token"},
    "http": {"api_url": f"{HOST}/http/members", "bearer_token": "token", "probe_url": f"{HOST}/http/health"},
}
FIRST_CHANGE = {"criteo": "amend", "taboola": "create", "stackadapt": "graphql", "http": "members"}
"""The route of the first request that changes something, where nothing was sent before."""


class InProcess(httpx.BaseTransport):
    """Calls the stand-in; a connection that it resets fails as one on a socket does."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._inner = httpx.WSGITransport(app=sandbox)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        try:
            return self._inner.handle_request(request)
        except ConnectionResetError as reset:
            raise httpx.ReadError(str(reset), request=request) from reset


@dataclass
class Bench:
    """One destination, its lanes and its vendor's stand-in."""

    kind: str
    sandbox: Sandbox
    edges: Edges
    clock: Clock

    def append(self, changes: Sequence[Change], audience: str = "vip") -> None:
        lane = LaneKey("shop", audience)
        self.edges.lanes.append(lane, changes, f"{self.clock()}-{audience}-{id(changes)}")

    def flush(self) -> Flushed | None:
        """Let a minute pass, so that what waits is due, and flush the oldest lane."""
        self.clock.advance(seconds=61)
        return self.flush_now()

    def flush_now(self) -> Flushed | None:
        """Flush the oldest lane that is due already."""
        return flush_next(self.edges)

    def answers(self, status: int) -> int:
        """How many requests the stand-in answered with that status."""
        counts = self._client().get(f"{HOST}/_sandbox/requests/{self.kind}").json()
        return sum(by_status.get(str(status), 0) for by_status in counts["routes"].values())

    def members(self, audience: str = "vip") -> set[str]:
        found = self._client().get(f"{HOST}/_sandbox/members/{self.kind}").json()
        return set(found.get(audience, {}))

    def fault(self, **fault: Any) -> None:
        """The stand-in fails as told, by the rules of `sandbox.faults`."""
        match = fault.pop("match", {})
        times = fault.pop("times", 1)
        script = {"rules": [{"match": match, "times": times, "fault": fault}]}
        self._client().put(f"{HOST}/_sandbox/faults/{self.kind}", json=script).raise_for_status()

    def requests(self, route: str) -> int:
        """How many requests of that route the stand-in answered."""
        counts = self._client().get(f"{HOST}/_sandbox/requests/{self.kind}").json()
        return sum(sum(by_status.values()) for name, by_status in counts["routes"].items() if name.endswith(route))

    def status(self) -> DestinationStatus:
        return self.edges.lanes.status(10)

    def form(self, email: str) -> str:
        """The vendor's form of an email."""
        return self.edges.destination.vendor_form(Identifier("email", email)).value

    def _client(self) -> httpx.Client:
        return httpx.Client(transport=httpx.WSGITransport(app=self.sandbox))


def configured(kind: str, **settings: Any) -> DestinationSettings:
    return REGISTRY[kind].Settings.model_validate(COMMON | {"kind": kind} | SETTINGS[kind] | settings)


def open_bench(kind: str, store: Store, clock: Clock, sandbox: Sandbox, **settings: Any) -> Bench:
    destination = configured(kind, **settings)
    transport = GatedTransport(InProcess(sandbox))
    client = httpx.Client(transport=transport)
    edges = open_edges(destination, store, client, pause=lambda seconds: clock.advance(seconds=seconds))
    return Bench(kind, sandbox, edges, clock)


@pytest.fixture(params=sorted(REGISTRY))
def bench(request: pytest.FixtureRequest, store: Store, clock: Clock) -> Bench:
    return open_bench(request.param, store, clock, Sandbox(clock=lambda: clock() / 1000))


def enters(who: str, at: int = 0) -> Change:
    return Change(entered=True, occurred_at=at, identifiers=(Identifier("email", f"{who}@example.com"),))


def leaves(who: str, at: int = 0) -> Change:
    return Change(entered=False, occurred_at=at, identifiers=(Identifier("email", f"{who}@example.com"),))


def counters(bench: Bench) -> dict[str, int]:
    """Those that are not 0; the books balance."""
    status = bench.status()
    assert status.unaccounted == 0
    return {name: status.counters[name] for name in COUNTERS if status.counters[name]}
