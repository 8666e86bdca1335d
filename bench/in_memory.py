"""A vendor without a network: an HTTP client that answers from memory, and tells what HTTP itself costs us."""

import time
from collections.abc import Callable
from typing import Any, Final

import httpx

from bench.membership import Recorded
from bench.sink import Sink
from worker.delivery import GatedTransport

_HEADERS: Final = {"content-type": "application/json"}


class _Answers(httpx.BaseTransport):
    """The sink, called."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        answer = self._sink.answer(Recorded(0.0, request.url.path, request.content))
        return httpx.Response(200, headers=_HEADERS, content=answer)


class Clocked(httpx.BaseTransport):
    """How many seconds, by some clock, went into what is behind it."""

    def __init__(self, inner: httpx.BaseTransport, clock: Callable[[], float]) -> None:
        self._inner = inner
        self._clock = clock
        self.seconds = 0.0

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        started = self._clock()
        try:
            return self._inner.handle_request(request)
        finally:
            self.seconds += self._clock() - started


class InMemory(httpx.Client):
    """Everything as with a real vendor, but for sockets."""

    def __init__(self) -> None:
        self.sink = Sink()
        self._through = Clocked(GatedTransport(_Answers(self.sink)), time.perf_counter)
        """The gate, which is the relay's own work, and the answer out of memory."""
        self._sending = 0.0
        super().__init__(transport=self._through, trust_env=False)

    @property
    def http_seconds(self) -> float:
        """How long the HTTP library was busy building, signing and sending requests, the relay's gate aside."""
        return self._sending - self._through.seconds

    def build_request(self, *args: Any, **named: Any) -> httpx.Request:
        started = time.perf_counter()
        try:
            return super().build_request(*args, **named)
        finally:
            self._sending += time.perf_counter() - started

    def send(self, *args: Any, **named: Any) -> httpx.Response:
        started = time.perf_counter()
        try:
            return super().send(*args, **named)
        finally:
            self._sending += time.perf_counter() - started
