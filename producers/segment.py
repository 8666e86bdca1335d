"""A source event, read: who entered or left which audience, and when. Nothing is guessed.

What cannot be read is refused, with one of these reasons. Intake counts them; they are short and constant.

| reason       | the source event                                                                  |
|--------------|-----------------------------------------------------------------------------------|
| `too_large`  | is larger than the limit                                                          |
| `json`       | is not a JSON object in UTF-8 (lone surrogates and numbers beyond range are not)  |
| `type`       | is neither `track` nor `identify`                                                 |
| `shape`      | has something other than an object where a part that is read should be            |
| `class`      | is about something other than an audience or a journey step                       |
| `timestamp`  | has a timestamp that is not ISO 8601                                              |
| `audience`   | names no audience, or none that a destination of it knows                         |
| `direction`  | does not say whether the person enters or leaves                                  |
| `identifier` | has no identifier that a destination of the audience can use (told by routing)    |
| `unrouted`   | is about an audience that no destination takes (told by routing)                  |
"""

from collections.abc import Mapping
from typing import Any, Final, Literal

import msgspec
from pydantic import InstanceOf, TypeAdapter, ValidationError
from typing_extensions import TypedDict

from producers.identifiers import distinct_devices, first_email
from producers.iso8601 import milliseconds
from worker.contract import Identifier

Reason = Literal[
    "too_large",
    "json",
    "type",
    "shape",
    "class",
    "timestamp",
    "audience",
    "direction",
    "identifier",
    "unrouted",
]
RawEvent = bytes | str | Mapping[str, Any]
Tree = dict[str, Any]

MAX_EVENT_BYTES: Final = 32 * 1024
"""The largest source event ("Segment HTTP API: at most 32 KB an event")."""
MAX_AHEAD_MS: Final = 5 * 60 * 1000
"""How far a timestamp may be ahead of its receipt: clocks differ by less."""
MAX_MESSAGE_ID: Final = 256
"""The longest `messageId`, in characters; a longer one is no id."""


class Membership(msgspec.Struct, frozen=True, gc=False):  # a tree out of JSON has no cycles
    """One person is in or out of one audience since `occurred_at` (milliseconds since the epoch).

    `tree` is the whole source event, for what a destination reads by path. Its `repr` leaves the person out.
    """

    audience_key: str
    entered: bool
    occurred_at: int
    identifiers: tuple[Identifier, ...]
    message_id: str
    tree: Tree

    def __repr__(self) -> str:
        direction = "in" if self.entered else "out"
        return f"Membership({direction} since {self.occurred_at}, {len(self.identifiers)} identifiers)"


class Refusal(msgspec.Struct, frozen=True, gc=False):
    """A source event that becomes no change, and why."""

    reason: Reason


def parse(event: RawEvent, *, received_at: int, max_bytes: int = MAX_EVENT_BYTES) -> Membership | Refusal:
    """Read one `track` or `identify` call as it came: JSON, or an object that was JSON.

    `received_at` is the time of receipt in milliseconds since the epoch. Never raises for what an event holds.
    """
    tree = _decoded(event, max_bytes)
    if isinstance(tree, Refusal):
        return tree
    facts = _validated(tree)
    if isinstance(facts, Refusal):
        return facts
    return _membership(tree, facts, received_at)


# ── The parts that are read; all others may be anything ──────────────────────────────────────────

_Object = InstanceOf[dict[str, Any]]


class _Personas(TypedDict, total=False):
    computation_class: Literal["audience", "journey_step"] | None
    computation_key: Any


class _Context(TypedDict, total=False):
    traits: _Object | None
    personas: _Personas | None


class _OptionalFacts(TypedDict, total=False):
    properties: _Object | None
    traits: _Object | None
    context: _Context | None
    timestamp: str | None


class _Facts(_OptionalFacts):
    type: Literal["track", "identify"]


_decode: Final = msgspec.json.Decoder().decode
_validate: Final = TypeAdapter(_Facts).validate_python
_REASONS: Final[Mapping[int | str, Reason]] = {
    "type": "type",
    "computation_class": "class",
    "timestamp": "timestamp",
}
_DIRECTIONS: Final = {"Audience Entered": True, "Audience Exited": False}
_NOTHING: Final[Tree] = {}


def _decoded(event: RawEvent, max_bytes: int) -> Tree | Refusal:
    try:
        line = event if isinstance(event, bytes) else _encoded(event)
        if len(line) > max_bytes:
            return Refusal("too_large")
        tree = _decode(line)
    except (ValueError, TypeError, OverflowError, RecursionError):
        # msgspec's errors, and those of Python for text, numbers and nesting that JSON cannot hold
        return Refusal("json")
    return tree if isinstance(tree, dict) else Refusal("json")


def _encoded(event: str | Mapping[str, Any]) -> bytes:
    return event.encode() if isinstance(event, str) else msgspec.json.encode(event)


def _validated(tree: Tree) -> _Facts | Refusal:
    try:
        return _validate(tree)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        return Refusal(_REASONS.get(first["loc"][-1], "shape"))


def _membership(tree: Tree, facts: _Facts, received_at: int) -> Membership | Refusal:
    properties = facts.get("properties") or _NOTHING
    traits = facts.get("traits") or _NOTHING
    context: _Context = facts.get("context") or {}
    key = _audience_key(properties, context)
    if key is None:
        return Refusal("audience")
    entered = _entered(key, properties, traits, tree)
    if entered is None:
        return Refusal("direction")
    occurred_at = _occurred_at(facts.get("timestamp"), received_at)
    if occurred_at is None:
        return Refusal("timestamp")
    identifiers = _identifiers(properties, traits, context.get("traits") or _NOTHING)
    return Membership(key, entered, occurred_at, identifiers, _message_id(tree), tree)


def _audience_key(properties: Tree, context: _Context) -> str | None:
    key = properties.get("audience_key")
    if isinstance(key, str) and key.strip():
        return key
    personas: _Personas = context.get("personas") or {}
    key = personas.get("computation_key")
    return key if isinstance(key, str) and key.strip() else None


def _entered(key: str, properties: Tree, traits: Tree, tree: Tree) -> bool | None:
    for place in (properties, traits):
        flag = place.get(key)
        if isinstance(flag, bool):
            return flag
    name = tree.get("event")
    return _DIRECTIONS.get(name) if isinstance(name, str) else None


def _occurred_at(timestamp: str | None, received_at: int) -> int | None:
    if timestamp is None:
        return received_at
    occurred_at = milliseconds(timestamp)
    if occurred_at is None or occurred_at <= received_at + MAX_AHEAD_MS:
        return occurred_at
    return received_at


def _identifiers(properties: Tree, traits: Tree, context_traits: Tree) -> tuple[Identifier, ...]:
    email = first_email((traits.get("email"), properties.get("email"), context_traits.get("email")))
    devices = distinct_devices(
        (properties.get("ios_id"), properties.get("android_id"), traits.get("ios_id"), traits.get("android_id"))
    )
    found = [Identifier("device", device) for device in devices]
    return tuple(found) if email is None else (Identifier("email", email), *found)


def _message_id(tree: Tree) -> str:
    found = tree.get("messageId")
    return found if isinstance(found, str) and len(found) <= MAX_MESSAGE_ID else ""
