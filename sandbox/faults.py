"""A fault script makes a vendor misbehave on purpose, and in a way that can be repeated.

The script is JSON. Its rules are looked at in order for each request; the first that fires decides::

    {"seed": 1,
     "rules": [{"match": {"method": "PATCH", "route": "amend|create"},
                "after": 3, "times": 2, "probability": 0.5,
                "fault": {"kind": "status", "status": 503, "html": "<h1>Away</h1>"}}]}

A rule looks only at requests that fit its `match` (both members optional, `|` between alternatives). It
lets the first `after` of them pass (default 0), then fires with `probability` (default 1), at most
`times` times (default null: for ever). `seed` makes the chances repeatable.

=============== ============================================================================================
kind            what happens
=============== ============================================================================================
`status`        answered with `status` and one of `json`, `html`, `text` (or no body), and `headers`;
                `reset_in_seconds` adds `x-ratelimit-reset` that many seconds ahead, and remaining 0
`html_200`      a page in place of the answer; nothing is processed
`reset_before`  the connection is reset; nothing is processed
`reset_after`   processed, then the connection is reset: the client cannot know the outcome
`slow`          waits `seconds`, then processes; with `after` true it processes first, then waits
`drip`          processed, then answered byte by byte, `seconds` (default 0.05) apart
`truncate`      processed, then only the first `keep` (default one half) of the answer's bytes are sent; with
                `hang_up` true under the whole length, so that the connection ends too early
`revoke_tokens` every token known so far is refused from now on; then the request goes its way
`expire_tokens` every token known so far has expired; then the request goes its way
=============== ============================================================================================

On a real connection a reset is a TCP reset. Without one (the callable is called in-process) it is a
`ConnectionResetError` out of the callable.
"""

import os
import random
import socket
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Protocol
from wsgiref.types import WSGIEnvironment

import msgspec
from msgspec import Meta
from werkzeug import Response

NonNegative = Annotated[int, Meta(ge=0)]
Seconds = Annotated[float, Meta(ge=0)]


class Fault(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind"):
    """One way to misbehave."""


class Status(Fault, frozen=True, tag="status"):
    status: Annotated[int, Meta(ge=200, le=599)]
    json: Any = msgspec.UNSET
    html: str | None = None
    text: str | None = None
    headers: dict[str, str] = {}
    reset_in_seconds: float | None = None


class Html200(Fault, frozen=True, tag="html_200"):
    pass


class ResetBefore(Fault, frozen=True, tag="reset_before"):
    pass


class ResetAfter(Fault, frozen=True, tag="reset_after"):
    pass


class Slow(Fault, frozen=True, tag="slow"):
    seconds: Seconds
    after: bool = False


class Drip(Fault, frozen=True, tag="drip"):
    seconds: Seconds = 0.05


class Truncate(Fault, frozen=True, tag="truncate"):
    keep: Annotated[float, Meta(ge=0, lt=1)] = 0.5
    hang_up: bool = False


class RevokeTokens(Fault, frozen=True, tag="revoke_tokens"):
    pass


class ExpireTokens(Fault, frozen=True, tag="expire_tokens"):
    pass


AnyFault = Status | Html200 | ResetBefore | ResetAfter | Slow | Drip | Truncate | RevokeTokens | ExpireTokens


class Match(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which requests a rule looks at; what is left out fits everything."""

    method: str | None = None
    route: str | None = None

    def fits(self, method: str, route: str) -> bool:
        return _fits(self.method, method) and _fits(self.route, route)


def _fits(alternatives: str | None, actual: str) -> bool:
    return alternatives is None or actual in alternatives.split("|")


class Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    fault: AnyFault
    match: Match = Match()
    after: NonNegative = 0
    times: NonNegative | None = None
    probability: Annotated[float, Meta(ge=0, le=1)] = 1.0


class FaultScript(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    rules: tuple[Rule, ...] = ()
    seed: int = 0


def parse_script(body: bytes, routes: frozenset[str]) -> FaultScript:
    """The script in `body`; a ValueError says what is wrong with it, also when it names an unknown route."""
    script = msgspec.json.decode(body, type=FaultScript)
    named = {route for rule in script.rules for route in (rule.match.route or "").split("|") if route}
    if unknown := sorted(named - routes):
        raise ValueError(f"no such route: {', '.join(unknown)} (there are: {', '.join(sorted(routes))})")
    return script


class FaultBook:
    """A script in force, with how often each rule has matched and fired."""

    def __init__(self, script: FaultScript | None = None) -> None:
        self.script = script or FaultScript()
        self._random = random.Random(self.script.seed)  # noqa: S311 - chances that must be repeatable
        self._matched = [0] * len(self.script.rules)
        self._fired = [0] * len(self.script.rules)

    def draw(self, method: str, route: str) -> AnyFault | None:
        """The fault that this request suffers."""
        for number, rule in enumerate(self.script.rules):
            if rule.match.fits(method, route) and self._fires(number, rule):
                return rule.fault
        return None

    def _fires(self, number: int, rule: Rule) -> bool:
        self._matched[number] += 1
        if self._matched[number] <= rule.after:
            return False
        if rule.times is not None and self._fired[number] >= rule.times:
            return False
        if self._random.random() >= rule.probability:
            return False
        self._fired[number] += 1
        return True

    def summary(self) -> dict[str, Any]:
        """The script as JSON, each rule with `matched` and `fired`."""
        counts = zip(self.script.rules, self._matched, self._fired, strict=True)
        rules = [msgspec.to_builtins(rule) | {"matched": matched, "fired": fired} for rule, matched, fired in counts]
        return {"seed": self.script.seed, "rules": rules}


class Revocable(Protocol):
    def revoke_all(self) -> None: ...
    def expire_all(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a fault may touch."""

    tokens: Revocable
    clock: Callable[[], float]
    sleep: Callable[[float], None]


def suffer(fault: AnyFault | None, proceed: Callable[[], Response], around: Surroundings) -> Response:
    """The answer under that fault; `proceed` processes the request. A reset is a ConnectionResetError."""
    match fault:
        case Status():
            return _answer(fault, around.clock())
        case Html200():
            return Response("<!doctype html><title>Sorry</title><h1>Back soon</h1>", mimetype="text/html")
        case ResetBefore():
            raise ConnectionResetError("fault: reset before processing")
        case Slow(after=False):
            around.sleep(fault.seconds)
        case RevokeTokens():
            around.tokens.revoke_all()
        case ExpireTokens():
            around.tokens.expire_all()
    return _spoil(fault, proceed(), around)


def reset_connection(environ: WSGIEnvironment) -> None:
    """End the connection with a TCP reset, if there is one: close it with nothing left to linger for."""
    connection: socket.socket | None = environ.get("werkzeug.socket")
    if connection is None or connection.fileno() < 0:
        return
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    os.close(connection.detach())  # close() alone would wait for the server's file objects on it


def _spoil(fault: AnyFault | None, response: Response, around: Surroundings) -> Response:
    """What becomes of an answer whose request was processed."""
    match fault:
        case ResetAfter():
            raise ConnectionResetError("fault: reset after processing")
        case Slow(after=True):
            around.sleep(fault.seconds)
        case Drip():
            _replace_body(response, _dripped(response.get_data(), fault.seconds, around.sleep))
        case Truncate():
            _truncate(response, fault)
    return response


def _answer(fault: Status, now: float) -> Response:
    body, mimetype = _body(fault)
    response = Response(body, fault.status, mimetype=mimetype)
    if fault.reset_in_seconds is not None:
        response.headers["x-ratelimit-remaining"] = "0"
        response.headers["x-ratelimit-reset"] = str(int(now + fault.reset_in_seconds))
    for name, value in fault.headers.items():
        response.headers[name] = value
    return response


def _body(fault: Status) -> tuple[bytes | str, str]:
    if fault.json is not msgspec.UNSET:
        return msgspec.json.encode(fault.json), "application/json"
    if fault.html is not None:
        return fault.html, "text/html"
    return fault.text or "", "text/plain"


def _truncate(response: Response, fault: Truncate) -> None:
    whole = response.get_data()
    kept = whole[: int(len(whole) * fault.keep)]
    response.set_data(kept)
    if fault.hang_up:
        response.headers["Content-Length"] = str(len(whole))


def _dripped(body: bytes, seconds: float, sleep: Callable[[float], None]) -> Iterator[bytes]:
    for position in range(len(body)):
        sleep(seconds)
        yield body[position : position + 1]


def _replace_body(response: Response, chunks: Iterator[bytes]) -> None:
    response.headers["Content-Length"] = str(len(response.get_data()))
    response.response = chunks
