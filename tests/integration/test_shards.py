"""An audience of several lanes: each person in one of them, whatever their number becomes."""

from collections import Counter
from collections.abc import Sequence
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from redis import Redis

from tests.conftest import Clock
from worker.batching import Burial, Settlement
from worker.contract import Change, Identifier, LaneKey, Waiting, bucket
from worker.destinations.base import sha256_hex
from worker.store.lanes import Bounds, Lanes, Lease, Schedule
from worker.store.store import Store

VIP = LaneKey("shop", "vip")
SCHEDULE: Final = Schedule(max_changes=1, max_age_ms=60_000, max_in_flight=8, settle_ms=20_000)
FOUR = Bounds(shards=4)


def change(who: str, *, entered: bool = True, message_id: str = "") -> Change:
    return Change(entered, 0, (Identifier("email", f"{who}@example.com"),), message_id)


@pytest.fixture
def lanes(store: Store) -> Lanes:
    return store.lanes("shop")


def append(lanes: Lanes, changes: Sequence[Change], bounds: Bounds = FOUR) -> int:
    return lanes.append(VIP, changes, f"{lanes.status(0).counters['accepted']} {bounds}", bounds)


def leases(lanes: Lanes, schedule: Schedule = SCHEDULE) -> list[Lease]:
    found = []
    while lease := lanes.lease(schedule):
        found.append(lease)
    return found


def read(lanes: Lanes, lease: Lease) -> list[Waiting]:
    return lanes.read(lease, 1_000, 1_000_000)


def settle(lanes: Lanes, lease: Lease, taken: int, buried: Sequence[Burial] = ()) -> None:
    lanes.settle(lease, Settlement(taken, taken - len(buried), 0, buried))


def drain(lanes: Lanes) -> list[str]:
    """Who waited, lane after lane."""
    found: list[str] = []
    while lease := lanes.lease(SCHEDULE):
        waiting = read(lanes, lease)
        found += [each.change.identifiers[0].value.partition("@")[0] for each in waiting]
        settle(lanes, lease, len(waiting))
    return found


def waiting_in(lanes: Lanes) -> Counter[int]:
    """How many changes each shard holds."""
    return Counter({each.lane.shard: each.waiting for each in lanes.status(100).lanes})


# ── Who is where ─────────────────────────────────────────────────────────────────────────────────


def test_persons_are_spread_evenly_and_their_changes_stay_together_in_their_order(lanes: Lanes) -> None:
    append(lanes, [change(f"p{number % 200}", entered=number < 200, message_id=f"m{number}") for number in range(400)])

    assert sum(waiting_in(lanes).values()) == 400
    assert sorted(waiting_in(lanes)) == [0, 1, 2, 3]
    assert min(waiting_in(lanes).values()) > 50
    for lease in leases(lanes):
        of = [(each.change.identifiers[0].value, each.change.entered) for each in read(lanes, lease)]
        half = len(of) // 2
        assert [(who, False) for who, _ in of[:half]] == of[half:]


@pytest.mark.parametrize("form", [str, sha256_hex], ids=["plain", "hashed"])
def test_a_person_is_in_one_bucket_hashed_or_not(form: object) -> None:
    assert callable(form)

    assert bucket(Identifier("email", form("jane@example.com"))) == 0x8C87B489


def test_several_lanes_of_an_audience_are_flushed_side_by_side(lanes: Lanes) -> None:
    append(lanes, [change(f"p{number}") for number in range(100)])

    assert {lease.lane for lease in leases(lanes)} == {LaneKey("shop", "vip", shard) for shard in range(4)}


# ── Another number ───────────────────────────────────────────────────────────────────────────────


def test_the_number_changes_when_nothing_waits(lanes: Lanes) -> None:
    append(lanes, [change(f"p{number}") for number in range(50)], Bounds())

    append(lanes, [change(f"p{number}") for number in range(50)])
    assert waiting_in(lanes) == {0: 100}
    assert lanes.of_audience("vip") == [VIP]

    drain(lanes)
    append(lanes, [change(f"p{number}") for number in range(50)])
    assert sorted(waiting_in(lanes)) == [0, 1, 2, 3]
    assert len(lanes.of_audience("vip")) == 4

    drain(lanes)
    append(lanes, [change(f"p{number}") for number in range(50)], Bounds())
    assert waiting_in(lanes) == {0: 50}


def test_who_knows_of_one_lane_only_is_told_and_spreads_all_the_same(store: Store, lanes: Lanes) -> None:
    """Producers are not restarted at one moment."""
    append(lanes, [change(f"p{number}") for number in range(100)])
    before = waiting_in(lanes)

    append(lanes, [change(f"p{number}") for number in range(100)], Bounds())
    assert waiting_in(lanes) == {shard: 2 * count for shard, count in before.items()}

    assert store.append_each([(VIP, [change(f"p{number}") for number in range(100)], "together")]) == [100]
    assert waiting_in(lanes) == {shard: 3 * count for shard, count in before.items()}


def test_a_chunk_is_appended_once_also_when_it_had_to_be_spread(lanes: Lanes) -> None:
    append(lanes, [change("a"), change("b")])

    assert [lanes.append(VIP, [change("a"), change("c")], "same", Bounds()) for _ in range(3)] == [2, 2, 2]
    assert sum(waiting_in(lanes).values()) == 4


def test_the_number_stays_while_somebody_is_being_forgotten(store: Store, lanes: Lanes) -> None:
    """Else a lane that has passed the erasure could get persons of one that has not."""
    append(lanes, [change("a")])
    drain(lanes)
    lanes.append(LaneKey.erasures("shop"), [change("b")], "erasure", Bounds())

    append(lanes, [change("a")], Bounds())

    assert len(lanes.of_audience("vip")) == 4


def test_lanes_that_an_audience_no_longer_has_hold_nobody(store: Store, lanes: Lanes) -> None:
    append(lanes, [change(f"p{number}") for number in range(50)])
    drain(lanes)
    assert len(store.erasures("shop").audiences()) == 4

    append(lanes, [change("a")], Bounds())

    assert list(store.erasures("shop").audiences()) == [VIP]


@pytest.mark.parametrize("by", ["a hold", "a lease"])
def test_the_number_stays_while_a_lane_is_held_or_leased(store: Store, lanes: Lanes, by: str) -> None:
    append(lanes, [change("a")], Bounds())
    drain(lanes)
    if by == "a hold":
        lanes.hold_by_hand(VIP, "maintenance")
    else:
        assert store.erasures("shop").take(VIP, SCHEDULE) is not None

    append(lanes, [change(f"p{number}") for number in range(50)])

    assert lanes.of_audience("vip") == [VIP]


def test_other_audiences_keep_their_number(lanes: Lanes) -> None:
    append(lanes, [change("a")])
    lanes.append(LaneKey("shop", "churn"), [change("a")], "churn", Bounds())

    assert len(lanes.of_audience("vip")) == 4
    assert lanes.of_audience("churn") == [LaneKey("shop", "churn")]


# ── Newest wins ──────────────────────────────────────────────────────────────────────────────────

people = st.sampled_from([f"p{number}" for number in range(8)])
arrivals = st.tuples(
    st.just("append"), st.lists(st.tuples(people, st.booleans()), max_size=6), st.sampled_from([1, 2, 3])
)
flushes = st.tuples(st.just("flush"), st.integers(0, 3), st.integers(1, 4))


@settings(max_examples=60)
@given(steps=st.lists(arrivals | flushes, max_size=30))
def test_whatever_the_number_is_meanwhile_the_last_change_of_each_person_is_the_last_one_delivered(
    redis_url: str, steps: Sequence[tuple[str, object, int]]
) -> None:
    with Redis.from_url(redis_url) as client:
        client.flushall()
        lanes = Store(client).lanes("shop")
        arrived: dict[str, bool] = {}
        vendor: dict[str, bool] = {}

        def flush(which: int, most: int) -> None:
            held = leases(lanes)
            for place, lease in enumerate(held):
                waiting = lanes.read(lease, most, 10_000) if place == which % len(held) else []
                vendor.update({each.change.identifiers[0].value: each.change.entered for each in waiting})
                settle(lanes, lease, len(waiting))

        for number, (kind, what, count) in enumerate(steps):
            if kind == "flush":
                assert isinstance(what, int)
                flush(what, count)
            elif what:
                assert isinstance(what, list)
                changes = [change(who, entered=entered) for who, entered in what]
                arrived.update({each.identifiers[0].value: each.entered for each in changes})
                lanes.append(VIP, changes, str(number), Bounds(shards=count))
        while lanes.status(0).counters["waiting"]:
            flush(0, 100)

        assert vendor == arrived
        client.flushall()


# ── Dead letters ─────────────────────────────────────────────────────────────────────────────────


def bury_all(lanes: Lanes) -> None:
    for lease in leases(lanes):
        waiting = read(lanes, lease)
        settle(lanes, lease, len(waiting), [Burial(each, "invalid") for each in waiting])


def test_dead_letters_go_back_to_the_lanes_that_their_persons_have_now(store: Store, lanes: Lanes) -> None:
    who = [f"p{number}" for number in range(40)]
    append(lanes, [change(each) for each in who])
    bury_all(lanes)
    letters = store.dead_letters("shop")
    append(lanes, [change("x")], Bounds(shards=2))

    done = letters.replay(list(letters))

    assert (done.replayed, done.superseded, done.stayed) == (40, 0, ())
    append(lanes, [change(each, entered=False) for each in who], Bounds(shards=2))
    for lease in leases(lanes):
        assert lease.lane.shard < 2
        by_person: dict[str, list[bool]] = {}
        for each in read(lanes, lease):
            by_person.setdefault(each.change.identifiers[0].value, []).append(each.change.entered)
        assert set(map(tuple, by_person.values())) <= {(True, False), (True,)}


def test_a_newer_change_supersedes_a_dead_letter_of_another_number_of_lanes(
    store: Store, lanes: Lanes, clock: Clock
) -> None:
    append(lanes, [change("jane")])
    bury_all(lanes)
    clock.advance(seconds=1)
    append(lanes, [change("jane", entered=False)], Bounds())
    (lease,) = leases(lanes)
    lanes.settle(lease, Settlement(1, 1, 0), superseding={Identifier("email", "jane@example.com"): clock()})

    (letter,) = store.dead_letters("shop")

    assert letter.superseded
    assert store.dead_letters("shop").replay([letter]).superseded == 1


def test_a_replay_waits_where_the_lanes_became_others_meanwhile(
    store: Store, lanes: Lanes, monkeypatch: pytest.MonkeyPatch
) -> None:
    append(lanes, [change("jane")])
    bury_all(lanes)
    letters = store.dead_letters("shop")
    script = letters._replay  # noqa: SLF001 - something happens directly before it

    def later(keys: list[str], args: list[int]) -> object:
        append(lanes, [change("x")], Bounds(shards=2))
        return script(keys=keys, args=args)

    monkeypatch.setattr(letters, "_replay", later)

    done = letters.replay(list(letters))

    assert (done.replayed, len(done.stayed)) == (0, 1)
    assert letters.replay(done.stayed).replayed == 1
