"""How source events reach lanes: grouped, in order, repeated safely, and counted."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from producers.intake import CHUNK_MS, MAX_CHANGES, Chunk, Intake, Report, Store
from producers.routing import Router
from tests.conftest import wait_until
from worker.contract import Change, LaneKey
from worker.destinations.criteo import CriteoSettings
from worker.destinations.taboola import TaboolaSettings
from worker.errors import StoreFull, StoreUnavailable

NOW_MS = 1_714_560_000_000
SECRET = SecretStr("s")
CRITEO = CriteoSettings(
    name="criteo", kind="criteo", advertiser_id="4711", client_id="c", client_secret=SECRET, audiences=("vip*",)
)
TABOOLA = TaboolaSettings(name="taboola", kind="taboola", account_id="acme", client_id="c", client_secret=SECRET)


class Memory(Store):
    """A store that keeps what it is given, and fails as told."""

    def __init__(self, *, faults: Sequence[Exception] = ()) -> None:
        self.appended: list[tuple[LaneKey, list[Change], str]] = []
        self.attempted: list[str] = []
        self.refused: Counter[str] = Counter()
        self.left_out: Counter[tuple[str, str]] = Counter()
        self._faults = list(faults)

    def append(self, lane: LaneKey, changes: Sequence[Change], chunk_id: str) -> int:
        self.attempted.append(chunk_id)
        self._fail()
        self.appended.append((lane, list(changes), chunk_id))
        return len(changes)

    def count_refused(self, reasons: Mapping[str, int]) -> None:
        self._fail()
        self.refused.update(reasons)

    def count_left_out(self, destination: str, reasons: Mapping[str, int]) -> None:
        self._fail()
        self.left_out.update({(destination, reason): count for reason, count in reasons.items()})

    def lane(self, destination: str, audience: str) -> list[str]:
        """The ids of the messages in a lane, in order."""
        return self.lane_of(LaneKey(destination, audience))

    def lane_of(self, key: LaneKey) -> list[str]:
        return [change.message_id for lane, changes, _ in self.appended if lane == key for change in changes]

    def _fail(self) -> None:
        if self._faults:
            raise self._faults.pop(0)


class Pauses:
    """Takes the place of sleep, and remembers how long it should have been."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)


def event(number: int = 0, *, audience: str = "vip", **parts: Any) -> bytes:
    whole = {
        "type": "track",
        "event": "Audience Entered",
        "messageId": f"m-{number}",
        "properties": {"audience_key": audience, "email": f"jane{number}@example.com"},
        **parts,
    }
    return json.dumps(whole).encode()


def intake(store: Store, **keys: Any) -> Intake:
    return Intake(Router([CRITEO, TABOOLA]), store, lambda: NOW_MS, **{"sleep": Pauses(), **keys})


# ── Lanes ────────────────────────────────────────────────────────────────────────────────────────


def test_each_lane_gets_its_changes_in_the_order_of_the_events() -> None:
    store = Memory()

    intake(store).accept_many([event(n, audience=("vip", "churn")[n % 2]) for n in range(6)])

    assert store.lane("criteo", "vip") == ["m-0", "m-2", "m-4"]
    assert store.lane("taboola", "vip") == ["m-0", "m-2", "m-4"]
    assert store.lane("taboola", "churn") == ["m-1", "m-3", "m-5"]
    assert store.lane("criteo", "churn") == []
    assert len(store.appended) == 3


def test_no_append_carries_more_than_a_thousand_changes() -> None:
    store = Memory()

    intake(store).accept_many(event(n) for n in range(2 * MAX_CHANGES + 1))

    sizes = [len(changes) for lane, changes, _ in store.appended if lane.destination == "criteo"]
    assert sizes == [MAX_CHANGES, MAX_CHANGES, 1]
    assert store.lane("criteo", "vip") == [f"m-{n}" for n in range(2 * MAX_CHANGES + 1)]


def test_the_changes_of_a_chunk_are_appended_before_the_next_but_one_is_read() -> None:
    store = Memory()
    waiting: list[int] = []

    def events() -> Iterator[bytes]:
        for number in range(6):
            waiting.append(len(store.lane("criteo", "vip")))
            yield event(number)

    intake(store, chunk_events=2).accept_many(events())

    assert waiting[:2] == [0, 0]
    assert waiting[4] >= 2
    assert store.lane("criteo", "vip") == [f"m-{number}" for number in range(6)]


def test_events_that_trickle_in_are_not_kept_waiting_for_a_whole_chunk() -> None:
    store = Memory()
    times = iter([0, CHUNK_MS - 1, CHUNK_MS, CHUNK_MS + 1])

    Intake(Router([CRITEO]), store, lambda: next(times)).accept_many([event(n) for n in range(4)])

    assert [len(changes) for _, changes, _ in store.appended] == [3, 1]


def test_a_missing_timestamp_is_the_time_at_which_the_event_came() -> None:
    store = Memory()

    intake(store).accept_many([event(timestamp=None)])

    assert {change.occurred_at for _, changes, _ in store.appended for change in changes} == {NOW_MS}


def test_nothing_is_appended_for_nothing() -> None:
    store = Memory()

    report = intake(store).accept_many([])

    assert report == Report()
    assert store.attempted == []


# ── The report ───────────────────────────────────────────────────────────────────────────────────


def test_the_report_counts_events_and_by_destination_changes() -> None:
    store = Memory()
    events = [event(1), event(2, audience="churn"), b"{", event(3, type="page"), b"[]"]

    report = intake(store).accept_many(events)

    assert report.as_dict() == {
        "read": 5,
        "accepted": 2,
        "refused": {"json": 2, "type": 1},
        "changes": {"criteo": 1, "taboola": 2},
    }
    assert store.refused == {"json": 2, "type": 1}


def test_a_refused_event_is_told_with_its_number_and_reason() -> None:
    told: list[tuple[int, str]] = []

    intake(Memory()).accept_many(
        [event(), b"{", event(type="page")], on_refused=lambda number, reason: told.append((number, reason))
    )

    assert told == [(2, "json"), (3, "type")]


def test_a_report_goes_on_where_it_stood() -> None:
    report = intake(Memory()).accept_many([event()])

    intake(Memory()).accept_many([event(), b"{"], report=report)

    assert report.as_dict() == {
        "read": 3,
        "accepted": 2,
        "refused": {"json": 1},
        "changes": {"criteo": 2, "taboola": 2},
    }


def test_an_event_over_the_limit_is_refused() -> None:
    report = intake(Memory(), max_event_bytes=10).accept_many([event()])

    assert report.refused == {"too_large": 1}


@given(st.lists(st.sampled_from(["vip", "vip2", "churn", ""]), max_size=30), st.integers(1, 7))
def test_every_event_is_accepted_or_refused_and_every_change_is_in_a_lane(keys: list[str], size: int) -> None:
    store = Memory()

    report = intake(store, chunk_events=size).accept_many(
        event(number, audience=key) for number, key in enumerate(keys)
    )

    assert report.read == len(keys) == report.accepted + report.refused.total()
    assert report.changes.total() == sum(len(changes) for _, changes, _ in store.appended)
    for key in ("vip", "vip2", "churn"):
        assert store.lane("taboola", key) == [f"m-{n}" for n, each in enumerate(keys) if each == key]


# ── A store that is away or full ─────────────────────────────────────────────────────────────────


def test_an_append_is_repeated_with_the_same_chunk_id_until_the_store_is_back() -> None:
    store = Memory(faults=[StoreUnavailable(), StoreUnavailable()])
    pauses = Pauses()

    report = intake(store, sleep=pauses, waits=(1.0, 2.0, 4.0)).accept_many([event()])

    first, second, third, other = store.attempted
    assert first == second == third != other
    assert pauses.seconds == [1.0, 2.0]
    assert report.accepted == 1


def test_chunk_ids_are_never_used_for_other_changes() -> None:
    store = Memory()
    shared = intake(store, chunk_events=1)

    for _ in range(2):
        shared.accept_many([event(1), event(1)])

    assert len(set(store.attempted)) == len(store.attempted) == 8


def test_after_the_last_repetition_the_caller_is_told() -> None:
    store = Memory(faults=[StoreUnavailable()] * 3)

    with pytest.raises(StoreUnavailable):
        intake(store, waits=(1.0, 2.0)).accept_many([event()])

    assert len(store.attempted) == 3
    assert store.appended == []


def test_a_full_store_is_not_asked_again() -> None:
    store = Memory(faults=[StoreFull()])

    with pytest.raises(StoreFull):
        intake(store).accept_many([event()])

    assert len(set(store.attempted)) == len(store.attempted) == 2


def test_what_others_got_in_the_round_of_a_full_destination_is_in_the_report() -> None:
    store, report = Memory(faults=[StoreFull("no room")]), Report()

    with pytest.raises(StoreFull):
        intake(store).accept_many([event(1), event(2)], report=report)

    assert store.lane("taboola", "vip") == ["m-1", "m-2"]
    assert report.changes == {"taboola": 2}


def test_who_wants_it_is_told_which_lanes_are_full_and_the_others_are_appended() -> None:
    store = Memory(faults=[StoreFull("no room")])
    full: list[tuple[LaneKey, int]] = []
    chunk, report = Chunk(), Report()
    shared = intake(store)
    for number in range(2):
        chunk.take(shared.read(event(number), NOW_MS, chunk.left_out))

    shared.append(chunk, report, on_full=lambda lane, there, _: full.append((lane, there)))

    assert full == [(LaneKey("criteo", "vip"), 0)]
    assert store.lane("criteo", "vip") == []
    assert store.lane("taboola", "vip") == ["m-0", "m-1"]
    assert report.changes == {"taboola": 2}


def test_of_a_full_lane_no_later_piece_is_appended() -> None:
    store = Memory(faults=[StoreFull("no room for so many")])
    chunk = Chunk()
    shared = Intake(Router([CRITEO]), store, lambda: NOW_MS)
    for number in range(MAX_CHANGES + 1):
        chunk.take(shared.read(event(number), NOW_MS, chunk.left_out))

    shared.append(chunk, Report(), on_full=lambda *_: None)

    assert store.appended == []


def test_chunks_are_joined_in_their_order() -> None:
    shared = intake(Memory())
    chunks = [Chunk(), Chunk()]
    for number, each in enumerate(chunks):
        for raw in (event(number), b"{"):
            each.take(shared.read(raw, NOW_MS, each.left_out))

    whole = Chunk.joined(chunks)

    assert [change.message_id for change in whole.lanes[LaneKey("criteo", "vip")]] == ["m-0", "m-1"]
    assert (whole.read, whole.accepted, whole.refused) == (4, 2, {"json": 2})
    assert [each.read for each in chunks] == [2, 2]


def test_the_report_tells_how_far_things_went() -> None:
    store = Memory()
    report = Report()

    def events() -> Iterator[bytes]:
        yield event(1)
        yield event(2)
        wait_until(lambda: len(store.appended) == 2)
        store._faults.append(StoreFull())  # noqa: SLF001 - the first destination is full after the first chunk
        yield event(3)

    with pytest.raises(StoreFull):
        intake(store, chunk_events=2).accept_many(events(), report=report)

    assert report.as_dict() == {
        "read": 2,
        "accepted": 2,
        "refused": {},
        "changes": {"criteo": 2, "taboola": 3},
    }


def test_refusals_are_counted_once_the_changes_are_there() -> None:
    store = Memory(faults=[StoreFull()])

    with pytest.raises(StoreFull):
        intake(store).accept_many([event(), b"{"])

    assert store.refused == {}


def test_counting_refusals_is_repeated_like_an_append() -> None:
    store = Memory(faults=[StoreUnavailable()])
    pauses = Pauses()

    intake(store, sleep=pauses).accept_many([b"{"])

    assert store.refused == {"json": 1}
    assert len(pauses.seconds) == 1


# ── What single destinations do not get, and erasures ────────────────────────────────────────────


def test_what_single_destinations_do_not_get_is_counted_once_the_changes_are_stored() -> None:
    store = Memory(faults=[StoreUnavailable("away")])
    device_alone = {"audience_key": "vip", "ios_id": "d-1"}

    report = intake(store).accept_many([event(1), event(2, properties=device_alone), event(3, properties=device_alone)])

    assert store.left_out == {("criteo", "identifier"): 2}
    assert report.left_out == {("criteo", "identifier"): 2}
    assert (report.read, report.accepted, report.refused) == (3, 3, {})


def test_a_request_to_forget_waits_in_the_lane_of_those() -> None:
    store = Memory()
    delete = json.dumps({"type": "delete", "messageId": "d", "userId": "u", "traits": {"email": "jane@example.com"}})

    report = intake(store).accept_many([delete])

    assert store.lane_of(LaneKey.erasures("criteo")) == store.lane_of(LaneKey.erasures("taboola")) == ["d"]
    assert report.accepted == 1


def test_a_request_to_forget_that_reaches_nobody_is_refused() -> None:
    report = intake(Memory()).accept_many([json.dumps({"type": "delete", "userId": "u"})])

    assert report.refused == {"identifier": 1}
