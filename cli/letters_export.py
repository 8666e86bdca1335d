"""Dead letters as NDJSON, on standard output or in a file that only its owner may read."""

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import msgspec

from cli.letters_forms import record
from worker.errors import RelayError
from worker.store.deadletters import DeadLetter


class FileExists(RelayError):
    """There is something already; the text says what to do."""


def write(letters: Iterable[DeadLetter], path: Path | None, *, force: bool) -> int:
    """One JSON object a line; returns how many. Without a path, to standard output."""
    if path is None:
        return _write(letters, sys.stdout.buffer)
    with _private_file(path, force=force) as stream:
        return _write(letters, stream)


@contextmanager
def _private_file(path: Path, *, force: bool) -> Iterator[BinaryIO]:
    """A new file that only its owner may read; gone again when not all was written.

    With `force` it takes the place of another, once all is written. Raises `FileExists`.
    """
    target = path.with_name(f"{path.name}.part") if force else path
    try:
        descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        advice = "end what writes it, or remove it" if force else "name another, or replace it with --force"
        raise FileExists(f"{target} exists; {advice}") from None
    try:
        with open(descriptor, "wb") as stream:  # noqa: PTH123 - a descriptor, not a path
            yield stream
        if force:
            target.replace(path)
    except BaseException:
        target.unlink(missing_ok=True)
        raise


def _write(letters: Iterable[DeadLetter], stream: BinaryIO) -> int:
    count = 0
    for letter in letters:
        stream.write(msgspec.json.encode(record(letter)) + b"\n")
        count += 1
    stream.flush()
    return count
