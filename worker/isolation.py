"""Delivers a batch in as many parts as it takes: culprits are found by halving, and the rest is delivered."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, Literal, NamedTuple
from zlib import crc32

from worker.batching import alone, halves, merge
from worker.destinations.base import FoldedBatch, Receipt
from worker.errors import DeliveryError, Refused, Throttled, TooLarge, TryLater

BUDGET: Final = 64
"""Requests that may be spent on isolating, for one batch."""
HALVINGS: Final = 3
"""So often a batch is halved before it is asked whether anything of it is taken: down to eighths."""
FEWEST: Final = 7
"""Of fewer entries each may be a culprit; of so many, all refused, it is the request."""
SAMPLE: Final = 3
"""So many of the vendor's words are told."""

Attempt = Callable[[FoldedBatch], Receipt]
Caution = Literal["all", "budget", "none"]
"""What ends isolation early: that nothing is taken, and the budget; where the request is known to be right the budget
alone; where everything may be buried neither."""


class NothingTaken(TryLater):
    """No part of the batch was taken, nor any single entry that was tried: it is the request, not its content."""

    def __init__(self, words: str) -> None:
        super().__init__("request refused", f"every part of it is: {words}. Compare the configuration with these words")


class TooManyCulprits(TryLater):
    """The budget is spent, though something was taken: a shorter batch has fewer culprits."""

    def __init__(self, words: str) -> None:
        detail = f"more than {BUDGET} requests to find the culprits, for example: {words}"
        super().__init__("too many refused", detail, scope="lane")


class Isolated(NamedTuple):
    """The receipt of all parts, and how large a part may be where the whole was too large (else None)."""

    receipt: Receipt
    working_size: int | None


def deliver_isolating(batch: FoldedBatch, attempt: Attempt, caution: Caution = "all") -> Isolated:
    """Deliver a batch; what is refused even alone is named in the receipt, with the vendor's reason.

    A receipt that counts invalid identifiers without naming them is halved, too, as far as the budget goes; that
    sends again what was sent, which changes nothing.

    Raises `NothingTaken` or `TooManyCulprits`, as far as `caution` says; nothing is then named as refused. Without
    caution it goes on until each culprit stands alone.
    """
    isolation = _Isolation(attempt, caution)
    isolation.deliver(batch)
    isolation.name_invalid()
    return Isolated(isolation.receipt, isolation.working_size)


class _Isolation:
    def __init__(self, attempt: Attempt, caution: Caution) -> None:
        self._attempt = attempt
        self._caution = caution
        self._budget = BUDGET
        self._taken: list[_Taken] = []
        self._alone: list[_Alone] = []
        self._too_large: list[FoldedBatch] = []
        self._words: dict[str, None] = {}

    @property
    def receipt(self) -> Receipt:
        return merge([*(each.receipt for each in self._taken), *(each.receipt for each in self._alone)])

    @property
    def working_size(self) -> int | None:
        """Nothing is learned of a part that holds an entry which is too large even alone."""
        alone_too_large = [each.batch for each in self._alone if isinstance(each.refusal, TooLarge)]
        if all(any(_holds(part, each) for each in alone_too_large) for part in self._too_large):
            return None
        return max((len(each.batch.entries) for each in self._taken), default=1)

    def deliver(self, batch: FoldedBatch) -> None:
        rejected = self._try([batch])
        for _ in range(HALVINGS):
            rejected = self._try(_halved(rejected))
        if self._caution == "all" and len(batch.entries) >= FEWEST and not self._takes_any(rejected):
            raise NothingTaken(self._sample)
        while rejected:
            rejected = self._try(_halved(rejected))

    def name_invalid(self) -> None:
        """Send halves of what has unnamed invalid identifiers until all are named, one fails or the budget is spent.

        Raises `Throttled`, and what has an unknown outcome.
        """
        unclear = [each for each in self._taken if each.unclear]
        while unclear and self._budget >= 2:  # noqa: PLR2004 - two halves
            self._budget -= 2
            whole = unclear.pop()
            try:
                parts = [_Taken(half, self._attempt(half)) for half in halves(whole.batch)]
            except DeliveryError as order:
                if _ends_the_batch(order):
                    raise
                return  # what the vendor took is delivered; the rest stays counted
            self._taken.remove(whole)
            self._taken += parts
            unclear += [part for part in parts if part.unclear]

    def _try(self, batches: Iterable[FoldedBatch]) -> list[FoldedBatch]:
        """Send the batches; those that have to be halved."""
        rejected: list[FoldedBatch] = []
        for batch in batches:
            try:
                self._taken.append(_Taken(batch, self._attempt(batch)))
            except (Refused, TooLarge) as refusal:
                self._words[str(refusal)] = None
                if len(batch.entries) == 1:
                    self._alone.append(_Alone(batch, refusal))
                else:
                    rejected.append(batch)
                    if isinstance(refusal, TooLarge):
                        self._too_large.append(batch)
                    self._spend(2)
        return rejected

    def _takes_any(self, rejected: Sequence[FoldedBatch]) -> bool:
        """Whether anything is taken: a part, or else a single entry, since few culprits may spoil every part."""
        if self._taken:
            return True
        self._spend(len(rejected))
        return any(self._takes(_any_alone(each)) for each in rejected)

    def _takes(self, entry: FoldedBatch) -> bool:
        try:
            self._attempt(entry)
        except (Refused, TooLarge):
            return False
        return True

    def _spend(self, requests: int) -> None:
        self._budget -= 0 if self._caution == "none" else requests
        if self._budget < 0:
            raise TooManyCulprits(self._sample)

    @property
    def _sample(self) -> str:
        return "; ".join(list(self._words)[:SAMPLE])


class _Taken(NamedTuple):
    batch: FoldedBatch
    receipt: Receipt

    @property
    def unclear(self) -> bool:
        return self.receipt.invalid_unnamed > 0 and len(self.batch.entries) > 1


class _Alone(NamedTuple):
    """One entry that is refused even alone."""

    batch: FoldedBatch
    refusal: Refused | TooLarge

    @property
    def receipt(self) -> Receipt:
        return Receipt(dict.fromkeys(self.batch.entries[0].identifiers, str(self.refusal)))


def _halved(rejected: Iterable[FoldedBatch]) -> Iterator[FoldedBatch]:
    for each in rejected:
        yield from halves(each)


def _holds(batch: FoldedBatch, part: FoldedBatch) -> bool:
    """Whether a part was halved from the batch: its id goes on from the batch's."""
    return part.id.startswith(batch.id)


def _any_alone(batch: FoldedBatch) -> FoldedBatch:
    """One of its entries: another at each attempt, since culprits may stand at regular distances."""
    return alone(batch, crc32(batch.id.encode()) % len(batch.entries))


def _ends_the_batch(order: DeliveryError) -> bool:
    """Whether more follows from it than that nothing more is named: the vendor may yet apply it, or nobody may send."""
    return isinstance(order, Throttled) or order.outcome_unknown
