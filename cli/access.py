"""The way to Redis for commands that need it: opened, looked at, and closed again."""

from collections.abc import Iterator
from contextlib import closing, contextmanager

from cli.telling import say
from worker.destinations import REGISTRY
from worker.destinations.base import DestinationSettings
from worker.errors import ConfigurationError, StoreUnavailable
from worker.settings import Settings
from worker.store.connection import connect, ping, redis_url
from worker.store.limits import Limits
from worker.store.store import Store, open_store

NOT_RUNNING = "the embedded Redis is not running; start `audience-relay up`, or set redis.url"


@contextmanager
def opened(settings: Settings) -> Iterator[Store]:
    """The store, after a look whether it will do; warnings go to standard error.

    Raises `StoreUnavailable` with what to do, or `ConfigurationError`.
    """
    with closing(open_store(settings)) as store:
        for warning in verified(settings, store):
            say(f"warning: {warning}")
        yield store


def verified(settings: Settings, store: Store) -> list[str]:
    """Warnings about this Redis; raises when it will not do."""
    try:
        return store.verify()
    except StoreUnavailable as error:
        if settings.redis.url is None and _is_away(settings):
            raise StoreUnavailable(NOT_RUNNING) from error
        raise


def known(settings: Settings, store: Store) -> list[str]:
    """The names of the destinations of the configuration, in its order, then of those that only Redis knows."""
    configured = [each.name for each in settings.destinations]
    return configured + sorted(store.destinations() - set(configured))


def expect_known(destination: str, settings: Settings, store: Store) -> None:
    """Raise `ConfigurationError`, with those there are, when neither the configuration nor Redis knows it."""
    names = known(settings, store)
    if destination not in names:
        raise ConfigurationError([f'no destination is named "{destination}"; there are: {", ".join(names)}'])


def limits_of(destination: DestinationSettings, store: Store) -> Limits:
    """The permits and the hold of its credential."""
    return store.limits(REGISTRY[destination.kind](destination).credential)


def _is_away(settings: Settings) -> bool:
    with closing(connect(redis_url(settings))) as client:
        return ping(client) == "away"
