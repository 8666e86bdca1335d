"""Whatever breaks off wherever: in the end the vendor holds what was said last of everybody."""

from collections.abc import Sequence

from hypothesis import given, settings
from redis import Redis

from tests.chaos.one_process import MOST, Act, Stage, plans, scenes


def test_a_flush_that_breaks_off_anywhere_is_made_good(redis: Redis) -> None:
    """Every trouble, at every step that there is."""
    stage = Stage(redis)
    for scene in scenes():
        stage.check(scene)

    assert all(count <= MOST[step] for step, count in stage.steps_of_longest.items())


def test_flushes_that_break_off_one_after_another_converge(redis: Redis) -> None:
    stage = Stage(redis)

    @settings(max_examples=100)
    @given(plans)
    def converge(plan: Sequence[Act]) -> None:
        stage.check(plan)

    converge()
