"""Lanes on a real Redis Cluster of three nodes, wake-ups through another Redis: workers are killed, and slots move."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from cli.embedded import EmbeddedRedis
from sandbox.crowd import Crowd
from tests.acceptance.conftest import Fleet, fleet_on
from tests.acceptance.test_commands import event, run, run_json, write
from tests.cluster import Cluster, cluster
from tests.conftest import wait_until

pytestmark = pytest.mark.acceptance

ALL: Final = ("taboola", "criteo", "stackadapt")
"""In the order of the nodes on which they lie."""
SLOT_BOUNDS: Final = (3_000, 6_000, 16_384)
SERVERS: Final = """
[redis]
url = "{lanes}"
[celery]
broker_url = "{broker}"
"""
EVENTS: Final = 6_000
PEOPLE: Final = [f"person{number}" for number in range(20)]
WRONG: Final = "jkl@gmail"
"""An address without a top-level domain: Criteo names it as invalid."""


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with cluster(tmp_path_factory.mktemp("cluster"), SLOT_BOUNDS) as running:
        assert [running.owner(f"relay:{{{name}}}") for name in ALL] == [0, 1, 2]
        yield running


@pytest.fixture
def fleet(tmp_path: Path, nodes: Cluster) -> Iterator[Fleet]:
    for node in nodes.nodes:
        node.flushall()
    with (
        EmbeddedRedis(tmp_path / ".relay") as broker,
        fleet_on(tmp_path, broker, SERVERS.format(lanes=nodes.url, broker=broker.url)) as fleet,
    ):
        yield fleet


def warm_up(fleet: Fleet) -> None:
    """Tokens and lists are known."""
    for name in ALL:
        fleet.append(name, "vip", "zoe", entered=False)
    wait_until(fleet.drained)


def hold_all(fleet: Fleet) -> None:
    for name in ALL:
        fleet.store.lanes(name).hold_by_hand(None, "until all is loaded")


def release_all(fleet: Fleet) -> None:
    for name in ALL:
        fleet.store.lanes(name).release(None)


def test_all_is_delivered_from_three_nodes_though_a_worker_is_killed(fleet: Fleet, nodes: Cluster) -> None:
    crowd = Crowd(7, now_ms=int(time.time() * 1000), people=600)
    path = fleet.folder / "events.ndjson"
    path.write_bytes(b"".join(b"%s\n" % line for line in crowd.events(EVENTS)))
    victim = fleet.start_worker()
    warm_up(fleet)
    hold_all(fleet)

    loaded = json.loads(run(fleet, "load", "--json", str(path)).stdout)
    assert loaded["refused"] == crowd.refused
    assert loaded["changes"] == {name: fleet.counters(name)["waiting"] for name in ALL}
    for node, name in zip(nodes.nodes, ALL, strict=True):
        assert {key.split(b":")[1] for key in node.scan_iter("relay:{*}:lane:*")} == {b"{%s}" % name.encode()}
    for name in ALL:
        fleet.fault(name, times=1, fault={"kind": "slow", "seconds": 3, "after": True})
    release_all(fleet)
    wait_until(lambda: all(fleet.faults_fired(name) for name in ALL))
    victim.kill()
    fleet.start_worker()
    for name in ALL:
        assert any(lane.leased for lane in fleet.status(name).lanes)
        fleet.pass_lease_time(name)
    wait_until(fleet.drained)

    assert fleet.wrong(crowd) == dict.fromkeys(ALL, 0)
    assert loaded["changes"] == {name: fleet.counters(name)["accepted"] - 1 for name in ALL}


def test_a_destination_whose_slot_moves_goes_on_afterwards_and_keeps_no_other(fleet: Fleet, nodes: Cluster) -> None:
    fleet.start_worker()
    warm_up(fleet)
    hold_all(fleet)
    for name in ALL:
        fleet.append(name, "vip", *PEOPLE)

    with nodes.moving("relay:{criteo}", 0):
        for name in ("taboola", "stackadapt"):
            fleet.store.lanes(name).release(None)
        wait_until(lambda: len(fleet.members("taboola")) == len(fleet.members("stackadapt")) == len(PEOPLE))
        assert fleet.members("criteo") == set()
    fleet.append("criteo", "vip", PEOPLE[0], entered=False)
    fleet.store.lanes("criteo").release(None)
    wait_until(fleet.drained)

    assert nodes.owner("relay:{criteo}") == 0
    assert fleet.members("criteo") == {f"{each}@example.com" for each in PEOPLE[1:]}
    assert fleet.counters("criteo")["accepted"] == 22
    with nodes.moving("relay:{criteo}", 1):
        pass


def test_the_commands_serve_a_cluster(fleet: Fleet) -> None:
    wrong = event("jkl").replace("jkl@example.com", WRONG)
    path = write(fleet, "events.ndjson", [event("ada"), event("bob"), wrong])

    assert run(fleet, "load", path).returncode == 0
    fleet.start_worker()
    wait_until(fleet.drained)
    (letter,) = run_json(fleet, "dead-letters", "list", "--destination", "criteo")["dead_letters"]
    replayed = run_json(fleet, "dead-letters", "replay", "--destination", "criteo")
    wait_until(fleet.drained)
    discarded = run_json(fleet, "dead-letters", "discard", "--destination", "criteo")
    forgotten = run_json(fleet, "forget", "--email", "ada@example.com")
    held, released = run(fleet, "hold", "criteo"), run(fleet, "release", "criteo")
    status = run_json(fleet, "status")["destinations"]

    assert (letter["number"], replayed["replayed"], discarded["discarded"]) == (1, 1, 1)
    assert {each["destination"]: each["done"] for each in forgotten["receipts"]} == dict.fromkeys(ALL, 1)
    assert (held.returncode, released.returncode) == (0, 0)
    assert fleet.members("criteo") == {"bob@example.com"}
    assert {each["name"]: each["unaccounted"] for each in status} == dict.fromkeys(ALL, 0)
    assert run(fleet, "check").returncode == 0
