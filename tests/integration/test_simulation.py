"""The unit costs are measured with a real Redis, for every kind of destination."""

import pytest

from bench.simulation.measure import measure
from worker.destinations import REGISTRY


@pytest.mark.parametrize("kind", REGISTRY)
def test_every_kind_has_costs(kind: str) -> None:
    costs = measure(kind, rounds=1)

    assert 1e-6 < costs.append_change < 1e-3
    assert 1e-7 < costs.drain_change < 1e-3
    assert 1e-5 < costs.drain_batch < 1e-1
    assert 1e-7 < costs.redis_change < 1e-3
    assert 50 < costs.bytes_change < 1_000
