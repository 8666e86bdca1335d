"""A source event, read: who entered or left which audience, or is to be forgotten, and when. Nothing is guessed.

What cannot be read is refused, with one of these reasons. Intake counts them; they are short and constant.

| reason       | the source event                                                                  |
|--------------|-----------------------------------------------------------------------------------|
| `too_large`  | is larger than the limit                                                          |
| `json`       | is not a JSON object in UTF-8 (lone surrogates and numbers beyond range are not)  |
| `type`       | is none of `track`, `identify` and `delete`                                       |
| `shape`      | has something other than an object where a part that is read should be            |
| `class`      | is about something other than an audience or a journey step                       |
| `timestamp`  | has a timestamp that is not ISO 8601                                              |
| `audience`   | names no audience, or none that a destination of it knows                         |
| `direction`  | does not say whether the person enters or leaves                                  |
| `identifier` | has no identifier that a destination of the audience can use (told by routing),   |
|              | or is a `delete` without any                                                      |
| `unrouted`   | is about an audience that no destination takes (told by routing)                  |
| `consent`    | states another marketing consent than the destination's (told by routing)         |
| `account`    | names an account that the vendor cannot have (told by routing)                    |
"""

from collections.abc import Callable, Mapping
from typing import Any, Final, Literal, TypeVar

import msgspec
from pydantic import InstanceOf, TypeAdapter, ValidationError
from typing_extensions import TypedDict

from producers.identifiers import read_identifiers
from producers.iso8601 import milliseconds
from worker.contract import Identifier, IdentifierType

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
    "consent",
    "account",
]
Validated = TypeVar("Validated")
Lost = Callable[[IdentifierType], None]
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

    `tree` is the whole source event, for what a destination reads by path. `lost` has each type of identifier of
    which something was there that is none. Its `repr` leaves the person out.
    """

    audience_key: str
    entered: bool
    occurred_at: int
    identifiers: tuple[Identifier, ...]
    message_id: str
    tree: Tree
    lost: tuple[IdentifierType, ...] = ()

    def __repr__(self) -> str:
        direction = "in" if self.entered else "out"
        return f"Membership({direction} since {self.occurred_at}, {len(self.identifiers)} identifiers)"


class Erasure(msgspec.Struct, frozen=True, gc=False):
    """One person is to be forgotten, by every identifier of the event; their user id is one of them.

    `occurred_at` and `lost` are as in `Membership`. Its `repr` leaves the person out.
    """

    identifiers: tuple[Identifier, ...]
    occurred_at: int
    message_id: str
    lost: tuple[IdentifierType, ...] = ()

    def __repr__(self) -> str:
        return f"Erasure(at {self.occurred_at}, {len(self.identifiers)} identifiers)"


class Refusal(msgspec.Struct, frozen=True, gc=False):
    """A source event that becomes no change, and why."""

    reason: Reason


def parse(event: RawEvent, *, received_at: int, max_bytes: int = MAX_EVENT_BYTES) -> Membership | Erasure | Refusal:
    """Read one `track`, `identify` or `delete` call as it came: JSON, or an object that was JSON.

    `received_at` is the time of receipt in milliseconds since the epoch. Never raises for what an event holds.
    """
    tree = _decoded(event, max_bytes)
    if isinstance(tree, Refusal):
        return tree
    if tree.get("type") == "delete":
        return _erasure(tree, received_at)
    return _membership(tree, received_at)


# ── The parts that are read; all others may be anything ──────────────────────────────────────────

_Object = InstanceOf[dict[str, Any]]


class _Personas(TypedDict, total=False):
    computation_class: Literal["audience", "journey_step"] | None
    computation_key: Any


class _ContextOfPerson(TypedDict, total=False):
    traits: _Object | None


class _Context(_ContextOfPerson, total=False):
    personas: _Personas | None


class _Parts(TypedDict, total=False):
    properties: _Object | None
    traits: _Object | None
    timestamp: str | None


class _Deletion(_Parts, total=False):
    context: _ContextOfPerson | None


class _OptionalFacts(_Parts, total=False):
    context: _Context | None


class _Facts(_OptionalFacts):
    type: Literal["track", "identify"]


_decode: Final = msgspec.json.Decoder().decode
_validate_facts: Final = TypeAdapter(_Facts).validate_python
_validate_deletion: Final = TypeAdapter(_Deletion).validate_python
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


def _validated(validate: Callable[[Tree], Validated], tree: Tree) -> Validated | Refusal:
    try:
        return validate(tree)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        return Refusal(_REASONS.get(first["loc"][-1], "shape"))


def _membership(tree: Tree, received_at: int) -> Membership | Refusal:
    facts = _validated(_validate_facts, tree)
    if isinstance(facts, Refusal):
        return facts
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
    lost: list[IdentifierType] = []
    identifiers = _identifiers(properties, traits, context.get("traits") or _NOTHING, lost.append)
    return Membership(key, entered, occurred_at, identifiers, _message_id(tree), tree, tuple(lost))


def _erasure(tree: Tree, received_at: int) -> Erasure | Refusal:
    """The user id is `userId`, else `anonymousId`, as where StackAdapt's profiles are written."""
    parts = _validated(_validate_deletion, tree)
    if isinstance(parts, Refusal):
        return parts
    occurred_at = _occurred_at(parts.get("timestamp"), received_at)
    if occurred_at is None:
        return Refusal("timestamp")
    lost: list[IdentifierType] = []
    properties, traits = parts.get("properties") or _NOTHING, parts.get("traits") or _NOTHING
    context: _ContextOfPerson = parts.get("context") or {}
    reached = _identifiers(properties, traits, context.get("traits") or _NOTHING, lost.append)
    known_as = read_identifiers("user_id", (tree.get("userId"), tree.get("anonymousId")), lost=lost.append)
    if not (reached or known_as):
        return Refusal("identifier")
    return Erasure(reached + known_as, occurred_at, _message_id(tree), tuple(lost))


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


def _identifiers(properties: Tree, traits: Tree, context_traits: Tree, lost: Lost) -> tuple[Identifier, ...]:
    emails = (traits.get("email"), properties.get("email"), context_traits.get("email"))
    devices = (properties.get("ios_id"), properties.get("android_id"), traits.get("ios_id"), traits.get("android_id"))
    return read_identifiers("email", emails, lost=lost) + read_identifiers("device", devices, lost=lost)


def _message_id(tree: Tree) -> str:
    found = tree.get("messageId")
    return found if isinstance(found, str) and len(found) <= MAX_MESSAGE_ID else ""
