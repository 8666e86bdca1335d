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


@pytest.mark.parametrize(
    ("errors_in", "accept", "mimetype"),
    [
        ("accepted", "application/json", "application/json"),
        ("accepted", "*/*", "application/xml"),
        ("json", "*/*", "application/json"),
        ("xml", "application/json", "application/xml"),
    ],
)
def test_errors_are_in_xml_unless_json_is_accepted(errors_in: Any, accept: str, mimetype: str) -> None:
    somebody = caller(errors_in=errors_in)
    headers = {"Authorization": f"Bearer {somebody.token}", "Accept": accept}
    body = {"operation": "ADD", "audience_id": 7, "identities": [{"cluster": [ADA]}]}
    response = somebody.http.post(f"{API}/acme/audience_onboarding", json=body, headers=headers)

    assert (response.status_code, response.mimetype) == (400, mimetype)
    if mimetype == "application/xml":
        assert response.text == (
            "<ApiError><http_status>400</http_status><message>Invalid value &#x27;7&#x27;</message>"
            "<offending_field>audience_id</offending_field><message_code>api.action.bad_request.null</message_code>"
            "</ApiError>"
        )
        return
    assert json(response)["offending_field"] == "audience_id"


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


@pytest.mark.parametrize(("foreign", "status"), [("forbidden", 403), ("unknown", 400)])
def test_what_a_foreign_account_is_answered_is_a_switch(foreign: Any, status: int) -> None:
    assert caller(accounts=frozenset({"acme"}), foreign_account=foreign).create("vip", "other").status_code == status


def test_the_number_of_an_account_is_not_its_id() -> None:
    assert json(caller().create("vip", "1163"))["message"] == "Unknown publisher"


def test_the_list_of_accounts_can_be_forbidden() -> None:
    assert caller(lists_accounts=False).ask("GET", "/users/current/allowed-accounts").status_code == 403


def test_audiences_of_one_name_in_several_accounts_are_told_apart() -> None:
    somebody = caller()
    somebody.create("vip")
    somebody.create("churned")
    somebody.create("vip", account="other")

    assert set(somebody.sandbox.members()) == {"acme/vip", "churned", "other/vip"}


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


def test_creating_an_existing_name_can_be_refused() -> None:
    somebody = caller(existing_name="refused")

    assert somebody.create("vip").status_code == 200
    assert somebody.create("vip", account="other").status_code == 200
    assert json(somebody.create("vip"))["message"] == "An audience with this name already exists"


@pytest.mark.parametrize(
    ("tells", "told"), [("id", {"audience_name": "vip", "audience_id": 49}), ("name", {"audience_name": "vip"})]
)
def test_a_creation_may_be_answered_with_less(tells: Any, told: dict[str, Any]) -> None:
    assert json(caller(create_tells=tells).create("vip")) == told


@pytest.mark.parametrize(("ids_as", "written"), [("integer", "49"), ("text", '"49"'), ("decimal", "49.0")])
def test_ids_may_be_written_in_several_ways(ids_as: Any, written: str) -> None:
    somebody = caller(ids_as=ids_as)

    assert f'"audience_id":{written},' in somebody.create("vip").text
    assert f'"id":{written},' in somebody.ask("GET", "/acme/my_audiences").text
    assert somebody.amend("ADD", 49, [ADA]).status_code == 200


def test_unknown_fields_can_be_overlooked() -> None:
    somebody = caller(refuse_unknown_fields=False)

    assert somebody.create("vip", colour="red").status_code == 200
    assert somebody.amend("ADD", 49, [ADA | {"colour": "red"}]).status_code == 200
    assert somebody.amend("UPSERT", 49, [ADA]).status_code == 400


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


@pytest.mark.parametrize(
    ("form", "status", "message"), [("words", 400, "More than 1 "), ("vague", 400, "Bad request"), ("413", 413, "")]
)
@pytest.mark.parametrize("limit", ["max_users", "max_ids"])
def test_what_is_over_a_limit_is_answered_in_several_ways(form: Any, status: int, message: str, limit: str) -> None:
    somebody = caller(over_limit=form, **{limit: 1})
    somebody.create("vip")
    clusters = [[ADA], [BOB]] if limit == "max_users" else [[ADA, PHONE]]
    response = somebody.amend("ADD", 49, *clusters)

    assert response.status_code == status
    assert message in response.text
    assert somebody.members() == set()


def test_an_empty_request_can_be_let_pass() -> None:
    somebody = caller(refuse_no_identities=False)
    somebody.create("vip")

    assert somebody.amend("ADD", 49).status_code == 200
    assert somebody.amend("ADD", 49, []).status_code == 200


def test_users_may_come_with_a_partners_name_or_not() -> None:
    body = {"operation": "ADD", "audience_id": 49, "identities": [{"cluster": [ADA]}], "integration_source": "acme.io"}
    lenient, strict = caller(), caller(source_with_users=False)
    lenient.create("vip")
    strict.create("vip")

    assert lenient.ask("POST", "/acme/audience_onboarding", body).status_code == 200
    assert strict.ask("POST", "/acme/audience_onboarding", body).status_code == 400


def test_a_new_audience_is_not_ready_at_once() -> None:
    somebody = caller(ready_delay_seconds=HOUR)
    somebody.create("vip")
    early = somebody.amend("ADD", 49, [ADA])

    assert early.status_code == 400
    assert (json(early)["message"], json(early)["offending_field"]) == ("Invalid value '49'", "audience_id")

    somebody.now += HOUR

    assert somebody.amend("ADD", 49, [ADA]).status_code == 200


@pytest.mark.parametrize(
    ("unusable", "status", "told"),
    [
        ("field", 400, {"message": "Invalid value '7'", "offending_field": "audience_id"}),
        ("message", 400, {"message": "Invalid value '7'", "offending_field": None}),
        ("words", 400, {"message": "Unknown audience", "offending_field": None}),
        ("not found", 404, {"message": "Audience not found"}),
        ("forbidden", 403, {"message": "Requested action is forbidden"}),
    ],
)
def test_an_audience_that_takes_no_users_is_told_in_several_ways(
    unusable: Any, status: int, told: dict[str, Any]
) -> None:
    response = caller(unusable=unusable).amend("ADD", 7, [ADA])

    assert response.status_code == status
    assert json(response).items() >= told.items()


def test_an_audience_of_another_kind_takes_no_users(somebody: Caller) -> None:
    somebody.sandbox.add_audience(7, account="acme", name="visitors", kind="PIXEL")

    assert json(somebody.amend("ADD", 7, [ADA]))["offending_field"] == "audience_id"
    assert [row["type"] for row in json(somebody.ask("GET", "/acme/my_audiences"))["results"]] == [None, "PIXEL"]


def test_a_deleted_audience_is_unknown(somebody: Caller) -> None:
    somebody.sandbox.delete_audience(49)

    assert somebody.amend("ADD", 49, [ADA]).status_code == 400
    assert json(somebody.create("vip"))["audience_id"] == 50


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


def test_a_new_audience_is_not_listed_at_once() -> None:
    somebody = caller(listing_delay_seconds=HOUR)
    somebody.create("vip")

    assert json(somebody.ask("GET", "/acme/my_audiences"))["results"] == []

    somebody.now += HOUR

    assert json(somebody.ask("GET", "/acme/my_audiences"))["metadata"]["total"] == 1


def test_audiences_of_other_accounts_may_be_listed() -> None:
    somebody = caller(lists_all_accounts=True)
    somebody.create("vip")
    somebody.create("theirs", account="other")
    rows = json(somebody.ask("GET", "/acme/my_audiences"))["results"]

    assert [row["advertiser_id"] for row in rows] == ["acme", "other"]


@pytest.mark.parametrize(("days", "shown"), [("down", 1), ("up", 2)])
def test_days_may_be_rounded_in_two_ways(days: Any, shown: int) -> None:
    somebody = caller(days=days)
    somebody.create("vip", ttl_in_hours=36)

    assert json(somebody.ask("GET", "/acme/my_audiences"))["results"][0]["look_back_window"] == shown


@pytest.mark.parametrize(("size", "shown"), [("as set", 7), ("members", 2), ("none", None)])
def test_the_size_is_a_switch(size: Any, shown: int | None) -> None:
    somebody = caller(size=size)
    somebody.create("vip")
    somebody.amend("ADD", 49, [ADA, PHONE])
    somebody.sandbox.set_size(49, 7)

    assert json(somebody.ask("GET", "/acme/my_audiences"))["results"][0]["audience_size"] == shown


def test_an_unknown_path_and_a_wrong_method_are_errors_in_json(somebody: Caller) -> None:
    nowhere, wrong = somebody.ask("GET", "/nowhere/at/all"), somebody.ask("GET", "/acme/audience_onboarding")

    assert (nowhere.status_code, json(nowhere)["message"]) == (404, "Resource not found")
    assert (wrong.status_code, json(wrong)["http_status"]) == (405, 405)
