"""Gateway: single events and batches of 100 over HTTP, one process, driven by `wrk` from outside."""

import base64
import shutil
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http import HTTPStatus
from pathlib import Path
from typing import Final

import msgspec

from bench.figures import Figure, NotMeasured, Plan, Skipped
from bench.rig import Rig, destination, end, rig, wait_until

KEY: Final = "bench"
SECONDS: Final = 6.0
TIMES: Final = 3
CONNECTIONS: Final = 32
BATCH: Final = 100
SCRIPT: Final = Path(__file__).with_name("wrk.lua")
FORMS: Final = (("single", "/v1/track", 1), ("batch", "/v1/batch", BATCH))


class Driven(msgspec.Struct):
    """What the script tells in the end; times in ms."""

    requests: int
    seconds: float
    errors: int
    p50: float
    p99: float


def measure(plan: Plan) -> Iterator[Figure | Skipped]:
    wrk = shutil.which("wrk")
    if wrk is None:
        yield Skipped("gateway", "wrk is not here; install it (Debian: apt-get install wrk)")
        return
    for name, path, events in FORMS:
        runs = [_drive(plan, wrk, path, events) for _ in range(TIMES)]
        measured_on = (
            f"POST {path} of {events} event{'s' if events > 1 else ''}, every event another person; wrk with "
            f"{CONNECTIONS} connections and one thread; one gateway process, one criteo destination; only 200s"
        )
        rates = tuple(each.requests * events / each.seconds for each in runs)
        yield Figure(f"gateway.{name}", f"Gateway, {name} events", "events/s", rates, measured_on)
        for which, times in (("p50", [each.p50 for each in runs]), ("p99", [each.p99 for each in runs])):
            title = f"Gateway, answer to {name} events, {which}"
            yield Figure(f"gateway.{name}.{which}", title, "ms", tuple(times), measured_on, "less")


def _drive(plan: Plan, wrk: str, path: str, events: int) -> Driven:
    configuration = f'[gateway]\nwrite_keys = ["{KEY}"]\n'
    with rig(plan.folder, [destination("criteo")], gateway=configuration) as made, _gateway(made) as url:
        options = ["-t1", f"-c{CONNECTIONS}", f"-d{plan.seconds(SECONDS):.0f}s", "-s", str(SCRIPT)]
        authorization = base64.b64encode(f"{KEY}:".encode()).decode()
        command = [wrk, *options, url + path, "--", str(events), authorization]
        done = subprocess.run(command, capture_output=True, check=False)
        if done.returncode:
            raise NotMeasured(f"wrk failed: {done.stderr.decode()[-500:]}")
        driven = msgspec.json.decode(done.stdout.splitlines()[-1], type=Driven)
        _expect_taken(made, driven, events)
        return driven


def _expect_taken(made: Rig, driven: Driven, events: int) -> None:
    """All that was answered is in Redis; beside it only what was under way at the end."""
    if driven.errors:
        raise NotMeasured(f"{driven.errors} answers were no 200")
    beside = made.accepted() - driven.requests * events
    if not 0 <= beside <= CONNECTIONS * events:
        raise NotMeasured(f"{beside} changes more in Redis than were answered for")


@contextmanager
def _gateway(made: Rig) -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [str(Path(sys.executable).with_name("audience-relay")), "serve", "--port", str(port)]
    with (made.folder / "gateway.log").open("wb") as log:
        process = subprocess.Popen(command, env=made.environment, stdout=log, stderr=log)
    url = f"http://127.0.0.1:{port}"
    try:
        wait_until(lambda: _is_ready(url), within=30)
        yield url
    finally:
        end([process])


def _is_ready(url: str) -> bool:
    with suppress(OSError), urllib.request.urlopen(f"{url}/readyz", timeout=5) as answer:
        return bool(answer.status == HTTPStatus.OK)
    return False
