"""The source events in a body, and the write key that may come with them.

In a batch each event stays as it was written, so that it is read, measured and refused like a line of a file. What
comes alone is of the type that the route names, whatever it says itself, as with Segment's API.
"""

import json
from collections.abc import Callable, Sequence
from typing import Any, Final, Literal, NamedTuple, TypeVar, get_args

import msgspec

from producers.gateway.answers import Declined
from producers.segment import RawEvent

EventType = Literal["track", "identify", "delete", "page", "screen", "group", "alias"]
IGNORED: Final[frozenset[EventType]] = frozenset({"page", "screen", "group", "alias"})
"""Types that SDKs send and that are about no audience."""
EVENT_TYPES: Final[tuple[EventType, ...]] = get_args(EventType)
MOST_EVENTS: Final = 2_500
"""In one request."""

Decoded = TypeVar("Decoded")


class Envelope(NamedTuple):
    events: Sequence[RawEvent]
    write_key: str | None = None


def one(content: bytes, event_type: EventType) -> Envelope:
    """A source event alone, its write key among its fields. Raises `Declined`."""
    event = _decoded(_decode_object, content)
    write_key = event.pop("writeKey", None)
    event["type"] = event_type
    return Envelope((event,), _text(write_key))


def batch(content: bytes) -> Envelope:
    """The body of `/v1/batch`. Raises `Declined`."""
    found = _decoded(_decode_batch, content)
    return Envelope(_written(found.batch), _text(found.write_key))


def signed(content: bytes) -> Envelope:
    """What the webhook gets: a source event, or a list of them. What cannot be read is one event that will be refused.

    Raises `Declined` for a list that is too long.
    """
    try:
        events = _decode_list(content)
    except (ValueError, RecursionError):
        return Envelope((content,))
    return Envelope(_written(events))


def ignored_type(event: RawEvent) -> EventType | None:
    """The type of an event that is ignored; None for all others."""
    try:
        found = _decode_type(event).type if isinstance(event, bytes | str) else event.get("type")
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, str) and found in IGNORED else None


class _Batch(msgspec.Struct):
    batch: list[msgspec.Raw]
    write_key: Any = msgspec.field(name="writeKey", default=None)


class _Typed(msgspec.Struct):
    type: Any = None


def _or_leniently(type_: type[Decoded]) -> Callable[[bytes], Decoded]:
    """Where a text that msgspec cannot hold (half a surrogate pair) is JSON nevertheless, only its event is refused."""
    strictly = msgspec.json.Decoder(type_).decode

    def decode(content: bytes) -> Decoded:
        try:
            return strictly(content)
        except msgspec.ValidationError:
            raise
        except msgspec.DecodeError:
            return msgspec.convert(_rewritten(json.loads(content)), type_)

    return decode


def _rewritten(body: Any) -> Any:
    """What `json` has read, its events written again."""
    match body:
        case {"batch": list(events)}:
            return {**body, "batch": _rewritten(events)}
        case list():
            return [msgspec.Raw(json.dumps(each)) for each in body]
        case _:
            return body


_decode_object: Final = msgspec.json.Decoder(dict[str, Any]).decode
_decode_batch: Final = _or_leniently(_Batch)
_decode_list: Final = _or_leniently(list[msgspec.Raw])
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
