"""`audience-relay load`: source events from files or standard input."""

import gc
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path
from typing import Final

import click

from cli import options
from cli.access import opened
from cli.form_options import expect_table, form_options
from cli.progress import Bar
from cli.refusals import RefusedLines
from cli.refused_file import RefusedFile
from cli.telling import heard, say
from producers import files
from producers.clock import now_ms
from producers.files import RefusedLine
from producers.form import Form
from producers.intake import Intake, Report, Store
from producers.resume import NamedChunks, Resumed, Resuming
from producers.routing import Router
from worker import settings
from worker.contract import Change, LaneKey
from worker.settings import Settings
from worker.store.bookmarks import Bookmarks
from worker.store.connection import connect, redis_url

SOME_REFUSED: Final = 1


@click.command()
@click.argument("paths", metavar="FILE...", nargs=-1, required=True)
@form_options
@click.option("--dry-run", is_flag=True, help="Read and route, and tell what would come of it; append nothing.")
@click.option("--restart", is_flag=True, help="Load files from their beginning, also where a load of them stopped.")
@click.option(
    "--refused",
    "refused_path",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="PATH",
    help="Name every refused line in this file, as NDJSON, with its reason.",
)
@click.option(
    "--refused-with-events", "with_events", is_flag=True, help="There, also what stands in it: personal data."
)
@options.config
@options.as_json
def load(
    paths: tuple[str, ...],
    form: Form,
    refused_path: Path | None,
    config: Path,
    *,
    dry_run: bool,
    restart: bool,
    with_events: bool,
    as_json: bool,
) -> None:
    """Load source events from files; `-` is standard input.

    NDJSON, or CSV with a header, plain or compressed with gzip or zstd. When it ends, Redis has every change.

    A load that was stopped goes on where it stopped when the same files are loaded again.

    Exits with 0 when all source events were taken, with 1 when some were refused, and with 2 when it failed:
    then load the same files again.
    """
    expect_table(form, paths)
    refused_file = _refused_file(refused_path, paths, with_events=with_events)
    relay = settings.load(config)
    loading = _Loading(paths, form, refused_file, as_json=as_json)
    with refused_file or nullcontext(), _way_in(relay, loading, dry_run=dry_run, restart=restart) as (store, resuming):
        loading.run(Intake(Router(relay.destinations), store, now_ms), resuming)
    sys.exit(SOME_REFUSED if loading.report.refused else 0)


class _Loading:
    """One load, and what is told of it."""

    def __init__(self, paths: Sequence[str], form: Form, refused_file: RefusedFile | None, *, as_json: bool) -> None:
        self.report = Report()
        self._refused = RefusedLines()
        self._paths = paths
        self._form = form
        self._refused_file = refused_file
        self._as_json = as_json

    def run(self, intake: Intake, resuming: Resuming | None) -> None:
        gc.freeze()  # what is there stays: a load is a tenth faster when it is not looked through again and again
        try:
            with Bar(self._paths) as bar:
                files.load(
                    self._paths,
                    intake,
                    bar.advance,
                    report=self.report,
                    on_refused=self._refuse,
                    form=self._form,
                    resuming=resuming,
                )
        except BaseException:
            self._print(failed=True)
            if resuming is not None and self.report.changes and any(Path(each).is_file() for each in self._paths):
                say("what was read stays loaded; load the same files again, and it goes on there")
            raise
        self._print()

    def begin(self, resumed: Sequence[Resumed]) -> None:
        """Nothing was accepted yet."""
        for each in resumed:
            after = f"after line {each.line:,}, where a load of it stopped"
            say(f"{each.path}: goes on {after}; --restart loads all of it again")
            if stays := _what_stays(each):
                say(f"{each.path}: before that, {stays}; that stays so, whatever relay.toml says now")
        if self._refused_file is not None:
            self._refused_file.begin(resumed)

    def _refuse(self, refused: RefusedLine) -> None:
        self._refused.add(refused)
        if self._refused_file is not None:
            self._refused_file.add(refused)

    def _print(self, *, failed: bool = False) -> None:
        """Of a load that failed, what was done until then."""
        for line in self._refused.describe(self.report):
            say(line)
        with heard():
            if self._as_json:
                options.print_json(self.report.as_dict())
            elif self.report.read or not failed:
                click.echo("\n".join(summary(self.report)))


def summary(report: Report) -> list[str]:
    """What became of the source events, and the changes of each destination."""
    changes = [_changes(name, count, report.duplicates[name]) for name, count in sorted(report.changes.items())]
    read = f"{report.read:,} {_plural(report.read, 'source event')} read"
    return [f"{read}, {report.accepted:,} accepted, {report.refused.total():,} refused", *changes]


class _Nowhere(Store):
    """Takes everything and keeps nothing."""

    def append(self, lane: LaneKey, changes: Sequence[Change], chunk_id: str) -> int:  # noqa: ARG002 - as in `Store`
        return len(changes)

    def count_refused(self, reasons: Mapping[str, int]) -> None:
        """The report counts."""

    def count_left_out(self, destination: str, reasons: Mapping[str, int]) -> None:
        """As above."""


@contextmanager
def _way_in(
    relay: Settings, loading: _Loading, *, dry_run: bool, restart: bool
) -> Iterator[tuple[Store, Resuming | None]]:
    if dry_run:
        say("dry run: nothing is appended")
        loading.begin([])
        yield _Nowhere(), None
        return
    with opened(relay) as store, closing(Bookmarks(connect(redis_url(relay)))) as bookmarks:
        chunks = NamedChunks(store)
        yield chunks, Resuming(bookmarks, chunks, restart, loading.begin)


def _refused_file(path: Path | None, paths: Sequence[str], *, with_events: bool) -> RefusedFile | None:
    if path is None:
        if with_events:
            raise click.UsageError("--refused-with-events needs --refused PATH")
        return None
    loaded = any(each != files.STDIN and Path(each).resolve() == path.resolve() for each in paths)
    if loaded and (path.is_file() or not path.exists()):  # a terminal may be both
        raise click.UsageError("--refused names a file that is loaded")
    return RefusedFile(path, with_events=with_events)


def _what_stays(resumed: Resumed) -> str:
    """What mending relay.toml does not mend, if there is something."""
    refused = f"{resumed.refused:,} {_plural(resumed.refused, 'source event')} refused"
    left_out = f"{resumed.left_out:,} {_plural(resumed.left_out, 'time')} something left out for a destination"
    return ", ".join(([refused] if resumed.refused else []) + ([left_out] if resumed.left_out else []))


def _changes(destination: str, count: int, duplicates: int) -> str:
    left_out = f", {duplicates:,} {_plural(duplicates, 'duplicate')} left out" if duplicates else ""
    return f"  {count:,} {_plural(count, 'change')} for {destination}{left_out}"


def _plural(count: int, noun: str) -> str:
    return noun if count == 1 else f"{noun}s"
