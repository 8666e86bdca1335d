"""Delivers one folded batch over the edges of its destination: conversation, isolation of what is refused, notes."""

import shlex
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Final

import structlog

from worker.contract import LaneKey
from worker.delivery import Sender, deliver
from worker.destinations.base import FoldedBatch, Notes, Receipt
from worker.edges import Edges
from worker.errors import DeliveryError
from worker.heads import Head, note_of, shorten, widen
from worker.isolation import Caution, Isolated, NothingTaken, TooManyCulprits, deliver_isolating

SHORTEST_HIDDEN: Final = 3
"""Shorter texts name nobody, and stand in too many words."""
WORKING_SIZE: Final = "working_size"
"""The note of how many entries a request may have, learned where the vendor took no more."""

log = structlog.get_logger()


def notes_of(lane: LaneKey, edges: Edges) -> Notes:
    """What a conversation about this lane may read."""
    return edges.lanes.notes((WORKING_SIZE, note_of(lane), *edges.destination.note_keys(lane)))


def deliver_head(batch: FoldedBatch, edges: Edges, send: Sender, notes: Notes, head: Head) -> Receipt:
    """`deliver_batch` for the head of a lane; how much of it is read next follows from what is refused."""
    try:
        return deliver_batch(batch, edges, send, notes, head.caution)
    except NothingTaken as order:
        widen(head, batch, edges)
        allowance = f"if it is the content, {bury_command(batch.lane)} lets it be buried"
        order.reword(lambda words: f"{words}; {allowance}")
        raise
    except TooManyCulprits as order:
        shorten(head, batch, edges)
        order.reword("{}; a part of it is tried next".format)
        raise


def bury_command(lane: LaneKey) -> str:
    """What a person runs to let a lane's next attempt bury however many are refused."""
    return f"`audience-relay release {lane.destination} --audience {shlex.quote(lane.audience)} --bury`"


def deliver_batch(batch: FoldedBatch, edges: Edges, send: Sender, notes: Notes, caution: Caution = "all") -> Receipt:
    """Raises `DeliveryError`; nothing is then known to be delivered. No words of the vendor's name anybody."""
    if not batch.entries:
        return Receipt()

    def attempt(part: FoldedBatch) -> Receipt:
        try:
            return deliver(edges.destination.converse(part, notes), send, notes, edges.lanes.keep_notes)
        except DeliveryError as order:
            order.reword(partial(nameless, batch=part))
            raise

    isolated = deliver_isolating(batch, attempt, caution)
    _remember_size(isolated, edges)
    receipt = isolated.receipt
    reasons = {reason: nameless(reason, batch) for reason in set(receipt.refused.values())}
    return replace(receipt, refused={whom: reasons[reason] for whom, reason in receipt.refused.items()})


def nameless(words: str, batch: FoldedBatch) -> str:
    """A vendor's words without anything that was sent of a person: vendors repeat what they do not like."""
    for text in _sent(batch):
        if len(text) >= SHORTEST_HIDDEN and text in words:
            words = words.replace(text, "…")
    return words


def _sent(batch: FoldedBatch) -> Iterator[str]:
    for entry in batch.entries:
        yield from (identifier.value for identifier in entry.identifiers)
        yield from (value for value in entry.properties.values() if isinstance(value, str))


def _remember_size(isolated: Isolated, edges: Edges) -> None:
    if isolated.working_size is not None:
        edges.lanes.keep_notes({WORKING_SIZE: str(isolated.working_size)})
        log.warning("batch.too_large", destination=edges.lanes.destination, working_size=isolated.working_size)
