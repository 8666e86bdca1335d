"""The arguments and options that commands share, and the one form of `--json`."""

import json
import sys
from pathlib import Path
from typing import Any, Final

import click
from rich.console import Console

from worker.settings import default_path

PIPED_COLUMNS: Final = 200
"""How wide output is that no terminal limits."""


class InputFile(click.File):
    """A file to read bytes from; `-` is standard input."""

    def __init__(self) -> None:
        super().__init__("rb")

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value == "-" and sys.stdin is None:
            self.fail("standard input is closed; pipe something into it, or name a file", param, ctx)
        return super().convert(value, param, ctx)


config = click.option(
    "--config",
    type=click.Path(path_type=Path),
    default=default_path,
    show_default="$RELAY_CONFIG, else relay.toml",
    help="The configuration.",
)
unused_config = click.option("--config", expose_value=False, hidden=True, help="Taken by every command; not needed.")
destinations = click.option(
    "--destination", "names", multiple=True, metavar="NAME", help="Only this destination; repeatable."
)
as_json = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")


def print_json(result: Any) -> None:
    """To standard output, so that it may be piped."""
    click.echo(json.dumps(result, indent=2, ensure_ascii=False))


def console() -> Console:
    """Standard output, as wide as the terminal is."""
    on_terminal = Console()
    return on_terminal if on_terminal.is_terminal else Console(width=PIPED_COLUMNS)
