"""How a load that was stopped goes on where it stopped, and brings nothing twice.

After each chunk a bookmark is put: how far the file was read. It lies in Redis and not beside the file, since it must
never tell of more than Redis has: what Redis loses, it loses from its end, and the bookmark follows the changes. It is
removed when the whole command is done.

A load may be killed when a chunk was appended and its bookmark was not yet put. So a chunk has a name made of the
load's id, its place in the file, what stands there and what came of it. The next load begins at the bookmark, so it
cuts the same chunk, and appends it under the same name: for ten minutes Redis takes that for a repetition. Later, only
message ids keep the changes of that one chunk from coming twice.
"""

import platform
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple
from uuid import uuid4

import msgspec

from producers.bookmark import Bookmark, Bookmarks, beginning, digest
from producers.intake import CHUNK_EVENTS, Piece, Report, Store
from producers.ndjson import Place
from producers.source import Spot
from worker.contract import Change, LaneKey
from worker.errors import StoreError, StoreFull


class Resumed(NamedTuple):
    """A file as it was named, and the line after which it goes on; what came of the lines before stays."""

    path: str
    line: int
    refused: int = 0
    """How many source events."""
    left_out: int = 0
    """How often a destination did not get something of the others."""


OnBegin = Callable[[Sequence[Resumed]], None]
"""Gets the files that go on where a load of them stopped, in their order, before anything is accepted."""

_TURN: Final = "#"
"""Stands before the number of a turn but the first, in the name of a bookmark."""


class NamedChunks(Store):
    """A store that names the chunks of a place by that and by what is in them, in place of the ids that it is given."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._place: str | None = None
        self._names: dict[str, str] = {}
        self._pieces: Counter[LaneKey] = Counter()

    @contextmanager
    def at(self, place: str) -> Iterator[None]:
        """What is appended meanwhile is of this place."""
        self._place = place
        try:
            yield
        finally:
            self._place = None
            self._names.clear()
            self._pieces.clear()

    def append(self, lane: LaneKey, changes: Sequence[Change], chunk_id: str) -> int:
        return self._store.append(lane, changes, self._name(lane, changes, chunk_id))

    def append_each(self, pieces: Sequence[Piece]) -> list[int | StoreFull]:
        return self._store.append_each(
            [(lane, changes, self._name(lane, changes, id_)) for lane, changes, id_ in pieces]
        )

    def count_refused(self, reasons: Mapping[str, int]) -> None:
        self._store.count_refused(reasons)

    def count_left_out(self, destination: str, reasons: Mapping[str, int]) -> None:
        self._store.count_left_out(destination, reasons)

    def _name(self, lane: LaneKey, changes: Sequence[Change], given: str) -> str:
        if self._place is None:
            return given
        if given not in self._names:  # else the same call is repeated
            self._names[given] = self._new_name(lane, changes)
        return self._names[given]

    def _new_name(self, lane: LaneKey, changes: Sequence[Change]) -> str:
        """What is in it counts: under another configuration the same place leads to other changes.

        Times do not: where source events have none, they are those of the receipt.
        """
        number = self._pieces[lane]
        self._pieces[lane] += 1
        ends = [(each.entered, each.identifiers, each.message_id) for each in (changes[0], changes[-1])]
        return digest(msgspec.json.encode((self._place, lane.member, number, len(changes), ends)))


class Marker:
    """How far a file was loaded. This one marks nothing: standard input and pipes come only once."""

    resumes = False
    every = CHUNK_EVENTS
    start = Place()
    resumed: Resumed | None = None

    @property
    def kept_at(self) -> Sequence[tuple[str, str]]:
        """The path and the name of its bookmark."""
        return ()

    @property
    def report(self) -> Report:
        """What came of the file in earlier goes."""
        return Report()

    def begin(self) -> None:
        """Before anything is appended."""

    def chunk(self, checksum: int) -> AbstractContextManager[None]:  # noqa: ARG002 - a file's needs it
        """Around each chunk that is appended; the checksum is of what stands in the file."""
        return nullcontext()

    def move(self, spot: Spot, place: Place, part: Report, *, cut_off: bool = False) -> None:
        """The store has everything before the place; `part` is what came of it since the last time."""


class FileMarker(Marker):
    """Marks a regular file with a bookmark."""

    resumes = True

    def __init__(
        self, resuming: "Resuming", path: str, name: str, bookmark: Bookmark, resumed: Resumed | None = None
    ) -> None:
        self.every = resuming.every
        self.start = bookmark.place
        self.resumed = resumed
        self._resuming = resuming
        self._path = path
        self._name = name
        self._bookmark = bookmark

    @property
    def kept_at(self) -> Sequence[tuple[str, str]]:
        return [(self._path, self._name)]

    @property
    def report(self) -> Report:
        return self._bookmark.report

    def begin(self) -> None:
        """However this load ends, the next one then knows its id."""
        self._put()

    def chunk(self, checksum: int) -> AbstractContextManager[None]:
        return self._resuming.chunks.at(f"{self._bookmark.load}-{self._bookmark.offset}-{checksum}")

    def move(self, spot: Spot, place: Place, part: Report, *, cut_off: bool = False) -> None:
        """When the store is away just now, the next bookmark will do."""
        self._bookmark = self._bookmark.moved(spot, place, part, cut_off=cut_off)
        with suppress(StoreError):
            self._put()

    def _put(self) -> None:
        self._resuming.bookmarks.put(self._path, self._name, msgspec.json.encode(self._bookmark))


@dataclass(frozen=True, slots=True)
class Resuming:
    """What resuming takes: where bookmarks are kept, and the store that the intake appends to.

    With `restart` nothing is resumed, and what earlier loads left is forgotten.
    """

    bookmarks: Bookmarks
    chunks: NamedChunks
    restart: bool = False
    on_begin: OnBegin | None = None
    host: str = platform.node()
    every: int = CHUNK_EVENTS
    """After how many source events a bookmark is put, if not before."""

    def marker(self, path: str, form: str, turn: int = 1) -> FileMarker:
        """The bookmark of a regular file, as it was left or a new one. Raises `ChangedFile`, `OSError` or `StoreError`.

        A file of the same path that begins in another way is another one if it is another host's, else it has changed.
        `turn`: which time the command names it.
        """
        resolved = str(Path(path).resolve())
        with Path(path).open("rb") as file:
            name, size = _name(beginning(file.fileno()), turn), file.seek(0, 2)
            left = self._left(resolved, name)
            if name in left:
                left[name].expect_same(path, file.fileno(), form)
        if name not in left:
            for other in left.values():
                raise other.changed(path)
            return FileMarker(self, resolved, name, Bookmark(load=uuid4().hex, host=self.host, form=form, size=size))
        found = left[name]
        resumed = Resumed(path, found.line, sum(found.refused.values()), found.left_out)
        return FileMarker(self, resolved, name, found, resumed)

    def begin(self, markers: Iterable[Marker]) -> None:
        """All files of a command have their markers; nothing was accepted yet."""
        if self.on_begin is not None:
            self.on_begin([marker.resumed for marker in markers if marker.resumed is not None])

    def end(self, markers: Iterable[Marker]) -> None:
        """All files of a command were loaded. Their bookmarks go at once, else some would be loaded again."""
        self.bookmarks.remove([place for marker in markers for place in marker.kept_at])

    def _left(self, path: str, name: str) -> dict[str, Bookmark]:
        """What earlier loads left of files that could be this one, in the same turn."""
        found = {key: msgspec.json.decode(each, type=Bookmark) for key, each in self.bookmarks.of(path).items()}
        begins, turn = _parts(name)
        own = {key: each for key, each in found.items() if _parts(key)[0] == begins or each.host == self.host}
        if not self.restart:
            return {key: each for key, each in own.items() if _parts(key)[1] == turn}
        self.bookmarks.remove([(path, key) for key in own])
        return {}


def _name(begins: str, turn: int) -> str:
    """Of the bookmark of a file that begins so; a command that names a file twice loads it twice."""
    return begins if turn == 1 else f"{begins}{_TURN}{turn}"


def _parts(name: str) -> tuple[str, str]:
    begins, _, turn = name.partition(_TURN)
    return begins, turn
