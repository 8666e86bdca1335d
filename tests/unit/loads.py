"""What tests of loads share: a store and bookmarks in memory, which may be killed, and source events to load."""

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from pydantic import SecretStr

from producers.bookmark import Bookmarks
from producers.intake import Intake, Store
from producers.resume import NamedChunks, Resuming
from producers.routing import Router
from worker.contract import Change, LaneKey
from worker.destinations.criteo import CriteoSettings

CRITEO = CriteoSettings(name="criteo", kind="criteo", advertiser_id="4711", client_id="c", client_secret=SecretStr("s"))


class Killed(BaseException):
    """The end of a process, as far as a test can have that."""


class Memory(Store, Bookmarks):
    """Keeps what it is given, a chunk of the same name once. `writes_left`: how many more until the load is killed."""

    def __init__(self) -> None:
        self.lanes: defaultdict[LaneKey, list[Change]] = defaultdict(list)
        self.bookmarks: defaultdict[str, dict[str, bytes]] = defaultdict(dict)
        self.refused: list[Mapping[str, int]] = []
        self.chunks: list[Sequence[Change]] = []
        self.writes_left: int | None = None
        self._chunks: dict[tuple[str, str], int] = {}

    def append(self, lane: LaneKey, changes: Sequence[Change], chunk_id: str) -> int:
        self._write()
        if (lane.destination, chunk_id) not in self._chunks:
            self.lanes[lane].extend(changes)
            self.chunks.append(changes)
            self._chunks[lane.destination, chunk_id] = len(changes)
        return self._chunks[lane.destination, chunk_id]

    def count_refused(self, reasons: Mapping[str, int]) -> None:
        self._write()
        self.refused.append(reasons)

    def count_left_out(self, destination: str, reasons: Mapping[str, int]) -> None:
        self._write()

    def of(self, path: str) -> dict[str, bytes]:
        return dict(self.bookmarks[path])

    def put(self, path: str, name: str, value: bytes) -> None:
        self._write()
        self.bookmarks[path][name] = value

    def remove(self, places: Iterable[tuple[str, str]]) -> None:
        self._write()
        for path, name in places:
            self.bookmarks[path].pop(name, None)

    @property
    def changes(self) -> list[Change]:
        return [change for lane in self.lanes.values() for change in lane]

    @property
    def message_ids(self) -> list[str]:
        return [change.message_id for change in self.changes]

    @property
    def emails(self) -> list[str]:
        return [change.identifiers[0].value for change in self.changes]

    @property
    def kept_bookmarks(self) -> int:
        return sum(map(len, self.bookmarks.values()))

    def _write(self) -> None:
        if self.writes_left is not None:
            if not self.writes_left:
                raise Killed
            self.writes_left -= 1


def intake(
    store: Store | None = None, destination: CriteoSettings = CRITEO, now_ms: Callable[[], int] = lambda: 1_000
) -> Intake:
    return Intake(Router([destination]), store or Memory(), now_ms)


def resumed(
    store: Memory, destination: CriteoSettings = CRITEO, now_ms: Callable[[], int] = lambda: 1_000, **keys: Any
) -> tuple[Intake, Resuming]:
    """An intake, and what it takes to resume its loads; a bookmark after every three source events."""
    chunks = NamedChunks(store)
    return intake(chunks, destination, now_ms), Resuming(store, chunks, every=3, **keys)


def event(message_id: str = "", who: str = "jane", audience: str = "vip") -> bytes:
    whole = {
        "type": "track",
        "event": "Audience Entered",
        "messageId": message_id,
        "timestamp": "2026-01-01T00:00:00Z",
        "properties": {"audience_key": audience, "email": f"{who}@example.com", "other": f"other-{who}@example.com"},
    }
    return json.dumps(whole).encode()
