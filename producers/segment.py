"""A source event, decoded, and read as Segment writes it: by the mapping that all destinations have unless told."""

from codecs import BOM_UTF8
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from producers.events import (
    MAX_AHEAD_MS,
    Erasure,
    Membership,
    Opened,
    RawEvent,
    Reason,
    Refusal,
    SourceEvent,
    Tree,
    Unread,
)
from producers.identifiers import reader
from producers.mapping import Reader
from producers.paths import at
from worker.contract import IdentifierType
from worker.destinations.mapping import MappingSettings
from worker.paths import steps

__all__ = [
    "MAX_AHEAD_MS",
    "MAX_EVENT_BYTES",
    "Erasure",
    "Membership",
    "RawEvent",
    "Reason",
    "Refusal",
    "SourceEvent",
    "Tree",
    "decode",
    "parse",
    "read_erasure",
]

MAX_EVENT_BYTES: Final = 32 * 1024
"""The largest source event ("Segment HTTP API: at most 32 KB an event")."""
_USUAL: Final = MappingSettings()
_READER: Final = Reader(_USUAL)
_HANDLES: Final[tuple[IdentifierType, ...]] = ("email", "device", "user_id")
_PLACES: Final = tuple((reader(type_), tuple(map(steps, _USUAL.identifier_paths(type_)))) for type_ in _HANDLES)
_OBJECT: Final = frozenset({dict, type(None)})
"""What is an object of JSON, or none."""
_decode_json: Final = msgspec.json.Decoder().decode


def parse(event: RawEvent, *, received_at: int, max_bytes: int = MAX_EVENT_BYTES) -> Membership | Erasure | Refusal:
    """Read one `track`, `identify` or `delete` call as it came: JSON, or an object that was JSON.

    `received_at` is the time of receipt in milliseconds since the epoch. Never raises for what an event holds. For
    destinations that have a mapping of their own there is `Router.route_event`.
    """
    decoded = decode(event, received_at=received_at, max_bytes=max_bytes)
    if isinstance(decoded, Refusal):
        return decoded
    if decoded.type != "delete":
        found = _READER.read(decoded)
        return Refusal(found.reason) if isinstance(found, Unread) else found
    erasure = read_erasure(decoded)
    return erasure if isinstance(erasure, Refusal) or erasure.identifiers else Refusal("identifier")


def decode(event: RawEvent | Opened, *, received_at: int, max_bytes: int = MAX_EVENT_BYTES) -> SourceEvent | Refusal:
    """A call of one of the three types, whose parts are objects. Otherwise as `parse`."""
    tree = _tree(event, max_bytes)
    if isinstance(tree, Refusal):
        return tree
    match tree.get("type"):
        case "track" | "identify" | "delete" as type_:
            if not _is_shaped(tree):
                return Refusal("shape")
            return SourceEvent(type_, _with_traits(tree) if type_ == "identify" else tree, received_at)
        case _:
            return Refusal("type")


def read_erasure(event: SourceEvent) -> Erasure | Refusal:
    """The request to forget of a `delete` call, with what identifies the person at the usual places: maybe nothing."""
    occurred_at = event.occurred_at(event.tree.get("timestamp"))
    if occurred_at is None:
        return Refusal("timestamp")
    lost: list[IdentifierType] = []
    found = [
        each for read, places in _PLACES for each in read([at(event.tree, place) for place in places], lost.append)
    ]
    return Erasure(tuple(found), occurred_at, event.message_id, event.tree, tuple(lost))


def _tree(event: RawEvent | Opened, max_bytes: int) -> Tree | Refusal:
    if isinstance(event, Opened):
        return event.tree if event.size <= max_bytes else Refusal("too_large")
    try:
        line = event if isinstance(event, bytes) else _encoded(event)
        if len(line) > max_bytes:
            return Refusal("too_large")
        tree = _decode_json(line.removeprefix(BOM_UTF8))
    except (ValueError, TypeError, OverflowError, RecursionError):
        # msgspec's errors, and those of Python for text, numbers and nesting that JSON cannot hold
        return Refusal("json")
    return tree if isinstance(tree, dict) else Refusal("json")


def _encoded(event: str | Mapping[str, Any]) -> bytes:
    return event.encode() if isinstance(event, str) else _encode_json(event)


def _as_dict(value: object) -> dict[Any, Any]:
    """Of any mapping; msgspec by itself writes those of Python's `dict` alone."""
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError("not a value of JSON")


_encode_json: Final = msgspec.json.Encoder(enc_hook=_as_dict).encode


def _with_traits(tree: Tree) -> Tree:
    """RudderStack's SDKs send the traits of an `identify` call in its context alone.

    In any other call these are those that the person had before, and tell nothing of what has happened.
    """
    context = tree.get("context")
    traits = context.get("traits") if isinstance(context, dict) and not tree.get("traits") else None
    return {**tree, "traits": traits} if traits else tree


def _is_shaped(tree: Tree) -> bool:
    """Whether the parts that are read are objects, null or absent."""
    if type(tree.get("properties")) not in _OBJECT or type(tree.get("traits")) not in _OBJECT:
        return False
    context = tree.get("context")
    if not isinstance(context, dict):
        return context is None
    if type(context.get("traits")) not in _OBJECT:
        return False
    return tree["type"] == "delete" or type(context.get("personas")) in _OBJECT
