"""Ten thousand untidy source events go through intake and out to every kind of destination.

Another seed than the usual one: `RELAY_FUZZ_SEED=7 pytest tests/destinations/test_fuzz.py`. Whatever fails names the
seed and the message, whose number is the place of its event among `source_events(seed, EVENTS)`.
"""

import os
from typing import Any, Final

import pytest
from redis import Redis
from structlog.testing import capture_logs

from sandbox.app import Sandbox
from tests.conftest import Clock
from tests.destinations.conftest import enters, open_bench
from tests.destinations.fuzzed import Relay
from tests.destinations.untidy import deletions, source_events
from worker.store.store import Store

SEED: Final = int(os.environ.get("RELAY_FUZZ_SEED", "20261121"))
EVENTS: Final = 10_000


def test_whatever_comes_is_refused_or_arrives(redis: Redis, clock: Clock) -> None:
    relay = Relay(redis, clock)
    with capture_logs() as logs:
        relay.carry(source_events(SEED, EVENTS))
    report = relay.report

    assert relay.wrongs() == "", f"seed {SEED}"
    assert [log for log in logs if str(log.get("reason")).startswith("fault in the relay")] == []
    assert report.read == EVENTS == report.accepted + report.refused.total()
    assert min(report.accepted, report.refused.total()) > EVENTS / 4, "enough of both"


def test_whoever_is_to_be_forgotten_is_nowhere_any_more(redis: Redis, clock: Clock) -> None:
    """Without events that name accounts: an unknown one holds its lane, and the erasures behind it, for a person."""
    relay = Relay(redis, clock)
    with capture_logs():
        relay.carry(event for event in source_events(SEED, EVENTS // 10) if b"audience_settings" not in event)
        relay.carry(deletions(SEED + 1, EVENTS // 20))

    assert relay.wrongs() == "", f"seed {SEED}"
    assert relay.report.read == relay.report.accepted + relay.report.refused.total()


NOT_CREATED: Final[dict[str, Any]] = {
    "criteo": {"errors": [{"type": "validation", "code": "name-must-not-be-empty", "instance": "/create"}]},
    "taboola": {"http_status": 400, "message": "Bad request", "message_code": "api.action.bad_request.null"},
}


@pytest.mark.parametrize("kind", NOT_CREATED)
def test_an_audience_that_the_vendor_does_not_create_costs_nobody(kind: str, store: Store, clock: Clock) -> None:
    """Whoever is in it waits for a person to act; the other audiences go on."""
    bench = open_bench(kind, store, clock, Sandbox(clock=lambda: clock() / 1000))
    bench.append([enters("ada")], "vip")
    bench.flush()
    bench.fault(kind="status", status=400, json=NOT_CREATED[kind], times=None, match={"route": "create"})
    bench.append([enters("bob"), enters("eve")], "\u0007")
    bench.append([enters("bob")], "vip")
    clock.advance(seconds=61)
    while bench.flush_now():
        pass

    status = bench.status()
    assert bench.members("vip") == {bench.form("ada@example.com"), bench.form("bob@example.com")}
    assert (status.counters["waiting"], status.counters["buried"]) == (2, 0)
    assert status.hold is None
    assert [lane.lane.audience for lane in status.lanes if lane.hold] == ["\u0007"]
