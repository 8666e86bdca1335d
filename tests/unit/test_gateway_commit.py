"""What requests sent is stored together, and each is answered for itself."""

import asyncio
import threading
from asyncio import Task
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import pytest
from structlog.testing import capture_logs

from producers.gateway.answers import Later
from producers.gateway.commit import MOST_TOGETHER, MOST_WAITING, GroupCommit
from producers.gateway.metrics import Metrics
from producers.intake import MAX_CHANGES, Chunk, Intake, Piece, Store
from producers.routing import Router
from worker.contract import Change, Identifier, LaneKey
from worker.errors import StoreFull, StoreUnavailable

VIP, CHURN = LaneKey("criteo", "vip"), LaneKey("criteo", "churn")
SOON = 5.0


class Memory(Store):
    """Keeps what it is given; may be shut for a while, and fails as told for a lane or for counting."""

    def __init__(self) -> None:
        self.rounds: list[list[LaneKey]] = []
        self.kept: list[str] = []
        self.counted: list[Mapping[str, int]] = []
        self.faults: dict[LaneKey | str, Exception] = {}
        self.entered = threading.Event()
        self.open = threading.Event()
        self.open.set()

    def append(self, lane: LaneKey, changes: Sequence[Change], chunk_id: str) -> int:
        if lane in self.faults:
            raise self.faults[lane]
        self.kept += [change.message_id for change in changes]
        return len(changes)

    def append_each(self, pieces: Sequence[Piece]) -> list[int | StoreFull]:
        self.entered.set()
        assert self.open.wait(SOON)
        self.rounds.append([lane for lane, _, _ in pieces])
        return super().append_each(pieces)

    def count_refused(self, reasons: Mapping[str, int]) -> None:
        if "count" in self.faults:
            raise self.faults["count"]
        self.counted.append(reasons)

    def count_left_out(self, destination: str, reasons: Mapping[str, int]) -> None:
        """Nothing here is left out."""

    def expect_room(self) -> None:
        if "room" in self.faults:
            raise self.faults["room"]


def chunk(message_id: str, *lanes: LaneKey, refused: int = 0) -> Chunk:
    found = Chunk(read=len(lanes) + refused)
    for lane in lanes:
        found.lanes[lane].append(Change(True, 0, (Identifier("email", "jane@example.com"),), message_id))
    if refused:
        found.refused["json"] = refused
    return found


def with_commit(
    store: Memory, act: Callable[[GroupCommit], Awaitable[Any]], *, seconds: float = SOON, waits: Sequence[float] = ()
) -> Any:
    async def acting() -> Any:
        intake = Intake(Router([]), store, lambda: 0, waits=waits)
        commit = GroupCommit(intake, store, Metrics(), seconds)
        commit.start()
        try:
            return await act(commit)
        finally:
            store.open.set()
            commit.stop()

    return asyncio.run(acting())


async def while_busy(commit: GroupCommit, store: Memory, *chunks: Chunk) -> list[Any]:
    """Outcomes of requests that come while the store works on an earlier one."""
    store.open.clear()
    first = asyncio.create_task(commit.store(chunk("first", VIP)))
    await asyncio.to_thread(store.entered.wait, SOON)
    waiting: list[Task[None]] = [asyncio.create_task(commit.store(each)) for each in chunks]
    await asyncio.sleep(0)
    store.open.set()
    await first
    return await asyncio.gather(*waiting, return_exceptions=True)


def test_what_waits_while_the_store_works_is_stored_in_one_go() -> None:
    store = Memory()

    outcomes = with_commit(
        store, lambda commit: while_busy(commit, store, chunk("a", VIP), chunk("b", VIP, CHURN), chunk("c", VIP))
    )

    assert outcomes == [None, None, None]
    assert store.rounds == [[VIP], [VIP, CHURN]]
    assert store.kept == ["first", "a", "b", "c", "b"]


def test_a_full_lane_fails_only_who_has_changes_for_it() -> None:
    store = Memory()
    store.faults[CHURN] = StoreFull("no room")

    outcomes = with_commit(
        store,
        lambda commit: while_busy(
            commit, store, chunk("a", VIP), chunk("b", VIP, CHURN, refused=1), chunk("c", VIP, refused=2)
        ),
    )

    assert [getattr(each, "code", None) for each in outcomes] == [None, "full", None]
    assert store.counted == [{"json": 2}]


class Narrow(Memory):
    """Has room for so many changes in each lane, and takes what fits as a whole."""

    def __init__(self, room: int) -> None:
        super().__init__()
        self._room = room
        self.lanes: dict[LaneKey, list[str]] = {}

    def append(self, lane: LaneKey, changes: Sequence[Change], chunk_id: str) -> int:
        there = self.lanes.setdefault(lane, [])
        if len(there) + len(changes) > self._room:
            raise StoreFull("no room")
        there += [change.message_id for change in changes]
        return len(changes)


def codes(outcomes: Sequence[Any]) -> list[str | None]:
    return [getattr(each, "code", None) for each in outcomes]


def test_where_all_together_have_no_room_as_many_as_have_are_stored_in_their_order() -> None:
    store = Narrow(room=3)
    chunks = [chunk("a", VIP), chunk("large", VIP, VIP, VIP), chunk("b", VIP, CHURN, refused=1), chunk("c", VIP)]

    outcomes = with_commit(store, lambda commit: while_busy(commit, store, *chunks))

    assert codes(outcomes) == [None, "full", None, "full"]
    assert store.lanes == {VIP: ["first", "a", "b"], CHURN: ["b"]}
    assert store.counted == [{"json": 1}]
    assert len(store.rounds) == 3


def test_what_a_lane_had_room_for_before_it_was_full_is_not_stored_again() -> None:
    store = Narrow(room=MAX_CHANGES + 2)
    chunks = [chunk("a", *[VIP] * (MAX_CHANGES - 1)), chunk("b", *[VIP] * 3), chunk("c", VIP)]

    outcomes = with_commit(store, lambda commit: while_busy(commit, store, *chunks))

    assert codes(outcomes) == [None, "full", None]
    assert Counter(store.lanes[VIP]) == {"first": 1, "a": MAX_CHANGES - 1, "b": 1, "c": 1}


def test_of_a_request_without_room_nothing_comes_after_what_had_none() -> None:
    store = Narrow(room=2)
    chunks = [chunk("a", *[VIP] * MAX_CHANGES, VIP), chunk("b", VIP)]

    outcomes = with_commit(store, lambda commit: while_busy(commit, store, *chunks))

    assert codes(outcomes) == ["full", None]
    assert store.lanes[VIP] == ["first", "b"]


def test_nothing_that_came_before_a_request_to_forget_is_stored_after_it() -> None:
    store = Narrow(room=3)
    erasures = LaneKey.erasures("criteo")
    forgetting = Chunk.joined([chunk("a", VIP), chunk("forget", erasures)])
    chunks = [chunk("large", VIP, VIP, VIP), forgetting, chunk("b", VIP)]

    outcomes = with_commit(store, lambda commit: while_busy(commit, store, *chunks))

    assert codes(outcomes) == ["full", "full", None]
    assert store.lanes == {VIP: ["first", "b"], erasures: ["forget"]}


def test_so_many_source_events_are_stored_together_and_not_more() -> None:
    store = Memory()
    large = chunk("a", VIP, refused=MOST_TOGETHER - 1)

    with_commit(store, lambda commit: while_busy(commit, store, large, chunk("b", VIP), chunk("c", VIP)))

    assert store.rounds == [[VIP]] * 3
    assert store.kept == ["first", "a", "b", "c"]


def test_a_store_that_is_away_fails_all_and_is_asked_again_by_the_next() -> None:
    store = Memory()

    async def act(commit: GroupCommit) -> None:
        store.faults[VIP] = StoreUnavailable("away")
        with pytest.raises(Later, match="unavailable"):
            await commit.store(chunk("a", VIP))
        store.faults.clear()
        await commit.store(chunk("b", VIP))

    with capture_logs() as logs:
        with_commit(store, act)

    assert store.kept == ["b"]
    assert [entry["event"] for entry in logs] == ["gateway.stores_not", "gateway.stores_again"]


def test_trouble_that_lasts_is_logged_once() -> None:
    store = Memory()
    store.faults[VIP] = StoreUnavailable("away")

    async def act(commit: GroupCommit) -> None:
        for number in range(3):
            with pytest.raises(Later):
                await commit.store(chunk(str(number), VIP))

    with capture_logs() as logs:
        with_commit(store, act)

    assert [(entry["event"], entry["reason"]) for entry in logs] == [("gateway.stores_not", "StoreUnavailable")]


def test_a_fault_in_one_request_takes_no_other_with_it() -> None:
    store = Memory()
    store.faults[CHURN] = ValueError("jane@example.com")

    outcomes = with_commit(
        store, lambda commit: while_busy(commit, store, chunk("a", VIP), chunk("b", CHURN), chunk("c", VIP))
    )

    assert [type(each) for each in outcomes] == [type(None), ValueError, type(None)]
    assert {"a", "c"} <= set(store.kept)


def test_who_has_waited_too_long_is_told_to_come_again_and_is_not_stored_later() -> None:
    store = Memory()

    async def act(commit: GroupCommit) -> list[str]:
        store.open.clear()
        first = asyncio.create_task(commit.store(chunk("first", VIP)))
        await asyncio.to_thread(store.entered.wait, SOON)
        with pytest.raises(Later) as second:
            await commit.store(chunk("second", VIP))
        with pytest.raises(Later) as late:
            await first
        store.open.set()
        with pytest.raises(Later):  # the thread may still be at the first
            await commit.expect_room(0)
        await commit.expect_room(SOON)
        return [second.value.code, late.value.code]

    assert with_commit(store, act, seconds=0.05) == ["unavailable", "unavailable"]
    assert store.kept == ["first"]


def test_more_than_may_wait_are_told_at_once() -> None:
    store = Memory()

    async def act(commit: GroupCommit) -> Any:
        return await while_busy(commit, store, *(chunk(str(number), VIP) for number in range(MOST_WAITING + 1)))

    *taken, refused = with_commit(store, act)
    assert taken == [None] * MOST_WAITING
    assert (refused.status, refused.code) == (503, "overloaded")


def test_counts_that_are_lost_are_no_reason_to_send_again() -> None:
    store = Memory()
    store.faults["count"] = StoreUnavailable("away")

    with_commit(store, lambda commit: commit.store(chunk("a", VIP, refused=1)))

    assert store.kept == ["a"]


@pytest.mark.parametrize(
    ("fault", "code"), [(StoreFull("full"), "full"), (StoreUnavailable("away"), "unavailable"), (None, None)]
)
def test_whether_there_is_room_is_told(fault: Exception | None, code: str | None) -> None:
    store = Memory()
    if fault:
        store.faults["room"] = fault

    async def act(commit: GroupCommit) -> str | None:
        try:
            await commit.expect_room(SOON)
        except Later as later:
            return later.code
        return None

    assert with_commit(store, act) == code


def test_it_may_be_started_again() -> None:
    store = Memory()

    async def act() -> None:
        commit = GroupCommit(Intake(Router([]), store, lambda: 0), store, Metrics())
        for name in ("a", "b"):
            commit.start()
            await commit.store(chunk(name, VIP))
            commit.stop()

    asyncio.run(act())

    assert store.kept == ["a", "b"]
