"""Finds the culprits of a refused batch by halving it, and delivers the rest."""

from collections.abc import Callable
from typing import Final

from worker.batching import halves, merge
from worker.destinations.base import FoldedBatch, Receipt
from worker.errors import Refused, TooLarge, TryLater

BUDGET: Final = 64
"""Requests that may be spent on isolating, for one batch."""

Attempt = Callable[[FoldedBatch], Receipt]


def deliver_isolating(batch: FoldedBatch, attempt: Attempt, budget: int = BUDGET) -> Receipt:
    """Deliver a batch; what is refused even alone is named in the receipt, with the vendor's reason.

    Raises `TryLater` when the budget is spent, or when both halves are refused and both halves of one of them
    too: then it is the request that is wrong, not its content. Nothing is then named as refused.
    """
    return _Isolation(attempt, budget).deliver(batch)


class _Isolation:
    def __init__(self, attempt: Attempt, budget: int) -> None:
        self._attempt = attempt
        self._budget = budget

    def deliver(self, batch: FoldedBatch) -> Receipt:
        receipts, refused = self._try(batch)
        for depth in (1, 2):
            halved, refused = self._halve(refused, suspicious=depth == 2)  # noqa: PLR2004 - the second level tells
            receipts += halved
        while refused:
            halved, refused = self._halve(refused, suspicious=False)
            receipts += halved
        return merge(receipts)

    def _halve(self, batches: list[FoldedBatch], *, suspicious: bool) -> tuple[list[Receipt], list[FoldedBatch]]:
        """Try both halves of each refused batch. `suspicious`: two refused siblings, of two, blame the request."""
        receipts: list[Receipt] = []
        refused: list[FoldedBatch] = []
        for batch in batches:
            parts = [self._try(half) for half in halves(batch)]
            still = [each for _, rest in parts for each in rest]
            if suspicious and len(batches) == len(still) == 2:  # noqa: PLR2004 - both of both
                raise TryLater("request refused", "all parts of it are: it is the request, not the content")
            receipts += [receipt for found, _ in parts for receipt in found]
            refused += still
        return receipts, refused

    def _try(self, batch: FoldedBatch) -> tuple[list[Receipt], list[FoldedBatch]]:
        """Send a batch: its receipt, or itself when it has to be halved."""
        try:
            return [self._attempt(batch)], []
        except (Refused, TooLarge) as refusal:
            if len(batch.entries) == 1:
                return [_refusal_of(batch, refusal)], []
        self._budget -= 2
        if self._budget < 0:
            raise TryLater("too many refused", f"more than {BUDGET} requests to find the culprits")
        return [], [batch]


def _refusal_of(batch: FoldedBatch, refusal: Refused | TooLarge) -> Receipt:
    entry = batch.entries[0]
    reason = f"{refusal.reason}: {refusal.detail}" if refusal.detail else refusal.reason
    return Receipt(dict.fromkeys(entry.identifiers, reason))
