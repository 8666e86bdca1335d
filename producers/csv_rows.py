"""Rows of a CSV file: RFC 4180 as Python's csv module reads it, strictly; one broken row is no harm to the next.

A quote that is never closed would take the rest of the file for one cell. So whatever makes a row unreadable, only
the line where it begins is given up, and the next line is tried as a row of its own.
"""

import csv
from collections import deque
from collections.abc import Iterator
from typing import BinaryIO, Final, NamedTuple

from producers.ndjson import Place, skip_line

MAX_ROW_BYTES: Final = 256 * 1024
"""The longest row; how far the end of a quoted cell is looked for."""


class Row(NamedTuple):
    """One row. `line` is the number of its first line; `cells` is None where it cannot be read."""

    line: int
    cells: list[str] | None
    content: bytes


def read_rows(stream: BinaryIO, delimiter: str, place: Place) -> Iterator[Row]:
    """The rows from a place on, blank lines aside; `place` is moved to the end of each before it is given."""
    lines = _Lines(stream, at_beginning=place.offset == 0)
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    while True:
        lines.begin_row()
        try:
            cells: list[str] | None = next(reader)
        except StopIteration:
            return
        except (csv.Error, UnicodeDecodeError, _Unreadable):
            lines.give_back()
            cells = None
        first = place.line + 1
        place.line += len(lines.taken)
        place.offset += sum(each.size for each in lines.taken)
        if cells != []:
            yield Row(first, cells, b"".join(each.content for each in lines.taken))


class _Unreadable(Exception):
    """The row has a NUL in it, or does not end."""


class _Line(NamedTuple):
    """The first bytes of a line, and how many it has in the file."""

    content: bytes
    size: int


class _Lines:
    """What the csv module takes its lines from; knows which belong to the row that is read."""

    def __init__(self, stream: BinaryIO, *, at_beginning: bool) -> None:
        self._stream = stream
        self._at_beginning = at_beginning
        self._again: deque[_Line] = deque()
        self._room = 0
        self.taken: list[_Line] = []

    def begin_row(self) -> None:
        self._room = MAX_ROW_BYTES
        self.taken = []

    def give_back(self) -> None:
        """All but the first line of the row."""
        self._again.extendleft(reversed(self.taken[1:]))
        del self.taken[1:]

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._again.popleft() if self._again else self._next_line()
        if not line.size:
            raise StopIteration
        self.taken.append(line)
        self._room -= line.size
        if self._room < 0 or b"\0" in line.content:
            raise _Unreadable
        text = line.content.decode()
        if self._at_beginning:
            self._at_beginning = False
            return text.removeprefix("\ufeff")
        return text

    def _next_line(self) -> _Line:
        content = self._stream.readline(MAX_ROW_BYTES)
        endless = len(content) == MAX_ROW_BYTES and not content.endswith(b"\n")
        return _Line(content, len(content) + (skip_line(self._stream) if endless else 0))
