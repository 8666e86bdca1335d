"""A lane with more culprits than one batch finds gets rid of them in several, and buries nobody else."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from random import Random

import pytest

from tests.conftest import Clock
from tests.destinations.conftest import enters
from tests.integration.test_flush import LANE, Stand, refuses_with, takes
from worker.destinations.base import FoldedBatch, Receipt
from worker.edges import Edges
from worker.heads import note_of
from worker.store.store import Store


class Wide(Stand):
    """With batches of up to 50,000 changes."""

    max_changes = 50_000

    def edges(self, converse: Callable[[FoldedBatch], Receipt]) -> Edges:
        edges = super().edges(converse)
        return replace(edges, schedule=edges.schedule._replace(max_changes=self.max_changes))

    def append_people(self, count: int) -> None:
        people = [enters(f"p{number}") for number in range(count)]
        for start in range(0, count, 1000):
            self.opened.lanes.append(LANE, people[start : start + 1000], f"{self.clock()} {start}")

    def flush_until_empty(self, converse: Callable[[FoldedBatch], Receipt], most: int) -> None:
        for _ in range(most):
            assert self.flush(converse) is not None
            if not self.opened.lanes.status(0).counters["waiting"]:
                return
        raise AssertionError(f"not empty after {most} flushes: {self.counters()}, {self.reason()}")

    def note(self) -> Mapping[str, str]:
        return self.opened.lanes.notes([note_of(LANE)])

    def buried(self) -> set[str]:
        return {i.value for letter in self.opened.dead_letters for i in letter.change.identifiers}


@pytest.fixture
def wide(store: Store, clock: Clock) -> Wide:
    return Wide(store, clock)


def people(numbers: Iterable[int]) -> list[str]:
    return [f"p{number}" for number in numbers]


def addresses(numbers: Iterable[int]) -> set[str]:
    return {f"{each}@example.com" for each in people(numbers)}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("size", "culprits", "most"),
    [(1000, 3, 1), (1000, 5, 10), (1000, 20, 25), (1000, 100, 70),
     (20_000, 3, 10), (20_000, 5, 15), (20_000, 20, 35), (20_000, 100, 140)],
)  # fmt: skip
def test_scattered_culprits_are_buried_and_nobody_else(
    size: int, culprits: int, most: int, seed: int, wide: Wide
) -> None:
    chosen = Random(seed).sample(range(size), culprits)
    wide.append_people(size)

    wide.flush_until_empty(refuses_with(*people(chosen)), most)

    assert wide.buried() == addresses(chosen)
    counters = wide.counters()
    assert (counters["delivered"], counters["buried"]) == (size - culprits, culprits)


def test_a_short_head_doubles_until_it_is_whole(wide: Wide) -> None:
    wide.max_changes = 1000
    wide.append_people(1000)
    wide.flush(refuses_with(*people(range(5, 1000, 100))))

    assert wide.reason() == (
        "too many refused: more than 64 requests to find the culprits, for example: refused: … is bad; a part of it is "
        "tried next"
    )
    assert wide.note() == {note_of(LANE): "125 0 0 budget"}

    wide.flush(refuses_with(*people(range(5, 1000, 100))))

    assert wide.note() == {note_of(LANE): "250 125 2 all"}

    for _ in range(2):
        wide.flush(takes)

    assert wide.note() == {}
    assert wide.counters() == {"accepted": 1000, "delivered": 873, "buried": 2, "dead_letters": 2, "waiting": 125}


def test_many_culprits_in_a_row_are_buried_since_others_are_taken(wide: Wide) -> None:
    wide.append_people(1000)
    wide.flush_until_empty(refuses_with(*people(range(45))), 20)

    assert wide.buried() == addresses(range(45))


def test_nobody_is_buried_for_a_request_that_becomes_wrong_while_the_head_is_short(wide: Wide) -> None:
    wide.append_people(1000)
    for _ in range(2):
        wide.flush(refuses_with(*people(range(5, 1000, 100))))
    buried = wide.counters()["buried"]
    for _ in range(5):
        wide.flush(refuses_with(*people(range(1000))))

    assert wide.reason().startswith("request refused: every part of it is: refused: … is bad.")
    assert wide.counters()["buried"] == buried == 2


def test_short_heads_bury_no_more_than_a_whole_one_might(wide: Wide) -> None:
    wide.append_people(1000)
    wrong = refuses_with(*people(Random(1).sample(range(1000), 600)))
    for _ in range(60):
        wide.flush(wrong)

    assert wide.reason().startswith("too many refused: ")
    assert "`audience-relay release shop --audience vip --bury` lets them be buried" in wide.reason()
    assert wide.counters()["buried"] < 50

    wide.opened.lanes.release(LANE, bury=True)
    wide.flush(wrong)

    assert wide.counters() == {"accepted": 1000, "delivered": 400, "buried": 600, "dead_letters": 600}
    assert wide.note() == {}


def test_a_request_of_which_nothing_is_taken_leaves_the_head_whole(wide: Wide) -> None:
    wide.append_people(1000)
    for _ in range(3):
        wide.flush(refuses_with(*people(range(1000))))

    assert wide.note() == {}
    assert wide.counters() == {"accepted": 1000, "waiting": 1000}
