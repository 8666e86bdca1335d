"""What a measurement runs on: a Redis of its own, the sink, and workers, each a process; all ended with it."""

import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import msgspec
from redis import Redis

from bench.figures import NotMeasured
from bench.membership import Memberships, amendments, differences, received, recorded
from bench.sink import Tally
from cli.embedded import EmbeddedRedis
from producers.clock import now_ms
from producers.intake import Intake
from producers.routing import Router
from worker.settings import Settings, load
from worker.store.connection import connect
from worker.store.store import Store, open_store

ROOT: Final = Path(__file__).resolve().parents[1]
KINDS: Final = ("criteo", "taboola", "stackadapt")
END_SECONDS: Final = 40
_TABLES: Final = {
    "criteo": 'api_url = "{url}/criteo"\nadvertiser_id = "4711"\nclient_id = "relay"\nclient_secret = "secret"\n'
    "calls_per_minute = 1_000_000\n",  # the sink takes any number; at the published 250 the vendor alone is measured
    "taboola": 'api_url = "{url}/taboola"\naccount_id = "my-account"\nclient_id = "relay"\nclient_secret = "secret"\n',
    "stackadapt": 'api_url = "{url}/stackadapt/graphql"\nadvertiser_id = "2029"\napi_token = "token"\n',
}


def destination(kind: str, *, audiences: str = "*", max_age_seconds: float = 0.0) -> str:
    """A destination of that kind and name, in TOML; the `{url}` in it stands for the sink's."""
    head = f'[[destinations]]\nname = "{kind}"\nkind = "{kind}"\naudiences = ["{audiences}"]\n'
    return f"{head}{_TABLES[kind]}[destinations.batch]\nmax_age_seconds = {max_age_seconds}\n"


@dataclass(slots=True)
class Rig:
    """A relay that runs, but for its workers."""

    folder: Path
    settings: Settings
    store: Store
    redis: Redis
    sink_url: str
    record: Path | None
    workers: list["subprocess.Popen[bytes]"] = field(default_factory=list)

    @property
    def environment(self) -> dict[str, str]:
        return os.environ | {"RELAY_CONFIG": str(self.folder / "relay.toml")}

    def start_worker(self) -> "subprocess.Popen[bytes]":
        """A worker that is ready when this returns."""
        name = f"w{len(self.workers)}"
        command = [sys.executable, "-m", "celery", "-A", "worker.app", "worker", "--loglevel", "info"]
        options = ["--without-gossip", "--without-mingle", "-n", f"{name}@bench"]
        log = self.folder / f"{name}.log"
        with log.open("wb") as output:
            worker = subprocess.Popen([*command, *options], env=self.environment, stdout=output, stderr=output)
        self.workers.append(worker)
        wait_until(lambda: b" ready." in log.read_bytes(), within=60)
        return worker

    def intake(self) -> Intake:
        return Intake(Router(self.settings.destinations), self.store, now_ms)

    def fill(self, source_events: Iterable[bytes]) -> int:
        """Take them in, while nothing is drained; returns how many changes wait then."""
        for each in self.settings.destinations:
            self.store.lanes(each.name).hold_by_hand(None, "bench")
        report = self.intake().accept_many(source_events)
        if report.refused:
            raise NotMeasured(f"events were refused: {dict(report.refused)}")
        return report.changes.total()

    def release(self) -> None:
        for each in self.settings.destinations:
            self.store.lanes(each.name).release(None)

    def waiting(self) -> int:
        statuses = [self.store.lanes(each.name).status(0) for each in self.settings.destinations]
        return sum(each.counters["waiting"] for each in statuses)

    def accepted(self) -> int:
        statuses = [self.store.lanes(each.name).status(0) for each in self.settings.destinations]
        return sum(each.counters["accepted"] for each in statuses)

    def await_drained(self, *, within: float = 600.0) -> None:
        wait_until(lambda: self.waiting() == 0, within=within)

    def tally(self) -> Tally:
        return tally_of(self.sink_url)

    def expect_identifiers(self, number: int) -> None:
        """Raise `NotMeasured` unless the sink was sent so many."""
        found = self.tally().identifiers
        if found != number:
            raise NotMeasured(f"the sink was sent {found} identifiers, not {number}")

    def expect_memberships(self, wanted: Memberships) -> None:
        """Raise `NotMeasured` unless the sink, which has to record, was sent exactly these."""
        if self.record is None:
            raise TypeError("the sink does not record")
        wrong = differences(received(amendments(recorded(self.record))), wanted)
        if wrong:
            raise NotMeasured(f"{wrong} memberships at the sink are not as the events say")


@contextmanager
def rig(folder: Path, destinations: Sequence[str], *, record: bool = False, gateway: str = "") -> Iterator[Rig]:
    """A rig with these destinations (see `destination`) in a folder of its own below this one."""
    with ExitStack() as stack:
        own = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=folder)))
        kept = own / "requests" if record else None
        url = stack.enter_context(sink(kept))
        (own / "relay.toml").write_text(gateway + "".join(destinations).replace("{url}", url))
        redis = stack.enter_context(EmbeddedRedis(own / ".relay"))
        settings = load(own / "relay.toml")
        client = stack.enter_context(connect(redis.url))
        store = stack.enter_context(closing(open_store(settings)))
        made = Rig(own, settings, store, client, url, kept)
        stack.callback(lambda: end(made.workers))
        yield made


@contextmanager
def sink(record: Path | None = None) -> Iterator[str]:
    """The sink in a process of its own; its URL."""
    command = [sys.executable, "-m", "bench.sink", *([str(record)] if record else [])]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        port = process.stdout.readline().strip() if process.stdout else ""
        if not port:
            raise NotMeasured("the sink does not start")
        yield f"http://127.0.0.1:{port}"
    finally:
        end([process])


def tally_of(sink_url: str) -> Tally:
    with urllib.request.urlopen(f"{sink_url}/tally", timeout=30) as answer:
        return msgspec.json.decode(answer.read(), type=Tally)


def end(processes: Iterable["subprocess.Popen[bytes] | subprocess.Popen[str]"]) -> None:
    """Let each finish; kill what does not."""
    running = list(processes)
    for each in running:
        each.terminate()
    for each in running:
        try:
            each.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            each.kill()
            each.wait()
        if each.stdout is not None:
            each.stdout.close()


def wait_until(fact: Callable[[], bool], *, within: float) -> None:
    """Return within 10 ms of when the fact holds. Raises `NotMeasured` when that takes too long."""
    deadline = time.monotonic() + within
    while not fact():
        if time.monotonic() > deadline:
            raise NotMeasured(f"not within {within:.0f} s")
        time.sleep(0.01)
