"""Lanes in a real Redis do what a model of them says, whatever is done in whatever order, and whoever crashes."""

from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test
from redis import Redis

from tests.chaos.lane_machine import machine_for


def test_lanes_do_what_the_model_says(redis: Redis) -> None:
    """After every step Redis holds what the model says, and in the end everything can be drained."""
    run_state_machine_as_test(machine_for(redis), settings=settings(max_examples=100, stateful_step_count=50))
