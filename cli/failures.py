"""What ends a command: one clear message on standard error and exit code 2, never a traceback."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any, Final

import click
import msgspec

from cli.telling import heard
from worker.errors import ConfigurationError, RelayError

FAILED: Final = 2
INTERRUPTED: Final = 130
"""What a shell makes of SIGINT."""


class Failure(click.ClickException):
    """A message that says what to do next."""

    exit_code = FAILED

    def show(self, file: IO[Any] | None = None) -> None:
        with heard():
            click.echo(self.message, file=file, err=True)


@contextmanager
def told() -> Iterator[None]:
    """Turns what commands raise into a `Failure`."""
    try:
        yield
    except ConfigurationError as error:
        raise Failure("\n".join(error.mistakes)) from error
    except RelayError as error:
        raise Failure(f"audience-relay: {error}") from error
    except msgspec.DecodeError as error:
        raise Failure("audience-relay: a change in Redis was written by a newer release; update this one") from error
    except OSError as error:
        if error.errno == errno.EPIPE:
            raise  # whoever read our output has seen enough; click ends quietly
        raise Failure(f"audience-relay: {_plain(error)}") from error


def _plain(error: OSError) -> str:
    """`relay.toml: Permission denied`"""
    named = f"{error.filename}: " if error.filename else ""
    return f"{named}{error.strerror or error}"
