"""Wake-ups through RabbitMQ, where it is installed: they come, and nothing is lost while it is away."""

import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Final

import pytest

from cli.embedded import EmbeddedRedis
from producers.intake import Intake
from producers.routing import Router
from sandbox.crowd import Crowd
from tests.acceptance.conftest import Fleet, fleet_on
from tests.conftest import wait_until
from tests.rabbitmq import RabbitMQ, rabbitmq
from worker.app import make_app
from worker.tasks import DRAIN

pytestmark = pytest.mark.acceptance

EVENTS: Final = 1_500
SERVERS: Final = """
[redis]
url = "{lanes}"
[celery]
broker_url = "{broker}"
"""


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[RabbitMQ]:
    (tmp_path / "rabbitmq").mkdir()
    with rabbitmq(tmp_path / "rabbitmq") as node:
        yield node


@pytest.fixture
def fleet(tmp_path: Path, broker: RabbitMQ) -> Iterator[Fleet]:
    with (
        EmbeddedRedis(tmp_path / ".relay") as redis,
        fleet_on(tmp_path, redis, SERVERS.format(lanes=redis.url, broker=broker.url)) as fleet,
    ):
        yield fleet


def wake_ups(fleet: Fleet) -> int:
    """How many the worker has received, as it says through the broker; 0 when it does not answer."""
    with make_app(fleet.settings) as app, app.connection_for_write() as connection:
        answers = app.control.inspect(connection=connection, timeout=1).stats() or {}
        return sum(each["total"].get(DRAIN, 0) for each in answers.values())


def test_wake_ups_go_through_rabbitmq_and_nothing_is_lost_when_it_is_killed(fleet: Fleet, broker: RabbitMQ) -> None:
    crowd = Crowd(11, now_ms=int(time.time() * 1000), people=200)
    events = crowd.events(3 * EVENTS)
    intake = Intake(Router(fleet.settings.destinations), fleet.store, lambda: int(time.time() * 1000))
    fleet.start_worker()  # waits for its broker, as at any time
    broker.await_ready()
    intake.accept_many(islice(events, EVENTS))
    wait_until(fleet.drained)
    assert (received := wake_ups(fleet)) > 0
    assert {broker.queue_length(f"drain.{each.name}") for each in fleet.settings.destinations} == {0}

    broker.kill()
    intake.accept_many(islice(events, EVENTS))
    wait_until(fleet.drained)
    broker.boot()
    broker.await_ready()
    wait_until(lambda: wake_ups(fleet) > 0, within=40)  # the worker has found its broker again
    intake.accept_many(events)
    wait_until(fleet.drained)

    assert wake_ups(fleet) > received
    assert fleet.wrong(crowd) == {"criteo": 0, "taboola": 0, "stackadapt": 0}
