"""Source events from files and standard input: NDJSON or CSV, plain or compressed, once or in several goes.

Memory grows neither with the file nor with a line that never ends: what is held is two chunks.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple
from zlib import crc32

from producers.behind import Behind
from producers.bookmark import add
from producers.form import Form
from producers.intake import CHUNK_MS, Chunk, Intake, Report
from producers.ndjson import Place, Read
from producers.reading import STDIN, CutOffFile, UnreadableFile, expect_readable, opened, read_events
from producers.resume import Marker, Resuming
from producers.segment import Reason
from producers.source import Source, Spot
from worker.errors import RelayError

__all__ = ["STDIN", "CutOffFile", "RefusedLine", "UnreadableFile", "load"]

CHUNK_BYTES: Final = 8 * 1024 * 1024
"""How large a chunk is at most, its last source event aside."""


class RefusedLine(NamedTuple):
    """A source event that was refused: its file as it was named, the line where it begins, why, and what stands there.

    Of what is too large only the beginning.
    """

    file: str
    line: int
    reason: Reason
    content: bytes

    def __repr__(self) -> str:
        return f"RefusedLine({self.file}:{self.line}, {self.reason})"


Progress = Callable[[int, int], None]
"""Gets how far all files are read, in bytes as they lie there, and how many lines of them were read by this load."""
OnRefusedLine = Callable[[RefusedLine], None]
"""Is called when the store has the chunk."""
Clock = Callable[[], float]
"""Seconds since any moment."""


def load(
    paths: Sequence[str],
    intake: Intake,
    progress: Progress | None = None,
    *,
    report: Report | None = None,
    on_refused: OnRefusedLine | None = None,
    stdin: BinaryIO | None = None,
    form: Form | None = None,
    resuming: Resuming | None = None,
) -> Report:
    """Accept the source events of all files, in order; `-` is standard input.

    With `resuming`, regular files go on where a load of them stopped, and are counted as if it had not.

    Raises `UnreadableFile`, `ColumnError` and `ChangedFile`, as far as can be before anything is accepted, and what
    `Intake.store` raises; `report`, when given, then holds what was done until then.
    """
    form = form or Form()
    markers = _markers(paths, form, resuming, stdin)
    loading = _Loading(intake, form, Report() if report is None else report, progress, on_refused)
    for path, marker in zip(paths, markers, strict=True):
        loading.load(path, marker, stdin)
    if resuming is not None:
        resuming.end(markers)
    return loading.report


def _markers(paths: Sequence[str], form: Form, resuming: Resuming | None, stdin: BinaryIO | None) -> list[Marker]:
    markers, turns = list[Marker](), Counter[Path]()
    for path in paths:
        regular, whole = expect_readable(path, form, stdin), Path(path).resolve()
        turns[whole] += 1
        markers.append(resuming.marker(path, form.digest(path), turns[whole]) if regular and resuming else Marker())
    if resuming is not None:
        resuming.begin(markers)
    return markers


class _Loading:
    """The files of one command."""

    def __init__(
        self, intake: Intake, form: Form, report: Report, progress: Progress | None, on_refused: OnRefusedLine | None
    ) -> None:
        self.report = report
        self._intake = intake
        self._form = form
        self._progress = progress
        self._on_refused = on_refused
        self._bytes = 0
        self._lines = 0

    def load(self, path: str, marker: Marker, stdin: BinaryIO | None) -> None:
        add(self.report, marker.report)
        marker.begin()
        with opened(path, stdin) as stream:
            source, place = Source(stream), Place()
            try:
                self._load(path, source, place, marker)
            except CutOffFile:
                marker.move(source.spot, place, Report(), cut_off=True)
                raise
        self._bytes += source.spot.position
        self._lines += place.line - marker.start.line
        self._tell(0, 0)

    def _load(self, path: str, source: Source, place: Place, marker: Marker) -> None:
        """A chunk is stored while the next is read; of what trickles in, before the next is read."""
        start = marker.start
        events = read_events(path, source, place, self._form, start=start, max_bytes=self._intake.max_event_bytes)
        with Behind() as behind:
            for reads in chunks(events, marker.every, trickling=not marker.resumes):
                behind.do(partial(self._store, self._gather(path, reads), marker, source.spot, replace(place)))
                if not marker.resumes:
                    behind.wait()

    def _gather(self, path: str, reads: Sequence[Read]) -> "_Gathered":
        refused = list[tuple[int, Reason]]()
        lines = [(line, event) for line, event, _ in reads]
        chunk = self._intake.gather(lines, lambda line, reason: refused.append((line, reason)))
        contents = {line: content for line, _, content in reads} if refused else {}
        told = [RefusedLine(path, line, reason, contents[line]) for line, reason in refused]
        return _Gathered(chunk, told, crc32(b"".join(content for _, _, content in reads)))

    def _store(self, gathered: "_Gathered", marker: Marker, spot: Spot, place: Place) -> None:
        part, start = Report(), marker.start
        try:
            with marker.chunk(gathered.checksum):
                self._intake.store(gathered.chunk, part)
        finally:
            add(self.report, part)
        if self._on_refused is not None:
            for each in gathered.refused:
                self._on_refused(each)
        marker.move(spot, place, part)
        self._tell(spot.position, place.line - start.line)

    def _tell(self, more_bytes: int, more_lines: int) -> None:
        if self._progress is not None:
            self._progress(self._bytes + more_bytes, self._lines + more_lines)


class _Gathered(NamedTuple):
    """A chunk, what was refused of it, and a checksum of what stands in the file."""

    chunk: Chunk
    refused: Sequence[RefusedLine]
    checksum: int


def chunks(
    events: Iterator[Read], most: int, *, trickling: bool = False, now: Clock = time.monotonic
) -> Iterator[list[Read]]:
    """So many source events at once, if they are not too large.

    Where a chunk ends depends on what is read alone, so that a file is cut alike again; but what trickles in does not
    wait for long. An error follows the chunk of what was read before it.
    """
    chunk: list[Read] = []
    size, ends_at = 0, now() + CHUNK_MS / 1000
    try:
        for read in events:
            chunk.append(read)
            size += len(read[2])
            if len(chunk) == most or size >= CHUNK_BYTES or (trickling and now() >= ends_at):
                yield chunk
                chunk, size, ends_at = [], 0, now() + CHUNK_MS / 1000
    except RelayError:
        if chunk:
            yield chunk
        raise
    if chunk:
        yield chunk
