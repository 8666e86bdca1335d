"""`audience-relay up`: everything starts, works, heals, and ends in order without leaving a process behind."""

import base64
import os
import signal
import socket
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cli.embedded import EmbeddedRedis
from sandbox.app import Sandbox
from sandbox.server import serve
from tests.acceptance.conftest import CONFIGURATION, Fleet
from tests.acceptance.test_commands import COMMAND, event, run_json, write
from tests.conftest import wait_until
from worker.settings import load

pytestmark = [
    pytest.mark.acceptance,
    pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="looks for processes in /proc"),
]

LOGIN = "relay:let me in"
GATEWAY = """
[gateway]
port = {port}
write_keys = ["key"]
"""


class Up:
    """A running `audience-relay up`, and the processes that belong to it."""

    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet
        self.flower_port = _free_port()
        self.log = fleet.folder / "up.log"
        self._config = fleet.folder / "relay.toml"
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(
                [COMMAND, "up", "--config", self._config, "-c", "worker=2"],
                env=os.environ | {"FLOWER_PORT": str(self.flower_port), "FLOWER_BASIC_AUTH": LOGIN},
                stdout=output,
                stderr=output,
            )

    def said(self, text: str) -> bool:
        return text in self.log.read_text()

    def children(self) -> dict[int, str]:
        """What runs with the environment that only this `up` gives, or keeps its file there: pid → command line."""
        found = {}
        for pid in (int(path.name) for path in Path("/proc").iterdir() if path.name.isdecimal()):
            command = _read(pid, "cmdline").replace("\0", " ")
            ours = f"RELAY_CONFIG={self._config}\0" in _read(pid, "environ")
            if ours or ("redis-server" in command and str(self._config.parent) in command):
                found[pid] = command
        return found

    def worker(self, name: str) -> int:
        """The process id of a worker."""
        (found,) = [pid for pid, command in self.children().items() if f"-n {name}@" in command]
        return found

    def gateway(self) -> int:
        """The process id of the gateway."""
        (found,) = [pid for pid, command in self.children().items() if command.endswith("audience-relay serve ")]
        return found

    def redis(self) -> int:
        """The process id of the embedded server."""
        (found,) = [pid for pid, command in self.children().items() if "redis-server" in command]
        return found

    def send(self, *events: str) -> int:
        """The status of what the gateway answers; 0 while it does not listen."""
        gateway = self.fleet.settings.gateway
        request = urllib.request.Request(
            f"http://{gateway.host}:{gateway.port}/v1/batch",
            data=f'{{"batch": [{",".join(events)}], "writeKey": "key"}}'.encode(),
        )
        try:
            with urllib.request.urlopen(request) as answer:  # noqa: S310 - as above
                return int(answer.status)
        except urllib.error.URLError:
            return 0

    def flower(self, login: str | None = None) -> int:
        """The status of flower's first page; 0 while it does not listen."""
        request = urllib.request.Request(f"http://127.0.0.1:{self.flower_port}/")
        if login:
            request.add_header("authorization", f"Basic {base64.b64encode(login.encode()).decode()}")
        try:
            with urllib.request.urlopen(request) as answer:  # noqa: S310 - our own flower
                return int(answer.status)
        except urllib.error.HTTPError as error:
            error.close()
            return error.code
        except urllib.error.URLError:
            return 0

    def end(self, number: signal.Signals = signal.SIGINT) -> int:
        self.process.send_signal(number)
        return self.process.wait(timeout=60)

    def close(self) -> None:
        """Whatever a test left behind ends."""
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(timeout=60)


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Up]:
    """Ready: both workers take wake-ups, and the gateway takes source events."""
    with serve(Sandbox()) as server:
        configuration = CONFIGURATION.format(url=server.url, age=0.2, settle=1.0) + GATEWAY.format(port=_free_port())
        (tmp_path / "relay.toml").write_text(configuration)
        fleet = Fleet(tmp_path, server, load(tmp_path / "relay.toml"), EmbeddedRedis(tmp_path / ".relay"))
        running = Up(fleet)
        try:
            parts = ("worker.1@", "worker.2@", "Application startup complete")
            wait_until(lambda: all(map(running.said, parts)), within=40)
            yield running
        finally:
            running.close()
            fleet.close()


def test_what_is_loaded_reaches_every_vendor_and_the_books_balance(up: Up) -> None:
    people = [f"person{number}" for number in range(50)]
    lines = [*(event(who) for who in people), *(event(who, entered=False) for who in people[:10])]

    report = run_json(up.fleet, "load", write(up.fleet, "events.ndjson", lines))
    wait_until(lambda: all(each["waiting"] == 0 for each in _status(up)))

    assert report["accepted"] == 60
    for each in _status(up):
        assert each["accepted"] == 60 == each["delivered"] + each["folded"]
        assert (each["unaccounted"], each["hold"], each["lanes"]) == (0, None, [])
    members = {f"{who}@example.com" for who in people[10:]}
    assert up.fleet.members("criteo") == up.fleet.members("stackadapt") == members
    assert len(up.fleet.members("taboola")) == 40


def test_what_is_sent_to_the_gateway_reaches_every_vendor_also_when_it_has_died(up: Up) -> None:
    assert f"gateway  http://127.0.0.1:{up.fleet.settings.gateway.port}\n" in up.log.read_text()
    assert up.send(event("ada"), event("bob")) == 200

    os.kill(up.gateway(), signal.SIGKILL)
    wait_until(lambda: up.said("ended with code -9; starts again in 1s"))
    wait_until(lambda: up.send(event("bob", entered=False)) == 200)
    wait_until(lambda: up.fleet.members("criteo") == up.fleet.members("stackadapt") == {"ada@example.com"})


def test_ctrl_c_ends_everything_in_order_redis_last(up: Up) -> None:
    assert len(up.children()) == 5

    assert up.end() == 0
    assert up.children() == {}
    assert up.log.read_text().count("| ended") == 4


def test_a_worker_finishes_the_batch_in_hand_before_the_end(up: Up) -> None:
    up.fleet.fault("criteo", match={"route": "amend"}, times=1, fault={"kind": "slow", "seconds": 2})
    run_json(up.fleet, "load", write(up.fleet, "events.ndjson", [event("ada")]))
    wait_until(lambda: up.fleet.faults_fired("criteo") == 1)

    assert up.end(signal.SIGTERM) == 0
    with EmbeddedRedis(up.fleet.folder / ".relay"):
        assert up.fleet.counters("criteo") == {"accepted": 1, "delivered": 1}
    assert up.fleet.members("criteo") == {"ada@example.com"}


def test_a_worker_that_dies_is_started_again(up: Up) -> None:
    former = up.worker("worker.1")

    os.kill(former, signal.SIGKILL)
    wait_until(lambda: up.said("ended with code -9; starts again in 1s"))
    wait_until(lambda: up.log.read_text().count("worker.1@") > 1, within=40)

    assert up.worker("worker.1") != former


def test_a_redis_that_dies_is_brought_back_and_the_workers_go_on(up: Up) -> None:
    workers = {up.worker("worker.1"), up.worker("worker.2")}
    run_json(up.fleet, "hold", "criteo")
    run_json(up.fleet, "load", write(up.fleet, "before.ndjson", [event("ada")]))
    former = up.redis()

    os.kill(former, signal.SIGKILL)
    wait_until(lambda: up.said("ended; starts again in 1s") and up.said("serves again"))

    assert up.redis() != former
    assert _status(up)[0]["waiting"] == 1

    run_json(up.fleet, "release", "criteo")
    run_json(up.fleet, "load", write(up.fleet, "after.ndjson", [event("bob")]))
    wait_until(lambda: all(each["waiting"] == 0 for each in _status(up)), within=60)

    assert [(each["delivered"], each["unaccounted"]) for each in _status(up)] == [(2, 0)] * 3
    assert up.fleet.members("criteo") == {"ada@example.com", "bob@example.com"}
    assert {up.worker("worker.1"), up.worker("worker.2")} == workers
    assert up.end() == 0


def test_flower_shows_itself_only_to_who_may_log_in(up: Up) -> None:
    wait_until(lambda: up.flower() != 0)

    assert up.flower() == 401
    assert up.flower("relay:guessed") == 401
    assert up.flower(LOGIN) == 200
    assert not up.said("let me in")
    assert not any("let me in" in command for command in up.children().values())


def test_a_second_one_in_the_same_folder_is_refused_with_who_runs_the_first(up: Up) -> None:
    second = Up(up.fleet)

    assert second.process.wait(timeout=60) == 2
    assert f"is in use by process {up.process.pid}" in second.log.read_text()


def _status(up: Up) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = run_json(up.fleet, "status")["destinations"]
    return found


def _read(pid: int, name: str) -> str:
    """Empty for a process that has gone, or that is not ours to look at."""
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes().decode(errors="replace")
    except OSError:
        return ""


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
        return port
