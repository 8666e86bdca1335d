"""Criteo's types of identifiers: what is configured, in which form they are sent, and in which they are forgotten."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
from pydantic import ValidationError

from sandbox.criteo import CriteoSwitches
from tests.conftest import Clock
from tests.destinations.conftest import enters
from tests.destinations.criteo_bench import criteo, settings
from worker.batching import fold
from worker.contract import Change, Identifier, IdentifierType, LaneKey
from worker.destinations.criteo import Criteo
from worker.errors import ConfigurationError
from worker.settings import load
from worker.store.store import Store

JOHN = "john.doe@gmail.com"
MD5 = "e13743a7f1db7f4246badd6fd6ff54ff"
SHA256 = "375320dd9ae7ed408002f3768e16cb5f28c861062fd50dff9a3bff62e9dce4ef"
SHA256_OF_MD5 = "000e3171a5110c35c69d060112bd0ba55d9631c7c2ec93f1840e4570095b263a"
PHONE = "33140402290"
PHONE_SHA256 = "fda66831d0cb0eb4bffb21bc795308d69921c211c57be0ae15702071e3b9e988"
UUID = "3f097372-f01e-4b64-984c-395ae5828ee6"
BARE_UUID = UUID.replace("-", "")

TYPES: dict[str, tuple[IdentifierType, dict[str, Any]]] = {
    "email": ("email", {}),
    "madid": ("device", {}),
    "identityLink": ("identity_link", {}),
    "gum": ("gum", {"gum_caller_id": 7}),
    "phoneNumber": ("phone", {}),
}


def change(type_: IdentifierType, *values: str, entered: bool = True, at: int = 0) -> Change:
    return Change(entered=entered, occurred_at=at, identifiers=tuple(Identifier(type_, value) for value in values))


# ── What is configured ───────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("theirs", TYPES)
def test_a_destination_reads_identifiers_of_its_type_alone(theirs: str) -> None:
    ours, more = TYPES[theirs]
    reading = settings(identifier_type=theirs, **more).reading()

    assert reading.identifiers == (ours,)
    assert reading.phone_region is None
    assert reading.audience_names is None


def test_phones_may_be_of_a_country() -> None:
    assert settings(identifier_type="phoneNumber", phone_region="IN").reading().phone_region == "IN"


def test_a_fixed_list_has_one_audience() -> None:
    reading = settings(audiences=["vip"], audience_id="880123").reading()

    assert reading.audience == "audience_key"
    assert reading.audience_names == {"vip": "880123"}


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"identifier_type": "gum"}, 'identifier_type = "gum" needs gum_caller_id, and only it'),
        ({"gum_caller_id": 7}, 'identifier_type = "gum" needs gum_caller_id, and only it'),
        ({"identifier_type": "gum", "gum_caller_id": "seven"}, "valid integer"),
        ({"identifier_type": "maid"}, "'email', 'madid', 'identityLink', 'gum' or 'phoneNumber'"),
        ({"phone_region": "IN"}, 'phone_region is for identifier_type = "phoneNumber" only'),
        ({"identifier_type": "phoneNumber", "phone_region": "in"}, "match pattern"),
        ({"identifier_type": "phoneNumber", "phone_region": "IND"}, "match pattern"),
        ({"audiences": ["vip"], "audience_id": "vip"}, "match pattern"),
        ({"audience_id": "880123"}, "two audiences on one contact list would undo each other"),
        ({"audiences": ["a", "b"], "audience_id": "880123"}, "would undo each other"),
        ({"audiences": [], "audience_id": "880123"}, "would undo each other"),
        ({"audiences": ["vip?"], "audience_id": "880123"}, "would undo each other"),
        ({"audiences": ["vip[1]"], "audience_id": "880123"}, "would undo each other"),
    ],
)
def test_what_may_not_be_configured(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError) as raised:
        settings(**wrong)

    assert said in str(raised.value)


BY_NAME = {"audiences": ["vip"]}
FIXED = {"audiences": ["vip"], "audience_id": "880123"}


def toml(table: dict[str, Any]) -> str:
    """Strings and lists of strings are written as in JSON."""
    lines = [f"{key} = {msgspec.json.encode(value).decode()}" for key, value in table.items()]
    return "\n".join(["[[destinations]]", *lines, ""])


@pytest.mark.parametrize(
    ("one", "other", "conflict"),
    [
        (BY_NAME, BY_NAME, True),
        (BY_NAME, {"audiences": ["v*"], "identifier_type": "madid"}, True),
        (BY_NAME, {"audiences": ["churned"]}, False),
        (BY_NAME, BY_NAME | {"advertiser_id": "4712"}, False),
        (BY_NAME, FIXED, False),
        (FIXED, FIXED | {"audience_id": "880124"}, False),
        (FIXED, FIXED | {"audiences": ["churned"]}, True),
        (FIXED, FIXED | {"identifier_type": "madid"}, True),
        (FIXED, FIXED | {"advertiser_id": "4712"}, True),
        (FIXED, FIXED | {"api_url": "https://elsewhere.example"}, False),
        ({"audiences": ["880123"]}, FIXED, False),
    ],
)
def test_two_destinations_may_not_write_one_list(
    tmp_path: Path, one: dict[str, Any], other: dict[str, Any], *, conflict: bool
) -> None:
    common = {"kind": "criteo", "advertiser_id": "4711", "client_id": "id", "client_secret": "secret"}
    path = tmp_path / "relay.toml"
    path.write_text(toml(common | {"name": "one"} | one) + toml(common | {"name": "other"} | other))
    mistakes: list[str] = []
    try:
        load(path)
    except ConfigurationError as error:
        mistakes = error.mistakes

    assert [mistake for mistake in mistakes if "can write the same audience" in mistake] == mistakes
    assert bool(mistakes) is conflict


# ── In which form they are sent ──────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("options", "type_", "given", "sent"),
    [
        ({}, "email", JOHN, JOHN),
        ({}, "email", MD5, MD5),
        ({}, "email", SHA256.upper(), SHA256),
        ({"hash_emails": True}, "email", JOHN, SHA256),
        ({"hash_emails": True}, "email", MD5, MD5),
        ({"hash_emails": True}, "email", SHA256, SHA256),
        ({"hash_emails": True}, "email", SHA256_OF_MD5.upper(), SHA256_OF_MD5),
        ({}, "phone", PHONE, PHONE),
        ({"hash_emails": True}, "phone", PHONE, PHONE),
        ({"hash_phones": True}, "phone", PHONE, PHONE_SHA256),
        ({"hash_phones": True}, "phone", PHONE_SHA256.upper(), PHONE_SHA256),
        ({"hash_phones": True}, "email", JOHN, JOHN),
        ({}, "device", UUID.upper(), UUID),
        ({}, "device", BARE_UUID.upper(), UUID),
        ({}, "device", f" {UUID} ", UUID),
        ({}, "device", "Not-A-UUID", "not-a-uuid"),
        ({"hash_emails": True, "hash_phones": True}, "identity_link", "XY1000aa", "XY1000aa"),
        ({"hash_emails": True, "hash_phones": True}, "gum", "k-AbC", "k-AbC"),
        ({}, "gum", SHA256.upper(), SHA256.upper()),
    ],
)
def test_the_vendors_form(options: dict[str, bool], type_: IdentifierType, given: str, sent: str) -> None:
    form = Criteo(settings(**options)).vendor_form(Identifier(type_, given))

    assert form == Identifier(type_, sent)
    assert Criteo(settings(**options)).vendor_form(form) == form


@pytest.mark.parametrize("theirs", TYPES)
def test_the_type_is_always_told_and_the_caller_with_gum_alone(theirs: str) -> None:
    ours, more = TYPES[theirs]
    destination = Criteo(settings(identifier_type=theirs, audiences=["vip"], audience_id="880123", **more))
    batch = fold(LaneKey("shop", "880123"), "1", [change(ours, "a"), change(ours, "b")], destination.vendor_form)
    request = next(destination.converse(batch, {}))

    attributes = msgspec.json.decode(request.content)["data"]["attributes"]
    told = {
        "operation": "add",
        "identifierType": theirs,
        "identifiers": [each.identifiers[0].value for each in batch.adds],
    }
    assert attributes == told | ({"gumCallerId": 7} if theirs == "gum" else {})
    assert request.url.endswith("/2026-07/marketing-solutions/audience-segments/880123/contact-list")


@pytest.mark.parametrize(
    ("theirs", "entering", "leaving", "held"),
    [
        ("email", [JOHN, MD5], [SHA256_OF_MD5], {JOHN, MD5}),
        ("madid", [UUID.upper(), "aaaaaaaa" + UUID[8:]], [BARE_UUID], {"aaaaaaaa" + UUID[8:]}),
        ("phoneNumber", [PHONE, "4915112345678"], ["4915112345678"], {PHONE}),
        ("identityLink", ["XY1000aa", "xy1000aa"], ["xy1000aa"], {"XY1000aa"}),
        ("gum", ["k-AbC", "k-abc"], ["k-abc"], {"k-AbC"}),
    ],
)
def test_people_enter_and_leave_by_any_type(
    store: Store, clock: Clock, theirs: str, entering: list[str], leaving: list[str], held: set[str]
) -> None:
    ours, more = TYPES[theirs]
    bench = criteo(store, clock, CriteoSwitches(default_identifier_type=None), identifier_type=theirs, **more)
    bench.append([change(ours, *entering)])
    bench.flush()
    bench.append([change(ours, *leaving, entered=False)])
    bench.flush()

    assert bench.members() == held
    assert bench.status().counters["delivered"] == 2


def test_invalid_identifiers_of_any_type_are_named(store: Store, clock: Clock) -> None:
    bench = criteo(store, clock, identifier_type="phoneNumber")
    bench.append([change("phone", PHONE), change("phone", "1" * 16), change("phone", "4915112345678")])
    bench.flush()

    assert bench.members() == {PHONE, "4915112345678"}
    assert [letter.change for letter in store.dead_letters("shop")] == [change("phone", "1" * 16)]


def test_one_device_in_two_spellings_is_one(store: Store, clock: Clock) -> None:
    bench = criteo(store, clock, identifier_type="madid")
    bench.append([change("device", UUID.upper()), change("device", BARE_UUID, entered=False, at=1)])
    bench.flush()

    assert bench.members() == set()
    assert bench.status().counters["folded"] == 1


def test_emails_are_hashed_on_request_and_never_twice(store: Store, clock: Clock) -> None:
    bench = criteo(store, clock, hash_emails=True)
    bench.append([change("email", JOHN), change("email", SHA256), change("email", MD5)])
    bench.flush()

    assert bench.members() == {SHA256, MD5}
    assert bench.status().counters["folded"] == 1


def test_what_waits_from_before_the_type_was_changed_is_kept_aside(store: Store, clock: Clock) -> None:
    bench = criteo(store, clock, identifier_type="madid")
    bench.append([enters("ada"), change("device", UUID), change("email", JOHN, entered=False)])
    bench.flush()

    assert bench.members() == {UUID}
    assert {letter.reason for letter in store.dead_letters("shop")} == {"not of the configured identifier_type"}
    assert bench.status().counters["buried"] == 2


def test_nothing_is_sent_where_nothing_fits(store: Store, clock: Clock) -> None:
    bench = criteo(store, clock, identifier_type="madid")
    bench.sandbox.criteo.add_segment("4711", "vip")
    bench.append([enters("ada")])
    bench.flush()

    assert bench.requests("amend") == 0


# ── In which forms they are forgotten ────────────────────────────────────────────────────────────


@pytest.mark.parametrize("options", [{}, {"hash_emails": True, "hash_phones": True}])
@pytest.mark.parametrize(
    ("type_", "given", "others"),
    [
        ("email", JOHN, {MD5, SHA256, SHA256_OF_MD5}),
        ("email", MD5, {SHA256_OF_MD5}),
        ("email", SHA256, set()),
        ("phone", PHONE, {PHONE_SHA256}),
        ("phone", PHONE_SHA256, set()),
        ("device", BARE_UUID.upper(), {UUID}),
        ("device", UUID, set()),
        ("gum", "k-AbC", set()),
        ("identity_link", "XY1000aa", set()),
    ],
)
def test_an_identifier_is_known_in_all_its_forms(
    options: dict[str, bool], type_: IdentifierType, given: str, others: set[str]
) -> None:
    aliases = Criteo(settings(**options)).aliases(Identifier(type_, given))

    assert aliases[0] == Identifier(type_, given)
    assert len(aliases) == len(set(aliases))
    assert set(aliases) == {Identifier(type_, value) for value in {given} | others}
