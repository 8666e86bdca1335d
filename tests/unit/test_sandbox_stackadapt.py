"""The stand-in of StackAdapt: what its schema takes, and what comes of it."""

import json as jsonlib
from collections.abc import Mapping
from typing import Any

import pytest
from werkzeug.test import Client, TestResponse

from sandbox.stackadapt import StackAdaptSandbox, StackAdaptSwitches

FIELDS = ("email", "plan")
MAP_PROFILES = "mutation($x: ProfileMappingInput!){ r: upsertProfileMapping(input:$x){ userErrors { message path } } }"
APPEND = "mutation($x: ProfileMappingInput!){ r: appendProfileMapping(input:$x){ userErrors { message path } } }"
MAP_AUDIENCES = (
    "mutation($x: ExternalAudienceMappingInput!)"
    "{ r: upsertExternalAudienceMapping(input:$x){ userErrors { message path } } }"
)
UPSERT = "mutation($x: UpsertProfilesInput!){ r: upsertProfiles(input:$x){ userErrors { message path } } }"
DELETE_EMAILS = "mutation($x: DeleteRawProfilesInput!){ r: deleteRawProfiles(input:$x){ userErrors { message path } } }"
DELETE_EMAIL = "mutation($x: DeleteRawProfileInput!){ r: deleteRawProfile(input:$x){ userErrors { message path } } }"
DELETE_IDS = (
    "mutation($x: DeleteProfilesWithExternalIdsInput!)"
    "{ r: deleteProfilesWithExternalIds(input:$x){ userErrors { message path } } }"
)
CREATE_LIST = """mutation($x: ProfileListInput!) {
  createProfileList(input: $x) { profileList { id name size } userErrors { message } }
}"""
RENAME_LIST = "mutation($x: ProfileListInput!){ updateProfileList(input:$x){ profileList { name size } } }"
DELETE_LIST = """mutation($x: DeleteProfileListInput!) {
  r: deleteProfileList(input: $x) { clientMutationId userErrors { message } }
}"""
FILL_LIST = """mutation($x: UpdateProfileListProfilesInput!) {
  r: updateProfileListProfiles(input: $x) { userErrors { message path } }
}"""
READ_PROFILES = """query($f: ProfileFilters) {
  cdpProfiles(advertiserId: 2029, filterBy: $f) { size nextToken prevToken profiles { nodes { email } } }
}"""
TOGETHER = """mutation($p: UpsertProfilesInput!, $m: ProfileMappingInput!, $a: ExternalAudienceMappingInput!) {
  upsertProfiles(input: $p) { userErrors { message path } }
  upsertProfileMapping(input: $m) { userErrors { message path } }
  upsertExternalAudienceMapping(input: $a) { userErrors { message path } }
}"""


def field(incoming: str, destination: str | None = None, **more: Any) -> dict[str, Any]:
    shared = {"label": incoming, "type": "STRING", "isPii": False}
    return shared | {"incomingKey": incoming, "destinationKey": destination or incoming} | more


def profile_mapping(*names: str, **more: Any) -> dict[str, Any]:
    schema = [field(name) for name in names or FIELDS]
    return {"advertiserId": "2029", "mappableType": "segment_io", "mappingSchemaV2": schema} | more


AUDIENCE_MAPPING = {
    "advertiserId": "2029",
    "mappableType": "segment_io",
    "mappingSchema": [field("audienceId", "external_id"), field("audienceName", "name")],
}


def row(email: object, action: str = "enter", **more: Any) -> dict[str, Any]:
    return {"email": email, "audienceId": "aud_1", "audienceName": "vip", "action": action} | more


def rows_input(*rows: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    return {"advertiserId": "2029", "externalProvider": "segment_io", "profiles": jsonlib.dumps(rows)} | more


class Caller:
    """Somebody with a token, at an advertiser."""

    def __init__(self, switches: StackAdaptSwitches | None = None) -> None:
        self.now = 1_795_262_400.0
        self.sandbox = StackAdaptSandbox(switches, clock=lambda: self.now)
        self.http = Client(self.sandbox)
        self.token = "any token"

    def post(self, body: object, accept: str = "application/json", **headers: str) -> TestResponse:
        headers = {"Authorization": f"Bearer {self.token}", "Accept": accept} | headers
        return self.http.post("/graphql", json=body, headers=headers)

    def ask(self, query: str, **variables: Any) -> Any:
        return self.post({"query": query, "variables": variables}).json

    def errors(self, query: str, given: Mapping[str, Any]) -> list[dict[str, Any]]:
        """The `userErrors` of a mutation that calls its one field `r`."""
        found: list[dict[str, Any]] = self.ask(query, x=given)["data"]["r"]["userErrors"]
        return found

    def map(self) -> None:
        assert self.errors(MAP_PROFILES, profile_mapping()) == []
        assert self.errors(MAP_AUDIENCES, AUDIENCE_MAPPING) == []

    def upsert(self, *rows: Mapping[str, Any], **more: Any) -> None:
        assert self.errors(UPSERT, rows_input(*rows, **more)) == []

    def members(self, audience: str = "aud_1") -> set[str]:
        return set(self.sandbox.members().get(audience, {}))

    def profiles(self) -> list[str]:
        query = "{ cdpProfiles(advertiserId: 2029) { profiles { nodes { email } } } }"
        return [node["email"] for node in self.ask(query)["data"]["cdpProfiles"]["profiles"]["nodes"]]


def caller(**switches: Any) -> Caller:
    return Caller(StackAdaptSwitches(**switches))


@pytest.fixture
def somebody() -> Caller:
    """With both mappings in force."""
    mapped = caller()
    mapped.map()
    return mapped


# ── Membership ───────────────────────────────────────────────────────────────────────────────────


def test_rows_enter_and_exit_the_audience_that_they_name(somebody: Caller) -> None:
    somebody.upsert(row("a@example.com"), row("b@example.com"), row("c@example.com", audienceId="aud_2"))
    somebody.upsert(row("a@example.com", "exit"), row("nobody@example.com", "exit"))

    assert somebody.members() == {"b@example.com"}
    assert somebody.members("aud_2") == {"c@example.com"}


def test_one_request_may_hold_everything_in_any_order() -> None:
    somebody = caller()
    answer = somebody.ask(TOGETHER, p=rows_input(row("a@example.com")), m=profile_mapping(), a=AUDIENCE_MAPPING)

    assert [field["userErrors"] for field in answer["data"].values()] == [[], [], []]
    assert somebody.members() == {"a@example.com"}


def test_inline_literals_are_as_good_as_variables() -> None:
    somebody = caller()
    profiles = jsonlib.dumps(jsonlib.dumps([row("a@example.com")]))
    mapping = '[{incomingKey:"email", destinationKey:"email", label:"Email", type:STRING, isPii:true}]'
    audiences = '[{incomingKey:"audienceId", destinationKey:"external_id", label:"ID", type:STRING, isPii:false}]'
    shared = 'advertiserId: 2029, mappableType: "segment_io"'
    answer = somebody.ask(f"""mutation {{
      upsertProfileMapping(input: {{{shared}, isOptedIn: true, mappingSchemaV2: {mapping}}})
        {{ userErrors {{ message }} }}
      upsertProfiles(input: {{advertiserId: 2029, externalProvider: "segment_io", profiles: {profiles}}})
        {{ userErrors {{ message }} }}
      upsertExternalAudienceMapping(input: {{{shared}, mappingSchema: {audiences}}}) {{ userErrors {{ message }} }}
    }}""")

    assert "errors" not in answer
    assert somebody.members() == {"a@example.com"}
    assert somebody.sandbox.requests()["most_in_flight"] == {"aud_1": 1}


def test_emails_are_compared_trimmed_and_lower_case(somebody: Caller) -> None:
    somebody.upsert(row(" A@Example.com "), row("b@example.com"))
    somebody.upsert(row("B@EXAMPLE.COM", "exit"))

    assert somebody.members() == {"a@example.com"}


@pytest.mark.parametrize("email", [None, "", "nobody", "x@y", 7])
def test_a_row_without_a_valid_email_is_dropped_and_counted(somebody: Caller, email: object) -> None:
    somebody.upsert(row(email), row("b@example.com"))

    assert somebody.members() == {"b@example.com"}
    assert somebody.sandbox.counted["rows_without_email"] == 1


def test_rows_move_nobody_without_an_audience_mapping_in_force() -> None:
    somebody = caller()
    somebody.errors(MAP_PROFILES, profile_mapping())
    somebody.upsert(row("a@example.com"))
    somebody.errors(MAP_AUDIENCES, AUDIENCE_MAPPING)

    assert somebody.members() == set()
    assert somebody.profiles() == ["a@example.com"]
    assert somebody.sandbox.counted["rows_without_audience"] == 1


def test_an_unknown_action_moves_nobody_and_is_counted(somebody: Caller) -> None:
    somebody.upsert(row("a@example.com", "Enter"))

    assert somebody.members() == set()
    assert somebody.sandbox.counted["unknown_actions"] == 1


def test_audiences_are_kept_apart_by_advertiser(somebody: Caller) -> None:
    somebody.errors(MAP_PROFILES, profile_mapping(advertiserId="7"))
    somebody.errors(MAP_AUDIENCES, AUDIENCE_MAPPING | {"advertiserId": 7})
    somebody.upsert(row("a@example.com"))
    somebody.upsert(row("b@example.com"), row("c@example.com", audienceId="aud_7"), advertiserId=7)

    assert somebody.sandbox.members() == {
        "2029/aud_1": {"a@example.com": True},
        "7/aud_1": {"b@example.com": True},
        "aud_7": {"c@example.com": True},
    }


# ── Mappings ─────────────────────────────────────────────────────────────────────────────────────


def test_a_field_that_is_not_mapped_is_lost_and_counted(somebody: Caller) -> None:
    somebody.upsert(row("a@example.com", plan="pro", userId="u-1", colour="red"))

    assert somebody.sandbox.counted["unmapped_fields"] == 2


def test_a_mapping_is_replaced_not_merged(somebody: Caller) -> None:
    somebody.errors(MAP_PROFILES, profile_mapping("plan"))
    somebody.upsert(row("a@example.com"))

    assert somebody.members() == set()
    assert somebody.sandbox.counted["rows_without_email"] == 1


def test_a_mapping_can_be_added_to(somebody: Caller) -> None:
    somebody.errors(MAP_PROFILES, profile_mapping("plan"))
    somebody.errors(APPEND, profile_mapping("email"))
    somebody.upsert(row("a@example.com", plan="pro"))

    assert somebody.members() == {"a@example.com"}
    assert somebody.sandbox.counted["unmapped_fields"] == 0


def test_a_mapped_default_fills_what_is_absent(somebody: Caller) -> None:
    schema = [field("email"), field("userId", "external_id", value="u-0")]
    somebody.errors(MAP_PROFILES, profile_mapping(mappingSchemaV2=schema))
    somebody.upsert(row("a@example.com"))
    somebody.errors(DELETE_IDS, {"externalIds": ["u-0"], "externalProvider": "segment_io"})

    assert somebody.members() == set()


def test_profiles_can_be_ingested_under_an_older_mapping() -> None:
    """What the vendor's asynchrony may do, when mappings take longer than profiles."""
    somebody = caller(mapping_delay_seconds=60, ingestion_delay_seconds=30)
    somebody.map()
    somebody.upsert(row("a@example.com"))
    somebody.now += 60

    assert somebody.members() == set()

    somebody.upsert(row("a@example.com"))

    assert somebody.members() == set()

    somebody.now += 30

    assert somebody.members() == {"a@example.com"}


def test_what_an_older_mapping_does_not_name_is_counted_apart() -> None:
    """`colour` is in no mapping; `plan` is in the one that was asked for, and in force too late."""
    somebody = caller(mapping_delay_seconds=60)
    somebody.errors(MAP_PROFILES, profile_mapping("email"))
    somebody.now += 60
    somebody.errors(MAP_PROFILES, profile_mapping("email", "plan"))
    somebody.upsert(row("a@example.com", plan="pro", colour="red"))

    assert somebody.sandbox.counted["fields_lost_to_an_older_mapping"] == 1

    somebody.now += 60
    somebody.upsert(row("a@example.com", plan="pro", colour="red"))

    assert somebody.sandbox.counted["fields_lost_to_an_older_mapping"] == 1


@pytest.mark.parametrize(
    ("given", "path"),
    [
        (profile_mapping(advertiserId=None), ["input", "advertiserId"]),
        (profile_mapping(mappableType=None), ["input", "mappableType"]),
        (profile_mapping(mappableType="SEGMENT_IO"), ["input", "mappableType"]),
        (profile_mapping(mappingSchemaV2=[]), ["input", "mappingSchemaV2"]),
    ],
)
def test_an_incomplete_mapping_is_a_user_error(given: dict[str, Any], path: list[str]) -> None:
    assert [error["path"] for error in caller().errors(MAP_PROFILES, given)] == [path]


@pytest.mark.parametrize("member", ["label", "isPii", "type", "incomingKey", "destinationKey"])
def test_a_mapping_without_a_required_member_fails_validation(member: str) -> None:
    incomplete = {key: value for key, value in field("email").items() if key != member}
    answer = caller().ask(MAP_PROFILES, x=profile_mapping(mappingSchemaV2=[incomplete]))

    assert "data" not in answer
    assert member in answer["errors"][0]["message"]


# ── Rows ─────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "profiles", ["{", '{"email": "a@example.com"}', '["a@example.com"]', 7, [row("a@example.com")]]
)
def test_profiles_must_be_a_string_that_holds_a_list_of_objects(somebody: Caller, profiles: object) -> None:
    errors = somebody.errors(UPSERT, rows_input() | {"profiles": profiles})

    assert [error["path"] for error in errors] == [["input", "profiles"]]


def test_a_list_of_profiles_is_taken_when_switched_on() -> None:
    somebody = caller(accept_profile_list=True)
    somebody.map()
    somebody.upsert(profiles=[row("a@example.com")])

    assert somebody.members() == {"a@example.com"}


def test_too_many_profiles_are_a_user_error() -> None:
    somebody = caller(max_profiles=1)

    assert somebody.errors(UPSERT, rows_input(row("a@example.com"))) == []
    assert somebody.errors(UPSERT, rows_input(row("a@example.com"), row("b@example.com"))) != []


def test_the_same_rows_under_the_same_sync_id_are_taken_once(somebody: Caller) -> None:
    somebody.upsert(row("a@example.com"), syncId="1")
    somebody.upsert(row("a@example.com", "exit"), syncId="2")
    somebody.upsert(row("a@example.com"), syncId="1")

    assert somebody.members() == set()
    assert somebody.sandbox.counted["repeated_syncs"] == 1

    somebody.upsert(row("b@example.com"), syncId="1")

    assert somebody.members() == {"b@example.com"}


def test_sync_ids_can_mean_nothing() -> None:
    somebody = caller(sync_id="ignored")
    somebody.map()
    for action in ("enter", "exit", "enter"):
        somebody.upsert(row("a@example.com", action), syncId="same")
    somebody.upsert(row("a@example.com", "exit"), syncId="1")
    somebody.upsert(row("a@example.com"), syncId="1")

    assert somebody.members() == {"a@example.com"}


def test_a_sync_id_can_be_taken_once_whatever_comes_under_it() -> None:
    somebody = caller(sync_id="any_content")
    somebody.map()
    somebody.upsert(row("a@example.com"), syncId="1")
    somebody.upsert(row("b@example.com"), syncId="1")
    somebody.upsert(row("c@example.com"), syncId="2")

    assert somebody.members() == {"a@example.com", "c@example.com"}


def test_an_invalid_row_can_be_told_by_its_place_while_the_others_are_taken() -> None:
    somebody = caller(invalid_rows="named")
    somebody.map()
    errors = somebody.errors(UPSERT, rows_input(row("nobody"), row("a@example.com"), row(None)))

    assert [error["path"] for error in errors] == [["input", "profiles", place, "email"] for place in ("0", "2")]
    assert somebody.members() == {"a@example.com"}


def test_an_invalid_row_can_cost_the_whole_request() -> None:
    somebody = caller(invalid_rows="unnamed")
    somebody.map()
    errors = somebody.errors(UPSERT, rows_input(row("nobody"), row("a@example.com")))

    assert [error["path"] for error in errors] == [["input", "profiles"]]
    assert somebody.members() == set()


def test_an_audience_can_be_told_by_its_name() -> None:
    somebody = caller(membership_key="name")
    somebody.map()
    somebody.upsert(row("a@example.com"), row("b@example.com", audienceId="aud_2"))
    somebody.upsert(row("a@example.com", "exit", audienceId="aud_3"))

    assert somebody.sandbox.members() == {"vip": {"b@example.com": True}}
    assert somebody.sandbox.requests()["most_in_flight"] == {"vip": 1}


# ── Deletion ─────────────────────────────────────────────────────────────────────────────────────


def test_deleted_people_leave_every_audience(somebody: Caller) -> None:
    somebody.upsert(row("a@example.com"), row("a@example.com", audienceId="aud_2"), row("b@example.com"))
    given = {"advertiserId": "2029", "emails": [" A@example.com"], "isComplianceRequest": False}

    assert somebody.errors(DELETE_EMAILS, given) == []
    assert somebody.members() == {"b@example.com"}
    assert somebody.members("aud_2") == set()
    assert somebody.profiles() == ["b@example.com"]


def test_a_compliance_request_keeps_people_out_for_good(somebody: Caller) -> None:
    somebody.errors(DELETE_EMAIL, {"advertiserId": "2029", "email": "a@example.com", "isComplianceRequest": True})
    somebody.upsert(row("a@example.com"))

    assert somebody.members() == set()
    assert somebody.sandbox.counted["blocked_rows"] == 1


def test_at_most_100_emails_are_deleted_at_once(somebody: Caller) -> None:
    given = {"advertiserId": "2029", "isComplianceRequest": False}
    emails = [f"{number}@example.com" for number in range(101)]

    assert somebody.errors(DELETE_EMAILS, given | {"emails": emails[1:]}) == []
    assert [error["path"] for error in somebody.errors(DELETE_EMAILS, given | {"emails": emails})] == [
        ["input", "emails"]
    ]


def test_a_compliance_request_can_be_as_any_other() -> None:
    somebody = caller(compliance_blocks=False)
    somebody.map()
    somebody.errors(DELETE_EMAIL, {"advertiserId": "2029", "email": "a@example.com", "isComplianceRequest": True})
    somebody.upsert(row("a@example.com"))

    assert somebody.members() == {"a@example.com"}


@pytest.mark.parametrize(
    ("told", "paths", "left"),
    [
        ("ignored", [], set()),
        ("named", [["input", "emails", "1"]], set()),
        ("unnamed", [["input"]], {"a@example.com"}),
    ],
)
def test_the_deletion_of_somebody_unknown_can_be_an_error(told: str, paths: list[list[str]], left: set[str]) -> None:
    somebody = caller(unknown_profiles=told)
    somebody.map()
    somebody.upsert(row("a@example.com"))
    given = {"advertiserId": "2029", "emails": ["a@example.com", "b@example.com"], "isComplianceRequest": False}

    assert [error["path"] for error in somebody.errors(DELETE_EMAILS, given)] == paths
    assert somebody.members() == left


def test_the_deletion_of_an_unknown_external_id_can_be_an_error() -> None:
    somebody = caller(unknown_profiles="named", external_id_from_user_id=True)
    somebody.map()
    somebody.upsert(row("a@example.com", userId="u-1"))
    given = {"externalIds": ["u-0", "u-1"], "externalProvider": "segment_io", "advertiserIds": [2029]}

    assert [error["path"] for error in somebody.errors(DELETE_IDS, given)] == [["input", "externalIds", "0"]]
    assert somebody.members() == set()


@pytest.mark.parametrize(("finds", "left"), [(False, {"a@example.com"}), (True, set())])
def test_an_unmapped_external_id_finds_nobody_unless_switched_on(*, finds: bool, left: set[str]) -> None:
    somebody = caller(external_id_from_user_id=finds)
    somebody.map()
    somebody.upsert(row("a@example.com", userId="u-1"))
    somebody.errors(DELETE_IDS, {"externalIds": ["u-1"], "externalProvider": "segment_io", "advertiserIds": [2029]})

    assert somebody.members() == left


# ── Profile lists ────────────────────────────────────────────────────────────────────────────────


def test_a_profile_list_is_made_filled_read_and_deleted(somebody: Caller) -> None:
    created = somebody.ask(CREATE_LIST, x={"advertiserId": "2029", "name": "newsletter"})
    profile_list = created["data"]["createProfileList"]["profileList"]
    somebody.upsert(row("a@example.com"), row("b@example.com"))
    change = {"advertiserId": "2029", "ids": [profile_list["id"]]}
    emails = {"addProfilesRawEmail": ["a@example.com", "B@example.com"], "removeProfilesRawEmail": ["a@example.com"]}

    assert (profile_list["name"], profile_list["size"]) == ("newsletter", "0")
    assert somebody.errors(FILL_LIST, change | emails) == []
    assert somebody.errors(FILL_LIST, change | {"addProfilesRawEmail": ["nobody"]}) != []
    found = somebody.ask(READ_PROFILES, f={"listId": profile_list["id"]})["data"]["cdpProfiles"]
    assert found["profiles"]["nodes"] == [{"email": "b@example.com"}]

    renamed = somebody.ask(RENAME_LIST, x={"id": profile_list["id"], "name": "letters"})

    assert renamed["data"]["updateProfileList"]["profileList"] == {"name": "letters", "size": "1"}
    assert somebody.errors(DELETE_LIST, {"id": profile_list["id"], "clientMutationId": "1"}) == []
    assert somebody.errors(DELETE_LIST, {"id": profile_list["id"]}) == [{"message": "Profile list not found"}]


def test_uploaded_profiles_have_a_status() -> None:
    somebody = caller(ingestion_delay_seconds=60)
    upload = somebody.ask(
        "mutation($x: UserUploadedProfilesWithJSONInput!)"
        "{ createUserUploadedProfilesWithJson(input:$x){ mappableId userErrors { message } } }",
        x={
            "advertiserId": "2029",
            "mappingSchema": [field("email")],
            "profiles": [{"email": "a@example.com"}],
            "profileListName": "uploaded",
            "profileOwnedStatus": "OPTED_IN",
        },
    )["data"]["createUserUploadedProfilesWithJson"]
    status = "query($m: ID!){ profileMappingStatus(advertiserId: 2029, mappableId: $m) }"
    read = "{ cdpProfiles(advertiserId: 2029) { profiles { nodes { email marketingStatus sources } } } }"

    assert somebody.ask(status, m=upload["mappableId"])["data"] == {"profileMappingStatus": "PROCESSING"}

    somebody.now += 60

    assert somebody.ask(status, m=upload["mappableId"])["data"] == {"profileMappingStatus": "SUCCESS"}
    assert somebody.ask(read)["data"]["cdpProfiles"]["profiles"]["nodes"] == [
        {"email": "a@example.com", "marketingStatus": "OPTED_IN", "sources": ["USER_UPLOADED"]}
    ]


# ── Tokens and advertisers ───────────────────────────────────────────────────────────────────────

TOKEN_INFO = """query($after: String) { tokenInfo { name expiresAt scopesByAdvertiser(first: 2, after: $after) {
  nodes { advertiser { id name } scopes } totalCount pageInfo { hasNextPage endCursor } } } }"""


def test_token_info_tells_the_scopes_in_pages() -> None:
    somebody = caller(advertisers=frozenset({"1", "2", "3"}), read_only_advertisers=frozenset({"2"}))
    first = somebody.ask(TOKEN_INFO)["data"]["tokenInfo"]["scopesByAdvertiser"]
    second = somebody.ask(TOKEN_INFO, after=first["pageInfo"]["endCursor"])["data"]["tokenInfo"]["scopesByAdvertiser"]

    assert [(node["advertiser"]["id"], node["scopes"]) for node in first["nodes"]] == [
        ("1", ["READ", "WRITE"]),
        ("2", ["READ"]),
    ]
    assert first["pageInfo"]["hasNextPage"]
    assert [node["advertiser"]["id"] for node in second["nodes"]] == ["3"]
    assert not second["pageInfo"]["hasNextPage"]
    assert second["totalCount"] == 3


def test_advertisers_are_listed_from_either_end() -> None:
    somebody = caller(advertisers=frozenset({"1", "2", "3"}))
    answer = somebody.ask('{ advertisers(last: 1, before: "3") { edges { cursor node { id } } } }')

    assert answer["data"]["advertisers"]["edges"] == [{"cursor": "2", "node": {"id": "2"}}]


@pytest.mark.parametrize("advertiser", ["1", "x", "", "3"])
def test_an_advertiser_that_may_not_be_written_is_a_user_error(advertiser: str) -> None:
    somebody = caller(advertisers=frozenset({"2", "3"}), read_only_advertisers=frozenset({"3"}))

    assert somebody.errors(UPSERT, rows_input(advertiserId=advertiser))[0]["path"] == ["input", "advertiserId"]


def test_a_forbidden_advertiser_can_be_an_error_of_the_request() -> None:
    answer = caller(advertisers=frozenset(), forbidden_as="errors").ask(UPSERT, x=rows_input())

    assert answer["data"] is None
    assert answer["errors"][0]["path"] == ["r"]


def test_a_forbidden_advertiser_can_be_a_403() -> None:
    somebody = caller(read_only_advertisers=frozenset({"2029"}), forbidden_as="status_403")
    response = somebody.post({"query": UPSERT, "variables": {"x": rows_input()}})

    assert response.status_code == 403
    assert (response.json or {})["errors"][0]["message"] == "No WRITE scope for advertiser 2029"
    assert somebody.post({"query": "{ tokenInfo { name } }"}).status_code == 200


@pytest.mark.parametrize(("end", "told"), [(None, None), (1_796_000_000.0, "2026-11-30T00:53:20Z")])
def test_a_token_may_have_an_end(end: float | None, told: str | None) -> None:
    answer = caller(token_expires_at=end).ask("{ tokenInfo { expiresAt } }")

    assert answer == {"data": {"tokenInfo": {"expiresAt": told}}}


def test_a_missing_or_refused_token_is_a_401_with_a_trace() -> None:
    somebody = caller(refused_tokens=frozenset({"bad"}))
    missing = somebody.http.post("/graphql", json={"query": "{ tokenInfo { name } }"})
    somebody.token = "bad"
    refused = somebody.post({"query": "{ tokenInfo { name } }"})

    for response in (missing, refused):
        assert response.status_code == 401
        assert response.json
        assert len(response.json["errors"][0]["extensions"]["traceId"]) == 32


def test_an_expired_token_is_a_200_with_an_error() -> None:
    response = caller(expired_tokens=frozenset({"any token"})).post({"query": "{ tokenInfo { name } }"})

    assert response.status_code == 200
    assert response.json == {"errors": [{"message": "The access token expired"}], "data": None}


@pytest.mark.parametrize(("kind", "status"), [("revoke_tokens", 401), ("expire_tokens", 200)])
def test_a_fault_can_end_the_tokens_known_so_far(kind: str, status: int) -> None:
    somebody = caller()
    somebody.sandbox.script_faults({"rules": [{"times": 1, "fault": {"kind": kind}}]})

    for _ in range(2):
        response = somebody.post({"query": "{ tokenInfo { name } }"})

        assert response.status_code == status
        assert "errors" in (response.json or {})

    somebody.token = "another token"

    assert somebody.ask("{ tokenInfo { name } }") == {"data": {"tokenInfo": {"name": "sandbox"}}}


# ── HTTP ─────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"query": "{ tokenInfo { name } }", "jsonrpc": "2.0"}, 'Unexpected parameter "jsonrpc" in the request body.'),
        ({"variables": {}}, "Must provide query string."),
        ({"query": "{ tokenInfo { name } }", "variables": [1]}, "Variables must be an object."),
        ([{"query": "{ tokenInfo { name } }"}], "Batching is not supported."),
    ],
)
def test_a_bad_body_is_a_400_even_without_a_token(body: object, message: str) -> None:
    response = Client(StackAdaptSandbox()).post("/graphql", json=body)

    assert response.status_code == 400
    assert response.json == {"errors": [{"message": message}]}


def test_a_body_must_be_json_and_declared_so() -> None:
    http = Client(StackAdaptSandbox())

    assert http.post("/graphql", data="{", content_type="application/json").status_code == 400
    assert http.post("/graphql", data="{}").status_code == 415


@pytest.mark.parametrize(
    ("accept", "status", "mimetype"),
    [
        ("application/json", 200, "application/json"),
        ("application/json, */*", 200, "application/json"),
        ("application/graphql-response+json", 400, "application/graphql-response+json"),
        ("*/*", 400, "application/graphql-response+json"),
        ("text/html", 406, "text/plain"),
    ],
)
@pytest.mark.parametrize(
    "query", ["{ nothing }", "{ tokenInfo", "query A { tokenInfo { name } } query B { tokenInfo { name } }"]
)
def test_errors_before_the_execution_depend_on_what_is_accepted(
    query: str, accept: str, status: int, mimetype: str
) -> None:
    response = caller().post({"query": query}, accept=accept)

    assert (response.status_code, response.mimetype) == (status, mimetype)
    assert status == 406 or set(response.json or {}) == {"errors"}


@pytest.mark.parametrize("accept", ["application/json", "application/graphql-response+json"])
@pytest.mark.parametrize("status", [200, 400])
def test_errors_before_the_execution_can_have_one_status(status: int, accept: str) -> None:
    response = caller(early_errors=f"status_{status}").post({"query": "{ nothing }"}, accept=accept)

    assert (response.status_code, response.mimetype) == (status, accept)


def test_messages_are_those_of_graphql() -> None:
    assert (
        caller()
        .ask("{ tokenInfo { nme } }")["errors"][0]["message"]
        .startswith('Cannot query field "nme" on type "TokenInfo".')
    )


def test_the_operation_is_chosen_by_name() -> None:
    body = {"query": "query A { a: tokenInfo { name } } query B { b: tokenInfo { name } }", "operationName": "B"}

    assert caller().post(body).json == {"data": {"b": {"name": "sandbox"}}}


def test_a_body_over_4_mb_is_a_413_unless_switched_off() -> None:
    query = {"query": "{ tokenInfo { name } }", "variables": {"x": "x" * 4_194_304}}

    assert caller().post(query).status_code == 413
    assert caller(max_body_bytes=None).post(query).status_code == 200


@pytest.mark.parametrize(("throttled_as", "status"), [("status_429", 429), ("errors", 200)])
@pytest.mark.parametrize("retry_after", [True, False])
def test_calls_over_the_limit_are_throttled(throttled_as: str, status: int, *, retry_after: bool) -> None:
    somebody = caller(rate_limit=1, retry_after=retry_after, throttled_as=throttled_as)
    somebody.post({"query": "{ tokenInfo { name } }"})
    throttled = somebody.post({"query": "{ tokenInfo { name } }"})

    assert throttled.status_code == status
    assert throttled.json == {"errors": [{"message": "Request was throttled."}]}
    assert throttled.headers.get("Retry-After") == ("60" if retry_after else None)


def test_other_paths_are_html() -> None:
    response = Client(StackAdaptSandbox()).get("/nowhere")

    assert (response.status_code, response.mimetype) == (404, "text/html")


def test_profiles_are_read_in_pages_and_by_filters(somebody: Caller) -> None:
    somebody.upsert(*(row(f"{number}@example.com") for number in range(3)), row("a@other.com"))
    first = somebody.ask(READ_PROFILES, f={"limit": 2, "filterDomains": ["example.com"]})["data"]["cdpProfiles"]
    second = somebody.ask(
        READ_PROFILES, f={"limit": 2, "filterDomains": ["example.com"], "paginationToken": first["nextToken"]}
    )
    one = somebody.ask(READ_PROFILES, f={"email": "A@other.com", "source": "SEGMENT_IO", "excludeListId": "1"})

    assert (first["size"], first["prevToken"]) == (3, None)
    assert second["data"]["cdpProfiles"] == {
        "size": 3,
        "nextToken": None,
        "prevToken": "0",
        "profiles": {"nodes": [{"email": "2@example.com"}]},
    }
    assert one["data"]["cdpProfiles"]["profiles"]["nodes"] == [{"email": "a@other.com"}]
