"""What each vendor should hold once all events of a crowd are delivered, found without any code of the relay."""

from collections import defaultdict
from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import Final, NamedTuple

Members = dict[str, dict[str, bool]]
"""`{audience: {identifier: True}}`, as `/_sandbox/members/{vendor}` tells it; empty audiences are left out."""


class Audience(NamedTuple):
    """As events know it: `id` is the computation id, None when the events have none."""

    key: str
    id: str | None = None
    computation_class: str = "audience"


class Move(NamedTuple):
    """One person enters or leaves one audience, as one event says it.

    `at` is in milliseconds since the epoch. `email` is tidy, or a SHA-256; empty: the event has none.
    """

    audience: Audience
    entered: bool
    at: int
    email: str = ""
    devices: tuple[str, ...] = ()


class Rules(NamedTuple):
    """What one vendor makes of a move."""

    audience: Callable[[Audience], str]
    """The vendor's name for the audience."""
    email: Callable[[str], str | None]
    """The form in which the vendor holds an email; None: it does not hold this one."""
    devices: bool = False
    """Whether it holds device ids, which are then kept as given."""


class Model:
    """The newest move of each identifier decides: by time, then by arrival."""

    def __init__(self, rules: Mapping[str, Rules]) -> None:
        self._newest: dict[str, _Newest] = {vendor: defaultdict(dict) for vendor in rules}
        self._rules = rules

    def record(self, move: Move) -> None:
        """The next move in the order of arrival."""
        for vendor, rules in self._rules.items():
            identifiers = _identifiers(move, rules)
            if identifiers:
                newest = self._newest[vendor][rules.audience(move.audience)]
                for identifier in identifiers:
                    before = newest.get(identifier)
                    if before is None or move.at >= before[0]:
                        newest[identifier] = (move.at, move.entered)

    def members(self, vendor: str) -> Members:
        """What the vendor should hold after all moves so far."""
        held = {
            audience: {identifier: True for identifier, (_, entered) in newest.items() if entered}
            for audience, newest in self._newest[vendor].items()
        }
        return {audience: members for audience, members in held.items() if members}


_Newest = defaultdict[str, dict[str, tuple[int, bool]]]
"""By the vendor's audience and identifier: the time of the newest move and whether it entered."""


def _identifiers(move: Move, rules: Rules) -> list[str]:
    identifiers = list(move.devices) if rules.devices else []
    email = rules.email(move.email) if move.email else None
    if email is not None:
        identifiers.append(email)
    return identifiers


# ── The vendors as the sandbox has them ──────────────────────────────────────────────────────────


def can_exist(email: str) -> bool:
    """Whether the address has a top-level domain."""
    return "." in email.rpartition("@")[2]


def is_plain(email: str) -> bool:
    """Whether it is an address, not the hash of one."""
    return "@" in email


def _plain_or_hashed(email: str) -> str | None:
    """Criteo takes both (the relay is set not to hash), and calls impossible addresses invalid."""
    return email if can_exist(email) or not is_plain(email) else None


def _hashed(email: str) -> str:
    """Taboola sees hashes only, so it cannot tell which addresses exist."""
    return sha256(email.encode()).hexdigest() if is_plain(email) else email


def _plain(email: str) -> str | None:
    """StackAdapt has no use for hashes, and drops profiles without a valid email."""
    return email if can_exist(email) and is_plain(email) else None


SANDBOX_RULES: Final[Mapping[str, Rules]] = {
    "criteo": Rules(audience=lambda audience: audience.key, email=_plain_or_hashed),
    "taboola": Rules(audience=lambda audience: audience.key, email=_hashed, devices=True),
    "stackadapt": Rules(audience=lambda audience: audience.id or audience.key, email=_plain),
}
"""For destinations with `hash_emails = false` and `audience_identifier = "computation_key"`."""
