"""`python -m tests.chaos`: break everything for a while, and exit with 1 if a membership is wrong in the end."""

import json
import sys
import tempfile
from pathlib import Path

import click

from tests.chaos.processes import Outcome, Plan, break_it


@click.command()
@click.option("--seed", type=int, default=1, show_default=True, help="Draws events, faults and victims.")
@click.option("--events", type=int, default=100_000, show_default=True)
@click.option("--seconds", type=float, default=90.0, show_default=True, help="How long things break.")
@click.option("--workers", type=int, default=4, show_default=True)
@click.option("--kills-every", type=float, default=3.0, show_default=True, help="Seconds between two hits.")
@click.option("--redis-restarts", type=int, default=2, show_default=True)
@click.option("--fault-rate", type=float, default=0.05, show_default=True, help="Share of requests at fault.")
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON.")
def main(*, as_json: bool, **options: float) -> None:
    """Break the relay in every way that it must survive, and compare."""
    plan = Plan(**options)  # type: ignore[arg-type]  # click has made the types
    with tempfile.TemporaryDirectory(prefix="audience-relay-chaos-") as folder:
        outcome = break_it(plan, Path(folder))
    click.echo(json.dumps(outcome._asdict()) if as_json else _report(plan, outcome))
    sys.exit(0 if outcome.ok else 1)


def _report(plan: Plan, outcome: Outcome) -> str:
    lines = [f"{name.replace('_', ' '):>16}  {value:,}" for name, value in outcome._asdict().items() if name != "holds"]
    lines += [f"{'held':>16}  {reason}" for reason in outcome.holds]
    options = " ".join(f"--{name.replace('_', '-')} {value}" for name, value in plan._asdict().items())
    verdict = "all equal" if outcome.ok else "NOT equal"
    return "\n".join([*lines, "", f"{verdict}; again with: python -m tests.chaos {options}"])


if __name__ == "__main__":
    main()
