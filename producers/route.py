"""The way of a membership to one destination: what its `Reading` wants of an event, ready for use."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final
from urllib.parse import quote

from producers.identifiers import read_identifiers
from producers.properties import PropertyReader, at
from producers.segment import Erasure, Membership, Reason
from worker.contract import Change, Identifier, IdentifierType, LaneKey
from worker.destinations.base import AccountReading, ConsentReading, DestinationSettings, Reading

Routed = tuple[LaneKey, Change]
Path = tuple[str, ...]
Lost = list[tuple[str, str]]
"""Destinations, each with something that it does not get."""

AUDIENCE_KEY: Final = "audience_key"
"""What a `Reading` says where the audience key itself is meant, not a path."""
REMEMBERED_AUDIENCES: Final = 4096
BROUGHT_ALONG: Final[tuple[IdentifierType, ...]] = ("email", "device")
"""The identifiers that a membership has already; others are read where a destination wants them."""
USUAL_PATHS: Final[dict[IdentifierType, tuple[str, ...]]] = {
    "phone": ("traits.phone", "properties.phone", "context.traits.phone"),
    "identity_link": ("traits.identity_link", "properties.identity_link", "context.traits.identity_link"),
    "gum": ("traits.gum", "properties.gum", "context.traits.gum"),
}
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
    audiences: tuple[str, ...]
    reading: Reading
    path: Path | None
    """Where the vendor's name for the audience stands; None: the audience key is the name."""
    account: Path | None
    consent: tuple[Path, ...]
    brought_along: frozenset[IdentifierType]
    read_here: tuple[tuple[IdentifierType, tuple[Path, ...]], ...]
    useless_hashes: frozenset[int]
    """The lengths of hashed emails that the vendor cannot use."""
    properties: PropertyReader

    @classmethod
    def of(cls, settings: DestinationSettings) -> "Route":
        reading = settings.reading()
        own = {each: USUAL_PATHS[each] for each in reading.identifiers if each not in BROUGHT_ALONG}
        own.update(reading.identifier_paths)
        return cls(
            destination=settings.name,
            audiences=settings.audiences,
            reading=reading,
            path=None if reading.audience == AUDIENCE_KEY else _steps(reading.audience),
            account=None if reading.account is None else _steps(reading.account.path),
            consent=tuple(map(_steps, reading.consent.paths)) if reading.consent else (),
            brought_along=frozenset(reading.identifiers) - own.keys(),
            read_here=tuple((type_, tuple(map(_steps, paths))) for type_, paths in own.items()),
            useless_hashes=_useless_hashes(reading),
            properties=PropertyReader(reading.properties),
        )

    def route(self, membership: Membership, beside: Sequence["Route"], lost: Lost) -> Routed | Reason | None:
        """The lane and the change, or why there is none; None: the event is for another destination's account.

        `beside` are the routes of all destinations that take the audience. Adds to `lost` what the change lacks.
        """
        account = None
        if self.account is not None:
            account = _name(at(membership.tree, self.account))
            if account is not None and not self._is_account(account):
                return "account"
            if account is not None and not self._has_account(account, beside):
                return None
        if self.consent and self._states_another_consent(membership):
            return "consent"
        lacking: list[str] = []
        identifiers = self._identifiers_of(membership, lacking)
        if not identifiers:
            return "identifier"
        lane = self._lane_of(membership, account)
        if lane is None:
            return "audience"
        change = self._change(membership, identifiers, lacking)
        if lacking:
            lost += [(self.destination, each) for each in lacking]
        return lane, change

    def erasure(self, erasure: Erasure) -> Routed | None:
        """None: the vendor cannot hold the person by any of these handles."""
        usable = tuple(each for each in erasure.identifiers if self._holds(each))
        if not usable:
            return None
        change = Change(
            entered=False, occurred_at=erasure.occurred_at, identifiers=usable, message_id=erasure.message_id
        )
        return LaneKey.erasures(self.destination), change

    def _is_account(self, account: str) -> bool:
        own = self.reading.account
        return own is not None and (account == own.configured or re.fullmatch(own.pattern, account) is not None)

    def _has_account(self, account: str, beside: Sequence["Route"]) -> bool:
        """Whether that account is this destination's; or is nobody's, and this is the first that could have it."""
        own = self.reading.account
        rivals = [each for route in beside if (each := route.reading.account) and own and each.api == own.api]
        owner: AccountReading = next((each for each in rivals if each.configured == account), rivals[0])
        return owner is own

    def _states_another_consent(self, membership: Membership) -> bool:
        stated = (at(membership.tree, path) for path in self.consent)
        found = next((each for each in stated if each is not None and each != ""), None)
        wanted = self.reading.consent
        return found is not None and wanted is not None and ConsentReading.folded(found) not in wanted.spellings

    # ── The person ───────────────────────────────────────────────────────────────────────────────

    def _identifiers_of(self, membership: Membership, lacking: list[str]) -> tuple[Identifier, ...]:
        found = [each for each in membership.identifiers if each.type in self.brought_along and self._can_use(each)]
        lacking += [each for each in membership.lost if each in self.brought_along]
        for type_, paths in self.read_here:
            values = (at(membership.tree, path) for path in paths)
            read = read_identifiers(type_, values, region=self.reading.phone_region, lost=lacking.append)
            found += [each for each in read if self._can_use(each)]
        return tuple(found)

    def _holds(self, identifier: Identifier) -> bool:
        """Whether the vendor, or what waits for it, may hold somebody by this."""
        if identifier.type == "user_id":
            return self.reading.erases_by_user_id or self.reading.keeps_user_ids
        return identifier.type in self.reading.identifiers and self._can_use(identifier)

    def _can_use(self, identifier: Identifier) -> bool:
        return identifier.type != "email" or len(identifier.value) not in self.useless_hashes or "@" in identifier.value

    # ── The lane and the change ──────────────────────────────────────────────────────────────────

    def _lane_of(self, membership: Membership, account: str | None) -> LaneKey | None:
        """The lane of the audience as the vendor knows it. None: the vendor has no name for it."""
        audience = self._audience_of(membership)
        if self.reading.audience_names is not None and audience is not None:
            audience = self.reading.audience_names.get(audience)
        if audience is None:
            return None
        return _lane(self.destination, self._within_account(audience, account))

    def _within_account(self, audience: str, account: str | None) -> str:
        """Audiences of the configured account keep their name, unless it could be taken for another account's."""
        own = self.reading.account
        if own is None or (account in {None, own.configured} and not audience.startswith(_MARK)):
            return audience
        return f"{_MARK}{quote(account or own.configured, safe='')}/{audience}"

    def _audience_of(self, membership: Membership) -> str | None:
        if self.path is None:
            return membership.audience_key
        audience = _name(at(membership.tree, self.path))
        if audience is not None and self.reading.numeric_audience:
            return _whole_number(audience)
        if audience is None and self.reading.fallback_to_key:
            return membership.audience_key
        return audience

    def _change(self, membership: Membership, identifiers: tuple[Identifier, ...], lacking: list[str]) -> Change:
        return Change(
            membership.entered,
            membership.occurred_at,
            identifiers,
            membership.message_id,
            membership.audience_key if self.reading.labelled else "",
            self.properties.read(membership.tree, lambda name: lacking.append(f"property {name}")),
        )


_lane = lru_cache(REMEMBERED_AUDIENCES)(LaneKey)


def _steps(path: str) -> Path:
    return tuple(path.split("."))


def _useless_hashes(reading: Reading) -> frozenset[int]:
    return frozenset(length for name, length in _HASH_LENGTHS.items() if name not in reading.hashed_emails)


def _name(value: object) -> str | None:
    """A name or an id: a string that is not blank, as given, or a whole number (`49.0` is one), as text."""
    if isinstance(value, str):
        return value if value.strip() else None
    if isinstance(value, float) and value.is_integer() and abs(value) <= _EXACT:
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 10**_MAX_DIGITS:
        return str(value)
    return None


def _whole_number(text: str) -> str | None:
    """In its shortest form, so that one audience has one lane."""
    digits = text.strip()
    if not (digits.isascii() and digits.isdecimal() and len(digits) <= _MAX_DIGITS):
        return None
    return str(int(digits))
