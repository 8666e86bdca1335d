"""Who sends a request line and headers without end, or slowly, is cut off; bodies are not taken for heads."""

import asyncio
import logging
from asyncio import StreamReader, StreamWriter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import ClassVar

import pytest
import uvicorn
import uvloop
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.server import ServerState

from producers.gateway.heads import MOST_BYTES, MOST_UNREAD, BoundedHeads

Talk = Callable[[StreamReader, StreamWriter], Awaitable[bytes]]
SOON = 10.0


class Hasty(BoundedHeads):
    seconds: ClassVar = 0.05


async def lengths(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with how many headers and how many bytes came."""
    request = Request(scope, receive)
    body = await request.body()
    await PlainTextResponse(f"{len(request.headers.raw)} {len(body)}")(scope, receive, send)


def talk(talking: Talk, kind: type[BoundedHeads] = BoundedHeads, application: ASGIApp = lengths) -> bytes:
    """What one client gets, who talks like this."""

    async def talked() -> bytes:
        config = uvicorn.Config(application, http=kind, ws="none", lifespan="off", log_config=None)
        config.load()
        loop, state = asyncio.get_running_loop(), ServerState()
        server = await loop.create_server(lambda: kind(config=config, server_state=state, app_state={}), "127.0.0.1", 0)
        async with server, asyncio.timeout(SOON):
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            try:
                return await talking(reader, writer)
            finally:
                writer.close()

    return uvloop.run(talked())


def request(body: bytes, *headers: bytes) -> bytes:
    return b"\r\n".join([b"POST / HTTP/1.1", *headers, b"content-length: %d" % len(body), b"", body])


async def until_closed(reader: StreamReader) -> bytes:
    try:
        return await reader.read()
    except ConnectionResetError:
        return b""


async def another_is_cut_off(writer: StreamWriter) -> None:
    """Returns when whoever has not sent a head by now would be."""
    reader, silent = await asyncio.open_connection(*writer.get_extra_info("peername"))
    await until_closed(reader)
    silent.close()


@pytest.mark.parametrize("endless", [b"a" * 1_000, b"x-more: and more\r\n" * 50])
def test_a_head_without_end_is_cut_off(endless: bytes) -> None:
    async def talking(reader: StreamReader, writer: StreamWriter) -> bytes:
        writer.write(b"POST / HTTP/1.1\r\nx-first: ")
        answer = asyncio.create_task(until_closed(reader))
        sent = 0
        while not answer.done() and sent < 1_000 * MOST_BYTES:
            writer.write(endless)
            sent += len(endless)
            try:
                await writer.drain()
            except ConnectionError:
                break
            await asyncio.sleep(0)
        assert sent < 500 * MOST_BYTES  # what buffers on the way hold
        return await answer

    assert talk(talking)[:12] in {b"HTTP/1.1 400", b""}


@pytest.mark.parametrize("beginning", [b"", b"POST / HTTP/1.1\r\nx-first: a"])
def test_a_head_that_does_not_come_is_cut_off(beginning: bytes) -> None:
    async def talking(reader: StreamReader, writer: StreamWriter) -> bytes:
        writer.write(beginning)
        return await until_closed(reader)

    assert talk(talking, Hasty) == b""


def test_a_second_head_that_does_not_come_is_cut_off_too() -> None:
    async def talking(reader: StreamReader, writer: StreamWriter) -> bytes:
        writer.write(request(b"") + b"POST / HTTP/1.1\r\n")
        return await until_closed(reader)

    assert talk(talking, Hasty).count(b"HTTP/1.1 200") == 1


def test_bodies_are_no_heads_however_large_and_slow_they_are() -> None:
    async def talking(reader: StreamReader, writer: StreamWriter) -> bytes:
        whole = request(b"a" * 3 * MOST_BYTES, b"x-one: 1")
        for _ in range(2):
            writer.write(whole[:100])
            await another_is_cut_off(writer)
            writer.write(whole[100:])
        writer.write(request(b"", b"connection: close"))
        return await until_closed(reader)

    answers = talk(talking, Hasty)

    assert answers.count(b"\r\n\r\n2 %d" % (3 * MOST_BYTES)) == 2
    assert answers.endswith(b"\r\n\r\n2 0")


def test_many_requests_on_one_connection_are_each_counted_alone() -> None:
    async def talking(reader: StreamReader, writer: StreamWriter) -> bytes:
        for _ in range(20):
            writer.write(request(b"", b"x-long: " + b"a" * (MOST_BYTES // 4)))
            await writer.drain()
        writer.write(request(b"", b"connection: close"))
        return await until_closed(reader)

    assert talk(talking).count(b"HTTP/1.1 200") == 21


# ── What nobody reads ────────────────────────────────────────────────────────────────────────────


async def hasty(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers before the body came."""
    await PlainTextResponse("answered")(scope, receive, send)


@pytest.mark.parametrize("rest", [b"", b"a"], ids=["silent", "slow"])
def test_who_does_not_end_a_body_that_nobody_reads_is_cut_off(rest: bytes) -> None:
    async def talking(reader: StreamReader, writer: StreamWriter) -> bytes:
        writer.write(b"POST / HTTP/1.1\r\ncontent-length: 1000000000\r\n\r\na")
        answer = asyncio.create_task(until_closed(reader))
        while not answer.done():
            writer.write(rest)
            await asyncio.sleep(0.01)
        return await answer

    assert talk(talking, Hasty, hasty).endswith(b"answered")


def test_a_body_that_nobody_reads_is_cut_off_where_it_is_too_large() -> None:
    async def talking(reader: StreamReader, writer: StreamWriter) -> bytes:
        writer.write(b"POST / HTTP/1.1\r\ncontent-length: 1000000000\r\n\r\n")
        answer = asyncio.create_task(until_closed(reader))
        sent = 0
        while not answer.done() and sent < 100 * MOST_UNREAD:
            writer.write(b"a" * MOST_BYTES)
            sent += MOST_BYTES
            with suppress(ConnectionError):
                await writer.drain()
            await asyncio.sleep(0)
        assert sent < 50 * MOST_UNREAD  # what buffers on the way hold
        return await answer

    assert talk(talking, kind=BoundedHeads, application=hasty)[:12] in {b"HTTP/1.1 200", b""}


def test_after_a_body_that_nobody_read_the_next_request_is_answered() -> None:
    async def talking(reader: StreamReader, writer: StreamWriter) -> bytes:
        writer.write(request(b"a" * 1_000)[:-500])
        await reader.readuntil(b"answered")
        writer.write(b"a" * 500 + request(b"", b"connection: close"))
        return await until_closed(reader)

    assert talk(talking, BoundedHeads, hasty).count(b"HTTP/1.1 200") == 1


def test_line_ends_between_requests_keep_nobody() -> None:
    async def talking(reader: StreamReader, writer: StreamWriter) -> bytes:
        writer.write(request(b""))
        await reader.readuntil(b"1 0")
        answer = asyncio.create_task(until_closed(reader))
        while not answer.done():
            writer.write(b"\r\n")
            await asyncio.sleep(0.01)
        return await answer

    assert talk(talking, Hasty) == b""


def test_trailers_are_thrown_away() -> None:
    async def talking(reader: StreamReader, writer: StreamWriter) -> bytes:
        chunked = b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n2\r\nab\r\n0\r\n"
        writer.write(chunked + b"x-more: and more\r\n" * 1_000 + b"\r\n")
        return await until_closed(reader)

    assert talk(talking).endswith(b"\r\n\r\n2 2")


# ── Who goes away ────────────────────────────────────────────────────────────────────────────────


def test_who_goes_away_while_several_requests_wait_is_nobodys_mistake(caplog: pytest.LogCaptureFixture) -> None:
    happened: list[str] = []
    ended = asyncio.Event()

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        """Answers the first request at once, and the second when it is told that the client has gone."""
        await Request(scope, receive).body()
        if happened:
            happened.append((await receive())["type"])
            ended.set()
        await PlainTextResponse("answered")(scope, receive, send)
        happened.append("answered")

    async def talking(reader: StreamReader, writer: StreamWriter) -> bytes:
        writer.write(request(b"ab") * 4)
        answer = await reader.readuntil(b"answered")
        writer.close()
        await ended.wait()
        return answer

    talk(talking, application=application)

    assert happened == ["answered", "http.disconnect", "answered"]
    assert [each for each in caplog.records if each.levelno >= logging.WARNING] == []


# ── Other protocols ──────────────────────────────────────────────────────────────────────────────

ASKING = (
    (b"connection: Upgrade, HTTP2-Settings", b"upgrade: h2c", b"http2-settings: AAMAAABkAAQAoAAAAAIAAAAA"),
    (b"connection: keep-alive, Upgrade", b"upgrade: websocket", b"sec-websocket-version: 13"),
    (b"upgrade: h2c", b"connection: upgrade"),
)


@pytest.mark.parametrize("headers", ASKING)
@pytest.mark.parametrize("piece", [1, 50, 10_000])
def test_who_asks_for_another_protocol_is_answered_in_this_one(headers: Sequence[bytes], piece: int) -> None:
    async def talking(reader: StreamReader, writer: StreamWriter) -> bytes:
        whole = request(b"a" * 100, *headers) * 2 + request(b"", b"connection: close")
        for start in range(0, len(whole), piece):
            writer.write(whole[start : start + piece])
            await writer.drain()
        return await until_closed(reader)

    answers = talk(talking)

    kept = len([each for each in headers if each.startswith((b"connection", b"sec-"))])
    assert answers.count(b"\r\n\r\n%d 100" % (kept + 1)) == 2
    assert answers.endswith(b"\r\n\r\n2 0")


@pytest.mark.parametrize(
    "preface", [b"CONNECT example.com:443 HTTP/1.1\r\nhost: example.com\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"]
)
def test_who_speaks_another_protocol_at_once_is_refused(preface: bytes) -> None:
    async def talking(reader: StreamReader, writer: StreamWriter) -> bytes:
        writer.write(preface)
        return await until_closed(reader)

    assert talk(talking).startswith(b"HTTP/1.1 400")
