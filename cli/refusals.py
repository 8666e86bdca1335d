"""Refused source events: where the first of each reason stand, and a file that names all of them."""

import json
import os
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from producers.files import RefusedLine
from producers.intake import Report
from worker.errors import RelayError

NAMED_LINES: Final = 5
"""How many refused lines are named for each reason."""


class FileExists(RelayError):
    """Something else is there; the text says what to do."""


class RefusedLines:
    """Where the first refused source events of each reason stand."""

    def __init__(self) -> None:
        self._places: defaultdict[str, list[str]] = defaultdict(list)

    def add(self, refused: RefusedLine) -> None:
        places = self._places[refused.reason]
        if len(places) < NAMED_LINES:
            places.append(f"{refused.file}:{refused.line}")

    def describe(self, report: Report) -> list[str]:
        """One line for each reason: how many, and where the first ones of this go stand."""
        return [
            f"refused: {reason}: {count:,} source event{'s' * (count != 1)}: {self._named(reason, count)}"
            for reason, count in report.refused.most_common()
        ]

    def _named(self, reason: str, count: int) -> str:
        places = self._places[reason]
        return ", ".join([*places, "…"] if count > len(places) else places)


class RefusedFile:
    """An NDJSON file that names every refused source event, for its owner alone.

    A line: `{"file", "line", "reason"}`, and on request `event`, what stands there. Each is written at once, so that a
    load that goes on finds what it wrote before; what was written after the place where it goes on is taken out again.
    """

    def __init__(self, path: Path, *, with_events: bool) -> None:
        self._path = path
        self._with_events = with_events
        self._goes_on: dict[str, int] = {}
        self._trimmed = False

    def go_on(self, file: str, line: int) -> None:
        """An earlier go has told of the file up to this line."""
        self._goes_on[file] = line

    def add(self, refused: RefusedLine) -> None:
        self._trim()
        told: dict[str, Any] = {"file": refused.file, "line": refused.line, "reason": refused.reason}
        if self._with_events:
            told["event"] = refused.content.decode(errors="replace")
        self._file.write(json.dumps(told).encode() + b"\n")

    def __enter__(self) -> Self:
        """Raises `FileExists` rather than replace something else."""
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        self._file = open(descriptor, "r+b", buffering=0)  # noqa: PTH123 - a descriptor; closed on leaving
        first = self._file.readline()
        if first and _told_in(first) is None:
            self._file.close()
            raise FileExists(f"{self._path} exists, and is no list of refused lines; name another")
        os.fchmod(descriptor, 0o600)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._file:
            if kind is None:
                self._trim()

    def _trim(self) -> None:
        if not self._trimmed:
            self._trimmed = True
            self._file.truncate(self._kept_bytes())
            self._file.seek(0, os.SEEK_END)

    def _kept_bytes(self) -> int:
        """How much of what is there is about lines before those where files go on."""
        kept = 0
        with self._path.open("rb") as lines:
            for line in lines:
                told = _told_in(line)
                if told is None or told["line"] > self._goes_on.get(told["file"], 0):
                    break
                kept += len(line)
        return kept


def _told_in(line: bytes) -> Mapping[str, Any] | None:
    try:
        told = json.loads(line)
    except ValueError:  # it was being written when the load was killed
        return None
    return told if isinstance(told, dict) and {"file", "line", "reason"} <= told.keys() else None
