"""Bodies are read within bounds of size, of time, and of all that is held at once."""

import asyncio
import gzip
import tracemalloc
import zlib
from collections.abc import MutableMapping, Sequence
from typing import Any

import pytest
from starlette.requests import ClientDisconnect, Request

from producers.gateway.answers import Declined
from producers.gateway.bodies import THROWN_AWAY, Body, Reading, Room, inflated

LIMIT = 1_000


class Sender:
    """A client that sends these pieces, then no more: it has ended, or is silent, or has gone."""

    def __init__(self, *pieces: bytes, then: str = "ends") -> None:
        self.taken = 0
        self._pieces = pieces
        self._then = then

    async def __call__(self) -> MutableMapping[str, Any]:
        if self.taken == len(self._pieces):
            if self._then == "goes":
                return {"type": "http.disconnect"}
            await asyncio.Event().wait()
        piece = self._pieces[self.taken]
        self.taken += 1
        more = self.taken < len(self._pieces) or self._then != "ends"
        return {"type": "http.request", "body": piece, "more_body": more}


def read(sender: Sender, room: Room | None = None, *, seconds: float = 5.0, encoding: str = "") -> Body:
    headers = [(b"content-encoding", encoding.encode())] if encoding else []
    request = Request({"type": "http", "headers": headers}, sender)

    async def reading() -> Body:
        with Reading(request, room or Room(), seconds) as body:
            return await body.body(LIMIT)

    return asyncio.run(reading())


def declined(sender: Sender, room: Room | None = None, **keys: Any) -> tuple[int, str, bool]:
    """Status, code, and whether the connection is closed."""
    with pytest.raises(Declined) as raised:
        read(sender, room, **keys)
    return raised.value.status, raised.value.code, raised.value.headers.get("connection") == "close"


# ── Size ─────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("pieces", [(b"",), (b"abc",), (b"ab", b"", b"c"), (b"a" * LIMIT,), (b"a" * 500, b"b" * 500)])
def test_a_body_is_what_was_sent(pieces: Sequence[bytes]) -> None:
    whole = b"".join(pieces)

    assert read(Sender(*pieces)) == Body(whole, whole)


def test_one_byte_too_many_is_too_large() -> None:
    assert declined(Sender(b"a" * LIMIT, b"b")) == (413, "too_large", False)


def test_a_body_that_is_too_large_is_read_to_its_end_so_that_its_sender_gets_the_answer() -> None:
    sender = Sender(*[b"a" * LIMIT] * THROWN_AWAY)

    assert declined(sender) == (413, "too_large", False)
    assert sender.taken == THROWN_AWAY


def test_a_body_without_end_is_cut_off() -> None:
    sender = Sender(*[b"a" * LIMIT] * 1_000)

    assert declined(sender) == (413, "too_large", True)
    assert sender.taken == THROWN_AWAY + 1


# ── Time ─────────────────────────────────────────────────────────────────────────────────────────


def test_a_body_that_does_not_come_is_cut_off() -> None:
    assert declined(Sender(b"a", then="is silent"), seconds=0.01) == (408, "too_slow", True)


def test_a_client_that_has_gone_gets_no_answer() -> None:
    with pytest.raises(ClientDisconnect):
        read(Sender(b"a", then="goes"))


# ── Compression ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("encoding", ["gzip", "GZIP", " x-gzip "])
def test_a_compressed_body_is_kept_as_it_came_too(encoding: str) -> None:
    sent = gzip.compress(b"a" * LIMIT)

    assert read(Sender(sent), encoding=encoding) == Body(sent, b"a" * LIMIT)


@pytest.mark.parametrize("encoding", ["br", "deflate", "gzip, gzip", "zstd"])
def test_another_compression_is_not_understood(encoding: str) -> None:
    assert declined(Sender(b"a"), encoding=encoding) == (415, "encoding", False)


@pytest.mark.parametrize("contents", [(b"a" * 400, b"", b"b" * 600), (b"", b"ab"), (b"",) * 3, (b"a",) * LIMIT])
def test_gzip_members_in_a_row_are_one_body(contents: Sequence[bytes]) -> None:
    assert inflated(b"".join(map(gzip.compress, contents)), LIMIT) == b"".join(contents)


@pytest.mark.parametrize("contents", [(b"a" * LIMIT, b"b"), (b"a", b"b" * LIMIT), (b"a",) * (LIMIT + 1)])
def test_the_limit_is_that_of_all_members_together(contents: Sequence[bytes]) -> None:
    with pytest.raises(Declined) as raised:
        inflated(b"".join(map(gzip.compress, contents)), LIMIT)

    assert (raised.value.status, raised.value.code) == (413, "too_large")


@pytest.mark.parametrize("before", [b"", gzip.compress(b"a", mtime=0)])
def test_of_a_bomb_no_more_is_inflated_than_the_limit(before: bytes) -> None:
    bomb = before + gzip.compress(bytes(100_000_000))
    tracemalloc.start()
    with pytest.raises(Declined) as raised:
        inflated(bomb, LIMIT)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert (raised.value.status, raised.value.code) == (413, "too_large")
    assert peak < 200 * LIMIT + len(bomb)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        gzip.compress(b"{}", mtime=0)[:-1],
        gzip.compress(b"{}", mtime=0) + b"more",
        gzip.compress(b"{}", mtime=0) * 2 + gzip.compress(b"{}", mtime=0)[:-1],
        gzip.compress(b"{}", mtime=0) + bytes(8),
        gzip.compress(b"{}", mtime=0)[:-8] + bytes(8),
        zlib.compress(b"{}"),
    ],
)
def test_what_is_not_whole_gzip_members_is_refused(body: bytes) -> None:
    with pytest.raises(Declined) as raised:
        inflated(body, LIMIT)

    assert (raised.value.status, raised.value.code) == (400, "gzip")


# ── All that is held at once ─────────────────────────────────────────────────────────────────────


def test_where_no_more_can_be_held_the_request_is_to_come_again() -> None:
    room = Room(most_bytes=5)

    status, code, _ = declined(Sender(b"abc", b"def"), room)

    assert (status, code, room.left) == (503, "overloaded", 5)


def test_what_is_inflated_counts() -> None:
    sent = gzip.compress(b"a" * LIMIT)

    assert declined(Sender(sent), Room(most_bytes=LIMIT), encoding="gzip")[:2] == (503, "overloaded")


def test_room_is_given_back_however_it_ends() -> None:
    room = Room(most_bytes=LIMIT)

    read(Sender(b"a" * 900), room)
    declined(Sender(b"a" * 900, then="is silent"), room, seconds=0.01)
    declined(Sender(b"a" * 900, b"b" * 900), room)
    with pytest.raises(ClientDisconnect):
        read(Sender(b"a" * 900, then="goes"), room)

    assert room.left == LIMIT
