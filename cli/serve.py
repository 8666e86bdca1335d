"""`audience-relay serve`: the gateway, in one process or several that share a port."""

import errno
import gc
import math
import os
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import parent_process
from multiprocessing.connection import wait
from pathlib import Path
from typing import Final

import click
import structlog
import uvicorn
from starlette.applications import Starlette
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import Multiprocess

from cli import options
from cli.access import verified
from cli.failures import Failure, told
from cli.signals import counting
from producers.clock import now_ms
from producers.gateway.app import Gateway
from producers.gateway.commit import STORE_SECONDS, WAITS
from producers.gateway.heads import BoundedHeads
from producers.gateway.metrics import FOLDER
from producers.intake import Intake
from producers.routing import Router
from worker import settings, telemetry
from worker.errors import RelayError, StoreUnavailable
from worker.settings import GatewaySettings, Settings
from worker.store.store import open_store

BACKLOG: Final = 2048
KEEP_ALIVE_SECONDS: Final = 75
"""Longer than the usual proxy keeps a connection that nothing is sent on: it, not we, should close it."""
START_SECONDS: Final = 30
"""How long one of several processes may take to start, or to answer the one that keeps them, on a busy machine."""
COLLECT_AFTER: Final = 50_000
"""Objects that were made and not freed."""
APPLICATION: Final = "cli.serve:application"

log = structlog.get_logger()


class PortTaken(RelayError):
    """Somebody else listens there."""


class NotServing(RelayError):
    """The gateway could not start."""


@click.command()
@click.option("--host", help="Where to listen. Default: as the configuration says, else 127.0.0.1.")
@click.option("--port", type=click.IntRange(0, 65535), help="0 takes a free one. Default: as configured, else 8080.")
@click.option("--workers", type=click.IntRange(1), help="How many processes. Default: as configured, else 1.")
@options.config
def serve(config: Path, host: str | None, port: int | None, workers: int | None) -> None:
    """Take source events over HTTP until Ctrl-C: Segment's API, and its signed webhook.

    A request is answered with 200 when Redis has its changes. At the end, what is in hand is answered first.
    """
    relay = settings.load(config)
    gateway = relay.gateway
    _look_at_redis(relay)
    with _listener(host or gateway.host, gateway.port if port is None else port) as listener:
        log.info("gateway.listens", url=_url(listener))
        _warn_of_closed(gateway)
        number = workers or gateway.workers
        if number == 1:
            _serve_here(relay, listener)
        else:
            _serve_beside(config, gateway, number, listener)
    log.info("gateway.ended")


def application() -> Starlette:
    """What each of several processes serves, as `$RELAY_CONFIG` says. What stands in the way is told as by `serve`."""
    telemetry.configure()
    _end_with_parent()
    try:
        with told():
            return build(settings.load(settings.default_path()))
    except Failure as failure:
        failure.show()
        sys.exit(failure.exit_code)


def build(relay: Settings) -> Starlette:
    """The gateway of a configuration, on its Redis."""
    _spare_collector()
    store = open_store(relay)
    intake = Intake(
        Router(relay.destinations), store, now_ms, waits=WAITS, max_event_bytes=relay.gateway.max_event_bytes
    )
    return Gateway(relay.gateway, intake, store, now_ms).application()


def _spare_collector() -> None:
    """What is loaded stays, and what JSON holds has no cycles: looking for them took a fifth of the time."""
    gc.freeze()
    gc.set_threshold(COLLECT_AFTER)


# ── Processes ────────────────────────────────────────────────────────────────────────────────────


def _serve_here(relay: Settings, listener: socket.socket) -> None:
    server = uvicorn.Server(_server_settings(build(relay), relay.gateway))
    with counting():  # uvicorn raises the signal that ended it once more
        signal.signal(signal.SIGHUP, server.handle_exit)
        server.run(sockets=[listener])
    if not server.started:
        raise NotServing("the gateway could not start; its log says why")


def _serve_beside(config: Path, gateway: GatewaySettings, number: int, listener: socket.socket) -> None:
    """Processes that are started again when they die; SIGHUP replaces one after the other, with a new configuration."""
    with tempfile.TemporaryDirectory(prefix="audience-relay-") as numbers:
        os.environ["RELAY_CONFIG"] = str(config.resolve())
        os.environ[FOLDER] = numbers
        beside = _Supervisor(_server_settings(APPLICATION, gateway, number), sockets=[listener])
        beside.run()
    if any(each.exitcode == STARTUP_FAILURE for each in beside.processes):
        raise NotServing("the gateway could not start; its log says why")


class _Supervisor(Multiprocess):
    """uvicorn's, which holds both ends of each pipe open, and so would wait for the answer of one that has died."""

    def keep_subprocess_alive(self) -> None:
        for process in self.processes:
            process.child_conn.close()
        super().keep_subprocess_alive()


def _server_settings(app: Starlette | str, gateway: GatewaySettings, workers: int = 1) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        factory=isinstance(app, str),
        workers=workers,
        loop="auto",
        http=BoundedHeads,
        ws="none",
        lifespan="on",
        access_log=False,
        log_config=None,
        proxy_headers=False,
        server_header=False,
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=ending_seconds(gateway),
        timeout_worker_healthcheck=START_SECONDS,
    )


def ending_seconds(gateway: GatewaySettings) -> int:
    """How long what is in hand may take at the end."""
    return math.ceil(gateway.body_seconds + STORE_SECONDS) + 1


def _end_with_parent() -> None:
    """A process whose supervisor was killed would keep the port that the next one wants."""
    parent = parent_process()
    if parent is not None:
        threading.Thread(target=_await_end, args=(parent.sentinel,), daemon=True).start()


def _await_end(sentinel: int) -> None:
    wait([sentinel])
    os.kill(os.getpid(), signal.SIGTERM)


# ── Before the start ─────────────────────────────────────────────────────────────────────────────


def _look_at_redis(relay: Settings) -> None:
    """Raise when this Redis never will do. One that is away may come: senders are told to send again."""
    try:
        store = open_store(relay)
        for warning in verified(relay, store):
            log.warning("gateway.redis", warning=warning)
        store.close()
    except StoreUnavailable as error:
        log.warning("gateway.redis", warning=str(error))


def _warn_of_closed(gateway: GatewaySettings) -> None:
    if not gateway.write_keys:
        log.warning("gateway.closed", routes="/v1", missing="gateway.write_keys")
    if gateway.webhook_secret is None:
        log.warning("gateway.closed", routes="/webhooks/segment", missing="gateway.webhook_secret")


@contextmanager
def _listener(host: str, port: int) -> Iterator[socket.socket]:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        raise PortTaken(f"{host}:{port} is taken; choose another with --port, or gateway.port") from error
    with listener:
        yield listener


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
