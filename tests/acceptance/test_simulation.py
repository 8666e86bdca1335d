"""The simulation foretells how long real workers take."""

import time
from typing import Final

import pytest

from bench.simulation.delays import drain_seconds
from bench.simulation.terms import Costs, Load, Vendor
from tests.acceptance.conftest import Fleet
from tests.conftest import wait_until

pytestmark = pytest.mark.acceptance

LANES: Final = 24
REQUEST_SECONDS: Final = 0.25
COSTS: Final = Costs(0, 0, drain_batch=0.01, redis_change=0, redis_batch=0, bytes_change=0)
"""What a core takes matters little beside what the vendor takes."""


@pytest.mark.parametrize("fleet", [{"age": 0.0}], indirect=True)
def test_lanes_are_drained_in_the_time_that_the_simulation_tells(fleet: Fleet) -> None:
    fleet.start_worker()
    fleet.append("stackadapt", "warm", "zoe")
    wait_until(fleet.drained)
    fleet.store.lanes("stackadapt").hold_by_hand(None, "until all wait")
    for number in range(LANES):
        fleet.append("stackadapt", f"audience {number}", "ada", "bob")
    fleet.fault("stackadapt", fault={"kind": "slow", "seconds": REQUEST_SECONDS})
    before = fleet.requests("stackadapt")["total"]

    started = time.monotonic()
    fleet.store.lanes("stackadapt").release(None)
    wait_until(fleet.drained)
    took = time.monotonic() - started
    requests = fleet.requests("stackadapt")["total"] - before
    load = Load(destinations=1, audiences=LANES, rate=0.0, max_age_seconds=0.0)
    vendor = Vendor(max_changes=1_000, requests=1, request_seconds=REQUEST_SECONDS)

    assert requests == LANES
    told = drain_seconds(load, vendor, COSTS, 2)
    assert 0.9 * told < took < 2 * told  # other tests may keep the machine busy; nothing makes vendors answer sooner
