"""Sending over real sockets: deadlines, connections, and what is in doubt after a fault."""

import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import httpx
import pytest

from sandbox.app import Sandbox
from sandbox.server import Server, serve
from tests.conftest import wait_until
from worker.delivery import Sender, open_client
from worker.destinations.base import Request
from worker.errors import LeaseLost, TryLater


class AsksForToken(httpx.Auth):
    """Asks for a token before each request; any answer will do."""

    def __init__(self, token_request: httpx.Request) -> None:
        self._token_request = token_request

    def auth_flow(self, request: httpx.Request) -> Iterator[httpx.Request]:  # type: ignore[override] # nothing is sent back
        yield self._token_request
        yield request


class Bearer(httpx.Auth):
    """Any token is taken by the stand-ins."""

    def auth_flow(self, request: httpx.Request) -> Iterator[httpx.Request]:  # type: ignore[override] # nothing is sent back
        request.headers["authorization"] = "Bearer token"
        yield request


@pytest.fixture
def server() -> Iterator[Server]:
    with serve(Sandbox()) as server:
        yield server


@pytest.fixture
def client() -> Iterator[httpx.Client]:
    with open_client() as client:
        yield client


def script(server: Server, **fault: Any) -> None:
    httpx.put(f"{server.url}/_sandbox/faults/stackadapt", json={"rules": [{"fault": fault}]}).raise_for_status()


def upsert(server: Server, *, changes_nothing: bool = False) -> Request:
    body = {"query": "{ tokenInfo { name } }"}
    return Request.json("POST", f"{server.url}/stackadapt/graphql", body, changes_nothing=changes_nothing)


def passes() -> None:
    """A gate that lets everything through."""


def send(client: httpx.Client, request: Request, seconds: float = 5.0) -> TryLater:
    """The order that a failing request leads to."""
    with pytest.raises(TryLater) as order:
        Sender(client, Bearer(), passes, deadline=timedelta(seconds=seconds))(request)
    return order.value


def test_an_answer_is_read_whole(server: Server, client: httpx.Client) -> None:
    response = Sender(client, Bearer(), passes)(upsert(server))

    assert response.status == 200
    assert response.json()["data"]["tokenInfo"]["name"]


@pytest.mark.parametrize("fault", [{"kind": "drip", "seconds": 0.05}, {"kind": "slow", "seconds": 1.5}])
def test_the_deadline_holds_for_the_request_as_a_whole(server: Server, client: httpx.Client, fault: Any) -> None:
    script(server, **fault)
    started = time.monotonic()

    order = send(client, upsert(server), seconds=0.5)

    assert time.monotonic() - started < 0.8
    assert (order.reason, order.outcome_unknown) == ("timeout", True)


def test_the_deadline_begins_after_the_gate(server: Server, client: httpx.Client) -> None:
    def waits() -> None:
        opens = time.monotonic() + 0.6
        wait_until(lambda: time.monotonic() > opens)

    assert Sender(client, Bearer(), waits, deadline=timedelta(seconds=0.5))(upsert(server)).status == 200


def test_a_request_for_a_token_has_a_deadline_of_its_own(server: Server, client: httpx.Client) -> None:
    script(server, kind="slow", seconds=0.7)
    auth = AsksForToken(httpx.Request("GET", f"{server.url}/stackadapt/graphql"))
    started = time.monotonic()
    sender = Sender(client, auth, passes, deadline=timedelta(seconds=1.2))
    sender(upsert(server))

    assert time.monotonic() - started >= 1.4
    assert sender.requests == 2


@pytest.mark.parametrize("kind", ["reset_before", "reset_after"])
def test_after_a_reset_the_outcome_is_unknown_unless_nothing_was_to_change(
    server: Server, client: httpx.Client, kind: str
) -> None:
    script(server, kind=kind)

    assert send(client, upsert(server)).outcome_unknown is True
    assert send(client, upsert(server, changes_nothing=True)).outcome_unknown is False


def test_when_no_connection_could_be_made_nothing_is_in_doubt(server: Server, client: httpx.Client) -> None:
    server.close()

    order = send(client, upsert(server))

    assert (order.reason, order.outcome_unknown) == ("connection failed", False)


def test_a_closed_gate_stops_a_request_before_it_leaves(server: Server, client: httpx.Client) -> None:
    def closed() -> None:
        raise LeaseLost("taken over")

    sender = Sender(client, Bearer(), closed)
    with pytest.raises(LeaseLost):
        sender(upsert(server))

    counts = httpx.get(f"{server.url}/_sandbox/requests/stackadapt").json()
    assert counts["routes"] == {}
    assert sender.requests == 0
