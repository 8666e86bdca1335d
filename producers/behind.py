"""One job after another, done by a thread of its own while the caller prepares the next."""

from collections.abc import Callable
from queue import Empty, SimpleQueue
from threading import Thread
from types import TracebackType
from typing import Final, Self

GRACE_SECONDS: Final = 1.0
"""How long a job in hand may go on when the caller is interrupted; it goes on alone after that."""

Job = Callable[[], object]


class Behind:
    """Does jobs in their order, one at a time; the caller is at most one ahead.

    What a job raises is raised by the next call. At the end of `with` all is done, also after an error, since that may
    not hide what a job raises; who is interrupted only grants the job in hand a moment.
    """

    def __init__(self) -> None:
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._outcomes: SimpleQueue[BaseException | None] = SimpleQueue()
        self._thread: Thread | None = None
        self._busy = False

    def do(self, job: Job) -> None:
        """Begin a job when the one before it is done. Raises what that one raised."""
        self.wait()
        if self._thread is None:
            self._thread = Thread(target=self._run, name="behind", daemon=True)  # what waits for Redis keeps nobody
            self._thread.start()
        self._busy = True
        self._jobs.put(job)

    def wait(self) -> None:
        """Return when nothing is left to do. Raises what the last job raised."""
        if self._busy:
            outcome = self._outcomes.get()
            self._busy = False
            if outcome is not None:
                raise outcome

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None or isinstance(error, Exception):
                self.wait()
            else:
                self._grant_a_moment()
        finally:
            self._jobs.put(None)

    def _grant_a_moment(self) -> None:
        if self._busy:
            try:
                self._outcomes.get(timeout=GRACE_SECONDS)
            except Empty:
                return

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            try:
                job()
            except BaseException as error:  # noqa: BLE001 - it is raised where the job was given
                self._outcomes.put(error)
            else:
                self._outcomes.put(None)
