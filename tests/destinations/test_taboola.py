"""What is Taboola's own."""

import hashlib
from typing import Any

import pytest

from sandbox.app import Sandbox
from sandbox.taboola_access import TaboolaSwitches
from tests.conftest import Clock
from tests.destinations.conftest import Bench, enters, leaves, open_bench
from worker.contract import Change, Identifier
from worker.edges import probe
from worker.store.store import Store


def taboola(store: Store, clock: Clock, switches: TaboolaSwitches | None = None, **settings: Any) -> Bench:
    sandbox = Sandbox(taboola=switches, clock=lambda: clock() / 1000)
    return open_bench("taboola", store, clock, sandbox, **settings)


def person(email: str, device: str, *, entered: bool = True, at: int = 0) -> Change:
    return Change(entered, at, (Identifier("email", email), Identifier("device", device)))


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def test_one_person_is_one_cluster_of_a_hashed_email_and_a_device_as_given(store: Store, clock: Clock) -> None:
    bench = taboola(store, clock)
    device = "6D92078A-8246-4BA4-AE5B-76104861E7DC"
    bench.append([person("test@example.com", device)])
    bench.flush()

    assert bench.members() == {"973dfe463ec85785f5f95af5ba3906eedb2d931c24e69824a89ea65dba4e813b", device}


def test_a_shared_device_follows_the_newest_change(store: Store, clock: Clock) -> None:
    bench = taboola(store, clock)
    bench.append([person("ada@example.com", "tablet"), person("bob@example.com", "tablet", entered=False, at=1)])
    bench.flush()

    assert bench.members() == {sha256("ada@example.com")}


def test_an_audience_known_by_its_id_is_neither_searched_nor_created(store: Store, clock: Clock) -> None:
    switches = TaboolaSwitches(accept_unknown_audiences=True)
    bench = taboola(store, clock, switches, audience_identifier="external_audience_id")
    bench.append([enters("ada")], "9007199254740993")
    bench.flush()

    assert bench.members("9007199254740993") == {sha256("ada@example.com")}
    assert bench.requests("create") == 0


def test_a_remove_finds_an_audience_but_creates_none(store: Store, clock: Clock) -> None:
    bench = taboola(store, clock)
    bench.append([enters("ada"), enters("bob")])
    bench.flush()
    bench.edges.lanes.keep_notes({"audience:vip": None})
    bench.append([leaves("ada")])
    bench.flush()
    bench.append([leaves("eve")], "unknown")
    bench.flush()

    assert bench.members() == {sha256("bob@example.com")}
    assert bench.requests("create") == 1


def test_a_pixel_audience_of_the_same_name_is_left_alone(store: Store, clock: Clock) -> None:
    bench = taboola(store, clock)
    pixel = {"results": [{"id": 7, "display_name": "vip", "type": "PIXEL"}], "metadata": {}}
    bench.fault(kind="status", status=200, json=pixel, match={"route": "audiences"})
    bench.append([leaves("ada")])
    bench.flush()

    assert bench.status().counters["delivered"] == 1
    assert bench.requests("amend") == 0


def test_an_audience_that_is_not_ready_holds_its_lane_alone(store: Store, clock: Clock) -> None:
    bench = taboola(store, clock, TaboolaSwitches(ready_delay_seconds=3_000))
    bench.append([enters("ada")])
    bench.flush()

    (lane,) = bench.status().lanes
    assert lane.hold is not None
    assert lane.hold.reason.startswith("audience not usable")
    assert bench.status().counters["waiting"] == 1

    for _ in range(60):
        clock.advance(seconds=60)
        bench.flush()

    assert bench.members() == {sha256("ada@example.com")}
    assert bench.status().hold is None


@pytest.mark.parametrize("account", ["unknown", "other"])
def test_a_wrong_account_needs_a_person(store: Store, clock: Clock, account: str) -> None:
    bench = taboola(store, clock, TaboolaSwitches(accounts=frozenset({"my-account"})), account_id=account)
    bench.append([enters("ada")])
    bench.flush()

    assert bench.status().hold is not None
    assert bench.status().counters["waiting"] == 1


def test_the_probe_tries_the_account_where_no_list_is_to_be_had(store: Store, clock: Clock) -> None:
    bench = taboola(store, clock)
    bench.fault(kind="status", status=404, json={"message": "Resource not found"}, match={"route": "accounts"})

    assert probe(bench.edges) == "account my-account can be read"


def test_new_audiences_get_the_configured_life(store: Store, clock: Clock) -> None:
    bench = taboola(store, clock, ttl_in_hours=2)
    bench.append([enters("ada")])
    bench.flush()
    clock.advance(seconds=2 * 3600)

    assert bench.members() == set()
