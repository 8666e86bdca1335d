"""The memberships that come of a case's events are those that Segment's requests mean, but for the exceptions."""

import pytest
from redis import Redis

from tests.conftest import Clock
from tests.golden import segment
from tests.golden.cases import Case, Effects, Profiles, after, cases, exceptions
from tests.golden.relay import play, settings_of

WITH_EVENTS = [case for case in cases().values() if case.op is None]
NO_SUCCESS = {"buried", "waiting", "discarded"}


def effects_of(case: Case) -> Effects:
    instead = exceptions().get(case.name)
    return instead.effects if instead else segment.effects(case)


def profiles_of(case: Case) -> Profiles:
    instead = exceptions().get(case.name)
    return instead.profiles if instead else segment.profiles(case)


@pytest.mark.parametrize("start", ["nobody", "everybody"])
@pytest.mark.parametrize("case", WITH_EVENTS, ids=lambda case: case.name)
def test_memberships_are_what_segments_requests_mean(case: Case, start: str, redis: Redis, clock: Clock) -> None:
    """Whether nobody was a member before, or everybody of whom the events tell."""
    instead = exceptions().get(case.name)
    outcome = play(
        case, redis, clock, everybody=start == "everybody", own_settings=instead.settings if instead else None
    )

    assert outcome.members == after(effects_of(case), outcome.before)
    assert outcome.before or outcome.profiles == profiles_of(case)
    assert outcome.unaccounted == 0
    if instead and instead.held:
        assert [reason.partition(":")[0] for reason in outcome.holds] == [instead.held]
    else:
        assert outcome.holds == []
        assert outcome.statuses == {}
        assert not any(outcome.counters.get(name) for name in NO_SUCCESS)


@pytest.mark.parametrize(
    "case", [each for each in WITH_EVENTS if each.kind == "stackadapt" and each.name not in exceptions()],
    ids=lambda case: case.name,
)  # fmt: skip
def test_the_marketing_status_is_what_segments_requests_say(case: Case, redis: Redis, clock: Clock) -> None:
    assert play(case, redis, clock).opted_in == segment.opted_in(case)


def test_an_outage_of_a_case_happens_in_its_replay(redis: Redis, clock: Clock) -> None:
    """A reply that the relay never asks for would leave the case unplayed."""
    for case in WITH_EVENTS:
        redis.flushall()
        assert play(case, redis, clock).unsuffered == 0, case.name


@pytest.mark.parametrize("name", exceptions())
def test_an_exception_is_needed(name: str) -> None:
    """It says something else than Segment's requests mean, or needs what Segment's settings do not say."""
    case, instead = cases()[name], exceptions()[name]
    settings = settings_of(case)

    assert (
        (instead.effects, instead.profiles, instead.creates)
        != (segment.effects(case), segment.profiles(case), segment.audiences(case))
        or settings | instead.settings != settings
        or instead.held
        or instead.erases
    )


def test_the_cases_are_all_there() -> None:
    kinds = [case.kind for case in cases().values()]

    assert {kind: kinds.count(kind) for kind in kinds} == {"criteo": 35, "taboola": 36, "stackadapt": 50}
