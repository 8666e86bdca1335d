"""Which destinations get a change for a membership, in which lane, and with what."""

import json
from collections import Counter
from collections.abc import Mapping
from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr, ValidationError

from producers import segment
from producers.properties import PropertyReader
from producers.routing import Routed, Router
from producers.segment import Erasure, Membership, Refusal, SourceEvent, parse
from worker.contract import Change, Identifier, LaneKey, Waiting, decode, encode, stamped
from worker.destinations.base import DestinationSettings, PropertyReading
from worker.destinations.criteo import CriteoSettings
from worker.destinations.stackadapt import CustomProperty, StackAdaptSettings
from worker.destinations.taboola import TaboolaSettings

SHA256 = "973dfe463ec85785f5f95af5ba3906eedb2d931c24e69824a89ea65dba4e813b"
STAMP = 1_795_000_000_000
IOS = "EA7583CD-A667-48BC-B806-42ECB2B48606"
EMAIL = Identifier("email", "jane@example.com")
DEVICE = Identifier("device", IOS)


def criteo(**keys: Any) -> CriteoSettings:
    secret = SecretStr("s")
    keys = {"name": "criteo", "advertiser_id": "4711", "client_id": "c", "client_secret": secret, **keys}
    return CriteoSettings(kind="criteo", **keys)


def taboola(**keys: Any) -> TaboolaSettings:
    secret = SecretStr("s")
    keys = {"name": "taboola", "account_id": "acme", "client_id": "c", "client_secret": secret, **keys}
    return TaboolaSettings(kind="taboola", **keys)


def stackadapt(**keys: Any) -> StackAdaptSettings:
    keys = {"name": "stackadapt", "api_token": SecretStr("t"), "advertiser_id": "777", **keys}
    return StackAdaptSettings(kind="stackadapt", **keys)


def membership(event: Mapping[str, Any] | None = None, **parts: Any) -> Membership:
    """Jane enters "vip"; `parts` are members of her event's properties."""
    whole = event or {
        "type": "track",
        "messageId": "m-1",
        "properties": {"audience_key": "vip", "vip": True, "email": "jane@example.com", **parts},
    }
    found = parse(whole, received_at=1_000)
    assert isinstance(found, Membership)
    return found


def with_personas(**parts: Any) -> Membership:
    return membership(
        {
            "type": "track",
            "properties": {"audience_key": "vip", "vip": True, "email": "jane@example.com"},
            "context": {"personas": parts},
        }
    )


def route(found: Membership, *destinations: DestinationSettings) -> list[Routed]:
    routed = Router(destinations).route(found)
    assert isinstance(routed, list)
    return routed


def lanes(found: Membership, *destinations: DestinationSettings) -> list[LaneKey]:
    return [lane for lane, _ in route(found, *destinations)]


def changes(found: Membership, *destinations: DestinationSettings) -> list[Change]:
    return [change for _, change in route(found, *destinations)]


# ── Which destinations ───────────────────────────────────────────────────────────────────────────


def test_each_destination_gets_one_change_in_its_lane() -> None:
    found = lanes(membership(), criteo(), taboola(), stackadapt())

    assert found == [LaneKey("criteo", "vip"), LaneKey("taboola", "vip"), LaneKey("stackadapt", "vip")]


def test_a_change_says_what_the_membership_says() -> None:
    (change,) = changes(membership(), criteo())

    assert change == Change(entered=True, occurred_at=1_000, identifiers=(EMAIL,), message_id="m-1")


def test_a_destination_takes_the_audiences_that_its_patterns_match() -> None:
    destinations = [
        criteo(name="exact", audiences=("vip",)),
        criteo(name="prefix", audiences=("churn", "v*")),
        criteo(name="other", audiences=("vip?", "VIP", "[!v]ip")),
    ]

    assert lanes(membership(), *destinations) == [LaneKey("exact", "vip"), LaneKey("prefix", "vip")]


def test_an_audience_that_no_destination_takes_is_refused() -> None:
    assert Router([criteo(audiences=("churn",))]).route(membership()) == Refusal("unrouted")
    assert Router([]).route(membership()) == Refusal("unrouted")


def test_patterns_are_compared_with_the_key_not_with_the_name_at_the_vendor() -> None:
    names = taboola(audiences=("vip",), audience_identifier="audience_name", audience_names={"vip": "Best"})

    assert lanes(membership(), names) == [LaneKey("taboola", "Best")]


# ── Which lane ───────────────────────────────────────────────────────────────────────────────────

BY_ID = taboola(audience_identifier="external_audience_id")
BY_NAME = taboola(audience_identifier="audience_name", audience_names={"churn": "Churn"})


@pytest.mark.parametrize("external_id", ["1234567", 1234567, " 1234567 ", "01234567", 1234567.0])
def test_an_external_id_is_a_whole_number_and_one_lane_however_it_is_written(external_id: object) -> None:
    found = lanes(with_personas(external_audience_id=external_id), BY_ID)

    assert found == [LaneKey("taboola", "1234567")]


@pytest.mark.parametrize(
    "unusable", [None, "", "  ", "abc", "-5", -5, 1.5, True, "1" * 20, int("9" * 4000), ["49"], {"id": "49"}]
)
def test_an_event_without_a_usable_external_id_is_refused(unusable: object) -> None:
    found = membership()
    found.tree["context"] = {"personas": {"external_audience_id": unusable}}

    assert Router([BY_ID]).route(found) == Refusal("audience")


def test_an_event_without_a_context_has_no_external_id() -> None:
    assert Router([BY_ID]).route(membership()) == Refusal("audience")


def test_an_audience_that_is_not_in_the_list_of_names_is_refused() -> None:
    assert Router([BY_NAME]).route(membership()) == Refusal("audience")


def test_stackadapt_knows_an_audience_by_its_computation_id_and_labels_it_with_the_key() -> None:
    ((lane, change),) = route(with_personas(computation_id="aud_1"), stackadapt())

    assert lane == LaneKey("stackadapt", "aud_1")
    assert change.audience_name == "vip"


@pytest.mark.parametrize("missing", [None, "", 1.5, [], {}])
def test_stackadapt_falls_back_to_the_key_where_there_is_no_computation_id(missing: object) -> None:
    assert lanes(with_personas(computation_id=missing), stackadapt()) == [LaneKey("stackadapt", "vip")]


# ── Which identifiers ────────────────────────────────────────────────────────────────────────────


def test_a_destination_gets_the_types_of_identifier_that_it_can_use() -> None:
    found = changes(membership(ios_id=IOS), criteo(), taboola(), stackadapt())

    assert [change.identifiers for change in found] == [(EMAIL,), (EMAIL, DEVICE), (EMAIL,)]


def test_an_event_that_only_some_can_use_goes_to_those() -> None:
    assert lanes(membership(email=None, ios_id=IOS), criteo(), taboola()) == [LaneKey("taboola", "vip")]


def test_an_md5_is_of_use_only_where_the_vendor_knows_it() -> None:
    hashed = membership(email="b58996c504c5638798eb6b511e6f49af")

    assert lanes(hashed, criteo(), taboola(), stackadapt()) == [LaneKey("criteo", "vip")]


def test_a_hashed_email_is_of_no_use_where_addresses_are_needed() -> None:
    hashed = membership(email=SHA256)

    assert lanes(hashed, criteo(), stackadapt()) == [LaneKey("criteo", "vip")]
    assert Router([stackadapt()]).route(hashed) == Refusal("identifier")


def test_an_event_without_an_identifier_is_refused() -> None:
    assert Router([criteo(), taboola()]).route(membership(email="not an email")) == Refusal("identifier")


def test_the_identifier_is_the_reason_when_it_is_the_obstacle_anywhere() -> None:
    hashed = membership(email=SHA256)

    assert Router([BY_NAME, stackadapt()]).route(hashed) == Refusal("identifier")
    assert Router([BY_NAME]).route(hashed) == Refusal("audience")


# ── Which properties ─────────────────────────────────────────────────────────────────────────────


def test_standard_properties_stand_in_traits_or_properties_and_the_user_id_at_the_top() -> None:
    event = {
        "type": "identify",
        "userId": "u-1",
        "anonymousId": "a-1",
        "traits": {
            "vip": True,
            "email": "jane@example.com",
            "first_name": " Jane ",
            "city": "",
            "street": "1 Main St",
            "phone": 15550109999,
            "birthday": "1990-06-15T00:00:00.000+02:00",
        },
        "properties": {"first_name": "Other", "city": "Toronto"},
        "context": {"personas": {"computation_key": "vip"}},
    }

    (change,) = changes(membership(event), stackadapt())

    assert change.properties == {
        "userId": "u-1",
        "first_name": "Jane",
        "phone": "15550109999",
        "address": "1 Main St",
        "city": "Toronto",
        "birth_date": "1990-06-15",
    }


def test_the_anonymous_id_serves_where_there_is_no_user_id() -> None:
    (change,) = changes(membership({**membership().tree, "anonymousId": "a-1"}), stackadapt())

    assert change.properties == {"userId": "a-1"}


def test_configured_properties_are_read_at_their_path() -> None:
    plan = CustomProperty(name="plan", type="STRING", path="context.account.plan")
    event = {**membership().tree, "context": {"account": {"plan": "gold"}}}

    (change,) = changes(membership(event), stackadapt(properties=(plan,)))

    assert change.properties == {"plan": "gold"}


@pytest.mark.parametrize(
    ("type_", "value", "read"),
    [
        ("STRING", " gold\n", "gold"),
        ("STRING", 5, "5"),
        ("STRING", 4.5, "4.5"),
        ("STRING", 1e300, "1e+300"),
        ("STRING", True, "true"),
        ("STRING", False, "false"),
        ("NUMBER", 5, 5),
        ("NUMBER", -4.5, -4.5),
        ("NUMBER", " 12 ", 12),
        ("NUMBER", "-4.5e1", -45.0),
        ("NUMBER", 2**63 - 1, 2**63 - 1),
        ("BOOLEAN", True, True),
        ("BOOLEAN", False, False),
        ("BOOLEAN", "true", True),
        ("BOOLEAN", "false", False),
        ("DATE", "2024-01-31", "2024-01-31"),
        ("DATE", "2024-01-31T23:30:00-05:00", "2024-01-31"),
        ("DATE", " 2024-01-31 10:00:00 ", "2024-01-31"),
    ],
)
def test_a_value_that_fits_its_type_is_read(type_: Any, value: object, read: object) -> None:
    found = PropertyReader([PropertyReading("p", type_, ("p",))]).read({"p": value})["p"]

    assert found == read
    assert type(found) is type(read)


NOTHING: tuple[object, ...] = (None, "", [], {})


@pytest.mark.parametrize(
    ("type_", "value"),
    [
        *product(("STRING", "NUMBER", "BOOLEAN", "DATE"), NOTHING),
        ("STRING", "  "),
        ("STRING", float("nan")),
        ("STRING", float("inf")),
        ("STRING", int("9" * 4300)),
        ("NUMBER", "gold"),
        ("NUMBER", "1_000"),
        ("NUMBER", "0x10"),
        ("NUMBER", "1,5"),
        ("NUMBER", "nan"),
        ("NUMBER", "1e999"),
        ("NUMBER", "9" * 5000),
        ("NUMBER", 2**63),
        ("NUMBER", float("-inf")),
        ("NUMBER", True),
        ("BOOLEAN", 1),
        ("BOOLEAN", "yes"),
        ("DATE", 20240131),
        ("DATE", "2024-02-30"),
        ("DATE", "31/01/2024"),
        ("DATE", True),
    ],
)
def test_a_value_that_does_not_fit_loses_the_property_and_not_the_change(type_: Any, value: object) -> None:
    plan = CustomProperty(name="p", type=type_, path="traits.p")
    found = membership()
    found.tree["traits"] = {"p": value}

    (change,) = changes(found, stackadapt(properties=(plan,)))

    assert change.properties == {}


def test_the_next_path_is_tried_where_a_value_does_not_fit() -> None:
    reader = PropertyReader([PropertyReading("n", "NUMBER", ("a.n", "b.n", "c.d.n"))])

    assert reader.read({"a": {"n": "x"}, "b": {"n": 2}, "c": {"d": {"n": 3}}}) == {"n": 2}
    assert reader.read({"a": [], "b": "n", "c": {"d": {"n": 3}}}) == {"n": 3}


# ── Mappings ─────────────────────────────────────────────────────────────────────────────────────


def routed_by(tree: Mapping[str, Any], *destinations: DestinationSettings) -> tuple[list[str] | str, dict[Any, int]]:
    """Each change as `destination/audience` with "+" or "-", or why there is none; and what was left out."""
    left_out: Counter[tuple[str, str]] = Counter()
    decoded = segment.decode({"type": "track", **tree}, received_at=1_000)
    assert isinstance(decoded, SourceEvent)
    routed = Router(destinations).route_event(decoded, left_out)
    if isinstance(routed, Refusal):
        return routed.reason, dict(left_out)
    return [f"{lane.destination}/{lane.audience}{'-+'[change.entered]}" for lane, change in routed], dict(left_out)


ROW: dict[str, Any] = {
    "event": "new",
    "properties": {"audience_key": "vip", "segment": "gold", "email": "jane@example.com"},
}


def test_destinations_may_read_one_event_differently() -> None:
    other = taboola(mapping={"audience": "properties.segment", "events": {"new": "leave"}})

    assert routed_by(ROW, criteo(), other) == (["criteo/vip+", "taboola/gold-"], {})


def test_a_destination_gets_the_events_alone_that_its_mapping_counts() -> None:
    entering = criteo(mapping={"when": {"event": "Audience Entered"}})

    assert routed_by(ROW, entering, taboola()) == (["taboola/vip+"], {})
    assert routed_by(ROW, entering) == ("unwanted", {})
    assert routed_by(ROW, entering, taboola(audiences=("churn",))) == ("unrouted", {})
    assert routed_by({**ROW, "event": "Audience Entered"}, entering) == (["criteo/vip+"], {})


@pytest.mark.parametrize(
    ("mapping", "reason"),
    [
        ({"audience": "properties.nothing"}, "audience"),
        ({"events": {"Joined": "enter"}}, "direction"),
        ({"timestamp": "properties.segment"}, "timestamp"),
    ],
)
def test_what_one_destination_cannot_read_another_gets(mapping: dict[str, Any], reason: str) -> None:
    blind = criteo(mapping=mapping)

    assert routed_by(ROW, blind, taboola()) == (["taboola/vip+"], {("criteo", reason): 1})
    assert routed_by(ROW, blind) == (reason, {})


def test_an_event_about_an_audience_of_others_is_nothing_that_a_destination_lacks() -> None:
    blind = criteo(mapping={"events": {"Joined": "enter"}}, audiences=("gold",))

    assert routed_by(ROW, blind, taboola()) == (["taboola/vip+"], {})


def test_the_reason_to_look_at_first_is_told_where_no_destination_can_use_an_event() -> None:
    nobody = {**ROW, "properties": {"audience_key": "vip"}}

    assert routed_by(nobody, criteo(mapping={"events": {}}), taboola()) == ("identifier", {})
    assert routed_by(ROW, criteo(mapping={"events": {}}), taboola(mapping={"when": {"exists": "a"}})) == (
        "direction",
        {},
    )


def test_the_id_of_an_audience_may_stand_elsewhere() -> None:
    tree = {**ROW, "properties": {**ROW["properties"], "list": 17}}
    mapping = {"audience_id": ["properties.nothing", "properties.list"]}

    assert routed_by(tree, taboola(audience_identifier="external_audience_id", mapping=mapping))[0] == ["taboola/17+"]
    assert routed_by(tree, stackadapt(mapping=mapping))[0] == ["stackadapt/17+"]
    with pytest.raises(ValidationError, match="never read"):
        taboola(mapping=mapping)


def test_the_user_id_of_a_profile_stands_where_the_mapping_says() -> None:
    found = membership(customer="c-1")
    found.tree["userId"] = "u-1"

    (usual,) = changes(found, stackadapt())
    (other,) = changes(found, stackadapt(mapping={"user_id": ["properties.nothing", "properties.customer"]}))

    assert (usual.properties, other.properties) == ({"userId": "u-1"}, {"userId": "c-1"})


def test_an_account_is_left_to_a_destination_that_counts_the_event() -> None:
    properties = {"audience_key": "vip", "vip": True, "email": "jane@example.com"}
    tree = {
        "event": "new",
        "properties": properties,
        "context": {"personas": {"audience_settings": {"account_id": "third"}}},
    }
    deaf = taboola(name="deaf", mapping={"when": {"event": "Audience *"}})

    assert routed_by(tree, deaf, taboola(account_id="other"))[0] == ["taboola/@third/vip+"]
    assert routed_by({**tree, "event": "Audience Entered"}, deaf, taboola(account_id="other"))[0] == [
        "deaf/@third/vip+"
    ]


def test_a_property_may_have_a_dot_in_its_name() -> None:
    plan = CustomProperty(name="plan", type="STRING", path=r"properties.current\.plan")

    found = membership()
    found.tree["properties"]["current.plan"] = "gold"
    (change,) = changes(found, stackadapt(properties=(plan,)))

    assert change.properties == {"plan": "gold"}


# ── Whatever comes ───────────────────────────────────────────────────────────────────────────────

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
PLACES = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(("first_name", "birthday", "phone", "score", "active"), JSON),
        "email": st.just("jane@example.com") | JSON,
        "ios_id": st.just(IOS) | JSON,
    },
)
PERSONAS = st.fixed_dictionaries(
    {"computation_key": st.text(min_size=1)},
    optional={"computation_id": JSON, "external_audience_id": st.just("49") | JSON},
)
PROPERTIES = (
    CustomProperty(name="score", type="NUMBER", path="traits.score"),
    CustomProperty(name="active", type="BOOLEAN", path="traits.active"),
)
ROUTER = Router([criteo(), BY_ID, stackadapt(properties=PROPERTIES)])


@given(st.fixed_dictionaries({"properties": PLACES, "traits": PLACES, "personas": PERSONAS}, optional={"userId": JSON}))
def test_every_change_can_be_written_to_a_lane_and_read_again(parts: dict[str, Any]) -> None:
    event = {"type": "track", "event": "Audience Exited", "context": {"personas": parts.pop("personas")}, **parts}
    found = parse(json.dumps(event), received_at=1_000)

    assert not isinstance(found, Erasure)
    routed = ROUTER.route(found) if isinstance(found, Membership) else found
    decoded = segment.decode(json.dumps(event), received_at=1_000)
    assert routed == (ROUTER.route_event(decoded) if isinstance(decoded, SourceEvent) else decoded)

    if isinstance(routed, Refusal):
        assert routed.reason in {"json", "audience", "identifier"}
        return
    for lane, change in routed:
        assert LaneKey.from_member(lane.destination, lane.member) == lane
        assert decode([stamped(STAMP, encode(change))]) == [Waiting(STAMP, change)]
