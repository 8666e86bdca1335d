"""The source events of one file or of standard input, in whatever form; and what stands in the way of reading them."""

import os
import stat
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import BinaryIO, Final

from producers.csv_rows import read_rows
from producers.form import Form
from producers.ndjson import Place, Read, read_ndjson
from producers.segment import MAX_EVENT_BYTES
from producers.source import CutOffData, DamagedData, Source, content, skip
from worker.errors import RelayError

STDIN: Final = "-"
BEGINNING: Final = Place()


class UnreadableFile(RelayError):
    """A file is missing or cannot be read; the text says which, why and how far."""


class CutOffFile(UnreadableFile):
    """A compressed file ends in the middle."""


def read_events(
    path: str,
    source: Source,
    place: Place,
    form: Form,
    *,
    start: Place = BEGINNING,
    max_bytes: int = MAX_EVENT_BYTES,
) -> Iterator[Read]:
    """The source events of an open file from a start on; `place` is moved to the end of each before it is given.

    Raises `UnreadableFile` and `ColumnError`.
    """
    with _told(path, place):
        stream = content(source)
        table = form.read_header(path, stream, place) if form.is_table(path) else None
        if start.offset > place.offset:
            missing, place.offset, place.line = start.offset - place.offset, start.offset, start.line
            skip(stream, missing)
        if table is None:
            yield from read_ndjson(stream, max_bytes, place)  # of a table: it is empty
        else:
            yield from table.events(read_rows(stream, form.delimiter_of(path), place), max_bytes)


def expect_readable(path: str, form: Form, stdin: BinaryIO | None = None) -> bool:
    """Whether it is a regular file. Raises `UnreadableFile`, and `ColumnError` for its header.

    What is none is not opened: a named pipe can be opened only once.
    """
    if path == STDIN:
        opened(path, stdin)  # raises where there is none
        return False
    try:
        mode = Path(path).stat().st_mode
    except OSError as error:
        raise _unreadable(path, error) from error
    if stat.S_ISDIR(mode):
        raise UnreadableFile(f"{path}: is a folder; name the files in it, such as {Path(path) / '*'}")
    if not os.access(path, os.R_OK):
        raise UnreadableFile(f"{path}: no permission to read it")
    if stat.S_ISREG(mode) and form.is_table(path):
        with opened(path) as stream, _told(path, Place()):
            form.read_header(path, content(Source(stream)), Place())
    return stat.S_ISREG(mode)


def opened(path: str, stdin: BinaryIO | None = None) -> AbstractContextManager[BinaryIO]:
    """The file, or standard input, which stays open."""
    if path == STDIN:
        return nullcontext(stdin or _standard_input())
    try:
        return Path(path).open("rb")
    except OSError as error:
        raise _unreadable(path, error) from error


def _standard_input() -> BinaryIO:
    if sys.stdin is None:
        raise UnreadableFile("-: standard input is closed; pipe source events into it, or name a file")
    return sys.stdin.buffer


@contextmanager
def _told(path: str, place: Place) -> Iterator[None]:
    """Tells how far it was read, when it cannot be read further."""
    try:
        yield
    except CutOffData as error:
        raise CutOffFile(f"{path}: {error}; it was read up to line {place.line:,}") from error
    except DamagedData as error:
        raise UnreadableFile(f"{path}: {error}; it was read up to line {place.line:,}") from error
    except OSError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: str, error: OSError) -> UnreadableFile:
    return UnreadableFile(f"{path}: {error.strerror or 'cannot be read'}")
