"""Source events from files and standard input: NDJSON, one event a line.

Memory grows neither with the file nor with a line that never ends.
"""

import os
import stat
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path
from typing import BinaryIO, Final

from producers.intake import Intake, OnRefused, Report
from producers.segment import Reason
from worker.errors import RelayError

STDIN: Final = "-"
TELL_LINES: Final = 1_000
"""After how many lines progress is told."""

Progress = Callable[[int, int], None]
"""Gets the bytes and the lines read so far, over all files."""
OnRefusedLine = Callable[[str, int, Reason], None]
"""Gets the file as it was named, the number of the line in it and the reason."""

_BOM: Final = b"\xef\xbb\xbf"
_PIECE_BYTES: Final = 64 * 1024


class UnreadableFile(RelayError):
    """A file is missing or cannot be read; the text says which and why."""


def load(
    paths: Sequence[str],
    intake: Intake,
    progress: Progress | None = None,
    *,
    report: Report | None = None,
    on_refused: OnRefusedLine | None = None,
    stdin: BinaryIO | None = None,
) -> Report:
    """Accept the source events of all files, in order; `-` is standard input.

    Raises `UnreadableFile`, before anything is accepted if a file is missing, and what `Intake.accept_lines`
    raises; `report`, when given, then holds what was done until then.
    """
    for path in paths:
        _expect_readable(path)
    report = Report() if report is None else report
    meter = Meter(progress)
    for path in paths:
        lines = _lines(path, intake.max_event_bytes, meter, stdin)
        intake.accept_lines(lines, report=report, on_refused=_with_file(path, on_refused))
    meter.tell()
    return report


def read_ndjson(stream: BinaryIO, max_bytes: int, meter: "Meter") -> Iterator[tuple[int, bytes]]:
    """The lines of a stream that are not blank, with their numbers from 1.

    A byte order mark at the beginning of any line is left out: files may have been put together.
    Of a line longer than `max_bytes` only the beginning is given, more than `max_bytes` of it.
    """
    longest = max_bytes + len(_BOM) + len(b"\r\n")
    for number in count(1):
        line = stream.readline(longest)
        if not line:
            return
        endless = len(line) == longest and not line.endswith(b"\n")
        meter.add(len(line) + (_skip_line(stream) if endless else 0))
        content = line if endless else line.removeprefix(_BOM).strip()
        if content:
            yield number, content


@dataclass(slots=True)
class Meter:
    """Counts what was read, and tells it every now and then."""

    progress: Progress | None = None
    bytes: int = 0
    lines: int = 0

    def add(self, size: int) -> None:
        """Count one line of `size` bytes."""
        self.bytes += size
        self.lines += 1
        if self.lines % TELL_LINES == 0:
            self.tell()

    def tell(self) -> None:
        if self.progress is not None:
            self.progress(self.bytes, self.lines)


def _skip_line(stream: BinaryIO) -> int:
    """Read to the end of the line; returns the bytes skipped."""
    skipped = 0
    while piece := stream.readline(_PIECE_BYTES):
        skipped += len(piece)
        if piece.endswith(b"\n"):
            break
    return skipped


def _expect_readable(path: str) -> None:
    """Looks without opening: a named pipe can be opened only once."""
    if path == STDIN:
        return
    try:
        folder = stat.S_ISDIR(Path(path).stat().st_mode)
    except OSError as error:
        raise _unreadable(path, error) from error
    if folder:
        raise UnreadableFile(f"{path}: is a folder")
    if not os.access(path, os.R_OK):
        raise UnreadableFile(f"{path}: no permission to read it")


def _lines(path: str, max_bytes: int, meter: Meter, stdin: BinaryIO | None) -> Iterator[tuple[int, bytes]]:
    try:
        with _opened(path, stdin) as stream:
            yield from read_ndjson(stream, max_bytes, meter)
    except OSError as error:
        raise _unreadable(path, error) from error


def _opened(path: str, stdin: BinaryIO | None) -> AbstractContextManager[BinaryIO]:
    """The file, or standard input, which stays open."""
    if path == STDIN:
        return nullcontext(stdin or sys.stdin.buffer)
    return Path(path).open("rb")


def _unreadable(path: str, error: OSError) -> UnreadableFile:
    return UnreadableFile(f"{path}: {error.strerror or 'cannot be read'}")


def _with_file(path: str, on_refused: OnRefusedLine | None) -> OnRefused | None:
    return None if on_refused is None else partial(on_refused, path)
