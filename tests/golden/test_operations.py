"""The cases that are no source events: audiences set up beforehand, credentials tried, people to be forgotten."""

from typing import Any

import httpx
import pytest
from pydantic import ValidationError
from redis import Redis

from producers.segment import Erasure, parse
from sandbox.app import Sandbox
from tests.conftest import Clock
from tests.destinations.conftest import HOST
from tests.golden import segment
from tests.golden.cases import Case, cases, exceptions
from tests.golden.relay import ENTERED, SECRET, Relay, play
from worker.contract import Identifier
from worker.edges import probe
from worker.errors import NeedsPerson

API = f"{HOST}/taboola/backstage"


def of(op: str) -> pytest.MarkDecorator:
    found = [case for case in cases().values() if case.op == op]
    return pytest.mark.parametrize("case", found, ids=lambda case: case.name)


def enters(**personas: Any) -> dict[str, Any]:
    """Somebody enters the audience of which so much is told."""
    traits = {"email": "user1@example.com"}
    return {"type": "track", "event": ENTERED, "messageId": "m", "context": {"traits": traits, "personas": personas}}


def created(sandbox: Sandbox, account: str) -> list[dict[str, Any]]:
    """The audiences that Taboola shows; it tells the time to live in days."""
    form = {"client_id": "somebody", "client_secret": SECRET, "grant_type": "client_credentials"}
    with httpx.Client(transport=httpx.WSGITransport(app=sandbox)) as client:
        token = client.post(f"{API}/oauth/token", data=form).json()["access_token"]
        authorization = {"authorization": f"Bearer {token}"}
        rows = client.get(f"{API}/api/1.0/{account}/my_audiences", headers=authorization).json()["results"]
    return [
        {
            "audience_name": row["display_name"],
            "ttl_in_hours": row["look_back_window"] * 24,
            "exclude_from_campaigns": row["exclude_from_campaigns"],
        }
        for row in rows
    ]


@of("createAudience")
def test_an_audience_is_created_as_segment_would_when_the_first_one_enters(
    case: Case, redis: Redis, clock: Clock
) -> None:
    relay = Relay(case, redis, clock, {"audience_identifier": "computation_key"})
    relay.suffer_replies()
    relay.accept([enters(**case.input.get("personas", {}))])
    relay.drain()

    instead = exceptions().get(case.name)
    assert case.audience_settings
    assert created(relay.sandbox, case.audience_settings["account_id"]) == (
        instead.creates if instead else segment.audiences(case)
    )


@of("getAudience")
def test_a_blank_id_names_no_audience(case: Case, redis: Redis, clock: Clock) -> None:
    relay = Relay(case, redis, clock, {})
    report = relay.accept([enters(computation_key="vip_users", external_audience_id=case.input["externalId"])])

    assert not case.succeeded
    assert report.refused == {"audience": 1}


@of("refreshAccessToken")
def test_one_request_gets_a_token(case: Case, redis: Redis, clock: Clock) -> None:
    relay = Relay(case, redis, clock, {})
    probe(relay.bench.edges)

    assert relay.bench.requests("token") == len(case.sent) == 1


@of("testAuthentication")
def test_a_token_is_tried_with_the_same_outcome(case: Case, redis: Redis, clock: Clock) -> None:
    relay = Relay(case, redis, clock, {})
    try:
        found = bool(probe(relay.bench.edges))
    except NeedsPerson:
        found = False

    assert found is case.succeeded


@of("onDelete")
def test_who_is_to_be_forgotten_is_read_whole(case: Case) -> None:
    """Quotes and newlines in a user id included. What then happens is told elsewhere."""
    erasure = parse(case.input, received_at=0)

    assert exceptions()[case.name].erases
    assert isinstance(erasure, Erasure)
    assert Identifier("user_id", case.input["userId"]) in erasure.identifiers


def test_an_advertiser_that_is_no_number_is_refused_before_anything_is_sent(redis: Redis, clock: Clock) -> None:
    case = cases()["stackadapt-delete-advertiser-id-not-a-number"]
    with pytest.raises(ValidationError):
        Relay(case, redis, clock, {})

    assert play(case, redis, clock).members == {}
