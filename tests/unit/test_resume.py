"""Loads that are stopped: the next one goes on there, and nothing is lost or comes twice."""

import gzip
import io
import json
import os
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from producers.bookmark import SAMPLE_BYTES, ChangedFile
from producers.columns import Columns
from producers.files import RefusedLine, UnreadableFile, load
from producers.form import Form
from producers.intake import Report
from producers.ndjson import Place
from producers.reading import read_events
from producers.resume import Resumed
from producers.source import Source, Spot
from tests.unit.loads import CRITEO, Killed, Memory, event, resumed
from worker.contract import Change, LaneKey
from worker.destinations.mapping import MappingSettings
from worker.errors import StoreFull, StoreUnavailable

COMPRESS: Final[dict[str, Callable[[bytes], bytes]]] = {
    "": bytes,
    ".gz": gzip.compress,
    ".zst": zstandard.compress,
}


def run(store: Memory, *paths: Path | str, writes: int | None = None, **keys: Any) -> Report:
    """Load files, until so many writes were made."""
    how = ("restart", "host", "on_begin", "destination")
    intake, resuming = resumed(store, **{key: keys.pop(key) for key in how if key in keys})
    store.writes_left = writes
    try:
        return load([str(path) for path in paths], intake, resuming=resuming, **keys)
    finally:
        store.writes_left = None


def lines(*who: str) -> bytes:
    return b"".join(event(who=each) + b"\n" for each in who)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Ten source events without message ids, in chunks of three; every write of a load of it may be its last."""
    path = tmp_path / "events.ndjson"
    path.write_bytes(lines(*"abcdefghij"))
    return path


WRITES: Final = 1 + 4 * 2 + 1
"""Of a load of that file: a bookmark, four chunks with theirs, and the removal."""


def people(store: Memory) -> str:
    return "".join(email[0] for email in store.emails)


# ── Going on ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("writes", range(WRITES))
def test_wherever_a_load_is_killed_the_next_one_makes_it_whole(file: Path, writes: int) -> None:
    store = Memory()
    with pytest.raises(Killed):
        run(store, file, writes=writes)

    report = run(store, file)

    assert people(store) == "abcdefghij"
    assert report.as_dict() == {"read": 10, "accepted": 10, "refused": {}, "changes": {"criteo": 10}}
    assert store.kept_bookmarks == 0


def test_that_many_writes_are_all(file: Path) -> None:
    run(store := Memory(), file, writes=WRITES)

    assert people(store) == "abcdefghij"


def test_what_was_loaded_is_not_read_again(file: Path) -> None:
    store = Memory()
    with pytest.raises(Killed):
        run(store, file, writes=5)
    told: list[Resumed] = []
    progress: list[tuple[int, int]] = []

    run(
        store,
        file,
        on_begin=told.extend,
        progress=lambda *so_far: progress.append(so_far),
    )

    assert told == [Resumed(str(file), 6, refused=0, left_out=0)]
    assert progress[-1] == (file.stat().st_size, 4)


def test_what_was_refused_or_left_out_before_is_told(file: Path) -> None:
    """Another configuration does not bring it back."""
    _, resuming = resumed(Memory())
    marker = resuming.marker(str(file), "form")
    for _ in range(2):
        part = Report(read=9, refused=Counter(audience=2, json=1), left_out=Counter({("criteo", "identifier"): 4}))
        marker.move(Spot(), Place(0, 7), part)

    assert resuming.marker(str(file), "form").resumed == Resumed(str(file), 7, refused=6, left_out=8)


def test_a_load_that_was_not_stopped_leaves_nothing(file: Path) -> None:
    store = Memory()

    run(store, file)
    run(store, file)

    assert people(store) == "abcdefghij" * 2
    assert store.kept_bookmarks == 0


def test_standard_input_and_what_follows_a_file_are_loaded_as_often_as_they_come(file: Path) -> None:
    """Nobody can say whether it is the same again."""
    store = Memory()

    for _ in range(2):
        run(store, file, "-", stdin=io.BytesIO(lines(*"xyzxyz")))

    assert people(store) == "abcdefghijxyzxyz" * 2


def test_the_store_may_be_away_for_a_bookmark(file: Path) -> None:
    class Flickering(Memory):
        puts = 0

        def put(self, path: str, name: str, value: bytes) -> None:
            self.puts += 1
            if self.puts == 3:
                raise StoreUnavailable
            super().put(path, name, value)

    run(store := Flickering(), file)

    assert people(store) == "abcdefghij"
    assert store.puts == 5


def test_a_store_that_is_full_stops_a_load_until_it_is_not(file: Path) -> None:
    class Full(Memory):
        room = 5

        def append(self, *parts: Any) -> int:
            if len(self.changes) >= self.room:
                raise StoreFull
            return super().append(*parts)

    store, report = Full(), Report()
    with pytest.raises(StoreFull):
        run(store, file, report=report)
    store.room = 100

    assert report.read == 6
    assert run(store, file).read == 10
    assert people(store) == "abcdefghij"


def test_a_chunk_of_a_file_is_never_cut_by_the_clock(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However long it takes to read and route it: else the next load would cut other chunks, under other names."""
    monkeypatch.setattr("producers.files.CHUNK_MS", 0)
    store = Memory()
    seconds = iter(range(0, 1_000_000, 60_000))
    slow, resuming = resumed(store, now_ms=lambda: next(seconds))

    load([str(file)], slow, resuming=resuming)

    assert [len(each) for each in store.chunks] == [3, 3, 3, 1]


# ── Several files ────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("writes", range(2 * 5 + 1))
def test_of_several_files_those_that_were_loaded_are_left_out(tmp_path: Path, writes: int) -> None:
    store = Memory()
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_bytes(lines(*"abcd"))
    two.write_bytes(lines(*"efghij"))
    with suppress(Killed):
        run(store, one, two, writes=writes)
    progress: list[tuple[int, int]] = []

    report = run(store, one, two, progress=lambda *so_far: progress.append(so_far))

    assert people(store) == "abcdefghij"
    assert report.read == 10
    assert progress[-1][0] == one.stat().st_size + two.stat().st_size
    assert store.kept_bookmarks == 0


def test_a_file_that_was_named_twice_is_loaded_twice(file: Path) -> None:
    run(store := Memory(), file, file)

    assert people(store) == "abcdefghij" * 2


@pytest.mark.parametrize("writes", range(2 * 9 + 1))
def test_of_a_file_that_was_named_twice_each_turn_goes_on_where_it_stopped(
    file: Path, tmp_path: Path, writes: int
) -> None:
    """Also where its second name is spelled in another way."""
    store = Memory()
    twice = (file, f"{tmp_path}/./events.ndjson")
    with suppress(Killed):
        run(store, *twice, writes=writes)

    report = run(store, *twice)

    assert people(store) == "abcdefghij" * 2
    assert report.as_dict() == {"read": 20, "accepted": 20, "refused": {}, "changes": {"criteo": 20}}
    assert store.kept_bookmarks == 0


def test_a_restart_forgets_every_turn(file: Path) -> None:
    store = Memory()
    with pytest.raises(Killed):
        run(store, file, file, writes=9 + 4)

    run(store, file, restart=True)

    assert store.kept_bookmarks == 0


def test_files_that_begin_alike_are_different_files(tmp_path: Path) -> None:
    store = Memory()
    day, week = tmp_path / "day", tmp_path / "week"
    day.write_bytes(lines(*"abcd"))
    week.write_bytes(lines(*"abcdefg"))

    run(store, day, week)

    assert people(store) == "abcdabcdefg"


# ── What has changed ─────────────────────────────────────────────────────────────────────────────


def stopped(path: Path, **keys: Any) -> Memory:
    """A store after a load that was stopped behind the sixth line."""
    store = Memory()
    with pytest.raises(Killed):
        run(store, path, writes=5, **keys)
    return store


@pytest.mark.parametrize(
    "change",
    [
        lambda content: content + lines("k"),
        lambda content: content[:-1],
        lambda content: content[:100],
        lambda content: content.replace(b"a@", b"z@"),
        lambda _: b"",
    ],
    ids=["grown", "cut", "cut far", "another beginning", "empty"],
)
def test_a_file_that_has_changed_is_told_and_not_loaded(file: Path, change: Callable[[bytes], bytes]) -> None:
    store = stopped(file)
    file.write_bytes(change(file.read_bytes()))

    with pytest.raises(ChangedFile, match=r"events\.ndjson: it has changed since .* after line 6; --restart"):
        run(store, file)

    assert people(store) == "abcdef"
    assert store.kept_bookmarks == 1


def bookmark_of(store: Memory) -> dict[str, Any]:
    ((bookmark,),) = (bookmarks.values() for bookmarks in store.bookmarks.values())
    found: dict[str, Any] = json.loads(bookmark)
    return found


@pytest.fixture(params=sorted(COMPRESS))
def long_file(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Far longer than the beginning that tells it from others; read in several pieces unless zstd makes it small."""
    path = tmp_path / f"long.ndjson{request.param}"
    whole = lines(*(os.urandom(40).hex() for _ in range(2_500)))
    path.write_bytes(
        gzip.compress(whole, compresslevel=0) if request.param == ".gz" else COMPRESS[request.param](whole)
    )
    return path


def test_whatever_was_read_counts_and_not_only_the_beginning_and_the_end(long_file: Path) -> None:
    store = Memory()
    with pytest.raises(Killed):
        run(store, long_file, writes=1_001)
    position, content = bookmark_of(store)["position"], bytearray(long_file.read_bytes())
    changed = list[int]()

    for at in (position - 1, *range(30_000, position, 20_000)):
        content[at] ^= 1
        long_file.write_bytes(content)
        with pytest.raises(ChangedFile):
            run(store, long_file)
        content[at] ^= 1
        changed.append(at)
    long_file.write_bytes(content)
    run(store, long_file)

    assert len(changed) > 5
    assert len(store.changes) == 2_500


def test_a_file_that_was_loaded_before_another_stopped_counts_as_well(tmp_path: Path, file: Path) -> None:
    """Somebody else is out of the audience in the next export, which is as long."""
    store, path = Memory(), tmp_path / "vip.csv"
    form = Form(columns=Columns({}, {"audience": "vip"}))
    rows = [f"p{number:05}@example.com,1\n" for number in range(3_000)]
    path.write_text("email,entered\n" + "".join(rows))
    with pytest.raises(Killed):
        run(store, path, file, form=form, writes=1 + 1_000 * 2 + 3)
    rows[1_500] = rows[1_500].replace(",1", ",0")
    path.write_text("email,entered\n" + "".join(rows))

    with pytest.raises(ChangedFile, match=r"vip\.csv: it has changed since .* after line 3,001; --restart"):
        run(store, path, form=form)


def test_a_bookmark_without_a_checksum_is_that_of_a_changed_file(file: Path) -> None:
    """One that an earlier version has put."""
    store = stopped(file)
    ((path, name),) = ((path, name) for path, each in store.bookmarks.items() for name in each)
    old = {key: value for key, value in bookmark_of(store).items() if key != "checksum"}
    store.bookmarks[path][name] = json.dumps(old | {"read_last": "0" * 32}).encode()

    with pytest.raises(ChangedFile, match="--restart"):
        run(store, file)


@pytest.mark.parametrize("changed", [True, False])
def test_a_restart_loads_all_that_is_there(file: Path, *, changed: bool) -> None:
    store = stopped(file)
    if changed:
        file.write_bytes(lines(*"xyz"))

    report = run(store, file, restart=True)

    assert people(store) == "abcdef" + ("xyz" if changed else "abcdefghij")
    assert report.read == (3 if changed else 10)
    assert store.kept_bookmarks == 0


def test_a_file_of_that_path_on_another_host_is_another_one(file: Path) -> None:
    store = stopped(file, host="one")
    content = file.read_bytes()
    file.write_bytes(lines(*"xyz"))

    run(store, file, host="two")
    file.write_bytes(content)
    run(store, file, host="three")

    assert people(store) == "abcdef" + "xyz" + "ghij"
    assert store.kept_bookmarks == 0


def test_another_form_is_told(tmp_path: Path) -> None:
    path = tmp_path / "people.csv"
    path.write_text("email,x\n" + "".join(f"{who}@example.com,1\n" for who in "abcdefghij"))
    form = Form(columns=Columns({"x": ""}, {"audience": "vip", "entered": "1"}))
    other = Form(columns=Columns({"x": "traits.x"}, {"audience": "vip", "entered": "1"}))
    store = Memory()
    with pytest.raises(Killed):
        run(store, path, writes=5, form=form)

    with pytest.raises(ChangedFile, match=r"after line 7 was begun with another .* --restart"):
        run(store, path, form=other)

    run(store, path, form=form)
    assert people(store) == "abcdefghij"


def test_other_changes_of_the_chunk_in_doubt_are_not_taken_for_those_that_are_there(file: Path) -> None:
    """Another configuration finds other people in the same lines: better some twice than some not at all."""
    store = Memory()
    with pytest.raises(Killed):
        run(store, file, writes=2)  # the first chunk is appended, and has no bookmark
    elsewhere = CRITEO.model_copy(update={"mapping": MappingSettings(email=("properties.other",))})

    run(store, file, destination=elsewhere)

    assert store.emails == [
        *(f"{who}@example.com" for who in "abc"),
        *(f"other-{who}@example.com" for who in "abcdefghij"),
    ]


def test_other_lines_of_the_chunk_in_doubt_are_not_taken_for_those_that_are_there(file: Path) -> None:
    """They are behind the bookmark; there are as many, and the first and the last are as they were."""
    store, blank = Memory(), b" " * SAMPLE_BYTES + b"\n"
    file.write_bytes(lines("a") + blank + lines(*"bcd"))
    with pytest.raises(Killed):
        run(store, file, writes=2)
    file.write_bytes(lines("a") + blank + lines(*"zcd"))

    run(store, file)

    assert people(store) == "abc" + "azcd"


# ── Archives that were cut off ───────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("ending", [".gz", ".zst"])
def test_an_archive_that_was_cut_off_goes_on_when_it_is_whole(tmp_path: Path, ending: str) -> None:
    store = Memory()
    path = tmp_path / f"events.ndjson{ending}"
    who = [f"{number:05}{os.urandom(4).hex()}" for number in range(20_000)]
    whole = COMPRESS[ending](lines(*who))
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UnreadableFile, match="ends in the middle"):
        run(store, path)
    loaded = len(store.changes)
    with pytest.raises(UnreadableFile, match="ends in the middle"):
        run(store, path)
    assert len(store.changes) == loaded > 100

    path.write_bytes(whole)
    report = run(store, path)

    assert store.emails == [f"{each}@example.com" for each in who]
    assert report.read == 20_000
    assert store.kept_bookmarks == 0


class Filling(Memory):
    """Has room for so many changes, and always for bookmarks."""

    def __init__(self, room: int) -> None:
        super().__init__()
        self.room = room

    def append(self, lane: LaneKey, changes: Sequence[Change], chunk_id: str) -> int:
        if len(self.changes) + len(changes) > self.room:
            raise StoreFull
        return super().append(lane, changes, chunk_id)


def test_what_was_read_of_a_cut_off_archive_is_not_taken_for_stored(tmp_path: Path) -> None:
    """The store has no room for the last chunk while the archive turns out to end in the middle."""
    path = tmp_path / "events.ndjson.gz"
    who = [f"{number:03}" for number in range(100)]
    whole = gzip.compress(lines(*who), compresslevel=0)
    path.write_bytes(whole[:-200])
    store = Filling(room=96)
    with pytest.raises(StoreFull):
        run(store, path)

    store.room = 100
    with pytest.raises(UnreadableFile, match="ends in the middle"):
        run(store, path)
    path.write_bytes(whole)
    run(store, path)

    assert store.emails == [f"{each}@example.com" for each in who]


def test_an_archive_that_breaks_before_the_place_where_it_goes_on_is_not_loaded_again(tmp_path: Path) -> None:
    """It is still as large, and begins and ends as it did."""
    store = Memory()
    path = tmp_path / "events.ndjson.gz"
    members = [gzip.compress(lines(*(os.urandom(40).hex() for _ in range(100)))) for _ in range(30)]
    path.write_bytes(b"".join(members))
    with pytest.raises(Killed):
        run(store, path, writes=1_501)
    with path.open("r+b") as content:
        content.seek(len(b"".join(members[:10])))
        content.write(b"none")

    for _ in range(2):
        with pytest.raises(ChangedFile, match="after line 2,250"):
            run(store, path)

    assert len(store.changes) == 2_250


@pytest.mark.parametrize("stored", [b"", gzip.compress(bytes(1_000))[:-9]], ids=["plain", "cut off"])
def test_a_file_that_shrinks_while_it_is_read_again_does_not_put_its_bookmark_back(stored: bytes) -> None:
    place, start = Place(), Place(5_000, 50)

    with pytest.raises(UnreadableFile, match="it was read up to line 50"):
        list(read_events("events", Source(io.BytesIO(stored)), place, Form(), start=start))

    assert place == start


# ── Anything, stopped anywhere ───────────────────────────────────────────────────────────────────

LINES = st.lists(st.sampled_from(["event", "with id", "refused", "blank", "delete"]), max_size=20)


def ndjson(kinds: list[str]) -> bytes:
    contents: dict[str, Callable[[int], bytes]] = {
        "event": lambda number: event(who=f"p{number}", audience=f"a{number % 3}"),
        "with id": lambda number: event(f"m{number}", who=f"p{number}"),
        "refused": lambda _: b'{"type": "page"}',
        "blank": lambda _: b" ",
        "delete": lambda number: json.dumps({"type": "delete", "traits": {"email": f"p{number}@example.com"}}).encode(),
    }
    return b"\n".join(contents[kind](number) for number, kind in enumerate(kinds))


def table(kinds: list[str]) -> bytes:
    rows = [
        {"refused": '"x', "blank": ""}.get(kind, f'"p\n{number}"@,vip' if kind == "delete" else f"p{number}@a.de,vip")
        for number, kind in enumerate(kinds)
    ]
    return "\n".join(["email,audience", *rows]).encode()


@given(LINES, st.sampled_from(sorted(COMPRESS)), st.sampled_from(["ndjson", "csv"]), st.lists(st.integers(0, 12)))
def test_however_often_a_load_is_killed_it_ends_as_one_that_was_not(
    tmp_path_factory: pytest.TempPathFactory, kinds: list[str], ending: str, format_: str, kills: list[int]
) -> None:
    path = tmp_path_factory.mktemp("load") / f"events.{format_}{ending}"
    path.write_bytes(COMPRESS[ending](ndjson(kinds) if format_ == "ndjson" else table(kinds)))
    form = Form(columns=Columns({}, {"entered": "1"} if format_ == "csv" else {}))
    whole, store = Memory(), Memory()
    told: list[RefusedLine] = []
    undisturbed = run(whole, path, form=form, on_refused=told.append)

    told_then: list[RefusedLine] = []
    after: list[Resumed] = []
    report = Report()
    for writes in [*kills, None]:
        told_then.clear()
        after.clear()
        with suppress(Killed):
            report = run(
                store,
                path,
                form=form,
                writes=writes,
                on_refused=told_then.append,
                on_begin=after.extend,
            )
            break

    assert store.lanes == whole.lanes
    assert report.as_dict() == undisturbed.as_dict()
    assert report.duplicates == undisturbed.duplicates
    assert told_then == [each for each in told if not after or each.line > after[0].line]
