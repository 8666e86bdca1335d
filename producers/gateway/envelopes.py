"""The source events in a body, and the write key that may come with them.

In a batch each event stays as it was written, so that it is read, measured and refused like a line of a file. What
comes alone is of the type that the route names, whatever it says itself, as with Segment's API. `context` and
`integrations` beside a batch are merged into those of each event, whose own keys come first, as we read that API's
documentation. What beside a batch is no Unicode or beyond the range of numbers is replaced, and costs no event: SDKs do
not send again what is refused. It is not left out as a whole, since it may say whom the events are about, or a consent.
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Final, Literal, NamedTuple, TypeVar, get_args

import msgspec

from producers.events import Opened, RawEvent
from producers.gateway.answers import Declined
from producers.gateway.elements import elements

EventType = Literal["track", "identify", "delete", "page", "screen", "group", "alias"]
IGNORED: Final[frozenset[EventType]] = frozenset({"page", "screen", "group", "alias"})
"""Types that SDKs send and that are about no audience."""
EVENT_TYPES: Final[tuple[EventType, ...]] = get_args(EventType)
MOST_EVENTS: Final = 2_500
"""In one request."""
MOST_SHARED_BYTES: Final = 16 * 1024 * 1024
"""What stands once beside a batch counts for each event: it is read for each, and copied for some."""

Decoded = TypeVar("Decoded")


class Envelope(NamedTuple):
    events: Iterable[RawEvent | Opened]
    write_key: str | None = None


def one(content: bytes, event_type: EventType) -> Envelope:
    """A source event alone, its write key among its fields. Raises `Declined`."""
    event = _decoded(_decode_object, content)
    write_key = event.pop("writeKey", None)
    event["type"] = event_type
    return Envelope((Opened(event, len(content)),), _text(write_key))


def batch(content: bytes) -> Envelope:
    """The body of `/v1/batch`. Raises `Declined`."""
    found = _decoded(_decode_batch, content)
    events = _written(found.batch)
    parts = {name: part for name in _SHARED if (part := getattr(found, name)) and isinstance(part, dict)}
    if parts and len(msgspec.json.encode(parts)) * len(events) > MOST_SHARED_BYTES:
        raise Declined(413, "too_large", "what stands once beside the source events is too large for so many")
    return Envelope(map(partial(_merged, parts), events) if parts else events, _text(found.write_key))


def signed(content: bytes) -> Envelope:
    """What the webhook gets: a source event, or a list of them. What cannot be read is one event that will be refused.

    Raises `Declined` for a list that is too long.
    """
    try:
        events = _decode_list(content)
    except (ValueError, RecursionError):
        return Envelope((content,))
    return Envelope(_written(events))


def ignored_type(event: RawEvent | Opened) -> EventType | None:
    """The type of an event that is ignored; None for all others."""
    if isinstance(event, bytes | str):
        try:
            found = _decode_type(event).type
        except (ValueError, RecursionError):
            return None
    else:
        found = (event.tree if isinstance(event, Opened) else event).get("type")
    return found if isinstance(found, str) and found in IGNORED else None


class _Batch(msgspec.Struct):
    batch: list[msgspec.Raw]
    write_key: Any = msgspec.field(name="writeKey", default=None)
    context: Any = None
    integrations: Any = None


class _Typed(msgspec.Struct):
    type: Any = None


_SHARED: Final = ("context", "integrations")
"""Parts of a batch that all its events have."""
_EVENTS: Final = re.compile(rb'\s*+"batch"\s*+:\s*+(?=\[)')
_HALVES: Final = re.compile(
    rb"(?:\\\\|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})++|(\\u[dD][89a-fA-F][0-9a-fA-F]{2})"
)
"""Escaped surrogates of JSON; half of a pair is the group."""


def _merged(parts: Mapping[str, dict[str, Any]], event: bytes) -> RawEvent | Opened:
    """An event with the parts that its batch has for all; as it was written, if it cannot be read.

    Events that have none of their own share one mapping: nobody may change it.
    """
    try:
        tree = _decode_object(event)
    except (ValueError, RecursionError):
        return event
    for name, part in parts.items():
        own = tree.get(name)
        if own is None or isinstance(own, dict):
            tree[name] = {**part, **own} if own else part
    return Opened(tree, len(event))


# ── Where one event is no JSON, or none that msgspec can hold ────────────────────────────────────


def _or_split(type_: type[Decoded], split: Callable[[bytes], Decoded]) -> Callable[[bytes], Decoded]:
    """Half of a surrogate pair, deep nesting or a mistake in one event takes no other event with it."""
    strictly = msgspec.json.Decoder(type_).decode

    def decode(content: bytes) -> Decoded:
        try:
            return strictly(content)
        except (ValueError, RecursionError) as mistake:
            try:
                return split(content)
            except (ValueError, RecursionError):
                raise mistake from None

    return decode


def _split_list(content: bytes) -> list[msgspec.Raw]:
    if not content.lstrip().startswith(b"["):
        raise ValueError("no list")
    return [msgspec.Raw(each) for each in elements(content)]


def _split_batch(content: bytes) -> _Batch:
    """Beside the events, what is no Unicode becomes U+FFFD, and a number beyond range null."""
    members = elements(content)
    events = [each[found.end() :] for each in members if (found := _EVENTS.match(each))]
    others = b",".join(each for each in members if not _EVENTS.match(each))
    told = json.loads(f"{{{_in_unicode(others)}}}") | ({"batch": []} if events else {})
    read = {name: told[name] for name in _Batch.__struct_encode_fields__ if name in told}
    batch = msgspec.json.decode(msgspec.json.encode(read), type=_Batch)
    if events:
        batch.batch = _split_list(events[-1])
    return batch


def _in_unicode(text: bytes) -> str:
    return _HALVES.sub(lambda each: rb"\ufffd" if each[1] else each[0], text).decode(errors="replace")


_decode_object: Final = msgspec.json.Decoder(dict[str, Any]).decode
_decode_batch: Final = _or_split(_Batch, _split_batch)
_decode_list: Final = _or_split(list[msgspec.Raw], _split_list)
_decode_type: Final = msgspec.json.Decoder(_Typed).decode


def _decoded(decode: Callable[[bytes], Decoded], content: bytes) -> Decoded:
    try:
        return decode(content)
    except msgspec.ValidationError:
        raise Declined(400, "shape", "the body is JSON, but not what is sent to this address") from None
    except (ValueError, RecursionError):
        raise Declined(400, "json", "the body is not JSON in UTF-8, or nested too deeply") from None


def _written(events: Sequence[msgspec.Raw]) -> Sequence[bytes]:
    if len(events) > MOST_EVENTS:
        raise Declined(413, "too_many", f"more than {MOST_EVENTS} source events in a request")
    return [bytes(each) for each in events]


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
