"""Workers as processes: what they deliver, when, and what becomes of it when they are killed."""

import hashlib
import signal
import time

import pytest

from tests.acceptance.conftest import Fleet
from tests.conftest import wait_until

pytestmark = pytest.mark.acceptance

PEOPLE = [f"person{number}" for number in range(50)]


def plain(*who: str) -> set[str]:
    return {f"{each}@example.com" for each in who}


def test_changes_reach_all_three_vendors_and_the_books_balance(fleet: Fleet) -> None:
    fleet.start_worker()
    fleet.start_worker()
    for destination in ("criteo", "taboola", "stackadapt"):
        fleet.append(destination, "vip", *PEOPLE)
        fleet.append(destination, "vip", *PEOPLE[:10], entered=False)

    wait_until(fleet.drained)

    assert fleet.members("criteo") == fleet.members("stackadapt") == plain(*PEOPLE[10:])
    assert fleet.members("taboola") == {hashlib.sha256(each.encode()).hexdigest() for each in plain(*PEOPLE[10:])}
    for destination in ("criteo", "taboola", "stackadapt"):
        counters = fleet.counters(destination)
        assert counters["accepted"] == 60
        assert counters["delivered"] + counters["folded"] == 60


def test_a_worker_that_is_killed_during_a_flush_loses_nothing(fleet: Fleet) -> None:
    fleet.append("criteo", "vip", "zoe")
    victim = fleet.start_worker()
    wait_until(fleet.drained)
    fleet.fault("criteo", match={"route": "amend"}, times=1, fault={"kind": "slow", "seconds": 15, "after": True})
    fleet.append("criteo", "vip", *PEOPLE)
    wait_until(lambda: fleet.faults_fired("criteo") == 1)

    victim.kill()
    killed_at = time.monotonic()
    fleet.append("criteo", "vip", PEOPLE[0], entered=False)
    fleet.start_worker()
    wait_until(fleet.drained, within=60)

    assert time.monotonic() - killed_at < 60
    assert fleet.members("criteo") == plain("zoe", *PEOPLE[1:])
    assert fleet.counters("criteo")["accepted"] == 52


@pytest.mark.parametrize("fleet", [{"age": 1.5}], indirect=True)
def test_a_lone_change_is_flushed_within_a_second_of_its_bound(fleet: Fleet) -> None:
    fleet.start_worker()
    delays: list[float] = []
    for number in range(3):
        appended_at = time.monotonic()
        fleet.append("stackadapt", f"audience {number}", "ada")
        wait_until(fleet.drained)
        delays.append(time.monotonic() - appended_at)

    assert min(delays) >= 1.5
    assert max(delays) <= 2.5


def test_a_worker_that_is_told_to_stop_gives_its_lanes_back(fleet: Fleet) -> None:
    worker = fleet.start_worker()
    fleet.append("criteo", "vip", *PEOPLE)
    wait_until(fleet.drained)

    worker.send_signal(signal.SIGTERM)

    assert worker.wait(timeout=20) == 0
    assert not any(lane.leased for lane in fleet.status("criteo").lanes)
