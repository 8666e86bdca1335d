"""What commands tell beside their work. Nobody has to listen: whoever reads may go, and the work goes on."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

import click


def say(text: str, *, err: bool = True) -> None:
    """A line to standard error, or to standard output."""
    with heard():
        click.echo(text, err=err)


@contextmanager
def heard() -> Iterator[None]:
    """Within it, the reader of standard output or of standard error may go away."""
    try:
        yield
    except BrokenPipeError:
        for stream in filter(None, (sys.stdout, sys.stderr)):  # None: it was closed from the beginning
            _silence(stream)


def _silence(stream: TextIO) -> None:
    """What is left in its buffer goes nowhere, and raises nothing at the end of the process."""
    try:
        stream.flush()
    except BrokenPipeError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
