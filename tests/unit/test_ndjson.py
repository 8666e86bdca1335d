"""How lines of source events are read: without trust in their size or their end."""

import io
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from producers.ndjson import Place, read_ndjson


def lines(content: bytes, max_bytes: int = 100) -> list[tuple[int, bytes]]:
    return [(line, stands) for line, _, stands in read_ndjson(io.BytesIO(content), max_bytes, Place())]


def test_lines_are_numbered_and_blank_ones_are_not_read() -> None:
    assert lines(b"one\n\n  \t\r\nfour\n") == [(1, b"one"), (4, b"four")]


def test_lines_may_end_in_any_way_and_the_last_not_at_all() -> None:
    assert lines(b"one\r\ntwo\nthree") == [(1, b"one"), (2, b"two"), (3, b"three")]


def test_a_byte_order_mark_is_no_part_of_a_line() -> None:
    """Files that were put together have one in the middle."""
    assert lines(b"\xef\xbb\xbfone\n\xef\xbb\xbftwo") == [(1, b"one"), (2, b"two")]


def test_nothing_has_no_lines() -> None:
    assert lines(b"") == []


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b""])
def test_a_line_of_exactly_the_limit_is_whole(end: bytes) -> None:
    longest = b"\xef\xbb\xbf" + b"x" * 100 + end

    assert lines(longest) == [(1, b"x" * 100)]


@pytest.mark.parametrize("length", [101, 105, 106, 1_000, 200_000])
def test_of_a_line_over_the_limit_only_the_beginning_is_read(length: int) -> None:
    (first, beginning), second = lines(b"x" * length + b"\ntwo\n")

    assert first == 1
    assert 100 < len(beginning) <= 105
    assert second == (2, b"two")


def test_a_line_that_never_ends_is_not_kept() -> None:
    class Endless(io.BytesIO):
        """Gives the letter x 100 MB long, and says how much was asked for at once."""

        left = 100_000_000
        most = 0

        def readline(self, size: int | None = -1, /) -> bytes:
            assert size is not None
            self.most = max(self.most, size)
            piece = b"x" * min(size, self.left)
            self.left -= len(piece)
            return piece

    endless = Endless()
    ((number, _, beginning),) = read_ndjson(endless, 100, Place())

    assert number == 1
    assert len(beginning) <= 105
    assert 0 < endless.most <= 64 * 1024


@given(st.lists(st.text("x \t\r\x00é", max_size=12)), st.integers(1, 10))
def test_no_line_is_lost_and_none_within_the_limit_is_cut(contents: list[str], max_bytes: int) -> None:
    written = dict(enumerate((content.encode() for content in contents), 1))

    found = dict(lines(b"\n".join(written.values()), max_bytes))

    not_blank = {number: line.strip() for number, line in written.items() if line.strip()}
    assert not_blank.keys() <= found.keys()
    for number, line in found.items():
        assert len(written[number]) > max_bytes or line == not_blank[number]
        assert len(line) > max_bytes or line == not_blank[number]


@given(st.lists(st.text("x \r\x00é", max_size=12)), st.integers(0, 12))
def test_reading_goes_on_at_any_place_that_was_told(contents: list[str], stop: int) -> None:
    whole = "\n".join(contents).encode()
    place = Place()
    reader = read_ndjson(io.BytesIO(whole), 5, place)
    first = list(islice(reader, stop))
    rest = io.BytesIO(whole)
    rest.seek(place.offset)

    assert first + list(read_ndjson(rest, 5, place)) == list(read_ndjson(io.BytesIO(whole), 5, Place()))
