"""What work costs, in counts that no machine's speed changes: Redis commands, requests, objects, bytes."""

import gc
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Final
from uuid import uuid4

import pytest
from redis import Redis

from producers.intake import Intake
from producers.routing import Router
from sandbox.app import Sandbox
from tests.conftest import Clock
from tests.destinations.conftest import Bench, configured, open_bench
from worker.batching import fold
from worker.contract import Change, Identifier, LaneKey, decode, encode, stamped
from worker.store.lanes import Bounds
from worker.store.store import Store

VIP = LaneKey("shop", "vip")
SCRIPTS: Final = ("permits", "lease", "barrier", "settle")
"""What each flush runs; and one more for each request, one for a token, and one where permits are left."""


def people(count: int, *, entered: bool = True, first: int = 0) -> list[Change]:
    who = (Identifier("email", f"person{number}@example.com") for number in range(first, first + count))
    return [Change(entered, 0, (each,), str(uuid4())) for each in who]


def commands(redis: Redis, work: Callable[[], object]) -> Counter[str]:
    """What clients sent to Redis meanwhile; what scripts do inside it is not counted."""
    found: Counter[str] = Counter()
    with redis.monitor() as monitor:  # type: ignore[no-untyped-call]  # redis-py leaves it so
        work()
        redis.echo("the end")
        for told in monitor.listen():
            name = told["command"].split(" ", 1)[0]
            if name == "ECHO":
                return found
            if told["client_type"] != "lua" and name != "PING":  # which only looks whether an idle connection lives
                found[name] += 1
    raise AssertionError("Redis never told of the end")


@pytest.fixture
def warm(store: Store) -> Store:
    """Redis knows the scripts, and the destination."""
    store.append(LaneKey("shop", "other"), people(1), "warm")
    store.append_each([(LaneKey("shop", "other"), people(1), "warm too")])
    return store


# ── Appending ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("changes", [1, 1_000])
def test_a_chunk_costs_one_command_however_large_it_is(redis: Redis, warm: Store, changes: int) -> None:
    made = people(changes)

    assert commands(redis, lambda: warm.append_each([(VIP, made, "1")])) == {"EVALSHA": 1}


def test_a_load_costs_one_command_for_each_thousand_changes_of_a_lane(redis: Redis, warm: Store, clock: Clock) -> None:
    events = [
        {"type": "track", "event": "Audience Entered", "messageId": str(number), "properties": properties}
        for number in range(10_000)
        for properties in [{"audience_key": f"a{number % 5}", "email": f"p{number}@example.com"}]
    ]
    intake = Intake(Router([configured("criteo")]), warm, clock)

    sent = commands(redis, lambda: intake.accept_many(events))

    assert sent["EVALSHA"] == 10
    assert sent.total() <= 12


@pytest.mark.parametrize("window_ms", [0, 3_600_000])
def test_a_waiting_change_of_one_email_takes_at_most_160_bytes(redis: Redis, store: Store, window_ms: int) -> None:
    """The duplicate window, which is beside it, takes some 20 more."""
    lanes = store.lanes("shop")
    for start in range(0, 20_000, 1_000):
        lanes.append(VIP, people(1_000, first=start), str(start), Bounds(window_ms=window_ms))

    taken = redis.memory_usage(f"relay:{{shop}}:lane:{VIP.member}", samples=0)
    assert taken is not None
    assert taken <= 160 * 20_000


# ── Draining ─────────────────────────────────────────────────────────────────────────────────────


def bench_of(kind: str, store: Store, clock: Clock, changes: Sequence[Change]) -> Bench:
    """A destination that has found its audience, and renewed its token, with these changes due."""
    batch = {"max_changes": 1_000, "max_age_seconds": 60}
    bench = open_bench(kind, store, clock, Sandbox(clock=lambda: clock() / 1000), batch=batch)
    bench.append(people(1, first=10**6))
    bench.flush()
    bench.append(changes)
    clock.advance(seconds=61)
    return bench


@pytest.mark.parametrize(
    ("kind", "requests", "others", "notes"), [("criteo", 2, 2, 1), ("taboola", 2, 2, 2), ("stackadapt", 1, 0, 1)]
)
@pytest.mark.parametrize("changes", [10, 1_000])
def test_a_flush_costs_as_many_commands_and_requests_however_many_changes_there_are(
    redis: Redis, store: Store, clock: Clock, kind: str, requests: int, others: int, notes: int, changes: int
) -> None:
    """`others`: for a token, and to give permits back; `notes`: to read what the destination keeps."""
    half = changes // 2
    bench = bench_of(kind, store, clock, [*people(half), *people(half, entered=False, first=half)])
    flushed = []

    sent = commands(redis, lambda: flushed.append(bench.flush_now()))

    assert [(each.changes, each.requests) for each in flushed if each] == [(changes, requests)]
    assert sent == {"EVALSHA": len(SCRIPTS) + requests + others, "HMGET": notes, "LRANGE": 1}


@pytest.mark.parametrize("kind", ["criteo", "taboola", "stackadapt"])
def test_changes_that_fold_away_cost_no_request(store: Store, clock: Clock, kind: str) -> None:
    same = people(1)[0]
    bench = bench_of(kind, store, clock, [Change(number % 2 == 0, number, same.identifiers) for number in range(1_000)])

    flushed = bench.flush_now()

    assert flushed is not None
    assert (flushed.changes, flushed.requests) == (1_000, 1)


def test_a_hold_of_a_credential_costs_one_command_so_that_none_is_written_in_between(
    redis: Redis, store: Store, clock: Clock
) -> None:
    limits = open_bench("criteo", store, clock, Sandbox()).edges.limits
    limits.hold("warm", 1)

    assert commands(redis, lambda: limits.hold("rate limited", 1_000)) == {"EVALSHA": 1}


def test_looking_for_due_lanes_costs_the_same_however_many_there_are(redis: Redis, warm: Store, clock: Clock) -> None:
    bench = open_bench("criteo", warm, clock, Sandbox(clock=lambda: clock() / 1000))

    def look() -> None:
        bench.edges.lanes.wake(bench.edges.schedule, ["claim"], 1)

    def inner() -> int:
        return sum(each["calls"] for name, each in redis.info("commandstats").items() if name != "cmdstat_info")

    def cost() -> int:
        before = inner()
        look()
        return inner() - before

    look()
    alone = cost()
    warm.append_each([(LaneKey("shop", f"a{number}"), people(1), f"c{number}") for number in range(2_000)])

    assert cost() == alone
    assert commands(redis, look) == {"EVALSHA": 1}


# ── Objects ──────────────────────────────────────────────────────────────────────────────────────


def tracked(work: Callable[[], Any]) -> int:
    """How many more objects the garbage collector has to look at, while what was made is kept."""
    gc.collect()
    before = len(gc.get_objects())
    kept = work()
    gc.collect()
    after = len(gc.get_objects())
    del kept
    return after - before


def test_a_batch_gives_the_garbage_collector_nothing_to_look_at() -> None:
    values = [stamped(1_795_000_000_000, encode(each)) for each in people(10_000)]
    changes = [each.change for each in decode(values)]

    assert tracked(lambda: decode(values)) < 10
    assert tracked(lambda: fold(VIP, "b", changes, lambda each: each)) < 10


def test_a_load_keeps_nothing_of_what_it_has_appended(warm: Store, clock: Clock) -> None:
    intake = Intake(Router([configured("criteo")]), warm, clock)
    person = {"audience_key": "vip", "email": "jane@example.com"}
    event = {"type": "track", "event": "Audience Entered", "properties": person}
    intake.accept_many([event])

    assert tracked(lambda: intake.accept_many(event for _ in range(20_000))) < 100
