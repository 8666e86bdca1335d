"""`audience-relay load`: source events from files or standard input."""

import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import Final

import click

from cli import options
from cli.access import opened
from cli.progress import Bar
from producers import files
from producers.intake import Intake, Report
from producers.routing import Router
from producers.segment import Reason
from worker import settings

SOME_REFUSED: Final = 1
NAMED_LINES: Final = 5
"""How many refused lines are named for each reason."""


@click.command()
@click.argument("paths", metavar="FILE...", nargs=-1, required=True)
@options.config
@options.as_json
def load(paths: tuple[str, ...], config: Path, *, as_json: bool) -> None:
    """Load source events from files; `-` is standard input.

    When it ends, Redis has every change. Exits with 0 when all source events were taken, with 1 when
    some were refused, and with 2 when it failed: then load the same files again.
    """
    relay = settings.load(config)
    report, refused = Report(), RefusedLines()
    with opened(relay) as store:
        intake = Intake(Router(relay.destinations), store, _now_ms)
        try:
            with Bar(paths) as bar:
                files.load(paths, intake, bar.advance, report=report, on_refused=refused.add)
        except BaseException:
            _print(report, refused, as_json=as_json, failed=True)
            raise
        _print(report, refused, as_json=as_json)
    sys.exit(SOME_REFUSED if report.refused else 0)


class RefusedLines:
    """Where the first refused source events of each reason stand."""

    def __init__(self) -> None:
        self._places: defaultdict[str, list[str]] = defaultdict(list)

    def add(self, path: str, line: int, reason: Reason) -> None:
        places = self._places[reason]
        if len(places) < NAMED_LINES:
            places.append(f"{path}:{line}")

    def describe(self, report: Report) -> list[str]:
        """One line for each reason: how many, and where the first ones stand."""
        return [
            f"refused: {reason}: {_events(count)}: {', '.join(self._places[reason])}"
            f"{', …' if count > len(self._places[reason]) else ''}"
            for reason, count in report.refused.most_common()
        ]


def _print(report: Report, refused: RefusedLines, *, as_json: bool, failed: bool = False) -> None:
    """Of a load that failed, what was done until then."""
    for line in refused.describe(report):
        click.echo(line, err=True)
    if as_json:
        options.print_json(report.as_dict())
    elif report.read or not failed:
        click.echo("\n".join(summary(report)))


def summary(report: Report) -> list[str]:
    """What became of the source events, and the changes of each destination."""
    changes = [_changes(name, count, report.duplicates[name]) for name, count in sorted(report.changes.items())]
    return [f"{_events(report.read)} read, {report.accepted:,} accepted, {report.refused.total():,} refused", *changes]


def _changes(destination: str, count: int, duplicates: int) -> str:
    left_out = f", {duplicates:,} {_plural(duplicates, 'duplicate')} left out" if duplicates else ""
    return f"  {count:,} {_plural(count, 'change')} for {destination}{left_out}"


def _events(count: int) -> str:
    return f"{count:,} {_plural(count, 'source event')}"


def _plural(count: int, noun: str) -> str:
    return noun if count == 1 else f"{noun}s"


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
