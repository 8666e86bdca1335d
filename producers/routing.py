"""Which destinations want a membership, and the change that it is at each of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from producers.properties import PropertyReader, at
from producers.segment import Membership, Reason, Refusal
from worker.contract import Change, Identifier, LaneKey
from worker.destinations.base import DestinationSettings, Reading
from worker.patterns import matches

Routed = tuple[LaneKey, Change]

AUDIENCE_KEY: Final = "audience_key"
"""What a `Reading` says where the audience key itself is meant, not a path."""
REMEMBERED_AUDIENCES: Final = 4096
"""For how many audience keys the router remembers which destinations take them."""
_MAX_DIGITS: Final = 19
"""Of a number at the place of an audience id: what fits into 64 bits."""
_HASH_LENGTHS: Final = {"md5": 32, "sha256": 64}


class Router:
    """Turns memberships into changes, as the destinations' settings say."""

    def __init__(self, destinations: Sequence[DestinationSettings]) -> None:
        self._routes = tuple(_Route.of(settings) for settings in destinations)
        self._routes_of = lru_cache(REMEMBERED_AUDIENCES)(self._matching)

    def route(self, membership: Membership) -> list[Routed] | Refusal:
        """The changes of one membership, at most one a destination; a destination that cannot use it is left out.

        Refused when nothing is left: `unrouted`, `identifier` or `audience`.
        """
        routes = self._routes_of(membership.audience_key)
        if not routes:
            return Refusal("unrouted")
        routed: list[Routed] = []
        obstacle: Reason = "audience"
        for route in routes:
            identifiers = route.identifiers_of(membership)
            if not identifiers:
                obstacle = "identifier"
            elif lane := route.lane_of(membership):
                routed.append((lane, route.change(membership, identifiers)))
        return routed or Refusal(obstacle)

    def _matching(self, audience_key: str) -> tuple["_Route", ...]:
        return tuple(route for route in self._routes if matches(audience_key, route.audiences))


@dataclass(frozen=True, slots=True)
class _Route:
    """What one destination wants of a membership, ready for use."""

    destination: str
    audiences: tuple[str, ...]
    reading: Reading
    path: tuple[str, ...] | None
    """Where the vendor's name for the audience stands; None: the audience key is the name."""
    useless_hashes: frozenset[int]
    """The lengths of hashed emails that the vendor cannot use."""
    properties: PropertyReader

    @classmethod
    def of(cls, settings: DestinationSettings) -> "_Route":
        reading = settings.reading()
        return cls(
            destination=settings.name,
            audiences=settings.audiences,
            reading=reading,
            path=None if reading.audience == AUDIENCE_KEY else tuple(reading.audience.split(".")),
            useless_hashes=_useless_hashes(reading),
            properties=PropertyReader(reading.properties),
        )

    def identifiers_of(self, membership: Membership) -> tuple[Identifier, ...]:
        return tuple([each for each in membership.identifiers if self._takes(each)])

    def lane_of(self, membership: Membership) -> LaneKey | None:
        """The lane of the audience as the vendor knows it. None: the vendor has no name for it."""
        audience = self._audience_of(membership)
        if self.reading.audience_names is not None and audience is not None:
            audience = self.reading.audience_names.get(audience)
        return None if audience is None else _lane(self.destination, audience)

    def change(self, membership: Membership, identifiers: tuple[Identifier, ...]) -> Change:
        return Change(
            membership.entered,
            membership.occurred_at,
            identifiers,
            membership.message_id,
            membership.audience_key if self.reading.labelled else "",
            self.properties.read(membership.tree),
        )

    def _takes(self, identifier: Identifier) -> bool:
        if identifier.type not in self.reading.identifiers:
            return False
        return identifier.type != "email" or len(identifier.value) not in self.useless_hashes or "@" in identifier.value

    def _audience_of(self, membership: Membership) -> str | None:
        if self.path is None:
            return membership.audience_key
        audience = _name(at(membership.tree, self.path))
        if audience is not None and self.reading.numeric_audience:
            return _whole_number(audience)
        if audience is None and self.reading.fallback_to_key:
            return membership.audience_key
        return audience


def _useless_hashes(reading: Reading) -> frozenset[int]:
    return frozenset(length for name, length in _HASH_LENGTHS.items() if name not in reading.hashed_emails)


_lane = lru_cache(REMEMBERED_AUDIENCES)(LaneKey)


def _name(value: object) -> str | None:
    """A name or an id: a string that is not blank, as given, or a whole number, as text."""
    if isinstance(value, str):
        return value if value.strip() else None
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 10**_MAX_DIGITS:
        return str(value)
    return None


def _whole_number(text: str) -> str | None:
    """In its shortest form, so that one audience has one lane."""
    digits = text.strip()
    if not (digits.isascii() and digits.isdecimal() and len(digits) <= _MAX_DIGITS):
        return None
    return str(int(digits))
