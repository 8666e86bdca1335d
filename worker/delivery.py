"""Drives a conversation over httpx: sends, limits, times, and turns every fault into an instruction.

A request may take `DEADLINE` in all from when it has passed the gate: connecting, sending, and an answer that drips in
byte by byte. httpx's timeouts bound single reads only, so the socket itself is given what is left of the deadline.
"""

import contextlib
import ssl
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextvars import ContextVar
from datetime import timedelta
from typing import Final, TypeVar

import httpcore
import httpx

from worker.destinations.base import Notes, Request, Response
from worker.errors import TryLater

DEADLINE: Final = timedelta(seconds=20)
MAX_ANSWER_BYTES: Final = 16 * 1024 * 1024

Client = httpx.Client
Outcome = TypeVar("Outcome")
Value = TypeVar("Value")
Gate = Callable[[], None]
"""Called directly before each request leaves, tokens' included; raises when it may not."""

_deadline: ContextVar[float] = ContextVar("deadline")
"""Of the request that passed the gate last."""
_gate: ContextVar[Gate] = ContextVar("gate")


class Sender:
    """Sends requests of one credential, each after passing the gate and then within the deadline."""

    def __init__(
        self,
        client: httpx.Client,
        auth: httpx.Auth,
        gate: Gate,
        observe: Callable[[Mapping[str, str]], None] | None = None,
        deadline: timedelta = DEADLINE,
    ) -> None:
        """`observe` is shown the headers of every answer."""
        self._client = client
        self._auth = auth
        self._gate = gate
        self._observe = observe or _overlook
        self._seconds = deadline.total_seconds()
        self.requests = 0
        """How many requests passed the gate, tokens' and repeats among them."""
        self.changes = 0
        """How many requests that change something were taken, or failed at the vendor, who may have done a part."""

    def __call__(self, request: Request) -> Response:
        """Send one request. Raises `TryLater`, or what the gate or the credentials raise."""
        with _translated(request), _set(_gate, self._pass_gate):
            return self._send(request)

    def _pass_gate(self) -> None:
        """It may wait, which is no fault of the vendor's: the deadline begins after it."""
        self._gate()
        self.requests += 1
        _deadline.set(time.monotonic() + self._seconds)

    def _send(self, request: Request) -> Response:
        outgoing = self._client.build_request(
            request.method,
            request.url,
            content=request.content,
            headers=request.headers,
            timeout=self._seconds,
        )
        answer = self._client.send(outgoing, auth=self._auth, stream=True)
        with contextlib.closing(answer):
            headers = dict(answer.headers)
            self._observe(headers)
            self.changes += not (answer.is_client_error or request.changes_nothing)
            return Response(answer.status_code, _read(answer), headers)


def _overlook(_headers: Mapping[str, str]) -> None:
    """Nobody reads the headers."""


def deliver(
    conversation: Generator[Request, Response, Outcome],
    send: Callable[[Request], Response],
    notes: Notes,
    keep_notes: Callable[[Mapping[str, str | None]], None],
) -> Outcome:
    """Carry a conversation to its end. What it notes is kept after every step, also when a later step fails."""
    saved = dict(notes)
    try:
        request = next(conversation)
        while True:
            saved = _keep_changed(saved, notes, keep_notes)
            answer = send(request)
            with _in_doubt_if_it_changes(request):
                request = conversation.send(answer)
    except StopIteration as ended:
        outcome: Outcome = ended.value
        return outcome
    finally:
        _keep_changed(saved, notes, keep_notes)
        conversation.close()


@contextlib.contextmanager
def _in_doubt_if_it_changes(request: Request) -> Iterator[None]:
    """A conversation knows from the answer alone that the outcome is unknown, where there may have been none."""
    try:
        yield
    except TryLater as order:
        order.outcome_unknown = order.outcome_unknown and not request.changes_nothing
        raise


def _keep_changed(
    saved: dict[str, str], notes: Notes, keep_notes: Callable[[Mapping[str, str | None]], None]
) -> dict[str, str]:
    changed: dict[str, str | None] = {name: value for name, value in notes.items() if saved.get(name) != value}
    changed.update(dict.fromkeys(saved.keys() - notes.keys()))
    if changed:
        keep_notes(changed)
    return dict(notes)


def open_client() -> httpx.Client:
    """The client of one process, shared by its threads. Never made before a fork."""
    return httpx.Client(transport=GatedTransport(DeadlineTransport()), follow_redirects=False, trust_env=False)


class GatedTransport(httpx.BaseTransport):
    """Passes the gate as late as can be, and before each request: also one for a token, and a repeat."""

    def __init__(self, inner: httpx.BaseTransport) -> None:
        self._inner = inner

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        _gate.get()()
        return self._inner.handle_request(request)

    def close(self) -> None:
        self._inner.close()


class DeadlineTransport(httpx.HTTPTransport):
    """httpx's transport, on sockets that know the deadline."""

    def __init__(self) -> None:
        super().__init__(trust_env=False)
        self._pool = httpcore.ConnectionPool(
            ssl_context=ssl.create_default_context(),
            max_connections=100,
            max_keepalive_connections=20,
            keepalive_expiry=5.0,
            network_backend=_DeadlineBackend(),
        )


class _DeadlineBackend(httpcore.SyncBackend):
    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: object = None,
    ) -> httpcore.NetworkStream:
        del timeout, socket_options
        stream = super().connect_tcp(host, port, _left(httpcore.ConnectTimeout), local_address)
        return _DeadlineStream(stream)


class _DeadlineStream(httpcore.NetworkStream):
    def __init__(self, inner: httpcore.NetworkStream) -> None:
        self._inner = inner

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        del timeout
        return self._inner.read(max_bytes, _left(httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        del timeout
        self._inner.write(buffer, _left(httpcore.WriteTimeout))

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        del timeout
        return _DeadlineStream(self._inner.start_tls(ssl_context, server_hostname, _left(httpcore.ConnectTimeout)))

    def get_extra_info(self, info: str) -> object:
        return self._inner.get_extra_info(info)


def _left(expired: type[httpcore.TimeoutException]) -> float:
    left = _deadline.get() - time.monotonic()
    if left <= 0:
        raise expired
    return left


def _read(answer: httpx.Response) -> bytes:
    parts: list[bytes] = []
    size = 0
    for part in answer.iter_bytes():
        size += len(part)
        if size > MAX_ANSWER_BYTES:
            raise TryLater("answer too large", f"more than {MAX_ANSWER_BYTES} bytes")
        parts.append(part)
    return b"".join(parts)


@contextlib.contextmanager
def _set(variable: ContextVar[Value], value: Value) -> Iterator[None]:
    token = variable.set(value)
    try:
        yield
    finally:
        variable.reset(token)


@contextlib.contextmanager
def _translated(request: Request) -> Iterator[None]:
    """One table of httpx's faults. Once a request left, nobody knows what the vendor did with it."""
    try:
        yield
    except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as fault:
        raise TryLater("connection failed", type(fault).__name__) from None
    except httpx.TimeoutException as fault:
        raise TryLater("timeout", outcome_unknown=_in_doubt(request, fault)) from None
    except (httpx.TransportError, httpx.DecodingError) as fault:
        raise TryLater("connection lost", type(fault).__name__, outcome_unknown=_in_doubt(request, fault)) from None


def _in_doubt(request: Request, fault: httpx.RequestError) -> bool:
    """Whether it was this request that failed (not one for a token), and it may have changed something."""
    return not request.changes_nothing and fault.request.url == httpx.URL(request.url)
