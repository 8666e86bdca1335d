"""The Celery application: `celery -A worker.app worker`.

Celery carries only wake-ups. The settings are those that were measured to survive what Redis can do to a
worker: restarts, half-open connections, fail-over, a full server.
"""

import os
from functools import cache
from pathlib import Path
from typing import Any, Final

from celery import Celery, Task
from celery.worker.control import inspect_command
from kombu import Exchange, Queue

from worker import telemetry
from worker.dispatch import Dispatch
from worker.errors import ConfigurationError
from worker.liveness import ConsumerIsAlive, Liveness
from worker.settings import Settings, default_path, load
from worker.store.connection import broker_form
from worker.tasks import Drains, queue_of

TRANSPORT: Final[dict[str, Any]] = {
    "socket_timeout": 10,
    "socket_connect_timeout": 5,
    "socket_keepalive": True,
    "health_check_interval": 10,
    "visibility_timeout": 300,
    "unacked_restore_interval": 10,
    "unacked_restore_throttle": 1,
    "global_keyprefix": "relay:celery:",
    "max_retries": 0,
}
"""Without a socket's timeout a half-open connection hangs a worker for good. A wake-up is sent once: kombu would try
to reach RabbitMQ for six seconds, in which dispatch drains many lanes itself."""

CELERY: Final[dict[str, Any]] = {
    "broker_connection_retry_on_startup": True,
    "broker_connection_max_retries": None,
    "broker_channel_error_retry": True,
    "task_serializer": "json",
    "accept_content": ["json"],
    "event_serializer": "json",
    "result_backend": None,
    "task_ignore_result": True,
    "task_create_missing_queues": False,
    "task_default_exchange": "relay",
    "worker_pool": "threads",
    "worker_prefetch_multiplier": 1,
    "worker_send_task_events": True,
    "worker_hijack_root_logger": False,
    "worker_redirect_stdouts": False,
    "worker_cancel_long_running_tasks_on_connection_loss": False,
    "enable_utc": True,
}


def make_app(settings: Settings, liveness: Path | None = None) -> "Celery[Task[Any, Any]]":
    """An application for a configuration. Workers started from it drain all of its destinations.

    `liveness`: where its workers show that they live (see `worker.liveness`).
    """
    app: Celery[Task[Any, Any]] = Celery("audience-relay", set_as_current=False)
    broker = broker_form(settings)
    app.conf.update(
        **CELERY,
        broker_url=broker.url,
        broker_transport_options={**TRANSPORT, **broker.transport_options},
        broker_use_ssl=broker.use_ssl or False,
        task_default_queue=queue_of(settings.destinations[0].name),
        task_queues=[_queue(each.name) for each in settings.destinations],
        worker_concurrency=_slots(settings),
    )
    drains = Drains(settings)
    drains.register(app)
    alive = Liveness(liveness)
    Dispatch.attach(app, drains, alive)
    ConsumerIsAlive.attach(app, alive)
    return app


def _slots(settings: Settings) -> int:
    """So many threads that a destination whose requests all time out takes none from the others."""
    return min(64, 2 + sum(each.max_in_flight for each in settings.destinations))


def _queue(destination: str) -> Queue:
    name = queue_of(destination)
    return Queue(name, Exchange("relay", type="direct"), routing_key=name)


@cache
def _from_environment() -> "Celery[Task[Any, Any]]":
    telemetry.configure()
    liveness = os.environ.get("RELAY_LIVENESS_FILE")
    try:
        settings = load(default_path())
    except ConfigurationError as error:
        raise SystemExit(str(error)) from None
    return make_app(settings, Path(liveness) if liveness else None)


@inspect_command()
def stats(state: Any) -> dict[str, Any]:
    """What flower asks of a worker. Celery's own answer holds the broker's options, with a Sentinel's password."""
    found: dict[str, Any] = state.consumer.controller.stats()
    for secretive in ("transport_options", "alternates"):
        found.get("broker", {}).pop(secretive, None)
    return found


def __getattr__(name: str) -> "Celery[Task[Any, Any]]":
    """`app`, made when it is first asked for: importing this module reads no file."""
    if name in {"app", "celery"}:
        return _from_environment()
    raise AttributeError(name)
