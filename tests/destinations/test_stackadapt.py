"""What is StackAdapt's own: its rows, its properties, and when their mapping is sent."""

import json
from itertools import accumulate
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from sandbox.app import Sandbox
from sandbox.stackadapt_access import StackAdaptSwitches
from tests.conftest import Clock
from tests.destinations.conftest import HOST, enters, leaves
from tests.destinations.stackadapt_talk import (
    OK,
    answer,
    bodies_for,
    carry,
    counted,
    destination,
    hold_of,
    mapping_of,
    named,
    properties_of,
    reconfigured,
    rows_for,
    settings_of,
    stackadapt,
    talk,
)
from worker.batching import fold
from worker.contract import Change, Identifier, LaneKey, encode, stamped
from worker.destinations.base import ConsentReading, Receipt, Request, Response
from worker.destinations.stackadapt import StackAdapt
from worker.destinations.stackadapt_mapping import RESERVED
from worker.store.store import Store

AWKWARD = 'O\'Neill "the" \\ \n\t{} $x 🎈 \\u0041'
DAY = 24 * 60 * 60
PLAN = {"name": "plan", "type": "STRING", "path": "traits.plan"}

# ── Rows ─────────────────────────────────────────────────────────────────────────────────────────


def test_values_travel_as_variables_and_the_documents_are_constant() -> None:
    one, other = bodies_for(named("ada", first_name=AWKWARD)), bodies_for(named("bob"))

    assert [body["query"] for body in one] == [body["query"] for body in other]
    assert all(set(body) == {"query", "variables"} for body in one)
    assert rows_for(named("ada", first_name=AWKWARD))[0]["first_name"] == AWKWARD


def test_who_leaves_stands_before_who_enters() -> None:
    rows = rows_for(named("ada"), named("bob", entered=False))

    assert [(row["email"], row["action"]) for row in rows] == [
        ("bob@example.com", "exit"),
        ("ada@example.com", "enter"),
    ]
    assert {(row["audienceId"], row["audienceName"]) for row in rows} == {("aud_1", "vip")}


def test_no_value_of_a_row_is_empty_but_false_and_zero_are_values() -> None:
    (row,) = rows_for(named("ada", plan="", active=False, score=0))

    assert {name: row.get(name) for name in ("plan", "active", "score")} == {"plan": None, "active": False, "score": 0}


def test_each_email_of_a_person_is_a_row() -> None:
    both = (Identifier("email", "ada@example.com"), Identifier("email", "ada@example.org"))

    rows = rows_for(Change(entered=False, occurred_at=0, identifiers=both))

    assert [row["email"] for row in rows] == ["ada@example.com", "ada@example.org"]


def test_a_property_may_not_take_the_place_of_the_relays_own_keys() -> None:
    rows = rows_for(named("ada", email="other@example.com", action="exit", audienceId="x"))

    assert [(row["email"], row["action"], row["audienceId"]) for row in rows] == [("ada@example.com", "enter", "aud_1")]


def test_awkward_values_arrive(store: Store, clock: Clock) -> None:
    bench = stackadapt(store, clock, properties=[PLAN | {"name": AWKWARD}])
    properties: dict[str, Any] = {"first_name": AWKWARD, AWKWARD: AWKWARD}
    bench.append([named("ada", **properties)], AWKWARD)
    bench.flush()

    assert bench.members(AWKWARD) == {"ada@example.com"}
    assert properties_of(bench, "ada") == properties


def test_properties_are_merged_and_the_newest_change_decides_who_is_in(store: Store, clock: Clock) -> None:
    """Also when the newest says less, leaves, and came first."""
    bench = stackadapt(store, clock, properties=[PLAN])
    leaving = named("ada", entered=False, at=3, city="Rome")
    older = [named("ada", at=1, city="Oslo", plan="free"), named("ada", at=2, plan="pro")]
    bench.append([enters("bob"), leaving, *older])
    bench.flush()

    assert bench.members() == {"bob@example.com"}
    assert properties_of(bench, "ada") == {"city": "Rome", "plan": "pro"}


def test_who_leaves_brings_properties_and_loses_none(store: Store, clock: Clock) -> None:
    bench = stackadapt(store, clock)
    bench.append([named("ada", city="Oslo", country="Norway")])
    bench.flush()
    bench.append([named("ada", entered=False, at=1, city="Rome")])
    bench.flush()

    assert bench.members() == set()
    assert properties_of(bench, "ada") == {"city": "Rome", "country": "Norway"}


@pytest.mark.parametrize("sync_id", ["same_content", "any_content", "ignored"])
def test_the_same_changes_sent_again_are_not_taken_for_a_repetition(store: Store, clock: Clock, sync_id: Any) -> None:
    bench = stackadapt(store, clock, StackAdaptSwitches(sync_id=sync_id))
    ada = {"ada@example.com"}
    for change, members in ((enters("ada"), ada), (leaves("ada"), set()), (enters("ada"), ada)):
        bench.append([change])
        bench.flush()

        assert bench.members() == members


def test_the_largest_batch_makes_a_request_that_segment_might_have_made() -> None:
    """At most 1,000 events or 4 MB: nothing is known of the vendor's own limit."""
    changes = [named(f"person{number}", plan='"\\"' * 300, city="\n" * 200) for number in range(1_000)]
    sizes = list(accumulate(len(stamped(0, encode(change))) for change in changes))
    fitting = sum(size <= StackAdapt.max_bytes for size in sizes)

    body = bodies_for(*changes[:fitting])[1]

    assert fitting > 500
    assert len(json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()) <= 4 * 1024 * 1024


def test_audiences_may_be_told_by_their_names(store: Store, clock: Clock) -> None:
    bench = stackadapt(store, clock, StackAdaptSwitches(membership_key="name"))
    bench.append([named("ada"), named("bob"), named("bob", entered=False, at=1)], "aud_1")
    bench.flush()

    assert bench.members("vip") == {"ada@example.com"}


NAMES = st.text(min_size=1)
VALUES = st.text() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)


@given(properties=st.dictionaries(NAMES, VALUES, max_size=4), audience=NAMES, entered=st.booleans())
def test_no_name_or_value_makes_a_request_that_the_schema_forbids(
    properties: dict[str, Any], audience: str, *, entered: bool
) -> None:
    custom = [{"name": name, "type": "STRING", "path": "x"} for name in properties if _is_allowed(name)]
    made = destination(properties=custom)
    who = (Identifier("email", "ada@example.com"),)
    change = Change(entered, occurred_at=0, identifiers=who, properties=properties)
    sandbox = Sandbox()

    receipt = talk(made.converse(fold(LaneKey("stack", audience), "b1", [change], made.vendor_form), {}), sandbox)

    assert receipt == Receipt()
    assert {tuple(people) for people in sandbox.stackadapt.members().values()} == {("ada@example.com",) * entered}


def _is_allowed(name: str) -> bool:
    return bool(name.strip()) and name not in RESERVED


# ── Properties and their mapping ─────────────────────────────────────────────────────────────────


def test_the_mapping_is_complete_whatever_the_batch_holds() -> None:
    mapping = mapping_of(properties=[PLAN, {"name": "city", "type": "NUMBER", "path": "x"}])["mappingSchemaV2"]

    keys = [field["incomingKey"] for field in mapping]
    assert len(keys) == len(set(keys))
    assert {"email", "first_name", "birth_date", "plan", "city"} <= set(keys)
    assert all(set(f) == {"incomingKey", "destinationKey", "label", "type", "isPii"} for f in mapping)
    assert {f["incomingKey"]: f["type"] for f in mapping if f["type"] != "STRING"} == {
        "city": "NUMBER",
        "birth_date": "DATE",
    }


def test_what_is_personal_is_marked() -> None:
    custom = [
        PLAN,
        {"name": "spouse", "type": "STRING", "path": "x", "personal": True},
        {"name": "phone", "type": "STRING", "path": ["traits.mobile", "traits.phone"]},
        {"name": "last_name", "type": "STRING", "path": "x", "personal": False},
    ]

    mapping = mapping_of(properties=custom)["mappingSchemaV2"]

    assert {field["incomingKey"] for field in mapping if field["isPii"]} == {
        "email", "first_name", "phone", "address", "birth_date", "spouse",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("loyalty_tier", "Loyalty Tier"),
        ("__x__", "X"),
        ("camelCase", "CamelCase"),
        ("日本 a.b", "日本 a.b"),
        ("_", "_"),
    ],
)
def test_any_name_is_taken_and_has_a_label(name: str, label: str) -> None:
    field = mapping_of(properties=[PLAN | {"name": name}])["mappingSchemaV2"][-1]

    assert (field["incomingKey"], field["destinationKey"], field["label"]) == (name, name, label)


@pytest.mark.parametrize(("status", "opted_in"), [("indeterminate", False), ("opted_in", True)])
def test_the_marketing_status_is_constant(status: str, *, opted_in: bool) -> None:
    assert mapping_of(marketing_status=status)["isOptedIn"] is opted_in


@pytest.mark.parametrize(
    ("properties", "place", "says"),
    [
        ([PLAN | {"name": "action"}], (0, "name"), "must be none of"),
        ([PLAN | {"name": " "}], (0, "name"), "must not be blank"),
        ([PLAN | {"type": "LIST"}], (0, "type"), "STRING"),
        ([PLAN | {"path": []}], (0, "path"), "at least 1"),
        ([PLAN | {"path": ["traits.plan", ""]}], (0, "path", 1), "at least 1"),
        ([PLAN | {"path": 5}], (0, "path"), "a list of paths"),
        ([PLAN, PLAN | {"path": "properties.plan"}], (), "two of them have the same name"),
    ],
)
def test_a_property_that_makes_no_sense_is_a_mistake(properties: object, place: tuple[object, ...], says: str) -> None:
    with pytest.raises(ValidationError) as caught:
        settings_of(properties=properties)

    (mistake,) = caught.value.errors()
    assert mistake["loc"] == ("properties", *place)
    assert says in mistake["msg"]


def test_a_property_is_looked_for_at_one_path_or_at_several() -> None:
    several = {"name": "city", "type": "STRING", "path": ["traits.town", "traits.city"]}

    paths = {each.name: each.paths for each in settings_of(properties=[PLAN, several]).reading().properties}

    assert paths["plan"] == ("traits.plan",)
    assert paths["city"] == ("traits.town", "traits.city")
    assert paths["first_name"] == ("traits.first_name", "properties.first_name")


@pytest.mark.parametrize(
    ("status", "stated", "same"),
    [
        ("opted_in", "Opted-in", True),
        ("opted_in", "OPTED_IN", True),
        ("opted_in", True, True),
        ("opted_in", "Indeterminate", False),
        ("opted_in", "Opted-out", False),
        ("opted_in", False, False),
        ("indeterminate", " Indeterminate ", True),
        ("indeterminate", "Opted-in", False),
        ("indeterminate", True, False),
        ("indeterminate", False, False),
        ("indeterminate", "suppressed", False),
    ],
)
def test_which_statements_of_consent_mean_the_configured_one(status: str, stated: object, *, same: bool) -> None:
    consent = settings_of(marketing_status=status).reading().consent

    assert consent is not None
    assert (ConsentReading.folded(stated) in consent.spellings) is same


def test_where_consent_may_be_stated_can_be_configured() -> None:
    usual, own = (
        settings_of().reading().consent,
        settings_of(marketing_status_paths=["traits.consent"]).reading().consent,
    )

    assert usual is not None
    assert own is not None
    assert usual.paths == (
        "traits.marketing_status",
        "properties.marketing_status",
        "context.traits.marketing_status",
    )
    assert own.paths == ("traits.consent",)


# ── When the mapping is sent ─────────────────────────────────────────────────────────────────────


def test_the_mapping_goes_before_the_first_profiles_and_then_no_more(store: Store, clock: Clock) -> None:
    bench = stackadapt(store, clock)
    for number in range(3):
        bench.append([enters(f"p{number}")], f"audience {number % 2}")
        bench.flush()

    assert bench.members("audience 0") == {"p0@example.com", "p2@example.com"}
    assert bench.requests("graphql") == 4
    assert counted(bench, "rows_without_email") == 0


def test_the_mapping_is_sent_again_after_the_set_time(store: Store, clock: Clock) -> None:
    bench = stackadapt(store, clock, mapping_refresh_hours=2)
    for hours, requests in ((0, 2), (1.9, 3), (0.2, 5), (1, 6)):
        clock.advance(seconds=hours * 3600)
        bench.append([enters("ada")])
        bench.flush()

        assert bench.requests("graphql") == requests


def test_older_lanes_do_not_bring_the_mapping_back() -> None:
    """Of two lanes whose heads lie further apart than the mapping lasts, flushed in turns."""
    made, hour, notes = destination(mapping_refresh_hours=1), 3_600_000, dict[str, str]()
    requests: list[Request] = []

    def send(request: Request) -> Response:
        requests.append(request)
        return answer(OK)

    sent: list[int] = []
    for at in (1, 9, 1, 9, 2, 10):
        requests.clear()
        batch = fold(LaneKey("stack", "vip"), "b1", [enters("ada")], made.vendor_form, at_ms=at * hour)
        carry(made.converse(batch, notes), send)
        sent.append(len(requests))

    assert sent == [2, 2, 1, 1, 1, 2]


def test_a_mapping_that_has_changed_is_sent_before_the_next_profiles(store: Store, clock: Clock) -> None:
    bench = stackadapt(store, clock)
    bench.append([named("ada", plan="pro")])
    bench.flush()
    bench = reconfigured(bench, store, properties=[PLAN], marketing_status="opted_in")
    bench.append([named("bob", plan="pro")])
    bench.flush()

    assert properties_of(bench, "ada") == {}
    assert properties_of(bench, "bob") == {"plan": "pro"}
    assert bench.sandbox.stackadapt.profiles("2029")["bob@example.com"].opted_in
    assert bench.requests("graphql") == 4


def test_another_api_url_has_seen_no_mapping_yet(store: Store, clock: Clock) -> None:
    made, other = destination(), destination(api_url=f"{HOST}/elsewhere")
    batch = fold(LaneKey("stack", "vip"), "b1", [enters("ada")], made.vendor_form, at_ms=1)
    notes: dict[str, str] = {}
    carry(made.converse(batch, notes), lambda _: answer(OK))

    first = next(other.converse(batch, notes))

    assert b"upsertProfileMapping" in first.content


def test_a_batch_of_which_nobody_says_when_it_came_repeats_no_mapping(store: Store, clock: Clock) -> None:
    bench = stackadapt(store, clock)
    bench.append([enters("ada")])
    bench.flush()
    made = bench.edges.destination
    notes = bench.edges.lanes.notes(made.note_keys(LaneKey("shop", "vip")))
    batch = fold(LaneKey("shop", "vip"), "b2", [leaves("ada")], made.vendor_form)

    first = next(made.converse(batch, notes))

    assert b"upsertProfiles" in first.content


def test_a_mapping_of_unknown_outcome_is_sent_again(store: Store, clock: Clock) -> None:
    """Even if the settings are as before: the vendor may hold the other one."""
    bench = stackadapt(store, clock)
    bench.append([named("ada", plan="pro")])
    bench.flush()
    bench = reconfigured(bench, store, properties=[PLAN])
    bench.fault(kind="reset_after")
    bench.append([named("bob", plan="pro")])
    bench.flush()
    assert hold_of(bench).startswith("connection lost")
    bench = reconfigured(bench, store)
    bench.flush()

    assert bench.members() == {"ada@example.com", "bob@example.com"}
    assert properties_of(bench, "bob") == {}


def test_nobody_is_sent_under_a_mapping_that_was_refused(store: Store, clock: Clock) -> None:
    bench = stackadapt(store, clock)
    refused = {"data": OK["data"] | {"upsertProfileMapping": {"userErrors": [{"message": "plan is taken"}]}}}
    bench.fault(kind="status", status=200, json=refused)
    bench.append([enters("ada")])
    bench.flush()

    assert hold_of(bench).startswith("mapping refused: plan is taken; check")
    assert bench.status().counters["waiting"] == 1
    assert bench.requests("graphql") == 1


def test_under_an_older_mapping_a_profile_loses_a_property_and_no_membership(store: Store, clock: Clock) -> None:
    """The vendor applies mappings later; nothing tells when. That is where the relay's care ends."""
    bench = stackadapt(store, clock)
    bench.append([enters("ada")])
    bench.flush()
    bench.sandbox.stackadapt.switches = StackAdaptSwitches(mapping_delay_seconds=60)
    bench = reconfigured(bench, store, properties=[PLAN])
    bench.append([named("bob", plan="pro")])
    bench.flush()

    assert bench.members() == {"ada@example.com", "bob@example.com"}
    assert properties_of(bench, "bob") == {}
    assert counted(bench, "fields_lost_to_an_older_mapping") == 1


# ── Emails that no profile can have ──────────────────────────────────────────────────────────────


def test_an_email_without_a_top_level_domain_is_refused_and_not_sent(store: Store, clock: Clock) -> None:
    bench = stackadapt(store, clock)
    nobody = Change(entered=True, occurred_at=0, identifiers=(Identifier("email", "joe@example"),))

    bench.append([enters("jane"), nobody])
    bench.flush()

    assert bench.members() == {"jane@example.com"}
    [letter] = list(bench.edges.dead_letters)
    assert (letter.change, letter.reason) == (nobody, "no top-level domain")


def test_a_batch_of_such_emails_alone_asks_nothing(store: Store, clock: Clock) -> None:
    bench = stackadapt(store, clock)
    bench.append([enters("jane")])
    bench.flush()
    asked = bench.requests("graphql")

    bench.append([Change(entered=False, occurred_at=0, identifiers=(Identifier("email", "joe@example"),))])
    bench.flush()

    assert bench.requests("graphql") == asked
    assert bench.status().counters["buried"] == 1
