"""What a request brings, read within bounds: so many bytes, also when inflated, within so many seconds.

A body that is too large is read on for a while and thrown away: a client that is answered while it still sends may
see a broken connection in place of the answer, and would send all again.
"""

import asyncio
import zlib
from codecs import BOM_UTF8
from typing import Final, NamedTuple, Self

from starlette.requests import Request

from producers.gateway.answers import Declined, Later

MOST_BYTES: Final = 64 * 1024 * 1024
"""Of all bodies together that a process holds at one time."""
MOST_UNKNOWN_BYTES: Final = MOST_BYTES // 4
"""Of those among them whose senders are not known before the body has been read."""
THROWN_AWAY: Final = 16
"""What is longer than so many times the limit is not read to its end."""

_CUT: Final = {"connection": "close"}
_GZIP: Final = ("gzip", "x-gzip")
_GZIP_FORMAT: Final = 16 + zlib.MAX_WBITS
_PIECE: Final = 4 * 1024
"""Where a gzip member ends, what follows it in a piece is copied."""


class Body(NamedTuple):
    """As it came, and with its compression undone and a byte order mark left out."""

    raw: bytes
    content: bytes


class Room:
    """How many bytes of bodies may yet be held."""

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self.left = most_bytes

    def take(self, size: int) -> None:
        """Raises `Later` when there is no room."""
        if size > self.left:
            raise Later("overloaded", "too many requests at once; send this one again")
        self.left -= size


class Reading:
    """Reads the body of one request; what is read takes room until the end of the `with` block."""

    def __init__(self, request: Request, room: Room, seconds: float) -> None:
        self._request = request
        self._room = room
        self._seconds = seconds
        self._held = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._room.left += self._held
        self._held = 0

    async def body(self, limit: int) -> Body:
        """Of at most `limit` bytes. Raises `Declined`, or starlette's `ClientDisconnect`."""
        try:
            async with asyncio.timeout(self._seconds):
                raw = await self._received(limit)
        except TimeoutError:
            raise Declined(408, "too_slow", f"the body did not come within {self._seconds:g} s", _CUT) from None
        encoding = self._request.headers.get("content-encoding", "identity").strip().lower()
        if encoding in _GZIP:
            content = inflated(raw, limit)
            self._hold(len(content))
            return Body(raw, content.removeprefix(BOM_UTF8))
        if encoding not in {"identity", ""}:
            raise Declined(415, "encoding", "only gzip is understood", {"accept-encoding": "gzip"})
        return Body(raw, raw.removeprefix(BOM_UTF8))

    async def _received(self, limit: int) -> bytes:
        pieces: list[bytes] = []
        size = 0
        async for piece in self._request.stream():
            size += len(piece)
            if size <= limit and piece:
                self._hold(len(piece))
                pieces.append(piece)
            elif size > limit * THROWN_AWAY:
                raise too_large(limit, cut=True)
        if size > limit:
            raise too_large(limit)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _hold(self, size: int) -> None:
        self._room.take(size)
        self._held += size


def inflated(body: bytes, limit: int) -> bytes:
    """The content of gzip members in a row (RFC 1952, 2.2), of which not more than `limit` bytes are ever inflated.

    Raises `Declined`.
    """
    content, member = bytearray(), None
    for start in range(0, len(body), _PIECE):
        rest = body[start : start + _PIECE]
        while rest:
            member = member or zlib.decompressobj(_GZIP_FORMAT)
            content += _inflated(member, rest, limit + 1 - len(content))
            if len(content) > limit:
                raise too_large(limit)
            rest = member.unused_data
            member = None if member.eof else member
    if member is not None or not body:
        raise _not_gzip()
    return bytes(content)


def _inflated(member: "zlib._Decompress", piece: bytes, most_bytes: int) -> bytes:
    try:
        return member.decompress(piece, most_bytes)
    except zlib.error:
        raise _not_gzip() from None


def too_large(limit: int, *, cut: bool = False) -> Declined:
    return Declined(413, "too_large", f"a body of more than {limit} bytes", _CUT if cut else None)


def _not_gzip() -> Declined:
    return Declined(400, "gzip", "the body is not gzip, as Content-Encoding says")
