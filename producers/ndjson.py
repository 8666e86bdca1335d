"""NDJSON: a source event a line. Memory does not grow with a line that never ends."""

from codecs import BOM_UTF8
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Final

from producers.events import RawEvent

_PIECE_BYTES: Final = 64 * 1024

Read = tuple[int, RawEvent, bytes]
"""The number of a line from 1, the source event that begins there, and what stands there."""


@dataclass(slots=True)
class Place:
    """How far a file was read: bytes, without compression, and lines."""

    offset: int = 0
    line: int = 0


def read_ndjson(stream: BinaryIO, max_bytes: int, place: Place) -> Iterator[Read]:
    """The lines from a place on that are not blank; `place` is moved to the end of each before it is given.

    A byte order mark at the beginning of any line is left out: files may have been put together.
    Of a line longer than `max_bytes` only the beginning is given, more than `max_bytes` of it.
    """
    longest = max_bytes + len(BOM_UTF8) + len(b"\r\n")
    while line := stream.readline(longest):
        endless = len(line) == longest and not line.endswith(b"\n")
        place.offset += len(line) + (skip_line(stream) if endless else 0)
        place.line += 1
        content = line if endless else line.removeprefix(BOM_UTF8).strip()
        if content:
            yield place.line, content, content


def skip_line(stream: BinaryIO) -> int:
    """Read to the end of the line; returns the bytes skipped."""
    skipped = 0
    while piece := stream.readline(_PIECE_BYTES):
        skipped += len(piece)
        if piece.endswith(b"\n"):
            break
    return skipped
