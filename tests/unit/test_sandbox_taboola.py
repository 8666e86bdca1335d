"""The stand-in of Taboola, endpoint by endpoint."""

import hashlib
from typing import Any

import pytest
from werkzeug.test import Client, TestResponse

from sandbox.taboola import TaboolaSandbox, TaboolaSwitches

API = "/backstage/api/1.0"
FORM = {"grant_type": "client_credentials", "client_id": "app", "client_secret": "s+e/c"}
HOUR = 3600


def email(address: str) -> dict[str, Any]:
    return {"user_id": hashlib.sha256(address.encode()).hexdigest(), "type": "EMAIL_ID", "is_hashed": True}


def device(device_id: str) -> dict[str, Any]:
    return {"user_id": device_id, "type": "DEVICE_ID", "is_hashed": False}


ADA, BOB, PHONE = email("ada@example.com"), email("bob@example.com"), device("6D92078A-8246-4BA4-AE5B-76104861E7DC")


class Caller:
    """Somebody with a token."""

    def __init__(self, switches: TaboolaSwitches | None = None) -> None:
        self.now = 1_795_262_400.0
        self.sandbox = TaboolaSandbox(switches, clock=lambda: self.now)
        self.http = Client(self.sandbox)
        self.token = ""

    def sign_in(self) -> TestResponse:
        response = self.http.post("/backstage/oauth/token", data=FORM)
        self.token = (response.json or {}).get("access_token", "")
        return response

    def ask(self, method: str, path: str, body: object = None, **options: Any) -> TestResponse:
        if body is not None:
            options["json"] = body
        headers = {"Authorization": f"Bearer {self.token}", "Accept": "application/json"}
        return self.http.open(API + path, method=method, headers=headers, **options)

    def create(self, name: str, account: str = "acme", **more: Any) -> TestResponse:
        return self.ask("POST", f"/{account}/audience_onboarding/create", {"audience_name": name} | more)

    def amend(self, operation: str, audience_id: object, *clusters: list[dict[str, Any]]) -> TestResponse:
        identities = [{"cluster": cluster} for cluster in clusters]
        body = {"operation": operation, "audience_id": audience_id, "identities": identities}
        return self.ask("POST", "/acme/audience_onboarding", body)

    def members(self, audience: str = "vip") -> set[str]:
        return set(self.sandbox.members()[audience])


def caller(**switches: Any) -> Caller:
    somebody = Caller(TaboolaSwitches(**switches))
    somebody.sign_in()
    return somebody


@pytest.fixture
def somebody() -> Caller:
    """Signed in, with the audience `vip`, whose id is 49."""
    signed_in = caller()
    signed_in.create("vip")
    return signed_in


def json(response: TestResponse) -> Any:
    return response.json


def ids(*users: dict[str, Any]) -> set[str]:
    return {user["user_id"] for user in users}


# ── Tokens ───────────────────────────────────────────────────────────────────────────────────────


def test_a_token_lives_for_twelve_hours() -> None:
    somebody = Caller()

    assert set(json(somebody.sign_in())) == {"access_token", "token_type", "expires_in"}
    assert json(somebody.sign_in())["expires_in"] == 12 * HOUR

    somebody.now += 12 * HOUR - 1

    assert json(somebody.ask("GET", "/token-details"))["expires_in"] == 1

    somebody.now += 1

    assert somebody.ask("GET", "/token-details").status_code == 401


def test_credentials_may_stand_in_the_query() -> None:
    assert "access_token" in json(Client(TaboolaSandbox()).post("/backstage/oauth/token", query_string=FORM))


def test_bad_credentials_are_told_in_xml_unless_json_is_asked_for() -> None:
    http = Client(TaboolaSandbox(TaboolaSwitches(refused_clients=frozenset({"app"}))))
    in_xml = http.post("/backstage/oauth/token", data=FORM)
    in_json = http.post("/backstage/oauth/token", data=FORM, headers={"Accept": "application/json"})

    assert (in_xml.status_code, in_json.status_code) == (400, 400)
    assert in_xml.mimetype == "application/xml"
    assert in_xml.text.startswith("<BadClientCredentialsException><error>invalid_client</error>")
    assert json(in_json) == {"error": "invalid_client", "error_description": "Bad client credentials"}


def test_another_grant_is_not_supported() -> None:
    response = Client(TaboolaSandbox()).post("/backstage/oauth/token", data=FORM | {"grant_type": "password"})

    assert response.status_code == 400
    assert "unsupported_grant_type" in response.text


def test_a_slash_after_the_token_url_is_forbidden() -> None:
    response = Client(TaboolaSandbox()).post("/backstage/oauth/token/", data=FORM)

    assert (response.status_code, response.mimetype) == (403, "text/html")


def test_a_call_without_a_good_token_is_a_401_in_xml_or_json() -> None:
    http = Client(TaboolaSandbox())
    in_xml = http.get(f"{API}/token-details")
    in_json = http.get(f"{API}/token-details", headers={"Authorization": "Bearer x", "Accept": "application/json"})

    assert (in_xml.status_code, in_json.status_code) == (401, 401)
    assert in_xml.text.startswith("<UnauthorizedException>")
    assert json(in_json)["error"] == "unauthorized"


@pytest.mark.parametrize(("revokes", "status"), [(False, 200), (True, 401)])
def test_whether_a_new_token_revokes_the_old_is_a_switch(*, revokes: bool, status: int) -> None:
    somebody = caller(new_token_revokes_old=revokes)
    old = somebody.token
    somebody.sign_in()

    assert somebody.ask("GET", "/token-details").status_code == 200

    somebody.token = old

    assert somebody.ask("GET", "/token-details").status_code == status


# ── Accounts ─────────────────────────────────────────────────────────────────────────────────────


def test_any_well_formed_account_may_be_used(somebody: Caller) -> None:
    strange = somebody.create("vip", account="Not_An_Id")

    assert somebody.create("vip", account="anyone-1").status_code == 200
    assert (strange.status_code, json(strange)["message"]) == (400, "Unknown publisher")


def test_accounts_can_be_restricted_and_are_listed() -> None:
    somebody = caller(accounts=frozenset({"acme", "other"}))
    foreign = somebody.create("vip", account="foreign")
    allowed = json(somebody.ask("GET", "/users/current/allowed-accounts"))

    assert foreign.status_code == 403
    assert json(foreign)["message_code"] == "api.action.forbidden"
    assert [row["account_id"] for row in allowed["results"]] == ["acme", "other"]
    assert allowed["metadata"]["total"] == 2
    assert json(somebody.ask("GET", "/users/current/account"))["account_id"] == "acme"


# ── Creating ─────────────────────────────────────────────────────────────────────────────────────


def test_a_created_audience_is_answered_with_what_it_is() -> None:
    answer = json(caller().create("vip", ttl_in_hours=1440, integration_source="acme.io"))

    assert answer == {
        "audience_name": "vip",
        "ttl_in_hours": 1440,
        "audience_id": 49,
        "exclude_from_campaigns": False,
        "integration_source": "acme.io",
    }


def test_an_existing_name_is_answered_with_its_first_values() -> None:
    somebody = caller()
    first = json(somebody.create("vip", ttl_in_hours=1440))
    again = json(somebody.create("vip", ttl_in_hours=1, exclude_from_campaigns=True))
    elsewhere = json(somebody.create("vip", account="other"))

    assert again == first
    assert elsewhere["audience_id"] != first["audience_id"]
    assert elsewhere["ttl_in_hours"] == 8760


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"audience_name": ""},
        {"audience_name": 7},
        {"audience_name": "vip", "ttl_in_hours": 99_999_999_999},
        {"audience_name": "vip", "ttl_in_hours": 0},
        {"audience_name": "vip", "ttl_in_hours": "8760"},
        {"audience_name": "vip", "exclude_from_campaigns": "false"},
        {"audience_name": "vip", "colour": "red"},
    ],
)
def test_a_bad_creation_is_refused(body: dict[str, Any]) -> None:
    somebody = caller()
    response = somebody.ask("POST", "/acme/audience_onboarding/create", body)

    assert response.status_code == 400
    assert json(response)["http_status"] == 400
    assert somebody.sandbox.members() == {}


def test_a_null_is_as_good_as_nothing() -> None:
    assert json(caller().create("vip", ttl_in_hours=None))["ttl_in_hours"] == 8760


# ── Users ────────────────────────────────────────────────────────────────────────────────────────


def test_success_is_a_200_with_an_empty_body(somebody: Caller) -> None:
    response = somebody.amend("ADD", 49, [ADA, PHONE])

    assert (response.status_code, response.data) == (200, b"")
    assert "Content-Type" not in response.headers
    assert somebody.members() == ids(ADA, PHONE)


def test_removing_an_id_leaves_the_rest_of_its_cluster(somebody: Caller) -> None:
    somebody.amend("ADD", 49, [ADA, PHONE])
    somebody.amend("REMOVE", 49, [ADA])

    assert somebody.members() == ids(PHONE)


def test_removing_an_id_can_drop_its_cluster() -> None:
    somebody = caller(remove_drops_cluster=True)
    somebody.create("vip")
    somebody.amend("ADD", 49, [ADA, PHONE], [BOB])
    somebody.amend("REMOVE", 49, [ADA])

    assert somebody.members() == ids(BOB)


def test_adding_and_removing_again_changes_nothing(somebody: Caller) -> None:
    for operation, expected in (("ADD", ids(ADA)), ("REMOVE", set[str]())):
        for _ in range(2):
            assert somebody.amend(operation, 49, [ADA]).status_code == 200
            assert somebody.members() == expected


def test_a_slash_after_a_path_does_no_harm(somebody: Caller) -> None:
    body = {"operation": "ADD", "audience_id": 49, "identities": [{"cluster": [ADA]}]}

    assert somebody.ask("POST", "/acme/audience_onboarding/", body).status_code == 200
    assert somebody.ask("POST", "/acme/audience_onboarding/create/", {"audience_name": "b"}).status_code == 200


@pytest.mark.parametrize(("renews", "expected"), [(True, ids(ADA)), (False, set())])
def test_members_stay_for_the_time_to_live(*, renews: bool, expected: set[str]) -> None:
    somebody = caller(adding_again_renews=renews)
    somebody.create("vip", ttl_in_hours=2)
    somebody.amend("ADD", 49, [ADA], [BOB])
    somebody.now += HOUR
    somebody.amend("ADD", 49, [ADA])
    somebody.now += HOUR

    assert somebody.members() == expected


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"operation": "UPSERT"}, "operation"),
        ({"audience_id": "49"}, "audience_id"),
        ({"audience_id": None}, "audience_id"),
        ({"audience_id": 50}, "audience_id"),
        ({"identities": []}, "identities"),
        ({"identities": None}, "identities"),
        ({"identities": [{"cluster": []}]}, "cluster"),
        ({"identities": [{"cluster": [ADA], "id": 1}]}, None),
        ({"identities": [{"cluster": [ADA | {"type": "EMAIL"}]}]}, None),
        ({"identities": [{"cluster": [ADA | {"type": "TABOOLA_ID"}]}]}, "type"),
        ({"identities": [{"cluster": [ADA | {"is_hashed": "true"}]}]}, None),
        ({"identities": [{"cluster": [ADA | {"is_hashed": False}]}]}, "is_hashed"),
        ({"identities": [{"cluster": [ADA | {"user_id": "ada@example.com"}]}]}, "user_id"),
        ({"identities": [{"cluster": [ADA | {"user_id": ADA["user_id"].upper()}]}]}, "user_id"),
        ({"identities": [{"cluster": [PHONE | {"is_hashed": True}]}]}, "is_hashed"),
        ({"identities": [{"cluster": [PHONE | {"user_id": ""}]}]}, "user_id"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_a_bad_amendment_is_refused_as_a_whole(somebody: Caller, change: dict[str, Any], field: str | None) -> None:
    body = {"operation": "ADD", "audience_id": 49, "identities": [{"cluster": [BOB]}]} | change
    response = somebody.ask("POST", "/acme/audience_onboarding", body)

    assert (response.status_code, json(response)["http_status"]) == (400, 400)
    assert field is None or json(response)["offending_field"] == field
    assert somebody.members() == set()


def test_identifiers_that_never_match_are_taken_when_it_is_not_strict() -> None:
    somebody = caller(strict_identifiers=False)
    somebody.create("vip")
    somebody.amend("ADD", 49, [ADA | {"user_id": "ada@example.com", "is_hashed": False}])

    assert somebody.members() == {"ada@example.com"}


def test_too_many_users_are_refused() -> None:
    somebody = caller(max_users=1)
    somebody.create("vip")

    assert somebody.amend("ADD", 49, [ADA, PHONE]).status_code == 200
    assert json(somebody.amend("ADD", 49, [ADA], [BOB]))["offending_field"] == "identities"


def test_an_empty_request_can_be_let_pass() -> None:
    somebody = caller(refuse_no_identities=False)
    somebody.create("vip")

    assert somebody.amend("ADD", 49).status_code == 200


def test_a_new_audience_is_not_ready_at_once() -> None:
    somebody = caller(ready_delay_seconds=HOUR)
    somebody.create("vip")
    early = somebody.amend("ADD", 49, [ADA])

    assert early.status_code == 400
    assert (json(early)["message"], json(early)["offending_field"]) == ("Invalid value '49'", "audience_id")

    somebody.now += HOUR

    assert somebody.amend("ADD", 49, [ADA]).status_code == 200


def test_an_audience_may_have_been_there_before() -> None:
    somebody = caller()
    somebody.sandbox.add_audience(1_234_567, account="acme")
    somebody.sandbox.add_audience(49, account="other")

    assert somebody.amend("ADD", 1_234_567, [ADA]).status_code == 200
    assert somebody.amend("ADD", 49, [ADA]).status_code == 400
    assert somebody.members("1234567") == ids(ADA)
    assert json(somebody.create("new"))["audience_id"] == 50


def test_unknown_audiences_are_taken_when_switched_on() -> None:
    somebody = caller(accept_unknown_audiences=True)

    assert somebody.amend("ADD", 7, [ADA]).status_code == 200
    assert somebody.members("7") == ids(ADA)


def test_writes_must_be_declared_as_json(somebody: Caller) -> None:
    undeclared = somebody.ask("POST", "/acme/audience_onboarding", data=b"{}")
    malformed = somebody.ask("POST", "/acme/audience_onboarding", data=b"{", content_type="application/json")

    assert undeclared.status_code == 415
    message = "application/octet-stream content type is not supported by the requested resource"
    assert json(undeclared)["message"] == message
    assert malformed.status_code == 400


def test_a_body_over_the_switch_is_a_413() -> None:
    assert caller(max_body_bytes=10).create("vip").status_code == 413


@pytest.mark.parametrize("retry_after", [True, False])
def test_calls_over_the_limit_are_a_429(*, retry_after: bool) -> None:
    somebody = caller(rate_limit=1, retry_after=retry_after)
    somebody.create("vip")
    throttled = somebody.create("vip")

    assert throttled.status_code == 429
    assert throttled.headers.get("Retry-After") == ("60" if retry_after else None)


# ── Reading ──────────────────────────────────────────────────────────────────────────────────────


def test_audiences_of_the_account_are_listed(somebody: Caller) -> None:
    somebody.create("theirs", account="other")
    somebody.sandbox.set_size(49, 1200)
    rows = json(somebody.ask("GET", "/acme/my_audiences"))["results"]

    assert [row["display_name"] for row in rows] == ["vip"]
    assert rows[0]["id"] == 49
    assert rows[0]["look_back_window"] == 365
    assert rows[0]["audience_size"] == 1200
    assert rows[0]["status"] is None


def test_an_unknown_path_and_a_wrong_method_are_errors_in_json(somebody: Caller) -> None:
    nowhere, wrong = somebody.ask("GET", "/nowhere/at/all"), somebody.ask("GET", "/acme/audience_onboarding")

    assert (nowhere.status_code, json(nowhere)["message"]) == (404, "Resource not found")
    assert (wrong.status_code, json(wrong)["http_status"]) == (405, 405)
