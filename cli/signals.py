"""SIGTERM and a closed terminal end a command as Ctrl-C does, so that it can tidy up."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Final

ENDING: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(slots=True)
class Endings:
    """How often somebody has asked for the end: once for an orderly one, twice for one at once."""

    asked: int = 0


@contextmanager
def interrupting() -> Iterator[None]:
    """Each of these signals raises `KeyboardInterrupt` in the main thread."""
    with _handled(_interrupt):
        yield


@contextmanager
def counting() -> Iterator[Endings]:
    """Each of these signals is only counted: for whoever may not be stopped halfway."""
    endings = Endings()

    def count(_number: int, _frame: FrameType | None) -> None:
        endings.asked += 1

    with _handled(count):
        yield endings


@contextmanager
def _handled(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    before = {number: signal.signal(number, handler) for number in ENDING}
    try:
        yield
    finally:
        for number, former in before.items():
            signal.signal(number, former)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt
