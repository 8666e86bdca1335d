"""Delivers a batch in as many parts as it takes: culprits are found by halving, and the rest is delivered."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, NamedTuple

from worker.batching import halves, merge
from worker.destinations.base import FoldedBatch, Receipt
from worker.errors import DeliveryError, Refused, TooLarge, TryLater

BUDGET: Final = 64
"""Requests that may be spent on isolating, for one batch."""

Attempt = Callable[[FoldedBatch], Receipt]


class Isolated(NamedTuple):
    """The receipt of all parts, and how large a part may be where the whole was too large (else None)."""

    receipt: Receipt
    working_size: int | None


def deliver_isolating(batch: FoldedBatch, attempt: Attempt, budget: int = BUDGET) -> Isolated:
    """Deliver a batch; what is refused even alone is named in the receipt, with the vendor's reason.

    A receipt that counts invalid identifiers without naming them is halved, too, as far as the budget goes; that
    sends again what was sent, which changes nothing.

    Raises `TryLater` when the budget is spent, or when both halves are refused and both halves of one of them
    too: then it is the request that is wrong, not its content. Nothing is then named as refused.
    """
    isolation = _Isolation(attempt, budget)
    isolation.deliver(batch)
    isolation.name_invalid()
    return Isolated(merge(isolation.receipts), isolation.working_size)


class _Isolation:
    def __init__(self, attempt: Attempt, budget: int) -> None:
        self._attempt = attempt
        self._budget = budget
        self._taken: list[_Taken] = []
        self._too_large = False

    @property
    def receipts(self) -> list[Receipt]:
        return [each.receipt for each in self._taken]

    @property
    def working_size(self) -> int | None:
        if not self._too_large:
            return None
        return max((len(each.batch.entries) for each in self._taken), default=1)

    def deliver(self, batch: FoldedBatch) -> None:
        refused = self._try([batch])
        halves_of_it = self._try(_halved(refused))
        quarters = self._try(_halved(halves_of_it))
        if _is_the_requests_fault(halves_of_it, quarters):
            raise TryLater("request refused", "all parts of it are: it is the request, not the content")
        while quarters:
            quarters = self._try(_halved(quarters))

    def name_invalid(self) -> None:
        """Send halves of what has unnamed invalid identifiers until all are named, one fails or the budget is spent."""
        unclear = [each for each in self._taken if each.unclear]
        while unclear and self._budget >= 2:  # noqa: PLR2004 - two halves
            self._budget -= 2
            whole = unclear.pop()
            try:
                parts = [_Taken(half, self._attempt(half)) for half in halves(whole.batch)]
            except DeliveryError:
                return  # what the vendor took is delivered; the rest stays counted
            self._taken.remove(whole)
            self._taken += parts
            unclear += [part for part in parts if part.unclear]

    def _try(self, batches: Iterable[FoldedBatch]) -> list["_Rejected"]:
        """Send the batches; those that have to be halved."""
        rejected: list[_Rejected] = []
        for batch in batches:
            try:
                self._taken.append(_Taken(batch, self._attempt(batch)))
            except (Refused, TooLarge) as refusal:
                if len(batch.entries) == 1:
                    self._taken.append(_Taken(batch, _refusal_of(batch, refusal)))
                else:
                    rejected.append(_Rejected(batch, for_content=isinstance(refusal, Refused)))
                    self._too_large |= isinstance(refusal, TooLarge)
                    self._spend(2)
        return rejected

    def _spend(self, requests: int) -> None:
        self._budget -= requests
        if self._budget < 0:
            raise TryLater("too many refused", f"more than {BUDGET} requests to find the culprits", scope="lane")


class _Taken(NamedTuple):
    batch: FoldedBatch
    receipt: Receipt

    @property
    def unclear(self) -> bool:
        return self.receipt.invalid_unnamed > 0 and len(self.batch.entries) > 1


class _Rejected(NamedTuple):
    batch: FoldedBatch
    for_content: bool


def _halved(rejected: Iterable[_Rejected]) -> Iterator[FoldedBatch]:
    for each in rejected:
        yield from halves(each.batch)


def _is_the_requests_fault(halves_of_it: Sequence[_Rejected], quarters: Sequence[_Rejected]) -> bool:
    """Whether both halves were refused for their content, and both halves of one of them too."""
    if sum(each.for_content for each in halves_of_it) < 2:  # noqa: PLR2004 - both
        return False
    parents = [each.batch.id[:-1] for each in quarters if each.for_content]
    return len(parents) != len(set(parents))


def _refusal_of(batch: FoldedBatch, refusal: Refused | TooLarge) -> Receipt:
    entry = batch.entries[0]
    reason = f"{refusal.reason}: {refusal.detail}" if refusal.detail else refusal.reason
    return Receipt(dict.fromkeys(entry.identifiers, reason))
