"""What a worker would send for some changes: fold and deliver as a flush does, with a stand-in as the vendor."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import count

from cli.masking import masked
from cli.standins import StandIn
from worker.batching import fold
from worker.contract import Change, LaneKey, encode, stamped
from worker.delivery import deliver
from worker.destinations import REGISTRY
from worker.destinations.base import Credential, DestinationSettings, FoldedBatch, Person, Receipt, Request
from worker.errors import DeliveryError


@dataclass(slots=True, kw_only=True)
class Rehearsed:
    """What would be sent."""

    requests: list[Request] = field(default_factory=list)
    identifiers: set[str] = field(default_factory=set)
    """Those that are sent, in the vendor's form."""
    stopped: str | None = None
    """Why the stand-in took no more."""


@dataclass(slots=True, kw_only=True)
class LaneRehearsed(Rehearsed):
    """What would become of the changes of one lane."""

    audience: str
    enters: int
    leaves: int
    folded: int = 0
    batches: int = 0
    invalid: int = 0
    """How many identifiers the stand-in calls invalid."""


@dataclass(slots=True, kw_only=True)
class ErasuresRehearsed(Rehearsed):
    """What would be sent for persons to be forgotten, beside a removal from each audience that the relay knows."""

    persons: int


@dataclass(frozen=True, slots=True)
class DestinationRehearsed:
    """Everything that would be sent to one destination, in order."""

    name: str
    kind: str
    credential: Credential
    lanes: Sequence[LaneRehearsed]
    erasures: ErasuresRehearsed | None

    @property
    def parts(self) -> list[Rehearsed]:
        return [*self.lanes, *([self.erasures] if self.erasures else [])]


def rehearse(
    settings: DestinationSettings,
    waiting: Mapping[LaneKey, Sequence[Change]],
    now_ms: int,
    hidden: Collection[str] = (),
) -> DestinationRehearsed:
    """Flush the lanes of one destination, whose vendor has no audience yet but those that people leave.

    `hidden`: texts to mask in the requests.
    """
    rehearsal = _Rehearsal(settings, now_ms, hidden)
    lanes = [rehearsal.flush(lane, changes) for lane, changes in waiting.items() if not lane.is_erasures]
    erasures = waiting.get(LaneKey.erasures(settings.name))
    return DestinationRehearsed(
        settings.name,
        settings.kind,
        rehearsal.destination.credential,
        lanes,
        rehearsal.erase(erasures) if erasures else None,
    )


class _Rehearsal:
    """One destination, its stand-in, and what it notes between batches."""

    def __init__(self, settings: DestinationSettings, now_ms: int, hidden: Collection[str]) -> None:
        self.destination = REGISTRY[settings.kind](settings)
        self._max_changes = settings.batch.max_changes
        self._vendor = StandIn(settings)
        self._notes: dict[str, str] = {}
        self._now_ms = now_ms
        self._hidden = hidden
        self._batch_ids = (f"preview-{number}" for number in count(1))

    def flush(self, lane: LaneKey, changes: Sequence[Change]) -> LaneRehearsed:
        """Batch after batch, until the lane is empty or the stand-in refuses."""
        entering = sum(change.entered for change in changes)
        told = LaneRehearsed(audience=lane.audience, enters=entering, leaves=len(changes) - entering)
        with self._stopping(told):
            for head in heads(changes, self._max_changes, self.destination.max_bytes):
                batch = fold(lane, next(self._batch_ids), head, self.destination.vendor_form, self._now_ms)
                told.batches += 1
                told.folded += len(head) - len(batch.entries)
                told.identifiers.update(each.value for entry in batch.entries for each in entry.identifiers)
                receipt = self._deliver(batch, told)
                told.invalid += len(receipt.refused) + receipt.invalid_unnamed
        return told

    def erase(self, changes: Sequence[Change]) -> ErasuresRehearsed:
        """What waits in the lane of erasures."""
        persons = [Person(each.identifiers) for each in changes]
        identifiers = {handle.value for each in persons for handle in each.identifiers}
        told = ErasuresRehearsed(persons=len(persons), identifiers=identifiers)
        with self._stopping(told), self._noted(told):
            deliver(self.destination.erase(persons), self._vendor, {}, _keep_nothing)
        return told

    def _deliver(self, batch: FoldedBatch, told: LaneRehearsed) -> Receipt:
        if told.batches == 1 and not batch.adds:
            self._converse(replace(batch, removes=(), adds=batch.removes), {})  # who leaves has entered before
        with self._noted(told):
            return self._converse(batch, self._notes)

    def _converse(self, batch: FoldedBatch, notes: dict[str, str]) -> Receipt:
        """As in a flush, the conversation sees only the notes that it names."""
        seen = {name: notes[name] for name in self.destination.note_keys(batch.lane) if name in notes}

        def keep(changed: Mapping[str, str | None]) -> None:
            for name, value in changed.items():
                notes.pop(name, None)
                if value is not None:
                    notes[name] = value

        return deliver(self.destination.converse(batch, seen), self._vendor, seen, keep)

    @contextmanager
    def _noted(self, told: Rehearsed) -> Iterator[None]:
        """The requests of this part alone, also when it fails."""
        self._vendor.requests.clear()
        try:
            yield
        finally:
            told.requests += [masked(each, self._hidden) for each in self._vendor.requests]

    @contextmanager
    def _stopping(self, told: Rehearsed) -> Iterator[None]:
        try:
            yield
        except DeliveryError as order:
            told.stopped = str(order)


def _keep_nothing(_changed: object) -> None:
    """An erasure notes nothing that a preview needs."""


def heads(changes: Sequence[Change], max_changes: int, max_bytes: int) -> Iterator[Sequence[Change]]:
    """The batches of a lane, one after another: as many changes as may be, and at least one."""
    start, size = 0, 0
    for position, change in enumerate(changes):
        weight = len(stamped(0, encode(change)))
        size += weight
        if position > start and (position - start == max_changes or size > max_bytes):
            yield changes[start:position]
            start, size = position, weight
    yield changes[start:]
