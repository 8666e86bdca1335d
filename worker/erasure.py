"""Forgetting persons: out of every audience, every lane and every dead letter of a destination, then out of the vendor.

Requests to forget wait in a lane of their own. Whoever has leased it takes each other lane in turn: under that
lane's lease the persons' waiting changes are dropped and their memberships ended. What came after the request is
newer and stays; no lane reads it before it has passed the erasures (`Lanes.read`).
"""

import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import structlog

from worker.batching import Settlement
from worker.contract import Change, Identifier, LaneKey, Waiting
from worker.delivery import Sender, deliver
from worker.destinations.base import USER_ID, Destination, Entry, FoldedBatch, Person
from worker.edges import Edges
from worker.errors import DeliveryError, TryLater
from worker.holds import names
from worker.outgoing import deliver_batch, notes_of
from worker.store.deadletters import DeadLetter
from worker.store.erasures import Audience, Taken
from worker.store.lanes import Lease

MOST_AT_ONCE: Final = 1_000
ERASURE_FIRST: Final = "an erasure goes first"
"""Why a lane waits that has not passed the erasures yet; that is no reason for them to wait for the lane."""
LONGEST_WAIT_SECONDS: Final = 10.0
PAUSE_SECONDS: Final = 0.1

log = structlog.get_logger()


@dataclass(slots=True)
class _Forgotten:
    """One request, and what was done for it."""

    stamp: int
    person: Person
    request: str
    audiences: int = 0
    waiting: int = 0
    dead_letters: int = 0
    refused: int = 0


def erase(erasures: Lease, edges: Edges, send: Sender, leases: list[Lease]) -> int:
    """Carry out the oldest requests; returns how many. `leases` are those that each request extends.

    Raises `DeliveryError` or `LeaseLost`; all is then done again but for the lanes that have passed.
    """
    started = time.monotonic()
    progress = edges.erasures.progress()
    most = progress.under_way or min(MOST_AT_ONCE, edges.schedule.max_changes)
    waiting = edges.lanes.read(erasures, most, edges.destination.max_bytes)
    edges.erasures.note_progress(erasures, len(waiting))
    requests = _requests(waiting, edges)
    done: Mapping[str, int] | None = None
    try:
        _forget(requests, progress.passed, erasures, edges, send, leases)
        done = deliver(edges.destination.erase([each.person for each in requests]), send, {}, edges.lanes.keep_notes)
    finally:
        for each in requests:
            _keep_receipt(each, erasures, done, edges)
    edges.lanes.settle(erasures, Settlement(taken=len(requests), delivered=len(requests), folded=0))
    log.info(
        "erasures.done",
        **names(erasures),
        persons=len(requests),
        requests=send.requests,
        seconds=round(time.monotonic() - started, 3),
        **done,
    )
    return len(requests)


def _forget(
    requests: Sequence[_Forgotten],
    passed: Collection[str],
    erasures: Lease,
    edges: Edges,
    send: Sender,
    leases: list[Lease],
) -> None:
    """Out of every lane that has not passed the requests, then out of the dead letters."""
    persons = _Persons(requests, edges.destination)
    obstacles: list[str] = []
    for lane, audience in edges.erasures.audiences().items():
        if lane.member not in passed:
            obstacles += _erase_from(lane, audience, persons, erasures, edges, send, leases)
    _discard_letters(persons, edges)
    if obstacles:
        raise TryLater("audience held", f"{obstacles[0]}; the erasure goes on when that ends", scope="lane")


def _requests(waiting: Sequence[Waiting], edges: Edges) -> list[_Forgotten]:
    """With what was done for them before, where an attempt broke off."""
    before = edges.erasures.receipts([each.change.message_id for each in waiting if each.change.message_id])
    anew = edges.destination.deletes_persons
    return [_request(each, before.get(each.change.message_id, {}), anew=anew) for each in waiting]


def _request(waiting: Waiting, before: Mapping[str, int], *, anew: bool) -> _Forgotten:
    """`anew`: memberships are ended once more, and counted so."""
    return _Forgotten(
        stamp=waiting.stamp,
        person=Person(waiting.change.identifiers),
        request=waiting.change.message_id,
        audiences=0 if anew else before.get("audiences", 0),
        waiting=before.get("waiting_dropped", 0),
        dead_letters=before.get("dead_letters_dropped", 0),
        refused=before.get("identifiers_refused", 0),
    )


# ── One lane ─────────────────────────────────────────────────────────────────────────────────────


def _erase_from(
    lane: LaneKey,
    audience: Audience,
    persons: "_Persons",
    erasures: Lease,
    edges: Edges,
    send: Sender,
    leases: list[Lease],
) -> list[str]:
    """Drop what waits in the lane, end the memberships; returns what is in the way of that."""
    deletes = edges.destination.deletes_persons
    with _taken(lane, erasures, edges, leases) as taken:
        label = _drop(taken.lease, persons, edges) or audience.label
        in_the_way = taken.held not in {None, ERASURE_FIRST} and not (taken.by_hand and deletes)
        if audience.may_have_members and in_the_way:
            return [f"{lane.audience}: {taken.held}"]
        if audience.may_have_members:
            _remove(taken.lease, label, persons, edges, send)
        if not deletes:
            edges.erasures.note_progress(erasures, len(persons.requests), passed=lane)
    return []


def _drop(lease: Lease, persons: "_Persons", edges: Edges) -> str:
    """Drop what waits of the persons. Returns the audience's label, if anything that waits tells it."""
    places: list[int] = []
    label = ""
    for place, waiting in edges.erasures.waiting(lease):
        label = waiting.change.audience_name
        if whose := persons.of(waiting):
            whose.waiting += 1
            places.append(place)
    edges.erasures.erase(lease, places)
    return label


def _remove(lease: Lease, label: str, persons: "_Persons", edges: Edges, send: Sender) -> None:
    """End the memberships in one audience."""
    at_ms = persons.requests[-1].stamp
    batch = FoldedBatch(lease.lane, lease.batch_id, persons.entries, (), audience_name=label, at_ms=at_ms)
    receipt = deliver_batch(batch, edges, send, notes_of(lease.lane, edges))
    persons.count_removed(receipt.refused.keys())


@contextmanager
def _taken(lane: LaneKey, erasures: Lease, edges: Edges, leases: list[Lease]) -> Iterator[Taken]:
    """The lane, leased; and given back with the time that a vendor may need for a request of unknown outcome."""
    waited = 0.0
    while (taken := edges.erasures.take(lane, edges.schedule)) is None:
        if waited >= LONGEST_WAIT_SECONDS:
            raise TryLater(
                "audience busy", f"{lane.audience} is being flushed; the erasure goes on after that", scope="lane"
            )
        edges.pause(PAUSE_SECONDS)
        waited += PAUSE_SECONDS
        edges.lanes.extend(erasures, edges.schedule)
    lease = taken.lease
    leases.append(lease)
    try:
        yield taken
    except DeliveryError as order:
        unknown = isinstance(order, TryLater) and order.outcome_unknown
        edges.lanes.give_back(lease, order.reason, lane_ms=edges.schedule.settle_ms if unknown else 0)
        raise
    else:
        edges.lanes.give_back(lease)
    finally:
        leases.remove(lease)


# ── Whose is it ──────────────────────────────────────────────────────────────────────────────────


class _Persons:
    """Those to be forgotten, found by any handle of theirs in any form."""

    def __init__(self, requests: Sequence[_Forgotten], destination: Destination) -> None:
        self.requests = requests
        self._destination = destination
        self._known: dict[Identifier, _Forgotten] = {}
        for request in requests:
            for identifier in request.person.identifiers:
                for form in self._forms(identifier):
                    self._known[form] = request

    @property
    def entries(self) -> tuple[Entry, ...]:
        """What to remove from an audience: every handle in the forms that the vendor is sent, each once."""
        found: dict[int, dict[Identifier, None]] = {}
        at = {id(request): place for place, request in enumerate(self.requests)}
        for form in self._known:
            if form.type != "user_id":
                sent = self._destination.vendor_form(form)
                found.setdefault(at[id(self._known[sent])], {})[sent] = None
        return tuple(Entry(place, tuple(found[place])) for place in sorted(found))

    def of(self, lane_value: Waiting | DeadLetter) -> _Forgotten | None:
        """Whose change it is; None: nobody's of them, or it came after the request."""
        arrived = lane_value.stamp if isinstance(lane_value, Waiting) else lane_value.arrived_ms
        request = next((self._known[each] for each in self._handles(lane_value.change) if each in self._known), None)
        return request if request is not None and arrived <= request.stamp else None

    def count_removed(self, refused: Collection[Identifier]) -> None:
        for place, identifiers in ((entry.position, entry.identifiers) for entry in self.entries):
            self.requests[place].audiences += 1
            self.requests[place].refused += sum(each in refused for each in identifiers)

    def _handles(self, change: Change) -> Iterator[Identifier]:
        for identifier in change.identifiers:
            yield from self._forms(identifier)
        user_id = change.properties.get(USER_ID)
        if isinstance(user_id, str):
            yield Identifier("user_id", user_id)

    def _forms(self, identifier: Identifier) -> Iterator[Identifier]:
        for alias in self._destination.aliases(identifier):
            yield alias
            yield self._destination.vendor_form(alias)


def _discard_letters(persons: _Persons, edges: Edges) -> None:
    """After the lanes: what was being flushed may have been buried meanwhile."""
    found = [(letter.number, whose) for letter in edges.dead_letters if (whose := persons.of(letter))]
    edges.dead_letters.discard([number for number, _ in found], counter="erased")
    for _, whose in found:
        whose.dead_letters += 1


# ── The receipt ──────────────────────────────────────────────────────────────────────────────────


def _keep_receipt(forgotten: _Forgotten, erasures: Lease, done: Mapping[str, int] | None, edges: Edges) -> None:
    """What the vendor did is told of all in the batch together. Without a request's id nobody could ask for it."""
    if not forgotten.request:
        return
    edges.erasures.keep_receipt(
        forgotten.request,
        {
            "done": done is not None,
            "handles": sorted({each.type for each in forgotten.person.identifiers}),
            "audiences": forgotten.audiences,
            "waiting_dropped": forgotten.waiting,
            "dead_letters_dropped": forgotten.dead_letters,
            "identifiers_refused": forgotten.refused,
            "batch": erasures.batch_id,
            "vendor": dict(done or {}),
        },
    )
