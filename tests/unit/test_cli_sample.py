"""`check --offline`: the configuration alone, and tried on a sample of source events."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from cli.main import main

CONFIGURATION = """
[redis]
url = "redis://127.0.0.1:9/0"

[[destinations]]
name = "stackadapt"
kind = "stackadapt"
audiences = ["vip*"]
api_url = "http://127.0.0.1:9/graphql"
advertiser_id = "2029"
api_token = "env:STACKADAPT_TOKEN"
properties = [
    { name = "plan", type = "STRING", path = "traits.plan" },
    { name = "seats", type = "NUMBER", path = "traits.seat_count" },
]

[[destinations]]
name = "criteo"
kind = "criteo"
audiences = ["lapsed"]
api_url = "http://127.0.0.1:9/criteo"
advertiser_id = "4711"
client_id = "relay"
client_secret = "secret"
"""


def event(who: str, audience: str = "vip", **traits: Any) -> dict[str, Any]:
    return {
        "type": "identify",
        "traits": {"email": f"{who}@example.com", audience: True} | traits,
        "context": {"personas": {"computation_class": "audience", "computation_key": audience}},
    }


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("STACKADAPT_TOKEN", "token")
    (tmp_path / "relay.toml").write_text(CONFIGURATION)
    return tmp_path


def check(folder: Path, *arguments: str) -> Result:
    command = ["check", "--offline", *arguments, "--config", str(folder / "relay.toml")]
    return CliRunner().invoke(main, command, catch_exceptions=False)


def sampled(folder: Path, *events: Any) -> tuple[Any, str]:
    """What a sample tells of each destination by its name, and the text."""
    path = folder / "sample.ndjson"
    path.write_text("".join(f"{json.dumps(each)}\n" for each in events))
    found = json.loads(check(folder, "--sample", str(path), "--json").stdout)["sample"]
    return {each["name"]: each for each in found["destinations"]}, check(folder, "--sample", str(path)).stdout


# ── The configuration alone ──────────────────────────────────────────────────────────────────────


def test_neither_redis_nor_a_vendor_is_asked(folder: Path) -> None:
    result = check(folder)

    assert result.exit_code == 0
    assert " ".join(result.stdout.split()).startswith("stackadapt ok its configuration is right; not tried criteo ok")
    found = json.loads(check(folder, "--json").stdout)
    assert (found["ok"], found["redis"]) == (True, None)
    assert [(each["name"], each["ok"]) for each in found["destinations"]] == [("stackadapt", None), ("criteo", None)]
    assert "sample" not in found


def test_a_reference_that_leads_nowhere_is_a_mistake(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("STACKADAPT_TOKEN")

    result = check(folder)

    assert result.exit_code == 1
    assert "environment variable STACKADAPT_TOKEN is not set" in result.stdout
    assert json.loads(check(folder, "--json").stdout)["ok"] is False


# ── A sample ─────────────────────────────────────────────────────────────────────────────────────


def test_each_destination_tells_how_many_it_would_take(folder: Path) -> None:
    nobody = event("ada")
    del nobody["traits"]["email"]

    found, text = sampled(folder, event("ada"), event("bob"), nobody, event("cleo", "lapsed"), {"type": "page"})

    assert {name: (each["about"], each["taken"]) for name, each in found.items()} == {
        "stackadapt": (3, 2),
        "criteo": (1, 1),
    }
    assert "stackadapt  2 of 3 about its audiences would be taken" in text
    assert "type (none of track, identify and delete): line 5" in text


def test_a_configured_path_where_no_event_has_anything_is_a_warning(folder: Path) -> None:
    found, text = sampled(folder, event("ada", plan="gold", seats=3), event("bob", plan=""), event("cleo", "lapsed"))

    paths = {each["path"]: (each["what"], each["configured"], each["events"]) for each in found["stackadapt"]["paths"]}
    assert paths["traits.plan"] == ("property plan", True, 1)
    assert paths["traits.seat_count"] == ("property seats", True, 0)
    assert paths["traits.first_name"] == ("property first_name", False, 0)
    assert found["stackadapt"]["warnings"] == [
        "no source event of the sample has anything at traits.seat_count (property seats)"
    ]
    assert "warning: no source event of the sample has anything at traits.seat_count" in text
    assert "traits.first_name" not in text


def test_a_value_that_does_not_fit_is_told_as_left_out(folder: Path) -> None:
    found, text = sampled(folder, event("ada", seat_count="many"), event("bob", seat_count="3"))

    assert found["stackadapt"]["left_out"] == {"property seats": 1}
    assert "left out of them: property seats 1" in text


def test_audiences_that_no_event_is_about_are_a_warning(folder: Path) -> None:
    found, _ = sampled(folder, event("ada"))

    assert found["criteo"]["warnings"] == ["no source event of the sample is about its audiences"]


def test_a_table_is_read_by_the_same_options_as_by_load(folder: Path) -> None:
    path = folder / "people.csv"
    path.write_text("mail,note\nada@example.com,x\n")
    form = ("--map", "mail=email", "--map", "note=", "--set", "audience=vip", "--set", "entered=1")

    result = check(folder, "--sample", str(path), "--json", *form)

    assert json.loads(result.stdout)["sample"]["destinations"][0]["taken"] == 1
    assert check(folder, "--sample", str(path)).exit_code == 2
    assert "are for CSV" in check(folder, *form).stderr


# ── A mapping ────────────────────────────────────────────────────────────────────────────────────


def mapped(folder: Path, mapping: str) -> None:
    """Criteo's destination gets a mapping, and every audience."""
    table = CONFIGURATION.replace('audiences = ["lapsed"]\n', "") + f"[destinations.mapping]\n{mapping}\n"
    (folder / "relay.toml").write_text(table)


def warnings(folder: Path, *events: Any) -> list[str]:
    found, _ = sampled(folder, *events)
    told: list[str] = found["criteo"]["warnings"]
    return told


def test_paths_of_a_mapping_where_no_event_has_anything_are_warnings(folder: Path) -> None:
    mapped(folder, 'email = ["traits.mail", "traits.email"]\ntimestamp = "traits.when"\nphone = "traits.mobile"')

    assert warnings(folder, event("ada")) == [
        "no source event of the sample has anything at traits.when (timestamp)",
        "no source event of the sample has anything at traits.mail (email)",
    ]


def test_an_audience_at_a_path_that_leads_nowhere_is_told_though_no_event_is_about_it(folder: Path) -> None:
    mapped(folder, 'audience = "traits.segment"\nemail = "traits.nothing"')

    assert warnings(folder, event("ada")) == [
        "no source event of the sample has anything at traits.segment (audience)",
        "no source event of the sample is about its audiences",
    ]


@pytest.mark.parametrize(
    ("mapping", "told"),
    [
        ('email = "traits"', "at traits (email): what stands there is an object"),
        ('email = "traits.seats"', "at traits.seats (email): what stands there is a number"),
        ('email = "traits.name"', "at traits.name (email): what stands there is text"),
        ('timestamp = "traits.seats"', "at traits.seats (timestamp): what stands there is a number"),
        ('timestamp = "traits.name"', "at traits.name (timestamp): what stands there is text"),
        ('audience = ["traits.list", { value = "vip" }]', "at traits.list (audience): what stands there is a list"),
        ('entered = "traits.email"\nevents.x = "enter"', "at traits.email (entered): what stands there is text"),
        ('when = { equals = { "traits" = "x" } }', "at traits (when): what stands there is an object"),
    ],
)
def test_a_place_that_only_ever_holds_something_of_no_use_is_a_warning(folder: Path, mapping: str, told: str) -> None:
    mapped(folder, mapping)
    person = event("ada", seats=3, name="Ada", list=["vip"])

    assert f"no source event of the sample has anything usable {told}" in warnings(folder, person, event("bob"))


def test_a_place_that_holds_something_usable_at_times_is_counted_and_no_warning(folder: Path) -> None:
    mapped(folder, 'email = "traits.mail"')

    found, _ = sampled(folder, event("ada", mail=7), event("bob", mail="bob@example.com"), event("cleo", mail=None))

    counts = {each["path"]: each["events"] for each in found["criteo"]["paths"] if each["what"] == "email"}
    assert (counts, found["criteo"]["warnings"]) == ({"traits.mail": 1}, [])


def test_what_names_the_account_the_audience_or_a_property_has_to_fit_too(folder: Path) -> None:
    taboola = (
        CONFIGURATION
        + """
[[destinations]]
name = "taboola"
kind = "taboola"
account_id = "account"
client_id = "relay"
client_secret = "secret"
audience_identifier = "external_audience_id"
[destinations.mapping]
audience_id = "traits.list"
"""
    )
    (folder / "relay.toml").write_text(taboola)

    found, _ = sampled(folder, event("ada", plan=["gold"], seat_count="many", list={}))

    useless = "no source event of the sample has anything usable at"
    assert f"{useless} traits.list (audience_id): what stands there is an object" in found["taboola"]["warnings"]
    assert found["stackadapt"]["warnings"] == [
        f"{useless} traits.plan (property plan): what stands there is a list",
        f"{useless} traits.seat_count (property seats): what stands there is text",
    ]


def test_a_path_of_the_direction_is_looked_up_with_the_audience_of_each_event(folder: Path) -> None:
    mapped(folder, 'entered = ["traits.$audience", "properties.$audience"]')

    found, _ = sampled(folder, event("ada"), event("bob", "lapsed"))

    places = {each["path"]: each["events"] for each in found["criteo"]["paths"] if each["what"] == "entered"}
    assert places == {"traits.$audience": 2, "properties.$audience": 0}
    assert found["criteo"]["warnings"] == [
        "no source event of the sample has anything at properties.$audience (entered)"
    ]


def test_a_condition_that_no_event_fits_is_a_warning(folder: Path) -> None:
    mapped(folder, 'when = [{ type = "identify" }, { event = "Joined", missing = "traits.test" }]')

    assert warnings(folder, event("ada")) == ["no source event of the sample fits mapping.when[1]"]


def test_where_no_event_counts_the_conditions_and_their_paths_are_told_alone(folder: Path) -> None:
    mapped(folder, 'email = "traits.nothing"\nwhen = { exists = "traits.source", equals = { "traits.vip" = true } }')

    found, text = sampled(folder, event("ada"))

    assert found["criteo"]["warnings"] == [
        "no source event of the sample fits mapping.when[0]",
        "no source event of the sample has anything at traits.source (when)",
    ]
    assert (found["criteo"]["about"], found["criteo"]["taken"]) == (0, 0)
    assert "criteo  0 of 0 about its audiences would be taken" in text


def test_requests_to_forget_are_about_no_audience(folder: Path) -> None:
    found, _ = sampled(folder, {"type": "delete", "userId": "u-1"}, event("ada"))

    assert found["stackadapt"]["about"] == 1
