"""The worker's story: read the head of a lane, fold it, deliver it, settle it.

This is the only module that knows both edges, Redis and the vendors. What goes wrong arrives as an instruction
(see `worker.errors`) and is carried out here.
"""

import time
from collections.abc import Callable
from datetime import timedelta
from typing import Final, NamedTuple

import msgspec
import structlog

from worker.batching import account, fold
from worker.contract import Waiting
from worker.delivery import Sender, deliver
from worker.destinations.base import FoldedBatch, Receipt
from worker.edges import Edges
from worker.errors import DeliveryError, LeaseLost, NeedsPerson, NotYet, Throttled, TryLater
from worker.isolation import deliver_isolating
from worker.store.lanes import Lease
from worker.store.limits import Limits

FAULTS_THAT_HOLD: Final = 3
"""So many faults in a row, over any lanes, hold the destination."""

log = structlog.get_logger()


class Backoff(NamedTuple):
    """Exponential with full jitter: a random time up to `first`, doubled at each attempt, at most `longest`."""

    first: timedelta
    longest: timedelta

    def ms(self, attempts: int, chance: Callable[[], float]) -> int:
        span: timedelta = min(self.longest, self.first * 2 ** min(attempts, 20))
        return max(100, round(span.total_seconds() * 1000 * chance()))


LANE_BACKOFF: Final = Backoff(timedelta(seconds=2), timedelta(minutes=5))
DESTINATION_BACKOFF: Final = Backoff(timedelta(seconds=5), timedelta(minutes=5))
PERSON_BACKOFF: Final = Backoff(timedelta(seconds=30), timedelta(minutes=15))
THROTTLE_BACKOFF: Final = Backoff(timedelta(seconds=5), timedelta(minutes=5))


class Flushed(NamedTuple):
    """What a flush did: how many changes left their lane."""

    changes: int
    requests: int


def flush_next(edges: Edges) -> Flushed | None:
    """Flush the oldest due lane. None: no lane is due, or none may be flushed now.

    Raises `StoreError` when Redis fails; the lease then runs out by itself.
    """
    permits = edges.destination.requests_a_batch
    if edges.limits.take(permits) > 0:
        return None
    budget = _Permits(edges.limits, permits)
    try:
        lease = edges.lanes.lease(edges.schedule)
        return _flush_or_hold(lease, edges, budget) if lease else None
    finally:
        budget.give_back()


def flush(lease: Lease, edges: Edges, send: Sender) -> Flushed:
    """Read → fold → deliver → settle. Raises `DeliveryError` or `LeaseLost`; nothing has then left the lane."""
    started = time.monotonic()
    changes = [each.change for each in _read(lease, edges)]
    batch = fold(lease.lane, lease.token[:12], changes, edges.destination.vendor_form)
    receipt = _deliver(batch, edges, send)
    settlement = account(changes, batch, receipt)
    edges.lanes.settle(lease, settlement)
    log.info(
        "lane.flushed",
        **_names(lease),
        removes=len(batch.removes),
        adds=len(batch.adds),
        delivered=settlement.delivered,
        folded=settlement.folded,
        buried=len(settlement.buried),
        requests=send.requests,
        seconds=round(time.monotonic() - started, 3),
    )
    return Flushed(len(changes), send.requests)


def _read(lease: Lease, edges: Edges) -> list[Waiting]:
    try:
        return edges.lanes.read(lease, edges.schedule.max_changes, edges.destination.max_bytes)
    except msgspec.DecodeError as unreadable:
        detail = "a change in it was written by a newer release; update the workers"
        raise TryLater("unreadable change", detail, lane_only=True) from unreadable


def _deliver(batch: FoldedBatch, edges: Edges, send: Sender) -> Receipt:
    if not batch.entries:
        return Receipt()

    def attempt(part: FoldedBatch) -> Receipt:
        notes = edges.lanes.notes(edges.destination.note_keys(part.lane))
        return deliver(edges.destination.converse(part, notes), send, notes, edges.lanes.keep_notes)

    return deliver_isolating(batch, attempt)


def _flush_or_hold(lease: Lease, edges: Edges, permits: "_Permits") -> Flushed | None:
    def gate() -> None:
        permits.use()
        edges.lanes.extend(lease, edges.schedule)

    send = edges.sender(gate)
    try:
        try:
            return flush(lease, edges, send)
        except DeliveryError as order:
            _obey(order, lease, edges)
            return None if isinstance(order, NotYet) else Flushed(0, send.requests)
    except LeaseLost:
        log.warning("lease.lost", **_names(lease))
        return Flushed(0, send.requests)


def _obey(order: DeliveryError, lease: Lease, edges: Edges) -> None:
    """Hold what the instruction says: the credential, the destination or the lane."""
    reason = f"{order.reason}: {order.detail}" if order.detail else order.reason
    match order:
        case NotYet():
            edges.lanes.give_back(lease)
            return
        case Throttled():
            held_ms = max(_named_ms(order), THROTTLE_BACKOFF.ms(lease.attempts, edges.chance))
            edges.limits.hold(reason, held_ms)
            edges.lanes.give_back(lease)
        case TryLater():
            held_ms = _lane_hold_ms(order, lease, edges)
            edges.lanes.give_back(
                lease,
                reason,
                lane_ms=held_ms,
                destination_ms=0 if order.lane_only else _destination_hold_ms(lease, edges),
                fault=not order.lane_only,
            )
        case _:
            held_ms = PERSON_BACKOFF.ms(lease.destination_attempts, edges.chance)
            edges.lanes.give_back(lease, reason, destination_ms=held_ms)
    log.warning(
        "lane.held",
        **_names(lease),
        order=type(order).__name__,
        reason=reason,
        needs_person=isinstance(order, NeedsPerson),
        seconds=held_ms / 1000,
    )


def _lane_hold_ms(order: TryLater, lease: Lease, edges: Edges) -> int:
    waits = [LANE_BACKOFF.ms(lease.attempts, edges.chance), _named_ms(order)]
    if order.outcome_unknown:
        waits.append(edges.schedule.settle_ms)
    return max(waits)


def _destination_hold_ms(lease: Lease, edges: Edges) -> int:
    if lease.faults + 1 < FAULTS_THAT_HOLD:
        return 0
    return DESTINATION_BACKOFF.ms(lease.destination_attempts, edges.chance)


def _named_ms(order: TryLater) -> int:
    """How long the vendor asks to wait, at most an hour."""
    seconds = order.retry_after or 0.0
    if order.reset_at is not None:
        seconds = max(seconds, order.reset_at - time.time())
    return round(max(0.0, min(seconds, 3600.0)) * 1000)


def _names(lease: Lease) -> dict[str, str]:
    return {"destination": lease.lane.destination, "lane": lease.lane.member, "batch": lease.token[:12]}


class _Permits:
    """The permits of one flush: taken before, used one a request, the rest given back."""

    def __init__(self, limits: Limits, taken: int) -> None:
        self._limits = limits
        self._left = taken

    def use(self) -> None:
        """One more request. Raises `NotYet` when it needs a permit that is not free."""
        if self._left > 0:
            self._left -= 1
        elif wait_ms := self._limits.take(1):
            raise NotYet("rate limit of the credential", wait_ms / 1000)

    def give_back(self) -> None:
        self._limits.give_back(self._left)
