"""`audience-relay audiences`: what each vendor says of its audiences, and what waits here for them."""

import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Final

import click
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from cli import options
from cli.access import opened
from cli.check import AT_ONCE, problem_of
from cli.listing import Listing, draw, rows_of
from cli.listing import as_json as as_json_of
from cli.overview import MOST_LANES
from cli.patience import PatientSender
from worker import settings
from worker.delivery import Client, open_client
from worker.destinations.base import Destination, DestinationSettings
from worker.edges import audiences as ask
from worker.edges import open_edges
from worker.errors import DeliveryError
from worker.store.store import Store

SOME_FAILED: Final = 1


@click.command()
@options.destinations
@options.config
@options.as_json
def audiences(names: Sequence[str], config: Path, *, as_json: bool) -> None:
    """Show what each vendor says of its audiences, and what waits for them.

    The numbers are the vendor's own. It is asked with the workers' tokens and within its limits, deliveries
    first, so that many audiences may take minutes. Exits with 0 when every vendor has answered, with 1 when
    one has not, and with 2 when it failed.
    """
    relay = settings.load(config)
    chosen = [relay.destination(name) for name in names] or relay.destinations
    with opened(relay) as store:
        listings = _ask_all(chosen, store)
    if as_json:
        options.print_json(as_json_of(listings))
    else:
        options.console().print(draw(listings))
    sys.exit(SOME_FAILED if any(each.reason for each in listings) else 0)


def _ask_all(chosen: Sequence[DestinationSettings], store: Store) -> list[Listing]:
    """All destinations side by side; how far each is, is shown on a terminal."""
    with open_client() as client, _meter() as meter, ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(lambda each: _ask(each, store, client, meter), chosen))


def _ask(settings: DestinationSettings, store: Store, client: Client, meter: Progress) -> Listing:
    edges = open_edges(settings, store, client)
    vendor = type(edges.destination)
    listing = partial(Listing, settings.name, settings.kind, vendor.__name__)
    told = vendor.audiences is not Destination.audiences
    task = meter.add_task(settings.name, requests=0, state="", total=None)

    def advance(requests: int, waiting: bool) -> None:  # noqa: FBT001 - the form of `Progress`
        meter.update(task, requests=requests, state="waiting for a permit" if waiting else "")

    try:
        facts = ask(edges, PatientSender(edges, advance))
    except DeliveryError as order:
        return listing(told, (), *problem_of(order))
    finally:
        meter.remove_task(task)
    return listing(told, rows_of(facts, edges.lanes.status(MOST_LANES).lanes))


def _meter() -> Progress:
    console = Console(stderr=True)
    requests = TextColumn("{task.fields[requests]:,} requests  {task.fields[state]}")
    columns = (SpinnerColumn(), TextColumn("{task.description}"), requests, TimeElapsedColumn())
    return Progress(*columns, console=console, disable=not console.is_terminal, transient=True)
