"""The worker's story: read the head of a lane, fold it, deliver it, settle it. (`worker.erasure` tells of forgetting.)

This is the only module that knows both edges, Redis and the vendors. What goes wrong arrives as an instruction
(see `worker.errors`); `worker.holds` carries it out.
"""

import time
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import msgspec
import structlog

from worker.batching import Settlement, account, fold
from worker.contract import Identifier, Waiting
from worker.delivery import Sender
from worker.destinations.base import FoldedBatch, Notes, Receipt
from worker.edges import Edges
from worker.erasure import ERASURE_FIRST, erase
from worker.errors import DeliveryError, LeaseLost, NotYet, StoreError, TryLater
from worker.heads import Head, head_of, lengthen
from worker.holds import names, obey
from worker.outgoing import WORKING_SIZE, bury_command, deliver_head, notes_of
from worker.permits import Permits
from worker.store.lanes import Lease
from worker.telemetry import place_of

BRAKE_SHARE: Final = 0.2
BRAKE_COUNT: Final = 50
"""More than this share of a batch refused, and at least so many: a person should look before they are buried."""

log = structlog.get_logger()


class Flushed(NamedTuple):
    """What a flush did: how many changes left their lane."""

    changes: int
    requests: int


def flush_next(edges: Edges) -> Flushed | None:
    """Flush the oldest due lane. None: no lane is due, or none may be flushed now.

    Raises `StoreError` when Redis fails; the lease then runs out by itself.
    """
    permits = Permits(edges.limits, edges.pause)
    if not permits.take(edges.destination.requests_a_batch):
        return None
    try:
        lease = edges.lanes.lease(edges.schedule)
        return _flush_or_hold(lease, edges, permits) if lease else None
    finally:
        permits.give_back()


def flush(lease: Lease, edges: Edges, send: Sender) -> Flushed:
    """Read → fold → deliver → settle. Raises `DeliveryError` or `LeaseLost`; nothing has then left the lane."""
    started = time.monotonic()
    notes = notes_of(lease.lane, edges)
    head = head_of(lease, edges, notes)
    waiting = _read(lease, edges, notes, head)
    changes = [each.change for each in waiting]
    batch = fold(lease.lane, lease.batch_id, changes, edges.destination.vendor_form, waiting[-1].stamp)
    receipt = deliver_head(batch, edges, send, notes, head)
    settlement = account(waiting, batch, receipt, edges.destination.vendor_form)
    _brake(settlement, lease, head)
    lengthen(head, settlement, lease.lane, edges, notes)
    edges.lanes.settle(lease, settlement, superseding=_superseding(waiting, batch, receipt, lease))
    log.info(
        "lane.flushed",
        **names(lease),
        removes=len(batch.removes),
        adds=len(batch.adds),
        delivered=settlement.delivered,
        folded=settlement.folded,
        buried=len(settlement.buried),
        requests=send.requests,
        seconds=round(time.monotonic() - started, 3),
    )
    return Flushed(settlement.taken, send.requests)


def _read(lease: Lease, edges: Edges, notes: Notes, head: Head) -> list[Waiting]:
    most = min(head.size, edges.schedule.max_changes, int(notes.get(WORKING_SIZE, head.size)))
    try:
        waiting = edges.lanes.read(lease, most, edges.destination.max_bytes)
    except msgspec.DecodeError as unreadable:
        detail = "a change in it was written by a newer release; update the workers"
        raise TryLater("unreadable change", detail, scope="lane") from unreadable
    if not waiting:
        raise NotYet(ERASURE_FIRST, lane_ms=1_000)
    return waiting


def _brake(settlement: Settlement, lease: Lease, head: Head) -> None:
    """Hold the lane instead of burying a great part of the batch (and of those before, while the head is short), unless
    somebody has allowed it.
    """
    refused, settled = head.refused + settlement.refused, head.settled + settlement.taken
    if lease.may_bury or refused < BRAKE_COUNT or refused <= BRAKE_SHARE * settled:
        return
    sample = sorted({burial.reason for burial in settlement.buried})[:3]
    raise TryLater(
        "too many refused",
        f"{refused} of {settled} changes, for example: {'; '.join(sample)}. If that is right, "
        f"{bury_command(lease.lane)} lets them be buried",
        scope="lane",
    )


def _superseding(
    waiting: Sequence[Waiting], batch: FoldedBatch, receipt: Receipt, lease: Lease
) -> Mapping[Identifier, int]:
    """Whom the vendor took, in its form, with the stamps of their changes: their older dead letters are superseded."""
    if not lease.dead_letters:
        return {}
    taken = [entry for entry in batch.entries if not any(each in receipt.refused for each in entry.identifiers)]
    return {identifier: waiting[entry.position].stamp for entry in taken for identifier in entry.identifiers}


def _flush_or_hold(lease: Lease, edges: Edges, permits: Permits) -> Flushed | None:
    leases = [lease]

    def gate() -> None:
        edges.may_send()
        permits.use()
        for each in leases:
            edges.lanes.extend(each, edges.schedule)

    send = edges.sender(gate)
    try:
        try:
            if lease.lane.is_erasures:
                return Flushed(erase(lease, edges, send, leases), send.requests)
            return flush(lease, edges, send)
        except DeliveryError as order:
            if send.changes or order.outcome_unknown:
                edges.erasures.remember(lease.lane)
            obey(order, lease, edges)
            return None if isinstance(order, NotYet) else Flushed(0, send.requests)
        except (LeaseLost, StoreError):
            raise
        except Exception as fault:  # noqa: BLE001 - whatever it is, it shows in status, and the lane is tried again
            obey(_fault_of_ours(fault), lease, edges)
            return Flushed(0, send.requests)
    except LeaseLost:
        log.warning("lease.lost", **names(lease))
        return Flushed(0, send.requests)


def _fault_of_ours(fault: Exception) -> TryLater:
    """A defect of this software."""
    return TryLater("fault in the relay", f"{place_of(fault)}; please report it", scope="lane", outcome_unknown=True)
