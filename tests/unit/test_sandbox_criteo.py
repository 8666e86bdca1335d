"""The stand-in of Criteo, endpoint by endpoint."""

import math
import time
from collections.abc import Sequence
from typing import Any

import pytest
from werkzeug.test import Client, TestResponse

from sandbox.criteo import CriteoSandbox, CriteoSwitches

SEGMENTS = "/2026-07/marketing-solutions/audience-segments"
NOON = 1_795_262_400.0
SHA256 = "b4c9a289323b21a01c3e940f150eb9b8c542587f1abfd8f0e1cc1ffc5e475514"
MD5 = "b58996c504c5638798eb6b511e6f49af"


class Caller:
    """Somebody with a token."""

    def __init__(self, switches: CriteoSwitches | None = None) -> None:
        self.now = NOON
        self.sandbox = CriteoSandbox(switches, clock=lambda: self.now)
        self.http = Client(self.sandbox)
        self.token = ""

    def sign_in(self, client_id: str = "app") -> TestResponse:
        form = {"grant_type": "client_credentials", "client_id": client_id, "client_secret": "s+e/c"}
        response = self.http.post("/oauth2/token", data=form)
        self.token = (response.json or {}).get("access_token", "")
        return response

    def ask(self, method: str, path: str, body: object = None, **options: Any) -> TestResponse:
        if body is not None:
            options["json"] = body
        headers = {"Authorization": f"Bearer {self.token}"}
        return self.http.open(path, method=method, headers=headers, **options)

    def create(self, *names: str, advertiser: str = "4711") -> TestResponse:
        items = [{"attributes": {"advertiserId": advertiser, "name": name, "contactList": {}}} for name in names]
        return self.ask("POST", f"{SEGMENTS}/create", {"data": items})

    def search(self, query: str = "", **filters: Sequence[str]) -> TestResponse:
        return self.ask("POST", f"{SEGMENTS}/search{query}", {"data": {"attributes": filters}})

    def amend(self, list_id: str, operation: str, *identifiers: str, **more: Any) -> TestResponse:
        attributes = {"operation": operation, "identifierType": "email", "identifiers": identifiers} | more
        body = {"data": {"type": "ContactlistAmendment", "attributes": attributes}}
        return self.ask("PATCH", f"{SEGMENTS}/{list_id}/contact-list", body)


def caller(**switches: Any) -> Caller:
    somebody = Caller(CriteoSwitches(**switches))
    somebody.sign_in()
    return somebody


def first_error(response: TestResponse) -> dict[str, Any]:
    errors: list[dict[str, Any]] = response.json["errors"] if response.json else []
    return errors[0]


def json(response: TestResponse) -> Any:
    return response.json


# ── Tokens ───────────────────────────────────────────────────────────────────────────────────────


def test_a_token_lives_for_900_seconds_and_always_names_a_refresh_token() -> None:
    answer = json(Caller().sign_in())

    assert answer["token_type"] == "Bearer"
    assert answer["expires_in"] == 900
    assert answer["refresh_token"] is None


def test_token_errors_have_the_shape_of_oauth() -> None:
    somebody = Caller(CriteoSwitches(refused_clients=frozenset({"app"})))
    refused = somebody.sign_in()
    other_grant = somebody.http.post("/oauth2/token", data={"grant_type": "password"})
    no_form = somebody.http.post("/oauth2/token", json={"grant_type": "client_credentials"})

    assert (refused.status_code, json(refused)["error"]) == (401, "invalid_client")
    assert (other_grant.status_code, json(other_grant)["error"]) == (400, "unsupported_grant_type")
    assert (no_form.status_code, json(no_form)["error"]) == (400, "invalid_request")


@pytest.mark.parametrize(
    ("header", "code"),
    [
        (None, "authorization-token-missing"),
        ("Basic eDp5", "authorization-token-invalid"),
        ("Bearer unknown", "authorization-token-invalid"),
    ],
)
def test_a_call_without_a_good_token_is_a_401_that_says_why(header: str | None, code: str) -> None:
    headers = {"Authorization": header} if header else {}
    response = Caller().http.get("/2026-07/advertisers/me", headers=headers)

    assert response.status_code == 401
    assert first_error(response)["code"] == code
    assert first_error(response)["type"] == "authorization"


def test_a_token_has_expired_after_its_time() -> None:
    somebody = caller()
    somebody.now += 899

    assert somebody.search().status_code == 200

    somebody.now += 1

    assert first_error(somebody.search())["code"] == "authorization-token-expired"


def test_two_tokens_of_one_client_are_live_at_once() -> None:
    somebody = caller()
    first = somebody.token
    somebody.sign_in()

    assert first != somebody.token
    assert somebody.search().status_code == 200

    somebody.token = first

    assert somebody.search().status_code == 200


# ── Versions ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("version", "status"), [("2026-07", 200), ("2027-01", 200), ("2025-10", 410), ("2031-01", 404)]
)
def test_a_version_is_known_or_gone_or_never_was(version: str, status: int) -> None:
    assert caller().ask("GET", f"/{version}/marketing-solutions/me").status_code == status


def test_a_version_near_its_end_says_so() -> None:
    ending = caller().ask("GET", "/2026-01/advertisers/me")
    stable = caller().ask("GET", "/2026-07/advertisers/me")

    assert ending.headers["Deprecation"] == "true"
    assert ending.headers["Sunset"] == "Wed, 27 Jan 2027 00:00:00 GMT"
    assert "Sunset" not in stable.headers


def test_the_legacy_path_answers_only_when_switched_on() -> None:
    for switched_on, status in ((False, 404), (True, 200)):
        somebody = caller(legacy_path=switched_on)
        list_id = somebody.sandbox.add_segment("4711", "vip")
        attributes = {"operation": "add", "identifiers": ["a@example.com"]}
        body = {"data": {"type": "ContactlistAmendment", "attributes": attributes}}

        assert somebody.ask("PATCH", f"/2026-07/audiences/{list_id}/contactlist", body).status_code == status


# ── The limit of calls ───────────────────────────────────────────────────────────────────────────


def test_calls_over_the_limit_are_not_executed_until_the_next_minute() -> None:
    somebody = caller(rate_limit=3)
    somebody.now = NOON + 20
    answers = [somebody.create(name) for name in ("a", "b", "c", "d")]

    assert [each.status_code for each in answers] == [200, 200, 200, 429]
    assert [each.headers["x-ratelimit-remaining"] for each in answers] == ["2", "1", "0", "0"]
    assert {each.headers["x-ratelimit-reset"] for each in answers} == {str(int(NOON) + 60)}
    assert "Retry-After" not in answers[-1].headers
    assert first_error(answers[-1])["type"] == "quota"
    assert set(somebody.sandbox.members()) == {"a", "b", "c"}

    somebody.now = NOON + 60

    assert somebody.create("d").status_code == 200


def test_a_sliding_window_looks_back_a_minute() -> None:
    somebody = caller(rate_limit=1, rate_window="sliding")
    somebody.now = NOON + 59
    somebody.search()
    somebody.now = NOON + 61
    refused = somebody.search()

    assert refused.status_code == 429
    assert refused.headers["x-ratelimit-reset"] == str(math.ceil(NOON + 119))

    somebody.now = NOON + 119

    assert somebody.search().status_code == 200


def test_each_client_id_has_its_own_limit() -> None:
    somebody = caller(rate_limit=1)
    somebody.search()
    somebody.sign_in("another app")

    assert somebody.search().status_code == 200


def test_tokens_count_only_when_switched_on() -> None:
    assert caller(rate_limit=1).search().status_code == 200
    assert caller(rate_limit=1, token_calls_counted=True).search().status_code == 429


def test_the_body_of_a_429_may_be_empty() -> None:
    response = caller(rate_limit=0, rate_limit_body="empty").search()

    assert (response.status_code, response.data) == (429, b"")


def test_every_answer_tells_the_limit() -> None:
    answers = (caller().sign_in(), caller().search(), caller().ask("GET", "/nowhere"), Caller().search())

    assert [each.headers["x-ratelimit-limit"] for each in answers] == ["250"] * 4


# ── Segments ─────────────────────────────────────────────────────────────────────────────────────


def test_a_created_list_is_found_with_all_its_members() -> None:
    somebody = caller()
    created = json(somebody.create("vip"))
    found = json(somebody.search(advertiserIds=["4711"], audienceSegmentTypes=["ContactList"]))

    assert found["data"] == created["data"]
    assert found["meta"] == {"totalItems": 1, "limit": 50, "offset": 0}
    assert found["errors"] == found["warnings"] == []
    segment = found["data"][0]
    assert isinstance(segment["id"], str)
    assert segment["type"] == "AudienceSegment"
    assert segment["attributes"] == {
        "advertiserId": "4711",
        "name": "vip",
        "description": None,
        "type": "ContactList",
        "createdAt": "2026-11-21T12:00:00.000Z",
        "updatedAt": "2026-11-21T12:00:00.000Z",
        "contactList": {"isReadOnly": False},
    }


def test_a_search_comes_in_pages_of_at_most_100() -> None:
    somebody = caller()
    somebody.create(*(f"list {number}" for number in range(137)))
    pages = [json(somebody.search(f"?limit=100&offset={offset}")) for offset in (0, 100, 200)]

    assert [len(page["data"]) for page in pages] == [100, 37, 0]
    assert {page["meta"]["totalItems"] for page in pages} == {137}
    assert len({segment["id"] for page in pages for segment in page["data"]}) == 137


@pytest.mark.parametrize("query", ["?limit=101", "?limit=-1", "?limit=many", "?offset=-1"])
def test_a_page_out_of_range_is_refused(query: str) -> None:
    response = caller().search(query)

    assert (response.status_code, first_error(response)["code"]) == (400, "invalid-range")


def test_filters_are_and_ed() -> None:
    somebody = caller()
    wanted = somebody.sandbox.add_segment("1", "a")
    somebody.sandbox.add_segment("1", "b", type_="Lookalike")
    elsewhere = somebody.sandbox.add_segment("2", "a")

    def found(**filters: Sequence[str]) -> list[str]:
        return [segment["id"] for segment in json(somebody.search("", **filters))["data"]]

    assert found(advertiserIds=["1"], audienceSegmentTypes=["ContactList"]) == [wanted]
    assert found(advertiserIds=["1"], audienceSegmentIds=[elsewhere]) == []
    assert len(found()) == 3


def test_a_name_is_taken_once_per_advertiser() -> None:
    somebody = caller()
    somebody.create("vip")
    again = somebody.create("vip", "new")
    elsewhere = somebody.create("vip", advertiser="4712")

    assert again.status_code == 200
    assert [segment["attributes"]["name"] for segment in json(again)["data"]] == ["new"]
    assert json(again)["errors"] == []
    warning = json(again)["warnings"][0]
    assert warning["code"] == "name-must-be-unique"
    assert warning["detail"]
    assert warning["traceIdentifier"] == warning["traceId"]
    assert warning["source"] == {"name": "/data/0/attributes/name"}
    assert json(elsewhere)["data"]


def test_failures_of_a_bulk_call_stand_where_the_switch_says() -> None:
    errors = caller(bulk_failures="errors").create("a", "a")
    partly = caller(bulk_failures="status_400").create("a", "a")
    wholly = caller(bulk_failures="status_400").create(" ")

    assert (errors.status_code, first_error(errors)["code"]) == (200, "name-must-be-unique")
    assert (partly.status_code, first_error(partly)["code"]) == (200, "name-must-be-unique")
    assert (wholly.status_code, first_error(wholly)["code"]) == (400, "name-must-not-be-empty")


def test_a_segment_is_of_exactly_one_kind() -> None:
    attributes = {"advertiserId": "4711", "name": "both", "contactList": {}, "lookalike": {}}
    response = caller().ask("POST", f"{SEGMENTS}/create", {"data": [{"attributes": attributes}]})

    assert json(response)["data"] == []
    assert json(response)["warnings"][0]["code"] == "invalid"


def test_a_segment_can_be_renamed_and_deleted() -> None:
    somebody = caller()
    list_id = json(somebody.create("vip"))["data"][0]["id"]
    change = {"id": list_id, "type": "AudienceSegment", "attributes": {"name": "new", "description": {"value": "d"}}}
    changed = json(somebody.ask("PATCH", SEGMENTS, {"data": [change, {"id": "1"}]}))
    deleted = json(somebody.ask("POST", f"{SEGMENTS}/delete", {"data": [{"id": list_id}]}))

    assert changed["data"][0]["attributes"]["name"] == "new"
    assert changed["data"][0]["attributes"]["description"] == "d"
    assert [warning["code"] for warning in changed["warnings"]] == ["segment-not-found"]
    assert deleted["data"] == [{"id": list_id, "type": "AudienceSegment"}]
    assert somebody.sandbox.members() == {}


def test_an_advertiser_without_consent_is_a_403() -> None:
    somebody = caller(advertisers=frozenset({"1"}))
    foreign = somebody.sandbox.add_segment("2", "theirs")
    answers = (somebody.create("vip", advertiser="2"), somebody.search(advertiserIds=["2"]))

    assert [each.status_code for each in answers] == [403, 403]
    assert first_error(answers[0])["code"] == "insufficient-advertiser-permissions"
    assert first_error(somebody.amend(foreign, "add", "a@example.com"))["code"] == "audience-invalid"
    assert somebody.amend(foreign, "add", "a@example.com").status_code == 403


def test_an_app_without_the_right_is_a_403() -> None:
    somebody = caller(rights=frozenset({"read"}))

    assert somebody.search().status_code == 200
    assert first_error(somebody.create("vip"))["type"] == "access-control"


def test_the_advertisers_that_consented_are_listed() -> None:
    rows = json(caller(advertisers=frozenset({"7", "8"})).ask("GET", "/2026-07/advertisers/me"))["data"]

    assert [row["id"] for row in rows] == ["7", "8"]


# ── Contact lists ────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def somebody() -> Caller:
    return caller()


@pytest.fixture
def list_id(somebody: Caller) -> str:
    return somebody.sandbox.add_segment("4711", "vip")


def test_identifiers_are_added_and_removed_as_a_set(somebody: Caller, list_id: str) -> None:
    somebody.amend(list_id, "add", "a@example.com", " B@Example.com ", "a@example.com", SHA256.upper())
    somebody.amend(list_id, "remove", "a@example.com", "nobody@example.com")

    assert somebody.sandbox.members() == {"vip": {"b@example.com": True, SHA256: True}}


def test_an_amendment_is_answered_with_counts_and_an_integer_id(somebody: Caller, list_id: str) -> None:
    answer = json(somebody.amend(list_id, "add", SHA256, "jane@example.com", "jkl@gmail"))

    assert answer == {
        "data": {
            "type": "ContactlistAmendment",
            "attributes": {
                "contactListId": int(list_id),
                "operation": "add",
                "requestDate": "2026-11-21T12:00:00.0000000+00:00",
                "identifierType": "email",
                "nbValidIdentifiers": 2,
                "nbInvalidIdentifiers": 1,
                "sampleInvalidIdentifiers": ["jkl@gmail"],
            },
        },
        "errors": [],
        "warnings": [],
    }


@pytest.mark.parametrize(
    ("kind", "valid", "invalid"),
    [
        (
            "email",
            ["x@y.tld", " X@y.tld ", MD5, SHA256, SHA256.upper()],
            ["", "x", "x@y", "@y.tld", MD5[1:], "a b@y.tld"],
        ),
        ("madid", ["3f097372-f01e-4b64-984c-395ae5828ee6"], ["3f097372f01e4b64984c395ae5828ee6"]),
        ("phoneNumber", ["33140402290", SHA256], ["+33140402290", "1234567890123456"]),
        ("identityLink", ["opaque"], ["", "two words"]),
    ],
)
def test_identifiers_are_valid_by_their_shape(
    somebody: Caller, list_id: str, kind: str, valid: list[str], invalid: list[str]
) -> None:
    attributes = json(somebody.amend(list_id, "add", *valid, *invalid, identifierType=kind))["data"]["attributes"]

    assert attributes["nbValidIdentifiers"] == len(valid)
    assert attributes["sampleInvalidIdentifiers"] == invalid


def test_at_most_ten_invalid_identifiers_are_named(somebody: Caller, list_id: str) -> None:
    attributes = json(somebody.amend(list_id, "add", *(f"bad {n}" for n in range(12))))["data"]["attributes"]

    assert attributes["nbInvalidIdentifiers"] == 12
    assert attributes["sampleInvalidIdentifiers"] == [f"bad {n}" for n in range(10)]


@pytest.mark.parametrize(
    ("attributes", "code"),
    [
        ({"operation": "replace", "identifiers": ["a@example.com"]}, "invalid"),
        ({"operation": "add"}, "required-field"),
        ({"identifiers": ["a@example.com"]}, "required-field"),
        ({"operation": "add", "identifiers": []}, "required-field"),
        ({"operation": "add", "identifiers": [1]}, "invalid"),
        ({"operation": "add", "identifiers": "a@example.com"}, "invalid"),
        ({"operation": "add", "identifiers": ["a"], "identifierType": "maid"}, "invalid"),
        ({"operation": "add", "identifiers": ["a"], "identifierType": "gum"}, "required-field"),
        ({"operation": "add", "identifiers": ["a"], "identifierType": "gum", "gumCallerId": "7"}, "invalid"),
    ],
)
def test_a_bad_amendment_is_refused_as_a_whole(
    somebody: Caller, list_id: str, attributes: dict[str, Any], code: str
) -> None:
    body = {"data": {"type": "ContactlistAmendment", "attributes": attributes}}
    response = somebody.ask("PATCH", f"{SEGMENTS}/{list_id}/contact-list", body)

    assert response.status_code == 400
    error = first_error(response)
    assert (error["code"], error["type"]) == (code, "validation")
    assert error["instance"] == f"{SEGMENTS}/{list_id}/contact-list"
    assert set(error) == {"traceId", "type", "code", "instance", "title", "detail", "source"}
    assert json(response)["warnings"] == []


def test_an_amendment_needs_its_type_and_ignores_unknown_members(somebody: Caller, list_id: str) -> None:
    path = f"{SEGMENTS}/{list_id}/contact-list"
    attributes = {"operation": "add", "identifiers": ["a@example.com"], "internalIdentifiers": False}
    untyped = somebody.ask("PATCH", path, {"data": {"attributes": attributes}})
    typed = somebody.ask("PATCH", path, {"data": {"type": "ContactlistAmendment", "attributes": attributes}})

    assert (untyped.status_code, typed.status_code) == (400, 200)


def test_a_body_that_is_not_json_is_refused(somebody: Caller, list_id: str) -> None:
    path = f"{SEGMENTS}/{list_id}/contact-list"

    assert somebody.ask("PATCH", path, data="{", content_type="application/json").status_code == 400
    assert somebody.ask("PATCH", path, data="{}", content_type="text/plain").status_code == 415


def test_more_than_50_000_identifiers_are_too_many() -> None:
    identifiers = [f"u{number}@example.com" for number in range(50_001)]
    strict, large = caller(), caller(too_many_identifiers="too_large")

    refused = strict.amend(strict.sandbox.add_segment("1", "vip"), "add", *identifiers)
    too_large = large.amend(large.sandbox.add_segment("1", "vip"), "add", *identifiers)
    accepted = strict.amend(strict.sandbox.add_segment("1", "full"), "add", *identifiers[1:])

    assert (refused.status_code, first_error(refused)["type"]) == (400, "validation")
    assert (too_large.status_code, too_large.data) == (413, b"")
    assert accepted.status_code == 200
    assert strict.sandbox.members()["vip"] == {}


def test_a_body_over_the_switch_is_a_413() -> None:
    somebody = caller(max_body_bytes=100)

    assert somebody.create("x" * 100).status_code == 413


def test_lists_that_cannot_be_amended() -> None:
    somebody = caller()
    lookalike = somebody.sandbox.add_segment("1", "b", type_="Lookalike")
    read_only = somebody.sandbox.add_segment("1", "c", read_only=True)
    answers = [somebody.amend(each, "add", "a@example.com") for each in ("999", "x", lookalike, read_only)]

    assert [each.status_code for each in answers] == [404, 404, 400, 400]
    assert {first_error(each)["code"] for each in answers} == {"audience-invalid"}


def test_refusing_all_invalid_and_taking_none_can_be_switched() -> None:
    somebody = caller(refuse_all_invalid=True, refuse_empty=False, default_identifier_type=None)
    list_id = somebody.sandbox.add_segment("1", "vip")

    assert somebody.amend(list_id, "add", "bad").status_code == 400
    assert somebody.amend(list_id, "add").status_code == 200
    assert somebody.amend(list_id, "add", "a@example.com", identifierType=None).status_code == 400


def test_a_list_can_be_emptied_and_stays(somebody: Caller, list_id: str) -> None:
    somebody.amend(list_id, "add", "a@example.com")
    response = somebody.ask("DELETE", f"{SEGMENTS}/{list_id}/contact-list", content_type="application/json")

    assert json(response) == {"data": {"id": list_id, "type": "AudienceContactlist"}, "errors": [], "warnings": []}
    assert somebody.sandbox.members() == {"vip": {}}


def test_statistics_are_null_until_an_amendment_was_processed() -> None:
    somebody = caller(statistics_delay_seconds=60)
    list_id = somebody.sandbox.add_segment("1", "vip")

    def statistics() -> Any:
        return json(somebody.ask("GET", f"{SEGMENTS}/{list_id}/contact-list/statistics"))["data"]["attributes"]

    somebody.amend(list_id, "add", "a@example.com", "b@example.com")

    assert statistics() == {"numberOfIdentifiers": None, "numberOfMatches": None, "matchRate": None}

    somebody.now += 60

    assert statistics() == {"numberOfIdentifiers": 2, "numberOfMatches": 1, "matchRate": 50.0}


def test_a_large_amendment_is_quick(somebody: Caller, list_id: str) -> None:
    identifiers = [f"user{number}@example.com" for number in range(20_000)]
    began = time.perf_counter()
    somebody.amend(list_id, "add", *identifiers)

    assert time.perf_counter() - began < 1


def test_an_unknown_path_and_a_wrong_method_are_problems(somebody: Caller) -> None:
    nowhere, wrong = somebody.ask("GET", "/nowhere"), somebody.ask("GET", f"{SEGMENTS}/search")

    assert (nowhere.status_code, first_error(nowhere)["code"]) == (404, "not-found")
    assert (wrong.status_code, first_error(wrong)["code"]) == (405, "method-not-allowed")
