"""A file that names all refused source events of a load, and goes on with the load where that was stopped."""

import json
import os
import stat
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from cli.telling import say
from producers.files import STDIN, RefusedLine
from producers.resume import Resumed
from worker.errors import RelayError

Told = tuple[str, int]
"""A file, by its whole path, and a line of it."""

_OWN: Final = {"/dev/stdout": 1, "/dev/stderr": 2}
"""Opened anew, a file that one of these goes to would be written from its beginning, over what else goes there."""


class FileExists(RelayError):
    """Something else is there; the text says what to do."""


class RefusedFile:
    """NDJSON, a line each: `{"file", "line", "reason"}`, `path` where `file` is not the whole path, and on request
    `event`, what stands there.

    Each is written at once, so that a load that goes on finds what it wrote before; what was written after the place
    where it goes on is taken out again. A file that is made is for its owner alone. A device, a pipe or a socket only
    gets the lines.
    """

    def __init__(self, path: Path, *, with_events: bool) -> None:
        self._path = path
        self._with_events = with_events
        self._kept_bytes: int | None = None
        """How much of what is there stays, until the rest is taken out."""
        self._is_heard = True

    def begin(self, resumed: Sequence[Resumed]) -> None:
        """The files that go on, of which an earlier go has told up to there; nothing was accepted yet.

        Raises `FileExists` rather than replace something else.
        """
        if self._is_list:
            self._kept_bytes = _Earlier(self._path, resumed).kept_bytes()

    def add(self, refused: RefusedLine) -> None:
        self._trim()
        told: dict[str, Any] = {"file": refused.file, "line": refused.line, "reason": refused.reason}
        if (whole := _whole(refused.file)) != refused.file:
            told["path"] = whole
        if self._with_events:
            told["event"] = refused.content.decode(errors="replace")
        if self._is_heard:
            self._write(json.dumps(told).encode() + b"\n")

    def __enter__(self) -> Self:
        try:
            self._file = open(_descriptor(self._path), "wb", buffering=0)
        except OSError as error:
            raise _named(error, self._path) from error
        self._is_list = str(self._path) not in _OWN and stat.S_ISREG(os.fstat(self._file.fileno()).st_mode)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._file:
            if kind is None:
                self._trim()

    def _trim(self) -> None:
        if self._kept_bytes is not None:
            self._file.truncate(self._kept_bytes)
            self._file.seek(0, os.SEEK_END)
            self._kept_bytes = None

    def _write(self, line: bytes) -> None:
        """Whoever reads a pipe may go: the load matters more."""
        try:
            while line:
                line = line[self._file.write(line) :]
        except BrokenPipeError:
            self._is_heard = False
            say(f"{self._path}: nobody reads it any more; refused lines are no longer named there")
        except OSError as error:
            raise _named(error, self._path) from error


class _Earlier:
    """A list that is there, and the files that go on."""

    def __init__(self, path: Path, resumed: Sequence[Resumed]) -> None:
        self._path = path
        self._goes_on: defaultdict[str, list[int]] = defaultdict(list)
        for each in resumed:
            self._goes_on[_whole(each.path)].append(each.line)
        self._turns: Counter[str] = Counter()
        self._last: dict[str, int] = {}

    def kept_bytes(self) -> int:
        """How much of the list is about lines before those where files go on. Raises `FileExists`."""
        kept, keeps = 0, True
        with self._path.open("rb") as lines:
            for line in lines:
                told = _told_in(line)
                self._expect_own(line, told)
                keeps = keeps and told is not None and self._was_stored(*told)
                kept += len(line) if keeps else 0
        return kept

    def _expect_own(self, line: bytes, told: Told | None) -> None:
        if told is None and not _is_cut_off(line):
            raise FileExists(f"{self._path} exists, and is no list of refused lines; name another")
        if told is not None and told[0] not in self._goes_on:
            raise FileExists(
                f"{self._path} names refused lines of {told[0]}, and no load of that goes on here; name another list, "
                "or delete this one"
            )

    def _was_stored(self, file: str, number: int) -> bool:
        """A file that is named twice is told of twice: the numbers begin again."""
        self._turns[file] += number <= self._last.get(file, 0)
        self._last[file] = number
        turn = self._turns[file]
        return turn < len(self._goes_on[file]) and number <= self._goes_on[file][turn]


def _descriptor(path: Path) -> int:
    if str(path) in _OWN:
        return os.dup(_OWN[str(path)])
    if path.exists() and not path.is_file():
        return os.open(path, os.O_WRONLY)
    return os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)


def _named(error: OSError, path: Path) -> OSError:
    return OSError(error.errno, error.strerror, str(path))


def _whole(file: str) -> str:
    return file if file == STDIN else str(Path(file).resolve())


def _told_in(line: bytes) -> Told | None:
    """None: it is nothing of the kind."""
    match _json_in(line):
        case {"file": str(file), "line": int(number), "reason": str(), **more}:
            return _whole(str(more.get("path", file))), number
        case _:
            return None


def _is_cut_off(line: bytes) -> bool:
    """Whether it was being written when the load was killed."""
    return line.startswith(b'{"file": ') and not line.endswith(b"\n") and _json_in(line) is None


def _json_in(line: bytes) -> object:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None
