"""When dispatch looks for due lanes, and what it sends, on a real Redis and without a broker."""

import threading
from collections.abc import Sequence
from pathlib import Path

import pytest
from redis import Redis

from worker.contract import Change, Identifier, LaneKey
from worker.dispatch import PERIOD_SECONDS, SHORTEST_SECONDS, Dispatcher
from worker.liveness import Liveness
from worker.settings import load
from worker.store.lanes import Lanes, Schedule, Woken
from worker.tasks import Drains

CONFIGURATION = """
[redis]
url = "{url}"
[[destinations]]
name = "shop"
kind = "criteo"
advertiser_id = "4711"
client_id = "relay"
client_secret = "secret"
batch.max_age_seconds = {age}
"""

IDLE = """
[[destinations]]
name = "idle"
kind = "taboola"
client_id = "relay"
client_secret = "secret"
account_id = "acme"
"""


class Looks(threading.Event):
    """Takes the place of `stopping`: how long dispatch would have waited before each of so many looks."""

    def __init__(self, looks: int) -> None:
        super().__init__()
        self.pauses: list[float] = []
        self._left = looks

    def wait(self, timeout: float | None = None) -> bool:
        assert timeout is not None
        self.pauses.append(timeout)
        self._left -= 1
        return self._left < 0


@pytest.fixture
def folder(tmp_path: Path, redis_url: str, redis: Redis) -> Path:
    redis.ping()
    (tmp_path / "relay.toml").write_text(CONFIGURATION.format(url=redis_url, age=60))
    return tmp_path


def dispatch(drains: Drains, looks: int = 3) -> tuple[list[float], list[str]]:
    """The pauses before so many looks and the one that was not made, and the destinations of the wake-ups."""
    sent: list[str] = []
    drains.stopping = stopping = Looks(looks)
    Dispatcher(drains, lambda destination, _claim: sent.append(destination), Liveness(None)).run()
    return stopping.pauses, sent


def drains_of(folder: Path, age: float) -> Drains:
    text = (folder / "relay.toml").read_text()
    (folder / "relay.toml").write_text(text.replace("max_age_seconds = 60", f"max_age_seconds = {age}"))
    drains = Drains(load(folder / "relay.toml"))
    change = Change(entered=True, occurred_at=0, identifiers=(Identifier("email", "jane@example.com"),))
    drains.store.append(LaneKey("shop", "vip"), [change], "1")
    return drains


def test_while_nothing_is_due_soon_it_looks_five_times_a_second(folder: Path) -> None:
    pauses, sent = dispatch(drains_of(folder, age=60), looks=50)

    assert 0.5 * PERIOD_SECONDS <= min(pauses) < max(pauses) <= 1.25 * PERIOD_SECONDS
    assert sent == []


def test_it_looks_again_when_the_next_lane_is_due(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lane is so young that it is due within the usual pause."""
    monkeypatch.setattr("worker.dispatch.PERIOD_SECONDS", 3_600)

    pauses, _ = dispatch(drains_of(folder, age=600), looks=1)

    assert pauses[0] >= 0.5 * 3_600
    assert SHORTEST_SECONDS <= pauses[1] <= 600


def test_it_then_looks_only_where_one_is_due(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.dispatch.PERIOD_SECONDS", 3_600)
    with (folder / "relay.toml").open("a") as file:
        file.write(IDLE)
    looked: list[str] = []
    wake = Lanes.wake

    def noted(lanes: Lanes, schedule: Schedule, claims: Sequence[str], claim_ms: int) -> Woken:
        looked.append(lanes.destination)
        return wake(lanes, schedule, claims, claim_ms)

    monkeypatch.setattr(Lanes, "wake", noted)

    dispatch(drains_of(folder, age=600), looks=4)

    assert looked == ["shop", "idle", "shop", "shop", "shop"]


def test_without_a_broker_it_flushes_itself_and_says_before_each_flush_that_it_lives(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Flushes with a slow vendor may together take longer than a probe waits."""
    drains, alive = drains_of(folder, age=0), folder / "alive.dispatch"
    ages: list[bool] = []

    def flush(_edges: object) -> None:
        ages.append(alive.exists())
        alive.unlink(missing_ok=True)

    def away(_destination: str, _claim: str) -> None:
        raise ConnectionError

    monkeypatch.setattr("worker.dispatch.flush_next", flush)
    change = Change(entered=True, occurred_at=0, identifiers=(Identifier("email", "jane@example.com"),))
    drains.store.append(LaneKey("shop", "churn"), [change], "2")
    drains.stopping = Looks(1)
    Dispatcher(drains, away, Liveness(folder / "alive")).run()

    assert ages == [True, True]


def test_no_more_wake_ups_are_on_their_way_than_lanes_may_be_flushed_at_once(folder: Path) -> None:
    drains = drains_of(folder, age=0)

    _, sent = dispatch(drains, looks=5)

    assert sent == ["shop"] * drains.settings.destination("shop").max_in_flight
