"""The stand-ins together, and what can be seen of them from outside."""

from threading import Barrier, Thread
from typing import Any

import pytest
from werkzeug.test import Client, TestResponse

from sandbox.app import Sandbox
from sandbox.journal import Audience, Journal, labels
from sandbox.taboola import TaboolaSwitches

VENDORS = ("criteo", "taboola", "stackadapt", "http")
DRIP = {"rules": [{"fault": {"kind": "drip"}}]}


@pytest.fixture
def sandbox() -> Sandbox:
    return Sandbox(taboola=TaboolaSwitches(accept_unknown_tokens=True, accept_unknown_audiences=True))


@pytest.fixture
def http(sandbox: Sandbox) -> Client:
    return Client(sandbox)


def add(http: Client, audience_id: int, device: str, account: str = "acme") -> TestResponse:
    user = {"user_id": device, "type": "DEVICE_ID", "is_hashed": False}
    body = {"operation": "ADD", "audience_id": audience_id, "identities": [{"cluster": [user]}]}
    path = f"/taboola/backstage/api/1.0/{account}/audience_onboarding"
    return http.post(path, json=body, headers={"Authorization": "Bearer any"})


def get(http: Client, path: str) -> Any:
    return http.get(f"/_sandbox/{path}").json


# ── Mounts ───────────────────────────────────────────────────────────────────────────────────────


def test_each_vendor_is_below_its_name(http: Client) -> None:
    form = {"grant_type": "client_credentials", "client_id": "any", "client_secret": "any"}
    query = {"query": "{ tokenInfo { name } }"}

    assert http.post("/criteo/oauth2/token", data=form).status_code == 200
    assert http.post("/taboola/backstage/oauth/token", data=form).status_code == 200
    assert http.post("/stackadapt/graphql", json=query, headers={"Authorization": "Bearer any"}).status_code == 200
    assert http.get("/http/health", headers={"Authorization": "Bearer any"}).status_code == 200


def test_criteo_names_the_path_that_the_client_would_know(http: Client) -> None:
    answer = http.get("/criteo/2026-07/advertisers/me").json

    assert answer
    assert answer["errors"][0]["instance"] == "/2026-07/advertisers/me"


@pytest.mark.parametrize("path", ["/", "/_sandbox", "/_sandbox/members/nobody", "/_sandbox/nothing"])
def test_anything_else_is_a_404(http: Client, path: str) -> None:
    response = http.get(path)

    assert response.status_code == 404
    assert response.json


# ── Members ──────────────────────────────────────────────────────────────────────────────────────


def test_members_are_shown_by_audience(http: Client) -> None:
    add(http, 1, "A")
    add(http, 1, "B")

    assert get(http, "members/taboola") == {"1": {"A": True, "B": True}}
    assert get(http, "members/criteo") == {}


def test_an_owner_is_named_only_where_names_are_shared(http: Client, sandbox: Sandbox) -> None:
    for number, (account, name) in enumerate([("one", "vip"), ("two", "vip"), ("two", "other")]):
        sandbox.taboola.add_audience(number, account=account, name=name)

    assert get(http, "members/taboola") == {"one/vip": {}, "two/vip": {}, "other": {}}


def test_labels_name_each_audience_once() -> None:
    vip = Audience("one", "vip")

    assert labels([vip, vip]) == {vip: "vip"}
    assert set(labels([vip, Audience("two", "vip")]).values()) == {"one/vip", "two/vip"}


# ── Requests ─────────────────────────────────────────────────────────────────────────────────────


def test_requests_are_counted_by_route_and_status(http: Client) -> None:
    add(http, 1, "A")
    add(http, 1, "")
    http.get("/taboola/nowhere")

    assert get(http, "requests/taboola") == {
        "total": 3,
        "routes": {"GET unknown": {"404": 1}, "POST amend": {"200": 1, "400": 1}},
        "most_in_flight": {"1": 1},
        "counted": {},
    }


def test_the_most_requests_in_flight_at_once_are_told_per_audience() -> None:
    together = Barrier(2)
    sandbox = Sandbox(
        taboola=TaboolaSwitches(accept_unknown_tokens=True, accept_unknown_audiences=True),
        sleep=lambda _: void(together.wait(timeout=10)),
    )
    http = Client(sandbox)
    add(http, 2, "alone")
    sandbox.taboola.script_faults({"rules": [{"fault": {"kind": "slow", "seconds": 1}}]})
    threads = [Thread(target=add, args=(Client(sandbox), 1, name)) for name in "AB"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert get(http, "requests/taboola")["most_in_flight"] == {"1": 2, "2": 1}
    assert get(http, "members/taboola")["1"] == {"A": True, "B": True}


def void(_: object) -> None:
    """Nothing, whatever was given."""


def test_a_request_is_in_flight_until_its_last_byte_leaves() -> None:
    """So that who reads an answer to its end and asks again is never seen to ask twice at once."""
    over: list[int] = []
    dripping = Sandbox(sleep=lambda _: over.append(dripping.stackadapt.journal.summary()["total"]))
    dripping.stackadapt.script_faults(DRIP)
    query = {"query": "{ tokenInfo { name } }"}
    response = Client(dripping).post("/stackadapt/graphql", json=query, headers={"Authorization": "Bearer any"})

    assert over == [0] * len(response.data)
    assert dripping.stackadapt.journal.summary()["total"] == 1


def test_what_is_in_flight_outlasts_a_cleared_journal() -> None:
    journal, vip = Journal(), Audience("one", "vip")
    flight = journal.begin("POST", "amend", [vip])
    journal.clear()
    journal.begin("POST", "amend", [vip])
    flight.end("200")
    flight.end("200")

    assert journal.summary() == {"total": 1, "routes": {"POST amend": {"200": 1}}, "most_in_flight": {"vip": 2}}


# ── Faults and reset ─────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("vendor", VENDORS)
def test_faults_are_set_shown_and_cleared(http: Client, vendor: str) -> None:
    shown = http.put(f"/_sandbox/faults/{vendor}", json=DRIP).json

    assert shown
    assert shown["rules"][0]["fault"] == {"kind": "drip", "seconds": 0.05}
    assert get(http, f"faults/{vendor}") == shown
    assert http.delete(f"/_sandbox/faults/{vendor}").status_code == 204
    assert get(http, f"faults/{vendor}")["rules"] == []


def test_a_bad_script_is_a_400_with_the_reason(http: Client) -> None:
    response = http.put("/_sandbox/faults/criteo", json={"rules": [{"fault": {"kind": "explode"}}]})

    assert response.status_code == 400
    assert response.json == {"error": "Invalid value 'explode' - at `$.rules[0].fault.kind`"}


def test_a_reset_forgets_everything(http: Client, sandbox: Sandbox) -> None:
    add(http, 1, "A")
    sandbox.stackadapt.script_faults(DRIP)

    assert http.post("/_sandbox/reset").status_code == 204
    assert get(http, "members/taboola") == {}
    assert get(http, "requests/taboola")["total"] == 0
    assert get(http, "faults/stackadapt")["rules"] == []
