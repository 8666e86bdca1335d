"""The access tokens a vendor has issued, and what has become of each."""

import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

Standing = Literal["valid", "expired", "revoked", "unknown"]


@dataclass(slots=True)
class Grant:
    """What one token stands for. `expires_at` is in seconds since the epoch."""

    client_id: str
    expires_at: float
    revoked: bool = False


class Tokens:
    """Issues tokens and tells how they stand. Several tokens of one client may be live at once."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._grants: dict[str, Grant] = {}

    def issue(self, client_id: str, lifetime_seconds: float, *, revoke_others: bool = False) -> str:
        """A new token; with `revoke_others` the client's older ones end."""
        if revoke_others:
            self._revoke(grant for grant in self._grants.values() if grant.client_id == client_id)
        token = secrets.token_urlsafe(24)
        self._grants[token] = Grant(client_id, self._clock() + lifetime_seconds)
        return token

    def adopt(self, token: str) -> None:
        """Take note of a token issued elsewhere, without an end; a known one keeps its standing."""
        self._grants.setdefault(token, Grant("", float("inf")))

    def standing(self, token: str) -> Standing:
        grant = self._grants.get(token)
        if grant is None:
            return "unknown"
        if grant.revoked:
            return "revoked"
        return "valid" if self._clock() < grant.expires_at else "expired"

    def client_of(self, token: str) -> str:
        """The client id that the token was issued to; empty if nobody knows."""
        grant = self._grants.get(token)
        return grant.client_id if grant else ""

    def seconds_left(self, token: str) -> int:
        grant = self._grants.get(token)
        return max(0, int(grant.expires_at - self._clock())) if grant else 0

    def revoke_all(self) -> None:
        self._revoke(self._grants.values())

    def expire_all(self) -> None:
        for grant in self._grants.values():
            grant.expires_at = self._clock()

    def clear(self) -> None:
        self._grants.clear()

    @staticmethod
    def _revoke(grants: Iterable[Grant]) -> None:
        for grant in grants:
            grant.revoked = True
