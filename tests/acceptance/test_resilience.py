"""What workers do when they are stopped, when a vendor hangs, and when Redis restarts or is full."""

import os
import signal
import time
from collections.abc import Callable

import pytest
from redis import Redis

from tests.acceptance.conftest import Fleet
from tests.conftest import wait_until
from worker.delivery import open_client
from worker.edges import Edges, open_edges
from worker.errors import StoreError, StoreFull
from worker.store.connection import connect

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(180)]

PEOPLE = [f"person{number}" for number in range(20)]


def plain(*who: str) -> set[str]:
    return {f"{each}@example.com" for each in who}


def redis_of(fleet: Fleet) -> Redis:
    return connect(fleet.redis.url)


def log_of(fleet: Fleet, worker: int) -> str:
    return (fleet.folder / f"worker{worker}.log").read_text()


def warm_up(fleet: Fleet) -> None:
    """Token and list are known; from here on a flush of Criteo is one request."""
    fleet.append("criteo", "vip", "zoe")
    wait_until(fleet.drained)


def test_a_worker_stopped_while_it_waits_for_an_answer_trims_nothing_later(fleet: Fleet) -> None:
    stopped = fleet.start_worker()
    warm_up(fleet)
    fleet.fault("criteo", match={"route": "amend"}, times=1, fault={"kind": "slow", "seconds": 2})
    fleet.append("criteo", "vip", *PEOPLE)
    wait_until(lambda: fleet.faults_fired("criteo") == 1)
    stopped.send_signal(signal.SIGSTOP)
    wait_until(lambda: fleet.requests("criteo")["routes"]["PATCH amend"]["200"] == 2)
    fleet.pass_lease_time("criteo")
    fleet.append("criteo", "vip", PEOPLE[0], entered=False)
    fleet.start_worker()
    wait_until(fleet.drained)
    delivered = fleet.counters("criteo")
    fleet.append("criteo", "vip", "late")
    stopped.send_signal(signal.SIGCONT)
    wait_until(lambda: "lease.lost" in log_of(fleet, 0))
    wait_until(fleet.drained)

    assert fleet.counters("criteo")["accepted"] == delivered["accepted"] + 1
    assert fleet.members("criteo") == plain("zoe", "late", *PEOPLE[1:])


def test_a_worker_stopped_before_a_request_sends_it_no_more(fleet: Fleet) -> None:
    """It is stopped during the search; the amendment that would follow is another worker's by then."""
    stopped = fleet.start_worker()
    fleet.fault("criteo", match={"route": "search"}, times=1, fault={"kind": "slow", "seconds": 2})
    fleet.append("criteo", "vip", *PEOPLE)
    wait_until(lambda: fleet.faults_fired("criteo") == 1)
    stopped.send_signal(signal.SIGSTOP)
    fleet.pass_lease_time("criteo")
    fleet.start_worker()
    wait_until(fleet.drained)
    before = fleet.requests("criteo")["routes"]
    stopped.send_signal(signal.SIGCONT)
    wait_until(lambda: "lease.lost" in log_of(fleet, 0))

    assert fleet.requests("criteo")["routes"]["PATCH amend"] == before["PATCH amend"]
    assert fleet.members("criteo") == plain(*PEOPLE)


def test_a_destination_whose_requests_all_time_out_does_not_slow_the_others(fleet: Fleet) -> None:
    fleet.start_worker()
    fleet.fault("stackadapt", fault={"kind": "slow", "seconds": 60})
    for number in range(50):
        fleet.append("stackadapt", f"audience {number}", "ada")
    wait_until(lambda: fleet.faults_fired("stackadapt") >= 2)

    delays: list[float] = []
    for number in range(5):
        appended_at = time.monotonic()
        fleet.append("criteo", "vip", f"person{number}")
        fleet.append("taboola", "vip", f"person{number}")
        wait_until(
            lambda: fleet.status("criteo").counters["waiting"] + fleet.status("taboola").counters["waiting"] == 0
        )
        delays.append(time.monotonic() - appended_at)

    assert max(delays) < 2.5
    assert fleet.status("stackadapt").counters["waiting"] == 50


def restart_redis(fleet: Fleet) -> None:
    """Kill the server with SIGKILL and start it again on what it had written.

    While the disk stalls, a Redis that fsyncs every second answers before it writes: see docs/delivery.md.
    """
    with redis_of(fleet) as redis:
        wait_until(lambda: int(redis.info("persistence")["aof_buffer_length"]) == 0)
        os.kill(int(redis.info("server")["process_id"]), signal.SIGKILL)
    wait_until(lambda: fleet.redis.ended)
    fleet.redis.stop()
    fleet.redis.start()


def test_after_redis_was_killed_and_restarted_a_worker_goes_on_by_itself(fleet: Fleet) -> None:
    """One task is running and other slots are free: the case in which a consumer is known to die."""
    worker = fleet.start_worker()
    warm_up(fleet)
    fleet.fault("criteo", match={"route": "amend"}, times=1, fault={"kind": "slow", "seconds": 3})
    fleet.append("criteo", "vip", *PEOPLE)
    wait_until(lambda: fleet.faults_fired("criteo") == 1)
    restart_redis(fleet)
    for number in range(3):
        restart_redis(fleet)
        fleet.append("stackadapt", "vip", f"person{number}")

    wait_until(fleet.drained, within=90)
    fleet.append("taboola", "vip", "ada")
    wait_until(fleet.drained)

    assert worker.poll() is None
    assert fleet.members("criteo") == plain("zoe", *PEOPLE)
    assert fleet.members("stackadapt") == plain("person0", "person1", "person2")


def fill(redis: Redis) -> None:
    """Leave no room at all: the keys are outside the relay's."""
    redis.config_set("maxmemory-policy", "noeviction")
    redis.config_set("maxmemory", int(redis.info("memory")["used_memory"]) + 1_000_000)
    size = 500_000
    while size > 100:
        try:
            redis.append(f"ballast:{size}", b"x" * size)
        except Exception:  # noqa: BLE001 - it is full for this size: try a smaller one
            size //= 2


def test_a_full_redis_refuses_producers_clearly_and_is_drained_all_the_same(fleet: Fleet) -> None:
    worker = fleet.start_worker()
    warm_up(fleet)
    hold_all(fleet)
    for destination in ("criteo", "taboola", "stackadapt"):
        fleet.append(destination, "vip", *PEOPLE)
    with redis_of(fleet) as redis:
        fill(redis)
        for each in fleet.settings.destinations:
            fleet.store.lanes(each.name).release(None)
        with pytest.raises(StoreFull, match="maxmemory"):
            fleet.append("criteo", "vip", "eve")

        wait_until(fleet.drained, within=60)
        limits = fleet.store.limits(edges_of(fleet).destination.credential)
        limits.hold("rate limited", 10)
        limits.observe({"x-ratelimit-limit": "300"})
        edges_of(fleet).lanes.keep_notes({"list:new": "1", "list:old": None})

        redis.config_set("maxmemory", 0)
        redis.delete(*redis.keys("ballast:*"))
    wait_until(lambda: accepts(fleet))
    wait_until(fleet.drained, within=60)

    assert worker.poll() is None
    assert fleet.members("criteo") == plain("zoe", "eve", *PEOPLE)
    assert fleet.counters("criteo")["accepted"] == len(PEOPLE) + 2


def edges_of(fleet: Fleet) -> Edges:
    return open_edges(fleet.settings.destination("criteo"), fleet.store, open_client())


def hold_all(fleet: Fleet) -> None:
    for destination in fleet.settings.destinations:
        fleet.store.lanes(destination.name).hold_by_hand(None, "until Redis is full")


def accepts(fleet: Fleet) -> bool:
    try:
        fleet.append("criteo", "vip", "eve")
    except StoreError:
        return False
    return True


def test_a_worker_that_is_told_to_stop_ends_in_time_and_another_goes_on(fleet: Fleet) -> None:
    """Its vendor does not answer; the request has its deadline, and nothing else is begun."""
    worker = fleet.start_worker()
    warm_up(fleet)
    fleet.fault("criteo", match={"route": "amend"}, times=1, fault={"kind": "slow", "seconds": 8, "after": True})
    fleet.append("criteo", "vip", *PEOPLE)
    wait_until(lambda: fleet.faults_fired("criteo") == 1)
    worker.terminate()
    told_at = time.monotonic()
    fleet.start_worker()

    assert worker.wait(timeout=35) == 0
    assert time.monotonic() - told_at < 30
    wait_until(fleet.drained)
    assert fleet.members("criteo") == plain("zoe", *PEOPLE)


def test_workers_that_come_and_go_under_load_lose_nothing(fleet: Fleet) -> None:
    names: list[str] = []
    running = [fleet.start_worker()]
    for number in range(4):
        who = [f"load{number}x{each}" for each in range(300)]
        names += who
        for destination in ("criteo", "stackadapt"):
            fleet.append(destination, "vip", *who)
        running.append(fleet.start_worker())
        running.pop(0).terminate()
    wait_until(fleet.drained, within=60)

    assert fleet.members("criteo") == fleet.members("stackadapt") == plain(*names)


def age(path: str) -> Callable[[], float]:
    return lambda: time.time() - os.path.getmtime(path)  # noqa: PTH204 - one number


def test_a_hung_worker_is_seen_by_the_age_of_its_files(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    alive = fleet.folder / "alive"
    monkeypatch.setenv("RELAY_LIVENESS_FILE", str(alive))
    worker = fleet.start_worker()
    wait_until(lambda: all(alive.with_name(f"alive.{who}").exists() for who in ("consumer", "dispatch")))
    dispatch = age(f"{alive}.dispatch")

    assert dispatch() < 2

    worker.send_signal(signal.SIGSTOP)
    wait_until(lambda: dispatch() > 2)
    worker.send_signal(signal.SIGCONT)
    wait_until(lambda: dispatch() < 2)
