"""How source events come from files and standard input, in whatever form, and what is told of that."""

import gzip
import io
import os
from collections.abc import Callable
from pathlib import Path
from threading import Thread
from typing import BinaryIO, Final

import pytest
import zstandard

from producers.columns import ColumnError, Columns
from producers.files import CHUNK_BYTES, RefusedLine, UnreadableFile, chunks, load
from producers.form import Form
from producers.intake import Report
from tests.unit.loads import Killed, Memory, event, intake

PERSON: Final = b"email,audience,entered\n%s@example.com,vip,true\n"


# ── Files ────────────────────────────────────────────────────────────────────────────────────────


def test_files_are_loaded_in_order_and_standard_input_among_them(tmp_path: Path) -> None:
    store = Memory()
    first, last = tmp_path / "first.ndjson", tmp_path / "last.ndjson"
    first.write_bytes(event("m-1") + b"\n" + event("m-2"))
    last.write_bytes(event("m-4"))
    stdin = io.BytesIO(event("m-3") + b"\n")

    report = load([str(first), "-", str(last)], intake(store), stdin=stdin)

    assert store.message_ids == ["m-1", "m-2", "m-3", "m-4"]
    assert report.as_dict() == {"read": 4, "accepted": 4, "refused": {}, "changes": {"criteo": 4}}
    assert not stdin.closed


def test_a_refused_line_is_told_with_its_file_number_reason_and_content(tmp_path: Path) -> None:
    told: list[RefusedLine] = []
    file = tmp_path / "events.ndjson"
    file.write_bytes(b"\n{\n" + event("m-1") + b"\n" + b"x" * 40_000 + b"\n[]\n")

    report = load([str(file)], intake(), on_refused=told.append)

    assert [(each.file, each.line, each.reason) for each in told] == [
        (str(file), 2, "json"),
        (str(file), 4, "too_large"),
        (str(file), 5, "json"),
    ]
    assert [each.content[:10] for each in told] == [b"{", b"x" * 10, b"[]"]
    assert report.as_dict()["refused"] == {"json": 2, "too_large": 1}
    assert report.read == 4


def test_a_refused_line_is_told_when_the_store_has_its_chunk(tmp_path: Path) -> None:
    """So that it is told once, however often the chunk is read."""
    store = Memory()
    store.writes_left = 0
    told: list[RefusedLine] = []
    stdin = io.BytesIO(b"{\n" + event("m-1"))

    with pytest.raises(Killed):
        load(["-"], intake(store), stdin=stdin, on_refused=told.append)

    assert told == []


@pytest.mark.parametrize("compress", [bytes, gzip.compress, zstandard.compress])
def test_progress_is_told_in_bytes_as_they_lie_there_and_in_lines(
    tmp_path: Path, compress: Callable[[bytes], bytes]
) -> None:
    told: list[tuple[int, int]] = []
    long, short = tmp_path / "long", tmp_path / "short"
    long.write_bytes(compress(b"{}\n" * 20_000))
    short.write_bytes(compress(b"\n" + b"x" * 40_000))

    load([str(long), str(short)], intake(), lambda *so_far: told.append(so_far))

    size = long.stat().st_size
    assert len(told) >= 6
    assert told == sorted(told)
    assert (size, 20_000) in told
    assert told[-1] == (size + short.stat().st_size, 20_002)


# ── Forms ────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("events.ndjson", event(who="ada")),
        ("events", event(who="ada")),
        ("events.csv", PERSON % b"ada"),
        ("EVENTS.CSV", PERSON % b"ada"),
        ("events.tsv", (PERSON % b"ada").replace(b",", b"\t")),
        ("events.csv.gz", gzip.compress(PERSON % b"ada", mtime=0)),
        ("events.csv.zst", zstandard.compress(PERSON % b"ada")),
        ("events.tsv.gz", gzip.compress((PERSON % b"ada").replace(b",", b"\t"), mtime=0)),
        ("events.ndjson.gz", zstandard.compress(event(who="ada"))),
        ("events.csv.GZ", PERSON % b"ada"),
    ],
)
def test_the_form_is_told_by_the_name_and_the_compression_by_the_content(
    tmp_path: Path, name: str, content: bytes
) -> None:
    store = Memory()
    (tmp_path / name).write_bytes(content)

    load([str(tmp_path / name)], intake(store))

    assert store.emails == ["ada@example.com"]


def test_the_form_may_be_said(tmp_path: Path) -> None:
    store = Memory()
    file = tmp_path / "events.csv"
    file.write_bytes(event(who="ada"))
    table = io.BytesIO(b"mail;x\nbob@example.com;1\n")
    columns = Columns({"mail": "email", "x": ""}, {"audience": "vip", "entered": "1"})

    load([str(file)], intake(store), form=Form("ndjson"))
    load(["-"], intake(store), form=Form("csv", ";", columns), stdin=table)

    assert store.emails == ["ada@example.com", "bob@example.com"]


def test_standard_input_may_be_compressed() -> None:
    store = Memory()

    load(["-"], intake(store), stdin=io.BytesIO(gzip.compress(event(who="ada") + b"\n") * 2))

    assert store.emails == ["ada@example.com"] * 2


def test_refused_rows_are_told_by_their_first_line(tmp_path: Path) -> None:
    told: list[RefusedLine] = []
    file = tmp_path / "events.csv"
    file.write_bytes(b'email,audience,entered\nada@example.com,"v\nip",1\n\nbob,vip,1\n1,2\n')

    load([str(file)], intake(), on_refused=told.append)

    assert told == [
        RefusedLine(str(file), 5, "identifier", b"bob,vip,1\n"),
        RefusedLine(str(file), 6, "shape", b"1,2\n"),
    ]


def test_an_empty_table_needs_no_header(tmp_path: Path) -> None:
    file = tmp_path / "events.csv"
    file.write_bytes(b"\n")

    assert load([str(file)], intake()).read == 0


def test_a_header_that_says_too_little_is_told_before_anything_is_accepted(tmp_path: Path) -> None:
    store = Memory()
    good, bad = tmp_path / "good.csv", tmp_path / "bad.csv.gz"
    good.write_bytes(PERSON % b"ada")
    bad.write_bytes(gzip.compress(b"email,plan\n"))

    with pytest.raises(ColumnError, match=r'bad\.csv\.gz: nothing is known of the column "plan"'):
        load([str(good), str(bad)], intake(store))

    assert store.changes == []


@pytest.mark.parametrize("header", [b'"email\n', b"email\0\n", b"\xff\xfe"])
def test_a_header_that_is_no_row_is_told(tmp_path: Path, header: bytes) -> None:
    file = tmp_path / "events.csv"
    file.write_bytes(b"\n" + header)

    with pytest.raises(ColumnError, match=r"events\.csv: line 2, the header, is no row of a table in UTF-8"):
        load([str(file)], intake())


@pytest.mark.parametrize(
    ("content", "advice"),
    [
        ((PERSON % b"ada").decode().encode("utf-16"), r"`iconv -f UTF-16 -t UTF-8`"),
        ((PERSON % b"ada").decode().encode("utf-16-le"), r"`iconv -f UTF-16 -t UTF-8`"),
        ((PERSON % b"ada").replace(b"\n", b"\r"), r"its lines end in CR alone; .* `tr '\\r' '\\n'`"),
    ],
)
def test_of_a_table_that_is_written_otherwise_what_to_do_is_told(tmp_path: Path, content: bytes, advice: str) -> None:
    file = tmp_path / "people.csv"
    file.write_bytes(content)

    with pytest.raises(ColumnError, match=f"the header, is no row of a table in UTF-8; .*{advice}"):
        load([str(file)], intake())


# ── What cannot be read ──────────────────────────────────────────────────────────────────────────


def test_a_missing_file_is_told_before_anything_is_accepted(tmp_path: Path) -> None:
    store = Memory()
    file = tmp_path / "events.ndjson"
    file.write_bytes(event("m-1"))

    with pytest.raises(UnreadableFile, match=r"missing\.ndjson: No such file"):
        load([str(file), str(tmp_path / "missing.ndjson")], intake(store))

    assert store.changes == []


def test_a_path_through_a_file_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(UnreadableFile, match="Not a directory"):
        load([str(tmp_path / "file" / "events.ndjson")], intake())


def test_a_folder_is_no_file_and_what_to_name_is_told(tmp_path: Path) -> None:
    with pytest.raises(UnreadableFile, match=rf"is a folder; name the files in it, such as {tmp_path}/\*"):
        load([str(tmp_path)], intake())


def test_a_file_that_may_not_be_read_is_told_before_anything_is_accepted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever runs the tests may be allowed to read everything, so the answer is given here."""
    file = tmp_path / "events.ndjson"
    file.write_bytes(event("m-1"))
    monkeypatch.setattr(os, "access", lambda *_: False)

    with pytest.raises(UnreadableFile, match="no permission"):
        load([str(file)], intake())


def test_a_file_that_fails_while_it_is_read_is_told_and_what_came_before_is_kept() -> None:
    class Failing(io.BytesIO):
        def readinto1(self, buffer: "bytearray | memoryview", /) -> int:  # type: ignore[override]  # typeshed: any
            if self.tell() == len(self.getvalue()):
                raise OSError(5, "Input/output error")
            return super().readinto1(buffer)

    store, report = Memory(), Report()
    stdin: BinaryIO = Failing(event("m-1") + b"\n" + event("m-2") + b"\n")

    with pytest.raises(UnreadableFile, match="-: Input/output error"):
        load(["-"], intake(store), report=report, stdin=stdin)

    assert store.message_ids == ["m-1", "m-2"]
    assert report.accepted == 2


@pytest.mark.parametrize("compress", [gzip.compress, zstandard.compress])
def test_of_an_archive_that_was_cut_off_all_whole_lines_are_accepted(
    tmp_path: Path, compress: Callable[[bytes], bytes]
) -> None:
    store, report = Memory(), Report()
    file = tmp_path / "events.ndjson.gz"
    stored = compress(b"".join(event(f"m-{number}") + b"\n" for number in range(20_000)))
    file.write_bytes(stored[: len(stored) // 2])

    with pytest.raises(UnreadableFile, match=r"events\.ndjson\.gz: its compressed data ends in the middle") as told:
        load([str(file)], intake(store), report=report)

    count = len(store.changes)
    assert str(told.value).endswith(f"; it was read up to line {count:,}")
    assert store.message_ids == [f"m-{number}" for number in range(count)]
    assert report.read == report.accepted == count > 5_000


def test_a_cut_off_row_is_not_taken_for_a_whole_one(tmp_path: Path) -> None:
    """What is left of it may look like another person's."""
    store = Memory()
    file = tmp_path / "events.csv.gz"
    rows = b"email,audience,entered\nada@example.com,vip,1\nbob@example.com,vip,1"
    file.write_bytes(gzip.compress(rows, compresslevel=0)[:-8])

    with pytest.raises(UnreadableFile):
        load([str(file)], intake(store))

    assert store.emails == ["ada@example.com"]


def test_an_error_of_the_caller_is_not_taken_for_one_of_the_file() -> None:
    def broken_pipe(_refused: RefusedLine) -> None:
        raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        load(["-"], intake(), on_refused=broken_pipe, stdin=io.BytesIO(b"{"))


def test_a_named_pipe_is_opened_once(tmp_path: Path) -> None:
    """Its writer would end at the first closing."""
    pipe = tmp_path / "pipe.csv"
    os.mkfifo(pipe)
    writer = Thread(target=pipe.write_bytes, args=(PERSON % b"ada",), daemon=True)
    writer.start()

    report = load([str(pipe)], intake())
    writer.join()

    assert report.accepted == 1


# ── Chunks ───────────────────────────────────────────────────────────────────────────────────────


def test_chunks_are_cut_by_what_is_read_alone() -> None:
    small = [(number, b"", b"") for number in range(7)]
    large = [(number, b"", bytes(CHUNK_BYTES // 2)) for number in range(5)]

    assert [len(each) for each in chunks(iter(small), 3)] == [3, 3, 1]
    assert [len(each) for each in chunks(iter(large), 3)] == [2, 2, 1]
    assert list(chunks(iter([]), 3)) == []


def test_what_trickles_in_does_not_wait_for_a_whole_chunk() -> None:
    seconds = iter(range(100))
    slow = [(number, b"", b"") for number in range(7)]

    assert [len(each) for each in chunks(iter(slow), 3, now=lambda: next(seconds))] == [3, 3, 1]
    assert [len(each) for each in chunks(iter(slow), 3, trickling=True, now=lambda: next(seconds))] == [1] * 7
