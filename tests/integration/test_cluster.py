"""Lanes on a real Redis Cluster: each destination on a node of its own, full nodes, and slots that move."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test
from redis import Redis

from tests.chaos.lane_machine import machine_for
from tests.cluster import Cluster, cluster, tell
from tests.conftest import wait_until
from worker.batching import Burial, Settlement
from worker.contract import Change, Identifier, LaneKey
from worker.destinations.base import Credential, Secret
from worker.errors import StoreFull, StoreUnavailable
from worker.store.connection import connect, verify
from worker.store.lanes import Bounds, Schedule
from worker.store.store import Store

DESTINATIONS = ("taboola", "criteo", "stackadapt")
"""In the order of the nodes on which they lie."""
SLOT_BOUNDS = (3_000, 6_000, 16_384, 16_384)
"""The fourth node has no slot: it is new."""
SCHEDULE = Schedule(max_changes=100, max_age_ms=0, max_in_flight=2, settle_ms=1_000)


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with cluster(tmp_path_factory.mktemp("cluster"), SLOT_BOUNDS) as running:
        yield running


@pytest.fixture
def client(nodes: Cluster) -> Iterator[Redis]:
    with connect(nodes.url) as connected:
        connected.flushall()
        yield connected


@pytest.fixture
def store(client: Redis) -> Store:
    return Store(client, dict.fromkeys(DESTINATIONS, Bounds()))


def changes(*who: str) -> list[Change]:
    return [Change(True, 0, (Identifier("email", f"{each}@example.com"),), each) for each in who]


def waiting(store: Store, destination: str) -> int:
    status = store.lanes(destination).status(10)
    assert status.unaccounted == 0
    assert sum(lane.waiting for lane in status.lanes) == status.counters["waiting"]
    return status.counters["waiting"]


# ── As on one Redis ──────────────────────────────────────────────────────────────────────────────


def test_lanes_do_what_the_model_says(client: Redis) -> None:
    """Dead letters and erasures with them."""
    run_state_machine_as_test(machine_for(client), settings=settings(max_examples=20, stateful_step_count=50))


def test_each_destination_lies_on_one_node(nodes: Cluster, store: Store) -> None:
    assert [nodes.owner(f"relay:{{{name}}}") for name in DESTINATIONS] == [0, 1, 2]
    pieces = [(LaneKey(name, audience), changes("a", "b"), audience) for name in DESTINATIONS for audience in "xyz"]

    assert store.append_each(pieces) == [2] * 9
    assert store.append_each(pieces) == [2] * 9
    assert [waiting(store, name) for name in DESTINATIONS] == [6, 6, 6]
    for node, name in zip(nodes.nodes, DESTINATIONS, strict=False):
        assert {key.split(b":")[1] for key in node.scan_iter(f"relay:{{{name}}}:*")} == {f"{{{name}}}".encode()}


def test_a_node_that_has_forgotten_the_script_gets_it_again(nodes: Cluster, store: Store) -> None:
    pieces = [(LaneKey(name, "vip"), changes("a"), "1") for name in DESTINATIONS]
    nodes.nodes[1].script_flush()

    assert store.append_each(pieces) == [1, 1, 1]


def test_any_node_of_the_url_leads_to_all(nodes: Cluster) -> None:
    with connect(f"redis+cluster://127.0.0.1:1,{nodes.address(2)}") as client:
        assert client.set("key", "x")


# ── Nodes that differ ────────────────────────────────────────────────────────────────────────────


def test_every_node_is_looked_at_before_the_start(nodes: Cluster, client: Redis) -> None:
    assert verify(client) == []
    nodes.nodes[2].config_set("appendonly", "no")
    try:
        (warning,) = verify(client)
        assert warning.startswith("appendonly is off")
    finally:
        nodes.nodes[2].config_set("appendonly", "yes")


@pytest.mark.parametrize("full", range(3))
def test_one_full_node_refuses_producers(nodes: Cluster, store: Store, full: int) -> None:
    store.expect_room()
    nodes.nodes[full].config_set("maxmemory", 1)
    try:
        with pytest.raises(StoreFull):
            store.expect_room()
        fresh = Store(connect(nodes.url))
        with pytest.raises(StoreFull, match="maxmemory"):
            fresh.append(LaneKey("criteo", "vip"), changes("a"), "1")
        fresh.close()
    finally:
        nodes.nodes[full].config_set("maxmemory", 0)


# ── Slots that move ──────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("target", [2, 3], ids=["to a node with slots", "to a new node"])
def test_a_destination_stands_still_while_its_slot_moves_and_loses_nothing(
    nodes: Cluster, store: Store, target: int
) -> None:
    for audience in ("vip", "churn"):
        store.append(LaneKey("criteo", audience), changes("a", "b"), audience)
    start = nodes.owner("relay:{criteo}")

    with nodes.moving("relay:{criteo}", target):
        for audience in ("vip", "new"):
            with pytest.raises(StoreUnavailable):
                store.append(LaneKey("criteo", audience), changes("c"), f"{audience} 2")
        with pytest.raises(StoreUnavailable):
            store.lanes("criteo").lease(SCHEDULE)
        elsewhere = store.append(LaneKey("taboola", "vip"), changes("a"), "1")
    outcomes = store.append_each([(LaneKey("criteo", each), changes("c"), f"{each} 2") for each in ("vip", "new")])

    assert elsewhere == 1
    assert outcomes == [1, 1]
    assert nodes.owner("relay:{criteo}") == target
    assert waiting(store, "criteo") == 6
    with nodes.moving("relay:{criteo}", start):
        pass


def test_append_each_finds_a_destination_that_has_moved(nodes: Cluster, store: Store) -> None:
    store.append(LaneKey("criteo", "vip"), changes("a"), "1")
    with nodes.moving("relay:{criteo}", 0):
        pass
    pieces = [(LaneKey(name, "vip"), changes("b"), "2") for name in DESTINATIONS]

    assert store.append_each(pieces) == [1, 1, 1]
    assert waiting(store, "criteo") == 2
    with nodes.moving("relay:{criteo}", 1):
        pass


def test_a_lease_outlasts_the_move_of_its_destination(nodes: Cluster, store: Store) -> None:
    """What a worker has begun it settles there, with what was refused."""
    lane = LaneKey("criteo", "vip")
    store.append(lane, changes("a", "b"), "1")
    lease = store.lanes("criteo").lease(SCHEDULE)
    assert lease is not None
    read = store.lanes("criteo").read(lease, 10, 1_000_000)
    with nodes.moving("relay:{criteo}", 0):
        pass

    store.lanes("criteo").settle(lease, Settlement(taken=2, delivered=1, folded=0, buried=[Burial(read[1], "no")]))

    assert waiting(store, "criteo") == 0
    assert [letter.reason for letter in store.dead_letters("criteo")] == ["no"]
    with nodes.moving("relay:{criteo}", 1):
        pass


def test_a_credential_keeps_its_token_when_its_slot_moves(nodes: Cluster, store: Store) -> None:
    credential = Credential("https://vendor.test", "id", Secret("secret"), token_url="https://vendor.test/token")
    tokens, root = store.tokens(credential), f"relay:{{credential:{credential.id}}}"
    tokens.keep(tokens.get().renewal, "token", timedelta(hours=1))
    start = nodes.owner(root)

    with nodes.moving(root, (start + 1) % 3), pytest.raises(StoreUnavailable):
        tokens.get()

    assert tokens.get().token == "token"
    assert store.limits(credential).take(1) == 1
    assert tell(nodes.nodes[start], "CLUSTER INFO")["cluster_state"] == "ok"
    with nodes.moving(root, start):
        pass


# ── A node that dies ─────────────────────────────────────────────────────────────────────────────


def test_a_replica_takes_over_and_the_same_clients_go_on(tmp_path: Path) -> None:
    """Meanwhile producers are told that Redis is away. What the replica had is there."""
    lane = LaneKey("criteo", "vip")
    with cluster(tmp_path, SLOT_BOUNDS) as nodes, connect(nodes.url) as client:
        nodes.replicate(1, replica=3)
        store = Store(client)
        store.append(lane, changes("a", "b"), "1")
        assert client.wait(1, 5_000, target_nodes=client.get_node_from_key("relay:{criteo}"))

        nodes.kill(1)
        with pytest.raises(StoreUnavailable):
            store.append(lane, changes("c"), "2")
        wait_until(lambda: appended(store, (lane, changes("c"), "2")), within=40)
        pieces = [(LaneKey(name, "churn"), changes("d"), "3") for name in DESTINATIONS]
        wait_until(lambda: appended(store, *pieces), within=40)  # each node learns for itself that the cluster is whole

        assert nodes.owner("relay:{criteo}") == 3
        assert waiting(store, "criteo") == 4


def appended(store: Store, *pieces: tuple[LaneKey, Sequence[Change], str]) -> bool:
    """A producer's repetition, with the same chunk ids."""
    with suppress(StoreUnavailable):
        return store.append_each(pieces) == [1] * len(pieces)
    return False
