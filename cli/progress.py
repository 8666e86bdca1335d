"""How far a load is: bytes, source events per second and the time left, on standard error and only on a terminal."""

import os
import stat
import sys
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TaskID,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from producers.files import STDIN

Clock = Callable[[], float]
"""Seconds since any moment."""


class Bar:
    """A progress bar, from `with` to its end; `advance` is what `producers.files.load` tells progress to."""

    def __init__(self, paths: Sequence[str], console: Console | None = None, now: Clock | None = None) -> None:
        console = console or Console(stderr=True)
        total = total_bytes(paths)
        rest: list[ProgressColumn] = [TimeElapsedColumn()] if total is None else [TimeRemainingColumn(compact=True)]
        self._progress = Progress(
            SpinnerColumn(),
            BarColumn(bar_width=None),
            DownloadColumn(),
            _EventRate(),
            *rest,
            console=console,
            get_time=now,
            disable=not console.is_terminal,
            transient=True,
            expand=True,
        )
        self._task: TaskID = self._progress.add_task("load", total=total, events=0)

    def advance(self, read_bytes: int, events: int) -> None:
        """So many bytes and source events were read, over all files."""
        self._progress.update(self._task, completed=read_bytes, events=events)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()


def total_bytes(paths: Sequence[str]) -> int | None:
    """How much there is to read; None when standard input or a pipe does not tell."""
    sizes = [_size(path) for path in paths]
    return None if None in sizes else sum(size for size in sizes if size is not None)


def _size(path: str) -> int | None:
    if path == STDIN and sys.stdin is None:
        return None
    try:
        found = os.fstat(sys.stdin.fileno()) if path == STDIN else os.stat(path)  # noqa: PTH116 - one call for both
    except (OSError, ValueError):
        return None
    return found.st_size if stat.S_ISREG(found.st_mode) else None


class _EventRate(ProgressColumn):
    """`12,345 events/s`, over the whole load."""

    def render(self, task: Task) -> Text:
        rate = task.fields["events"] / task.elapsed if task.elapsed else 0
        return Text(f"{rate:,.0f} events/s", style="progress.data.speed")
