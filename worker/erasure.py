"""Forgetting persons: out of every audience, every lane and every dead letter of a destination, then out of the vendor.

Requests to forget wait in a lane of their own. Whoever has leased it takes each other lane in turn: under that
lane's lease the persons' waiting changes are dropped and their memberships ended. What came after the request is
newer and stays; no lane reads it before it has passed the erasures (`Lanes.read`).
"""

import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

import structlog

from worker.batching import Settlement
from worker.contract import Change, Identifier, LaneKey, Waiting, bucket
from worker.delivery import Sender, deliver
from worker.destinations.base import USER_ID, Destination, Entry, FoldedBatch, Person
from worker.edges import Edges
from worker.errors import DeliveryError, NeedsPerson, TryLater
from worker.holds import names
from worker.outgoing import deliver_batch, notes_of
from worker.store.deadletters import DeadLetter
from worker.store.erasures import Audience, Taken
from worker.store.lanes import Lease

MOST_AT_ONCE: Final = 1_000
ERASURE_FIRST: Final = "an erasure goes first"
"""Why a lane waits that has not passed the erasures yet; that is no reason for them to wait for the lane."""
EXTENDED_EVERY: Final = 100_000
"""So many changes of a deep lane are looked through before the leases are extended."""
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
    left: set[LaneKey] = field(default_factory=set)
    """The audiences that were counted in this attempt."""
    waiting: int = 0
    dead_letters: int = 0
    refused: int = 0


def erase(erasures: Lease, edges: Edges, send: Sender, leases: list[Lease]) -> int:
    """Carry out the oldest requests; returns how many. `leases` are those that each request to a vendor extends.

    Raises `DeliveryError` or `LeaseLost`; all is then done again but for the lanes that have passed.
    """
    started = time.monotonic()
    passed = edges.erasures.passed()
    most = max(min(MOST_AT_ONCE, edges.schedule.max_changes), *passed.values(), 1)
    requests = _requests(edges.lanes.read(erasures, most, edges.destination.max_bytes), edges)
    done: Mapping[str, int] | None = None
    try:
        _Round(requests, passed, erasures, edges, send, leases).go()
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


# ── The lanes, one after another ─────────────────────────────────────────────────────────────────


@dataclass(slots=True)
class _Round:
    """One attempt to take the persons out of every lane that has not passed their requests."""

    requests: Sequence[_Forgotten]
    passed: Mapping[str, int]
    """How many of the requests each lane has passed."""
    erasures: Lease
    edges: Edges
    send: Sender
    leases: list[Lease]

    def go(self) -> None:
        """Also out of the dead letters. What is in the way of one lane is no matter to the others."""
        obstacles = [
            obstacle
            for lane, audience in self.edges.erasures.audiences().items()
            if self.passed.get(lane.member, 0) < len(self.requests)
            and (obstacle := self._erase_from(lane, audience)) is not None
        ]
        _discard_letters(_Persons(self.requests, self.edges.destination), self.edges)
        if obstacles:
            raise TryLater("audience held", f"{obstacles[0]}; the erasure goes on when that ends", scope="lane")

    def _erase_from(self, lane: LaneKey, audience: Audience) -> str | None:
        """Drop what waits in the lane, end the memberships; returns what is in the way of that."""
        persons = _Persons(self.requests[self.passed.get(lane.member, 0) :], self.edges.destination)
        deletes = self.edges.destination.deletes_persons
        try:
            with self._taken(lane) as taken:
                label = self._drop(taken.lease, persons) or audience.label
                held = taken.held not in {None, ERASURE_FIRST} and not (taken.by_hand and deletes)
                if audience.may_have_members and held:
                    return f"{lane.audience}: {taken.held}"
                if audience.may_have_members:
                    self._remove(taken.lease, label, persons, audience.shards)
                if not deletes:
                    self.edges.erasures.note_passed(self.erasures, lane, len(self.requests))
        except (NeedsPerson, TryLater) as order:
            if order.scope != "lane":
                raise
            if deletes and not order.outcome_unknown:
                return None  # they are deleted all the same
            return f"{lane.audience}: {order}"
        return None

    def _drop(self, lease: Lease, persons: "_Persons") -> str:
        """Drop what waits of the persons. Returns the audience's label, if anything that waits tells it."""
        places: list[int] = []
        label = ""
        for place, waiting in self.edges.erasures.waiting(lease):
            label = waiting.change.audience_name
            if whose := persons.of(waiting):
                whose.waiting += 1
                places.append(place)
            if place % EXTENDED_EVERY == EXTENDED_EVERY - 1:
                for each in self.leases:
                    self.edges.lanes.extend(each, self.edges.schedule)
        self.edges.erasures.erase(lease, places)
        return label

    def _remove(self, lease: Lease, label: str, persons: "_Persons", shards: int) -> None:
        """End the memberships in one audience: of those whose changes this lane brings."""
        at_ms = persons.requests[-1].stamp
        entries = persons.entries(lease.lane.shard, shards)
        batch = FoldedBatch(lease.lane, lease.batch_id, entries, (), audience_name=label, at_ms=at_ms)
        receipt = deliver_batch(batch, self.edges, self.send, notes_of(lease.lane, self.edges))
        persons.count_removed(lease.lane, entries, receipt.refused.keys())

    @contextmanager
    def _taken(self, lane: LaneKey) -> Iterator[Taken]:
        """The lane, leased; and given back with the time that a vendor may need for a request of unknown outcome."""
        lanes, schedule = self.edges.lanes, self.edges.schedule
        waited = 0.0
        while (taken := self.edges.erasures.take(lane, schedule)) is None:
            if waited >= LONGEST_WAIT_SECONDS:
                raise TryLater("being flushed", scope="lane")
            self.edges.pause(PAUSE_SECONDS)
            waited += PAUSE_SECONDS
            lanes.extend(self.erasures, schedule)
        self.leases.append(taken.lease)
        try:
            yield taken
        except DeliveryError as order:
            lanes.give_back(taken.lease, order.reason, settle_ms=schedule.settle_ms if order.outcome_unknown else 0)
            raise
        else:
            lanes.give_back(taken.lease)
        finally:
            self.leases.remove(taken.lease)


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

    def entries(self, shard: int, shards: int) -> tuple[Entry, ...]:
        """What to remove from an audience by one of its lanes: every handle in the forms that the vendor is sent."""
        found: dict[int, dict[Identifier, None]] = {}
        at = {id(request): place for place, request in enumerate(self.requests)}
        for form in self._known:
            if form.type != "user_id" and bucket(form) % shards == shard:
                sent = self._destination.vendor_form(form)
                found.setdefault(at[id(self._known[sent])], {})[sent] = None
        return tuple(Entry(place, tuple(found[place])) for place in sorted(found))

    def of(self, lane_value: Waiting | DeadLetter) -> _Forgotten | None:
        """Whose change it is; None: nobody's of them, or it came after the request."""
        arrived = lane_value.stamp if isinstance(lane_value, Waiting) else lane_value.arrived_ms
        theirs = [self._known[each] for each in self._handles(lane_value.change) if each in self._known]
        return next((request for request in theirs if arrived <= request.stamp), None)

    def count_removed(self, lane: LaneKey, entries: Iterable[Entry], refused: Collection[Identifier]) -> None:
        """Their handles may be in several lanes of one audience."""
        for entry in entries:
            request = self.requests[entry.position]
            request.audiences += lane.unsharded not in request.left
            request.left.add(lane.unsharded)
            request.refused += sum(each in refused for each in entry.identifiers)

    def _handles(self, change: Change) -> Iterator[Identifier]:
        for identifier in change.identifiers:
            yield from self._forms(identifier)
        user_id = change.properties.get(USER_ID)
        if isinstance(user_id, str):
            yield Identifier("user_id", user_id.strip())

    def _forms(self, identifier: Identifier) -> Iterator[Identifier]:
        if identifier.type == "user_id":
            yield Identifier("user_id", identifier.value.strip())
            return
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
