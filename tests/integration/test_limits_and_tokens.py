"""Permits and tokens of a credential, in a real Redis. Times are the test's own."""

from collections.abc import Iterator
from datetime import timedelta

import pytest
from pydantic import SecretStr
from redis import Redis

from tests.conftest import Clock
from worker.destinations.base import Credential
from worker.store import keys
from worker.store.limits import Limits
from worker.store.store import Store
from worker.store.tokens import Tokens

CREDENTIAL = Credential("https://api.example.com", "relay", SecretStr("secret"), "https://api.example.com/token")


def limited(calls: int | None) -> Credential:
    return Credential("https://api.example.com", "relay", SecretStr("secret"), calls_per_minute=calls)


@pytest.fixture
def tokens(store: Store) -> Tokens:
    return store.tokens(CREDENTIAL)


@pytest.fixture
def full(redis: Redis) -> Iterator[None]:
    """No more room than draining needs."""
    redis.config_set("maxmemory", 1)
    yield
    redis.config_set("maxmemory", 0)


def key_of(credential: Credential, name: str) -> str:
    return f"{keys.credential_root(credential.id)}:{name}"


def scripts_run(redis: Redis) -> int:
    return int(redis.info("commandstats")["cmdstat_evalsha"]["calls"])


def tell(limits: Limits, calls_per_minute: int) -> None:
    """Read an answer with the vendor's limit."""
    limits.observe({"x-ratelimit-limit": str(calls_per_minute)})


def use_up(limits: Limits, clock: Clock) -> None:
    """Read an answer to the last request of a minute that ends in 20 s."""
    limits.observe({"x-ratelimit-remaining": "0", "x-ratelimit-reset": str(clock() // 1000 + 20)})


def busiest_minute(granted: list[int]) -> int:
    return max(sum(start <= each < start + 60_000 for each in granted) for start in granted)


def until_the_next_minute(clock: Clock) -> float:
    return 60 - clock() / 1000 % 60


@pytest.mark.parametrize("step", [0.0, 0.01, 0.2, 1.0, 7.3])
def test_no_minute_sees_more_than_the_vendor_allows(store: Store, clock: Clock, step: float) -> None:
    limits = store.limits(limited(250))
    granted: list[int] = []
    for _ in range(700):
        if limits.take(1):
            granted.append(clock())
        clock.advance(seconds=step)

    assert busiest_minute(granted) <= 250
    assert len(granted) >= min(700, 200 * 700 * step / 60)


def test_permits_are_taken_all_or_none(store: Store, clock: Clock) -> None:
    limits = store.limits(limited(50))

    assert limits.take(8) == 8
    assert limits.take(4) == 0
    assert limits.free() == 2
    assert limits.take(2) == 2

    clock.advance(seconds=60)

    assert limits.take(4) == 4


def test_more_permits_than_come_at_once_are_taken_in_part(store: Store) -> None:
    assert store.limits(limited(10)).take(4) == 2


def test_permits_that_were_not_used_can_be_given_back(store: Store) -> None:
    limits = store.limits(limited(50))
    assert limits.take(10) == 10
    assert limits.take(1) == 0

    limits.give_back(7)

    assert limits.take(7) == 7
    assert limits.take(1) == 0


def test_permits_can_be_given_back_when_the_rate_has_become_lower(store: Store) -> None:
    limits = store.limits(limited(250))
    assert limits.take(50) == 50
    limits.observe({"x-ratelimit-limit": "9"})

    assert limits.free() == 0

    limits.give_back(50)

    assert limits.free() == 1


def test_all_who_use_a_credential_share_its_permits(redis: Redis, clock: Clock) -> None:
    one, other = (Limits(redis, limited(10), clock) for _ in range(2))

    assert one.take(2) == 2
    assert other.take(1) == 0


def test_a_held_credential_grants_nothing_until_the_hold_ends(store: Store, clock: Clock) -> None:
    limits = store.limits(CREDENTIAL)
    limits.hold("rate limited: HTTP 429", 30_000)

    assert limits.take(1) == limits.free() == 0

    clock.advance(seconds=30)

    assert limits.take(1) == 1
    assert limits.held() is None


def test_holds_in_a_row_are_counted_and_the_longer_one_stays(store: Store, clock: Clock) -> None:
    limits = store.limits(CREDENTIAL)
    limits.hold("long", 30_000)
    limits.hold("short", 1_000)

    hold = limits.held()
    assert hold is not None
    assert (hold.reason, hold.attempts) == ("long", 1)

    clock.advance(seconds=31)
    limits.hold("again", 30_000)

    assert limits.attempts() == 2


def test_a_hold_can_be_written_when_redis_is_full(store: Store, full: None) -> None:
    del full
    limits = store.limits(CREDENTIAL)
    limits.hold("rate limited", 30_000)

    assert limits.held() is not None
    assert limits.attempts() == 1


def test_a_rate_limit_that_is_used_up_is_no_hold_in_a_row(store: Store, redis: Redis, clock: Clock) -> None:
    """Nor does it prolong the memory of those that are."""
    limits = store.limits(CREDENTIAL)
    limits.hold("rate limited: HTTP 429", 1_000)
    remembered_ms = redis.pttl(key_of(CREDENTIAL, "attempts"))
    for _ in range(10):
        clock.advance(seconds=60)
        use_up(limits, clock)

    hold = limits.held()
    assert hold is not None
    assert (hold.attempts, limits.attempts()) == (0, 1)
    assert redis.pttl(key_of(CREDENTIAL, "attempts")) <= remembered_ms


def test_a_429_that_tells_the_limit_is_used_up_counts_once(store: Store, clock: Clock) -> None:
    """Of several requests under way at once, too: what each answer tells is read before what it orders is done."""
    limits = store.limits(CREDENTIAL)
    for _ in range(3):
        use_up(limits, clock)
        limits.hold("rate limited: HTTP 429", 1_000)

    hold = limits.held()
    assert hold is not None
    assert (hold.reason, hold.attempts, limits.attempts()) == ("rate limit used up", 1, 1)


def test_a_release_forgets_the_holds_in_a_row(store: Store) -> None:
    limits = store.limits(CREDENTIAL)
    limits.hold("rate limited: HTTP 429", 1_000)

    assert limits.release()
    assert (limits.held(), limits.attempts()) == (None, 0)


def test_a_limit_that_is_not_published_is_learned_from_429s(store: Store, clock: Clock) -> None:
    """The vendor takes 100 calls a minute and tells nobody."""
    limits = store.limits(limited(None))
    taken: list[int] = []
    refused = 0
    for _ in range(6_000):
        if limits.take(1):
            if sum(each > clock() - 60_000 for each in taken[-100:]) >= 100:
                refused += 1
                limits.slow_down()
                limits.hold("rate limited", 5_000)
            else:
                taken.append(clock())
        clock.advance(seconds=0.2)

    assert refused <= 20
    assert len(taken) >= 20 * 100 * 0.5


def test_a_stray_429_slows_nothing_down_for_long(store: Store, clock: Clock) -> None:
    limits = store.limits(limited(250))
    limits.take(3)
    limits.slow_down()

    assert limits.calls_per_minute() == 250

    unknown = store.limits(Credential("https://other.example.com", "relay", SecretStr("secret")))
    unknown.take(3)
    unknown.slow_down()

    assert unknown.calls_per_minute() == 60

    clock.advance(seconds=600)

    assert unknown.calls_per_minute() == 210


def test_a_429_under_load_lowers_the_rate_until_it_has_grown_back(store: Store, clock: Clock) -> None:
    limits = store.limits(limited(250))
    for _ in range(600):
        limits.take(1)
        clock.advance(seconds=0.1)
    limits.slow_down()

    lowered = limits.calls_per_minute()

    assert lowered is not None
    assert 100 <= lowered <= 170

    clock.advance(seconds=600)

    assert limits.calls_per_minute() == 250


@pytest.mark.parametrize("calls", [None, 250])
def test_permits_that_were_given_back_teach_nothing(store: Store, clock: Clock, calls: int | None) -> None:
    """Each flush takes what a batch usually needs, and so does each look that finds no lane due."""
    limits = store.limits(limited(calls))
    clock.advance(seconds=until_the_next_minute(clock))
    for _ in range(100):
        limits.give_back(limits.take(3) - 1)
        limits.give_back(limits.take(3))
        clock.advance(seconds=0.3)
    limits.slow_down()

    assert limits.calls_per_minute() == 66


def test_permits_that_are_given_back_in_the_next_minute_teach_nothing(store: Store, clock: Clock) -> None:
    limits = store.limits(limited(None))
    clock.advance(seconds=until_the_next_minute(clock) - 0.1)
    limits.take(300)
    clock.advance(seconds=0.2)
    limits.give_back(300)
    limits.slow_down()

    assert limits.calls_per_minute() == 60


def test_permits_of_one_minute_that_are_given_back_in_the_next_are_not_taken_off_that(
    store: Store, clock: Clock
) -> None:
    limits = store.limits(limited(None))
    clock.advance(seconds=until_the_next_minute(clock) - 0.1)
    limits.take(700)
    clock.advance(seconds=0.2)
    limits.give_back(400)
    clock.advance(seconds=59.9)
    limits.take(150)
    limits.slow_down()

    assert limits.calls_per_minute() == 100


def test_answers_correct_the_published_limit(store: Store, clock: Clock) -> None:
    limits = store.limits(limited(250))
    limits.observe({"x-ratelimit-limit": "10", "x-ratelimit-remaining": "9"})

    assert limits.take(4) == 2

    reset = clock() // 1000 + 20
    limits.observe({"x-ratelimit-limit": "10", "x-ratelimit-remaining": "0", "x-ratelimit-reset": str(reset)})

    hold = limits.held()
    assert hold is not None
    assert hold.until_ms == reset * 1000


def test_a_limit_that_is_again_what_is_configured_is_learned_by_all(store: Store) -> None:
    limits, other = store.limits(limited(250)), store.limits(limited(250))
    tell(limits, 100)
    tell(other, 100)
    tell(limits, 250)

    assert (limits.calls_per_minute(), other.calls_per_minute()) == (250, 250)


def test_a_limit_that_the_vendor_goes_on_telling_stays_known(store: Store, redis: Redis, clock: Clock) -> None:
    limits = store.limits(limited(250))
    tell(limits, 100)
    redis.delete(key_of(CREDENTIAL, "rate"))  # as after a day
    clock.advance(seconds=3600)
    tell(limits, 100)

    assert limits.calls_per_minute() == 100


def test_a_limit_is_written_once_an_hour(store: Store, redis: Redis, clock: Clock) -> None:
    limits = store.limits(limited(250))
    tell(limits, 100)
    before = scripts_run(redis)
    for _ in range(59):
        clock.advance(seconds=60)
        tell(limits, 100)
    assert scripts_run(redis) == before

    clock.advance(seconds=60)
    tell(limits, 100)

    assert scripts_run(redis) == before + 1


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


def test_a_short_lived_token_is_used_for_most_of_its_life(tokens: Tokens, clock: Clock) -> None:
    tokens.keep(tokens.get().renewal, "t1", timedelta(seconds=10))
    clock.advance(seconds=7.9)

    assert tokens.get().act == "use"

    clock.advance(seconds=0.2)

    assert tokens.get().act == "renew"


def test_a_process_asks_for_its_token_once_in_a_while(tokens: Tokens, redis: Redis, clock: Clock) -> None:
    tokens.keep(tokens.get().renewal, "t1", timedelta(seconds=60))
    tokens.get()
    before = scripts_run(redis)
    assert {tokens.get().token for _ in range(100)} == {"t1"}
    assert scripts_run(redis) == before

    clock.advance(seconds=5)

    assert tokens.get().token == "t1"
    assert scripts_run(redis) == before + 1


def test_another_process_renews_a_token_and_this_one_learns_it(store: Store, tokens: Tokens, clock: Clock) -> None:
    """At once when the old one is refused, else within seconds."""
    other = store.tokens(CREDENTIAL)
    tokens.keep(tokens.get().renewal, "t1", timedelta(minutes=15))
    assert tokens.get() == other.get()
    clock.advance(seconds=1)
    other.keep(other.get(failed="t1").renewal, "t2", timedelta(minutes=15))

    assert tokens.get().token == "t1"
    assert tokens.get(failed="t1").token == "t2"
    assert tokens.get().token == "t2"


def test_refused_credentials_are_remembered_for_a_minute(tokens: Tokens, clock: Clock) -> None:
    tokens.refuse(tokens.get().renewal, "invalid_client")

    grant = tokens.get()

    assert (grant.act, grant.reason) == ("refused", "invalid_client")

    tokens.forgive()

    assert tokens.get().act == "renew"


def test_a_refusal_is_forgotten_after_a_minute(tokens: Tokens, clock: Clock) -> None:
    tokens.refuse(tokens.get().renewal, "invalid_client")
    clock.advance(seconds=61)

    assert tokens.get().act == "renew"
