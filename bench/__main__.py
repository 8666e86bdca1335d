"""`python -m bench`: measure, tell as it goes, and write it down; exit with 1 if something could not be measured."""

import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import click
from rich.console import Console

from bench import compare, delay, drain, end_to_end, gateway, lanes, limits, load, machine, memory
from bench.charts import short
from bench.figures import Figure, Measurement, NotMeasured, Outcome, Plan, Results, Skipped
from bench.goals import judge
from bench.report import write
from bench.rig import ROOT
from cli import options

MEASUREMENTS: Final[dict[str, Measurement]] = {
    "limits": limits.measure,
    "load": load.measure,
    "drain": drain.measure,
    "peers": compare.measure,
    "end_to_end": end_to_end.measure,
    "delay": delay.measure,
    "gateway": gateway.measure,
    "lanes": lanes.measure,
    "memory": memory.measure,
}

NOISE: Final = 0.05


def _chosen(_context: click.Context, _option: click.Parameter, text: str) -> Sequence[str]:
    names = [each.strip() for each in text.split(",") if each.strip()] or list(MEASUREMENTS)
    unknown = [each for each in names if each not in MEASUREMENTS]
    if unknown:
        raise click.BadParameter(f"{', '.join(unknown)}: there are {', '.join(MEASUREMENTS)}")
    return names


@click.command()
@click.option("--only", default="", callback=_chosen, metavar="NAME,…", help=f"Of {', '.join(MEASUREMENTS)}.")
@click.option("--scale", type=click.FloatRange(0.01, 10), default=1.0, show_default=True, help="How much work.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), default=ROOT / "bench" / "out")
@click.option("--peers", type=click.Path(path_type=Path), default=ROOT / ".venv-peers" / "bin" / "python")
def main(only: Sequence[str], scale: float, out: Path, peers: Path) -> None:
    """Measure the relay, its peers and its limits, all in one run."""
    console, started = options.console(), time.monotonic()
    found = machine.describe(peers)
    quiet = machine.Quiet()
    date = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
    outcomes: list[Outcome] = []
    with tempfile.TemporaryDirectory(prefix="audience-relay-bench-") as folder:
        plan = Plan(scale, Path(folder), peers)
        for name in only:
            for outcome in _measured(name, plan):
                outcomes.append(outcome)
                _tell(console, outcome)
    found |= _busy(console, quiet)
    results = Results(found, date, scale, time.monotonic() - started, outcomes)
    write(results, out)
    _conclude(console, results)
    console.print(f"\n{out / 'results.json'}\n{out / 'report.html'}", highlight=False)
    sys.exit(1 if any(each.failed for each in results.skipped) else 0)


def _measured(name: str, plan: Plan) -> Iterator[Outcome]:
    """What a measurement yields, until something in it goes wrong; that ends it, but not the others."""
    try:
        yield from MEASUREMENTS[name](plan)
    except NotMeasured as reason:
        yield Skipped(name, str(reason), failed=True)


def _tell(console: Console, outcome: Outcome) -> None:
    match outcome:
        case Figure():
            spread = f"{short(outcome.low)} – {short(outcome.high)}" if len(outcome.samples) > 1 else ""
            value = f"{short(outcome.value):>8} {outcome.unit:<18}"
            console.print(f"{outcome.title:<52} [bold]{value}[/] [dim]{spread}[/]", highlight=False)
        case Skipped():
            console.print(f"{outcome.name}: {'failed: ' if outcome.failed else ''}{outcome.reason}", style="red")


def _busy(console: Console, quiet: machine.Quiet) -> dict[str, str]:
    others = quiet.others()
    if others is None:
        return {}
    told = f"others took {100 * others:.0f} % of all cores meanwhile"
    if others > NOISE:
        console.print(f"{told}: the figures are too low, and the ratios unsure", style="yellow")
    return {"beside it": told}


def _conclude(console: Console, results: Results) -> None:
    console.print()
    for judged in judge(results):
        goal, told = judged.goal, "–" if judged.found is None else short(judged.found)
        style = {"reached": "green", "not reached": "red", "not measured": "dim"}[judged.verdict]
        wanted = f"{goal.bound} {short(goal.wanted)} {goal.unit}"
        console.print(f"[{style}]{judged.verdict:<12}[/] {goal.text:<66} {told:>8}  {wanted}", highlight=False)


if __name__ == "__main__":
    main()
