"""`audience-relay status`: counters, what waits, and what is held and why."""

import time
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Final

import click
from rich.console import Console, RenderableType
from rich.live import Live
from rich.text import Text

from cli import options, overview
from cli.access import opened
from cli.signals import interrupting
from cli.tables import draw
from worker import settings
from worker.errors import StoreUnavailable
from worker.settings import Settings
from worker.store.store import Store

REFRESH_SECONDS: Final = 1.0


@click.command()
@click.option("--watch", is_flag=True, help="Refresh each second until Ctrl-C.")
@options.config
@options.as_json
def status(config: Path, *, watch: bool, as_json: bool) -> None:
    """Show what was delivered, what waits, and what is held and why.

    For every destination and its lanes. In numbers of changes:
    accepted = delivered + folded + buried + discarded + waiting, always.
    """
    if watch and as_json:
        raise click.UsageError("--watch shows tables; leave --json out, or --watch")
    relay = settings.load(config)
    with opened(relay) as store:
        if watch:
            _watch(relay, store)
        elif as_json:
            options.print_json(overview.as_json(overview.read(relay, store), store.refused()))
        else:
            console = options.console()
            console.print(_drawn(relay, store, console))


def _watch(relay: Settings, store: Store) -> None:
    """On a terminal in place; elsewhere one table below the other."""
    console = options.console()
    live = Live(console=console, screen=True, auto_refresh=False)
    with interrupting(), suppress(KeyboardInterrupt), live if console.is_terminal else nullcontext():
        while True:
            drawn = _drawn_or_reason(relay, store, console)
            if console.is_terminal:
                live.update(drawn, refresh=True)
            else:
                console.print(drawn)
            time.sleep(REFRESH_SECONDS)


def _drawn_or_reason(relay: Settings, store: Store, console: Console) -> RenderableType:
    try:
        return _drawn(relay, store, console)
    except StoreUnavailable as error:
        return Text(f"{error}; looking again", "red")


def _drawn(relay: Settings, store: Store, console: Console) -> RenderableType:
    return draw(overview.read(relay, store), store.refused(), console.width)
