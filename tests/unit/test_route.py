"""What a `Reading` can ask for: consent, accounts, identifiers from elsewhere, erasures; what is left out is told."""

from collections import Counter
from collections.abc import Mapping
from typing import Any, Literal

import pytest

from producers.paths import at
from producers.routing import Router
from producers.segment import Erasure, Membership, Refusal, parse
from worker.contract import Change, Identifier, LaneKey
from worker.destinations.base import (
    AccountReading,
    BatchSettings,
    ConsentReading,
    DestinationSettings,
    PropertyReading,
    Reading,
)
from worker.destinations.mapping import MappingSettings

EMAIL = Identifier("email", "jane@example.com")
MD5 = "b58996c504c5638798eb6b511e6f49af"


class Wanting(DestinationSettings):
    """A destination that wants what a test says."""

    kind: Literal["test"] = "test"
    api_url: str = "http://vendor.test"
    batch: BatchSettings = BatchSettings(max_changes=10)
    wants: Reading

    def reading(self) -> Reading:
        return self.wants


def wanting(
    name: str = "shop",
    audiences: tuple[str, ...] = ("*",),
    mapping: Mapping[str, Any] | None = None,
    **parts: Any,
) -> Wanting:
    wants = Reading(**{"identifiers": ("email",), **parts})
    return Wanting(name=name, audiences=audiences, wants=wants, mapping=MappingSettings.model_validate(mapping or {}))


def event(**properties: Any) -> Membership:
    properties = {"audience_key": "vip", "vip": True, "email": "jane@example.com", **properties}
    found = parse({"type": "track", "messageId": "m", "properties": properties}, received_at=1_000)
    assert isinstance(found, Membership)
    return found


def route(found: Membership, *destinations: Wanting) -> tuple[list[tuple[str, str]] | str, dict[tuple[str, str], int]]:
    """Destinations and audiences, or why it was refused; and what was left out."""
    left_out: Counter[tuple[str, str]] = Counter()
    routed = Router(destinations).route(found, left_out)
    if isinstance(routed, Refusal):
        return routed.reason, dict(left_out)
    return [(lane.destination, lane.audience) for lane, _ in routed], dict(left_out)


def change(found: Membership, destination: Wanting) -> Change:
    routed = Router([destination]).route(found)
    assert isinstance(routed, list)
    return routed[0][1]


# ── Consent ──────────────────────────────────────────────────────────────────────────────────────

OPTED_IN = ConsentReading(("properties.status", "traits.status"), frozenset({"optedin"}))


@pytest.mark.parametrize("stated", [None, "", "Opted-in", "opted_in", "OPTED IN", "optedin"])
def test_an_event_that_states_no_other_consent_is_taken(stated: object) -> None:
    assert route(event(status=stated), wanting(consent=OPTED_IN)) == ([("shop", "vip")], {})


@pytest.mark.parametrize("stated", ["Opted-out", "Indeterminate", "?", 1, True, False, {}, []])
def test_an_event_that_states_another_consent_is_refused(stated: object) -> None:
    assert route(event(status=stated), wanting(consent=OPTED_IN)) == ("consent", {})


def test_another_consent_keeps_an_event_from_that_destination_alone() -> None:
    strict, other = wanting("strict", consent=OPTED_IN), wanting("other")

    assert route(event(status="Opted-out"), strict, other) == ([("other", "vip")], {("strict", "consent"): 1})


def test_the_first_place_that_states_a_consent_decides() -> None:
    found = event(status="Opted-in")
    found.tree["traits"] = {"status": "Opted-out"}

    assert route(found, wanting(consent=OPTED_IN)) == ([("shop", "vip")], {})


# ── Accounts ─────────────────────────────────────────────────────────────────────────────────────


def account(configured: str, api: str = "http://vendor.test") -> AccountReading:
    return AccountReading("properties.account", configured, api)


def test_an_audience_of_another_account_has_a_lane_of_its_own() -> None:
    shop = wanting(account=account("acme"))

    assert route(event(), shop)[0] == [("shop", "vip")]
    assert route(event(account="acme"), shop)[0] == [("shop", "vip")]
    assert route(event(account="other"), shop)[0] == [("shop", "@other/vip")]


def test_lanes_of_two_accounts_are_never_the_same() -> None:
    shop = wanting(account=account("acme"))
    pairs = [("a/b", "c"), ("a", "b/c"), (None, "@a/b/c"), (None, "@a%2Fb/c"), ("acme", "@a/b/c"), ("a", "@a/b/c")]

    lanes = [
        route(event(**{"account": each, "audience_key": key, key: True, "vip": None}), shop)[0] for each, key in pairs
    ]

    assert len({str(lane) for lane in lanes}) == 5
    assert lanes[2] == lanes[4] == [("shop", "@acme/@a/b/c")]


def test_an_event_goes_to_the_destination_of_its_account_alone() -> None:
    acme, other = wanting("one", account=account("acme")), wanting("two", account=account("other"))

    assert route(event(account="other"), acme, other) == ([("two", "vip")], {})
    assert route(event(), acme, other) == ([("one", "vip"), ("two", "vip")], {})


def test_an_account_of_no_destination_has_one_writer() -> None:
    acme, other = wanting("one", account=account("acme")), wanting("two", account=account("other"))

    assert route(event(account="third"), acme, other) == ([("one", "@third/vip")], {})


def test_destinations_of_another_api_have_nothing_to_do_with_each_other() -> None:
    acme, elsewhere = wanting("one", account=account("acme")), wanting("two", account=account("other", "http://b.test"))

    assert route(event(account="third"), acme, elsewhere)[0] == [("one", "@third/vip"), ("two", "@third/vip")]


@pytest.mark.parametrize("nobody", [None, "", "  ", {}, True, 1.5])
def test_what_is_no_account_counts_as_none(nobody: object) -> None:
    assert route(event(account=nobody), wanting(account=account("acme")))[0] == [("shop", "vip")]


@pytest.mark.parametrize("impossible", ["Other Account", "../x", "7", "a_b", 7, "é"])
def test_an_account_that_the_vendor_cannot_have_is_refused(impossible: object) -> None:
    shop = wanting(account=AccountReading("properties.account", "Mine", "http://vendor.test", r"(?!\d+$)[a-z0-9-]+"))

    assert route(event(account=impossible), shop) == ("account", {})
    assert route(event(account=impossible), shop, wanting("other")) == ([("other", "vip")], {("shop", "account"): 1})
    assert route(event(account="Mine"), shop)[0] == [("shop", "vip")], "the configured one is taken at its word"


# ── Identifiers ──────────────────────────────────────────────────────────────────────────────────


def test_other_identifiers_are_read_from_their_usual_places() -> None:
    shop = wanting(identifiers=("phone", "gum"), phone_region="FR")

    assert change(event(phone="01 40 40 22 90", gum="g-1"), shop).identifiers == (
        Identifier("phone", "33140402290"),
        Identifier("gum", "g-1"),
    )


def test_they_may_stand_elsewhere() -> None:
    shop = wanting(identifiers=("phone", "gum"), mapping={"phone": ["properties.mobile", "traits.phone"]})
    found = event(mobile="", phone="+33 1 40 40 22 91", gum="g-1")
    found.tree["traits"] = {"phone": "+33 1 40 40 22 90"}

    assert change(found, shop).identifiers == (Identifier("phone", "33140402290"), Identifier("gum", "g-1"))


def test_an_identifier_that_is_none_is_told_where_the_event_is_taken_for_another() -> None:
    both = wanting(identifiers=("email", "device"))

    assert route(event(email="no email", ios_id="d-1"), both) == ([("shop", "vip")], {("shop", "email"): 1})
    assert route(event(email="no email"), both) == ("identifier", {})


def test_what_an_event_lacks_for_one_destination_is_told_when_another_takes_it() -> None:
    mailer, phoner = wanting("mailer"), wanting("phoner", identifiers=("phone",))

    assert route(event(phone="12"), mailer, phoner) == ([("mailer", "vip")], {("phoner", "identifier"): 1})


def test_a_bad_property_is_lost_and_told_and_the_membership_stays() -> None:
    shop = wanting(properties=(PropertyReading("score", "NUMBER", ("properties.score",)),))

    assert route(event(score="many"), shop) == ([("shop", "vip")], {("shop", "property score"): 1})
    assert change(event(score="12"), shop).properties == {"score": 12}


# ── Erasures ─────────────────────────────────────────────────────────────────────────────────────


def erasure(**parts: Any) -> Erasure:
    found = parse({"type": "delete", "messageId": "m", **parts}, received_at=1_000)
    assert isinstance(found, Erasure)
    return found


def test_a_request_to_forget_goes_to_whoever_may_hold_the_person() -> None:
    mailer, holder = wanting("mailer"), wanting("holder", erases_by_user_id=True)
    left_out: Counter[tuple[str, str]] = Counter()

    routed = Router([mailer, holder]).route_erasure(erasure(userId="u-1"), left_out)

    assert routed == [
        (
            LaneKey.erasures("holder"),
            Change(entered=False, occurred_at=1_000, identifiers=(Identifier("user_id", "u-1"),), message_id="m"),
        )
    ]
    assert left_out == {("mailer", "erasure"): 1}


def test_a_request_to_forget_carries_each_handle_that_a_destination_knows() -> None:
    mailer, holder = wanting("mailer", audiences=("nothing",)), wanting("holder", erases_by_user_id=True)

    routed = Router([mailer, holder]).route_erasure(
        erasure(userId="u-1", traits={"email": "Jane@example.com", "ios_id": "d-1"})
    )

    assert isinstance(routed, list)
    assert [change.identifiers for _, change in routed] == [(EMAIL,), (EMAIL, Identifier("user_id", "u-1"))]


def test_a_hash_that_a_vendor_does_not_know_cannot_name_a_person_there() -> None:
    found = erasure(traits={"email": MD5})

    assert Router([wanting(hashed_emails=())]).route_erasure(found) == Refusal("identifier")
    assert isinstance(Router([wanting()]).route_erasure(found), list)


def test_a_request_to_forget_names_a_person_by_every_type_that_a_destination_uses() -> None:
    phoner = wanting(identifiers=("phone",), phone_region="FR")

    routed = Router([phoner]).route_erasure(erasure(userId="u-1", traits={"phone": "01 40 40 22 90"}))

    assert isinstance(routed, list)
    assert [change.identifiers for _, change in routed] == [(Identifier("phone", "33140402290"),)]


def test_a_request_to_forget_is_read_at_the_usual_places_and_at_those_of_the_mapping() -> None:
    shop = wanting(mapping={"email": "properties.work_email"})
    everywhere = erasure(traits={"email": "jane@example.com"}, properties={"work_email": "J.Doe@example.com"})

    routed = Router([shop]).route_erasure(everywhere)

    assert isinstance(routed, list)
    assert routed[0][1].identifiers == (EMAIL, Identifier("email", "j.doe@example.com"))


def test_the_usual_user_id_names_nobody_where_the_mapping_reads_another() -> None:
    """The same id may be somebody else's there."""
    usual = wanting("usual", erases_by_user_id=True)
    other = wanting("other", erases_by_user_id=True, mapping={"user_id": "properties.customer"})

    def handles(**parts: Any) -> dict[str, tuple[Identifier, ...]]:
        routed = Router([usual, other]).route_erasure(erasure(userId="u-1", **parts))
        assert isinstance(routed, list)
        return {lane.destination: change.identifiers for lane, change in routed}

    assert handles() == {"usual": (Identifier("user_id", "u-1"),)}
    assert handles(properties={"customer": "c-1"})["other"] == (Identifier("user_id", "c-1"),)


def test_what_of_a_request_to_forget_names_nobody_is_told_for_each_destination_that_gets_the_rest() -> None:
    left_out: Counter[tuple[str, str]] = Counter()
    mailer = wanting("mailer", identifiers=("email", "device"))
    phoner, deaf = wanting("phoner", identifiers=("device", "phone")), wanting("deaf", identifiers=("gum",))
    found = erasure(traits={"email": "nobody", "ios_id": "0", "android_id": "d-1", "phone": "12"}, userId="u-1")

    Router([mailer, phoner, deaf]).route_erasure(found, left_out)

    assert left_out == {
        ("mailer", "email"): 1,
        ("mailer", "device"): 1,
        ("phoner", "device"): 1,
        ("phoner", "phone"): 1,
        ("deaf", "erasure"): 1,
    }


def test_without_a_destination_nobody_is_forgotten() -> None:
    assert Router([]).route_erasure(erasure(userId="u-1")) == Refusal("identifier")


def test_a_path_into_what_is_no_object_finds_nothing() -> None:
    assert at({"a": [1]}, ("a", "b")) is None
