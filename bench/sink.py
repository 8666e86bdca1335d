"""All three vendors at once, for measuring: reads each request whole and answers at once what the vendor would.

A process of its own: `python -m bench.sink [RECORD]` prints its port, and serves until it is ended. It counts the
identifiers that it is sent (`GET /tally`). With a file to record in, it keeps all requests, and when each one came.
"""

import asyncio
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol

import msgspec
import uvloop

from bench.events import audience_id
from bench.membership import Recorded, frame

_LENGTH: Final = re.compile(rb"(?i)\r\ncontent-length: *(\d+)")
_TOKEN: Final = b'{"access_token":"token","token_type":"bearer","expires_in":43200}'
_SEARCHED: Final = b'{"data":[],"meta":{"totalItems":0,"limit":100,"offset":0},"errors":[],"warnings":[]}'
_AMENDED: Final = (
    b'{"data":{"type":"ContactlistAmendment","attributes":{"nbValidIdentifiers":1,"nbInvalidIdentifiers":0,'
    b'"sampleInvalidIdentifiers":[]}},"errors":[],"warnings":[]}'
)
_MAPPED: Final = b'{"upsertProfileMapping":{"userErrors":[]},"upsertExternalAudienceMapping":{"userErrors":[]}'
_UPSERTED: Final = b'{"data":%b,"upsertProfiles":{"userErrors":[]}}}' % _MAPPED
_MARKS: Final = {"taboola": b'"EMAIL_ID"'}
"""What stands once in a request for each identifier; else it is the "@" of an email."""


class Tally(msgspec.Struct):
    """What came so far."""

    requests: int = 0
    identifiers: int = 0


class Output(Protocol):
    """Where requests are kept."""

    def write(self, data: bytes, /) -> object: ...


class Sink:
    """What all connections share."""

    def __init__(self, record: Output | None = None) -> None:
        self.tally = Tally()
        self._record = record

    def answer(self, request: Recorded) -> bytes:
        """The body of the answer. Raises `LookupError` for what no vendor is asked."""
        if request.path == "/tally":
            return msgspec.json.encode(self.tally)
        if self._record is not None:
            self._record.write(frame(request))
        vendor, _, place = request.path.lstrip("/").partition("/")
        self.tally.requests += 1
        if place.endswith(("/contact-list", "/audience_onboarding", "graphql")):
            self.tally.identifiers += request.body.count(_MARKS.get(vendor, b"@"))
        return _answer(vendor, place, request.body)


def _answer(vendor: str, place: str, body: bytes) -> bytes:
    for known, end, answer in _ANSWERS:
        if known in {vendor, ""} and place.endswith(end):
            return answer if isinstance(answer, bytes) else answer(body)
    raise LookupError(f"no vendor has /{vendor}/{place}")


def _created_at_criteo(body: bytes) -> bytes:
    name = msgspec.json.decode(body)["data"][0]["attributes"]["name"]
    row = {"id": str(audience_id(name)), "type": "AudienceSegment", "attributes": {"name": name}}
    return msgspec.json.encode({"data": [row], "errors": [], "warnings": []})


def _created_at_taboola(body: bytes) -> bytes:
    wanted = msgspec.json.decode(body)
    return msgspec.json.encode(wanted | {"audience_id": audience_id(wanted["audience_name"])})


_ANSWERS: Final[tuple[tuple[str, str, bytes | Callable[[bytes], bytes]], ...]] = (
    ("", "/token", _TOKEN),
    ("criteo", "/search", _SEARCHED),
    ("criteo", "/create", _created_at_criteo),
    ("criteo", "/contact-list", _AMENDED),
    ("taboola", "/create", _created_at_taboola),
    ("taboola", "/audience_onboarding", b""),
    ("stackadapt", "graphql", _UPSERTED),
)
"""By vendor (or all of them) and the end of the path."""


class Connection(asyncio.Protocol):
    """One connection of HTTP/1.1, its requests one after the other."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._transport: asyncio.Transport
        self._parts: list[bytes] = []
        self._missing = 0
        self._began = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # of a TCP server it is one

    def data_received(self, data: bytes) -> None:
        if not self._parts:
            self._began = time.time()
        self._parts.append(data)
        self._missing -= len(data)
        if self._missing > 0:
            return
        whole = b"".join(self._parts)
        head, blank, body = whole.partition(b"\r\n\r\n")
        length = _LENGTH.search(head)
        self._missing = (int(length[1]) if length else 0) - len(body) if blank else 1
        if self._missing > 0:
            self._parts = [whole]
            return
        self._parts, self._missing = [], 0
        self._answer(head, body)

    def _answer(self, head: bytes, body: bytes) -> None:
        path = head.split(b" ", 2)[1].decode().partition("?")[0]
        try:
            status, answer = b"200 OK", self._sink.answer(Recorded(self._began, path, body))
        except LookupError as error:
            status, answer = b"404 Not Found", str(error).encode()
        fixed = b"HTTP/1.1 %b\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
        self._transport.write(fixed % (status, len(answer)) + answer)


async def _serve(record: Path | None) -> None:
    output = record.open("wb", buffering=0) if record else None
    sink = Sink(output)
    server = await asyncio.get_running_loop().create_server(lambda: Connection(sink), "127.0.0.1", 0)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(_serve(Path(sys.argv[1]) if len(sys.argv) > 1 else None))
