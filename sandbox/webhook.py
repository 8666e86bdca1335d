"""A receiver of one's own, as strict as one can be: it takes the requests that an `http` destination makes by default.

`POST /members` with a bearer token, `Content-Type: application/json` and an `Idempotency-Key`:

    {"audience": "vip", "operation": "add", "members": [{"identifiers": [{"type": "email", "value": "…"}]}]}

A member may have `properties`, an object of plain values. The answer is `{"taken": 1, "refused": []}`; a request whose
key was answered before is answered the same again, and changes nothing. `GET /health` tells who may come in.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta
from werkzeug import Request, Response
from werkzeug.exceptions import HTTPException

from sandbox.base import DEFAULT_CLOCK, DEFAULT_SLEEP, Clock, Refusal, Route, Sleep, Vendor, bearer, json_answer
from sandbox.journal import Audience

OWNER: Final = "receiver"

Name = Annotated[str, Meta(min_length=1)]


class Body(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A request body or a part of one."""


class Identifier(Body, frozen=True):
    type: Literal["email", "device", "phone"]
    value: Name


class Member(Body, frozen=True):
    identifiers: Annotated[list[Identifier], Meta(min_length=1)]
    properties: dict[str, str | int | float | bool] = {}


class Members(Body, frozen=True):
    audience: Name
    operation: Literal["add", "remove"]
    members: Annotated[list[Member], Meta(min_length=1)]

    @property
    def identifiers(self) -> list[Identifier]:
        return [each for member in self.members for each in member.identifiers]


class Glance(msgspec.Struct, frozen=True):
    """Only the audience of a body; nothing else of it is checked."""

    audience: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookSwitches:
    """How one receiver may differ from the next."""

    tokens: frozenset[str] | None = None
    """The bearer tokens that are taken; None: every one."""
    max_members: int | None = None
    """More in one request are a 413."""
    refused_values: frozenset[str] = frozenset()
    """Identifiers that are refused, each with a reason that repeats it, as careless receivers do."""
    refuse_whole_requests: bool = False
    """Whether a refused identifier makes the whole request a 422, which does not say which one it is."""
    blank_answers: bool = False
    """Whether success is a 204."""


class WebhookSandbox(Vendor):
    """`api_url` is `/members` below where this is mounted."""

    def __init__(
        self, switches: WebhookSwitches | None = None, *, clock: Clock = DEFAULT_CLOCK, sleep: Sleep = DEFAULT_SLEEP
    ) -> None:
        routes = (Route("members", "POST", "/members", self._change), Route("health", "GET", "/health", self._health))
        super().__init__(routes, clock=clock, sleep=sleep)
        self.switches = switches or WebhookSwitches()
        self._forget()

    def properties(self, audience: str) -> dict[str, dict[str, Any]]:
        """By identifier, what was told of each member when it was last added."""
        with self._lock:
            return {each.value: dict(told) for each, told in self._held.get(audience, {}).items()}

    def _forget(self) -> None:
        self._held: dict[str, dict[Identifier, Mapping[str, Any]]] = {}
        self._answered: dict[str, dict[str, Any]] = {}

    def _memberships(self) -> Mapping[Audience, Collection[str]]:
        return {Audience(OWNER, name): {each.value for each in held} for name, held in self._held.items()}

    def _audiences(self, route: str, request: Request) -> Collection[Audience]:
        if route != "members":
            return ()
        try:
            glance = msgspec.json.decode(request.get_data(), type=Glance)
        except msgspec.DecodeError:
            return ()
        return (Audience(OWNER, glance.audience),)

    def _no_route(self, _request: Request, error: HTTPException) -> Response:
        return json_answer({"message": error.name}, error.code or 404)

    def _health(self, request: Request) -> Response:
        self._check_token(request)
        return json_answer({"status": "ok"})

    def _change(self, request: Request) -> Response:
        self._check_token(request)
        key = _idempotency_key(request)
        if key in self._answered:
            self.counted["repeated"] += 1
        else:
            self._answered[key] = self._apply(self._read(request))
        return Response(status=204) if self.switches.blank_answers else json_answer(self._answered[key])

    def _check_token(self, request: Request) -> None:
        token = bearer(request) or ""
        if token and (self.switches.tokens is None or token in self.switches.tokens):
            self.tokens.adopt(token)
        if self.tokens.standing(token) != "valid":
            raise _refusal(401, "unknown token")

    def _read(self, request: Request) -> Members:
        if request.mimetype != "application/json":
            raise _refusal(415, "send application/json")
        try:
            members = msgspec.json.decode(request.get_data(), type=Members)
        except msgspec.DecodeError as error:
            raise _refusal(400, str(error)) from error
        limit = self.switches.max_members
        if limit is not None and len(members.members) > limit:
            raise _refusal(413, f"more than {limit} members")
        if len(set(members.identifiers)) < len(members.identifiers):
            raise _refusal(422, "an identifier stands there twice")
        return members

    def _apply(self, change: Members) -> dict[str, Any]:
        refused = [each for each in change.identifiers if each.value in self.switches.refused_values]
        if refused and self.switches.refuse_whole_requests:
            raise _refusal(422, f"{refused[0].value} is not welcome")
        taken = {
            each: member.properties for member in change.members for each in member.identifiers if each not in refused
        }
        if change.operation == "add":
            self._held.setdefault(change.audience, {}).update(taken)
        else:
            held = self._held.get(change.audience, {})
            for each in taken:
                held.pop(each, None)
        return {
            "taken": len(taken),
            "refused": [{"identifier": each.value, "reason": f"{each.value} is not welcome"} for each in refused],
        }


def _idempotency_key(request: Request) -> str:
    key = request.headers.get("Idempotency-Key", "")
    if not key:
        raise _refusal(400, "an Idempotency-Key is missing")
    return key


def _refusal(status: int, message: str) -> Refusal:
    return Refusal(json_answer({"message": message}, status))
