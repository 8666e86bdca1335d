"""What a measurement yields, and how far work is scaled."""

from pathlib import Path

import pytest

from bench.events import enters, event, events, message_id
from bench.figures import Figure, Plan, Results, Skipped, as_dict
from producers.events import Membership
from producers.segment import parse

FIGURE = Figure("load.criteo", "Load", "events/s", (3.0, 1.0, 8.0), "100 events")


def test_the_median_is_quoted() -> None:
    assert (FIGURE.value, FIGURE.low, FIGURE.high) == (3.0, 1.0, 8.0)


def test_json_has_what_is_quoted_beside_the_samples() -> None:
    told = as_dict(FIGURE)

    assert (told["value"], told["low"], told["high"]) == (3.0, 1.0, 8.0)
    assert tuple(told["samples"]) == FIGURE.samples
    assert "type" not in told


def test_results_know_figures_by_name() -> None:
    results = Results({}, "today", 1.0, 1.0, [FIGURE, Skipped("gateway", "no wrk")])

    assert results.value("load.criteo") == 3.0
    assert results.value("gateway.single") is None
    assert [each.name for each in results.skipped] == ["gateway"]


@pytest.mark.parametrize(("scale", "count"), [(1.0, 200_000), (0.1, 20_000), (0.0001, 1_000), (0.0333, 7_000)])
def test_work_is_scaled_in_thousands(scale: float, count: int) -> None:
    assert Plan(scale, Path(), Path()).count(200_000) == count


def test_an_event_is_as_lean_as_told_and_says_who_is_in() -> None:
    for number in range(20):
        read = parse(event(number), received_at=1_795_000_000_000)

        assert isinstance(read, Membership)
        assert read.entered == enters(number)
        assert read.identifiers[0].value == f"user{number}@example.com"
        assert 360 < len(event(number)) < 400


def test_one_in_five_leaves_in_each_of_many_audiences() -> None:
    """However many audiences there are: were the two numbers related, all of one audience might leave."""
    for audiences in (1, 4, 5, 10, 100):
        for audience in range(audiences):
            inside = [enters(number) for number in range(audience, 20_000 * audiences, audiences)]

            assert 0.75 < sum(inside) / len(inside) < 0.85


def test_the_same_numbers_are_the_same_events() -> None:
    assert list(events(3, first=7, audiences=2)) == list(events(5, first=5, audiences=2))[2:]
    assert len({message_id(number) for number in range(10_000)}) == 10_000
