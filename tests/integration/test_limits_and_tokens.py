"""Permits and tokens of a credential, in a real Redis. Times are the test's own."""

from datetime import timedelta

import pytest
from pydantic import SecretStr
from redis import Redis

from tests.conftest import Clock
from worker.destinations.base import Credential, Rate
from worker.store.limits import Limits
from worker.store.store import Store
from worker.store.tokens import Tokens

CREDENTIAL = Credential("https://api.example.com", "relay", SecretStr("secret"), "https://api.example.com/token")


def limited(calls: int, seconds: float) -> Credential:
    return Credential("https://api.example.com", "relay", SecretStr("secret"), rate=Rate(calls, seconds))


@pytest.fixture
def tokens(store: Store) -> Tokens:
    return store.tokens(CREDENTIAL)


@pytest.mark.parametrize("step", [0.0, 0.01, 0.2, 1.0, 7.3])
def test_no_window_sees_more_than_the_vendor_allows(store: Store, clock: Clock, step: float) -> None:
    limits = store.limits(limited(250, 60))
    granted: list[int] = []
    for _ in range(700):
        if limits.take(1) == 0:
            granted.append(clock())
        clock.advance(seconds=step)

    busiest = max(sum(start <= each < start + 60_000 for each in granted) for start in granted)

    assert busiest <= 250
    assert len(granted) >= min(700, 200 * 700 * step / 60)


def test_permits_are_granted_all_or_none_and_say_when_to_come_back(store: Store, clock: Clock) -> None:
    limits = store.limits(limited(50, 50))
    assert limits.take(8) == 0

    wait_ms = limits.take(4)

    assert wait_ms > 0
    assert limits.take(2) == 0

    clock.advance(seconds=wait_ms / 1000 + 3)

    assert limits.take(4) == 0


def test_permits_that_were_not_used_can_be_given_back(store: Store) -> None:
    limits = store.limits(limited(50, 50))
    assert limits.take(10) == 0
    assert limits.take(1) > 0

    limits.give_back(7)

    assert limits.take(7) == 0
    assert limits.take(1) > 0


def test_all_who_use_a_credential_share_its_permits(redis: Redis, clock: Clock) -> None:
    one, other = (Limits(redis, limited(10, 10), clock) for _ in range(2))

    assert one.take(2) == 0
    assert other.take(1) > 0


def test_a_held_credential_grants_nothing_until_the_hold_ends(store: Store, clock: Clock) -> None:
    limits = store.limits(CREDENTIAL)
    limits.hold("rate limited: HTTP 429", 30_000)

    assert limits.take(1) == 30_000

    clock.advance(seconds=30)

    assert limits.take(1) == 0


def test_one_caller_renews_and_the_others_wait(tokens: Tokens) -> None:
    renewal = tokens.get()

    assert renewal.act == "renew"
    assert tokens.get().act == "wait"

    tokens.keep(renewal.renewal, "t1", timedelta(minutes=15))

    assert tokens.get() == tokens.get()
    assert (tokens.get().act, tokens.get().token) == ("use", "t1")


def test_a_token_is_renewed_before_it_ends_while_others_use_it(tokens: Tokens, clock: Clock) -> None:
    tokens.keep(tokens.get().renewal, "t1", timedelta(minutes=15))
    clock.advance(seconds=14 * 60 + 1)

    assert tokens.get().act == "renew"
    assert (tokens.get().act, tokens.get().token) == ("use", "t1")


def test_a_token_that_failed_is_renewed_once(tokens: Tokens) -> None:
    tokens.keep(tokens.get().renewal, "t1", timedelta(minutes=15))

    renewal = tokens.get(failed="t1")

    assert renewal.act == "renew"
    assert tokens.get(failed="t1").act == "wait"

    tokens.keep(renewal.renewal, "t2", timedelta(minutes=15))

    assert (tokens.get(failed="t1").act, tokens.get(failed="t1").token) == ("use", "t2")


def test_a_renewal_that_was_abandoned_or_died_is_taken_over(tokens: Tokens, clock: Clock) -> None:
    tokens.abandon(tokens.get().renewal)

    assert tokens.get().act == "renew"
    assert tokens.get().act == "wait"

    clock.advance(seconds=31)

    assert tokens.get().act == "renew"


def test_refused_credentials_are_remembered_for_a_minute(tokens: Tokens, clock: Clock) -> None:
    tokens.refuse(tokens.get().renewal, "invalid_client")

    grant = tokens.get()

    assert (grant.act, grant.reason, grant.wait_seconds) == ("refused", "invalid_client", 60.0)

    clock.advance(seconds=61)

    assert tokens.get().act == "renew"
