"""A crowd tells varied events, and knows without the relay's code what they come to."""

import hashlib
import json
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any, NamedTuple

import pytest

from producers.routing import Router
from producers.segment import Erasure, Refusal, parse
from sandbox.crowd import AUDIENCES, Audience, Crowd, Members
from sandbox.crowd_model import SANDBOX_RULES, Model, Move
from worker.batching import fold
from worker.contract import Change, LaneKey
from worker.destinations.base import Destination
from worker.destinations.criteo import Criteo, CriteoSettings
from worker.destinations.stackadapt import StackAdapt, StackAdaptSettings
from worker.destinations.taboola import Taboola, TaboolaSettings

NOW_MS = 1_795_000_000_000
EVENTS = 20_000

CRITEO = CriteoSettings.model_validate(
    {"name": "criteo", "kind": "criteo", "advertiser_id": "1", "client_id": "c", "client_secret": "s"}
)
TABOOLA = TaboolaSettings.model_validate(
    {"name": "taboola", "kind": "taboola", "account_id": "a", "client_id": "c", "client_secret": "s"}
)
STACKADAPT = StackAdaptSettings.model_validate(
    {"name": "stackadapt", "kind": "stackadapt", "advertiser_id": "1", "api_token": "t"}
)
DESTINATIONS: dict[str, Destination] = {
    "criteo": Criteo(CRITEO),
    "taboola": Taboola(TABOOLA),
    "stackadapt": StackAdapt(STACKADAPT),
}


@pytest.fixture(scope="module")
def crowd() -> Crowd:
    """Once `lines` is asked for, it has told all of them."""
    return Crowd(7, now_ms=NOW_MS, people=4_000)


@pytest.fixture(scope="module")
def lines(crowd: Crowd) -> list[bytes]:
    return list(crowd.events(EVENTS))


@pytest.fixture(scope="module")
def routed(lines: list[bytes]) -> "Routed":
    """What producers make of the events, a second after they were told."""
    router = Router((CRITEO, TABOOLA, STACKADAPT))
    refused: Counter[str] = Counter()
    lanes: defaultdict[LaneKey, list[Change]] = defaultdict(list)
    usable: list[Event] = []
    for line in lines:
        membership = parse(line, received_at=NOW_MS + 1_000)
        assert not isinstance(membership, Erasure)
        changes = membership if isinstance(membership, Refusal) else router.route(membership)
        if isinstance(changes, Refusal):
            refused[changes.reason] += 1
            continue
        usable.append(json.loads(line))
        for lane, change in changes:
            lanes[lane].append(change)
    return Routed(refused, lanes, usable)


Event = dict[str, Any]


class Routed(NamedTuple):
    refused: Counter[str]
    lanes: dict[LaneKey, list[Change]]
    usable: list[Event]


# ── Repeatable ───────────────────────────────────────────────────────────────────────────────────


def test_a_seed_gives_the_same_events_on_every_machine() -> None:
    """Also on another version of Python: this digest was made once, and changes only with the crowd itself."""
    lines = Crowd(7, now_ms=NOW_MS).events(2_000)

    assert (
        hashlib.sha256(b"\n".join(lines)).hexdigest()
        == "58081e3152f96a8b50661905507a75c32769406ffca95cff496dbc580f7534f2"
    )


def test_another_seed_gives_other_events() -> None:
    assert list(Crowd(1, now_ms=NOW_MS).events(10)) != list(Crowd(2, now_ms=NOW_MS).events(10))


def test_events_may_be_asked_for_in_parts(lines: list[bytes]) -> None:
    crowd = Crowd(7, now_ms=NOW_MS, people=4_000)

    assert [*crowd.events(700), *crowd.events(300)] == lines[:1_000]


# ── The model ────────────────────────────────────────────────────────────────────────────────────

VIPS = Audience("vips", "aud_1")
FANS = Audience("fans")
JANE, JKL = "jane@example.com", "jkl@example"
JANES_HASH = "8c87b489ce35cf2e2f39f80e282cb2e804932a56a213983eeeb428407d43b52d"
JKLS_HASH = hashlib.sha256(JKL.encode()).hexdigest()
MOVES = (
    Move(VIPS, entered=True, at=1, email=JANE, devices=("PHONE", "tablet")),
    Move(VIPS, entered=False, at=2, email=JANE, devices=("tablet",)),
    Move(VIPS, entered=True, at=1, email=JANE),  # told late
    Move(FANS, entered=True, at=1, email=JANE),
    Move(FANS, entered=False, at=1, email=JANE),
    Move(FANS, entered=True, at=1, email=JANE),  # at the same time: the last to arrive
    Move(FANS, entered=True, at=5, email=JKL),
    Move(FANS, entered=True, at=6, email=JANES_HASH[::-1]),
)


@pytest.mark.parametrize(
    ("vendor", "members"),
    [
        ("criteo", {"fans": {JANE: True, JANES_HASH[::-1]: True}}),
        (
            "taboola",
            {"vips": {"PHONE": True}, "fans": {JANES_HASH: True, JKLS_HASH: True, JANES_HASH[::-1]: True}},
        ),
        ("stackadapt", {"fans": {JANE: True}}),
    ],
)
def test_the_newest_move_of_each_identifier_decides(vendor: str, members: Members) -> None:
    """Jane's phone stays among the vips at Taboola, for nobody said that it left."""
    model = Model(SANDBOX_RULES)
    for move in MOVES:
        model.record(move)

    assert model.members(vendor) == members


def test_stackadapt_knows_an_audience_by_its_computation() -> None:
    model = Model(SANDBOX_RULES)
    model.record(Move(VIPS, entered=True, at=1, email=JANE))

    assert model.members("stackadapt") == {"aud_1": {JANE: True}}


# ── The crowd beside the relay ───────────────────────────────────────────────────────────────────


def test_every_kind_of_unusable_event_is_refused_for_its_reason(crowd: Crowd, routed: Routed) -> None:
    assert routed.refused == crowd.refused
    assert set(routed.refused) == {
        "json", "too_large", "type", "shape", "class", "timestamp", "audience", "direction", "identifier",
    }  # fmt: skip


@pytest.mark.parametrize("vendor", DESTINATIONS)
@pytest.mark.parametrize("sizes", [(EVENTS,), (1,), (3, 1, 170)], ids=["at once", "one by one", "in batches"])
def test_the_relay_comes_to_the_same_however_it_cuts_batches(
    crowd: Crowd, routed: Routed, vendor: str, sizes: tuple[int, ...]
) -> None:
    """But for the addresses that only the vendor finds out about."""
    held = {
        lane.audience: _fold_all(lane, changes, DESTINATIONS[vendor], sizes)
        for lane, changes in routed.lanes.items()
        if lane.destination == vendor
    }

    assert held == crowd.members(vendor)


def _fold_all(
    lane: LaneKey, changes: list[Change], destination: Destination, sizes: tuple[int, ...]
) -> dict[str, bool]:
    members: dict[str, bool] = {}
    for batch in _cut(changes, sizes):
        folded = fold(lane, "batch", batch, destination.vendor_form)
        for entry in folded.removes:
            for identifier in entry.identifiers:
                members.pop(identifier.value, None)
        for entry in folded.adds:
            members |= {each.value: True for each in entry.identifiers}
    return {each: True for each in members if lane.destination == "taboola" or not each.endswith("@example")}


def _cut(changes: list[Change], sizes: tuple[int, ...]) -> Iterator[list[Change]]:
    rest = iter(changes)
    while True:
        for size in sizes:
            batch = list(islice(rest, size))
            if not batch:
                return
            yield batch


# ── Variety ──────────────────────────────────────────────────────────────────────────────────────


def test_emails_are_at_example_domains_only(routed: Routed) -> None:
    domains = {_email(event).strip().lower().rpartition("@")[2] for event in routed.usable if "@" in _email(event)}

    assert domains == {"example.com", "example.org", "example.net", "mail.example.com", "example"}


@pytest.mark.parametrize(
    "occurs",
    [
        lambda event: event["type"] == "track",
        lambda event: event["type"] == "identify",
        lambda event: event.get("event") == "Audience Exited",
        lambda event: event.get("event") == "Membership Changed",
        lambda event: "timestamp" not in event,
        lambda event: event.get("timestamp", "").startswith("2199"),
        lambda event: event.get("timestamp", "") > "2026-11-18T11:08" and event["timestamp"] < "2100",
        lambda event: _personas(event).get("computation_class") == "journey_step",
        lambda event: not _personas(event),
        lambda event: "audience_key" in _beside(event),
        lambda event: {"ios_id", "android_id"} <= _beside(event).keys(),
        lambda event: "email" in _beside(event),
        lambda event: "email" in event["context"].get("traits", {}),
        lambda event: _email(event) != _email(event).strip(),
        lambda event: "\N{NO-BREAK SPACE}" in _email(event),
        lambda event: _email(event).strip().isupper(),
        lambda event: not _email(event).isascii(),
        lambda event: _email(event).endswith("@example"),
        lambda event: re.fullmatch("[0-9a-f]{64}", _email(event)),
        lambda event: '"' in _beside(event).get("street", ""),
        lambda event: "\\" in _beside(event).get("street", ""),
        lambda event: "\n" in _beside(event).get("street", ""),
        lambda event: "🏡" in _beside(event).get("street", ""),
        lambda event: _beside(event).get("plan"),
    ],
)
def test_this_occurs(routed: Routed, occurs: Callable[[Event], bool]) -> None:
    assert any(occurs(event) for event in routed.usable)


def test_some_events_are_there_twice(lines: list[bytes]) -> None:
    assert len(set(lines)) < len(lines)


def test_people_leave_as_well_as_enter(routed: Routed) -> None:
    entered = Counter(change.entered for changes in routed.lanes.values() for change in changes)

    assert entered[False] > entered.total() / 6


def test_every_audience_has_members_in_the_end(crowd: Crowd, lines: list[bytes]) -> None:
    assert len(lines) == EVENTS
    for vendor, rules in SANDBOX_RULES.items():
        assert crowd.members(vendor).keys() == {rules.audience(audience) for audience in AUDIENCES}


def _beside(event: Event) -> dict[str, Any]:
    beside: dict[str, Any] = event.get("properties") or event["traits"]
    return beside


def _email(event: Event) -> str:
    return str(_beside(event).get("email") or event["context"].get("traits", {}).get("email", ""))


def _personas(event: Event) -> dict[str, str]:
    personas: dict[str, str] = event["context"].get("personas", {})
    return personas
