"""Bytes of a file or of standard input, counted, and with their compression taken off: gzip and zstd, told by content.

Nothing is read ahead further than one buffer, and never more is decompressed than 512 bytes of zstd hold: 16 MB.
"""

import gzip
import io
import zlib
from typing import BinaryIO, Final, Protocol, cast

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

    def seek(self, offset: int, /) -> int: ...

    def fileno(self) -> int: ...


class Source(io.RawIOBase):
    """Bytes as they lie there. `position`: how many were read."""

    def __init__(self, stream: BinaryIO) -> None:
        """`stream` is buffered, as open files, `sys.stdin.buffer` and `io.BytesIO` are."""
        self._stream = cast("_Stream", stream)
        self._ahead = b""
        self.position = 0

    def beginning(self) -> bytes:
        """Its first bytes, no more of them than tell a compression from text; they are still to be read."""
        while len(self._ahead) < _LONGEST and _may_be_compressed(self._ahead):
            piece = self._stream.read1(_LONGEST - len(self._ahead))
            if not piece:
                break
            self._ahead += piece
        return self._ahead

    def go_to(self, position: int) -> None:
        """Read on from there. Of regular files alone."""
        self._stream.seek(position)
        self._ahead = b""
        self.position = position

    def fileno(self) -> int:
        return self._stream.fileno()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "bytearray | memoryview") -> int:  # type: ignore[override]  # typeshed: any buffer
        if self._ahead:
            size = min(len(buffer), len(self._ahead))
            buffer[:size], self._ahead = self._ahead[:size], self._ahead[size:]
        else:
            size = self._stream.readinto1(buffer)
        self.position += size
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


def go_to(source: Source, stream: io.BufferedReader, offset: int, so_far: int) -> io.BufferedReader:
    """The content of a regular file from an offset on, `so_far` of which was read.

    Compressed data is read up to there. Raises `DamagedData`, also where there is not so much.
    """
    if stream.raw is source:
        stream.detach()  # else it would close the source with itself
        source.go_to(offset)
        return io.BufferedReader(source, BUFFER_BYTES)
    while so_far < offset:
        piece = stream.read1(min(BUFFER_BYTES, offset - so_far))
        if not piece:
            raise DamagedData("its compressed data is shorter than it was")
        so_far += len(piece)
    return stream


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
