"""The one task, `drain`: flush due lanes of a destination, one after another."""

import math
import threading
import time
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import structlog

from worker.delivery import open_client
from worker.edges import Edges, open_edges
from worker.errors import ConfigurationError, NotYet, StoreError
from worker.flush import flush_next
from worker.settings import Settings
from worker.store.store import Store, open_store

if TYPE_CHECKING:
    from celery import Celery, Task

DRAIN: Final = "relay.drain"
SLICE_SECONDS: Final = 5.0
"""How long one wake-up may go on leasing lanes, so that destinations take turns in a worker's slots."""
RUNNING_MS: Final = 30_000
"""How long a running wake-up keeps its claim; it renews it for each lane and gives it back when it ends."""
STOP_SECONDS: Final = 5.0
"""How long a stopping worker begins requests for the batch in hand; the last may take its deadline more."""

log = structlog.get_logger()


def queue_of(destination: str) -> str:
    """The Celery queue of a destination: workers may be pinned to some."""
    return f"drain.{destination}"


class Drains:
    """The edges of every destination, opened when the worker first needs them, and what is done with them."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.stopping = threading.Event()
        self._stops_at = math.inf

    def open(self) -> None:
        """Make the clients, after any fork and before threads ask for them, and look whether this Redis will do."""
        try:
            for warning in self.store.verify():
                log.warning("redis.unfit", reason=warning)
        except (ConfigurationError, StoreError) as failure:
            log.error("redis.unusable", reason=str(failure))  # noqa: TRY400 - the text says it all
        log.info("worker.ready", destinations=sorted(self.edges))

    @cached_property
    def store(self) -> Store:
        return open_store(self.settings)

    @cached_property
    def edges(self) -> dict[str, Edges]:
        client = open_client()
        return {
            each.name: open_edges(each, self.store, client, self._may_send, self.stopping.wait)
            for each in self.settings.destinations
        }

    def register(self, app: "Celery[Task[Any, Any]]") -> None:
        """Make `drain` a task of the application."""

        @app.task(bind=True, name=DRAIN, ignore_result=True)
        def drain(task: "Task[Any, Any]", destination: str) -> dict[str, float]:
            return self.drain(destination, str(task.request.id))

    def drain(self, destination: str, claim: str) -> dict[str, float]:
        """Carry out a wake-up, unless its claim has run out. Returns what flower shows of it."""
        started = time.monotonic()
        lanes = changes = 0
        try:
            edges = self.edges[destination]
            if edges.lanes.begin(claim, RUNNING_MS):
                try:
                    lanes, changes = self._flush_due(edges, claim, started)
                finally:
                    edges.lanes.finish(claim)
        except StoreError as failure:
            log.warning("drain.interrupted", destination=destination, reason=str(failure))
        return {"lanes": lanes, "changes": changes, "seconds": round(time.monotonic() - started, 3)}

    def stop(self) -> None:
        """Begin no further flush; one that is under way may send requests for a little longer."""
        self._stops_at = time.monotonic() + STOP_SECONDS
        self.stopping.set()

    def _may_send(self) -> None:
        if time.monotonic() > self._stops_at:
            raise NotYet("the worker stops")

    def _flush_due(self, edges: Edges, claim: str, started: float) -> tuple[int, int]:
        lanes = changes = 0
        while not self.stopping.is_set() and time.monotonic() - started < SLICE_SECONDS:
            edges.lanes.begin(claim, RUNNING_MS)
            flushed = flush_next(edges)
            if flushed is None:
                break
            lanes += 1
            changes += flushed.changes
        return lanes, changes
