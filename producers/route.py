"""The way of a membership to one destination: what its `Reading` wants of an event, ready for use."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Final
from urllib.parse import quote

from producers.events import Erasure, Membership, Reason, Tree, Unread
from producers.identifiers import Read, reader
from producers.mapping import BROUGHT_ALONG
from producers.paths import Parents, Place, Places, at
from producers.properties import PropertyReader
from worker.contract import Change, Identifier, IdentifierType, LaneKey, Property
from worker.destinations.base import (
    AUDIENCE_KEY,
    USER_ID,
    AccountReading,
    ConsentReading,
    DestinationSettings,
    PropertyReading,
    Reading,
)
from worker.destinations.mapping import USUAL_USER_ID, MappingSettings
from worker.paths import Steps, steps

Routed = tuple[LaneKey, Change]
Readings = Sequence[Membership | Unread]
"""What an event says by each mapping."""
Lost = list[tuple[str, str]]
"""Destinations, each with something that it does not get."""
Handles = tuple[tuple[Read, tuple[Steps, ...]], ...]
"""Types of identifiers, each by how it is read, and where it stands."""

LaneOf = Callable[[str, str | None], LaneKey | None]
"""From the name that an event has for its audience, and the account that it names, to the lane; None: there is none."""

REMEMBERED_AUDIENCES: Final = 4096
_MAX_DIGITS: Final = 19
"""Of a number at the place of an audience id: what fits into 64 bits."""
_EXACT: Final = 2**53
"""Below it every whole number in a float is meant."""
_HASH_LENGTHS: Final = {"md5": 32, "sha256": 64}
_MARK: Final = "@"
"""Begins the audience of a lane that names its account, too."""


@dataclass(frozen=True, slots=True)
class Route:
    """What one destination wants of a membership."""

    destination: str
    mapping: int
    audiences: tuple[str, ...]
    reading: Reading
    places: Places
    """Of all that is read of an event but identifiers."""
    audience_at: tuple[Place, ...]
    """Where the vendor's name for the audience stands; nowhere: the audience key is the name."""
    account: Place | None
    consent: tuple[Place, ...]
    read_here: Handles
    """What a membership does not bring along."""
    forgotten_by: Handles
    """What an erasure does not bring along."""
    knows_usual_ids: bool
    """Whether the user id at its usual place is the one that the destination holds."""
    lane_named: LaneOf
    useless_hashes: frozenset[int]
    """The lengths of hashed emails that the vendor cannot use."""
    properties: PropertyReader

    @classmethod
    def of(cls, settings: DestinationSettings, mapping: int = 0) -> "Route":
        """`mapping`: the number of its mapping among those of all destinations."""
        reading, mapped, places = settings.reading(), settings.mapping, Places()
        identifiers = {each: _all_steps(mapped.identifier_paths(each)) for each in reading.identifiers}
        elsewhere = {each: at for each, at in identifiers.items() if each not in BROUGHT_ALONG}
        knows_usual_ids = mapped.user_id == USUAL_USER_ID
        forgotten_by = identifiers if knows_usual_ids else {**identifiers, "user_id": _all_steps(mapped.user_id)}
        properties = [_with_user_id_at(mapped.user_id, each) for each in reading.properties]
        return cls(
            destination=settings.name,
            mapping=mapping,
            audiences=settings.audiences,
            reading=reading,
            places=places,
            audience_at=tuple(map(places.add, _all_steps(_audience_paths(reading, mapped)))),
            account=None if reading.account is None else places.add(steps(reading.account.path)),
            consent=tuple(map(places.add, _all_steps(reading.consent.paths))) if reading.consent else (),
            read_here=_handles(elsewhere, reading.phone_region),
            forgotten_by=_handles(forgotten_by, reading.phone_region),
            knows_usual_ids=knows_usual_ids,
            lane_named=lru_cache(REMEMBERED_AUDIENCES)(partial(_lane_named, settings.name, reading)),
            useless_hashes=_useless_hashes(reading),
            properties=PropertyReader(properties, places),
        )

    def route(self, readings: Readings, asked: Sequence["Route"], lost: Lost) -> Routed | Reason | None:
        """The lane and the change, or why there is none; None: the event is not for this destination.

        `asked` are the routes of all destinations that take the audience. Adds to `lost` what the change lacks.
        """
        membership = readings[self.mapping]
        if isinstance(membership, Unread):
            return None if membership.reason == "unwanted" else membership.reason
        return self._routed(membership, readings, asked, lost)

    def _routed(
        self, membership: Membership, readings: Readings, asked: Sequence["Route"], lost: Lost
    ) -> Routed | Reason | None:
        account, parents = None, self.places.parents(membership.tree)
        if self.account is not None:
            number, key = self.account
            account = name_in(parents[number].get(key))
            if account is not None and not self._is_account(account):
                return "account"
            if account is not None and not self._has_account(account, readings, asked):
                return None
        if self.consent and self._states_another_consent(parents):
            return "consent"
        lacking: list[str] = []
        identifiers = self._identifiers_of(membership, lacking)
        if not identifiers:
            return "identifier"
        lane = self._lane_of(membership, parents, account)
        if lane is None:
            return "audience"
        change = self._change(membership, parents, identifiers, lacking)
        if lacking:
            lost += [(self.destination, each) for each in lacking]
        return lane, change

    def erasure(self, erasure: Erasure, lost: Lost) -> Routed | None:
        """None: the vendor cannot hold the person by any of these handles. Adds to `lost` as `route` does."""
        unread: list[str] = [each for each in erasure.lost if self._knows_usual(each)]
        found = [each for each in erasure.identifiers if self._knows_usual(each.type)]
        found += self._read(self.forgotten_by, erasure.tree, unread)
        usable = tuple(dict.fromkeys(each for each in found if self._holds(each)))
        if not usable:
            return None
        lost += [(self.destination, each) for each in dict.fromkeys(unread) if self._uses(each)]
        change = Change(
            entered=False, occurred_at=erasure.occurred_at, identifiers=usable, message_id=erasure.message_id
        )
        return LaneKey.erasures(self.destination), change

    def _is_account(self, account: str) -> bool:
        own = self.reading.account
        return own is not None and (account == own.configured or re.fullmatch(own.pattern, account) is not None)

    def _has_account(self, account: str, readings: Readings, asked: Sequence["Route"]) -> bool:
        """Whether that account is this destination's; or is nobody's, and this is the first that could have it."""
        own = self.reading.account
        readable = [route for route in asked if isinstance(readings[route.mapping], Membership)]
        rivals = [each for route in readable if (each := route.reading.account) and own and each.api == own.api]
        owner: AccountReading = next((each for each in rivals if each.configured == account), rivals[0])
        return owner is own

    def _states_another_consent(self, parents: Parents) -> bool:
        """The first place that states one decides."""
        for number, key in self.consent:
            stated = parents[number].get(key)
            if stated is not None and stated != "":
                wanted = self.reading.consent
                return wanted is not None and ConsentReading.folded(stated) not in wanted.spellings
        return False

    # ── The person ───────────────────────────────────────────────────────────────────────────────

    def _identifiers_of(self, membership: Membership, lacking: list[str]) -> tuple[Identifier, ...]:
        wanted = self.reading.identifiers
        found = [each for each in membership.identifiers if each.type in wanted and self._can_use(each)]
        if membership.lost:
            lacking += [each for each in membership.lost if each in wanted]
        if self.read_here:
            found += [each for each in self._read(self.read_here, membership.tree, lacking) if self._can_use(each)]
        return tuple(found)

    def _read(self, handles: Handles, tree: Tree, lacking: list[str]) -> Iterator[Identifier]:
        for read, places in handles:
            yield from read([at(tree, place) for place in places], lacking.append)

    def _knows_usual(self, type_: IdentifierType) -> bool:
        """A user id at another place may be another kind of id: then the same at the usual place is somebody else."""
        return type_ != "user_id" or self.knows_usual_ids

    def _holds(self, identifier: Identifier) -> bool:
        """Whether the vendor, or what waits for it, may hold somebody by this."""
        return self._uses(identifier.type) and self._can_use(identifier)

    def _uses(self, type_: str) -> bool:
        if type_ == "user_id":
            return self.reading.erases_by_user_id or self.reading.keeps_user_ids
        return type_ in self.reading.identifiers

    def _can_use(self, identifier: Identifier) -> bool:
        return identifier.type != "email" or "@" in identifier.value or len(identifier.value) not in self.useless_hashes

    # ── The lane and the change ──────────────────────────────────────────────────────────────────

    def _lane_of(self, membership: Membership, parents: Parents, account: str | None) -> LaneKey | None:
        """The lane of the audience as the vendor knows it. None: the vendor has no name for it."""
        audience = self._audience_of(membership, parents)
        return None if audience is None else self.lane_named(audience, account)

    def _audience_of(self, membership: Membership, parents: Parents) -> str | None:
        if not self.audience_at:
            return membership.audience_key
        audience = self._named_in(parents)
        if audience is not None and self.reading.numeric_audience:
            return whole_number(audience)
        if audience is None and self.reading.fallback_to_key:
            return membership.audience_key
        return audience

    def _named_in(self, parents: Parents) -> str | None:
        for number, key in self.audience_at:
            if (found := name_in(parents[number].get(key))) is not None:
                return found
        return None

    def _change(
        self, membership: Membership, parents: Parents, identifiers: tuple[Identifier, ...], lacking: list[str]
    ) -> Change:
        return Change(
            membership.entered,
            membership.occurred_at,
            identifiers,
            membership.message_id,
            membership.audience_key if self.reading.labelled else "",
            self._properties_in(parents, lacking) if self.reading.properties else {},
        )

    def _properties_in(self, parents: Parents, lacking: list[str]) -> dict[str, Property]:
        return self.properties.read_in(parents, lambda name: lacking.append(f"property {name}"))


def _lane_named(destination: str, reading: Reading, audience: str, account: str | None) -> LaneKey | None:
    name = audience if reading.audience_names is None else reading.audience_names.get(audience)
    return None if name is None else LaneKey(destination, _within_account(name, account, reading.account))


def _within_account(audience: str, account: str | None, own: AccountReading | None) -> str:
    """Audiences of the configured account keep their name, unless it could be taken for another account's."""
    if own is None or (account in {None, own.configured} and not audience.startswith(_MARK)):
        return audience
    return f"{_MARK}{quote(account or own.configured, safe='')}/{audience}"


def _handles(places: Mapping[IdentifierType, tuple[Steps, ...]], region: str | None) -> Handles:
    return tuple((reader(type_, region=region), at) for type_, at in places.items())


def _all_steps(paths: Iterable[str]) -> tuple[Steps, ...]:
    return tuple(map(steps, paths))


def _audience_paths(reading: Reading, places: MappingSettings) -> tuple[str, ...]:
    if reading.audience == AUDIENCE_KEY:
        return ()
    return places.audience_id or (reading.audience,)


def _with_user_id_at(paths: tuple[str, ...], each: PropertyReading) -> PropertyReading:
    return each._replace(paths=paths) if each.name == USER_ID else each


def _useless_hashes(reading: Reading) -> frozenset[int]:
    return frozenset(length for name, length in _HASH_LENGTHS.items() if name not in reading.hashed_emails)


def name_in(value: object) -> str | None:
    """A name or an id: a string that is not blank, as given, or a whole number (`49.0` is one), as text."""
    if isinstance(value, str):
        return value if value.strip() else None
    if isinstance(value, float) and value.is_integer() and abs(value) <= _EXACT:
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 10**_MAX_DIGITS:
        return str(value)
    return None


def whole_number(text: str) -> str | None:
    """In its shortest form, so that one audience has one lane."""
    digits = text.strip()
    if not (digits.isascii() and digits.isdecimal() and len(digits) <= _MAX_DIGITS):
        return None
    return str(int(digits))
