"""`audience-relay dead-letters`: look at what vendors refused for good; replay, discard or export it."""

import heapq
import sys
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Final

import click

from cli import letters_export, letters_found, options
from cli.access import expect_known, opened
from cli.groups import OrderedGroup
from cli.letters_forms import draw_found, draw_list, draw_one, found_as_json, record, summary
from cli.letters_found import Found, find
from cli.letters_selection import Filters, destinations, filtered, select
from worker import settings
from worker.errors import RelayError
from worker.settings import Settings
from worker.store.deadletters import DeadLetter, Replayed
from worker.store.store import Store

SOME_LEFT: Final = 1
NONE: Final = "there is no such dead letter"

_everything = click.option("--all", "everything", is_flag=True, help="All there are; needed where no filter is given.")
_dry_run = click.option("--dry-run", is_flag=True, help="Only tell which ones, and how many.")
_yes = click.option("--yes", is_flag=True, help="Do not ask on a terminal.")


class NoSuchLetter(RelayError):
    """It was replayed or discarded, or never there."""


@click.group(cls=OrderedGroup)
def dead_letters() -> None:
    """Look at what vendors refused for good; replay, discard or export it."""


@dead_letters.command("list")
@filtered
@click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True, help="So many at most.")
@options.config
@options.as_json
def list_(filters: Filters, limit: int, config: Path, *, as_json: bool) -> None:
    """List dead letters, those buried last first, without identifiers."""
    relay = settings.load(config)
    with opened(relay) as store:
        found = list(islice(_newest_first(filters, relay, store), limit + 1))
    shown, more = found[:limit], len(found) > limit
    if as_json:
        options.print_json({"dead_letters": [summary(each) for each in shown], "more": more})
    elif shown:
        options.console().print(draw_list(shown, time.time_ns() // 1_000_000))
        if more:
            click.echo("There are more: see --limit and the filters.")
    else:
        click.echo(NONE)


@dead_letters.command()
@click.argument("destination")
@click.argument("number", type=int)
@options.config
@options.as_json
def show(destination: str, number: int, config: Path, *, as_json: bool) -> None:
    """Show everything of one dead letter, with the person's identifiers."""
    relay = settings.load(config)
    with opened(relay) as store:
        expect_known(destination, relay, store)
        letter = store.dead_letters(destination).get(number)
    if letter is None:
        raise NoSuchLetter(f"{destination} has no dead letter {number}; see `audience-relay dead-letters list`")
    if as_json:
        options.print_json(record(letter))
    else:
        options.console().print(draw_one(letter))


@dead_letters.command()
@filtered
@_everything
@_dry_run
@click.option("--force", is_flag=True, help="Superseded ones, too: they then undo what is newer.")
@_yes
@options.config
@options.as_json
def replay(
    filters: Filters, config: Path, *, everything: bool, dry_run: bool, force: bool, yes: bool, as_json: bool
) -> None:
    """Put dead letters back at the heads of their lanes.

    They keep their time and count as waiting again. Superseded ones stay: since they were buried, a newer
    change of the same person was delivered. Those whose lane is being flushed are tried again for a few
    seconds. Exits with 0 when all were replayed, with 1 when some stayed, and with 2 when it failed.
    """
    _expect_filters(filters, everything=everything)
    relay = settings.load(config)
    with opened(relay) as store:
        found = find(filters, relay, store)
        _preview(found, "Replay {}?", dry_run=dry_run, yes=yes, as_json=as_json)
        done = letters_found.replay(found, store, force=force)
    if as_json:
        options.print_json({"dry_run": False, **found_as_json(found), **_counts(done)})
    else:
        click.echo("\n".join(_told(done)))
    sys.exit(SOME_LEFT if done.superseded or done.stayed else 0)


@dead_letters.command()
@filtered
@_everything
@_dry_run
@_yes
@options.config
@options.as_json
def discard(filters: Filters, config: Path, *, everything: bool, dry_run: bool, yes: bool, as_json: bool) -> None:
    """Forget dead letters for good; they count as discarded.

    Exits with 0 when it is done, with 1 when you say no, and with 2 when it failed.
    """
    _expect_filters(filters, everything=everything)
    relay = settings.load(config)
    with opened(relay) as store:
        found = find(filters, relay, store)
        _preview(found, "Discard {} for good?", dry_run=dry_run, yes=yes, as_json=as_json)
        discarded = letters_found.discard(found, store)
    if as_json:
        options.print_json({"dry_run": False, **found_as_json(found), "discarded": discarded})
    else:
        click.echo(f"{_letters(discarded)} discarded")


@dead_letters.command()
@filtered
@click.option("--output", type=click.Path(path_type=Path, dir_okay=False), help="A new file, for its owner alone.")
@click.option("--force", is_flag=True, help="Replace that file if there is one.")
@options.config
def export(filters: Filters, output: Path | None, config: Path, *, force: bool) -> None:
    """Write dead letters as NDJSON, with the persons' identifiers.

    Everything of each, one JSON object a line, the longest buried first. They stay where they are. Without
    --output to standard output.
    """
    relay = settings.load(config)
    with opened(relay) as store:
        letters = (
            each for name in destinations(filters, relay, store) for each in select(filters, store.dead_letters(name))
        )
        count = letters_export.write(letters, output, force=force)
    click.echo(f"{_letters(count)} exported", err=True)


def _newest_first(filters: Filters, relay: Settings, store: Store) -> Iterator[DeadLetter]:
    """Over all destinations, those buried last first."""
    each_by_itself = [
        select(filters, store.dead_letters(name), newest_first=True) for name in destinations(filters, relay, store)
    ]
    return heapq.merge(*each_by_itself, key=lambda letter: -letter.buried_ms)


def _expect_filters(filters: Filters, *, everything: bool) -> None:
    if not filters.given and not everything:
        raise click.UsageError("say which ones: by --destination, --audience, --reason, --since …, or --all")


def _preview(found: Found, question: str, *, dry_run: bool, yes: bool, as_json: bool) -> None:
    """Tell which ones; end the command when that was all, or when a person at the terminal says no."""
    if as_json and dry_run:
        options.print_json({"dry_run": True, **found_as_json(found)})
    elif found.total and not as_json:
        options.console().print(draw_found(found))
    elif not as_json:
        click.echo(NONE)
    if dry_run:
        click.echo("a dry run: nothing was changed", err=True)
        sys.exit(0)
    asks = found.total and not yes and sys.stdin.isatty()
    if asks and not click.confirm(question.format(_letters(found.total)), err=True):
        click.echo("nothing was changed", err=True)
        sys.exit(SOME_LEFT)


def _counts(done: Replayed) -> dict[str, int]:
    return {"replayed": done.replayed, "superseded": done.superseded, "busy": len(done.stayed)}


def _told(done: Replayed) -> Iterator[str]:
    yield f"{_letters(done.replayed)} replayed"
    if done.superseded:
        yield f"{_letters(done.superseded)} stayed: superseded by newer changes; --force replays them all the same"
    if done.stayed:
        advice = "try again, or hold them first (`audience-relay hold`)"
        yield f"{_letters(len(done.stayed))} stayed, their lanes being worked on: {advice}"


def _letters(count: int) -> str:
    return f"{count:,} dead letter{'' if count == 1 else 's'}"
