"""Runs processes side by side, as honcho does, but starts again what ends by itself.

One worker that dies is no reason to stop the others. And the end is orderly: each process gets SIGTERM and the time
to finish its batch, for which honcho's fixed five seconds are too short.
"""

import os
import queue
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Final, NamedTuple

from cli.durations import write
from cli.signals import Endings

GRACE_SECONDS: Final = 35.0
"""How long a process may take to end: the deadline of a request and 15 s."""
TURN_SECONDS: Final = 0.1
FIRST_PAUSE_SECONDS: Final = 1.0
LONGEST_PAUSE_SECONDS: Final = 30.0
STEADY_SECONDS: Final = 60.0
"""What ran for so long is started again after the first pause; else the pause doubles."""

Say = Callable[[str, str], None]
"""Gets the name of a process, and a line of its output or about it."""


class Command(NamedTuple):
    """A process to run. `line` is for the shell."""

    name: str
    line: str
    env: Mapping[str, str]


def run(commands: Sequence[Command], endings: Endings, say: Say, grace_seconds: float = GRACE_SECONDS) -> bool:
    """Run all until the end is asked for. False: not all ended in time, and those were killed.

    Asked once, each gets SIGTERM and `grace_seconds`; asked twice, all are killed at once.
    """
    processes = _Processes(commands, say)
    try:
        while not endings.asked:
            processes.start_due()
            processes.pass_on_lines()
            processes.note_ended()
    finally:
        orderly = processes.end(endings, grace_seconds)
    return orderly


class _Processes:
    def __init__(self, commands: Sequence[Command], say: Say) -> None:
        self._lines: queue.Queue[tuple[str, str]] = queue.Queue()
        self._places = [_Place(command, self._lines) for command in commands]
        self._say = say

    def start_due(self) -> None:
        for place in self._places:
            place.start_if_due()

    def pass_on_lines(self) -> None:
        """Wait a little for the next line; then take all that there are."""
        with suppress(queue.Empty):
            self._say(*self._lines.get(timeout=TURN_SECONDS))
            for _ in range(self._lines.qsize()):
                self._say(*self._lines.get_nowait())

    def note_ended(self) -> None:
        for place, code in self._ended():
            pause = place.pause_before_next()
            self._say(place.command.name, f"ended with code {code}; starts again in {write(pause)}")

    def end(self, endings: Endings, grace_seconds: float) -> bool:
        """Return when none runs any more; whether none had to be killed."""
        self._signal(signal.SIGTERM)
        deadline = time.monotonic() + grace_seconds
        orderly = True
        while any(place.running for place in self._places):
            if orderly and (endings.asked > 1 or time.monotonic() > deadline):
                self._signal(signal.SIGKILL)
                orderly = False
            self.pass_on_lines()
            for place, _ in self._ended():
                self._say(place.command.name, "ended")
        return orderly

    def _ended(self) -> Iterator[tuple["_Place", int]]:
        for place in self._places:
            code = place.take_code()
            if code is not None:
                yield place, code

    def _signal(self, number: signal.Signals) -> None:
        for place in self._places:
            place.signal(number)


class _Place:
    """Where one command runs, time and again."""

    def __init__(self, command: Command, lines: "queue.Queue[tuple[str, str]]") -> None:
        self.command = command
        self._lines = lines
        self._process: subprocess.Popen[str] | None = None
        self._listener = threading.Thread()
        self._started = self._due = self._pause = 0.0

    @property
    def running(self) -> bool:
        return self._process is not None

    def start_if_due(self) -> None:
        if self._process is None and time.monotonic() >= self._due:
            self._started = time.monotonic()
            self._process = _start(self.command)
            self._listener = threading.Thread(target=self._listen, args=(self._process,), daemon=True)
            self._listener.start()

    def take_code(self) -> int | None:
        """The exit code, once, when the process has ended and all it wrote was read."""
        if self._process is None or self._listener.is_alive():
            return None
        code = self._process.poll()
        if code is not None:
            self._process = None
        return code

    def pause_before_next(self) -> float:
        """Set when to start again; returns in how many seconds."""
        steady = time.monotonic() - self._started >= STEADY_SECONDS
        self._pause = FIRST_PAUSE_SECONDS if steady or not self._pause else min(2 * self._pause, LONGEST_PAUSE_SECONDS)
        self._due = time.monotonic() + self._pause
        return self._pause

    def signal(self, number: signal.Signals) -> None:
        """To the process and whatever it started."""
        if self._process is not None and self._process.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)

    def _listen(self, process: "subprocess.Popen[str]") -> None:
        if process.stdout is None:
            return
        with process.stdout as lines:
            for line in lines:
                self._lines.put((self.command.name, line.rstrip("\n")))


def _start(command: Command) -> "subprocess.Popen[str]":
    """In a session of its own, so that Ctrl-C in the terminal does not reach it."""
    return subprocess.Popen(  # noqa: S602 - the lines of a Procfile are for the shell
        command.line,
        shell=True,
        env={**os.environ, **command.env},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        text=True,
        errors="replace",
    )
