"""Several lanes in one round trip: as good as one append after another."""

from typing import cast

import pytest
from redis import Redis

from tests.conftest import Clock, maxmemory
from worker.contract import Change, Identifier, LaneKey
from worker.errors import StoreFull, StoreUnavailable
from worker.store.connection import connect
from worker.store.lanes import Bounds
from worker.store.store import Store

VIP, CHURN, OTHER = LaneKey("criteo", "vip"), LaneKey("criteo", "churn"), LaneKey("taboola", "vip")


def changes(*who: str) -> list[Change]:
    return [Change(True, 0, (Identifier("email", f"{each}@example.com"),), each) for each in who]


def waiting(store: Store, lane: LaneKey) -> int:
    lanes = store.lanes(lane.destination).status(10).lanes
    return sum(each.waiting for each in lanes if each.lane == lane)


def test_each_lane_gets_its_changes_and_the_numbers_are_told_in_order(store: Store) -> None:
    added = store.append_each(
        [(VIP, changes("a", "b"), "1"), (OTHER, changes("a"), "2"), (CHURN, changes("a", "b", "c"), "3")]
    )

    assert added == [2, 1, 3]
    assert [waiting(store, lane) for lane in (VIP, OTHER, CHURN)] == [2, 1, 3]
    assert store.destinations() == {"criteo", "taboola"}


def test_nothing_is_appended_for_nothing(store: Store) -> None:
    assert store.append_each([]) == []


def test_repeated_with_the_same_ids_the_changes_are_there_once(store: Store) -> None:
    pieces = [(VIP, changes("a", "b"), "1"), (OTHER, changes("a"), "2")]

    assert store.append_each(pieces) == store.append_each(pieces) == [2, 1]
    assert waiting(store, VIP) == 2


def test_it_works_on_a_redis_that_has_forgotten_the_script(store: Store, redis: Redis) -> None:
    store.append_each([(VIP, changes("a"), "1")])

    redis.script_flush()

    assert store.append_each([(VIP, changes("b"), "2")]) == [1]


def test_a_destination_without_room_stops_no_other(redis: Redis, clock: Clock) -> None:
    store = Store(redis, {"criteo": Bounds(max_waiting=2)}, now_ms=clock)

    full, added = store.append_each([(VIP, changes("a", "b", "c"), "1"), (OTHER, changes("a"), "2")])

    assert isinstance(full, StoreFull)
    assert "max_waiting" in str(full)
    assert added == 1
    assert waiting(store, VIP) == 0


def test_a_full_redis_is_told_of_each(store: Store, redis: Redis) -> None:
    store.append_each([(VIP, changes("a"), "1"), (OTHER, changes("a"), "2")])  # its memory is looked at once a second

    with maxmemory(redis, 1):
        outcomes = store.append_each([(VIP, changes("b"), "3"), (OTHER, changes("b"), "4")])

    assert [type(each) for each in outcomes] == [StoreFull, StoreFull]


def test_well_before_redis_is_full_nothing_is_appended(redis: Redis, clock: Clock) -> None:
    used = cast("dict[str, int]", redis.info("memory"))["used_memory"]

    with maxmemory(redis, round(used / 0.85)), pytest.raises(StoreFull, match="of its maxmemory"):
        Store(redis, now_ms=clock).append_each([(VIP, changes("a"), "1")])
    with maxmemory(redis, used * 2):
        assert Store(redis, now_ms=clock).append_each([(VIP, changes("a"), "1")]) == [1]


def test_a_redis_that_takes_no_writes_is_unavailable(redis: Redis, store: Store) -> None:
    store.append_each([(VIP, changes("a"), "1")])
    redis.replicaof("127.0.0.1", "1")
    try:
        with pytest.raises(StoreUnavailable):
            store.append_each([(VIP, changes("b"), "2")])
    finally:
        redis.replicaof("NO", "ONE")


# ── Whether there is room ────────────────────────────────────────────────────────────────────────


def test_there_is_room_and_asking_leaves_nothing_behind(store: Store, redis: Redis) -> None:
    store.expect_room()

    assert redis.dbsize() == 0


def test_a_full_redis_has_no_room(store: Store, redis: Redis) -> None:
    store.expect_room()

    with maxmemory(redis, 1), pytest.raises(StoreFull):
        store.expect_room()


def test_a_replica_has_no_room(store: Store, redis: Redis) -> None:
    redis.replicaof("127.0.0.1", "1")
    try:
        with pytest.raises(StoreUnavailable):
            store.expect_room()
    finally:
        redis.replicaof("NO", "ONE")


def test_a_redis_that_is_away_has_no_room() -> None:
    with pytest.raises(StoreUnavailable):
        Store(connect("redis://127.0.0.1:1/0")).expect_room()
