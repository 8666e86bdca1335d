"""Forgetting persons, at every kind of destination: out of audiences, lanes and dead letters, in order."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from redis import Redis

from producers.intake import Intake
from producers.routing import Router
from sandbox.app import Sandbox
from tests.conftest import Clock, maxmemory
from tests.destinations.conftest import FIRST_CHANGE, Bench, configured, enters, leaves, open_bench
from worker import erasure, outgoing
from worker.batching import Burial, Settlement
from worker.contract import Change, Identifier, LaneKey, Waiting, bucket
from worker.destinations.base import FoldedBatch, Receipt
from worker.errors import LeaseLost
from worker.store.lanes import Bounds, Lease, Schedule
from worker.store.store import Store

JANE = Identifier("email", "jane@example.com")
AMENDMENT = FIRST_CHANGE | {"taboola": "amend"}


def forget(bench: Bench, *identifiers: Identifier, request: str = "r-1") -> None:
    change = Change(entered=False, occurred_at=bench.clock(), identifiers=identifiers, message_id=request)
    bench.edges.lanes.append(LaneKey.erasures("shop"), [change], f"erasure {request} {bench.clock()}")


def receipt(bench: Bench, request: str = "r-1") -> dict[str, Any]:
    found = bench.edges.erasures.receipts([request])[request]
    assert found["done"]
    return found


def flush_all(bench: Bench) -> None:
    """Until nothing waits, at most ten minutes."""
    for _ in range(10):
        while bench.flush_now() is not None:
            pass
        if not bench.status().counters["waiting"]:
            return
        bench.clock.advance(seconds=61)
    raise AssertionError(f"still waiting: {bench.status()}")


def test_a_person_leaves_every_audience(bench: Bench) -> None:
    for audience in ("vip", "churn"):
        bench.append([enters("jane"), enters("joe")], audience)
    bench.clock.advance(seconds=61)
    flush_all(bench)

    forget(bench, JANE)
    flush_all(bench)

    assert bench.members("vip") == bench.members("churn") == {bench.form("joe@example.com")}
    assert receipt(bench)["audiences"] == 2


def test_what_waits_is_dropped_and_counted_as_discarded(bench: Bench) -> None:
    bench.append([enters("jane"), enters("joe"), leaves("jane", at=1), enters("jane", at=2)])
    bench.clock.advance(seconds=1)

    forget(bench, JANE)
    flush_all(bench)

    counters = bench.status().counters
    assert counters["discarded"] == counters["erased"] == 3
    assert bench.members() == {bench.form("joe@example.com")}
    assert bench.status().unaccounted == 0


def test_an_erasure_is_due_at_once_and_before_older_lanes(bench: Bench) -> None:
    bench.append([enters("joe")])
    bench.clock.advance(seconds=120)
    forget(bench, JANE)

    bench.flush_now()

    assert receipt(bench)["audiences"] == 0, "of joe's audience nothing was ever sent"


def test_what_comes_after_the_request_stays(bench: Bench) -> None:
    bench.append([enters("jane")])
    bench.clock.advance(seconds=61)
    flush_all(bench)

    forget(bench, JANE)
    bench.clock.advance(seconds=1)
    bench.append([enters("jane", at=5)])
    flush_all(bench)

    assert bench.members() == {bench.form("jane@example.com")}


def test_what_comes_after_the_request_is_not_sent_before_it(bench: Bench) -> None:
    """A lane that was leased before the request must not deliver what came after it: the erasure would undo that."""
    bench.append([enters("joe")])
    bench.clock.advance(seconds=61)
    lease = bench.edges.lanes.lease(bench.edges.schedule)
    assert lease is not None
    forget(bench, JANE)
    bench.clock.advance(seconds=1)
    bench.append([enters("jane", at=5)])

    read = bench.edges.lanes.read(lease, 100, 1_000_000)

    assert [each.change for each in read] == [enters("joe")]
    bench.edges.lanes.give_back(lease)
    flush_all(bench)
    assert bench.members() == {bench.form("jane@example.com"), bench.form("joe@example.com")}


def test_an_erasure_that_fails_is_done_again_where_it_was_not_done(bench: Bench) -> None:
    for audience in ("vip", "churn"):
        bench.append([enters("jane")], audience)
    bench.clock.advance(seconds=61)
    flush_all(bench)
    forget(bench, JANE)
    bench.fault(kind="status", status=503)

    bench.flush_now()
    assert bench.members("vip") | bench.members("churn") == {bench.form("jane@example.com")}
    flush_all(bench)

    assert bench.members("vip") == bench.members("churn") == set()
    assert bench.status().unaccounted == 0


def test_a_lane_that_passed_an_erasure_goes_on_while_another_is_held(bench: Bench) -> None:
    for audience in ("vip", "churn"):
        bench.append([enters("jane")], audience)
    bench.clock.advance(seconds=61)
    flush_all(bench)
    bench.edges.lanes.hold_by_hand(LaneKey("shop", "churn"), "wait")
    forget(bench, JANE)

    bench.flush_now()
    bench.clock.advance(seconds=1)
    bench.append([enters("jane", at=5)])
    bench.flush()  # the erasure is tried again
    bench.flush_now()

    assert bench.members("vip") == {bench.form("jane@example.com")}
    if bench.edges.destination.deletes_persons:
        assert bench.members("churn") == set()
        return
    assert bench.members("churn") == {bench.form("jane@example.com")}
    [held] = [each for each in bench.status().lanes if each.lane.is_erasures]
    assert held.hold is not None
    assert "churn: wait" in held.hold.reason

    bench.edges.lanes.release(LaneKey("shop", "churn"))
    bench.clock.advance(seconds=600)
    flush_all(bench)

    assert bench.members("vip") == {bench.form("jane@example.com")}
    assert bench.members("churn") == set()


def test_what_comes_after_the_request_waits_until_the_vendor_has_deleted_the_person(bench: Bench) -> None:
    """Where deleting ends memberships, a lane that went on before would lose what is newer."""
    bench.append([enters("jane")], "vip")
    bench.append([enters("jane")], "churn")
    bench.clock.advance(seconds=61)
    flush_all(bench)
    forget(bench, JANE)
    bench.clock.advance(seconds=1)
    bench.append([enters("jane", at=5)], "vip")
    bench.append([enters("jane", at=5)], "churn")

    for _ in range(4):
        bench.fault(kind="reset_after", times=2)
        bench.flush()
    flush_all(bench)

    assert bench.members("vip") == bench.members("churn") == {bench.form("jane@example.com")}
    assert bench.status().unaccounted == 0


def test_dead_letters_are_discarded(bench: Bench) -> None:
    bench.append([enters("jane"), enters("joe")])
    bench.clock.advance(seconds=61)
    lease = bench.edges.lanes.lease(bench.edges.schedule)
    assert lease is not None
    both = bench.edges.lanes.read(lease, 2, 1_000_000)
    bury = Settlement(taken=2, delivered=0, folded=0, buried=[Burial(each, "no") for each in both])
    bench.edges.lanes.settle(lease, bury)

    forget(bench, JANE)
    flush_all(bench)

    [left] = list(bench.edges.dead_letters)
    assert left.change == enters("joe")
    counters = bench.status().counters
    assert (counters["buried"], counters["discarded"]) == (1, 1)
    assert receipt(bench)["dead_letters_dropped"] == 1


def test_what_is_replayed_in_the_middle_of_an_erasure_is_dropped_too(bench: Bench) -> None:
    bench.append([enters("jane"), enters("joe")])
    bench.clock.advance(seconds=61)
    lease = bench.edges.lanes.lease(bench.edges.schedule)
    assert lease is not None
    janes, joes = bench.edges.lanes.read(lease, 2, 1_000_000)
    bench.edges.lanes.settle(lease, Settlement(2, 0, 0, [Burial(janes, "no"), Burial(joes, "no")]))
    forget(bench, JANE)
    erasures = bench.edges.lanes.lease(bench.edges.schedule)
    assert erasures is not None
    bench.edges.erasures.note_passed(erasures, lease.lane, 1)
    bench.edges.lanes.give_back(erasures)  # another lane was in the way

    assert bench.edges.dead_letters.replay(list(bench.edges.dead_letters)).replayed == 2
    bench.clock.advance(seconds=61)
    flush_all(bench)

    assert bench.members() == {bench.form("joe@example.com")}
    assert receipt(bench)["waiting_dropped"] == 1


def test_a_full_redis_lets_an_erasure_pass_and_what_waits_for_it(redis: Redis, bench: Bench) -> None:
    bench.append([enters("jane"), enters("joe")])
    bench.flush()
    forget(bench, JANE)
    bench.append([leaves("joe"), enters("eve")])

    with maxmemory(redis, 1):
        flush_all(bench)

    assert bench.members() == {bench.form("eve@example.com")}
    assert receipt(bench)["audiences"] == 1


def test_a_full_redis_lets_faults_of_the_vendor_be_noted(redis: Redis, bench: Bench) -> None:
    """And an operator's order to go on."""
    bench.append([enters("jane")])
    bench.fault(kind="reset_after", times=1, match={"route": AMENDMENT[bench.kind]})
    lane = LaneKey("shop", "vip")

    with maxmemory(redis, 1):
        bench.flush()
        hold = bench.edges.lanes.hold_of(lane)
        assert bench.edges.lanes.release(lane, bury=True)

    assert hold is not None
    assert hold.reason.startswith("connection lost")
    assert bench.edges.erasures.audiences()[lane].may_have_members


def test_an_audience_of_which_nothing_was_taken_is_no_obstacle(bench: Bench) -> None:
    bench.append([enters("jane")])
    bench.edges.lanes.hold_by_hand(LaneKey("shop", "vip"), "wait")
    bench.clock.advance(seconds=1)

    forget(bench, JANE)
    bench.flush_now()

    assert receipt(bench)["audiences"] == 0
    assert bench.status().counters["erased"] == 1


def test_an_audience_of_which_something_may_have_been_taken_is_left_for_certain(bench: Bench) -> None:
    """The vendor took the person, but the answer was lost, and the lane is held since."""
    bench.append([enters("joe")])
    bench.flush()
    bench.append([enters("jane")], "churn")
    bench.fault(kind="reset_after", times=9, match={"route": AMENDMENT[bench.kind]})
    bench.flush()
    assert bench.members("churn") == {bench.form("jane@example.com")}
    bench.fault(kind="slow", seconds=0)
    forget(bench, JANE)

    flush_all(bench)

    assert bench.members("churn") == set()
    assert receipt(bench)["audiences"] == 2


def test_a_vendor_that_failed_may_have_taken_something(bench: Bench) -> None:
    bench.append([enters("jane")])
    bench.fault(kind="status", status=500, match={"route": FIRST_CHANGE[bench.kind]})
    bench.flush()

    assert bench.edges.erasures.audiences()[LaneKey("shop", "vip")].may_have_members


def test_an_audience_whose_changes_were_all_buried_is_left_too(bench: Bench) -> None:
    bench.append([enters("jane")])
    bench.clock.advance(seconds=61)
    lease = bench.edges.lanes.lease(bench.edges.schedule)
    assert lease is not None
    [waiting] = bench.edges.lanes.read(lease, 1, 1_000_000)
    bench.edges.lanes.settle(lease, Settlement(taken=1, delivered=0, folded=0, buried=[Burial(waiting, "no")]))

    forget(bench, JANE)
    flush_all(bench)

    assert receipt(bench)["audiences"] == 1


def test_a_lane_that_is_being_flushed_is_waited_for(bench: Bench) -> None:
    bench.append([enters("jane")])
    bench.clock.advance(seconds=61)
    lease = bench.edges.lanes.lease(bench.edges.schedule)
    assert lease is not None
    forget(bench, JANE)
    waits: list[float] = []

    def until_it_is_given_back(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 3:
            bench.edges.lanes.give_back(lease)

    bench.edges = replace(bench.edges, pause=until_it_is_given_back)
    bench.flush_now()

    assert len(waits) == 3
    assert bench.status().counters["erased"] == 1


def test_many_persons_are_forgotten_together(bench: Bench) -> None:
    people = [f"p{number}" for number in range(90)]
    bench.append([enters(who) for who in (*people, "joe")])
    bench.clock.advance(seconds=61)
    flush_all(bench)
    before = sum(bench.requests(route) for route in ("amend", "users", "graphql", "webhook"))

    for who in people:
        forget(bench, Identifier("email", f"{who}@example.com"), request=who)
    flush_all(bench)

    assert bench.members() == {bench.form("joe@example.com")}
    assert sum(bench.requests(route) for route in ("amend", "users", "graphql", "webhook")) - before <= 4


def test_a_lease_on_a_lane_that_ran_out_changes_nothing(bench: Bench) -> None:
    taken = bench.edges.erasures.take(LaneKey("shop", "vip"), Schedule(1, 1, 1, 20_000))
    assert taken is not None
    assert bench.edges.erasures.take(LaneKey("shop", "vip"), Schedule(1, 1, 1, 20_000)) is None
    bench.clock.advance(seconds=31)
    bench.append([enters("jane")])
    again = bench.edges.erasures.take(LaneKey("shop", "vip"), Schedule(1, 1, 1, 20_000))
    assert again is not None

    with pytest.raises(LeaseLost, match="no longer ours"):
        bench.edges.erasures.erase(taken.lease, [0])

    assert bench.status().counters["waiting"] == 1


def test_places_of_a_long_lane_are_dropped_exactly(bench: Bench) -> None:
    lane = LaneKey("shop", "vip")
    for chunk in range(3):
        changes = [enters("jane" if number % 2 else f"p{chunk}-{number}") for number in range(1000)]
        bench.edges.lanes.append(lane, changes, f"chunk {chunk}")
    bench.clock.advance(seconds=1)
    taken = bench.edges.erasures.take(lane, bench.edges.schedule)
    assert taken is not None
    whole = list(bench.edges.erasures.waiting(taken.lease))
    places = [place for place, each in whole if each.change == enters("jane")]

    bench.edges.erasures.erase(taken.lease, places)

    left = [each for _, each in bench.edges.erasures.waiting(taken.lease)]
    assert left == [each for _, each in whole if each.change != enters("jane")]
    assert len(places) == len(left) == 1500
    assert all(isinstance(each, Waiting) for each in left)


# ── In the order of the events ───────────────────────────────────────────────────────────────────


def load(bench: Bench, *events: tuple[str, str]) -> None:
    """Events of one load: `enter`, `leave` or `delete`, and who."""
    settings = configured(bench.kind)
    intake = Intake(Router([settings]), Store(bench.edges.lanes._client, now_ms=bench.clock), bench.clock)  # noqa: SLF001 - the store of the bench
    report = intake.accept_many(_event(number, act, who) for number, (act, who) in enumerate(events))
    assert report.accepted == len(events)


def _event(number: int, act: str, who: str) -> dict[str, Any]:
    traits = {"email": f"{who}@example.com"}
    if act == "delete":
        return {"type": "delete", "messageId": f"m-{number}", "userId": who, "traits": traits}
    properties = {"audience_key": "vip", "vip": act == "enter"}
    return {"type": "track", "messageId": f"m-{number}", "properties": properties, "traits": traits}


@pytest.mark.parametrize(
    ("acts", "member"),
    [
        (["enter", "delete"], False),
        (["delete", "enter"], True),
        (["enter", "delete", "enter"], True),
        (["enter", "delete", "enter", "leave", "delete"], False),
        (["delete", "enter", "delete", "enter", "enter"], True),
    ],
)
def test_a_load_forgets_what_comes_before_and_keeps_what_comes_after(
    bench: Bench, acts: list[str], *, member: bool
) -> None:
    """All within one millisecond of the clock."""
    load(bench, ("delete", "bob"), *((act, "jane") for act in acts), ("enter", "joe"))

    flush_all(bench)

    everybody = {bench.form("joe@example.com")} | ({bench.form("jane@example.com")} if member else set())
    assert bench.members() == everybody
    assert bench.status().unaccounted == 0


# ── What is in the way of one lane ───────────────────────────────────────────────────────────────


def test_a_lane_that_fails_is_no_matter_to_the_others(store: Store, clock: Clock) -> None:
    sandbox = Sandbox(clock=lambda: clock() / 1000)
    bench = open_bench("criteo", store, clock, sandbox)
    for audience in ("a", "b"):
        bench.append([enters("jane")], audience)
    bench.flush()
    bench.flush()
    sandbox.criteo.switches = replace(sandbox.criteo.switches, read_only=frozenset({"a"}))
    bench.edges.lanes.keep_notes({"list:a": None, "searched": None})

    forget(bench, JANE)
    bench.flush()
    bench.append([enters("joe")], "b")
    bench.append([enters("joe")], "c")
    for _ in range(6):
        bench.flush()  # the erasures are tried again
        bench.flush_now()

    assert bench.members("a") == {"jane@example.com"}
    assert bench.members("b") == bench.members("c") == {"joe@example.com"}
    [held] = [each.hold for each in bench.status().lanes if each.lane.is_erasures]
    assert held is not None
    assert "a: contact list is read-only" in held.reason

    sandbox.criteo.switches = replace(sandbox.criteo.switches, read_only=frozenset())
    clock.advance(seconds=900)
    flush_all(bench)

    assert bench.members("a") == set()
    assert bench.members("b") == {"joe@example.com"}


def test_later_requests_wait_for_no_earlier_one(store: Store, clock: Clock) -> None:
    bench = open_bench("criteo", store, clock, Sandbox(clock=lambda: clock() / 1000))
    for audience in ("a", "b"):
        bench.append([enters("jane"), enters("ada")], audience)
    bench.flush()
    bench.flush()
    bench.edges.lanes.hold_by_hand(LaneKey("shop", "a"), "wait")
    forget(bench, JANE)
    bench.flush_now()
    forget(bench, Identifier("email", "ada@example.com"), request="r-2")
    clock.advance(seconds=1)
    bench.append([enters("ada", at=5), enters("joe", at=5)], "b")

    for _ in range(4):
        bench.flush()  # the erasures are tried again
        bench.flush_now()

    assert bench.members("b") == {"ada@example.com", "joe@example.com"}
    assert bench.members("a") == {"jane@example.com", "ada@example.com"}


def test_of_two_requests_the_later_one_counts_too(store: Store, clock: Clock) -> None:
    """By email, then a change with that email and a device, then by the device."""
    bench = open_bench("taboola", store, clock, Sandbox(clock=lambda: clock() / 1000))
    device = Identifier("device", "6D92078A-8246-4BA4-AE5B-76104861E7DC")
    forget(bench, JANE)
    clock.advance(seconds=1)
    bench.append([replace_identifiers(enters("jane"), JANE, device)])
    clock.advance(seconds=1)
    forget(bench, device, request="r-2")

    flush_all(bench)

    assert bench.members() == set()
    assert bench.status().counters["erased"] == 1


def test_the_leases_are_kept_while_a_deep_lane_is_looked_through(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(erasure, "EXTENDED_EVERY", 1)
    bench.append([enters("jane"), enters("joe"), enters("ada")])
    bench.clock.advance(seconds=1)
    forget(bench, JANE)
    extended: list[LaneKey] = []
    original = bench.edges.lanes.extend

    def noting(lease: Lease, schedule: Schedule) -> None:
        extended.append(lease.lane)
        original(lease, schedule)

    monkeypatch.setattr(bench.edges.lanes, "extend", noting)
    bench.flush_now()

    assert extended[:6] == [LaneKey.erasures("shop"), LaneKey("shop", "vip")] * 3


def replace_identifiers(change: Change, *identifiers: Identifier) -> Change:
    return msgspec.structs.replace(change, identifiers=identifiers)


# ── Audiences of several lanes ───────────────────────────────────────────────────────────────────


def append_sharded(bench: Bench, changes: Sequence[Change], shards: int) -> None:
    chunk = f"{bench.clock()} {shards}"
    bench.edges.lanes.append(LaneKey("shop", "vip"), changes, chunk, Bounds(shards=shards))


@pytest.mark.parametrize("kind", ["criteo", "stackadapt"])
def test_a_person_leaves_an_audience_of_several_lanes_once(kind: str, store: Store, clock: Clock) -> None:
    bench = open_bench(kind, store, clock, Sandbox(clock=lambda: clock() / 1000))
    people = [f"p{number}" for number in range(20)]
    append_sharded(bench, [enters(each) for each in people], 4)
    flush_all(bench)
    assert len(bench.members()) == 20

    for each in people[:10]:
        forget(bench, Identifier("email", f"{each}@example.com"), request=each)
    flush_all(bench)

    assert bench.members() == {bench.form(f"{each}@example.com") for each in people[10:]}
    assert {receipt(bench, each)["audiences"] for each in people[:10]} == {1}


def test_a_lane_that_an_audience_has_no_longer_takes_nobody_out(
    store: Store, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once it may have been of several lanes; what came to the one that is left meanwhile is newer."""
    bench = open_bench("criteo", store, clock, Sandbox(clock=lambda: clock() / 1000))
    former = LaneKey("shop", "vip", 1)
    append_sharded(bench, [enters("jane"), enters("joe")], 1)
    flush_all(bench)
    bench.edges.erasures.remember(former)
    taken_out: list[LaneKey] = []

    def deliver(batch: FoldedBatch, *rest: Any) -> Receipt:
        taken_out.extend(batch.lane for _ in batch.removes)
        return outgoing.deliver_batch(batch, *rest)

    monkeypatch.setattr(erasure, "deliver_batch", deliver)
    forget(bench, JANE)
    flush_all(bench)

    assert taken_out == [LaneKey("shop", "vip")]
    assert bench.members() == {bench.form("joe@example.com")}


def test_each_lane_takes_out_its_own_persons_alone(store: Store, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another lane may have brought them back by then."""
    bench = open_bench("criteo", store, clock, Sandbox(clock=lambda: clock() / 1000))
    people = [f"p{number}" for number in range(20)]
    append_sharded(bench, [enters(each) for each in people], 4)
    flush_all(bench)
    taken_out: list[tuple[int, int]] = []

    def deliver(batch: FoldedBatch, *rest: Any) -> Receipt:
        forms = [each for entry in batch.removes for each in entry.identifiers]
        taken_out.extend((batch.lane.shard, bucket(each) % 4) for each in forms)
        return outgoing.deliver_batch(batch, *rest)

    monkeypatch.setattr(erasure, "deliver_batch", deliver)
    for each in people:
        forget(bench, Identifier("email", f"{each}@example.com"), request=each)
    flush_all(bench)

    assert len(taken_out) >= 20
    assert all(lane == own for lane, own in taken_out)
    assert bench.members() == set()


@pytest.mark.parametrize("kind", ["criteo", "stackadapt"])
@pytest.mark.parametrize(("before", "after"), [(1, 4), (4, 1), (2, 3)])
def test_who_comes_back_stays_although_the_lanes_became_others(
    kind: str, before: int, after: int, store: Store, clock: Clock
) -> None:
    """What came before the request by an old lane may not leave after what came since by a new one."""
    bench = open_bench(kind, store, clock, Sandbox(clock=lambda: clock() / 1000))
    people = [f"p{number}" for number in range(12)]
    append_sharded(bench, [enters(each) for each in people], before)
    flush_all(bench)

    for each in people:
        forget(bench, Identifier("email", f"{each}@example.com"), request=each)
    clock.advance(seconds=1)
    append_sharded(bench, [enters(each, at=1) for each in people[:6]], after)
    clock.advance(seconds=61)
    flush_all(bench)

    assert bench.members() == {bench.form(f"{each}@example.com") for each in people[:6]}
    assert bench.status().unaccounted == 0
