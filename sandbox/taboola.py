"""Taboola: first-party audiences over the Backstage API, after its reference pages and observed answers."""

import re
from collections.abc import Collection, Mapping
from itertools import count
from typing import Any, Final

import msgspec
from werkzeug import Request, Response

from sandbox.base import DEFAULT_CLOCK, DEFAULT_SLEEP, Clock, Refusal, Route, Sleep, json_answer
from sandbox.journal import Audience
from sandbox.taboola_access import API, EXAMPLE_ACCOUNT, TaboolaAccess
from sandbox.taboola_audience import DEFAULT_TTL_IN_HOURS, FirstPartyAudience
from sandbox.taboola_messages import (
    BAD_REQUEST,
    BodyT,
    Glance,
    Identity,
    NewAudience,
    UserId,
    Users,
    error,
    forbidden,
    invalid_value,
    listed,
    read,
)
from sandbox.taboola_switches import TaboolaSwitches

__all__ = ["TaboolaSandbox", "TaboolaSwitches"]

MAX_TTL_IN_HOURS: Final = 2**31 - 1
_SHA256: Final = re.compile(r"[0-9a-f]{64}")


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

    def add_audience(
        self, audience_id: int, *, account: str = EXAMPLE_ACCOUNT, name: str | None = None, kind: str | None = None
    ) -> None:
        """An audience that was there before and is ready. Of another `kind` (PIXEL, say), it takes no users."""
        with self._lock:
            self._by_id[audience_id] = FirstPartyAudience(audience_id, account, name, kind=kind)

    def delete_audience(self, audience_id: int) -> None:
        """Somebody has deleted it: no endpoint of onboarding does."""
        with self._lock:
            del self._by_id[audience_id]

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
        return {audience.key: [user.user_id for user in audience.held_at(now)] for audience in self._by_id.values()}

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
        wanted = self._read(request, NewAudience)
        if not wanted.audience_name.strip():
            raise invalid_value("audience_name", wanted.audience_name)
        if wanted.ttl_in_hours is not None and not 1 <= wanted.ttl_in_hours <= MAX_TTL_IN_HOURS:
            raise error(400, "Bad request", code=BAD_REQUEST)
        audience = self._named(account, wanted.audience_name)
        if audience is not None and self.switches.existing_name == "refused":
            raise error(400, "An audience with this name already exists", code=BAD_REQUEST, field="audience_name")
        return json_answer(self._created_json(audience or self._new_audience(account, wanted)))

    def _created_json(self, audience: FirstPartyAudience) -> dict[str, Any]:
        told: dict[str, Any] = {"audience_name": audience.name}
        if self.switches.create_tells != "name":
            told["audience_id"] = self._written(audience.id)
        if self.switches.create_tells == "all":
            told["ttl_in_hours"] = audience.ttl_in_hours
            told["exclude_from_campaigns"] = audience.exclude_from_campaigns
            told["integration_source"] = audience.integration_source
        return told

    def _written(self, audience_id: int) -> int | str | float:
        written: dict[str, int | str | float] = {
            "integer": audience_id,
            "text": str(audience_id),
            "decimal": float(audience_id),
        }
        return written[self.switches.ids_as]

    def _read(self, request: Request, kind: type[BodyT]) -> BodyT:
        return read(request, kind, overlook_unknown=not self.switches.refuse_unknown_fields)

    def _named(self, account: str, name: str) -> FirstPartyAudience | None:
        return next((each for each in self._by_id.values() if (each.account, each.name) == (account, name)), None)

    def _new_audience(self, account: str, wanted: NewAudience) -> FirstPartyAudience:
        audience = FirstPartyAudience(
            next(number for number in self._ids if number not in self._by_id),
            account,
            wanted.audience_name,
            ready_at=self._clock() + self.switches.ready_delay_seconds,
            listed_at=self._clock() + self.switches.listing_delay_seconds,
            ttl_in_hours=wanted.ttl_in_hours or DEFAULT_TTL_IN_HOURS,
            exclude_from_campaigns=bool(wanted.exclude_from_campaigns),
            integration_source=wanted.integration_source,
        )
        self._by_id[audience.id] = audience
        return audience

    def _amend(self, request: Request, account: str) -> Response:
        """ADD or REMOVE users. Success is a 200 with an empty body, and tells nothing of matches."""
        users = self._read(request, Users)
        if users.integration_source is not None and not self.switches.source_with_users:
            raise error(400, "Object contains unknown field `integration_source`", code=BAD_REQUEST)
        self._check_identities(users.identities)
        audience = self._usable(account, users.audience_id)
        if users.operation == "ADD":
            audience.add(users.identities, self._clock(), renew=self.switches.adding_again_renews)
        else:
            audience.remove(users.identities, whole_clusters=self.switches.remove_drops_cluster)
        blank = Response()
        del blank.headers["Content-Type"]
        return blank

    def _check_identities(self, identities: list[Identity]) -> None:
        if not identities and self.switches.refuse_no_identities:
            raise invalid_value("identities", [])
        self._check_number("users", len(identities), self.switches.max_users, "identities")
        for identity in identities:
            if not identity.cluster and self.switches.refuse_no_identities:
                raise invalid_value("cluster", [])
            self._check_number("ids of a user", len(identity.cluster), self.switches.max_ids, "cluster")
            for user in identity.cluster:
                self._check_user(user)

    def _check_number(self, what: str, number: int, most: int | None, field_: str) -> None:
        if most is None or number <= most:
            return
        match self.switches.over_limit:
            case "words":
                raise error(400, f"More than {most} {what}", code=BAD_REQUEST, field=field_)
            case "vague":
                raise error(400, "Bad request", code=BAD_REQUEST)
            case "413":
                raise Refusal(Response(status=413))

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
        mine = audience is not None and audience.account == account and audience.kind is None
        if audience is None or not mine or self._clock() < audience.ready_at:
            raise self._unusable(audience_id)
        return audience

    def _unusable(self, audience_id: int) -> Refusal:
        match self.switches.unusable:
            case "field":
                return invalid_value("audience_id", audience_id)
            case "message":
                return error(400, f"Invalid value '{audience_id}'")
            case "words":
                return error(400, "Unknown audience")
            case "not found":
                return error(404, "Audience not found")
            case "forbidden":
                return forbidden()

    def _my_audiences(self, _request: Request, account: str) -> Response:
        now, everyone = self._clock(), self.switches.lists_all_accounts
        shown = (each for each in self._by_id.values() if now >= each.listed_at)
        return listed([self._listed_json(each) for each in shown if everyone or each.account == account])

    def _listed_json(self, audience: FirstPartyAudience) -> dict[str, Any]:
        unused = ("description", "status", "event_name", "condition", "last_modified_by", "last_modified_at")
        whole_days, more = divmod(audience.ttl_in_hours, 24)
        return dict.fromkeys(unused) | {
            "id": self._written(audience.id),
            "display_name": audience.name,
            "type": audience.kind,
            "advertiser_id": audience.account,
            "look_back_window": whole_days + (more > 0 and self.switches.days == "up"),
            "category": "NONE",
            "exclude_from_campaigns": audience.exclude_from_campaigns,
            "audience_size": self._size(audience),
        }

    def _size(self, audience: FirstPartyAudience) -> int | None:
        if self.switches.size == "members":
            return len(audience.held_at(self._clock()))
        return audience.size if self.switches.size == "as set" else None
