"""`python -m bench.check`: whether loads and drains are as fast as they were, by their ratio to a calibration.

A calibration and a piece of each work take turns, several times, in this one process; the best of each counts. What
counts is time of a core, of this process and its Redis together: it hardly depends on who else is busy. So this says
whether work has become dearer, not how fast it is, and nothing of time that is only waited.
"""

import gc
import logging
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Final, NamedTuple

import click
import msgspec
import structlog
from rich.console import Console
from rich.table import Table

from bench.calibration import calibrate, core_seconds
from bench.events import events
from bench.figures import NotMeasured
from bench.in_memory import InMemory
from bench.rig import KINDS, Rig, destination, rig
from cli.options import console
from worker.edges import open_edges
from worker.flush import flush_next

BASELINE: Final = Path(__file__).with_name("baseline.json")
SLACK: Final = 0.2
ROUNDS: Final = 7
ATTEMPTS: Final = 3
EVENTS: Final = 20_000


class Compared(NamedTuple):
    """A ratio to the calibration, now and as it was stored. None: there is none."""

    name: str
    found: float | None
    stored: float | None

    @property
    def change(self) -> float | None:
        """By what share it has become faster."""
        return None if self.found is None or not self.stored else self.found / self.stored - 1

    @property
    def failed(self) -> bool:
        """Slower than is allowed, or not comparable: a name on one side only hides what has become of the other."""
        return self.change is None or self.change < -SLACK

    @property
    def verdict(self) -> str:
        """What is far above the baseline could become slower again unseen."""
        if self.failed:
            return "[red]slower[/]"
        stale = self.change is not None and self.change > SLACK
        return "[yellow]faster: store it with --store[/]" if stale else "[green]as fast[/]"


def compare(found: Mapping[str, float], stored: Mapping[str, float]) -> list[Compared]:
    return [Compared(name, found.get(name), stored.get(name)) for name in dict.fromkeys((*found, *stored))]


@click.command()
@click.option("--store", is_flag=True, help="Write a new baseline in place of comparing with the stored one.")
def main(*, store: bool) -> None:
    """Compare loads and drains with the stored baseline; exit with 1 when one is more than 20 % slower."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    gc.freeze()
    with tempfile.TemporaryDirectory(prefix="audience-relay-bench-") as folder:
        if store:
            kept = middle([ratios(Path(folder)) for _ in range(ATTEMPTS)])
            BASELINE.write_bytes(msgspec.json.format(msgspec.json.encode(kept), indent=2) + b"\n")
            return
        compared = _compared(Path(folder), msgspec.json.decode(BASELINE.read_bytes(), type=dict[str, float]))
    _print(console(), compared)
    sys.exit(1 if any(each.failed for each in compared) else 0)


def middle(runs: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Of each work the median of some runs."""
    return {name: median(run[name] for run in runs) for name in runs[0]}


def _compared(folder: Path, stored: Mapping[str, float]) -> list[Compared]:
    """What seems slower is measured again: noise passes, and what has become slower stays so."""
    best: dict[str, float] = {}
    compared: list[Compared] = []
    for _ in range(ATTEMPTS):
        best = {name: max(ratio, best.get(name, 0.0)) for name, ratio in ratios(folder).items()}
        compared = compare(best, stored)
        if not any(each.failed for each in compared):
            break
    return compared


def ratios(folder: Path) -> dict[str, float]:
    """By work, its best rate over the best of the calibration."""
    best: dict[str, float] = {}
    destinations = [destination(kind, audiences=kind) for kind in KINDS]
    with rig(folder, destinations) as made:
        for turn in range(ROUNDS):
            for name, rate in _turn(made, turn):
                best[name] = max(rate, best.get(name, 0.0))
    calibration = best.pop("calibration")
    return {name: round(rate / calibration, 4) for name, rate in best.items()}


def _turn(made: Rig, turn: int) -> Iterator[tuple[str, float]]:
    for kind in KINDS:
        yield "calibration", calibrate(made.redis)
        source_events = list(events(EVENTS, first=turn * EVENTS, prefix=kind))
        started = core_seconds(made.redis)
        report = made.intake().accept_many(source_events)
        yield f"load.{kind}", EVENTS / (core_seconds(made.redis) - started)
        if report.changes != {kind: EVENTS}:
            raise NotMeasured(f"{dict(report.changes)} in place of {EVENTS} changes for {kind}")
        yield f"drain.{kind}", _drained(made, kind)


def _drained(made: Rig, kind: str) -> float:
    """Changes a second of a core, vendors answering from memory."""
    client = InMemory()
    edges = open_edges(made.settings.destination(kind), made.store, client)
    started, left = core_seconds(made.redis), EVENTS
    while left and (done := flush_next(edges)):
        left -= done.changes
    seconds = core_seconds(made.redis) - started
    if left or client.sink.tally.identifiers != EVENTS:
        raise NotMeasured(f"{client.sink.tally.identifiers} identifiers in place of {EVENTS} were sent to {kind}")
    return EVENTS / seconds


def _print(out: Console, compared: list[Compared]) -> None:
    table = Table("work", "ratio to calibration", "stored", "change", "", title="audience-relay, bench-check")
    for each in compared:
        change = "" if each.change is None else f"{each.change:+.0%}"
        table.add_row(each.name, _told(each.found), _told(each.stored), change, each.verdict)
    out.print(table)


def _told(ratio: float | None) -> str:
    return "–" if ratio is None else f"{ratio:.3f}"


if __name__ == "__main__":
    main()
