"""How far a load has read a regular file, and whether that is still the same file, read in the same way."""

import os
from collections import Counter
from collections.abc import Iterable
from hashlib import blake2b
from typing import Final, Protocol
from zlib import crc32

import msgspec

from producers.intake import Report
from producers.ndjson import Place
from producers.source import BUFFER_BYTES, Spot
from worker.errors import RelayError

SAMPLE_BYTES: Final = 16 * 1024
"""How much of a file's beginning tells it from others."""


class ChangedFile(RelayError):
    """A file is not the one of which a part was loaded, or is to be read in another way; the text says what to do."""


class Bookmark(msgspec.Struct, kw_only=True, frozen=True):
    """How far a file was loaded, and what came of that."""

    load: str
    """The load's id, the same after each stop."""
    host: str
    form: str
    """How it is read, as a digest."""
    size: int | None
    """In bytes as they lie there. None: it ended in the middle, so more is to come."""
    line: int = 0
    offset: int = 0
    """In bytes of the content."""
    position: int = 0
    """In bytes as they lie there; a part of them may have been read ahead."""
    checksum: int = 0
    """The CRC-32 of all that lies before the position: 0.08 microseconds a source event, where sha256 takes 0.2 and
    blake2b 0.4. A file that was written anew has the same one once in four billion times."""
    read: int = 0
    accepted: int = 0
    refused: dict[str, int] = {}
    changes: dict[str, int] = {}
    duplicates: dict[str, int] = {}
    left_out: int = 0
    """How often a destination did not get something of what was accepted."""

    @property
    def report(self) -> Report:
        """What came of the source events up to here."""
        return Report(self.read, self.accepted, Counter(self.refused), Counter(self.changes), Counter(self.duplicates))

    @property
    def place(self) -> Place:
        return Place(self.offset, self.line)

    def moved(self, spot: Spot, place: Place, part: Report, *, cut_off: bool = False) -> "Bookmark":
        """The bookmark after one more part of the file."""
        whole = self.report
        add(whole, part)
        return msgspec.structs.replace(
            self,
            size=None if cut_off else self.size,
            line=place.line,
            offset=place.offset,
            position=spot.position,
            checksum=spot.checksum,
            read=whole.read,
            accepted=whole.accepted,
            refused=dict(whole.refused),
            changes=dict(whole.changes),
            duplicates=dict(whole.duplicates),
            left_out=self.left_out + part.left_out.total(),
        )

    def expect_same(self, path: str, file: int, form: str) -> None:
        """Raise `ChangedFile` unless the open file is the one that was read, and is to be read in the same way."""
        if self.size not in {None, os.fstat(file).st_size} or self.checksum != _checksum(file, self.position):
            raise self.changed(path)
        if form != self.form:
            raise ChangedFile(
                f"{path}: a load of it that stopped after line {self.line:,} was begun with another --format, "
                "--delimiter, --map or --set; give the same, or load all of it anew with --restart"
            )

    def changed(self, path: str) -> ChangedFile:
        return ChangedFile(
            f"{path}: it has changed since a load of it stopped after line {self.line:,}; "
            "--restart loads all of what is there now"
        )


class Bookmarks(Protocol):
    """Where bookmarks are kept, by path and name. Methods raise `StoreUnavailable` or `StoreFull`."""

    def of(self, path: str) -> dict[str, bytes]:
        """All of one path."""

    def put(self, path: str, name: str, value: bytes) -> None:
        """Put one in place of the one of that name."""

    def remove(self, places: Iterable[tuple[str, str]]) -> None:
        """Remove those of these paths and names, all at once."""


def beginning(file: int) -> str:
    """A digest of the open file's first bytes."""
    return digest(os.pread(file, SAMPLE_BYTES, 0))


def add(report: Report, part: Report) -> None:
    """Add what came of some source events to what came of others."""
    report.read += part.read
    report.accepted += part.accepted
    report.refused.update(part.refused)
    report.changes.update(part.changes)
    report.duplicates.update(part.duplicates)
    report.left_out.update(part.left_out)


def digest(content: bytes) -> str:
    return blake2b(content, digest_size=16).hexdigest()


def _checksum(file: int, position: int) -> int | None:
    """Of all that lies before the position. None: there is not so much."""
    found = at = 0
    while at < position:
        piece = os.pread(file, min(BUFFER_BYTES, position - at), at)
        if not piece:
            return None
        found, at = crc32(piece, found), at + len(piece)
    return found
