"""Dispatch: every worker looks for due lanes, five times a second and where one is due by then, and sends wake-ups.

It is a step of the worker with a thread and a Redis client of its own: the worker's own timers stand still
while the broker is away, and none of the workers is special. Scripts in Redis decide how many wake-ups may be
sent, so any number of workers may look at once.
"""

import math
import random
import threading
import time
import uuid
from collections.abc import Callable, Iterable
from datetime import timedelta
from functools import partial
from typing import Any, ClassVar, Final

import structlog
from celery import Celery, Task, bootsteps

from worker.edges import Edges
from worker.errors import StoreError
from worker.flush import flush_next
from worker.liveness import Liveness
from worker.tasks import DRAIN, Drains, queue_of
from worker.telemetry import place_of

PERIOD_SECONDS: Final = 0.2
SHORTEST_SECONDS: Final = 0.02
"""Between two looks, however soon the next lane is due."""
TIDY_SECONDS: Final = 60.0
CLAIM_MS: Final = 10_000
"""How long a wake-up may be on its way before another is sent in its place."""

FORGET_SECONDS: Final = 3600
"""When the broker may forget a wake-up. Whether it is still wanted its claim says, on the clock of Redis alone."""

log = structlog.get_logger()


class Dispatch(bootsteps.StartStopStep):
    """The bootstep; `attach` makes it part of an application's workers."""

    requires = ("celery.worker.components:Pool",)
    drains: ClassVar[Drains]
    liveness: ClassVar[Liveness]

    def __init__(self, worker: Any, **options: Any) -> None:
        super().__init__(worker, **options)
        self._thread: Dispatcher | None = None

    @classmethod
    def attach(cls, app: "Celery[Task[Any, Any]]", drains: Drains, liveness: Liveness) -> None:
        step = type("Dispatch", (cls,), {"drains": drains, "liveness": liveness, "name": "dispatch"})
        app.steps["worker"].add(step)

    def start(self, worker: Any) -> None:
        self.drains.open()
        publish = partial(_publish, worker.app)
        self._thread = Dispatcher(self.drains, publish, self.liveness)
        self._thread.start()

    def stop(self, worker: Any) -> None:
        del worker
        self.drains.stop()
        if self._thread is not None:
            self._thread.join()


def _publish(app: "Celery[Task[Any, Any]]", destination: str, claim: str) -> None:
    app.send_task(
        DRAIN,
        args=[destination],
        task_id=claim,
        queue=queue_of(destination),
        expires=FORGET_SECONDS,
        retry=False,
    )


def _next_sweep() -> float:
    """Workers that were started together do not look together, but all of them when a lane is due."""
    return time.monotonic() + PERIOD_SECONDS * random.uniform(0.75, 1.25)  # noqa: S311 - jitter


class Dispatcher(threading.Thread):
    """Looks at all destinations in sweeps, and in between at those where a lane is due, until the worker stops."""

    def __init__(self, drains: Drains, publish: Callable[[str, str], None], liveness: Liveness) -> None:
        super().__init__(name="dispatch", daemon=True)
        self._drains = drains
        self._publish = publish
        self._liveness = liveness
        self._interrupted = False
        self._order = list(drains.edges)
        self._look_at: dict[str, float] = {}
        """When a lane of a destination will be due; this and what follows by the clock of this machine."""
        self._sweep_at = _next_sweep()
        self._paused_until = 0.0

    def run(self) -> None:
        tidied_at = -math.inf
        while not self._drains.stopping.wait(self._pause()):
            self._liveness.touch("dispatch")
            self._each(self._due(), self._wake)
            if time.monotonic() - tidied_at > TIDY_SECONDS:
                tidied_at = time.monotonic()
                self._each(self._order, self._tidy)

    def _pause(self) -> float:
        """Seconds until there is something to look at."""
        now = time.monotonic()
        self._paused_until = max(now + SHORTEST_SECONDS, min([self._sweep_at, *self._look_at.values()]))
        return self._paused_until - now

    def _due(self) -> list[str]:
        """The destinations to look at after a pause."""
        if self._paused_until < self._sweep_at:
            return [name for name in self._order if self._look_at.get(name, math.inf) <= self._paused_until]
        self._sweep_at = _next_sweep()
        return list(self._order)

    def _each(self, names: Iterable[str], look: Callable[[str, Edges], None]) -> None:
        for name in tuple(names):
            try:
                look(name, self._drains.edges[name])
            except StoreError as failure:
                if not self._interrupted:
                    log.warning("dispatch.interrupted", destination=name, reason=str(failure))
                self._interrupted = True
                self._look_last(name)
                self._look_at.clear()
                return
            except Exception as fault:  # noqa: BLE001 - the thread must not die; the next sweep tries again
                log.warning("dispatch.failed", destination=name, reason=place_of(fault))
        if self._interrupted:
            log.info("dispatch.resumed")
            self._interrupted = False

    def _look_last(self, name: str) -> None:
        """The others may lie on another node of a cluster, which has not failed."""
        self._order.remove(name)
        self._order.append(name)

    def _wake(self, name: str, edges: Edges) -> None:
        granted = edges.limits.conversations(edges.destination.requests_a_batch)
        claims = [uuid.uuid4().hex for _ in range(min(granted, edges.schedule.max_in_flight))]
        woken = edges.lanes.wake(edges.schedule, claims, CLAIM_MS)
        self._look_at.pop(name, None)
        if woken.next_ms is not None:
            self._look_at[name] = time.monotonic() + woken.next_ms / 1000
        for claim in woken.claims:
            try:
                self._publish(name, claim)
            except Exception as failure:  # noqa: BLE001 - brokers fail in many ways, and the lanes must drain in all
                log.warning("dispatch.publish_failed", destination=name, reason=type(failure).__name__)
                edges.lanes.finish(claim)
                self._liveness.touch("dispatch")  # a flush may take as long as its vendor
                flush_next(edges)

    def _tidy(self, name: str, _edges: Edges) -> None:
        kept = self._drains.settings.destination(name).dead_letters
        expired = self._drains.store.dead_letters(name).expire(timedelta(days=kept.max_age_days), kept.max_count)
        if expired:
            log.warning("dead_letters.expired", destination=name, count=expired)
