"""What is StackAdapt's own."""

import json
from typing import Any

import pytest

from sandbox.app import Sandbox
from sandbox.stackadapt_access import StackAdaptSwitches
from tests.conftest import Clock
from tests.destinations.conftest import Bench, enters, leaves, open_bench
from worker.batching import fold
from worker.contract import Change, Identifier, LaneKey
from worker.destinations.base import Request, Response
from worker.destinations.stackadapt import StackAdapt, StackAdaptSettings
from worker.edges import probe
from worker.errors import DeliveryError, NeedsPerson, Refused, Throttled, TryLater
from worker.store.store import Store

AWKWARD = 'O\'Neill "the" \\ \n\t{} $x 🎈 \\u0041'


def stackadapt(store: Store, clock: Clock, switches: StackAdaptSwitches | None = None, **settings: Any) -> Bench:
    sandbox = Sandbox(stackadapt=switches, clock=lambda: clock() / 1000)
    return open_bench("stackadapt", store, clock, sandbox, **settings)


def destination(**settings: Any) -> StackAdapt:
    common = {"name": "stack", "kind": "stackadapt", "advertiser_id": "2029", "api_token": "token"}
    return StackAdapt(StackAdaptSettings.model_validate(common | settings))


def request_for(*changes: Change, **settings: Any) -> dict[str, Any]:
    """The body of the one request that the changes lead to."""
    made = destination(**settings)
    batch = fold(LaneKey("stack", "aud_1"), "b1", changes, made.vendor_form)
    body: dict[str, Any] = json.loads(next(made.converse(batch, {})).content)
    return body


def rows_of(body: dict[str, Any]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads(body["variables"]["profiles"]["profiles"])
    return rows


def named(who: str, *, entered: bool = True, at: int = 0, **properties: Any) -> Change:
    identifiers = (Identifier("email", f"{who}@example.com"),)
    return Change(entered, at, identifiers, audience_name="vip", properties=properties)


def test_values_travel_as_variables_and_the_document_is_constant() -> None:
    one, other = request_for(named("ada", first_name=AWKWARD)), request_for(named("bob"))

    assert one["query"] == other["query"]
    assert set(one) == {"query", "variables"}
    assert rows_of(one)[0]["first_name"] == AWKWARD


def test_who_leaves_stands_before_who_enters() -> None:
    rows = rows_of(request_for(named("ada"), named("bob", entered=False)))

    assert [(row["email"], row["action"]) for row in rows] == [
        ("bob@example.com", "exit"),
        ("ada@example.com", "enter"),
    ]
    assert {(row["audienceId"], row["audienceName"]) for row in rows} == {("aud_1", "vip")}


def test_the_mapping_is_complete_whatever_the_batch_holds() -> None:
    custom = [
        {"name": "plan", "type": "STRING", "path": "traits.plan"},
        {"name": "city", "type": "NUMBER", "path": "x"},
    ]

    mapping = request_for(named("ada"), properties=custom)["variables"]["profileMapping"]["mappingSchemaV2"]

    keys = [field["incomingKey"] for field in mapping]
    assert len(keys) == len(set(keys))
    assert {"email", "first_name", "birth_date", "plan", "city"} <= set(keys)
    assert all(set(f) == {"incomingKey", "destinationKey", "label", "type", "isPii"} for f in mapping)
    assert {f["type"] for f in mapping if f["incomingKey"] == "city"} == {"NUMBER"}


@pytest.mark.parametrize(("status", "opted_in"), [("indeterminate", False), ("opted_in", True)])
def test_the_marketing_status_is_constant(status: str, *, opted_in: bool) -> None:
    body = request_for(named("ada"), marketing_status=status)

    assert body["variables"]["profileMapping"]["isOptedIn"] is opted_in


def test_a_property_may_not_take_the_place_of_the_relays_own_keys() -> None:
    with pytest.raises(ValueError, match="must be none of"):
        destination(properties=[{"name": "action", "type": "STRING", "path": "traits.x"}])


def test_the_same_changes_sent_again_are_not_taken_for_a_duplicate(store: Store, clock: Clock) -> None:
    bench = stackadapt(store, clock, StackAdaptSwitches(sync_id_deduplicates=True))
    for change in (enters("ada"), leaves("ada"), enters("ada")):
        bench.append([change])
        bench.flush()

    assert bench.members() == {"ada@example.com"}


def test_awkward_values_arrive(store: Store, clock: Clock) -> None:
    bench = stackadapt(store, clock)
    bench.append([named("ada", first_name=AWKWARD)], AWKWARD)
    bench.flush()

    assert bench.members(AWKWARD) == {"ada@example.com"}


OK: dict[str, Any] = {
    "upsertProfileMapping": {"userErrors": []},
    "upsertExternalAudienceMapping": {"userErrors": []},
    "upsertProfiles": {"userErrors": []},
}


def answered(body: object, status: int = 200, changes: int = 3) -> Any:
    """What a conversation makes of one answer."""
    made = destination()
    batch = fold(LaneKey("stack", "aud_1"), "b1", [named(f"p{n}") for n in range(changes)], made.vendor_form)
    conversation = made.converse(batch, {})
    assert isinstance(next(conversation), Request)
    try:
        conversation.send(Response(status, json.dumps(body).encode()))
    except StopIteration as end:
        return end.value
    except DeliveryError as order:
        return order
    raise AssertionError("one request is all")


def test_a_user_error_belongs_to_the_profile_that_its_path_names() -> None:
    error = {"message": "email someone@example.com is invalid", "path": ["input", "profiles", "1", "email"]}

    receipt = answered({"data": OK | {"upsertProfiles": {"userErrors": [error]}}})

    assert receipt.refused == {Identifier("email", "p1@example.com"): "email … is invalid"}


@pytest.mark.parametrize("path", [None, ["input"], ["input", "profiles", "9"]])
def test_a_user_error_without_a_profile_refuses_them_all(path: object) -> None:
    error = {"message": "no", "path": path}

    assert isinstance(answered({"data": OK | {"upsertProfiles": {"userErrors": [error]}}}), Refused)


@pytest.mark.parametrize("field", ["upsertProfileMapping", "upsertExternalAudienceMapping"])
def test_a_refused_mapping_needs_a_person(field: str) -> None:
    order = answered({"data": OK | {field: {"userErrors": [{"message": "wrong advertiser"}]}}})

    assert isinstance(order, NeedsPerson)
    assert "wrong advertiser" in order.detail


@pytest.mark.parametrize(
    ("body", "status", "order"),
    [
        ({"errors": [{"message": "The access token expired"}], "data": None}, 200, NeedsPerson),
        ({"errors": [{"message": "Unauthenticated"}]}, 401, NeedsPerson),
        ({"errors": [{"message": "Request was throttled"}], "data": None}, 200, Throttled),
        ({"errors": [{"message": "Internal server error"}], "data": None}, 200, TryLater),
        ({"errors": [{"message": "Cannot query field"}]}, 400, Refused),
        ({"data": None}, 200, TryLater),
        ({"data": {"upsertProfiles": {"userErrors": []}}}, 200, TryLater),
        ({}, 502, TryLater),
    ],
)
def test_a_200_is_no_success_until_it_is_read(body: object, status: int, order: type[DeliveryError]) -> None:
    assert type(answered(body, status)) is order


def test_the_probe_tells_a_token_that_may_not_write(store: Store, clock: Clock) -> None:
    bench = stackadapt(store, clock, StackAdaptSwitches(read_only_advertisers=frozenset({"2029"})))

    with pytest.raises(NeedsPerson, match="WRITE"):
        probe(bench.edges)
