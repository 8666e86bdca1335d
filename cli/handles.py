"""Whom to forget: handles from the command line, or from a file of them."""

import csv
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import IO, Any, Final, NamedTuple

import click

from worker.errors import RelayError

COLUMNS: Final = ("email", "user_id", "device_id")
_TRAITS: Final = {"email": "email", "device_id": "ios_id"}


class Handle(NamedTuple):
    """One handle of a person: what it is (of `COLUMNS`), its text, and where it stood."""

    column: str
    text: str
    place: str

    def as_event(self, request: str) -> dict[str, Any]:
        """The Segment-spec `delete` event that asks to forget whoever has it."""
        event = {"type": "delete", "messageId": request}
        if self.column == "user_id":
            return {**event, "userId": self.text}
        return {**event, "traits": {_TRAITS[self.column]: self.text}}


class UnreadableHandles(RelayError):
    """The file of handles is not what it should be; the text says what it should be."""


def read(path: str) -> list[Handle]:
    """The handles in a file, CSV with a header or NDJSON; `-` is standard input. Raises `UnreadableHandles`."""
    try:
        with click.open_file(path, encoding="utf-8-sig") as file:
            return list(_read(path, file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UnreadableHandles(f"{path}: {getattr(error, 'strerror', None) or error}") from None


def _read(path: str, file: IO[str]) -> Iterator[Handle]:
    lines = iter(file)
    first = next(lines, "")
    if first.lstrip().startswith("{"):
        yield from _of_rows(path, ((number, _object(path, number, line)) for number, line in _numbered(first, lines)))
        return
    header = [name.strip().lower() for name in next(csv.reader([first]), [])]
    if not header or not set(header) <= set(COLUMNS):
        raise UnreadableHandles(
            f"{path}:1: the header must name the columns, of {', '.join(COLUMNS)}; or write one JSON object a line"
        )
    rows = csv.DictReader(lines, fieldnames=header)
    yield from _of_rows(path, ((rows.line_num + 1, row) for row in rows))


def _numbered(first: str, rest: Iterable[str]) -> Iterator[tuple[int, str]]:
    yield 1, first
    yield from ((number, line) for number, line in enumerate(rest, 2) if line.strip())


def _object(path: str, number: int, line: str) -> Mapping[str, Any]:
    try:
        row = json.loads(line)
    except ValueError:
        row = None
    if not isinstance(row, dict) or not set(row) <= set(COLUMNS):
        raise UnreadableHandles(f"{path}:{number}: must be a JSON object with members of {', '.join(COLUMNS)}")
    return row


def _of_rows(path: str, rows: Iterable[tuple[int, Mapping[str, Any]]]) -> Iterator[Handle]:
    for number, row in rows:
        for column in COLUMNS:
            text = row.get(column)
            if text is not None and str(text).strip():
                yield Handle(column, str(text), f"{path}:{number}")
