"""How source events get into lanes: decode, route, append.

When a call returns, the store has every change, and the caller may forget the source events. When it raises,
some may be there: bring all of them again, doing so is harmless.
"""

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import islice, zip_longest
from math import inf
from typing import Any, Final, Protocol, TypeVar
from uuid import uuid4

from producers.behind import Behind
from producers.events import Opened
from producers.route import Routed
from producers.routing import LeftOut, Router
from producers.segment import MAX_EVENT_BYTES, RawEvent, Reason, Refusal, decode
from worker.contract import Change, LaneKey
from worker.errors import StoreFull, StoreUnavailable

MAX_CHANGES: Final = 1_000
"""The most changes in one `append`."""
CHUNK_EVENTS: Final = 5_000
"""How many source events are read before their changes are appended."""
CHUNK_MS: Final = 1_000
"""How long source events may trickle in before those that came are appended."""
WAITS: Final = (0.1, 0.3, 1.0, 3.0)
"""Seconds before each repetition when the store is away."""

Written = TypeVar("Written")
Line = tuple[int, RawEvent]
"""A source event and its number, for whoever asks which one was refused."""
OnRefused = Callable[[int, Reason], None]
Piece = tuple[LaneKey, Sequence[Change], str]
"""Changes for a lane, at most 1,000, and the id of their chunk."""
OnFull = Callable[[LaneKey, int, StoreFull], None]
"""A lane without room, how many of the changes it has nevertheless (the first ones), and what tells why."""


class Store(Protocol):
    """Where changes wait."""

    def append(self, lane: LaneKey, changes: Sequence[Change], chunk_id: str) -> int:
        """Add the changes to the tail of the lane, in order, or raise `StoreUnavailable` or `StoreFull`.

        May be repeated with the same `chunk_id` for ten minutes: the changes are then there once. At most
        1,000 changes. Returns how many were added: those whose message id came before are not.
        """

    def append_each(self, pieces: Sequence[Piece]) -> list[int | StoreFull]:
        """Append all in their order, each as `append` does. The answer is `StoreFull` where a lane has no room."""
        return [_or_full(self, piece) for piece in pieces]

    def count_refused(self, reasons: Mapping[str, int]) -> None:
        """Add to the counts of what was refused, by reason. Raises `StoreUnavailable` or `StoreFull`."""

    def count_left_out(self, destination: str, reasons: Mapping[str, int]) -> None:
        """Add to the counts of what a destination does not get of accepted events. Raises as above."""


@dataclass(slots=True)
class Report:
    """What became of source events: `read = accepted + refused`.

    By destination, the changes that were appended, those whose message id had been appended lately, and what the
    destination does not get of events that were accepted (by destination and reason).
    """

    read: int = 0
    accepted: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    changes: Counter[str] = field(default_factory=Counter)
    duplicates: Counter[str] = field(default_factory=Counter)
    left_out: LeftOut = field(default_factory=Counter)

    def as_dict(self) -> dict[str, Any]:
        return {
            "read": self.read,
            "accepted": self.accepted,
            "refused": dict(self.refused),
            "changes": dict(self.changes),
        }


class Intake:
    """Accepts source events for the destinations of one router. Threads may share it.

    `now_ms` is the time of receipt, in milliseconds since the epoch.
    """

    def __init__(
        self,
        router: Router,
        store: Store,
        now_ms: Callable[[], int],
        *,
        sleep: Callable[[float], None] = time.sleep,
        waits: Sequence[float] = WAITS,
        max_event_bytes: int = MAX_EVENT_BYTES,
        chunk_events: int = CHUNK_EVENTS,
    ) -> None:
        self.max_event_bytes = max_event_bytes
        self._router = router
        self._store = store
        self._now_ms = now_ms
        self._sleep = sleep
        self._waits = waits
        self._chunk_events = chunk_events

    def accept_many(
        self, events: Iterable[RawEvent], *, report: Report | None = None, on_refused: OnRefused | None = None
    ) -> Report:
        """Accept source events, numbered from 1. See `accept_lines`."""
        return self.accept_lines(enumerate(events, 1), report=report, on_refused=on_refused)

    def accept_lines(
        self, lines: Iterable[Line], *, report: Report | None = None, on_refused: OnRefused | None = None
    ) -> Report:
        """Accept numbered source events, in order, in bounded memory: one chunk is read while the last is appended.

        Adds to `report` chunk by chunk, so that it tells how far things went when this raises
        `StoreUnavailable` (after the last repetition) or `StoreFull`. `on_refused` gets number and reason of
        each that is refused.
        """
        report, lines = Report() if report is None else report, iter(lines)
        with Behind() as behind:
            while (chunk := self.gather(islice(lines, self._chunk_events), on_refused, for_ms=CHUNK_MS)).read:
                if chunk.read < self._chunk_events:  # there is nothing to read meanwhile
                    behind.wait()
                    self.store(chunk, report)
                else:
                    behind.do(partial(self.store, chunk, report))
        return report

    def gather(self, lines: Iterable[Line], on_refused: OnRefused | None = None, *, for_ms: float = inf) -> "Chunk":
        """Decode and route source events into one chunk: all of them, or those that come within a time."""
        chunk, ends = Chunk(), None
        for number, event in lines:
            now = self._now_ms()
            outcome = self.read(event, now, chunk.left_out)
            chunk.take(outcome)
            if on_refused is not None and isinstance(outcome, Refusal):
                on_refused(number, outcome.reason)
            ends = now + for_ms if ends is None else ends
            if now >= ends:
                break
        return chunk

    def store(self, chunk: "Chunk", report: Report) -> None:
        """Append the changes of a chunk, then count what was refused of it. Raises as `append` does."""
        self.append(chunk, report)
        self.count(chunk, report)

    def read(self, event: RawEvent | Opened, received_at: int, left_out: LeftOut) -> list[Routed] | Refusal:
        """Decode and route one source event: what a chunk takes. Adds to `left_out` what destinations lack of it.

        `received_at` is in milliseconds since the epoch.
        """
        decoded = decode(event, received_at=received_at, max_bytes=self.max_event_bytes)
        return decoded if isinstance(decoded, Refusal) else self._router.route_event(decoded, left_out)

    def append(self, chunk: "Chunk", report: Report, *, on_full: OnFull | None = None) -> None:
        """Append the changes of a chunk, and add to the report what was appended.

        `on_full` gets each lane whose destination has no room; the others are appended nevertheless. Without it, the
        first one raises `StoreFull` when its round is over, as a full Redis does anyhow. Raises `StoreUnavailable`
        after the last repetition.
        """
        full: set[LaneKey] = set()
        before: list[Piece] = []
        for pieces in chunk.rounds():
            given = [piece for piece in pieces if piece[0] not in full]
            outcomes = self._persist(partial(self._store.append_each, given))
            for place, error in _counted(given, outcomes, report):
                if on_full is None:
                    raise error
                lane = given[place][0]
                full.add(lane)
                on_full(lane, sum(len(changes) for whose, changes, _ in before if whose == lane), error)
            before += given

    def append_singly(self, chunks: Sequence["Chunk"], report: Report) -> list[StoreFull | None]:
        """Append the changes of chunks as `append` does, each chunk for itself, in their order.

        Returns for each what tells why there was no room. Raises as above.
        """
        full: list[StoreFull | None] = [None] * len(chunks)
        for pieces in zip_longest(*(chunk.rounds() for chunk in chunks), fillvalue=()):
            given = [(whose, piece) for whose, each in enumerate(pieces) if full[whose] is None for piece in each]
            outcomes = self._persist(partial(self._store.append_each, [piece for _, piece in given]))
            for place, error in _counted([piece for _, piece in given], outcomes, report):
                full[given[place][0]] = error
        return full

    def count(self, chunk: "Chunk", report: Report) -> None:
        """Count what was refused or left out. Raises as `append` does.

        After the changes: who repeats because of a full store should not count a refusal each time.
        """
        for destination in {destination for destination, _ in chunk.left_out}:
            reasons = {reason: count for (whose, reason), count in chunk.left_out.items() if whose == destination}
            self._persist(partial(self._store.count_left_out, destination, reasons))
        if chunk.refused:
            self._persist(partial(self._store.count_refused, dict(chunk.refused)))
        report.read += chunk.read
        report.accepted += chunk.accepted
        report.refused.update(chunk.refused)
        report.left_out.update(chunk.left_out)

    def _persist(self, write: Callable[[], Written]) -> Written:
        for wait in self._waits:
            try:
                return write()
            except StoreUnavailable:
                self._sleep(wait)
        return write()


@dataclass(slots=True)
class Chunk:
    """What some source events come to: changes by lane, in the order of the events, and what is refused of them.

    A request to forget is about what comes before it in any lane, so it parts them: `lanes` is what came last.
    """

    read: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    left_out: LeftOut = field(default_factory=Counter)
    before: list[Mapping[LaneKey, list[Change]]] = field(default_factory=list)
    lanes: defaultdict[LaneKey, list[Change]] = field(default_factory=lambda: defaultdict(list))
    forgets: bool = False
    """Whether `lanes` are those of requests to forget."""

    @classmethod
    def joined(cls, chunks: Iterable["Chunk"]) -> "Chunk":
        """All in one, in their order."""
        whole = cls()
        for chunk in chunks:
            whole.read += chunk.read
            whole.refused.update(chunk.refused)
            whole.left_out.update(chunk.left_out)
            for part in chunk.parts:
                for lane, changes in part.items():
                    whole._in_order(lane)
                    whole.lanes[lane] += changes
        return whole

    @property
    def parts(self) -> list[Mapping[LaneKey, list[Change]]]:
        """In their order: all of one has to be appended before anything of the next."""
        return [*self.before, self.lanes]

    @property
    def accepted(self) -> int:
        return self.read - self.refused.total()

    def take(self, outcome: list[Routed] | Refusal) -> None:
        self.read += 1
        if isinstance(outcome, Refusal):
            self.refused[outcome.reason] += 1
            return
        for lane, change in outcome:
            self._in_order(lane)
            self.lanes[lane].append(change)

    def rounds(self) -> Iterator[list[Piece]]:
        """At most `MAX_CHANGES` of each lane at a time, so that none gets anything after what it had no room for."""
        chunk_id = uuid4().hex
        for place, part in enumerate(self.parts):
            for start in range(0, max(map(len, part.values()), default=0), MAX_CHANGES):
                yield [
                    (lane, changes[start : start + MAX_CHANGES], f"{chunk_id}-{place}-{start}-{number}")
                    for number, (lane, changes) in enumerate(part.items())
                    if start < len(changes)
                ]

    def _in_order(self, lane: LaneKey) -> None:
        """Begin another part where requests to forget and changes alternate."""
        if lane.is_erasures != self.forgets:
            if self.lanes:
                self.before.append(self.lanes)
                self.lanes = defaultdict(list)
            self.forgets = lane.is_erasures


def _counted(
    pieces: Sequence[Piece], outcomes: Sequence[int | StoreFull], report: Report
) -> list[tuple[int, StoreFull]]:
    """Add to the report what was appended; returns where the pieces stood that found no room."""
    full: list[tuple[int, StoreFull]] = []
    for place, ((lane, changes, _), added) in enumerate(zip(pieces, outcomes, strict=True)):
        if isinstance(added, StoreFull):
            full.append((place, added))
        else:
            report.changes[lane.destination] += added
            report.duplicates[lane.destination] += len(changes) - added
    return full


def _or_full(store: Store, piece: Piece) -> int | StoreFull:
    try:
        return store.append(*piece)
    except StoreFull as error:
        return error
