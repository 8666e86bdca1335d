"""The stand-in of a receiver of one's own."""

from typing import Any

import pytest
from werkzeug.test import Client, TestResponse

from sandbox.webhook import WebhookSandbox, WebhookSwitches

ADA = {"identifiers": [{"type": "email", "value": "ada@example.com"}]}
BOB = {"identifiers": [{"type": "email", "value": "bob@example.com"}, {"type": "device", "value": "tablet"}]}


class Caller:
    """Somebody with a token, each of whose requests has a key of its own."""

    def __init__(self, switches: WebhookSwitches | None = None) -> None:
        self.sandbox = WebhookSandbox(switches)
        self.http = Client(self.sandbox)
        self.sent = 0

    def send(self, body: object, **headers: str | None) -> TestResponse:
        """Send a body; a header that is None is left out."""
        self.sent += 1
        usual = {"Authorization": "Bearer t", "Idempotency-Key": str(self.sent), "Content-Type": "application/json"}
        given = {name.replace("_", "-").title(): value for name, value in headers.items()}
        return self.http.post("/members", json=body, headers={k: v for k, v in (usual | given).items() if v})

    def change(self, operation: str, *members: object, audience: str = "vip", **headers: str | None) -> TestResponse:
        return self.send({"audience": audience, "operation": operation, "members": members}, **headers)

    def members(self) -> dict[str, dict[str, bool]]:
        return self.sandbox.members()


def caller(**switches: Any) -> Caller:
    return Caller(WebhookSwitches(**switches))


def test_members_are_added_and_removed() -> None:
    somebody = caller()
    answer = somebody.change("add", ADA, BOB)
    somebody.change("remove", ADA)

    assert (answer.status_code, answer.json) == (200, {"taken": 3, "refused": []})
    assert somebody.members() == {"vip": {"bob@example.com": True, "tablet": True}}


def test_a_remove_creates_no_audience() -> None:
    somebody = caller()
    answer = somebody.change("remove", ADA)

    assert answer.status_code == 200
    assert somebody.members() == {}


def test_what_is_told_of_a_member_is_kept() -> None:
    somebody = caller()
    somebody.change("add", ADA | {"properties": {"plan": "gold", "visits": 3}})

    assert somebody.sandbox.properties("vip") == {"ada@example.com": {"plan": "gold", "visits": 3}}


def test_a_key_that_was_answered_is_answered_the_same_and_changes_nothing() -> None:
    somebody = caller()
    first = somebody.change("add", ADA, idempotency_key="k")
    again = somebody.change("remove", ADA, idempotency_key="k")

    assert again.json == first.json
    assert somebody.members() == {"vip": {"ada@example.com": True}}
    assert somebody.sandbox.requests()["counted"] == {"repeated": 1}


def test_a_refusal_does_not_use_up_its_key() -> None:
    somebody = caller()
    somebody.change("shout", ADA, idempotency_key="k")

    assert somebody.change("add", ADA, idempotency_key="k").json == {"taken": 1, "refused": []}


def of(**more: Any) -> dict[str, Any]:
    """A body that is right but for what is given; `...` leaves a member out."""
    body = {"audience": "vip", "operation": "add", "members": [ADA]} | more
    return {name: value for name, value in body.items() if value is not ...}


@pytest.mark.parametrize(
    "body",
    [
        [],
        of(audience=...),
        of(audience=""),
        of(audience=7),
        of(operation="ADD"),
        of(members=[]),
        of(members={}),
        of(members=[{"identifiers": []}]),
        of(members=[{"identifiers": [{"type": "gum", "value": "x"}]}]),
        of(members=[{"identifiers": [{"type": "email", "value": ""}]}]),
        of(members=[{"identifiers": [{"type": "email"}]}]),
        of(members=[ADA | {"properties": {"plan": ["gold"]}}]),
        of(members=[ADA | {"plan": "gold"}]),
        of(more=1),
    ],
)
def test_another_form_is_a_400(body: object) -> None:
    somebody = caller()

    assert somebody.send(body).status_code == 400
    assert somebody.members() == {}


def test_an_identifier_stands_in_a_request_once() -> None:
    assert caller().change("add", ADA, ADA).status_code == 422


def test_json_must_be_declared_and_a_key_be_there() -> None:
    somebody = caller()

    assert somebody.change("add", ADA, content_type="text/plain").status_code == 415
    assert somebody.change("add", ADA, idempotency_key=None).status_code == 400


def test_only_known_tokens_are_taken() -> None:
    somebody = caller(tokens=frozenset({"t"}))

    assert somebody.change("add", ADA).status_code == 200
    for other in (None, "Bearer", "Bearer u", "Basic dDp0"):
        assert somebody.change("add", ADA, authorization=other).status_code == 401
        assert somebody.http.get("/health", headers={"Authorization": other or ""}).status_code == 401
    assert somebody.http.get("/health", headers={"Authorization": "Bearer t"}).json == {"status": "ok"}


def test_a_revoked_token_stays_out() -> None:
    somebody = caller()
    somebody.change("add", ADA)
    somebody.sandbox.script_faults({"rules": [{"times": 1, "fault": {"kind": "revoke_tokens"}}]})

    assert somebody.change("add", BOB).status_code == 401
    assert somebody.change("add", BOB).status_code == 401


def test_more_members_than_a_request_may_have_are_a_413() -> None:
    somebody = caller(max_members=1)

    assert somebody.change("add", ADA, BOB).status_code == 413
    assert somebody.change("add", BOB).status_code == 200


def test_refused_identifiers_are_named_and_the_others_taken() -> None:
    somebody = caller(refused_values=frozenset({"tablet"}))
    answer = somebody.change("add", ADA, BOB)

    refused = [{"identifier": "tablet", "reason": "tablet is not welcome"}]
    assert answer.json == {"taken": 2, "refused": refused}
    assert somebody.members() == {"vip": {"ada@example.com": True, "bob@example.com": True}}


def test_a_receiver_may_refuse_the_whole_request_instead() -> None:
    somebody = caller(refused_values=frozenset({"tablet"}), refuse_whole_requests=True)

    assert somebody.change("add", ADA, BOB).status_code == 422
    assert somebody.members() == {}


def test_success_may_be_blank() -> None:
    somebody = caller(blank_answers=True)
    answer = somebody.change("add", ADA)

    assert (answer.status_code, answer.data) == (204, b"")
    assert somebody.members() == {"vip": {"ada@example.com": True}}


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/nothing", 404), ("PUT", "/members", 405)])
def test_there_is_no_other_route(method: str, path: str, status: int) -> None:
    answer = caller().http.open(path, method=method)

    assert answer.status_code == status
    assert answer.json


def test_a_request_counts_for_the_audience_it_names() -> None:
    somebody = caller()
    somebody.change("add", ADA)
    somebody.send(of(members="x", audience="other"))
    somebody.send("nothing to see")

    assert somebody.sandbox.requests()["most_in_flight"] == {"vip": 1, "other": 1}


def test_a_reset_forgets_members_and_keys() -> None:
    somebody = caller()
    somebody.change("add", ADA, idempotency_key="k")
    somebody.sandbox.reset()
    somebody.change("add", BOB, idempotency_key="k")

    assert set(somebody.members()["vip"]) == {"bob@example.com", "tablet"}
