"""Fold and split: what a batch comes down to, and which part of a refused batch to send next."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

import msgspec

from worker.contract import Change, Identifier, LaneKey, Property, Waiting
from worker.destinations.base import Entry, FoldedBatch, Receipt

VendorForm = Callable[[Identifier], Identifier]
NO_PROPERTIES: Final[Mapping[str, Property]] = {}


def fold(
    lane: LaneKey,
    batch_id: str,
    changes: Sequence[Change],
    vendor_form: VendorForm,
    at_ms: int = 0,
) -> FoldedBatch:
    """Reduce a batch to the newest change of each identifier, as the vendor tells identifiers apart.

    Newest: by `occurred_at`, then by arrival. Of each change only the identifiers for which it is the newest
    remain; profile properties are merged, the newest value of each.
    """
    order = sorted(range(len(changes)), key=[change.occurred_at for change in changes].__getitem__)
    forms = [_distinct(change.identifiers, vendor_form) for change in changes]
    newest = {each: position for position in order for each in forms[position]}
    merged = _merged(changes, forms, order)
    removes: list[Entry] = []
    adds: list[Entry] = []
    for position, change in enumerate(changes):
        kept = tuple([each for each in forms[position] if newest[each] == position])
        if kept:
            entry = Entry(position, kept, _merged_of(kept, merged) if merged else NO_PROPERTIES)
            (adds if change.entered else removes).append(entry)
    name = changes[order[-1]].audience_name if changes else ""
    return FoldedBatch(lane, batch_id, tuple(removes), tuple(adds), name, at_ms)


def _distinct(identifiers: Sequence[Identifier], vendor_form: VendorForm) -> Sequence[Identifier]:
    if len(identifiers) == 1:
        return (vendor_form(identifiers[0]),)
    return tuple(dict.fromkeys(map(vendor_form, identifiers)))


def _merged(
    changes: Sequence[Change], forms: Sequence[Sequence[Identifier]], order: Sequence[int]
) -> dict[Identifier, Mapping[str, Property]]:
    """The properties of each identifier that has some."""
    merged: dict[Identifier, Mapping[str, Property]] = {}
    for position in order:
        if properties := changes[position].properties:
            for each in forms[position]:
                merged[each] = {**merged[each], **properties} if each in merged else properties
    return merged


def _merged_of(
    identifiers: Sequence[Identifier], merged: Mapping[Identifier, Mapping[str, Property]]
) -> Mapping[str, Property]:
    if len(identifiers) == 1:
        return merged.get(identifiers[0], NO_PROPERTIES)
    return {name: value for each in identifiers for name, value in merged.get(each, NO_PROPERTIES).items()}


class Burial(NamedTuple):
    """A change that the vendor refused for good, and its reason.

    The change has only what was sent for it: for its other identifiers the batch held newer ones.
    """

    waiting: Waiting
    reason: str
    handles: tuple[Identifier, ...] = ()
    """Its identifiers in the vendor's form; none: as they are."""


@dataclass(frozen=True, slots=True)
class Settlement:
    """What became of the head of a lane. `taken = delivered + folded + buried`."""

    taken: int
    delivered: int
    folded: int
    buried: Sequence[Burial] = ()
    invalid_unnamed: int = 0
    audience_name: str = ""
    """As the vendor knows the audience beside the lane's name."""

    @property
    def refused(self) -> int:
        """Also those of which the vendor told only how many they are."""
        return len(self.buried) + self.invalid_unnamed


def account(waiting: Sequence[Waiting], batch: FoldedBatch, receipt: Receipt, vendor_form: VendorForm) -> Settlement:
    """What became of each change: buried if an identifier sent for it was refused, else delivered if one was
    sent, else folded.
    """
    entries = batch.entries
    buried = [
        _burial(waiting[entry.position], entry, reason, vendor_form)
        for entry in entries
        if (reason := _refusal(entry, receipt)) is not None
    ]
    return Settlement(
        taken=len(waiting),
        delivered=len(entries) - len(buried),
        folded=len(waiting) - len(entries),
        buried=buried,
        invalid_unnamed=receipt.invalid_unnamed,
        audience_name=batch.audience_name,
    )


def _burial(waiting: Waiting, entry: Entry, reason: str, vendor_form: VendorForm) -> Burial:
    sent = tuple(each for each in waiting.change.identifiers if vendor_form(each) in entry.identifiers)
    change = msgspec.structs.replace(waiting.change, identifiers=sent)
    return Burial(Waiting(waiting.stamp, change), reason, entry.identifiers)


def _refusal(entry: Entry, receipt: Receipt) -> str | None:
    if not receipt.refused:
        return None
    return next((receipt.refused[each] for each in entry.identifiers if each in receipt.refused), None)


def halves(batch: FoldedBatch) -> tuple[FoldedBatch, FoldedBatch]:
    """Split a batch of at least two entries. No identifier is in both halves, so they may be sent in any order."""
    middle = len(batch.entries) // 2
    rest = max(0, middle - len(batch.removes))
    return (
        replace(batch, id=f"{batch.id}a", removes=batch.removes[:middle], adds=batch.adds[:rest]),
        replace(batch, id=f"{batch.id}b", removes=batch.removes[middle:], adds=batch.adds[rest:]),
    )


def alone(batch: FoldedBatch, position: int) -> FoldedBatch:
    """The entry at a position of the batch."""
    removes = batch.removes[position : position + 1]
    return replace(batch, id=f"{batch.id}c", removes=removes, adds=() if removes else (batch.entries[position],))


def merge(receipts: Sequence[Receipt]) -> Receipt:
    """One receipt for the parts of a batch."""
    refused = {identifier: reason for receipt in receipts for identifier, reason in receipt.refused.items()}
    return Receipt(refused, sum(receipt.invalid_unnamed for receipt in receipts))
