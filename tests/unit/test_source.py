"""How compression is taken off: told by the content, as a stream, and clear about data that is cut off or damaged."""

import gzip
import io
import tracemalloc
import zlib
from collections.abc import Callable
from typing import Final

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from producers.source import CutOffData, DamagedData, Source, Spot, content, skip

TEXT: Final = b"".join(b'{"line": %d}\n' % number for number in range(50_000))
COMPRESS: Final[dict[str, Callable[[bytes], bytes]]] = {
    "plain": bytes,
    "gzip": gzip.compress,
    "zstd": zstandard.compress,
}
SKIPPED_FRAME: Final = b"\x5a\x2a\x4d\x18" + (5).to_bytes(4, "little") + b"index"


def read(stored: bytes) -> bytes:
    return content(Source(io.BytesIO(stored))).read()


@pytest.mark.parametrize("kind", COMPRESS)
def test_the_content_comes_out_whatever_its_compression(kind: str) -> None:
    assert read(COMPRESS[kind](TEXT)) == TEXT


@pytest.mark.parametrize("kind", COMPRESS)
def test_several_archives_in_a_row_are_one(kind: str) -> None:
    """Members of gzip, frames of zstd: what `cat` and parallel compressors make."""
    parts = [b"one\n", b"", TEXT, b"last"]

    assert read(b"".join(map(COMPRESS[kind], parts))) == b"".join(parts)


def test_frames_of_zstd_that_are_to_be_skipped_are() -> None:
    assert read(SKIPPED_FRAME + zstandard.compress(b"one\n") + SKIPPED_FRAME) == b"one\n"


def test_zeros_after_gzip_are_padding() -> None:
    assert read(gzip.compress(b"one\n") + bytes(512)) == b"one\n"


@pytest.mark.parametrize("nothing", [b"", gzip.compress(b"", mtime=0), zstandard.compress(b"")])
def test_nothing_is_no_error(nothing: bytes) -> None:
    assert read(nothing) == b""


@pytest.mark.parametrize("short", [b"\x1f", b"(", b"(\xb5", b"{", b"P*M"])
def test_what_begins_like_a_compression_and_ends_is_text(short: bytes) -> None:
    assert read(short) == short


@pytest.mark.parametrize("kind", ["gzip", "zstd"])
@pytest.mark.parametrize("part", [0.001, 0.1, 0.5, 0.999])
def test_what_was_cut_off_is_read_as_far_as_it_goes(kind: str, part: float) -> None:
    stored = COMPRESS[kind](TEXT)
    stream = content(Source(io.BytesIO(stored[: max(6, int(len(stored) * part))])))
    found: list[bytes] = []

    with pytest.raises(CutOffData, match="ends in the middle"):
        found.extend(stream)

    assert TEXT.startswith(b"".join(found))
    assert len(b"".join(found)) > len(TEXT) * part - 300_000


def test_of_gzip_that_was_cut_off_no_half_line_is_given() -> None:
    stored = gzip.compress(TEXT)
    stream = content(Source(io.BytesIO(stored[:-9])))
    found: list[bytes] = []

    with pytest.raises(CutOffData):
        found.extend(stream)

    assert all(line.endswith(b"\n") for line in found)
    assert len(found) > 49_000


def test_a_longer_window_than_zstd_takes_is_told_with_the_way_to_load_it() -> None:
    far = zstandard.ZstdCompressionParameters.from_level(1, window_log=28)
    frame = zstandard.ZstdCompressor(compression_params=far).compressobj()
    content = frame.compress(TEXT) + frame.flush()

    with pytest.raises(
        DamagedData, match=r"further than 128 MB; .* `zstd -dc --long=31 FILE \| audience-relay load -`"
    ):
        read(content)


def test_damaged_data_is_told_from_what_was_cut_off() -> None:
    wrong_sum = bytearray(gzip.compress(TEXT))
    wrong_sum[-5] ^= 1

    for damaged in (bytes(wrong_sum), gzip.compress(TEXT) + b"and then text", zstandard.compress(TEXT) + b"text"):
        with pytest.raises(DamagedData, match="damaged") as told:
            read(damaged)

        assert not isinstance(told.value, CutOffData)


def test_no_more_is_read_to_tell_text_than_has_come() -> None:
    """Somebody who types a line should not have to type four bytes more."""

    class Typed(io.BytesIO):
        asked = 0

        def read1(self, size: int | None = -1, /) -> bytes:
            self.asked += 1
            return super().read1(1)

    typed = Typed(b"{}\n")

    assert Source(typed).beginning() == b"{"
    assert typed.asked == 1


@pytest.mark.parametrize("kind", COMPRESS)
@pytest.mark.parametrize("offset", [0, 1, 300_000, len(TEXT)])
def test_reading_goes_on_at_an_offset_of_the_content(kind: str, offset: int) -> None:
    stream = content(Source(io.BytesIO(COMPRESS[kind](TEXT))))

    skip(stream, offset)

    assert stream.read() == TEXT[offset:]


@pytest.mark.parametrize("kind", COMPRESS)
def test_an_offset_beyond_the_end_is_told(kind: str) -> None:
    stream = content(Source(io.BytesIO(COMPRESS[kind](TEXT))))

    with pytest.raises(DamagedData, match="shorter than it was"):
        skip(stream, len(TEXT) + 1)


@pytest.mark.parametrize("kind", COMPRESS)
def test_position_and_checksum_are_those_of_the_bytes_as_they_lie_there(kind: str) -> None:
    """At each moment of all that was read, ahead of what was given, and of nothing else."""
    stored = COMPRESS[kind](TEXT)
    source = Source(io.BytesIO(stored))
    stream = content(source)

    spots = {source.spot for _ in iter(lambda: stream.read(10_000), b"")}

    assert max(spots) == Spot(len(stored), zlib.crc32(stored))
    assert all(spot.checksum == zlib.crc32(stored[: spot.position]) for spot in spots)


@pytest.mark.parametrize("kind", ["gzip", "zstd"])
def test_what_unfolds_to_very_much_is_never_held_as_a_whole(kind: str) -> None:
    """200 MB of zeros; zstd says them in a few hundred bytes."""
    packed = zlib.compressobj(wbits=31) if kind == "gzip" else zstandard.ZstdCompressor().compressobj()
    stored = b"".join([*(packed.compress(bytes(1_000_000)) for _ in range(200)), packed.flush()])

    tracemalloc.start()
    try:
        stream = content(Source(io.BytesIO(stored)))
        size = sum(map(len, iter(stream.read1, b"")))
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert size == 200_000_000
    assert most < 50_000_000


@given(st.binary(max_size=200), st.sampled_from(["gzip", "zstd"]), st.integers(1, 50))
def test_any_content_comes_out_as_it_went_in(packed: bytes, kind: str, piece: int) -> None:
    stream = content(Source(io.BytesIO(COMPRESS[kind](packed))))

    assert b"".join(iter(lambda: stream.read1(piece), b"")) == packed
