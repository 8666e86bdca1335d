"""What comes on a connection beside the bodies that requests read, within bounds of size and time.

That is request lines and headers, what follows an answer that did not wait for the whole body, and line ends between
requests; uvicorn on httptools takes any number of bytes of them for any time. And whoever asks for another protocol is
answered in this one (RFC 9110, 7.8): httptools would take the body for the other protocol's.
"""

import sys
from asyncio import TimerHandle, Transport
from collections.abc import Iterable, Iterator
from typing import Any, ClassVar, Final

import httptools
from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

MOST_BYTES: Final = 64 * 1024
"""Of a head; more is refused with the next piece that comes."""
MOST_UNREAD: Final = 1024 * 1024
"""Of a body that was answered before it came; who is cut off at once may not see the answer."""
_OF_UPGRADES: Final = frozenset({b"upgrade", b"http2-settings"})
"""Headers, and what stands of them in `Connection`."""


class BoundedHeads(HttpToolsProtocol):
    """One connection. Between requests, uvicorn's own time for idle ones counts."""

    seconds: ClassVar = 10.0
    """After which a client that has not sent a whole head, or the rest of a body that nobody reads, is cut off."""

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self._timer: TimerHandle | None = None
        self._fed = b""
        self._size = 0
        self._is_new = self._in_head = True
        self._in_message = False
        self._answered: RequestResponseCycle | None = None

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(transport)
        self._begin()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._is_new, self._in_head, self._in_message = False, True, True
        self._begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_head:  # else it is a trailer, of which nobody wants to know
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._end()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._in_message = False
        self._end()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self._in_message and not self._in_head and self.cycle.response_complete:
            self._begin()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._answered = cycle
        super()._start_asgi_task(cycle, app)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the request that is being answered; uvicorn tells the last one that came, which may wait behind it."""
        self._end()
        if self._answered is not None and not self._answered.response_complete:
            self._answered.disconnected = True
            self._answered.message_event.set()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        begun, self._fed = self._timer, data
        super().data_received(data)
        if self._timer is None and self._is_between_requests():
            self._begin()  # line ends; they have ended uvicorn's own time
        if begun is None or begun is not self._timer:
            return  # what came was, in part, a body or another head
        self._size += len(data)
        if self._in_message and not self._in_head and self._size > MOST_UNREAD:
            self.transport.close()
        elif (self._in_head or not self._in_message) and self._size > MOST_BYTES:
            self._end()
            self.send_400_response("The request line and headers are too long.")

    def _is_between_requests(self) -> bool:
        if self._in_message or self.timeout_keep_alive_task is not None or self.transport.is_closing():
            return False
        return not self._is_new and self.cycle.response_complete

    def _begin(self) -> None:
        self._end()
        self._size = 0
        self._timer = self.loop.call_later(self.seconds, self.transport.close)

    def _end(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # ── Other protocols ──────────────────────────────────────────────────────────────────────────

    def _should_upgrade(self) -> bool:
        """Of what asks for another protocol nothing is done until `handle_websocket_upgrade`."""
        return True

    def handle_websocket_upgrade(self) -> None:
        """Read the request again, without what asks for another protocol; whichever it is."""
        upgrade, method = sys.exception(), self.parser.get_method()
        if method == b"CONNECT" or not isinstance(upgrade, httptools.HttpParserUpgrade):
            self.send_400_response("This is no proxy.")
            return
        line = b"%b %b HTTP/%b" % (method, self.url, self.parser.get_http_version().encode())
        head = [line, *(b"%b: %b" % each for each in _without_upgrade(self.headers)), b"", b""]
        self.parser = httptools.HttpRequestParser(self)
        self.data_received(b"\r\n".join(head) + self._fed[upgrade.args[0] :])


def _without_upgrade(headers: Iterable[tuple[bytes, bytes]]) -> Iterator[tuple[bytes, bytes]]:
    for name, value in headers:
        if name == b"connection":
            kept = [each for each in value.split(b",") if each.strip().lower() not in _OF_UPGRADES]
            yield name, b",".join(kept)
        elif name not in _OF_UPGRADES:
            yield name, value
