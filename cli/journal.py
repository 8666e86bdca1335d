"""What processes write, line by line with their names, as honcho prints it; on a terminal, JSON logs made readable."""

import json
import sys
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from typing import Final, TextIO

from honcho.colour import get_colours
from honcho.printer import Message, Printer
from structlog.dev import ConsoleRenderer

FACTS_OF_LINE: Final = ("timestamp", "filename", "lineno")
"""What a log line has that a journal's line shows otherwise, or not at all."""


class Journal:
    """Prints the lines of some processes, each with its name and a colour of its own."""

    def __init__(self, names: Sequence[str], output: TextIO | None = None) -> None:
        output = output or sys.stderr
        self._printer = Printer(output, width=max(map(len, names), default=0))
        self._colours = dict(zip(names, get_colours(), strict=False))
        self._renderer = ConsoleRenderer(pad_event_to=0) if output.isatty() else None

    def say(self, name: str, line: str) -> None:
        text = readable(line, self._renderer) if self._renderer else line
        now = datetime.now().astimezone()
        with suppress(OSError):  # the terminal is gone; ending in order matters more
            self._printer.write(Message("line", text, now, name, self._colours.get(name)))


def readable(line: str, renderer: ConsoleRenderer) -> str:
    """A JSON log line as a person reads it; any other line as it is."""
    try:
        event = json.loads(line)
    except ValueError:
        return line
    if not isinstance(event, dict) or "event" not in event:
        return line
    for fact in FACTS_OF_LINE:
        event.pop(fact, None)
    return str(renderer(None, "", event))
