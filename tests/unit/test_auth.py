"""Client credentials: what is sent for a token, and what its answers lead to. Pure: the fleet's tokens are a value."""

import json
from datetime import timedelta
from urllib.parse import parse_qs

import httpx
import pytest
from pydantic import SecretStr

from worker.auth import ClientCredentials, FixedToken
from worker.destinations.base import Credential
from worker.errors import DeliveryError, NeedsPerson, NotYet, Throttled, TryLater
from worker.store.tokens import Grant

SECRET = "a+b/c&d=e%20 f"
CREDENTIAL = Credential("https://api.example.com", "relay", SecretStr(SECRET), "https://api.example.com/oauth2/token")
REQUEST = httpx.Request("PATCH", "https://api.example.com/lists/1", content=b"{}")


class Fleet:
    """Tokens as one worker sees them: `grants` in turn, then what was kept."""

    def __init__(self, *grants: Grant) -> None:
        self.grants = list(grants)
        self.kept: list[tuple[str, timedelta]] = []
        self.refused: list[str] = []
        self.abandoned = 0

    def get(self, *, failed: str = "") -> Grant:
        if self.grants:
            return self.grants.pop(0)
        return Grant("renew", "r1")

    def keep(self, renewal: str, token: str, lives: timedelta) -> None:
        assert renewal
        self.kept.append((token, lives))

    def refuse(self, renewal: str, reason: str) -> None:
        self.refused.append(reason)

    def abandon(self, renewal: str) -> None:
        self.abandoned += 1


def send(fleet: Fleet, *answers: httpx.Response) -> tuple[httpx.Response, list[httpx.Request]]:
    """Send one request; the answers come in turn."""
    sent: list[httpx.Request] = []
    queue = list(answers)

    def answer(request: httpx.Request) -> httpx.Response:
        sent.append(httpx.Request(request.method, request.url, headers=request.headers, content=request.content))
        return queue.pop(0)

    with httpx.Client(transport=httpx.MockTransport(answer)) as client:
        return client.send(REQUEST, auth=ClientCredentials(CREDENTIAL, fleet)), sent


def token(value: str = "t1", **others: object) -> httpx.Response:
    return httpx.Response(200, json={"access_token": value, "token_type": "bearer"} | others)


def test_a_secret_with_awkward_characters_survives_the_form() -> None:
    _, (request, _) = send(Fleet(), token(expires_in=900), httpx.Response(200))

    assert request.headers["content-type"] == "application/x-www-form-urlencoded"
    assert parse_qs(request.content.decode()) == {
        "grant_type": ["client_credentials"],
        "client_id": ["relay"],
        "client_secret": [SECRET],
    }


@pytest.mark.parametrize(("given", "seconds"), [(900, 900), ("900", 900), (None, 300), ("soon", 300)])
def test_a_new_token_is_kept_for_its_life(given: object, seconds: int) -> None:
    fleet = Fleet()
    _, (_, request) = send(fleet, token(expires_in=given), httpx.Response(200))

    assert request.headers["authorization"] == "Bearer t1"
    assert fleet.kept == [("t1", timedelta(seconds=seconds))]


def test_a_401_leads_to_one_new_token_and_one_repeat() -> None:
    fleet = Fleet(Grant("use", token="old"))
    response, sent = send(fleet, httpx.Response(401), token("new", expires_in=900), httpx.Response(401))

    assert [each.headers.get("authorization") for each in sent] == ["Bearer old", None, "Bearer new"]
    assert response.status_code == 401, "it is for the destination to say that somebody has to look"


def test_while_another_worker_renews_nothing_is_sent() -> None:
    with pytest.raises(NotYet):
        send(Fleet(Grant("wait")))


def test_credentials_known_to_be_refused_are_not_tried_again() -> None:
    with pytest.raises(NeedsPerson, match="invalid_client"):
        send(Fleet(Grant("refused", reason="invalid_client")))


PAGE = "<!DOCTYPE html><html><head><title>400</title></head><body>Bad Request</body></html>"
XML = "<BadClientCredentialsException><error>invalid_client</error></BadClientCredentialsException>"


@pytest.mark.parametrize(
    ("answer", "order"),
    [
        (httpx.Response(400, json={"error": "invalid_client"}), NeedsPerson),
        (httpx.Response(401, json={"error": "invalid_client", "error_description": "no"}), NeedsPerson),
        (httpx.Response(400, text=XML), NeedsPerson),
        (httpx.Response(400, text="<BadClientCredentialsException/>"), NeedsPerson),
        (httpx.Response(400), NeedsPerson),
        (httpx.Response(400, json={"error": "temporarily_unavailable"}), TryLater),
        (httpx.Response(400, text=XML.replace("invalid_client", "temporarily_unavailable")), TryLater),
        (httpx.Response(400, json={"error": {"code": 7}}), TryLater),
        (httpx.Response(400, text=PAGE), TryLater),
        (httpx.Response(401, text=PAGE), NeedsPerson),
        (httpx.Response(403, text="<html>"), NeedsPerson),
        (httpx.Response(429, headers={"retry-after": "7"}), Throttled),
        (httpx.Response(500), TryLater),
        (httpx.Response(200, text="<html>"), TryLater),
        (httpx.Response(200, content=json.dumps({"token_type": "bearer"})), TryLater),
    ],
)
def test_a_token_endpoint_that_gives_none_orders_what_to_do(answer: httpx.Response, order: type[DeliveryError]) -> None:
    fleet = Fleet()
    with pytest.raises(DeliveryError) as raised:
        send(fleet, answer)

    assert type(raised.value) is order
    assert isinstance(raised.value, NeedsPerson) or raised.value.scope == "credential"  # type: ignore[attr-defined]
    assert (len(fleet.refused), fleet.abandoned) == ((1, 0) if order is NeedsPerson else (0, 1))
    assert SECRET not in str(raised.value)


def test_a_fixed_token_is_sent_as_it_is() -> None:
    flow = FixedToken(Credential("https://api.example.com", "", SecretStr("t-1"))).auth_flow(REQUEST)

    assert next(flow).headers["authorization"] == "Bearer t-1"


def test_without_a_token_no_authorization_is_sent_but_the_headers_of_the_credential_are() -> None:
    headers = {"X-Api-Key": SecretStr("k-1")}
    credential = Credential("https://api.example.com", "", SecretStr(""), headers=headers)
    request = httpx.Request("POST", "https://api.example.com")

    sent = next(FixedToken(credential).auth_flow(request))

    assert sent.headers["x-api-key"] == "k-1"
    assert "authorization" not in sent.headers
    assert "k-1" not in repr(credential)
