"""What the vendors have in common: a callable that finds the route, may suffer a fault, and answers."""

import threading
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any, NamedTuple
from wsgiref.types import StartResponse, WSGIEnvironment

import msgspec
from werkzeug import Request, Response
from werkzeug.exceptions import HTTPException
from werkzeug.routing import Map, Rule

from sandbox.faults import FaultBook, Surroundings, parse_script, reset_connection, suffer
from sandbox.journal import Audience, Flight, Journal, labels
from sandbox.tokens import Tokens

Clock = Callable[[], float]
Sleep = Callable[[float], None]


class Route(NamedTuple):
    """One endpoint. `name` is what fault scripts and read-outs call it; `path` is a werkzeug rule."""

    name: str
    method: str
    path: str
    answer: Callable[..., Response]
    """Called with the request and the path's arguments, under the vendor's lock."""


class Refusal(Exception):
    """Ends the processing of a request with this answer."""

    def __init__(self, response: Response) -> None:
        super().__init__(response.status)
        self.response = response


class Vendor(ABC):
    """A stand-in. Safe for many threads: whatever it holds is read and changed under one lock."""

    def __init__(self, routes: Iterable[Route], *, clock: Clock, sleep: Sleep, strict_slashes: bool = True) -> None:
        self._routes = tuple(routes)
        rules = [Rule(route.path, endpoint=route, methods=[route.method]) for route in self._routes]
        self._map = Map(rules, strict_slashes=strict_slashes, merge_slashes=False)
        self._clock = clock
        self._sleep = sleep
        self._lock = threading.RLock()
        self._faults = FaultBook()
        self.tokens = Tokens(clock)
        self.journal = Journal()
        self.counted: Counter[str] = Counter()

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        request = Request(environ)
        name, proceed = self._match(request)
        flight = self.journal.begin(request.method, name, self._audiences(name, request))
        try:
            response = self._respond(request, name, proceed)
        except ConnectionResetError:
            flight.end("reset")
            reset_connection(environ)
            raise
        except BaseException:
            flight.end("failed")
            raise
        _end_with_answer(flight, response)
        return response(environ, start_response)

    # ── What a vendor adds ───────────────────────────────────────────────────────────────────────

    @abstractmethod
    def _memberships(self) -> Mapping[Audience, Collection[str]]:
        """What each audience holds now. Called under the lock."""

    @abstractmethod
    def _audiences(self, route: str, request: Request) -> Collection[Audience]:
        """The audiences whose membership this request would change, whether or not it is valid."""

    @abstractmethod
    def _no_route(self, request: Request, error: HTTPException) -> Response:
        """The answer to a path (404) or a method (405) that there is not."""

    @abstractmethod
    def _forget(self) -> None:
        """Back to the state of a new stand-in. Called under the lock."""

    def _finish(self, request: Request, response: Response) -> None:  # noqa: B027 - most add nothing
        """Add what every answer of this vendor has. Called under the lock."""

    # ── Read-outs and control ────────────────────────────────────────────────────────────────────

    def members(self) -> dict[str, dict[str, bool]]:
        """What the vendor would hold now: `{audience: {identifier: True}}`, empty audiences too."""
        with self._lock:
            held = self._memberships()
            names = labels(held)
            return {names[audience]: dict.fromkeys(members, True) for audience, members in held.items()}

    def requests(self) -> dict[str, Any]:
        """How often each route was answered with which status, and what else was counted."""
        with self._lock:
            return self.journal.summary() | {"counted": dict(self.counted)}

    @property
    def route_names(self) -> frozenset[str]:
        return frozenset(route.name for route in self._routes)

    @property
    def faults(self) -> FaultBook:
        return self._faults

    def script_faults(self, script: Mapping[str, Any] | bytes | None) -> None:
        """Replace the fault script (None: no faults). A ValueError says what is wrong with it."""
        body = script if isinstance(script, bytes) else msgspec.json.encode(script or {})
        book = FaultBook(parse_script(body, self.route_names))
        with self._lock:
            self._faults = book

    def reset(self) -> None:
        """Forget everything: memberships, tokens, faults, counts."""
        with self._lock:
            self._forget()
            self._faults = FaultBook()
            self.tokens.clear()
            self.journal.clear()
            self.counted.clear()

    # ── One request ──────────────────────────────────────────────────────────────────────────────

    def _match(self, request: Request) -> tuple[str, Callable[[], Response]]:
        try:
            route, arguments = self._map.bind_to_environ(request.environ).match()
        except HTTPException as error:
            answer = self._no_route(request, error)
            return "unknown", lambda: answer
        return route.name, lambda: route.answer(request, **arguments)

    def _respond(self, request: Request, name: str, proceed: Callable[[], Response]) -> Response:
        with self._lock:
            fault = self._faults.draw(request.method, name)
        around = Surroundings(self.tokens, self._clock, self._sleep)
        return suffer(fault, lambda: self._answer(request, proceed), around)

    def _answer(self, request: Request, proceed: Callable[[], Response]) -> Response:
        with self._lock:
            try:
                response = proceed()
            except Refusal as refusal:
                response = refusal.response
            self._finish(request, response)
            return response


def json_answer(body: object, status: int = 200, mimetype: str = "application/json") -> Response:
    return Response(msgspec.json.encode(body), status, mimetype=mimetype)


def bearer(request: Request) -> str | None:
    """The token of `Authorization: Bearer …`; None without one."""
    authorization = request.authorization
    if authorization is None or authorization.type != "bearer":
        return None
    return authorization.token


def _end_with_answer(flight: Flight, response: Response) -> None:
    """A flight ends before the last of the answer leaves: the client's next request never overlaps it."""
    status = str(response.status_code)
    if response.is_streamed:
        response.response = _until_last(iter(response.response), lambda: flight.end(status))
    else:
        flight.end(status)


def _until_last(chunks: Iterator[Any], end: Callable[[], None]) -> Iterator[Any]:
    try:
        held = next(chunks, None)
        for chunk in chunks:
            yield held
            held = chunk
        end()
        if held is not None:
            yield held
    finally:
        end()


DEFAULT_CLOCK: Clock = time.time
DEFAULT_SLEEP: Sleep = time.sleep
