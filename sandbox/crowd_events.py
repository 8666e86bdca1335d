"""The many forms of a source event: four that say who enters or leaves, and those that say nothing of use."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

import msgspec

from sandbox.crowd_model import Audience
from sandbox.crowd_people import Dice, Person

Tree = dict[str, Any]


class Telling(NamedTuple):
    """What one event says: emails as somebody wrote them, and the time as text. Empty or None: it is left out."""

    message_id: str
    person: Person
    audience: Audience
    entered: bool
    email: str = ""
    ios: str = ""
    android: str = ""
    timestamp: str | None = None


def usable(telling: Telling, dice: Dice) -> Tree:
    """An event in one of the forms in which memberships are told."""
    return dice.pick(_FORMS)(telling, dice)


def unusable(number: int, telling: Telling, dice: Dice) -> tuple[bytes, str]:
    """An event that has to be refused, and the reason; numbers in a row go through all kinds."""
    reason, spoil = SPOILED[number % len(SPOILED)]
    return spoil(telling, dice), reason


def write_time(at: int, dice: Dice) -> str:
    """Milliseconds since the epoch as ISO 8601, with the zone in one of its forms."""
    text = datetime.fromtimestamp(at / 1000, UTC).isoformat(timespec="milliseconds")
    return text if dice.happens(0.2) else text.replace("+00:00", "Z")


# ── Usable ───────────────────────────────────────────────────────────────────────────────────────


def _by_name(telling: Telling, dice: Dice) -> Tree:
    """A `track` whose name says in or out."""
    return _track(telling, dice, _names(telling), {"audience_key": telling.audience.key})


def _by_flag(telling: Telling, dice: Dice) -> Tree:
    """A `track` that says it with true or false beside the audience's key."""
    key = telling.audience.key
    return _track(telling, dice, "Membership Changed", {"audience_key": key, key: telling.entered})


def _by_computation(telling: Telling, dice: Dice) -> Tree:
    """A `track` whose audience is named by the computation."""
    tree = _track(telling, dice, _names(telling), {telling.audience.key: telling.entered})
    tree["context"]["personas"] = _personas(telling.audience)
    return tree


def _by_identify(telling: Telling, dice: Dice) -> Tree:
    """An `identify`, which has traits in place of a name and properties."""
    traits: Tree = {telling.audience.key: telling.entered, **telling.person.traits}
    tree = _envelope("identify", telling) | {"traits": traits, "context": {"personas": _personas(telling.audience)}}
    _add_identifiers(tree, traits, telling, dice)
    return tree


_FORMS: Final = (_by_name, _by_flag, _by_computation, _by_identify)


def _track(telling: Telling, dice: Dice, name: str, properties: Tree) -> Tree:
    tree = _envelope("track", telling) | {"event": name, "properties": properties, "context": {}}
    if dice.happens(0.3):
        properties |= telling.person.traits
    if telling.audience.id is not None:
        tree["context"]["personas"] = _personas(telling.audience)
    _add_identifiers(tree, properties, telling, dice)
    return tree


def _envelope(kind: str, telling: Telling) -> Tree:
    person = f"person-{telling.person.number}"
    tree: Tree = {
        "type": kind,
        "messageId": telling.message_id,
        "userId": person,
        "anonymousId": f"browser-of-{person}",
    }
    if telling.timestamp is not None:
        tree["timestamp"] = telling.timestamp
    return tree


def _personas(audience: Audience) -> Tree:
    personas = {"computation_class": audience.computation_class, "computation_key": audience.key, "space_id": "spa_1"}
    if audience.id is not None:
        personas |= {"computation_id": audience.id, "external_audience_id": "9001"}
    return personas


def _names(telling: Telling) -> str:
    return "Audience Entered" if telling.entered else "Audience Exited"


def _add_identifiers(tree: Tree, beside: Tree, telling: Telling, dice: Dice) -> None:
    """Emails also stand in the context; a phone whose owner refuses to be tracked shows zeros."""
    if telling.email:
        place = beside if dice.happens(0.5) else tree["context"].setdefault("traits", {})
        place["email"] = telling.email
    if telling.ios or dice.happens(0.05):
        beside["ios_id"] = telling.ios or NO_DEVICE
    if telling.android:
        beside["android_id"] = telling.android


NO_DEVICE: Final = "00000000-0000-0000-0000-000000000000"


# ── Unusable ─────────────────────────────────────────────────────────────────────────────────────

Spoil = Callable[[Telling, Dice], bytes]
MAX_EVENT_BYTES: Final = 32 * 1024
"""Larger ones are refused ("Segment HTTP API: at most 32 KB an event")."""


def _replaced(**members: Any) -> Spoil:
    """A usable event, but for these members."""
    return lambda telling, dice: _encode(_by_computation(telling, dice) | members)


def _with_properties(event: str, properties: Mapping[str, Any]) -> Spoil:
    """A `track` that can be read, about other things."""

    def spoil(telling: Telling, _dice: Dice) -> bytes:
        return _encode(_envelope("track", telling) | {"event": event, "properties": properties, "context": {}})

    return spoil


def _of_class(name: str) -> Spoil:
    def spoil(telling: Telling, dice: Dice) -> bytes:
        return _encode(
            _by_computation(telling._replace(audience=telling.audience._replace(computation_class=name)), dice)
        )

    return spoil


def _cut_off(telling: Telling, dice: Dice) -> bytes:
    return _encode(_by_flag(telling, dice))[:-7]


def _not_text(telling: Telling, dice: Dice) -> bytes:
    return _encode(_by_flag(telling, dice)).replace(b'"type"', b'"ty\xffe"')


def _too_large(telling: Telling, dice: Dice) -> bytes:
    return _encode(_by_flag(telling, dice) | {"integrations": "x" * MAX_EVENT_BYTES})


def _encode(tree: Tree) -> bytes:
    return msgspec.json.encode(tree)


SPOILED: Final[tuple[tuple[str, Spoil], ...]] = (
    ("json", _cut_off),
    ("json", _not_text),
    ("json", lambda _telling, _dice: b'["an", "array"]'),
    ("json", lambda _telling, _dice: b"2026-01-01,jane@example.com,entered"),
    ("too_large", _too_large),
    ("type", _replaced(type="page", name="Checkout")),
    ("type", _replaced(type="group", groupId="g-1")),
    ("shape", _replaced(properties=["an", "array"])),
    ("class", _of_class("other")),
    ("timestamp", _replaced(timestamp="yesterday at noon")),
    ("timestamp", _replaced(timestamp="21/11/2026 10:00")),
    ("timestamp", _replaced(timestamp=1_795_255_200)),
    ("audience", _with_properties("Order Completed", {"email": "jane@example.com", "total": 12.5})),
    ("direction", _with_properties("Product Viewed", {"audience_key": "vip", "email": "jane@example.com"})),
    ("direction", _with_properties("Changed", {"audience_key": "vip", "vip": "true", "email": "jane@example.com"})),
    ("identifier", _with_properties("Audience Entered", {"audience_key": "vip"})),
    ("identifier", _with_properties("Audience Entered", {"audience_key": "vip", "ios_id": NO_DEVICE})),
    ("identifier", _with_properties("Audience Exited", {"audience_key": "vip", "email": " unknown "})),
)
"""Each has one thing wrong, and the reason that it is refused for."""
