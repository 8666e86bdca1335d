"""What producers and workers agree on: a change, the lane it waits in, and the form it has in Redis.

A lane holds *values*: the change's Redis time in milliseconds (13 digits, put there by the append script) and a comma,
then the change as a JSON array whose first element is the version of this form. So many values between brackets and
commas are one JSON array, which is read at once.
"""

import hashlib
import re
from collections.abc import Sequence
from typing import Final, Literal, NamedTuple

import msgspec

IdentifierType = Literal["email", "device", "phone", "identity_link", "gum", "user_id"]
Property = str | int | float | bool

SEVERAL_OF_A_PERSON: Final[frozenset[IdentifierType]] = frozenset({"device"})
"""One event may name several of these."""
STAMP_DIGITS: Final = 13


class Identifier(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One handle of a person. `value` is normalised: an email is trimmed and lower-cased, or a hash in hex.

    A `user_id` is the source's own; vendors know nobody by it, so it serves erasure alone.
    """

    type: IdentifierType
    value: str

    def __repr__(self) -> str:
        return f"Identifier({self.type})"


class Change(msgspec.Struct, frozen=True, array_like=True, tag=1, gc=False):
    """One person enters or leaves one audience at one destination.

    `occurred_at` is in milliseconds since the epoch. Its `repr` leaves the person out, so a change may
    appear in a log line or a traceback.
    """

    entered: bool
    occurred_at: int
    identifiers: tuple[Identifier, ...]
    message_id: str = ""
    audience_name: str = ""
    properties: dict[str, Property] = {}

    def __repr__(self) -> str:
        direction = "enters" if self.entered else "leaves"
        return f"Change({direction} at {self.occurred_at}, {len(self.identifiers)} identifiers)"


_ERASURES: Final = -1
"""The shard of the lane of erasures: audiences have none below 0."""


class LaneKey(NamedTuple):
    """Names a lane: the audience as the vendor knows it, at one destination.

    >>> LaneKey("criteo-shop", "vip/buyers").member
    '0/vip/buyers'
    """

    destination: str
    audience: str
    shard: int = 0

    @classmethod
    def erasures(cls, destination: str) -> "LaneKey":
        """The lane in which requests to forget persons wait: each a change that leaves, with all handles."""
        return cls(destination, "erasures", _ERASURES)

    @property
    def is_erasures(self) -> bool:
        return self.shard == _ERASURES

    @property
    def member(self) -> str:
        """The lane's name inside its destination's keys."""
        return f"{self.shard}/{self.audience}"

    @property
    def unsharded(self) -> "LaneKey":
        """The same audience, whatever the shard: what producers name, who leave the shard to the store."""
        return self if self.is_erasures else self._replace(shard=0)

    @classmethod
    def from_member(cls, destination: str, member: str) -> "LaneKey":
        shard, _, audience = member.partition("/")
        return cls(destination, audience, int(shard))


_SHA256: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)
_BUCKET_DIGITS: Final = 8


def bucket(identifier: Identifier) -> int:
    """Spreads persons evenly over shards: below 2**32, by the SHA-256 of the value, which it may be already.

    So one person is in one shard, whether their email or phone number comes plain, comes hashed, or is hashed for the
    vendor.
    """
    value = identifier.value
    digest = value if _SHA256.fullmatch(value) else hashlib.sha256(value.encode()).hexdigest()
    return int(digest[:_BUCKET_DIGITS], 16)


class Waiting(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A change as it lies in its lane: `stamp` is the Redis time of its arrival, in milliseconds."""

    stamp: int
    change: Change


def repeated(member: str, change: Change) -> bytes:
    """Equal for a change of a lane and its repetition: the message's id, audience, direction and person.

    Nothing without an id. The id alone will not do: what some sources send under one id differs, and nothing of it may
    be lost.
    """
    if not change.message_id:
        return b""
    return _encoder.encode((change.message_id, member, change.entered, change.identifiers))


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(list[Waiting])


def encode(change: Change) -> bytes:
    return _encoder.encode(change)


def stamped(stamp: int, encoded: bytes) -> bytes:
    """The value of a lane that the append script makes of an encoded change."""
    return b"%0*d,%b" % (STAMP_DIGITS, stamp, encoded)


def decode(values: Sequence[bytes]) -> list[Waiting]:
    """Read values of a lane. Raises `msgspec.DecodeError` when one was written by a newer release."""
    return _decoder.decode(b"[[%b]]" % b"],[".join(values)) if values else []
