"""Taboola: first-party audiences over the Backstage API, after its reference pages and observed answers."""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from itertools import chain, count
from typing import Any, Final, NamedTuple

import msgspec
from werkzeug import Request, Response

from sandbox.base import DEFAULT_CLOCK, DEFAULT_SLEEP, Clock, Route, Sleep, json_answer
from sandbox.journal import Audience
from sandbox.taboola_access import API, EXAMPLE_ACCOUNT, TaboolaAccess, TaboolaSwitches
from sandbox.taboola_messages import (
    BAD_REQUEST,
    Glance,
    Identity,
    NewAudience,
    UserId,
    Users,
    error,
    invalid_value,
    listed,
    read,
)

__all__ = ["TaboolaSandbox", "TaboolaSwitches"]

DEFAULT_TTL_IN_HOURS: Final = 8760
MAX_TTL_IN_HOURS: Final = 2**31 - 1
_SHA256: Final = re.compile(r"[0-9a-f]{64}")


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
    ttl_in_hours: int = DEFAULT_TTL_IN_HOURS
    exclude_from_campaigns: bool = False
    integration_source: str | None = None
    size: int = 0
    """Users seen in the vendor's network; not what was uploaded."""
    members: dict[UserId, Held] = field(default_factory=dict)

    @property
    def key(self) -> Audience:
        return Audience(self.account, self.name or str(self.id))


class TaboolaSandbox(TaboolaAccess):
    """`api_url` is where this is mounted: `{api_url}/backstage/oauth/token`, `{api_url}/backstage/api/1.0/…`."""

    def __init__(
        self, switches: TaboolaSwitches | None = None, *, clock: Clock = DEFAULT_CLOCK, sleep: Sleep = DEFAULT_SLEEP
    ) -> None:
        routes = (
            Route("create", "POST", f"{API}/<account>/audience_onboarding/create", self.guarded(self._create)),
            Route("amend", "POST", f"{API}/<account>/audience_onboarding", self.guarded(self._amend)),
            Route("audiences", "GET", f"{API}/<account>/my_audiences", self.guarded(self._my_audiences)),
        )
        super().__init__(routes, switches or TaboolaSwitches(), clock=clock, sleep=sleep)

    def add_audience(self, audience_id: int, *, account: str = EXAMPLE_ACCOUNT, name: str | None = None) -> None:
        """An audience that was there before and is ready."""
        with self._lock:
            self._by_id[audience_id] = FirstPartyAudience(audience_id, account, name)

    def set_size(self, audience_id: int, size: int) -> None:
        """What `my_audiences` tells as the audience's size."""
        with self._lock:
            self._by_id[audience_id].size = size

    # ── What every stand-in has ──────────────────────────────────────────────────────────────────

    def _forget(self) -> None:
        super()._forget()
        self._by_id: dict[int, FirstPartyAudience] = {}
        self._ids = count(49)

    def _memberships(self) -> Mapping[Audience, Collection[str]]:
        now = self._clock()
        return {
            audience.key: [user.user_id for user, held in audience.members.items() if now < held.expires_at]
            for audience in self._by_id.values()
        }

    def _audiences(self, route: str, request: Request) -> Collection[Audience]:
        if route != "amend":
            return ()
        try:
            audience_id = msgspec.json.decode(request.get_data(), type=Glance).audience_id
        except msgspec.MsgspecError:
            return ()
        with self._lock:
            audience = self._by_id.get(audience_id)
        return (audience.key if audience else Audience(request.path.split("/")[4], str(audience_id)),)

    # ── Audiences ────────────────────────────────────────────────────────────────────────────────

    def _create(self, request: Request, account: str) -> Response:
        """An existing name returns the existing audience; its first values stay (page "create")."""
        wanted = read(request, NewAudience)
        if not wanted.audience_name.strip():
            raise invalid_value("audience_name", wanted.audience_name)
        if wanted.ttl_in_hours is not None and not 1 <= wanted.ttl_in_hours <= MAX_TTL_IN_HOURS:
            raise error(400, "Bad request", code=BAD_REQUEST)
        audience = self._named(account, wanted.audience_name) or self._new_audience(account, wanted)
        return json_answer(
            {
                "audience_name": audience.name,
                "ttl_in_hours": audience.ttl_in_hours,
                "audience_id": audience.id,
                "exclude_from_campaigns": audience.exclude_from_campaigns,
                "integration_source": audience.integration_source,
            }
        )

    def _named(self, account: str, name: str) -> FirstPartyAudience | None:
        return next((each for each in self._by_id.values() if (each.account, each.name) == (account, name)), None)

    def _new_audience(self, account: str, wanted: NewAudience) -> FirstPartyAudience:
        audience = FirstPartyAudience(
            next(number for number in self._ids if number not in self._by_id),
            account,
            wanted.audience_name,
            ready_at=self._clock() + self.switches.ready_delay_seconds,
            ttl_in_hours=wanted.ttl_in_hours or DEFAULT_TTL_IN_HOURS,
            exclude_from_campaigns=bool(wanted.exclude_from_campaigns),
            integration_source=wanted.integration_source,
        )
        self._by_id[audience.id] = audience
        return audience

    def _amend(self, request: Request, account: str) -> Response:
        """ADD or REMOVE users. Success is a 200 with an empty body, and tells nothing of matches."""
        users = read(request, Users)
        self._check_identities(users.identities)
        audience = self._usable(account, users.audience_id)
        if users.operation == "ADD":
            self._add(audience, users.identities)
        else:
            self._remove(audience, users.identities)
        blank = Response()
        del blank.headers["Content-Type"]
        return blank

    def _check_identities(self, identities: list[Identity]) -> None:
        if not identities and self.switches.refuse_no_identities:
            raise invalid_value("identities", [])
        if self.switches.max_users is not None and len(identities) > self.switches.max_users:
            raise error(400, f"More than {self.switches.max_users} users", code=BAD_REQUEST, field="identities")
        if not all(identity.cluster for identity in identities):
            raise invalid_value("cluster", [])
        for user in chain.from_iterable(identity.cluster for identity in identities):
            self._check_user(user)

    def _check_user(self, user: UserId) -> None:
        """Page "user id object". The vendor is taken to echo what it does not like, as it does for audience ids."""
        if user.type == "TABOOLA_ID":  # not open to customers
            raise invalid_value("type", user.type)
        if not user.user_id:
            raise invalid_value("user_id", user.user_id)
        if not self.switches.strict_identifiers:
            return
        if user.is_hashed != (user.type == "EMAIL_ID"):
            raise invalid_value("is_hashed", str(user.is_hashed).lower())
        if user.type == "EMAIL_ID" and not _SHA256.fullmatch(user.user_id):
            raise invalid_value("user_id", user.user_id)

    def _usable(self, account: str, audience_id: int) -> FirstPartyAudience:
        audience = self._by_id.get(audience_id)
        if audience is None and self.switches.accept_unknown_audiences:
            audience = self._by_id[audience_id] = FirstPartyAudience(audience_id, account, None)
        if audience is None or audience.account != account or self._clock() < audience.ready_at:
            raise invalid_value("audience_id", audience_id)
        return audience

    def _add(self, audience: FirstPartyAudience, identities: list[Identity]) -> None:
        now = self._clock()
        fresh_until = now + audience.ttl_in_hours * 3600
        for identity in identities:
            cluster = tuple(identity.cluster)
            for user in cluster:
                held = audience.members.get(user)
                keeps = held is not None and now < held.expires_at and not self.switches.adding_again_renews
                audience.members[user] = Held(held.expires_at if held and keeps else fresh_until, cluster)

    def _remove(self, audience: FirstPartyAudience, identities: list[Identity]) -> None:
        for user in chain.from_iterable(identity.cluster for identity in identities):
            held = audience.members.pop(user, None)
            if held is not None and self.switches.remove_drops_cluster:
                for companion in held.cluster:
                    audience.members.pop(companion, None)

    def _my_audiences(self, _request: Request, account: str) -> Response:
        return listed([_audience_json(each) for each in self._by_id.values() if each.account == account])


def _audience_json(audience: FirstPartyAudience) -> dict[str, Any]:
    unused = ("description", "status", "type", "event_name", "condition", "last_modified_by", "last_modified_at")
    return dict.fromkeys(unused) | {
        "id": audience.id,
        "display_name": audience.name,
        "advertiser_id": audience.account,
        "look_back_window": audience.ttl_in_hours // 24,
        "category": "NONE",
        "exclude_from_campaigns": audience.exclude_from_campaigns,
        "audience_size": audience.size,
    }
