"""Whether a worker lives, as the age of two files: one touched by its consumer, one by its dispatch.

`celery inspect ping` cannot tell: it rides a connection that may hang while the worker works, or answer while the
worker consumes nothing.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal

from celery import bootsteps

if TYPE_CHECKING:
    from celery import Celery, Task

TOUCH_SECONDS: Final = 5.0


class Liveness:
    """Touches `<path>.consumer` and `<path>.dispatch`; without a path, nothing."""

    def __init__(self, path: Path | None) -> None:
        self._path = path

    def touch(self, who: Literal["consumer", "dispatch"]) -> None:
        if self._path is not None:
            self._path.with_name(f"{self._path.name}.{who}").touch()


class ConsumerIsAlive(bootsteps.StartStopStep):
    """A step of the consumer: it is stopped and started again with each connection to the broker."""

    requires = ("celery.worker.consumer.tasks:Tasks",)

    liveness: ClassVar[Liveness]

    def __init__(self, consumer: Any, **options: Any) -> None:
        super().__init__(consumer, **options)
        self._timer: Any = None

    @classmethod
    def attach(cls, app: "Celery[Task[Any, Any]]", liveness: Liveness) -> None:
        step = type("ConsumerIsAlive", (cls,), {"liveness": liveness, "name": "consumer-is-alive"})
        app.steps["consumer"].add(step)

    def start(self, consumer: Any) -> None:
        self.liveness.touch("consumer")
        self._timer = consumer.timer.call_repeatedly(TOUCH_SECONDS, self.liveness.touch, ("consumer",))

    def stop(self, consumer: Any) -> None:
        del consumer
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
