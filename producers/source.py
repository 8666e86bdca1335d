"""Bytes of a file or of standard input, counted and summed up; and without their compression, gzip or zstd, which their
content tells.

Nothing is read ahead further than one buffer, and never more is decompressed than 512 bytes of zstd hold: 16 MB.
"""

import gzip
import io
import zlib
from typing import BinaryIO, Final, NamedTuple, Protocol, cast

import zstandard

from worker.errors import RelayError

BUFFER_BYTES: Final = 256 * 1024
SLICE_BYTES: Final = 512
"""How much zstd is given at once: it answers with all that comes of it."""
_TOO_LONG: Final = "requires too much memory"
"""What zstd says of a longer window than it takes unasked."""
_GZIP: Final = b"\x1f\x8b"
_ZSTD: Final = (b"\x28\xb5\x2f\xfd", *(bytes([first]) + b"\x2a\x4d\x18" for first in range(0x50, 0x60)))
"""A frame, or one to be skipped (RFC 8878, 3.1.2)."""
_LONGEST: Final = 4
"""Of those beginnings."""


class DamagedData(RelayError):
    """Compressed data cannot be read further; the text says why."""


class CutOffData(DamagedData):
    """Compressed data ends in the middle."""


class _Stream(Protocol):
    """What `BinaryIO` leaves out: bytes as soon as there are some."""

    def read1(self, size: int, /) -> bytes: ...

    def readinto1(self, buffer: bytearray | memoryview, /) -> int: ...


class Spot(NamedTuple):
    """How far a source was read, in bytes as they lie there, and the CRC-32 of all of them."""

    position: int = 0
    checksum: int = 0


class Source(io.RawIOBase):
    """Bytes as they lie there. `spot`: how far they were read."""

    def __init__(self, stream: BinaryIO) -> None:
        """`stream` is buffered, as open files, `sys.stdin.buffer` and `io.BytesIO` are."""
        self._stream = cast("_Stream", stream)
        self._ahead = b""
        self.spot = Spot()

    def beginning(self) -> bytes:
        """Its first bytes, no more of them than tell a compression from text; they are still to be read."""
        while len(self._ahead) < _LONGEST and _may_be_compressed(self._ahead):
            piece = self._stream.read1(_LONGEST - len(self._ahead))
            if not piece:
                break
            self._ahead += piece
        return self._ahead

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "bytearray | memoryview") -> int:  # type: ignore[override]  # typeshed: any buffer
        if self._ahead:
            size = min(len(buffer), len(self._ahead))
            buffer[:size], self._ahead = self._ahead[:size], self._ahead[size:]
        else:
            size = self._stream.readinto1(buffer)
        self.spot = Spot(self.spot.position + size, zlib.crc32(memoryview(buffer)[:size], self.spot.checksum))
        return size


def content(source: Source) -> io.BufferedReader:
    """What a source holds, without its compression. Reading it raises `DamagedData`; all before that was given."""
    beginning = source.beginning()
    stored: io.BufferedReader = io.BufferedReader(source, BUFFER_BYTES)
    if beginning.startswith(_GZIP):
        return io.BufferedReader(_Gunzipped(stored), BUFFER_BYTES)
    if beginning.startswith(_ZSTD):
        return io.BufferedReader(_Unzstandardised(stored), BUFFER_BYTES)
    return stored


def skip(stream: io.BufferedReader, size: int) -> None:
    """Read so much of a content, that its source sums it up. Raises `DamagedData`, also where there is not so much."""
    while size:
        piece = stream.read1(min(BUFFER_BYTES, size))
        if not piece:
            raise DamagedData("its content is shorter than it was")
        size -= len(piece)


class _Decompressed(io.RawIOBase):
    """Gives what was decompressed before an error, then the error."""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "bytearray | memoryview") -> int:  # type: ignore[override]  # typeshed: any buffer
        try:
            piece = self.piece(len(buffer))
        except EOFError as error:
            raise CutOffData("its compressed data ends in the middle") from error
        except (gzip.BadGzipFile, zlib.error, zstandard.ZstdError) as error:
            if _TOO_LONG in str(error):
                raise DamagedData(
                    "its compression reaches back further than 128 MB; decompress it with "
                    "`zstd -dc --long=31 FILE | audience-relay load -`"
                ) from error
            raise DamagedData(f"its compressed data is damaged ({error})") from error
        buffer[: len(piece)] = piece
        return len(piece)

    def piece(self, size: int) -> bytes:
        """At most `size` bytes, none at the end. Raises `EOFError` where data is missing."""
        raise NotImplementedError


class _Gunzipped(_Decompressed):
    """One member after another."""

    def __init__(self, stored: io.BufferedReader) -> None:
        self._file = gzip.GzipFile(fileobj=stored)

    def piece(self, size: int) -> bytes:
        return self._file.read1(size)


class _Unzstandardised(_Decompressed):
    """One frame after another."""

    def __init__(self, stored: io.BufferedReader) -> None:
        self._stored = stored
        self._rest = b""
        self._ready = memoryview(b"")
        self._frame = zstandard.ZstdDecompressor().decompressobj()
        self._within_frame = False

    def piece(self, size: int) -> bytes:
        while not self._ready:
            slice_ = self._rest or self._stored.read(SLICE_BYTES)
            if not slice_ and self._within_frame:
                raise EOFError
            if not slice_:
                return b""
            self._ready = memoryview(self._decompress(slice_))
        piece, self._ready = self._ready[:size], self._ready[size:]
        return bytes(piece)

    def _decompress(self, slice_: bytes) -> bytes:
        found = self._frame.decompress(slice_)
        self._within_frame = not self._frame.eof
        self._rest = self._frame.unused_data
        if self._frame.eof:
            self._frame = zstandard.ZstdDecompressor().decompressobj()
        return found


def _may_be_compressed(beginning: bytes) -> bool:
    return any(magic.startswith(beginning) for magic in (_GZIP, *_ZSTD))
