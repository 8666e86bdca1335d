"""Request lines and headers within bounds: uvicorn on httptools takes any number of bytes for any time."""

from asyncio import TimerHandle, Transport
from typing import Any, ClassVar, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MOST_BYTES: Final = 64 * 1024
"""More is refused with the next piece that comes."""


class BoundedHeads(HttpToolsProtocol):
    """One connection. Between requests, uvicorn's own time for idle ones counts."""

    seconds: ClassVar = 10.0
    """After which a client that has not sent a whole head is cut off."""

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self._timer: TimerHandle | None = None
        self._size = 0

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(transport)
        self._begin()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._begin()

    def on_headers_complete(self) -> None:
        self._end()
        super().on_headers_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        begun = self._timer
        super().data_received(data)
        if begun is None or begun is not self._timer:
            return  # what came is, in part, no head or another one
        self._size += len(data)
        if self._size > MOST_BYTES:
            self._end()
            self.send_400_response("The request line and headers are too long.")

    def _begin(self) -> None:
        self._end()
        self._size = 0
        self._timer = self.loop.call_later(self.seconds, self.transport.close)

    def _end(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
