"""Lanes in a real Redis. Times are the test's own."""

from bisect import bisect_right
from itertools import accumulate

import msgspec
import pytest
from redis import Redis

from tests.conftest import Clock
from worker.batching import Burial, Settlement
from worker.contract import Change, Identifier, LaneKey, Waiting, encode, stamped
from worker.errors import LeaseLost, StoreFull
from worker.store.deadletters import DeadLetter
from worker.store.lanes import Bounds, Lanes, Lease, Schedule
from worker.store.status import COUNTERS
from worker.store.store import Store

LANE = LaneKey("shop", "vip")
OTHER = LaneKey("shop", "churn")
SCHEDULE = Schedule(max_changes=3, max_age_ms=60_000, max_in_flight=2, settle_ms=20_000)


def change(who: str, *, entered: bool = True, at: int = 0) -> Change:
    return Change(entered, at, (Identifier("email", f"{who}@example.com"),))


@pytest.fixture
def lanes(store: Store) -> Lanes:
    return store.lanes("shop")


def leased(lanes: Lanes) -> Lease:
    lease = lanes.lease(SCHEDULE)
    assert lease is not None
    return lease


def counters(lanes: Lanes) -> dict[str, int]:
    status = lanes.status(10)
    assert status.unaccounted == 0
    return {name: status.counters[name] for name in COUNTERS if status.counters[name]}


def who(lanes: Lanes, lease: Lease) -> list[str]:
    return [each.change.identifiers[0].value[0] for each in lanes.read(lease, 100, 10_000)]


def test_a_lone_change_is_due_when_its_time_is_up(lanes: Lanes, clock: Clock) -> None:
    lanes.append(LANE, [change("a")], "1")

    assert lanes.lease(SCHEDULE) is None

    clock.advance(seconds=59.999)

    assert lanes.lease(SCHEDULE) is None

    clock.advance(seconds=0.001)

    assert leased(lanes).lane == LANE


def test_a_full_lane_is_due_at_once(lanes: Lanes) -> None:
    lanes.append(LANE, [change(each) for each in "ab"], "1")

    assert lanes.lease(SCHEDULE) is None

    lanes.append(LANE, [change("c")], "2")

    assert who(lanes, leased(lanes)) == ["a", "b", "c"]


def fill(lanes: Lanes, lengths: list[int]) -> list[Change]:
    """The lane gets changes whose texts are of these lengths."""
    filled = [
        Change(True, at, (Identifier("email", "a@b"),), audience_name="x" * size) for at, size in enumerate(lengths)
    ]
    for start in range(0, len(filled), 1_000):
        lanes.append(LANE, filled[start : start + 1_000], str(start))
    return filled


@pytest.mark.parametrize("lengths", [[10] * 3_500, [10] * 1_000 + [800] * 2_500, [800] * 1_000 + [10] * 2_500])
@pytest.mark.parametrize("max_bytes", [40_000, 600_000, 1_500_000, 10_000_000])
def test_a_head_is_as_long_as_its_bytes_allow(lanes: Lanes, clock: Clock, lengths: list[int], max_bytes: int) -> None:
    filled = fill(lanes, lengths)
    sizes = list(accumulate(len(stamped(clock(), encode(each))) for each in filled))

    read = lanes.read(leased(lanes), 3_000, max_bytes)

    assert [each.change for each in read] == filled[: min(3_000, bisect_right(sizes, max_bytes))]


def test_of_large_changes_no_more_is_read_than_a_batch_may_hold(lanes: Lanes, redis: Redis) -> None:
    fill(lanes, [2_000] * 5_000)
    before = redis.info("stats")["total_net_output_bytes"]

    assert len(lanes.read(leased(lanes), 5_000, 4_000_000)) > 1_900

    assert redis.info("stats")["total_net_output_bytes"] - before < 5_000_000


def test_what_stands_behind_a_change_that_an_erasure_keeps_back_is_kept_back_too(
    lanes: Lanes, store: Store, clock: Clock
) -> None:
    """Redis' clock stepped back in between, as at a failover: the head would otherwise be settled unread."""
    erasure = LaneKey.erasures("shop")
    lanes.append(LANE, [change("a")], "1")
    clock.advance(seconds=-0.3)
    lanes.append(LANE, [change("b")], "2")
    clock.advance(seconds=0.1)
    lanes.append(erasure, [change("c")], "3")
    store.erasures("shop").remember(LANE)
    clock.advance(seconds=61)
    assert leased(lanes).lane == erasure

    taken = store.erasures("shop").take(LANE, SCHEDULE)

    assert taken is not None
    assert lanes.read(taken.lease, 100, 10_000) == []


def test_appending_a_chunk_twice_appends_it_once(lanes: Lanes) -> None:
    assert [lanes.append(LANE, [change("a"), change("b")], "same") for _ in range(3)] == [2, 2, 2]
    assert counters(lanes) == {"accepted": 2, "waiting": 2}


def test_what_is_there_already_takes_no_room(lanes: Lanes) -> None:
    bounds = Bounds(max_waiting=2, window_ms=600_000)
    first, second, third = (msgspec.structs.replace(change(each), message_id=each) for each in "abc")
    assert lanes.append(LANE, [first, second], "1", bounds) == 2

    assert lanes.append(LANE, [second, first], "2", bounds) == 0
    with pytest.raises(StoreFull):
        lanes.append(LANE, [first, third], "3", bounds)


def test_the_memory_of_chunks_ends(lanes: Lanes, redis: Redis) -> None:
    lanes.append(LANE, [change("a")], "1")

    assert 0 < redis.pttl("relay:{shop}:chunk:1") <= 600_000


def test_a_destination_takes_no_more_than_max_waiting(lanes: Lanes) -> None:
    lanes.append(LANE, [change("a"), change("b")], "1", Bounds(max_waiting=3))

    advice = "shop would hold more than 3 changes waiting; repeat when workers have drained some .*, or raise its max_w"
    with pytest.raises(StoreFull, match=advice):
        lanes.append(OTHER, [change("c"), change("d")], "2", Bounds(max_waiting=3))

    assert counters(lanes) == {"accepted": 2, "waiting": 2}


def test_a_leased_lane_is_leased_to_nobody_else(lanes: Lanes) -> None:
    lanes.append(LANE, [change(each) for each in "abc"], "1")
    leased(lanes)
    lanes.append(LANE, [change(each) for each in "def"], "2")

    assert lanes.lease(SCHEDULE) is None


def test_no_more_lanes_are_leased_than_max_in_flight(lanes: Lanes) -> None:
    for number in range(4):
        lanes.append(LaneKey("shop", f"audience {number}"), [change(each) for each in "abc"], str(number))

    assert [lanes.lease(SCHEDULE) is not None for _ in range(4)] == [True, True, False, False]


def test_the_oldest_lane_goes_first(lanes: Lanes, clock: Clock) -> None:
    lanes.append(OTHER, [change("a")], "1")
    clock.advance(seconds=1)
    lanes.append(LANE, [change(each) for each in "abcdef"], "2")
    clock.advance(seconds=60)

    assert leased(lanes).lane == OTHER


def test_settling_takes_the_head_and_leaves_what_came_since(lanes: Lanes, clock: Clock) -> None:
    lanes.append(LANE, [change(each) for each in "abc"], "1")
    lease = leased(lanes)
    clock.advance(seconds=5)
    lanes.append(LANE, [change("d")], "2")
    lanes.settle(lease, Settlement(taken=3, delivered=2, folded=1))

    assert counters(lanes) == {"accepted": 4, "delivered": 2, "folded": 1, "waiting": 1}
    assert lanes.lease(SCHEDULE) is None

    clock.advance(seconds=59)

    assert lanes.lease(SCHEDULE) is None, "since is the stamp of the new head"

    clock.advance(seconds=1)

    assert who(lanes, leased(lanes)) == ["d"]


def test_a_full_remainder_is_due_at_once(lanes: Lanes) -> None:
    lanes.append(LANE, [change(each) for each in "abcdef"], "1")
    lanes.settle(leased(lanes), Settlement(taken=3, delivered=3, folded=0))

    assert who(lanes, leased(lanes)) == ["d", "e", "f"]


def test_what_was_refused_is_buried_with_its_reason(lanes: Lanes, store: Store, clock: Clock) -> None:
    lanes.append(LANE, [change(each) for each in "abc"], "1")
    settlement = Settlement(
        taken=3, delivered=2, folded=0, buried=[Burial(Waiting(clock.ms, change("b")), "invalid identifier")]
    )
    lanes.settle(leased(lanes), settlement)

    assert counters(lanes) == {"accepted": 3, "delivered": 2, "buried": 1}
    assert list(store.dead_letters("shop")) == [
        DeadLetter(1, LANE, "invalid identifier", clock.ms, clock.ms, change("b"), superseded=False)
    ]


def test_a_lease_that_ran_out_can_change_nothing(lanes: Lanes, clock: Clock) -> None:
    lanes.append(LANE, [change(each) for each in "abc"], "1")
    lost = leased(lanes)
    clock.advance(seconds=31)
    leased(lanes)

    with pytest.raises(LeaseLost):
        lanes.settle(lost, Settlement(taken=3, delivered=3, folded=0))
    with pytest.raises(LeaseLost):
        lanes.extend(lost, SCHEDULE)
    with pytest.raises(LeaseLost):
        lanes.give_back(lost, "late", lane_ms=1000)
    assert counters(lanes) == {"accepted": 3, "waiting": 3}


def test_a_lane_whose_worker_died_before_any_request_is_due_when_the_lease_ends(lanes: Lanes, clock: Clock) -> None:
    lanes.append(LANE, [change(each) for each in "abc"], "1")
    leased(lanes)
    clock.advance(seconds=30)

    assert leased(lanes).attempts == 0


def test_a_lane_whose_worker_died_after_a_request_waits_until_the_vendor_is_done(lanes: Lanes, clock: Clock) -> None:
    lanes.append(LANE, [change(each) for each in "abc"], "1")
    lanes.extend(leased(lanes), SCHEDULE)
    clock.advance(seconds=30)

    assert lanes.lease(SCHEDULE) is None
    (lane,) = lanes.status(10).lanes
    assert lane.hold is not None
    assert lane.hold.reason == "worker lost"

    clock.advance(seconds=10)

    assert leased(lanes).attempts == 1


def test_a_held_lane_is_not_leased_until_the_hold_ends(lanes: Lanes, clock: Clock) -> None:
    lanes.append(LANE, [change(each) for each in "abc"], "1")
    lanes.give_back(leased(lanes), "HTTP 500", lane_ms=5_000, fault=True)
    lanes.append(LANE, [change("d")], "2")

    assert lanes.lease(SCHEDULE) is None

    clock.advance(seconds=5)
    lease = leased(lanes)

    assert (lease.attempts, lease.faults) == (1, 1)
    assert who(lanes, lease) == ["a", "b", "c", "d"], "a retry never changes the order"


def test_nobodys_order_ends_a_hold_before_the_vendor_has_settled(lanes: Lanes, clock: Clock) -> None:
    lanes.append(LANE, [change(each) for each in "abc"], "1")
    lanes.give_back(leased(lanes), "timeout", lane_ms=1_000, settle_ms=20_000)

    lanes.hold_by_hand(LANE, "maintenance", for_ms=1_000)
    clock.advance(seconds=10)
    assert lanes.release(LANE)
    clock.advance(seconds=9.999)

    assert lanes.lease(SCHEDULE) is None
    hold = lanes.hold_of(LANE)
    assert hold is not None
    assert hold.reason == "the vendor may still apply the last request"

    clock.advance(seconds=0.001)

    assert leased(lanes).lane == LANE


def test_a_fault_of_the_batch_in_hand_ends_no_hold_by_hand(lanes: Lanes, clock: Clock) -> None:
    lanes.append(LANE, [change(each) for each in "abc"], "1")
    lease = leased(lanes)
    lanes.hold_by_hand(LANE, "maintenance")
    lanes.give_back(lease, "HTTP 500", lane_ms=1_000)
    clock.advance(seconds=3_600)

    assert lanes.lease(SCHEDULE) is None
    hold = lanes.hold_of(LANE)
    assert hold is not None
    assert (hold.reason, hold.until_ms) == ("maintenance", None)


def test_a_wait_of_our_own_is_no_attempt(lanes: Lanes, clock: Clock) -> None:
    lanes.append(LANE, [change(each) for each in "abc"], "1")
    for _ in range(3):
        lanes.give_back(leased(lanes), "an erasure goes first", lane_ms=1_000, attempt=False)
        clock.advance(seconds=1)

    assert leased(lanes).attempts == 0


def test_success_ends_the_memory_of_attempts(lanes: Lanes, clock: Clock) -> None:
    lanes.append(LANE, [change(each) for each in "abcdef"], "1")
    lanes.give_back(leased(lanes), "HTTP 500", lane_ms=5_000, fault=True)
    clock.advance(seconds=5)
    lanes.settle(leased(lanes), Settlement(taken=3, delivered=3, folded=0))

    lease = leased(lanes)

    assert (lease.attempts, lease.faults) == (0, 0)


def test_after_a_destinations_hold_one_lane_probes(lanes: Lanes, clock: Clock) -> None:
    for lane in (LANE, OTHER):
        lanes.append(lane, [change(each) for each in "abc"], lane.audience)
    lanes.give_back(leased(lanes), "connection failed", lane_ms=1, destination_ms=10_000, fault=True)

    assert lanes.lease(SCHEDULE) is None
    hold = lanes.status(10).hold
    assert hold is not None
    assert hold.reason == "connection failed"

    clock.advance(seconds=10)
    probe = leased(lanes)

    assert lanes.lease(SCHEDULE) is None

    lanes.settle(probe, Settlement(taken=3, delivered=3, folded=0))

    assert lanes.lease(SCHEDULE) is not None
    assert lanes.status(10).hold is None


@pytest.mark.parametrize("lane", [LANE, None])
def test_a_hold_by_hand_lasts_until_it_is_released(lanes: Lanes, clock: Clock, lane: LaneKey | None) -> None:
    lanes.hold_by_hand(lane, "maintenance")
    lanes.append(LANE, [change(each) for each in "abc"], "1")
    clock.advance(seconds=1_000_000)

    assert lanes.lease(SCHEDULE) is None
    assert lanes.release(lane) is True
    assert leased(lanes).lane == LANE
    assert lanes.release(lane) is False


def test_after_a_timed_hold_by_hand_faults_hold_the_destination_again(lanes: Lanes, clock: Clock) -> None:
    lanes.hold_by_hand(None, "maintenance", for_ms=2_000)
    clock.advance(seconds=3)
    lanes.append(LANE, [change(each) for each in "abc"], "1")
    lanes.give_back(leased(lanes), "credentials refused", destination_ms=10_000)

    hold = lanes.status(10).hold
    assert hold is not None
    assert (hold.reason, hold.since_ms) == ("credentials refused", clock())

    clock.advance(seconds=10)
    lanes.settle(leased(lanes), Settlement(taken=3, delivered=3, folded=0))
    for lane in (LANE, OTHER):
        lanes.append(lane, [change(each) for each in "abc"], f"again {lane.audience}")

    assert [lanes.lease(SCHEDULE) is not None for _ in range(2)] == [True, True]


def test_releasing_what_was_not_held_says_so(lanes: Lanes) -> None:
    lanes.append(LANE, [change(each) for each in "abc"], "1")
    lanes.give_back(leased(lanes), "HTTP 500", fault=True)

    assert lanes.release(None) is False
    assert lanes.release(LANE) is False


def test_a_lane_held_by_hand_while_it_is_leased_stays_held_afterwards(lanes: Lanes) -> None:
    lanes.append(LANE, [change(each) for each in "abcdef"], "1")
    lease = leased(lanes)
    lanes.hold_by_hand(LANE, "maintenance")
    lanes.settle(lease, Settlement(taken=3, delivered=3, folded=0))

    assert lanes.lease(SCHEDULE) is None


def test_wake_ups_are_claimed_once_and_within_max_in_flight(lanes: Lanes, clock: Clock) -> None:
    for number in range(5):
        lanes.append(LaneKey("shop", str(number)), [change(each) for each in "abc"], str(number))

    assert lanes.wake(SCHEDULE, ["a", "b"], 10_000).claims == ["a", "b"]
    assert lanes.wake(SCHEDULE, ["c", "d"], 10_000).claims == []
    assert lanes.begin("a", 60_000)

    lanes.finish("a")

    assert lanes.wake(SCHEDULE, ["c", "d"], 10_000).claims == ["c"]

    clock.advance(seconds=10)

    assert not lanes.begin("b", 60_000)
    assert lanes.wake(SCHEDULE, ["e", "f"], 10_000).claims == ["e", "f"]


def test_no_wake_up_is_sent_for_a_held_destination_or_one_that_has_nothing_due(lanes: Lanes) -> None:
    lanes.append(LANE, [change("a")], "1")

    assert lanes.wake(SCHEDULE, ["a"], 10_000).claims == []

    lanes.append(LANE, [change("b"), change("c")], "2")
    lanes.hold_by_hand(None, "maintenance")

    assert lanes.wake(SCHEDULE, ["a"], 10_000).claims == []


def test_it_is_told_when_the_age_of_the_next_lane_makes_it_due(lanes: Lanes, clock: Clock) -> None:
    assert lanes.wake(SCHEDULE, [], 1).next_ms is None

    lanes.append(LANE, [change("a")], "1")
    clock.advance(seconds=20)
    lanes.append(OTHER, [change("b")], "2")
    assert lanes.wake(SCHEDULE, [], 1).next_ms == 40_000

    clock.advance(seconds=40)
    assert lanes.wake(SCHEDULE, ["a"], 10_000) == (["a"], 20_000)

    lanes.hold_by_hand(OTHER, "maintenance")
    assert lanes.wake(SCHEDULE, ["b"], 10_000) == (["b"], None)


def test_what_is_due_and_finds_no_room_is_looked_at_again_soon(lanes: Lanes, clock: Clock) -> None:
    for lane in (LANE, OTHER, LaneKey("shop", "third")):
        lanes.append(lane, [change("a")], lane.audience)
    clock.advance(seconds=60)

    assert lanes.wake(SCHEDULE, ["a", "b"], 10_000) == (["a", "b"], 50)
    assert lanes.wake(SCHEDULE, ["c", "d"], 10_000) == ([], 50)

    lanes.hold_by_hand(None, "maintenance")
    assert lanes.wake(SCHEDULE, ["c", "d"], 10_000) == ([], None)


def test_reading_stops_at_the_size_that_a_request_may_have(lanes: Lanes) -> None:
    lanes.append(LANE, [change(each) for each in "abc"], "1")
    lease = leased(lanes)
    size = len(stamped(0, encode(change("a"))))

    assert len(lanes.read(lease, 3, 2 * size)) == 2
    assert len(lanes.read(lease, 3, 2 * size - 1)) == 1
    assert len(lanes.read(lease, 3, 1)) == 1


def commands(redis: Redis) -> int:
    return sum(each["calls"] for each in redis.info("commandstats").values())


def test_held_lanes_cost_a_sweep_nothing(lanes: Lanes, redis: Redis) -> None:
    def cost() -> int:
        before = commands(redis)
        lanes.wake(SCHEDULE, ["a", "b"], 1)
        return commands(redis) - before

    lanes.wake(SCHEDULE, ["a", "b"], 1)
    alone = cost()
    for number in range(2_000):
        lane = LaneKey("shop", f"audience {number}")
        lanes.append(lane, [change("a")], str(number))
        lanes.hold_by_hand(lane, "vendor away")

    assert cost() == alone


def test_the_oldest_change_is_told_wherever_it_waits(lanes: Lanes, clock: Clock) -> None:
    assert lanes.status(10).oldest_ms is None

    lanes.append(LANE, [change(each) for each in "abc"], "1")
    first = clock()
    lanes.give_back(leased(lanes), "HTTP 500", lane_ms=60_000)
    clock.advance(seconds=1)
    lanes.append(OTHER, [change("d")], "2")

    assert lanes.status(0).oldest_ms == first
    hold = lanes.hold_of(LANE)
    assert hold is not None
    assert hold.reason == "HTTP 500"
    assert lanes.hold_of(OTHER) is None


def test_notes_are_kept_and_forgotten(lanes: Lanes) -> None:
    lanes.keep_notes({"list:vip": "1", "list:churn": "2"})
    lanes.keep_notes({"list:vip": None, "list:churn": "3"})

    assert lanes.notes(["list:vip", "list:churn"]) == {"list:churn": "3"}


def test_a_notice_is_shown_until_it_is_taken_back(lanes: Lanes) -> None:
    lanes.keep_notes({"notice:vip": "its ttl_in_hours is 24", "notice:churn": "?", "list:vip": "1"})
    lanes.keep_notes({"notice:churn": None})

    assert lanes.status(10).notices == {"vip": "its ttl_in_hours is 24"}
    assert lanes.notes(["notice:vip", "notice:churn", "list:vip"]) == {
        "notice:vip": "its ttl_in_hours is 24",
        "list:vip": "1",
    }


def test_what_is_left_out_is_counted_by_reason(lanes: Lanes) -> None:
    lanes.count_left_out({"consent": 2})
    lanes.count_left_out({"consent": 1, "property plan": 1})

    assert lanes.status(10).left_out == {"consent": 3, "property plan": 1}
