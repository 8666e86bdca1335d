"""How much of a lane is read where its whole head holds more culprits than one batch finds: a shorter head has fewer.

It doubles with each batch that is settled, until it is whole again. What is refused meanwhile is added up, so that many
short heads bury no more than a whole one might. Where nothing of a short head is taken, the whole one tells whether
anything is: then these are many culprits in a row, else it is the request, and nothing is buried.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple, cast

import structlog

from worker.batching import Settlement
from worker.contract import LaneKey
from worker.destinations.base import FoldedBatch
from worker.edges import Edges
from worker.isolation import Caution
from worker.store.lanes import Lease

PARTS: Final = 8
"""By so much a head is shortened."""

log = structlog.get_logger()


class Head(NamedTuple):
    """How many changes to read, and what became of those before, since the head is short."""

    size: int
    settled: int = 0
    refused: int = 0
    caution: Caution = "all"

    def after(self, settlement: Settlement) -> "Head":
        """Twice as long, with this batch added up."""
        return Head(self.size * 2, self.settled + settlement.taken, self.refused + settlement.refused)


def note_of(lane: LaneKey) -> str:
    """The name of the note that a lane has while its head is short."""
    return f"head:{lane.member}"


def head_of(lease: Lease, edges: Edges, notes: Mapping[str, str]) -> Head:
    """The head to read: whole, unless it was shortened. What may be buried is read whole."""
    whole = edges.schedule.max_changes
    if lease.may_bury:
        return Head(whole, caution="none")
    note = notes.get(note_of(lease.lane))
    if note is None:
        return Head(whole)
    size, settled, refused, caution = note.split()
    return Head(int(size), int(settled), int(refused), cast("Caution", caution))


def shorten(head: Head, batch: FoldedBatch, edges: Edges) -> None:
    """Read an eighth of what this batch had. Something of it was taken, so the request is right."""
    size = max(1, len(batch.entries) // PARTS)
    _keep(batch.lane, head._replace(size=size, caution="budget"), edges)
    log.warning("head.shortened", destination=batch.lane.destination, lane=batch.lane.member, size=size)


def widen(head: Head, batch: FoldedBatch, edges: Edges) -> None:
    """Read the whole head, since nothing of this one was taken."""
    if head.size < edges.schedule.max_changes:
        _keep(batch.lane, head._replace(size=edges.schedule.max_changes), edges)


def lengthen(head: Head, settlement: Settlement, lane: LaneKey, edges: Edges, notes: Mapping[str, str]) -> None:
    """Read twice as much as of the batch that is settled; a head that is whole by then needs no note."""
    if note_of(lane) in notes:
        longer = head.after(settlement)
        _keep(lane, longer if longer.size < edges.schedule.max_changes else None, edges)


def _keep(lane: LaneKey, head: Head | None, edges: Edges) -> None:
    edges.lanes.keep_notes({note_of(lane): head and " ".join(map(str, head))})
