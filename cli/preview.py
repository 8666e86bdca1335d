"""`audience-relay preview`: the requests that source events would lead to; nothing is sent or changed."""

import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import BinaryIO, Final

import click
from rich.console import Console
from rich.text import Text

from cli import options
from cli import preview_forms as forms
from cli.dry_intake import Tally, by_lane, name_of, read_lines, try_out
from cli.form_options import expect_table, form_options
from cli.masking import hidden_of
from cli.preview_forms import Look
from cli.rehearsal import DestinationRehearsed, rehearse
from producers.form import Form
from worker import settings

SOME_REFUSED: Final = 1
MOST_EVENTS: Final = 10_000
WIDEST: Final = 120
MADE_UP: Final = "Nothing was sent. Ids such as 880001 are made up: the vendor gives them."


@click.command()
@click.argument("file", type=options.InputFile(), required=False)
@click.option("--event", metavar="JSON", help="One source event, in place of a file.")
@form_options
@options.destinations
@click.option("--full", is_flag=True, help="Show every person of every request, and every refused line.")
@click.option(
    "--limit", type=click.IntRange(min=1), default=MOST_EVENTS, show_default=True, help="So many events at most."
)
@options.config
@options.as_json
def preview(
    file: BinaryIO | None,
    event: str | None,
    names: Sequence[str],
    limit: int,
    config: Path,
    form: Form,
    *,
    full: bool,
    as_json: bool,
) -> None:
    """Show the requests that source events would lead to.

    FILE holds NDJSON, or CSV with a header, plain or compressed, as for `load`; `-` is standard input. All is done
    but sending: no network, no Redis, no file. The vendors' stand-ins answer, as if there were no audiences yet but
    those that people leave.

    Secrets are masked. Emails and devices are not: they are what you want to look at.

    Exits with 0 when all source events were taken, with 1 when some were refused, and with 2 when it failed.
    """
    if (file is None) == (event is None):
        raise click.UsageError("name a FILE (`-` is standard input) or give one --event")
    expect_table(form, [name_of(file)] if file else [])
    relay = settings.load(config)
    chosen = [relay.destination(name) for name in names] or relay.destinations
    tally, now_ms = Tally(), time.time_ns() // 1_000_000
    lines = read_lines(file, form) if file else [(1, event or "")]
    outcomes = try_out(lines, relay.destinations, now_ms, limit, tally)
    lanes = by_lane(outcomes, relay.destinations, tally)
    hidden = hidden_of(config, relay)
    rehearsed = (rehearse(each, lanes[each.name], now_ms, hidden[each.name]) for each in chosen)
    stopped = _print_json(tally, rehearsed) if as_json else _print_text(tally, rehearsed, full=full)
    if tally.more:
        click.echo(f"only the first {limit:,} source events were looked at; --limit N takes more", err=True)
    sys.exit(SOME_REFUSED if tally.refusals or stopped else 0)


def _print_json(tally: Tally, rehearsed: Iterable[DestinationRehearsed]) -> bool:
    every = list(rehearsed)
    destinations = [forms.destination_as_json(each, tally) for each in every]
    options.print_json(forms.tally_as_json(tally) | {"destinations": destinations})
    return any(map(_was_stopped, every))


def _print_text(tally: Tally, rehearsed: Iterable[DestinationRehearsed], *, full: bool) -> bool:
    """Each destination as soon as it is known."""
    stopped, console = False, options.console()
    look = Look(min(console.width, WIDEST), full)
    console.print(*forms.tally_as_text(tally, look), sep="\n")
    for each in rehearsed:
        _print(console, forms.destination_as_text(each, tally, look))
        stopped = stopped or _was_stopped(each)
    console.print(f"\n{MADE_UP}", style="dim", highlight=False)
    return stopped


def _was_stopped(each: DestinationRehearsed) -> bool:
    return any(part.stopped for part in each.parts)


def _print(console: Console, texts: Iterable[Text]) -> None:
    """In lines as they are: what is copied from a terminal should have no line breaks of ours."""
    for text in texts:
        console.print(text, soft_wrap=True)
