"""Folding against the promise it keeps: a stream of changes is cut into batches, each delivered once or more often."""

import hashlib
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from hypothesis import strategies as st

from worker.batching import fold, halves
from worker.contract import Change, Identifier, LaneKey
from worker.destinations.base import Entry, FoldedBatch

LANE: Final = LaneKey("shop", "vip")


class Attempt(NamedTuple):
    """One delivery of the head of a lane. Only a settled one takes the head off; any other may have sent a part."""

    size: int
    settled: bool
    requests: int
    """How many requests of an unsettled one reached the vendor."""
    cuts: int
    """Into how many halves, and halves of halves, it is split on the way."""


def vendor_form(identifier: Identifier) -> Identifier:
    """As a vendor that hashes emails tells identifiers apart."""
    if "@" not in identifier.value:
        return identifier
    return Identifier("email", hashlib.sha256(identifier.value.encode()).hexdigest())


_PLAIN: Final = tuple(Identifier("email", f"{who}@example.com") for who in "abc")
HANDLES: Final = (*_PLAIN, vendor_form(_PLAIN[0]), Identifier("device", "d-1"))
"""Few, so that they meet often; two of them are the same to the vendor."""

changes: Final = st.builds(
    Change,
    entered=st.booleans(),
    occurred_at=st.integers(0, 5),
    identifiers=st.lists(st.sampled_from(HANDLES), min_size=1, max_size=3).map(tuple),
)
streams: Final = st.lists(changes, max_size=24)
attempts: Final = st.lists(
    st.builds(Attempt, st.integers(1, 10), st.booleans(), st.integers(0, 8), st.integers(0, 2)),
    max_size=12,
)


def deliver(stream: Sequence[Change], plan: Iterable[Attempt]) -> tuple[set[Identifier], list[Sequence[Change]]]:
    """What the vendor holds when the whole stream is delivered, and the batches that were settled."""
    held: set[Identifier] = set()
    settled: list[Sequence[Change]] = []
    head = 0
    for attempt in (*plan, Attempt(size=len(stream), settled=True, requests=0, cuts=0)):
        batch = stream[head : head + attempt.size]
        requests = _requests(fold(LANE, "batch", batch, vendor_form), attempt.cuts)
        for entered, entries in requests if attempt.settled else requests[: attempt.requests]:
            _apply(held, entered=entered, entries=entries)
        if attempt.settled:
            settled.append(batch)
            head += len(batch)
    return held, settled


def expected(batches: Sequence[Sequence[Change]]) -> set[Identifier]:
    """Promise 3: the newest change decides; by `occurred_at`, then arrival, in a batch, by arrival across batches."""
    newest: dict[Identifier, tuple[int, int, int, bool]] = {}
    for number, batch in enumerate(batches):
        for position, change in enumerate(batch):
            for identifier in map(vendor_form, change.identifiers):
                found = (number, change.occurred_at, position, change.entered)
                newest[identifier] = max(newest.get(identifier, found), found)
    return {identifier for identifier, (*_, entered) in newest.items() if entered}


def check(stream: Sequence[Change], plan: Sequence[Attempt]) -> None:
    """Fails when what the vendor holds in the end is not what was promised."""
    held, settled = deliver(stream, plan)

    assert held == expected(settled)


def check_in_order(stream: Sequence[Change], plan: Sequence[Attempt]) -> None:
    """Of changes that arrive in the order of their times, batches make no difference."""
    ordered = sorted(stream, key=lambda change: change.occurred_at)
    held, _ = deliver(ordered, plan)

    assert held == expected([ordered])


_Request = tuple[bool, Sequence[Entry]]


def _requests(batch: FoldedBatch, cuts: int) -> list[_Request]:
    """Removes, then adds; of a batch that is split, the later half first, for their order may not matter."""
    if cuts and len(batch.entries) > 1:
        one, other = halves(batch)
        return _requests(other, cuts - 1) + _requests(one, cuts - 1)
    return [(False, batch.removes), (True, batch.adds)]


def _apply(held: set[Identifier], *, entered: bool, entries: Sequence[Entry]) -> None:
    identifiers = {identifier for entry in entries for identifier in entry.identifiers}
    if entered:
        held |= identifiers
    else:
        held -= identifiers
