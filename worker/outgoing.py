"""Delivers one folded batch over the edges of its destination: conversation, isolation of what is refused, notes."""

from typing import Final

import structlog

from worker.contract import LaneKey
from worker.delivery import Sender, deliver
from worker.destinations.base import FoldedBatch, Notes, Receipt
from worker.edges import Edges
from worker.isolation import Isolated, deliver_isolating

WORKING_SIZE: Final = "working_size"
"""The note of how many entries a request may have, learned where the vendor took no more."""

log = structlog.get_logger()


def notes_of(lane: LaneKey, edges: Edges) -> Notes:
    """What a conversation about this lane may read."""
    return edges.lanes.notes((WORKING_SIZE, *edges.destination.note_keys(lane)))


def deliver_batch(batch: FoldedBatch, edges: Edges, send: Sender, notes: Notes) -> Receipt:
    """Raises `DeliveryError`; nothing is then known to be delivered."""
    if not batch.entries:
        return Receipt()

    def attempt(part: FoldedBatch) -> Receipt:
        return deliver(edges.destination.converse(part, notes), send, notes, edges.lanes.keep_notes)

    isolated = deliver_isolating(batch, attempt)
    _remember_size(isolated, edges)
    return isolated.receipt


def _remember_size(isolated: Isolated, edges: Edges) -> None:
    if isolated.working_size is not None:
        edges.lanes.keep_notes({WORKING_SIZE: str(isolated.working_size)})
        log.warning("batch.too_large", destination=edges.lanes.destination, working_size=isolated.working_size)
