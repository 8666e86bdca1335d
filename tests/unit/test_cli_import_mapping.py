"""`import-mapping`: Segment's mappings as parts of a relay.toml, and what has no counterpart there."""

import json
import tomllib
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from cli.import_mapping import written
from cli.imported import NoMapping, translate
from cli.imported_fields import KINDS
from cli.main import main
from tests.golden.cases import cases
from tests.unit.test_mapping_directives import CONTEXT, EMAIL, if_
from worker.destinations import REGISTRY
from worker.destinations.mapping import MappingSettings
from worker.settings import load

KEYS: dict[str, dict[str, Any]] = {
    "criteo": {"advertiser_id": "4711", "client_id": "id", "client_secret": "secret"},
    "taboola": {"account_id": "account", "client_id": "id", "client_secret": "secret"},
    "stackadapt": {"advertiser_id": "2029", "api_token": "token"},
}
AUDIENCE = {"@path": "$.context.personas.computation_key"}
PARTS = if_({"@path": "$.properties"}, {"@path": "$.properties"}, {"@path": "$.traits"})


def imported(kind: str, document: Any) -> tuple[dict[str, Any], dict[str, Any], list[str]]:
    """The keys of the destination, its mapping, and what has no counterpart; all of it can be written and read."""
    found = translate(kind, document)
    table = tomllib.loads("\n".join(written(found)))
    mapping = table.pop("mapping", table.pop("destinations", {}).get("mapping", {}))
    assert (table, mapping) == (found.keys, found.mapping)
    MappingSettings.model_validate(mapping)
    settings = {"name": "shop", "kind": kind, "mapping": mapping} | KEYS[kind] | table
    REGISTRY[kind].Settings.model_validate(settings)
    return found.keys, found.mapping, found.remarks


def subscription(trigger: str | None = None, action: str | None = None, **mapping: Any) -> dict[str, Any]:
    return {"mapping": mapping, "subscribe": trigger, "action": action}


# ── The three destinations ───────────────────────────────────────────────────────────────────────


def test_criteos_two_actions_are_one_mapping_whose_events_say_the_direction() -> None:
    fields = {"audience_key": {"@path": "$.properties.list"}, "email": CONTEXT, "hash_emails": True}
    both = [
        subscription('type = "track" and event = "Joined"', "addUserToAudience", event={"@path": "$.event"}, **fields),
        subscription('type = "track" and event = "Left"', "removeUserFromAudience", **fields),
    ]

    assert imported("criteo", both) == (
        {"hash_emails": True},
        {
            "when": {"type": "track", "event": ["Joined", "Left"]},
            "entered": [],
            "events": {"Joined": "enter", "Left": "leave"},
            "audience": "properties.list",
            "email": "context.traits.email",
        },
        [],
    )


def test_of_devices_each_counts_where_segment_takes_the_first_and_that_is_told() -> None:
    ios, android = {"@path": "$.properties.ios_id"}, {"@path": "$.properties.android_id"}

    _, mapping, (remark,) = imported("taboola", {"device_id": if_(ios, ios, android)})

    assert mapping == {"device": ["properties.ios_id", "properties.android_id"]}
    assert remark.startswith(
        "device_id: Segment takes the first of properties.ios_id, properties.android_id; here each"
    )


@pytest.mark.parametrize(("constant", "text"), [(True, "true"), (5.0, "5"), (4711, "4711"), ("vip", "vip")])
def test_a_constant_audience_is_the_text_that_json_has_for_it(constant: Any, text: str) -> None:
    assert imported("criteo", {"audience_key": constant})[1] == {"audience": {"value": text}}


def test_the_usual_names_of_events_need_no_words() -> None:
    one = subscription('type = "track" and event = "Audience Entered"', "addUserToAudience", email=EMAIL)

    _, mapping, remarks = imported("criteo", one)

    assert mapping == {"when": {"type": "track", "event": "Audience Entered"}, "email": "traits.email"}
    assert remarks == []


@pytest.mark.parametrize(
    "triggers",
    [
        ('type = "identify"', 'type = "identify"'),
        ('event = "A"', 'event = "A"'),
        ('contains(event, "A")', 'event = "B"'),
        (None, None),
        ("properties.a >= 1", 'event = "B"'),
    ],
)
def test_where_only_the_action_says_the_direction_that_is_told(triggers: tuple[str | None, str | None]) -> None:
    both = [
        subscription(triggers[0], "addUserToAudience", email=EMAIL),
        subscription(triggers[1], "removeUserFromAudience", email=EMAIL),
    ]

    _, mapping, remarks = imported("criteo", both)

    assert "events" not in mapping
    assert any("say who does in events or entered" in each for each in remarks)


def test_taboolas_default_mapping_is_read_as_segment_does() -> None:
    fields: dict[str, Any] = {
        "external_audience_id": {"@path": "$.context.personas.external_audience_id"},
        "segment_computation_key": AUDIENCE,
        "segment_computation_action": {"@path": "$.context.personas.computation_class"},
        "user_email": if_(EMAIL, EMAIL, CONTEXT),
        "traits_or_props": PARTS,
        "device_id": if_({"@path": "$.properties.ios_id"}, {"@path": "$.properties.ios_id"}),
        "enable_batching": True,
        "batch_size": 1000,
    }

    assert imported("taboola", subscription('type = "track"', "syncAudience", **fields)) == (
        {},
        {
            "when": {"type": "track"},
            "audience": "context.personas.computation_key",
            "email": ["traits.email", "context.traits.email"],
            "device": "properties.ios_id",
        },
        [],
    )


def test_an_id_at_another_place_needs_taboolas_own_identifier() -> None:
    keys, mapping, remarks = imported("taboola", {"external_audience_id": {"@path": "$.properties.list"}})

    assert keys == {"audience_identifier": "external_audience_id"}
    assert mapping == {"audience_id": ["properties.list"]}
    assert remarks == []


def test_stackadapts_fields_are_properties_the_status_and_the_mapping() -> None:
    fields: dict[str, Any] = {
        "email": if_(EMAIL, EMAIL, {"@path": "$.properties.email"}),
        "user_id": if_({"@path": "$.userId"}, {"@path": "$.userId"}, {"@path": "$.anonymousId"}),
        "event_type": {"@path": "$.type"},
        "marketing_status": "Opted-in",
        "traits_or_props": {"@path": "$.traits"},
        "segment_computation_class": {"@path": "$.context.personas.computation_class"},
        "segment_computation_id": {"@path": "$.context.personas.computation_id"},
        "segment_computation_key": AUDIENCE,
        "standard_traits": {
            "first_name": {"@path": "$.traits.given_name"},
            "city": if_({"@path": "$.traits.city"}, {"@path": "$.traits.city"}, {"@path": "$.properties.city"}),
            "birth_day": {"@path": "$.traits.birth_day"},
            "birth_date": None,
        },
        "custom_properties_mode": "v2",
        "custom_user_properties": [{"name": "tier", "type": "STRING", "value": {"@path": "$.traits.tier"}}],
        "custom_traits": {"ignored": {"@path": "$.traits.tier"}},
    }

    keys, mapping, remarks = imported("stackadapt", subscription('type = "identify" or type = "track"', **fields))

    assert keys == {
        "marketing_status": "opted_in",
        "properties": [
            {"name": "first_name", "type": "STRING", "path": ["traits.given_name"]},
            {"name": "birth_day", "type": "NUMBER", "path": ["traits.birth_day"]},
            {"name": "tier", "type": "STRING", "path": ["traits.tier"]},
        ],
    }
    assert mapping == {
        "email": ["traits.email", "properties.email"],
        "entered": "traits.$audience",
        "audience": "context.personas.computation_key",
    }
    assert remarks == []


@pytest.mark.parametrize(
    ("kind", "mapping", "remark"),
    [
        ("criteo", {"email": "jane@example.com"}, "email: a constant for everybody has no counterpart"),
        ("criteo", {"audience_key": " "}, "audience_key: a blank constant names no audience"),
        ("criteo", {"hash_emails": EMAIL}, "hash_emails: hash_emails is true or false for everybody"),
        ("criteo", {"colour": "red"}, "colour: no field that is known of this destination"),
        ("taboola", {"segment_computation_action": "audience"}, "segment_computation_action: a constant for everybody"),
        ("taboola", {"segment_computation_action": EMAIL}, "segment_computation_action: the class is read at context."),
        ("taboola", {"traits_or_props": {"a": 1}}, "traits_or_props: a list or an object has no counterpart"),
        ("stackadapt", {"marketing_status": "Opted-out"}, "marketing_status: must be one of Opted-in, Indeterminate"),
        ("stackadapt", {"marketing_status": EMAIL}, "marketing_status: StackAdapt has one for everybody"),
        (
            "stackadapt",
            {"standard_traits": {"@path": "$.traits"}},
            "standard_traits: a directive in place of an object",
        ),
        ("stackadapt", {"standard_traits": {"city": "Berlin"}}, "standard_traits.city: a constant for everybody"),
        ("stackadapt", {"custom_traits": {"tier": EMAIL}}, "custom_traits.tier: Segment guesses its type; add it to"),
        ("stackadapt", {"custom_traits": {"tier": "x"}}, "custom_traits.tier: a constant for everybody"),
    ],
)
def test_a_field_without_a_counterpart_is_told_and_not_guessed(kind: str, mapping: dict[str, Any], remark: str) -> None:
    _, found, remarks = imported(kind, mapping)

    assert [each.startswith(remark) for each in remarks] == [True]
    assert found == {}


@pytest.mark.parametrize(
    ("table", "remark"),
    [
        ({"name": "x", "type": "OBJECT", "value": EMAIL}, "custom_user_properties.x: must be 'STRING', 'NUMBER'"),
        ({"name": "email", "type": "STRING", "value": EMAIL}, "custom_user_properties.email: must be none of action"),
        ({"name": "x", "type": "STRING", "value": "red"}, "custom_user_properties.x: a constant for everybody"),
        ({"name": "x", "type": "STRING", "value": None}, "custom_user_properties.x: "),
        ({"name": "x"}, "custom_user_properties.x: has no name, type and value"),
        ("x", "custom_user_properties.x: has no name, type and value"),
        ({"name": "tier", "type": "STRING", "value": EMAIL}, "custom_user_properties.tier: there is another of that"),
    ],
)
def test_a_property_that_cannot_be_one_is_told(table: Any, remark: str) -> None:
    good = {"name": "tier", "type": "NUMBER", "value": {"@path": "$.traits.tier"}}
    keys, _, remarks = imported("stackadapt", {"custom_properties_mode": "v2", "custom_user_properties": [good, table]})

    assert keys == {"properties": [{"name": "tier", "type": "NUMBER", "path": ["traits.tier"]}]}
    assert [each.startswith(remark) for each in remarks] == [True]


# ── The forms of a file ──────────────────────────────────────────────────────────────────────────


def test_a_mapping_may_stand_in_what_segments_api_answers() -> None:
    one = {
        "actionSlug": "syncAudience",
        "enabled": True,
        "trigger": 'type = "track"',
        "settings": {"user_email": EMAIL},
    }
    off = one | {"enabled": False, "settings": {"user_email": CONTEXT}}
    expected = imported("taboola", subscription('type = "track"', "syncAudience", user_email=EMAIL))

    for document in (one, [one], {"data": {"subscription": one}}, {"data": {"data": {"subscriptions": [off, one]}}}):
        assert imported("taboola", document) == expected


def test_fields_that_differ_from_subscription_to_subscription_are_told() -> None:
    both = [subscription('event = "A"', email=EMAIL), subscription('event = "B"', email=CONTEXT, hash_emails=False)]

    _, mapping, remarks = imported("criteo", both)

    assert mapping == {"when": {"event": ["A", "B"]}}
    assert [each.partition(":")[0] for each in remarks] == ["email", "hash_emails"]


def test_a_trigger_without_a_counterpart_is_told_and_no_part_of_it_taken() -> None:
    _, mapping, remarks = imported("taboola", subscription('type = "track" and properties.a >= 1', user_email=EMAIL))

    assert mapping == {"email": "traits.email"}
    assert remarks == ["trigger: properties.a >= … has no counterpart"]


def test_without_the_trigger_of_each_subscription_no_conditions_are_made() -> None:
    _, mapping, remarks = imported("criteo", [subscription('event = "A"', email=EMAIL), subscription(email=EMAIL)])

    assert (mapping, remarks) == ({"email": "traits.email"}, ["trigger: not every subscription has one"])


@pytest.mark.parametrize(
    "document", [None, 5, "text", [], [5], {"data": 5}, {"mapping": 5}, {"mapping": {}, "subscribe": 5}]
)
def test_a_file_without_a_mapping_is_a_failure(document: Any) -> None:
    with pytest.raises(NoMapping):
        translate("criteo", document)


@pytest.mark.parametrize("case", [case for case in cases().values() if case.op is None], ids=lambda case: case.name)
def test_every_mapping_that_segment_tests_becomes_one_that_can_be_used(case: Any) -> None:
    imported(case.kind, {"mapping": case.mapping})


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text(),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(["@path", "@if", "@literal", "name", "type", "value"]) | st.text(), inner, max_size=2
        )
    ),
    max_leaves=6,
)
NAMES = [
    "audience_key", "email", "hash_emails", "segment_computation_key", "external_audience_id", "traits_or_props",
    "user_email", "device_id", "segment_computation_id", "user_id", "marketing_status", "standard_traits",
    "custom_traits", "custom_user_properties",
]  # fmt: skip
VALUES = JSON | st.text().map(lambda path: {"@path": path}) | st.dictionaries(st.text(), JSON)


@given(st.sampled_from(KINDS), st.dictionaries(st.sampled_from(NAMES), VALUES), st.sampled_from([None, "v1", "v2"]))
def test_whatever_a_mapping_holds_what_comes_of_it_can_be_used(kind: str, mapping: dict[str, Any], mode: str) -> None:
    document = {"mapping": mapping | {"custom_properties_mode": mode}}
    try:
        document = msgspec.json.decode(msgspec.json.encode(document))
    except (ValueError, UnicodeEncodeError):
        return
    imported(kind, document)


# ── The command ──────────────────────────────────────────────────────────────────────────────────


def run(folder: Path, document: Any, *options: str) -> Result:
    path = folder / "mapping.json"
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    return CliRunner().invoke(main, ["import-mapping", str(path), *options], catch_exceptions=False)


def configured(folder: Path, more: str = "") -> Path:
    path = folder / "relay.toml"
    keys = "\n".join(f'{key} = "{value}"' for key, value in KEYS["taboola"].items())
    path.write_text(f'[[destinations]]\nname = "taboola"\nkind = "taboola"\n{keys}\n{more}\n')
    return path


def test_what_is_printed_can_be_put_into_a_configuration(tmp_path: Path) -> None:
    document = subscription('type = "track"', external_audience_id={"@path": "$.a.b"}, user_email=EMAIL)

    result = run(tmp_path, document, "--kind", "taboola")

    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.splitlines() == [
        "# for a destination of the kind taboola: below its own keys, above a table such as [destinations.batch]",
        'audience_identifier = "external_audience_id"',
        "",
        "[destinations.mapping]",
        'when = { type = "track" }',
        'audience_id = ["a.b"]',
        'email = "traits.email"',
    ]
    mapping = load(configured(tmp_path, result.stdout)).destinations[0].mapping
    assert (mapping.audience_id, mapping.email) == (("a.b",), ("traits.email",))


def test_what_has_no_counterpart_is_a_comment_a_line_on_standard_error_and_exit_code_1(tmp_path: Path) -> None:
    result = run(tmp_path, {"user_email": EMAIL, "device_id": [1]}, "--kind", "taboola")

    assert result.exit_code == 1
    assert result.stderr == "no counterpart: device_id: a list or an object has no counterpart\n"
    assert result.stdout.splitlines()[1] == "# no counterpart: device_id: a list or an object has no counterpart"
    assert 'email = "traits.email"' in result.stdout


def test_a_mapping_like_the_default_needs_nothing(tmp_path: Path) -> None:
    result = run(tmp_path, {"traits_or_props": PARTS}, "--kind", "taboola")

    assert (result.exit_code, result.stdout) == (0, "# nothing to write: the default says the same\n")


def test_nothing_is_not_called_the_default_where_something_has_no_counterpart(tmp_path: Path) -> None:
    result = run(tmp_path, {"email": {"@lowercase": EMAIL}}, "--kind", "criteo")

    assert result.stdout == "# no counterpart: email: @lowercase in this form has no counterpart\n"


def test_a_byte_order_mark_is_left_out(tmp_path: Path) -> None:
    result = run(tmp_path, "\ufeff" + json.dumps({"email": EMAIL}), "--kind", "criteo")

    assert (result.exit_code, 'email = "traits.email"' in result.stdout) == (0, True)


def test_the_result_may_be_json(tmp_path: Path) -> None:
    result = run(tmp_path, {"user_email": EMAIL, "device_id": [1]}, "--kind", "taboola", "--json")

    assert json.loads(result.stdout) == {
        "keys": {},
        "mapping": {"email": "traits.email"},
        "remarks": ["device_id: a list or an object has no counterpart"],
    }


def test_a_destination_of_the_configuration_says_the_kind(tmp_path: Path) -> None:
    config = str(configured(tmp_path))

    result = run(tmp_path, {"user_email": EMAIL}, "--destination", "taboola", "--config", config)
    unknown = run(tmp_path, {"user_email": EMAIL}, "--destination", "nobody", "--config", config)

    assert (result.exit_code, 'email = "traits.email"' in result.stdout) == (0, True)
    assert (unknown.exit_code, "there are: taboola" in unknown.stderr) == (2, True)


@pytest.mark.parametrize("options", [(), ("--kind", "criteo", "--destination", "taboola"), ("--kind", "http")])
def test_one_destination_or_kind_has_to_be_named(tmp_path: Path, options: tuple[str, ...]) -> None:
    assert run(tmp_path, {"email": EMAIL}, *options).exit_code == 2


@pytest.mark.parametrize("text", ["", "no JSON", "[" * 100_000, '"\\ud800"', "5"])
def test_a_file_that_is_none_is_a_failure(tmp_path: Path, text: str) -> None:
    result = run(tmp_path, text, "--kind", "criteo")

    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("audience-relay: ")
