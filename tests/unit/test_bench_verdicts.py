"""Goals, ratios, the comparison with a baseline, and the page that tells of them."""

import pytest

from bench.check import Compared, compare
from bench.delay import MAX_AGE_SECONDS, lateness
from bench.figures import Figure, Results, Series, Skipped
from bench.goals import GOALS, RATIOS, Goal, Judged, judge, ratios
from bench.membership import Amendment
from bench.memory import slope
from bench.report import document, page
from bench.sections import SECTIONS


def results(**values: float) -> Results:
    """Figures by their names, with `_` for each dot."""
    figures = [Figure(name.replace("__", "."), name, "events/s", (value,), "nothing") for name, value in values.items()]
    series = Series("memory.load", "Memory of the load", "MB", "million changes", ((0.0, 1.0), (1.0, 2.0)))
    skipped = Skipped("gateway", "wrk is <not> here")
    return Results({"processor": "fast & cheap", "cores": "2"}, "today", 0.1, 60.0, [*figures, series, skipped])


def verdicts(found: Results) -> dict[str, str]:
    return {each.goal.text: each.verdict for each in judge(found)}


@pytest.mark.parametrize(
    ("bound", "found", "verdict"),
    [
        ("at least", 2.0, "reached"),
        ("at least", 1.9, "not reached"),
        ("at most", 2.0, "reached"),
        ("at most", 2.1, "not reached"),
        ("at most", None, "not measured"),
    ],
)
def test_a_goal_is_a_bound(bound: str, found: float | None, verdict: str) -> None:
    assert Judged(Goal("", "", bound, 2.0), found).verdict == verdict  # type: ignore[arg-type]  # as parametrized


def test_a_ratio_needs_both_figures() -> None:
    one = verdicts(results(load__criteo=60_000))
    both = verdicts(results(load__criteo=60_000, peers__batches__produce=2_000))
    slower = verdicts(results(load__criteo=60_000, peers__batches__produce=4_000))

    assert one["load for criteo"] == "reached"
    assert one["load for criteo, as a multiple of celery-batches' producing"] == "not measured"
    assert both["load for criteo, as a multiple of celery-batches' producing"] == "reached"
    assert slower["load for criteo, as a multiple of celery-batches' producing"] == "not reached"
    assert [value for _, value in ratios(results(load__criteo=60.0, peers__batches__produce=4.0))] == [15.0]


def test_every_figure_of_a_goal_or_a_ratio_stands_on_a_chart() -> None:
    charted = {name for section in SECTIONS for chart in section.charts for name in chart.figures}
    named = {name for goal in GOALS for name in (goal.figure, goal.to) if name}
    named |= {name for ratio in RATIOS for name in ratio}

    assert named <= charted


def test_slower_than_the_slack_fails() -> None:
    found = compare({"load": 0.79, "drain": 0.81, "new": 1.0}, {"load": 1.0, "drain": 1.0, "gone": 1.0})

    assert {each.name: each.failed for each in found} == {"load": True, "drain": False, "new": True, "gone": True}
    assert Compared("load", 1.5, 1.0).change == pytest.approx(0.5)
    assert "--store" in Compared("load", 1.21, 1.0).verdict
    assert "as fast" in Compared("load", 1.19, 1.0).verdict


def test_the_page_tells_everything_and_runs_nothing() -> None:
    told = page(results(load__criteo=60_000, peers__batches__produce=2_000))

    assert "fast &amp; cheap" in told
    assert "wrk is &lt;not&gt; here" in told
    assert "2 of 2 goals reached" in told
    assert ">30" in told
    assert "<polyline" in told
    assert "<script" not in told
    assert "http" not in told.replace("HTTP", "")


def test_json_has_goals_ratios_and_what_is_missing() -> None:
    told = document(results(load__criteo=60_000))

    assert len(told["goals"]) == len(GOALS)
    assert told["goals"][0]["verdict"] == "reached"
    assert told["skipped"][0]["name"] == "gateway"
    assert told["figures"][0]["value"] == 60_000


def test_a_batch_is_late_by_its_oldest_change_and_its_first_request() -> None:
    appended = {"ann": 10.0, "bob": 10.5, "cyn": 12.0, "dan": 12.1}
    sent = [
        Amendment(11.2, "criteo", "1", entered=False, identifiers=["bob"]),
        Amendment(11.3, "criteo", "1", entered=True, identifiers=["ann"]),
        Amendment(13.5, "criteo", "1", entered=True, identifiers=["cyn"]),
        Amendment(13.2, "criteo", "2", entered=False, identifiers=["dan"]),
    ]
    found = lateness(sent, appended)

    assert MAX_AGE_SECONDS == 1.0
    assert [at for at, _ in found] == [11.2, 13.5, 13.2]
    assert [late for _, late in found] == pytest.approx([0.2, 0.5, 0.1])


def test_a_slope_is_that_of_the_nearest_line() -> None:
    assert slope([(0, 1), (1, 3), (2, 5)]) == pytest.approx(2.0)
    assert slope([(0, 5), (1, 5), (2, 5)]) == 0.0
    assert slope([(1, 5), (1, 7)]) == 0.0
