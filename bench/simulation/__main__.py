"""The command."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import click

from bench.simulation.delays import simulate
from bench.simulation.needs import needs
from bench.simulation.terms import MOST, Load, Vendor, read_costs
from worker.destinations import REGISTRY
from worker.destinations.criteo import PUBLISHED_CALLS_PER_MINUTE

OVERLOADED: Final = "overload, more than {} allow: lanes fall behind, and the delays depend on the seconds simulated"


class Number(click.FloatRange):
    """Of a range, in which "nan" is not: it is neither below nor above."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number = float(super().convert(value, param, ctx))
        if math.isnan(number):
            self.fail(f"{value!r} is no number.", param, ctx)
        return number


def _vendor(kind: str, request_seconds: float, requests: int, max_changes: int | None, calls: int | None) -> Vendor:
    published, most = {"criteo": PUBLISHED_CALLS_PER_MINUTE}.get(kind), REGISTRY[kind].max_changes
    if max_changes is not None and max_changes > most:
        raise click.UsageError(f"--max-changes: a request of {kind} carries at most {most:,}")
    return Vendor(max_changes or most, requests, request_seconds, calls or published)


@click.command(context_settings={"show_default": True})
@click.option(
    "--costs",
    "path",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="JSON with the names of Costs.",
)
@click.option("--cost", "given", type=(str, float), multiple=True, help="A name of Costs and its value.")
@click.option("--kind", type=click.Choice(list(REGISTRY)), default="criteo")
@click.option("--destinations", type=click.IntRange(1), default=1)
@click.option("--audiences", type=click.IntRange(1), default=100, help="Of each destination.")
@click.option("--rate", type=Number(0, MOST, min_open=True), default=1000.0, help="Changes a second of each.")
@click.option("--max-age-seconds", type=Number(0, MOST), default=60.0)
@click.option("--max-in-flight", type=click.IntRange(1), default=2)
@click.option("--max-changes", type=click.IntRange(1), help="Of a batch. Default: as much as the kind can carry.")
@click.option("--workers", type=click.IntRange(1), default=1)
@click.option("--requests", type=click.IntRange(1), default=2, help="A batch.")
@click.option("--request-seconds", type=Number(0, MOST), default=0.5, help="What the vendor takes; an assumption.")
@click.option("--calls-per-minute", type=click.IntRange(1), help="Of one account. Default: as published, if it is.")
@click.option("--outage-hours", type=Number(0, MOST), default=0.0, help="How long all vendors are away.")
@click.option("--seconds", type=Number(1, MOST), default=600.0, help="To simulate.")
@click.option("--seed", type=int, default=1)
@click.option("--json", "as_json", is_flag=True)
def main(
    path: Path | None, given: tuple[tuple[str, float], ...], seconds: float, seed: int, *, as_json: bool, **asked: Any
) -> None:
    """Tell what a load needs, what is in its way, and how late requests begin."""
    terms = [asked.pop(name) for name in ("kind", "request_seconds", "requests", "max_changes", "calls_per_minute")]
    load, vendor = Load(**asked), _vendor(*terms)
    try:
        costs = read_costs(path, dict(given))
        delays = simulate(load, vendor, costs, seconds=seconds, seed=seed)
    except ValueError as mistake:
        raise click.UsageError(str(mistake)) from None
    needed = asdict(needs(load, vendor, costs))
    found = {"shares": needed.pop("shares"), "needs": needed, "delays": delays._asdict()}
    overloaded = [name for name, share in found["shares"].items() if share > 1]
    click.echo(json.dumps({**found, "overloaded": overloaded}) if as_json else "\n".join(_lines(found, overloaded)))


def _lines(found: Mapping[str, Mapping[str, Any]], overloaded: Sequence[str]) -> Iterator[str]:
    if overloaded:
        yield OVERLOADED.format(", ".join(overloaded))
    for title, part in found.items():
        yield f"{title}:"
        for name, value in part.items():
            yield f"  {name:<20} {f'{value:.4g}' if isinstance(value, float) else value}"


if __name__ == "__main__":
    main()
