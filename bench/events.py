"""The source events of all measurements: lean `track` events of about 380 bytes, each of another person.

One person in five leaves. All is drawn from an event's number, so that the same numbers are the same events anywhere.
"""

import hashlib
import zlib
from collections.abc import Iterator
from typing import Final

AUDIENCE: Final = "vip_buyers"
LEAVES_EVERY: Final = 5
_TRACK: Final = (
    '{{"type":"track","event":"Audience {verb}","messageId":"{id}","userId":"u-{number}",'
    '"timestamp":"2026-11-21T10:00:00.000Z","properties":{{"audience_key":"{key}","{key}":{entered}}},'
    '"context":{{"traits":{{"email":"{email}"}},"personas":{{"computation_class":"audience",'
    '"computation_key":"{key}","computation_id":"{computation_id}"}}}}}}'
).format


def events(count: int, *, first: int = 0, audiences: int = 1, prefix: str = AUDIENCE) -> Iterator[bytes]:
    """Source events, spread evenly over so many audiences."""
    return (event(number, audience_of(number, audiences, prefix)) for number in range(first, first + count))


def event(number: int, key: str = AUDIENCE) -> bytes:
    inside = enters(number)
    return _TRACK(
        verb="Entered" if inside else "Exited",
        id=message_id(number),
        number=number,
        key=key,
        entered="true" if inside else "false",
        email=email(number),
        computation_id=computation_id(key),
    ).encode()


def audience_of(number: int, audiences: int, prefix: str = AUDIENCE) -> str:
    return prefix if audiences == 1 else f"{prefix}_{number % audiences}"


def audience_id(key: str) -> int:
    """The id that Criteo and Taboola have for it, as the sink plays them."""
    return zlib.crc32(key.encode()) + 1


def computation_id(key: str) -> str:
    """What StackAdapt knows the audience by."""
    return f"aud_{key}"


def email(number: int) -> str:
    return f"user{number}@example.com"


def enters(number: int) -> bool:
    """Mixed, so that it has nothing to do with the number's audience."""
    return (number * 2_654_435_761 % 2**32 >> 16) % LEAVES_EVERY != 0


def message_id(number: int) -> str:
    """Looks as random as a UUID of version 4."""
    text = hashlib.blake2b(number.to_bytes(8), digest_size=16).hexdigest()
    return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-a{text[17:20]}-{text[20:]}"
