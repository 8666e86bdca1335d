"""Runs processes side by side, as honcho does, but starts again what ends by itself.

One worker that dies is no reason to stop the others, and neither is the server that they need. And the end is orderly:
each process gets SIGTERM and the time to finish its batch, for which honcho's fixed five seconds are too short.
"""

import os
import queue
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Final, NamedTuple, Protocol

from cli.durations import write
from cli.signals import Endings
from worker.errors import RelayError

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


class Server(Protocol):
    """What the processes need; runs already, and is ended by whoever started it."""

    @property
    def ended(self) -> bool:
        """Whether it has ended by itself; `stop` and `start` then bring it back."""

    def start(self) -> None:
        """Return when it serves. Raises `RelayError` when it does not; `stop` was then called."""

    def stop(self) -> None:
        """Free what it held. May be called twice."""


def run(
    commands: Sequence[Command],
    endings: Endings,
    say: Say,
    grace_seconds: float = GRACE_SECONDS,
    servers: Mapping[str, Server] | None = None,
) -> bool:
    """Run all until the end is asked for. False: not all ended in time, and those were killed.

    Asked once, each gets SIGTERM and `grace_seconds`; asked twice, all are killed at once. Servers, by name, are
    brought back when they end by themselves.
    """
    processes = _Processes(commands, say)
    keepers = [_Keeper(name, server, say) for name, server in (servers or {}).items()]
    try:
        while not endings.asked:
            for keeper in keepers:
                keeper.look()
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
            self._say(place.command.name, f"ended with code {code}; {place.pauses.begin()}")

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
        self.pauses = _Pauses()
        self._lines = lines
        self._process: subprocess.Popen[str] | None = None
        self._listener = threading.Thread()

    @property
    def running(self) -> bool:
        return self._process is not None

    def start_if_due(self) -> None:
        if self._process is None and self.pauses.over:
            self.pauses.note_start()
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


class _Keeper:
    """Brings one server back, time and again."""

    def __init__(self, name: str, server: Server, say: Say) -> None:
        self._name = name
        self._server = server
        self._say = say
        self._pauses = _Pauses()
        self._pauses.note_start()
        self._serves = True

    def look(self) -> None:
        if self._serves and self._server.ended:
            self._serves = False
            self._server.stop()
            self._say(self._name, f"ended; {self._pauses.begin()}")
        elif not self._serves and self._pauses.over:
            self._bring_back()

    def _bring_back(self) -> None:
        self._pauses.note_start()
        try:
            self._server.start()
        except RelayError as error:
            for line in (*str(error).splitlines(), self._pauses.begin()):
                self._say(self._name, line)
        else:
            self._serves = True
            self._say(self._name, "serves again")


class _Pauses:
    """How long to wait before each start: it doubles while starting is in vain."""

    def __init__(self) -> None:
        self._started = self._due = self._seconds = 0.0

    @property
    def over(self) -> bool:
        return time.monotonic() >= self._due

    def note_start(self) -> None:
        self._started = time.monotonic()

    def begin(self) -> str:
        """The next one begins; returns how long it is, in words."""
        now = time.monotonic()
        doubled = 2 * self._seconds if now - self._started < STEADY_SECONDS else 0.0
        self._seconds = min(doubled, LONGEST_PAUSE_SECONDS) or FIRST_PAUSE_SECONDS
        self._due = now + self._seconds
        return f"starts again in {write(self._seconds)}"


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
