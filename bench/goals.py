"""What is aimed at, and whether a run reached it; and the ratios that are quoted, all within one run."""

from typing import Final, Literal, NamedTuple

from bench.figures import Results
from bench.rig import KINDS

Verdict = Literal["reached", "not reached", "not measured"]


class Goal(NamedTuple):
    """A figure, by itself or as a ratio to another one, is at least or at most so much."""

    text: str
    figure: str
    bound: Literal["at least", "at most"]
    wanted: float
    unit: str = ""
    to: str = ""
    """The figure that it is divided by; empty: none."""


class Judged(NamedTuple):
    goal: Goal
    found: float | None
    """None: it was not measured."""

    @property
    def verdict(self) -> Verdict:
        if self.found is None:
            return "not measured"
        enough = self.found >= self.goal.wanted if self.goal.bound == "at least" else self.found <= self.goal.wanted
        return "reached" if enough else "not reached"


class Ratio(NamedTuple):
    """Of two figures."""

    figure: str
    to: str


def _at_least(text: str, figure: str, wanted: float, *, to: str = "", unit: str = "") -> Goal:
    return Goal(text, figure, "at least", wanted, "×" if to else unit, to)


def _at_most(text: str, figure: str, wanted: float, *, to: str = "", unit: str = "") -> Goal:
    return Goal(text, figure, "at most", wanted, "×" if to else unit, to)


GOALS: Final = (
    *(_at_least(f"load for {kind}", f"load.{kind}", 50_000, unit="events/s") for kind in KINDS),
    *(
        _at_least(
            f"load for {kind}, as a multiple of celery-batches' producing",
            f"load.{kind}",
            20,
            to="peers.batches.produce",
        )
        for kind in KINDS
    ),
    *(
        _at_least(
            f"drain to {kind}, as a multiple of celery-batches' consuming",
            f"drain.{kind}",
            100,
            to="peers.batches.consume",
        )
        for kind in KINDS
    ),
    *(
        _at_least(
            f"drain to {kind}, as a multiple of Segment's onBatch", f"drain.{kind}", 1, to=f"peers.segment.{kind}"
        )
        for kind in KINDS
    ),
    _at_least(
        "end to end with one loader and one worker, as a multiple of celery-batches",
        "end_to_end.1",
        25,
        to="peers.batches.end_to_end",
    ),
    _at_least("gateway, single events of one process", "gateway.single", 3_000, unit="events/s"),
    _at_least("gateway, batches of one process", "gateway.batch", 25_000, unit="events/s"),
    _at_most("a waiting change of one email without properties", "memory.change", 160, unit="bytes"),
    _at_most(
        "a change in 10,000 lanes of 500, as a multiple of one in one lane, HTTP aside", "lanes.10000", 2, to="lanes.1"
    ),
    _at_most("an idle worker with 100,000 lanes", "lanes.idle.100000", 1, unit="% of a core"),
    _at_most("delay over the bound, p99", "delay.p99", 300, unit="ms"),
    _at_most("delay over the bound under load, p99", "delay.loaded.p99", 300, unit="ms"),
)

RATIOS: Final = (
    *(Ratio(f"load.{kind}", "peers.batches.produce") for kind in (*KINDS, "all")),
    *(Ratio(f"load.{kind}", "limits.json.msgspec") for kind in KINDS),
    *(Ratio(f"drain.{kind}", "peers.batches.consume") for kind in KINDS),
    *(Ratio(f"drain.{kind}", "peers.plain.consume") for kind in KINDS),
    *(Ratio(f"drain.{kind}", f"peers.segment.{kind}") for kind in KINDS),
    Ratio("drain.taboola", "limits.sha256"),
    *(Ratio(f"end_to_end.{workers}", "peers.batches.end_to_end") for workers in (1, 2, 4)),
    Ratio("end_to_end.1", "peers.plain.end_to_end"),
    Ratio("end_to_end.2", "end_to_end.1"),
    Ratio("end_to_end.4", "end_to_end.1"),
    Ratio("gateway.batch", "gateway.single"),
    *(Ratio(f"lanes.{lanes}", "lanes.1") for lanes in (100, 10_000, 100_000)),
)


def judge(results: Results) -> list[Judged]:
    """All goals, in their order."""
    return [Judged(goal, _found(goal, results)) for goal in GOALS]


def ratios(results: Results) -> list[tuple[Ratio, float]]:
    """Those of which both figures were measured."""
    found = [(each, ratio_of(results, each.figure, each.to)) for each in RATIOS]
    return [(each, value) for each, value in found if value is not None]


def ratio_of(results: Results, figure: str, to: str) -> float | None:
    one, other = results.value(figure), results.value(to)
    return None if one is None or not other else one / other


def _found(goal: Goal, results: Results) -> float | None:
    return ratio_of(results, goal.figure, goal.to) if goal.to else results.value(goal.figure)
