"""`audience-relay demo`: generated source events go the whole way on this machine; then, whether all arrived."""

import sys
import textwrap
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from datetime import timedelta
from typing import Final

import click
from rich.console import Console
from rich.live import Live
from rich.table import Table

from cli import options
from cli.demo_report import Outcome, VendorOutcome, compare, table, verdict
from cli.demo_stage import WORKERS, Stage, folder_of_its_own, stage
from cli.overview import Overview
from cli.signals import interrupting
from producers import files
from producers.clock import now_ms
from producers.intake import Intake, Report
from producers.routing import Router
from sandbox.crowd import Crowd

EVENTS_A_PERSON: Final = 5
PATIENCE: Final = timedelta(seconds=120)
"""How long the lanes may take to empty once everything is loaded."""
POLL_SECONDS: Final = 0.1

OPENING: Final = """\
{events:,} generated source events about {people:,} made-up people go through
Redis and {workers} workers to local stand-ins of Criteo, Taboola and StackAdapt.
Nothing leaves this machine. In the end, what each vendor holds is compared
with what the events say. Ctrl-C ends it early, and cleans up too.
"""


@click.command()
@click.option("--events", type=click.IntRange(min=1), default=20_000, show_default=True, help="How many source events.")
@click.option("--seed", default=1, show_default=True, help="The same seed gives the same people and moves.")
@click.option("--keep", is_flag=True, help="Leave the folder with the events, the configuration and the logs.")
@options.as_json
@options.unused_config
def demo(events: int, seed: int, *, keep: bool, as_json: bool) -> None:
    """Send generated events to stand-ins of the three vendors, and compare what arrives.

    Needs nothing but this machine. Exits with 0 when each vendor holds what the events say, 1 when one
    does not or the lanes do not empty in time, 2 when the demo itself fails.
    """
    crowd = Crowd(seed, now_ms=now_ms(), people=max(1, events // EVENTS_A_PERSON))
    _tell(OPENING.format(events=events, people=crowd.people, workers=WORKERS))
    with interrupting(), folder_of_its_own(keep=keep) as folder:
        with stage(folder) as running:
            outcome = perform(running, crowd, events)
        if keep:
            _tell(f"The events, the configuration and the logs are in {folder}")
    if as_json:
        options.print_json({"seed": seed, **outcome.as_dict()})
    else:
        options.console().print(table(outcome), highlight=False)
        click.echo(verdict(outcome))
    if outcome.problems and not keep:
        _tell(f"To see the workers' logs: audience-relay demo --events {events} --seed {seed} --keep")
    sys.exit(1 if outcome.problems else 0)


def perform(running: Stage, crowd: Crowd, events: int, patience: timedelta = PATIENCE) -> Outcome:
    """Load events of the crowd, wait until the lanes are empty, and compare."""
    started = time.monotonic()
    with _scoreboard() as show:

        def look(doing: str) -> list[Overview]:
            overviews = running.look()
            show(doing, overviews)
            return overviews

        report = _load(running, crowd.events(events), lambda: look("loading"))
        _tell(_loaded(report, time.monotonic() - started))
        overviews = await_empty(lambda: look("delivering"), patience)
        _tell(_delivered(overviews, time.monotonic() - started))
    return Outcome(
        events=events,
        seconds=time.monotonic() - started,
        refused=report.refused,
        expected_refused=crowd.refused,
        vendors=[_vendor_outcome(each, running, crowd) for each in overviews],
    )


def await_empty(look: Callable[[], list[Overview]], patience: timedelta) -> list[Overview]:
    """Look until nothing waits any more, or until the patience ends; returns what was seen last."""
    deadline = time.monotonic() + patience.total_seconds()
    while True:
        overviews = look()
        if not _waiting(overviews) or time.monotonic() > deadline:
            return overviews
        time.sleep(POLL_SECONDS)


def _load(running: Stage, events: Iterator[bytes], look: Callable[[], object]) -> Report:
    """By way of a file, as `audience-relay load` does it."""

    def progress(_bytes: int, _lines: int) -> None:
        look()

    path = running.folder / "events.ndjson"
    with path.open("wb") as file:
        file.writelines(event + b"\n" for event in events)
    intake = Intake(Router(running.settings.destinations), running.store, now_ms)
    return files.load([str(path)], intake, progress)


def _vendor_outcome(overview: Overview, running: Stage, crowd: Crowd) -> VendorOutcome:
    vendor = running.sandbox.vendors[overview.name]
    difference = compare(crowd.members(overview.name), vendor.members())
    return VendorOutcome(overview, difference, vendor.requests()["total"])


def _waiting(overviews: Sequence[Overview]) -> int:
    return sum(each.status.counters["waiting"] for each in overviews)


# ── What is told on the way, on standard error ───────────────────────────────────────────────────


def _tell(text: str) -> None:
    click.echo(text, err=True)


def _loaded(report: Report, seconds: float) -> str:
    reasons = ", ".join(f"{reason} {number}" for reason, number in sorted(report.refused.items()))
    refused = f"{report.refused.total():,} refused ({reasons})" if reasons else "none refused"
    told = f"{seconds:4.1f} s {report.accepted:,} source events accepted, {refused}"
    return textwrap.fill(told, 80, subsequent_indent=" " * 7)


def _delivered(overviews: Sequence[Overview], seconds: float) -> str:
    left = _waiting(overviews)
    return f"{seconds:4.1f} s " + (f"{left:,} changes still wait; given up" if left else "all lanes are empty")


@contextmanager
def _scoreboard() -> Iterator[Callable[[str, Sequence[Overview]], None]]:
    """On a terminal: how far each destination is; gone in the end."""
    console = Console(stderr=True)
    with Live(console=console, transient=True) if console.is_terminal else nullcontext() as live:

        def show(doing: str, overviews: Sequence[Overview]) -> None:
            if live is not None:
                live.update(_score(doing, overviews))

        yield show


def _score(doing: str, overviews: Sequence[Overview]) -> Table:
    score = Table.grid(padding=(0, 2))
    for each in overviews:
        counters = [f"{each.status.counters[name]:>9,} {name}" for name in ("accepted", "delivered", "waiting")]
        score.add_row(doing, each.name, *counters)
    return score
