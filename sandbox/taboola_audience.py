"""One first-party audience of Taboola, and who is in it until when."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import chain
from typing import Final, NamedTuple

from sandbox.journal import Audience
from sandbox.taboola_messages import Identity, UserId

DEFAULT_TTL_IN_HOURS: Final = 8760


class Held(NamedTuple):
    expires_at: float
    cluster: tuple[UserId, ...]


@dataclass(slots=True)
class FirstPartyAudience:
    """One audience. What it was created with is final."""

    id: int
    account: str
    name: str | None
    ready_at: float = 0.0
    listed_at: float = 0.0
    ttl_in_hours: int = DEFAULT_TTL_IN_HOURS
    exclude_from_campaigns: bool = False
    integration_source: str | None = None
    kind: str | None = None
    """What made it, where that was not onboarding."""
    size: int = 0
    """Users seen in the vendor's network; not what was uploaded."""
    members: dict[UserId, Held] = field(default_factory=dict)

    @property
    def key(self) -> Audience:
        return Audience(self.account, self.name or str(self.id))

    def held_at(self, now: float) -> list[UserId]:
        return [user for user, held in self.members.items() if now < held.expires_at]

    def add(self, identities: Iterable[Identity], now: float, *, renew: bool) -> None:
        """`renew`: the time to live of who is a member starts anew."""
        fresh_until = now + self.ttl_in_hours * 3600
        for identity in identities:
            cluster = tuple(identity.cluster)
            for user in cluster:
                held = self.members.get(user)
                keeps = held is not None and now < held.expires_at and not renew
                self.members[user] = Held(held.expires_at if held and keeps else fresh_until, cluster)

    def remove(self, identities: Iterable[Identity], *, whole_clusters: bool) -> None:
        """`whole_clusters`: with each id goes all that was added with it."""
        for user in chain.from_iterable(identity.cluster for identity in identities):
            held = self.members.pop(user, None)
            if held is not None and whole_clusters:
                for companion in held.cluster:
                    self.members.pop(companion, None)
