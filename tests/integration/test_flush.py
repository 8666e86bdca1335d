"""Flushing with a destination made for the test: what a fault in it leads to."""

from collections.abc import Callable
from dataclasses import replace

import httpx
import pytest

from tests.conftest import Clock
from tests.destinations.conftest import COMMON, SETTINGS, enters
from worker.contract import Change, Identifier, LaneKey
from worker.delivery import GatedTransport
from worker.destinations.base import Conversation, FoldedBatch, Notes, Receipt
from worker.destinations.criteo import Criteo, CriteoSettings
from worker.edges import Edges, open_edges
from worker.errors import NotYet, Refused, TooLarge, TryLater
from worker.flush import Flushed, flush_next
from worker.outgoing import WORKING_SIZE
from worker.store.store import Store

LANE = LaneKey("shop", "vip")


class Scripted(Criteo):
    """Criteo, but its conversation is what the test says."""

    def __init__(self, settings: CriteoSettings, converse: Callable[[FoldedBatch], Receipt]) -> None:
        super().__init__(settings)
        self._converse = converse

    def converse(self, batch: FoldedBatch, notes: Notes) -> Conversation:
        del notes
        yield from ()
        return self._converse(batch)


class Stand:
    """One destination with a scripted conversation."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self.clock = clock
        settings = CriteoSettings.model_validate(COMMON | {"kind": "criteo"} | SETTINGS["criteo"])
        self.settings = settings
        self.opened = open_edges(settings, store, httpx.Client())

    def edges(self, converse: Callable[[FoldedBatch], Receipt]) -> Edges:
        return replace(self.opened, destination=Scripted(self.settings, converse), chance=lambda: 0.5)

    def append(self, *changes: Change) -> None:
        self.opened.lanes.append(LANE, changes, f"{self.clock()} {id(changes)}")

    def flush(self, converse: Callable[[FoldedBatch], Receipt]) -> Flushed | None:
        self.clock.advance(seconds=61)
        return flush_next(self.edges(converse))

    def counters(self) -> dict[str, int]:
        status = self.opened.lanes.status(1)
        assert status.unaccounted == 0
        return {name: count for name, count in status.counters.items() if count}

    def reason(self) -> str:
        hold = self.opened.lanes.status(1).lanes[0].hold
        assert hold is not None
        return hold.reason


@pytest.fixture
def stand(store: Store, clock: Clock) -> Stand:
    return Stand(store, clock)


def takes(_batch: FoldedBatch) -> Receipt:
    return Receipt()


def test_a_defect_of_the_relay_shows_in_status_without_what_it_was_about(stand: Stand) -> None:
    def stumble(batch: FoldedBatch) -> Receipt:
        raise KeyError(batch.adds[0].identifiers[0].value)

    stand.append(enters("ada"))
    stand.flush(stumble)

    assert stand.reason().startswith("fault in the relay: KeyError in test_flush.py, line ")
    assert "ada" not in stand.reason()
    assert stand.counters() == {"accepted": 1, "waiting": 1}

    stand.flush(takes)

    assert stand.counters() == {"accepted": 1, "delivered": 1}


def refuses_with(*who: str) -> Callable[[FoldedBatch], Receipt]:
    """Refuses every request in which one of these is, and says who."""
    culprits = {f"{each}@example.com" for each in who}

    def converse(batch: FoldedBatch) -> Receipt:
        for found in (i.value for e in batch.entries for i in e.identifiers if i.value in culprits):
            raise Refused("refused", f"{found} is bad")
        return Receipt()

    return converse


def test_a_request_of_which_nothing_is_taken_is_held_until_somebody_lets_it_be_buried(stand: Stand) -> None:
    people = [f"p{number}" for number in range(20)]
    stand.append(*(enters(each) for each in people))
    for _ in range(3):
        stand.flush(refuses_with(*people))

    assert stand.reason() == (
        "request refused: every part of it is: refused: … is bad. Compare the configuration with these words; if it is "
        "the content, `audience-relay release shop --audience vip --bury` lets it be buried"
    )
    assert stand.counters() == {"accepted": 20, "waiting": 20}

    stand.opened.lanes.release(LANE, bury=True)
    stand.opened.lanes.release(None)
    stand.flush(refuses_with(*people))

    assert stand.counters() == {"accepted": 20, "buried": 20, "dead_letters": 20}


def refuses(*who: str) -> Callable[[FoldedBatch], Receipt]:
    """Takes a batch and names these as invalid."""
    named = {Identifier("email", f"{each}@example.com"): "invalid identifier" for each in who}
    return lambda batch: Receipt({i: named[i] for e in batch.entries for i in e.identifiers if i in named})


def test_a_great_part_refused_holds_the_lane_until_somebody_lets_it_be_buried(stand: Stand) -> None:
    people = [f"p{number}" for number in range(100)]
    stand.append(*(enters(each) for each in people))
    stand.flush(refuses(*people[:60]))

    assert stand.reason().startswith("too many refused: 60 of 100 changes, for example: invalid identifier")
    assert stand.counters() == {"accepted": 100, "waiting": 100}

    stand.opened.lanes.release(LANE, bury=True)
    stand.flush(refuses(*people[:60]))

    assert stand.counters() == {"accepted": 100, "delivered": 40, "buried": 60, "dead_letters": 60}

    stand.append(*(enters(each) for each in people))
    stand.flush(refuses(*people[:60]))

    assert stand.reason().startswith("too many refused"), "the permission was for one batch"


@pytest.mark.parametrize(("size", "refused"), [(100, 20), (60, 49)])
def test_a_small_part_refused_is_buried(stand: Stand, size: int, refused: int) -> None:
    people = [f"p{number}" for number in range(size)]
    stand.append(*(enters(each) for each in people))
    stand.flush(refuses(*people[:refused]))

    assert stand.counters()["buried"] == refused


def test_the_size_that_a_vendor_takes_is_remembered(stand: Stand) -> None:
    sizes: list[int] = []

    def at_most_30(batch: FoldedBatch) -> Receipt:
        sizes.append(len(batch.entries))
        if len(batch.entries) > 30:
            raise TooLarge("request too large")
        return Receipt()

    stand.append(*(enters(f"p{number}") for number in range(100)))
    stand.flush(at_most_30)

    assert stand.counters() == {"accepted": 100, "delivered": 100}
    assert stand.opened.lanes.notes([WORKING_SIZE]) == {WORKING_SIZE: "25"}

    sizes.clear()
    stand.append(*(enters(f"p{number}") for number in range(100)))
    for _ in range(4):
        stand.flush(at_most_30)

    assert sizes == [25, 25, 25, 25]
    assert stand.counters() == {"accepted": 200, "delivered": 200}


def test_waiting_for_our_own_side_is_no_attempt(stand: Stand) -> None:
    def not_yet(_batch: FoldedBatch) -> Receipt:
        raise NotYet("another worker renews the token")

    stand.append(enters("ada"))

    assert stand.flush(not_yet) is None
    assert stand.opened.lanes.status(1).lanes[0].hold is None


def test_neither_is_waiting_for_a_while(stand: Stand) -> None:
    def not_yet(_batch: FoldedBatch) -> Receipt:
        raise NotYet("an erasure goes first", lane_ms=1_000)

    stand.append(enters("ada"))

    assert stand.flush(not_yet) is None
    hold = stand.opened.lanes.status(1).lanes[0].hold
    assert hold is not None
    assert hold.attempts == 0


def test_back_off_grows_and_is_capped(stand: Stand) -> None:
    def fails(_batch: FoldedBatch) -> Receipt:
        raise TryLater("vendor unavailable", scope="lane")

    stand.append(enters("ada"))
    waits: list[int] = []
    for _ in range(12):
        stand.clock.advance(seconds=600)
        flush_next(stand.edges(fails))
        hold = stand.opened.lanes.status(1).lanes[0].hold
        assert hold is not None
        assert hold.until_ms is not None
        waits.append((hold.until_ms - stand.clock()) // 1000)

    assert waits == [1, 2, 4, 8, 16, 32, 64, 128, 150, 150, 150, 150]


def test_a_worker_that_lost_its_lease_changes_nothing(stand: Stand) -> None:
    def slow(_batch: FoldedBatch) -> Receipt:
        stand.clock.advance(seconds=31)
        assert stand.opened.lanes.lease(stand.opened.schedule) is not None
        return Receipt()

    stand.append(enters("ada"))

    assert stand.flush(slow) == Flushed(0, 0)
    assert stand.counters() == {"accepted": 1, "waiting": 1}


def test_a_lost_lease_stops_before_the_next_request(store: Store, clock: Clock) -> None:
    sent: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        sent.append(request)
        clock.advance(seconds=31)
        assert opened.lanes.lease(opened.schedule) is not None
        return httpx.Response(200, json={"access_token": "t", "expires_in": 900})

    settings = CriteoSettings.model_validate(COMMON | {"kind": "criteo"} | SETTINGS["criteo"])
    opened = open_edges(settings, store, httpx.Client(transport=GatedTransport(httpx.MockTransport(answer))))
    opened.lanes.append(LANE, [enters("ada")], "1")
    clock.advance(seconds=61)
    flush_next(opened)

    assert len(sent) == 1
