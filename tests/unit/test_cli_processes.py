"""Processes side by side: one that ends is started again, and all end in order."""

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from cli import processes
from cli.processes import Command
from cli.signals import Endings
from tests.conftest import wait_until
from worker.errors import StoreUnavailable

OBEDIENT = "trap 'echo finishing; exit 0' TERM; echo started; while :; do sleep 0.02; done"
STUBBORN = "trap '' TERM; echo started; while :; do sleep 0.02; done"


class Running:
    """Commands that run in a thread, with what they said."""

    def __init__(self, *commands: Command, grace_seconds: float = 20.0, server: "Flaky | None" = None) -> None:
        self.said: list[tuple[str, str]] = []
        self.endings = Endings()
        self.orderly: bool | None = None
        self._grace_seconds = grace_seconds
        self._servers = {"server": server} if server else {}
        self._thread = threading.Thread(target=self._run, args=(commands,))
        self._thread.start()

    def times(self, name: str, line: str) -> int:
        return self.said.count((name, line))

    def end(self, *, asked: int = 1) -> None:
        self.endings.asked = asked
        self._thread.join(timeout=20)
        assert not self._thread.is_alive()

    def _run(self, commands: tuple[Command, ...]) -> None:
        self.orderly = processes.run(commands, self.endings, self._say, self._grace_seconds, self._servers)

    def _say(self, name: str, line: str) -> None:
        self.said.append((name, line))


class Flaky:
    """A server that starts only after so many times in vain."""

    def __init__(self, *, fails: int = 0) -> None:
        self.ended = False
        self.calls: list[str] = []
        self._fails = fails

    def start(self) -> None:
        self.calls.append("start")
        if self.calls.count("start") <= self._fails:
            raise StoreUnavailable("no room\non the disk")
        self.ended = False

    def stop(self) -> None:
        self.calls.append("stop")


def started(running: Running, *names: str) -> Callable[[], bool]:
    return lambda: all(running.times(name, "started") for name in names)


def test_every_process_gets_its_environment_and_is_heard() -> None:
    running = Running(
        Command("one", "echo $WORD; sleep 60", {"WORD": "hello"}), Command("two", "echo there >&2; sleep 60", {})
    )

    wait_until(lambda: running.times("one", "hello") == 1 and running.times("two", "there") == 1)
    running.end()

    assert running.orderly


def test_a_process_may_finish_what_it_does_when_the_end_is_asked_for() -> None:
    running = Running(Command("worker", OBEDIENT, {}))
    wait_until(started(running, "worker"))

    running.end()

    assert running.said[-2:] == [("worker", "finishing"), ("worker", "ended")]
    assert running.orderly


def test_a_process_that_does_not_end_in_time_is_killed() -> None:
    running = Running(Command("worker", STUBBORN, {}), grace_seconds=0.2)
    wait_until(started(running, "worker"))

    running.end()

    assert running.orderly is False


def test_asked_twice_all_are_killed_at_once() -> None:
    running = Running(Command("worker", STUBBORN, {}))
    wait_until(started(running, "worker"))
    asked_at = time.monotonic()

    running.end(asked=2)

    assert time.monotonic() - asked_at < 10
    assert running.orderly is False


def test_a_process_that_ends_is_started_again_while_the_others_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "FIRST_PAUSE_SECONDS", 0.05)
    first_time = f"echo started; test -e {tmp_path}/ran && exec sleep 60; touch {tmp_path}/ran; exit 3"
    running = Running(Command("flaky", first_time, {}), Command("steady", OBEDIENT, {}))

    wait_until(lambda: running.times("flaky", "started") == 2)
    running.end()

    assert running.times("flaky", "ended with code 3; starts again in 0s") == 1
    assert running.times("steady", "started") == 1


def test_a_server_that_ends_is_brought_back_while_the_processes_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "FIRST_PAUSE_SECONDS", 0.05)
    server = Flaky()
    running = Running(Command("worker", OBEDIENT, {}), server=server)
    wait_until(started(running, "worker"))

    server.ended = True
    wait_until(lambda: running.times("server", "serves again") == 1)
    running.end()

    assert server.calls == ["stop", "start"]
    assert [line for name, line in running.said if name == "server"] == ["ended; starts again in 0s", "serves again"]
    assert running.times("worker", "started") == 1


def test_a_server_that_does_not_start_is_tried_again_and_the_reason_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "FIRST_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(processes, "write", lambda seconds: f"{seconds:.2f}")
    server = Flaky(fails=2)
    server.ended = True
    running = Running(server=server)

    wait_until(lambda: running.times("server", "serves again") == 1)
    running.end()

    assert server.calls == ["stop", "start", "start", "start"]
    assert [line for _, line in running.said] == [
        "ended; starts again in 0.01",
        *("no room", "on the disk", "starts again in 0.02"),
        *("no room", "on the disk", "starts again in 0.04"),
        "serves again",
    ]


def test_the_pause_before_a_start_grows_while_it_is_in_vain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "FIRST_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(processes, "LONGEST_PAUSE_SECONDS", 0.04)
    monkeypatch.setattr(processes, "write", lambda seconds: f"{seconds:.2f}")
    running = Running(Command("broken", "exit 1", {}))

    wait_until(lambda: len(running.said) >= 4)
    running.end()

    pauses = [line.rpartition(" ")[2] for _, line in running.said[:4]]
    assert pauses == ["0.01", "0.02", "0.04", "0.04"]


def test_asked_before_the_start_nothing_is_started() -> None:
    said: list[tuple[str, str]] = []

    orderly = processes.run([Command("worker", "echo hello", {})], Endings(1), lambda *line: said.append(line))

    assert orderly
    assert said == []
