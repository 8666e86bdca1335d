"""What a demo runs on: everything is made for one run, in one folder, and is gone after it."""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import click

from cli import overview
from cli.embedded import EmbeddedRedis
from cli.failures import Failure
from cli.overview import Overview
from cli.processes import GRACE_SECONDS
from sandbox.app import Sandbox
from sandbox.server import serve
from worker.settings import Settings, load
from worker.store.connection import socket_path
from worker.store.store import Store, open_store

WORKERS: Final = 2
LOG_LINES: Final = 12


@dataclass(frozen=True, slots=True)
class Worker:
    """A Celery worker of this demo, and where its log goes."""

    name: str
    process: "subprocess.Popen[bytes]"
    log: Path


@dataclass(frozen=True, slots=True)
class Stage:
    """A relay that runs, and the vendors it delivers to."""

    folder: Path
    settings: Settings
    store: Store
    sandbox: Sandbox
    workers: Sequence[Worker]

    def look(self) -> list[Overview]:
        """How each destination stands now. Raises `Failure` when a worker has ended."""
        expect_alive(self.workers)
        return overview.read(self.settings, self.store)


@contextmanager
def folder_of_its_own(*, keep: bool) -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="relay-demo-")).resolve()
    try:
        yield folder
    finally:
        if not keep:
            shutil.rmtree(folder)


@contextmanager
def stage(folder: Path) -> Iterator[Stage]:
    """Starts Redis, the sandbox and the workers; ends them in the opposite order."""
    sandbox = Sandbox()
    with _redis(folder / "redis") as redis, serve(sandbox) as server:
        settings = _configured(folder / "relay.toml", redis.url, server.url)
        with closing(open_store(settings)) as store, _workers(folder) as workers:
            yield Stage(folder, settings, store, sandbox, workers)


def expect_alive(workers: Sequence[Worker]) -> None:
    """Raises `Failure`, with the end of its log, when a worker has ended."""
    for worker in workers:
        code = worker.process.poll()
        if code is not None:
            last = worker.log.read_text(errors="replace").splitlines()[-LOG_LINES:]
            raise Failure("\n  ".join([f"worker {worker.name} ended early, with code {code}; its log ends:", *last]))


@contextmanager
def _redis(folder: Path) -> Iterator[EmbeddedRedis]:
    """A Redis of its own; a socket that has to lie elsewhere, where paths are long, goes with it."""
    try:
        with EmbeddedRedis(folder) as redis:
            yield redis
    finally:
        elsewhere = socket_path(folder).parent
        if elsewhere != folder:
            shutil.rmtree(elsewhere, ignore_errors=True)


# ── Configuration ────────────────────────────────────────────────────────────────────────────────

RELAY_TOML: Final = """\
[redis]
url = "{redis}"

[[destinations]]
name = "criteo"
kind = "criteo"
api_url = "{vendors}/criteo"
advertiser_id = "4711"
client_id = "demo"
client_secret = "demo"
batch = {{ max_age_seconds = 1.0 }}

[[destinations]]
name = "taboola"
kind = "taboola"
api_url = "{vendors}/taboola"
client_id = "demo"
client_secret = "demo"
account_id = "demo-account"
batch = {{ max_age_seconds = 1.0 }}

[[destinations]]
name = "stackadapt"
kind = "stackadapt"
api_url = "{vendors}/stackadapt/graphql"
api_token = "demo"
advertiser_id = "2029"
properties = [{{ name = "plan", type = "STRING", path = "traits.plan" }}]
batch = {{ max_age_seconds = 1.0 }}
"""


def _configured(path: Path, redis_url: str, vendors_url: str) -> Settings:
    path.write_text(RELAY_TOML.format(redis=redis_url, vendors=vendors_url), encoding="utf-8")
    return load(path)


# ── Workers ──────────────────────────────────────────────────────────────────────────────────────


@contextmanager
def _workers(folder: Path) -> Iterator[Sequence[Worker]]:
    workers: list[Worker] = []
    try:
        for number in range(1, WORKERS + 1):
            workers.append(_start(f"demo{number}", folder))  # noqa: PERF401 - one by one, so that those started are ended
        yield workers
    finally:
        _end(workers)


def _start(name: str, folder: Path) -> Worker:
    """In a session of its own: Ctrl-C in the terminal then reaches the demo alone, which ends things in order."""
    log = folder / f"{name}.log"
    options = ["--pool", "threads", "--concurrency", "4", "--without-gossip", "--without-mingle", "-n", f"{name}@%h"]
    with log.open("wb") as stream:
        process = subprocess.Popen(  # noqa: S603 - this very Python, with our own arguments
            [sys.executable, "-m", "celery", "-A", "worker.app", "worker", *options],
            cwd=folder,
            env=os.environ | {"RELAY_CONFIG": str(folder / "relay.toml")},
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=stream,
            start_new_session=True,
        )
    return Worker(name, process, log)


def _end(workers: Sequence[Worker]) -> None:
    """Let each finish what it is sending. Kill those that do not end; all, when somebody is impatient."""
    deadline = time.monotonic() + GRACE_SECONDS
    try:
        for worker in workers:
            worker.process.terminate()
        for worker in workers:
            worker.process.wait(max(0.0, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        click.echo("a worker did not end in time; it is killed", err=True)
    finally:
        for worker in workers:
            worker.process.kill()
            worker.process.wait()
