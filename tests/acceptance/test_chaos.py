"""A minute of the breaking machine; `make chaos` runs it for longer."""

from pathlib import Path

import pytest

from tests.chaos.processes import Plan, break_it

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(240)]


def test_whatever_breaks_every_membership_is_right_in_the_end(tmp_path: Path) -> None:
    plan = Plan(seed=7, events=6_000, seconds=14.0, workers=2, kills_every=4.0, redis_restarts=1, fault_rate=0.05)

    outcome = break_it(plan, tmp_path)

    assert outcome.ok, outcome
    assert outcome.kills >= 2
    assert outcome.redis_restarts == 1
