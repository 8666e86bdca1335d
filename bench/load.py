"""Load: source events as JSON text → parsed, validated, routed, in Redis; one process."""

from collections.abc import Iterator
from typing import Final

from bench.figures import Figure, NotMeasured, Plan
from bench.loading import load_beside
from bench.rig import KINDS, destination, rig

EVENTS: Final = 150_000
TIMES: Final = 3


def measure(plan: Plan) -> Iterator[Figure]:
    for kind in KINDS:
        yield _figure(plan, kind, f"for one {kind} destination", [kind])
    yield _figure(plan, "all", "for one destination of each kind", KINDS)


def _figure(plan: Plan, name: str, title: str, kinds: list[str] | tuple[str, ...]) -> Figure:
    count = plan.count(EVENTS)
    return Figure(
        name=f"load.{name}",
        title=f"Load, {title}",
        unit="events/s",
        samples=tuple(count / _seconds(plan, count, kinds) for _ in range(TIMES)),
        measured_on=f"{count:,} events, each of another person, one audience; one process and its Redis",
    )


def _seconds(plan: Plan, count: int, kinds: list[str] | tuple[str, ...]) -> float:
    with rig(plan.folder, [destination(kind) for kind in kinds]) as made:
        loaded = load_beside(count, made.folder / "relay.toml")
        if loaded.changes != count * len(kinds) or made.waiting() != loaded.changes:
            raise NotMeasured(f"{loaded.changes} changes, {made.waiting()} of them in Redis, of {count} events")
        return loaded.seconds
