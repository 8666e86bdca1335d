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
UUID = "3f097372-f01e-4b64-984c-395ae5828ee6"
BARE_UUID = UUID.replace("-", "")


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


@pytest.mark.parametrize(
    ("sunset_headers", "names"),
    [("both", {"Deprecation", "Sunset"}), ("deprecation", {"Deprecation"}), ("sunset", {"Sunset"}), ("none", set())],
)
def test_which_headers_announce_the_end_of_a_version_can_be_switched(sunset_headers: str, names: set[str]) -> None:
    ending = caller(sunset_headers=sunset_headers).ask("GET", "/2026-01/advertisers/me")

    assert {"Deprecation", "Sunset"} & set(ending.headers.keys()) == names


def test_a_version_that_has_ended_may_fall_forward() -> None:
    somebody = caller(fall_forward=True)

    assert somebody.ask("GET", "/2025-10/advertisers/me").status_code == 200
    assert somebody.ask("GET", "/2031-01/advertisers/me").status_code == 404


@pytest.mark.parametrize(("body", "mimetype"), [("problem", "application/json"), ("html", "text/html")])
def test_the_body_of_a_410_can_be_switched(body: str, mimetype: str) -> None:
    gone = caller(gone_body=body).ask("GET", "/2025-10/advertisers/me")
    empty = caller(gone_body="empty").ask("GET", "/2025-10/advertisers/me")

    assert (gone.status_code, gone.mimetype) == (410, mimetype)
    assert gone.data
    assert (empty.status_code, empty.data) == (410, b"")


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


@pytest.mark.parametrize(("body", "begins"), [("empty", b""), ("object", b"{}"), ("html", b"<"), ("problem", b'{"er')])
def test_the_body_of_a_429_can_be_switched(body: str, begins: bytes) -> None:
    response = caller(rate_limit=0, rate_limit_body=body).search()

    assert response.status_code == 429
    assert response.data[:4].startswith(begins)
    assert bool(response.data) is bool(begins)


@pytest.mark.parametrize(("rate_headers", "told"), [("always", [1, 1]), ("refused", [0, 1]), ("never", [0, 0])])
def test_which_answers_tell_the_limit_can_be_switched(rate_headers: str, told: list[int]) -> None:
    somebody = caller(rate_limit=1, rate_headers=rate_headers)
    answers = [somebody.search() for _ in range(2)]

    assert [each.status_code for each in answers] == [200, 429]
    assert ["x-ratelimit-reset" in each.headers for each in answers] == told


def test_a_429_may_tell_how_long_to_wait() -> None:
    somebody = caller(rate_limit=0, retry_after=True, rate_headers="never")
    somebody.now = NOON + 20

    assert somebody.search().headers["Retry-After"] == "40"


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


def test_a_failed_item_may_be_a_409_or_not_be_told_at_all() -> None:
    conflict = caller(bulk_failures="status_409").create(" ")
    silent = caller(bulk_failures="silent").create(" ")

    assert (conflict.status_code, first_error(conflict)["code"]) == (409, "name-must-not-be-empty")
    assert json(silent) == {"data": [], "errors": [], "warnings": []}


def test_what_data_is_when_nothing_was_done_can_be_switched() -> None:
    null, missing = caller(nothing_done="null").create(" "), caller(nothing_done="missing").create(" ")

    assert json(null)["data"] is None
    assert set(json(missing)) == {"errors", "warnings"}


def test_a_creation_may_go_untold() -> None:
    somebody = caller(creations_told=False)

    assert json(somebody.create("vip"))["data"] == []
    assert [segment["attributes"]["name"] for segment in json(somebody.search())["data"]] == ["vip"]


def test_how_many_segments_there_may_be_can_be_switched() -> None:
    few_at_once, few = caller(max_segments_a_call=1), caller(max_segments=1)

    assert few_at_once.create("a", "b").status_code == 400
    assert few_at_once.create("a").status_code == 200
    answer = json(few.create("a", "b"))
    assert [segment["attributes"]["name"] for segment in answer["data"]] == ["a"]
    assert answer["warnings"][0]["type"] == "quota"
    assert json(few.create("c", advertiser="4712"))["data"]


def test_a_name_may_have_a_longest_length() -> None:
    answer = json(caller(max_name_length=3).create("vip", "vips"))

    assert [segment["attributes"]["name"] for segment in answer["data"]] == ["vip"]
    assert answer["warnings"][0]["code"] == "invalid-range"


def test_successes_may_warn_of_a_deprecation() -> None:
    somebody = caller(deprecation_warnings=True)
    created = json(somebody.create("vip"))
    amended = json(somebody.amend(created["data"][0]["id"], "add", "a@example.com"))
    found = json(somebody.search())

    assert {each["warnings"][0]["type"] for each in (created, amended, found)} == {"deprecation"}
    assert created["errors"] == amended["errors"] == found["errors"] == []


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
        ("madid", [UUID, UUID.upper(), f" {UUID}"], [BARE_UUID, "", "device-1"]),
        ("phoneNumber", ["33140402290", SHA256], ["+33140402290", "33 140402290", MD5, "1234567890123456"]),
        ("identityLink", ["Opaque"], ["", "two words"]),
        ("gum", ["Opaque"], ["", "two words"]),
    ],
)
def test_identifiers_are_valid_by_their_shape(
    somebody: Caller, list_id: str, kind: str, valid: list[str], invalid: list[str]
) -> None:
    answer = somebody.amend(list_id, "add", *valid, *invalid, identifierType=kind, gumCallerId=7)
    attributes = json(answer)["data"]["attributes"]

    assert attributes["nbValidIdentifiers"] == len(valid)
    assert attributes["sampleInvalidIdentifiers"] == invalid


@pytest.mark.parametrize(
    ("kind", "identifiers", "held"),
    [
        ("email", ["A@Example.com ", MD5.upper()], {"a@example.com", MD5}),
        ("madid", [UUID, UUID.upper()], {UUID}),
        ("phoneNumber", ["33140402290", SHA256.upper()], {"33140402290", SHA256}),
        ("identityLink", ["XY1000aa", "xy1000aa", " XY1000aa"], {"XY1000aa", "xy1000aa"}),
        ("gum", ["k-AbC", "k-abc"], {"k-AbC", "k-abc"}),
    ],
)
def test_a_list_holds_each_identifier_once(
    somebody: Caller, list_id: str, kind: str, identifiers: list[str], held: set[str]
) -> None:
    somebody.amend(list_id, "add", *identifiers, identifierType=kind, gumCallerId=7)

    assert set(somebody.sandbox.members()["vip"]) == held

    somebody.amend(list_id, "remove", *identifiers, identifierType=kind, gumCallerId=7)

    assert somebody.sandbox.members()["vip"] == {}


@pytest.mark.parametrize(
    ("switches", "kind", "invalid"),
    [
        ({}, "madid", [BARE_UUID]),
        ({"bare_madids": True}, "madid", []),
        ({"upper_case_madids": False}, "madid", [UUID.upper(), BARE_UUID]),
        ({}, "email", []),
        ({"upper_case_hashes": False}, "email", [SHA256.upper()]),
    ],
)
def test_which_spellings_are_valid_can_be_switched(switches: dict[str, bool], kind: str, invalid: list[str]) -> None:
    somebody = caller(**switches)
    list_id = somebody.sandbox.add_segment("4711", "vip")
    spellings = {"madid": (UUID, UUID.upper(), BARE_UUID), "email": (SHA256, SHA256.upper(), "A@example.com")}
    answer = json(somebody.amend(list_id, "add", *spellings[kind], identifierType=kind))

    assert answer["data"]["attributes"]["sampleInvalidIdentifiers"] == invalid


def test_a_device_is_held_in_one_spelling() -> None:
    somebody = caller(bare_madids=True)
    list_id = somebody.sandbox.add_segment("4711", "vip")
    somebody.amend(list_id, "add", BARE_UUID, UUID.upper(), identifierType="madid")

    assert somebody.sandbox.members() == {"vip": {UUID: True}}


def test_at_most_ten_invalid_identifiers_are_named(somebody: Caller, list_id: str) -> None:
    attributes = json(somebody.amend(list_id, "add", *(f"bad {n}" for n in range(12))))["data"]["attributes"]

    assert attributes["nbInvalidIdentifiers"] == 12
    assert attributes["sampleInvalidIdentifiers"] == [f"bad {n}" for n in range(10)]


def test_the_sample_may_be_null() -> None:
    somebody = caller(sample_size=None)
    list_id = somebody.sandbox.add_segment("4711", "vip")
    attributes = json(somebody.amend(list_id, "add", "bad"))["data"]["attributes"]

    assert (attributes["nbInvalidIdentifiers"], attributes["sampleInvalidIdentifiers"]) == (1, None)


def test_whether_a_list_takes_several_types_can_be_switched() -> None:
    for one_type, status in ((False, 200), (True, 400)):
        somebody = caller(one_type_a_list=one_type)
        list_id = somebody.sandbox.add_segment("4711", "vip")
        somebody.amend(list_id, "add", "a@example.com")

        assert somebody.amend(list_id, "add", UUID, identifierType="madid").status_code == status
        assert somebody.amend(list_id, "add", "b@example.com").status_code == 200


def test_a_list_may_be_full() -> None:
    somebody = caller(max_members=2)
    list_id = somebody.sandbox.add_segment("4711", "vip")
    somebody.amend(list_id, "add", "a@example.com", "b@example.com")
    full = somebody.amend(list_id, "add", "a@example.com", "c@example.com")

    assert (full.status_code, first_error(full)["type"]) == (400, "quota")
    assert somebody.amend(list_id, "add", "a@example.com").status_code == 200
    assert somebody.amend(list_id, "remove", "a@example.com", "d@example.com").status_code == 200


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
    told = caller(too_many_identifiers="too_large_problem")

    refused = strict.amend(strict.sandbox.add_segment("1", "vip"), "add", *identifiers)
    too_large = large.amend(large.sandbox.add_segment("1", "vip"), "add", *identifiers)
    told_so = told.amend(told.sandbox.add_segment("1", "vip"), "add", *identifiers)
    accepted = strict.amend(strict.sandbox.add_segment("1", "full"), "add", *identifiers[1:])

    assert (refused.status_code, first_error(refused)["type"]) == (400, "validation")
    assert (too_large.status_code, too_large.data) == (413, b"")
    assert (told_so.status_code, first_error(told_so)["code"]) == (413, "invalid-range")
    assert accepted.status_code == 200
    assert strict.sandbox.members()["vip"] == {}


def test_a_body_over_the_switch_is_a_413() -> None:
    somebody = caller(max_body_bytes=100)

    assert somebody.create("x" * 100).status_code == 413


def refused_lists(**switches: Any) -> list[TestResponse]:
    """Adding to a list that there is not, that cannot be, of another type, read-only, and another's."""
    somebody = caller(advertisers=frozenset({"1"}), read_only=frozenset({"read-only"}), **switches)
    lookalike = somebody.sandbox.add_segment("1", "b", type_="Lookalike")
    read_only = somebody.sandbox.add_segment("1", "read-only")
    foreign = somebody.sandbox.add_segment("2", "theirs")
    answers = [somebody.amend(each, "add", "a@example.com") for each in ("999", "x", lookalike, read_only, foreign)]
    assert not any(somebody.sandbox.members().values())
    return answers


def test_lists_that_cannot_be_amended() -> None:
    answers = refused_lists()

    assert [each.status_code for each in answers] == [404, 404, 400, 400, 403]
    assert {first_error(each)["code"] for each in answers} == {"audience-invalid"}
    assert {first_error(each)["type"] for each in answers} == {"validation"}


def test_how_lists_are_refused_can_be_switched() -> None:
    answers = refused_lists(
        unknown_list=403,
        wrong_type=404,
        read_only_list=200,
        foreign_list=404,
        list_code="segment-not-found",
        list_problem="authorization",
    )

    assert [each.status_code for each in answers] == [403, 403, 404, 200, 404]
    assert {first_error(each)["code"] for each in answers} == {"segment-not-found"}
    assert {first_error(each)["type"] for each in answers} == {"authorization"}


def test_a_search_tells_which_lists_are_read_only() -> None:
    somebody = caller(read_only=frozenset({"a"}))
    somebody.create("a", "b")
    told = [segment["attributes"]["contactList"] for segment in json(somebody.search())["data"]]

    assert told == [{"isReadOnly": True}, {"isReadOnly": False}]


def test_a_read_only_list_is_not_emptied_either() -> None:
    somebody = caller()
    list_id = somebody.sandbox.add_segment("4711", "vip")
    somebody.amend(list_id, "add", "a@example.com")
    somebody.sandbox.switches = CriteoSwitches(read_only=frozenset({"vip"}))
    response = somebody.ask("DELETE", f"{SEGMENTS}/{list_id}/contact-list", content_type="application/json")

    assert response.status_code == 400
    assert somebody.sandbox.members() == {"vip": {"a@example.com": True}}


def test_an_unknown_id_may_be_taken_for_a_list() -> None:
    somebody = caller(accept_unknown_lists=True)
    somebody.amend("4242", "add", "a@example.com")

    assert somebody.sandbox.members() == {"4242": {"a@example.com": True}}
    assert somebody.amend("x", "add", "a@example.com").status_code == 404


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


def statistics_of(somebody: Caller, list_id: str) -> Any:
    return json(somebody.ask("GET", f"{SEGMENTS}/{list_id}/contact-list/statistics"))["data"]["attributes"]


def test_statistics_are_null_until_an_amendment_was_processed() -> None:
    somebody = caller(statistics_delay_seconds=60)
    list_id = somebody.sandbox.add_segment("1", "vip")

    somebody.amend(list_id, "add", "a@example.com", "b@example.com")

    assert statistics_of(somebody, list_id) == dict.fromkeys(("numberOfIdentifiers", "numberOfMatches", "matchRate"))

    somebody.now += 60

    assert statistics_of(somebody, list_id) == {"numberOfIdentifiers": 2, "numberOfMatches": 1, "matchRate": 50.0}


def test_statistics_may_wait_for_the_next_run() -> None:
    """At 0 and 12 o'clock, and some five hours until they show (as Criteo's sister APIs)."""
    somebody = caller(statistics_run_seconds=43_200, statistics_delay_seconds=5 * 3600, token_seconds=86_400)
    somebody.now = NOON + 60
    list_id = somebody.sandbox.add_segment("1", "vip")
    somebody.amend(list_id, "add", "a@example.com")
    somebody.now = NOON + 17 * 3600 - 1

    assert statistics_of(somebody, list_id)["numberOfIdentifiers"] is None

    somebody.now += 1

    assert statistics_of(somebody, list_id)["numberOfIdentifiers"] == 1


def test_statistics_may_be_null_or_on_another_scale() -> None:
    somebody = caller(match_rate_scale=1, statistics_told=frozenset({"numberOfIdentifiers", "matchRate"}))
    list_id = somebody.sandbox.add_segment("1", "vip")
    somebody.amend(list_id, "add", "a@example.com", "b@example.com")

    assert statistics_of(somebody, list_id) == {"numberOfIdentifiers": 2, "numberOfMatches": None, "matchRate": 0.5}


def test_a_large_amendment_is_quick(somebody: Caller, list_id: str) -> None:
    identifiers = [f"user{number}@example.com" for number in range(20_000)]
    began = time.perf_counter()
    somebody.amend(list_id, "add", *identifiers)

    assert time.perf_counter() - began < 1


def test_an_unknown_path_and_a_wrong_method_are_problems(somebody: Caller) -> None:
    nowhere, wrong = somebody.ask("GET", "/nowhere"), somebody.ask("GET", f"{SEGMENTS}/search")

    assert (nowhere.status_code, first_error(nowhere)["code"]) == (404, "not-found")
    assert (wrong.status_code, first_error(wrong)["code"]) == (405, "method-not-allowed")
