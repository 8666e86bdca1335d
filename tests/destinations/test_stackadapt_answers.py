"""What StackAdapt's answers lead to, in all their plausible wordings."""

from typing import Any

import pytest

from sandbox.stackadapt_access import StackAdaptSwitches
from tests.conftest import Clock
from tests.destinations.conftest import enters, leaves
from tests.destinations.stackadapt_talk import OK, answer, destination, hold_of, named, stackadapt
from worker.batching import fold
from worker.contract import Change, Identifier, LaneKey
from worker.errors import DeliveryError, NeedsPerson, Refused, Throttled, TooLarge, TryLater
from worker.store.store import Store

# ── Answers ──────────────────────────────────────────────────────────────────────────────────────


def answered(body: object, status: int = 200, changes: int = 3, *, mapping: bool = False, retry_after: str = "") -> Any:
    """What a conversation makes of one answer: to the profiles, or to the mapping."""
    made = destination()
    batch = fold(LaneKey("stack", "aud_1"), "b1", [named(f"p{n}") for n in range(changes)], made.vendor_form, at_ms=1)
    conversation = made.converse(batch, {})
    next(conversation)
    try:
        if not mapping:
            conversation.send(answer(OK))
        conversation.send(answer(body, status, **{"retry-after": retry_after}))
    except StopIteration as end:
        return end.value
    except DeliveryError as order:
        return order
    return None


def user_error(message: str, path: object = None) -> dict[str, Any]:
    return {"data": {"upsertProfiles": {"userErrors": [{"message": message, "path": path}]}}}


@pytest.mark.parametrize(
    "path",
    [
        ["input", "profiles", "1", "email"],
        ["input", "profiles", 1, "email"],
        ["profiles", "1"],
        ["input", "profiles[1]", "email"],
        ["input.profiles.1.email"],
        ["upsertProfiles", "input", "profiles", "1"],
        "/input/profiles/1",
        ["1", "email"],
        ["input", "1"],
    ],
)
def test_a_user_error_belongs_to_the_profile_that_its_path_names(path: object) -> None:
    receipt = answered(user_error("email someone@example.com is invalid", path))

    assert receipt.refused == {Identifier("email", "p1@example.com"): "email … is invalid"}


def test_of_two_errors_about_one_profile_the_first_is_the_reason() -> None:
    errors = [{"message": message, "path": ["profiles", "1"]} for message in ("one", "two")]
    errors.append({"message": "three", "path": ["profiles", "0"]})

    receipt = answered({"data": {"upsertProfiles": {"userErrors": errors}}})

    assert {who.value: reason for who, reason in receipt.refused.items()} == {
        "p1@example.com": "one",
        "p0@example.com": "three",
    }


@pytest.mark.parametrize(
    "path",
    [
        None,
        [],
        ["input"],
        ["input", "profiles"],
        ["input", "profiles", "9"],
        ["input", "profiles", "9" * 5_000],
        ["-1"],
    ],
)
def test_a_user_error_without_a_profile_refuses_them_all(path: object) -> None:
    assert type(answered(user_error("first_name is too long (maximum is 255 characters)", path))) is Refused


@pytest.mark.parametrize(
    ("message", "path", "order"),
    [
        ("No WRITE scope for advertiser 2029", None, NeedsPerson),
        ("Token does not have WRITE access", None, NeedsPerson),
        ("You are not authorized to perform this action", None, NeedsPerson),
        ("Permission denied", None, NeedsPerson),
        ("Advertiser not found", None, NeedsPerson),
        ("Couldn't find Advertiser with 'id'=2029", None, NeedsPerson),
        ("This token is read-only", None, NeedsPerson),
        ("WRITE scope required", None, NeedsPerson),
        ("is not known", ["input", "advertiserId"], NeedsPerson),
        ("is not known", ["input", "externalProvider"], NeedsPerson),
        ("Profiles is invalid JSON", None, NeedsPerson),
        ("must be an array of objects", ["input", "profiles"], NeedsPerson),
        ("Something went wrong", None, TryLater),
        ("Request was throttled", None, Throttled),
        ("Maximum of 60 requests per minute exceeded", None, Throttled),
        ("Too many profiles (maximum is 500)", ["input", "profiles"], TooLarge),
        ("Profiles is too long (maximum is 500)", ["input", "profiles"], TooLarge),
        ("Exceeded the limit of 500 profiles", None, TooLarge),
        ("no", None, Refused),
        ("Email is invalid", None, Refused),
        ("city has an invalid value", None, Refused),
        ("plan exceeds 255 characters", None, Refused),
        ("Email domain is not allowed", None, Refused),
    ],
)
def test_what_a_user_error_about_all_profiles_orders(message: str, path: object, order: type[DeliveryError]) -> None:
    assert type(answered(user_error(message, path))) is order


@pytest.mark.parametrize("field", ["upsertProfileMapping", "upsertExternalAudienceMapping"])
@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ("Label can't be blank", "mapping refused"),
        ("Too many items", "mapping refused"),
        ("Not authorized", "advertiser not writable"),
    ],
)
def test_a_refused_mapping_needs_a_person(field: str, message: str, reason: str) -> None:
    order = answered({"data": OK["data"] | {field: {"userErrors": [{"message": message}]}}}, mapping=True)

    assert type(order) is NeedsPerson
    assert order.reason == reason
    assert message in order.detail


def test_a_mapping_of_which_one_field_fails_alone_was_not_taken() -> None:
    error = {"message": "Email label is missing", "path": ["upsertExternalAudienceMapping"]}
    partial = {"data": OK["data"] | {"upsertExternalAudienceMapping": None}, "errors": [error]}

    order = answered(partial, mapping=True)

    assert type(order) is NeedsPerson
    assert order.reason == "mapping refused"


@pytest.mark.parametrize(
    ("message", "status", "order"),
    [
        ("The access token expired", 200, NeedsPerson),
        ("The access token expired", 401, NeedsPerson),
        ("Access token is expired.", 200, NeedsPerson),
        ("Unauthenticated", 401, NeedsPerson),
        ("Unauthenticated", 200, NeedsPerson),
        ("who are you", 403, NeedsPerson),
        ("No WRITE scope for advertiser 2029", 403, NeedsPerson),
        ("No WRITE scope for advertiser 2029", 200, NeedsPerson),
        ("Request was throttled", 200, Throttled),
        ("Rate limit exceeded for profiles", 200, Throttled),
        ("Rate limit exceeded", 403, Throttled),
        ("whatever", 429, Throttled),
        ("Internal server error", 200, TryLater),
        ("Unexpected error.", 500, TryLater),
        ("Cannot query field", 503, TryLater),
        ("whatever", 200, TryLater),
        ("Request entity is too large", 400, TooLarge),
        ("whatever", 413, TooLarge),
        ('Unexpected parameter "jsonrpc" in the request body.', 400, NeedsPerson),
        ('Cannot query field "upsertProfiles" on type "Mutation".', 400, NeedsPerson),
        ('Cannot query field "upsertProfiles" on type "Mutation".', 200, NeedsPerson),
        (
            'Variable "$profiles" got invalid value { }; Field "x" of required type "ID!" was not provided.',
            200,
            NeedsPerson,
        ),
        ("Field 'userErrors' doesn't exist on type 'X'", 200, NeedsPerson),
        ("Parse error", 200, NeedsPerson),
        ("whatever", 400, NeedsPerson),
        ("whatever", 404, NeedsPerson),
        ("Email of a profile cannot be stored", 200, Refused),
        ("Email of a profile cannot be stored", 422, Refused),
    ],
)
def test_what_errors_order(message: str, status: int, order: type[DeliveryError]) -> None:
    assert type(answered({"errors": [{"message": message}], "data": None}, status, changes=1)) is order


@pytest.mark.parametrize(
    ("status", "reason"), [(401, "credentials refused"), (403, "forbidden"), (404, "not found"), (405, "not found")]
)
def test_errors_in_unknown_words_mean_what_the_status_says(status: int, reason: str) -> None:
    assert answered({"errors": [{"message": "whatever"}]}, status).reason == reason


@pytest.mark.parametrize(
    ("code", "order"),
    [
        ("UNAUTHENTICATED", NeedsPerson),
        ("FORBIDDEN", NeedsPerson),
        ("THROTTLED", Throttled),
        ("RATE_LIMITED", Throttled),
        ("INTERNAL_SERVER_ERROR", TryLater),
        ("GRAPHQL_VALIDATION_FAILED", NeedsPerson),
    ],
)
def test_a_code_is_as_good_as_words(code: str, order: type[DeliveryError]) -> None:
    error = {"message": "no", "extensions": {"code": code, "traceId": "0" * 32}}

    assert type(answered({"errors": [error]})) is order


@pytest.mark.parametrize(
    ("body", "status", "order"),
    [
        ({"data": None}, 200, TryLater),
        ({"data": {}}, 200, TryLater),
        ({"data": {"upsertProfiles": None}}, 200, TryLater),
        ({"errors": [], "data": None}, 200, TryLater),
        ([], 200, TryLater),
        ("<html>", 200, TryLater),
        ({}, 502, TryLater),
        ("<html>", 404, NeedsPerson),
        ("<html>", 405, NeedsPerson),
        ({}, 401, NeedsPerson),
        ({"errors": "Forbidden"}, 200, NeedsPerson),
        ({"errors": {"message": "Forbidden"}}, 200, NeedsPerson),
        ({"errors": ["Forbidden"]}, 200, NeedsPerson),
        ({"errors": [{"message": None}]}, 200, TryLater),
    ],
)
def test_an_answer_without_data_is_no_success(body: object, status: int, order: type[DeliveryError]) -> None:
    assert type(answered(body, status)) is order


def test_a_throttled_answer_with_status_200_may_tell_when_to_come_back() -> None:
    order = answered({"errors": [{"message": "throttled"}]}, retry_after="120")

    assert order.retry_after == 120


def test_a_thousand_errors_are_read_in_no_time_and_told_in_few_words() -> None:
    errors = [{"message": f"profiles of person{n}@example.com are " + "profiles " * 40} for n in range(1_000)]

    order = answered({"data": {"upsertProfiles": {"userErrors": errors}}})

    assert type(order) is Refused
    assert len(order.detail) <= 200
    assert "@" not in order.detail


# ── Answers, from the lane's side ────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("told", ["named", "unnamed"])
def test_only_who_is_refused_is_buried(store: Store, clock: Clock, told: Any) -> None:
    bench = stackadapt(store, clock, StackAdaptSwitches(invalid_rows=told))
    bad = Change(entered=True, occurred_at=0, identifiers=(Identifier("email", "x@y"),))
    bench.append([enters("ada"), bad, *(enters(f"p{n}") for n in range(10)), leaves("eve")])
    bench.flush()

    assert bench.members() == {"ada@example.com", *(f"p{n}@example.com" for n in range(10))}
    assert [letter.change for letter in store.dead_letters("shop")] == [bad]
    assert "working_size" not in bench.edges.lanes.notes(["working_size"])


@pytest.mark.parametrize("forbidden_as", ["user_errors", "errors", "status_403"])
def test_a_missing_scope_holds_the_destination_and_buries_nobody(store: Store, clock: Clock, forbidden_as: Any) -> None:
    switches = StackAdaptSwitches(read_only_advertisers=frozenset({"2029"}), forbidden_as=forbidden_as)
    bench = stackadapt(store, clock, switches)
    bench.append([enters("ada")])
    bench.flush()

    assert hold_of(bench).startswith("advertiser not writable: No WRITE scope")
    assert bench.status().counters["waiting"] == 1


def test_a_document_that_is_not_understood_buries_nobody(store: Store, clock: Clock) -> None:
    bench = stackadapt(store, clock)
    bench.append([enters("ada")])
    bench.flush()
    unknown = {"errors": [{"message": 'Cannot query field "upsertProfiles" on type "Mutation".'}]}
    bench.fault(kind="status", status=400, json=unknown)
    bench.append([enters("bob")])
    bench.flush()

    assert hold_of(bench).startswith("request not understood")
    assert bench.status().counters["waiting"] == 1


def test_a_limit_of_profiles_is_learned(store: Store, clock: Clock) -> None:
    bench = stackadapt(store, clock, StackAdaptSwitches(max_profiles=4))
    bench.append([enters(f"p{n}") for n in range(10)])
    bench.flush()

    assert len(bench.members()) == 10
    assert bench.edges.lanes.notes(["working_size"]) == {"working_size": "3"}
    assert bench.status().counters["buried"] == 0


@pytest.mark.parametrize("throttled_as", ["status_429", "errors"])
def test_a_throttled_request_holds_the_credential(store: Store, clock: Clock, throttled_as: Any) -> None:
    bench = stackadapt(store, clock, StackAdaptSwitches(rate_limit=1, throttled_as=throttled_as))
    bench.append([enters("ada")])
    bench.flush()

    hold = bench.edges.limits.held()
    assert hold is not None
    assert hold.until_ms is not None
    assert hold.until_ms - clock() == 19_000


def test_an_expired_token_holds_the_destination(store: Store, clock: Clock) -> None:
    bench = stackadapt(store, clock, StackAdaptSwitches(expired_tokens=frozenset({"token"})))
    bench.append([enters("ada")])
    bench.flush()

    assert hold_of(bench).startswith("token expired: ask StackAdapt")
