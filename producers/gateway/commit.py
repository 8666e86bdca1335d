"""What requests sent, stored together: one append for each lane of all that wait at that moment.

A thread of its own appends while the loop goes on reading; the more requests come, the more of them it finds waiting
and takes along. A lane without room fails only the requests that have changes for it; and where it has room for some
of them, only those for which it has none.

A request that is told to come again may be stored all the same, wholly or in part: one of its lanes may be full, or
its time may be over while Redis works. Sent again, what is there is known by its `messageId`.
"""

import asyncio
import threading
from asyncio import AbstractEventLoop, Future
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Final, Protocol

import structlog

from producers.gateway.answers import Later
from producers.gateway.metrics import Metrics
from producers.intake import Chunk, Intake, Report
from worker.contract import LaneKey
from worker.errors import RelayError, StoreError, StoreFull

STORE_SECONDS: Final = 5.0
"""After which a request is told to come again."""
WAITS: Final = (0.1, 0.3, 0.9)
"""Seconds before each repetition when the store is away."""
MOST_WAITING: Final = 1_000
"""So many requests may wait; more are told at once to come again."""
MOST_TOGETHER: Final = 5_000
"""Source events that are stored together, more or less."""

log = structlog.get_logger()


class Probe(Protocol):
    def expect_room(self) -> None:
        """Raise `StoreUnavailable` or `StoreFull` when an append would now be refused, whatever its destination."""


@dataclass(slots=True, eq=False)
class _Request:
    """Somebody waits until this chunk is stored. An empty one asks whether there is room."""

    chunk: Chunk
    done: "Future[None]"
    failure: Exception | None = None


class GroupCommit:
    """Between `start`, in the loop that asks, and `stop`."""

    def __init__(self, intake: Intake, probe: Probe, metrics: Metrics, seconds: float = STORE_SECONDS) -> None:
        self._intake = intake
        self._probe = probe
        self._metrics = metrics
        self._seconds = seconds
        self._waiting: SimpleQueue[_Request | None] = SimpleQueue()
        self._loop: AbstractEventLoop | None = None
        self._thread = threading.Thread()
        self._trouble = ""

    def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._run, name="append", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """When no request waits any more. A thread that Redis does not answer is left behind."""
        self._waiting.put(None)
        self._thread.join(timeout=1.0)

    async def store(self, chunk: Chunk) -> None:
        """Return when Redis has the changes, and what was refused is counted. Raises `Later`."""
        await self._outcome(chunk, self._seconds)

    async def expect_room(self, seconds: float) -> None:
        """Raise `Later` when no changes would be taken now, or not in time."""
        await self._outcome(Chunk(), seconds)

    async def _outcome(self, chunk: Chunk, seconds: float) -> None:
        if self._waiting.qsize() >= MOST_WAITING:
            raise Later("overloaded", "too many requests at once; send this one again")
        done = asyncio.get_running_loop().create_future()
        self._waiting.put(_Request(chunk, done))
        try:
            async with asyncio.timeout(seconds):
                await done
        except TimeoutError:
            raise Later("unavailable", "Redis does not answer in time; send this again") from None
        except StoreFull:
            raise Later("full", "there is no room for more changes; send this again") from None
        except RelayError:
            raise Later("unavailable", "Redis takes no changes now; send this again") from None

    # ── The thread ───────────────────────────────────────────────────────────────────────────────

    def _run(self) -> None:
        while (first := self._waiting.get()) is not None:
            group = [each for each in self._with_following(first) if not each.done.done()]
            if group:
                self._settle(group)

    def _with_following(self, first: _Request) -> list[_Request]:
        group, events = [first], first.chunk.read
        while events < MOST_TOGETHER:
            try:
                following = self._waiting.get_nowait()
            except Empty:
                break
            if following is None:
                self._waiting.put(None)
                break
            group.append(following)
            events += following.chunk.read
        return group

    def _settle(self, group: Sequence[_Request]) -> None:
        try:
            self._persist(group)
        except RelayError as error:
            self._note(error)
            for each in group:
                each.failure = error
        except Exception as fault:  # noqa: BLE001 - one request must not take others with it, nor end the thread
            if len(group) > 1:
                for each in group:
                    self._settle([each])
                return
            group[0].failure = fault
        self._answer(group)

    def _persist(self, group: Sequence[_Request]) -> None:
        if any(not each.chunk.read for each in group):
            self._probe.expect_room()
        full = dict[LaneKey, tuple[int, StoreFull]]()
        report = Report()
        whole = Chunk.joined(each.chunk for each in group)
        self._intake.append(whole, report, on_full=lambda lane, *told: full.update({lane: told}))
        if full:
            self._append_singly(group, full, report)
        self._note(next((each.failure for each in group if isinstance(each.failure, StoreFull)), None))
        self._count(Chunk.joined(each.chunk for each in group if each.failure is None), report)

    def _append_singly(
        self, group: Sequence[_Request], full: Mapping[LaneKey, tuple[int, StoreFull]], report: Report
    ) -> None:
        """Where there was no room for the changes of all, each request for itself, in their order.

        A request that also asks to forget somebody fails: that is stored, and what it had before that would come after.
        """
        there = {lane: first for lane, (first, _) in full.items()}
        alone: list[tuple[_Request, Chunk]] = []
        for each in group:
            rest = _rest(each.chunk, there)
            each.failure = next((full[lane][1] for lane in rest.lanes), None)
            if rest.lanes and not each.chunk.before and len(group) > 1:
                alone.append((each, rest))
        outcomes = self._intake.append_singly([rest for _, rest in alone], report)
        for (each, _), failure in zip(alone, outcomes, strict=True):
            each.failure = failure

    def _count(self, chunk: Chunk, report: Report) -> None:
        """Counts that are lost are no reason to send the events again."""
        try:
            self._intake.count(chunk, report)
        except StoreError as error:
            self._note(error)
        self._metrics.note_stored(report)

    def _note(self, error: RelayError | None) -> None:
        """Log when trouble begins and ends, not for each request."""
        trouble = "" if error is None else type(error).__name__
        if trouble != self._trouble:
            self._trouble = trouble
            if error is None:
                log.info("gateway.stores_again")
            else:
                log.warning("gateway.stores_not", reason=trouble, detail=str(error))

    def _answer(self, group: Sequence[_Request]) -> None:
        if self._loop is not None:
            with suppress(RuntimeError):  # the loop has ended; nobody waits
                self._loop.call_soon_threadsafe(_release, group)


def _rest(chunk: Chunk, there: dict[LaneKey, int]) -> Chunk:
    """What a request has for lanes without room, but for what they have of it; takes that off `there`."""
    rest = Chunk()
    for part in chunk.parts:
        for lane in part.keys() & there.keys():
            stored = min(there[lane], len(part[lane]))
            there[lane] -= stored
            if part[lane][stored:]:
                rest.lanes[lane] += part[lane][stored:]
    return rest


def _release(group: Sequence[_Request]) -> None:
    for each in group:
        if each.done.done():
            continue
        if each.failure is None:
            each.done.set_result(None)
        else:
            each.done.set_exception(each.failure)
