"""Source events and what they come to, as values.

What cannot be read is refused, with one of these reasons. Intake counts them; they are short and constant.

| reason       | the source event                                                                  |
|--------------|-----------------------------------------------------------------------------------|
| `too_large`  | is larger than the limit                                                          |
| `json`       | is not a JSON object in UTF-8 (lone surrogates and numbers beyond range are not)  |
| `type`       | is none of `track`, `identify` and `delete`                                       |
| `shape`      | has something other than an object where a part that is read should be            |
| `unwanted`   | is none of those that the mapping of a destination counts (told by routing)       |
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

from collections.abc import Mapping
from typing import Any, Final, Literal, NamedTuple

import msgspec

from producers.iso8601 import milliseconds
from worker.contract import Identifier, IdentifierType
from worker.destinations.mapping import EventType

Reason = Literal[
    "too_large",
    "json",
    "type",
    "shape",
    "unwanted",
    "class",
    "timestamp",
    "audience",
    "direction",
    "identifier",
    "unrouted",
    "consent",
    "account",
]
RawEvent = bytes | str | Mapping[str, Any]
Tree = dict[str, Any]

MAX_AHEAD_MS: Final = 5 * 60 * 1000
"""How far a timestamp may be ahead of its receipt: clocks differ by less."""
MAX_MESSAGE_ID: Final = 256
"""The longest `messageId`, in characters; a longer one is no id."""


class Opened(NamedTuple):
    """A source event out of JSON that is decoded already, and of how many bytes it was when it came."""

    tree: Tree
    size: int


class SourceEvent(msgspec.Struct, frozen=True, gc=False):  # a tree out of JSON has no cycles
    """A `track`, `identify` or `delete` call, decoded; `received_at` is in milliseconds since the epoch.

    `properties`, `traits`, `context` and what is read in it are objects, null or absent; all else may be anything.
    """

    type: EventType | Literal["delete"]
    tree: Tree
    received_at: int

    @property
    def message_id(self) -> str:
        """Empty: there is none, and the event is never recognised as a duplicate. An integer is its decimal text."""
        found = self.tree.get("messageId")
        text = str(found) if type(found) is int else found  # a boolean is none
        return text if isinstance(text, str) and len(text) <= MAX_MESSAGE_ID else ""

    def occurred_at(self, timestamp: object) -> int | None:
        """The instant that a timestamp tells; that of receipt where there is none, or a later one. None: unreadable."""
        if timestamp is None:
            return self.received_at
        told = milliseconds(timestamp) if isinstance(timestamp, str) else None
        if told is None or told <= self.received_at + MAX_AHEAD_MS:
            return told
        return self.received_at

    def __repr__(self) -> str:
        return f"SourceEvent({self.type})"


class Membership(msgspec.Struct, frozen=True, gc=False):
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


class Unread(msgspec.Struct, frozen=True, gc=False):
    """By some mapping a source event tells of no membership, and why; of which audience, as far as that is known."""

    reason: Reason
    audience_key: str | None = None


class Erasure(msgspec.Struct, frozen=True, gc=False):
    """One person is to be forgotten, by every identifier of the event; their user id is one of them.

    `occurred_at`, `tree` and `lost` are as in `Membership`. Its `repr` leaves the person out.
    """

    identifiers: tuple[Identifier, ...]
    occurred_at: int
    message_id: str
    tree: Tree
    lost: tuple[IdentifierType, ...] = ()

    def __repr__(self) -> str:
        return f"Erasure(at {self.occurred_at}, {len(self.identifiers)} identifiers)"


class Refusal(msgspec.Struct, frozen=True, gc=False):
    """A source event that becomes no change, and why."""

    reason: Reason
