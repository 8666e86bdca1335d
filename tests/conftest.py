"""What every tier shares: a real Redis, a clock that tests move, and waiting for a fact instead of sleeping."""

import fnmatch
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import cast

import pytest
import structlog
from hypothesis import HealthCheck, settings
from redis import Redis

from cli.embedded import EmbeddedRedis
from worker.store import keys
from worker.store.connection import connect
from worker.store.store import Store

settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")  # a busy one fails no property


class Clock:
    """Redis time as a test sets it, in milliseconds."""

    def __init__(self) -> None:
        self.ms = 1_795_000_000_000

    def __call__(self) -> int:
        return self.ms

    def advance(self, *, seconds: float) -> None:
        self.ms += round(seconds * 1000)


@pytest.fixture(autouse=True)
def logs_as_before() -> Iterator[None]:
    """Commands set up logs for their process; here that is the tests'."""
    configured, root = structlog.get_config(), logging.getLogger()
    handlers, level = root.handlers, root.level
    yield
    structlog.configure(**configured)
    root.handlers, root.level = handlers, level


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a real server that this test session started."""
    with EmbeddedRedis(tmp_path_factory.mktemp("redis")) as server:
        yield server.url


@pytest.fixture
def redis(redis_url: str) -> Iterator[Redis]:
    """An empty Redis. A key that is not in the table of keys fails the test."""
    with connect(redis_url) as client:
        client.flushall()
        yield client
        unknown = [key for key in client.scan_iter() if not _documented(key.decode())]
        assert unknown == []


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(redis: Redis, clock: Clock) -> Store:
    """A store on the test's clock."""
    return Store(redis, now_ms=clock)


@contextmanager
def maxmemory(redis: Redis, size: int) -> Iterator[None]:
    """With so many bytes, Redis may be full."""
    before = cast("dict[str, str]", redis.config_get("maxmemory"))["maxmemory"]
    redis.config_set("maxmemory", size)
    try:
        yield
    finally:
        redis.config_set("maxmemory", before)


def wait_until(fact: Callable[[], bool], *, within: float = 40.0) -> None:
    """Return as soon as the fact holds; fail when it does not within so many seconds."""
    deadline = time.monotonic() + within
    while not fact():
        assert time.monotonic() < deadline, f"not within {within} s: {fact}"
        time.sleep(0.02)


def _documented(key: str) -> bool:
    return any(fnmatch.fnmatchcase(key, row.name.replace("[", "[[]")) for row in keys.TABLE)
