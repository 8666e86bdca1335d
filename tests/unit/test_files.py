"""How files of source events are read: line by line, without trust in their size or their end."""

import io
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import Thread
from typing import Any, BinaryIO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from producers.files import TELL_LINES, Meter, UnreadableFile, load, read_ndjson
from producers.intake import Intake, Report, Store
from producers.routing import Router
from worker.contract import Change, LaneKey
from worker.destinations.criteo import CriteoSettings

CRITEO = CriteoSettings(name="criteo", kind="criteo", advertiser_id="4711", client_id="c", client_secret=SecretStr("s"))


class Memory(Store):
    """A store that keeps what it is given."""

    def __init__(self) -> None:
        self.changes: list[Change] = []

    def append(self, lane: LaneKey, changes: Sequence[Change], chunk_id: str) -> int:
        self.changes.extend(changes)
        return len(changes)

    def count_refused(self, reasons: Mapping[str, int]) -> None:
        """Nothing here asks for it."""

    def count_left_out(self, destination: str, reasons: Mapping[str, int]) -> None:
        """Nothing here asks for it."""

    @property
    def message_ids(self) -> list[str]:
        return [change.message_id for change in self.changes]


def intake(store: Store | None = None, **keys: Any) -> Intake:
    return Intake(Router([CRITEO]), store or Memory(), lambda: 1_000, **keys)


def event(message_id: str) -> bytes:
    whole = {
        "type": "track",
        "messageId": message_id,
        "properties": {"audience_key": "vip", "vip": True, "email": "jane@example.com"},
    }
    return json.dumps(whole).encode()


def lines(content: bytes, max_bytes: int = 100) -> list[tuple[int, bytes]]:
    return list(read_ndjson(io.BytesIO(content), max_bytes, Meter()))


# ── Lines ────────────────────────────────────────────────────────────────────────────────────────


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
    class Endless(io.RawIOBase):
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
    ((number, beginning),) = read_ndjson(endless, 100, Meter())  # type: ignore[arg-type]  # only reads lines

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


def test_a_refused_line_is_told_with_its_file_number_and_reason(tmp_path: Path) -> None:
    told: list[tuple[str, int, str]] = []
    file = tmp_path / "events.ndjson"
    file.write_bytes(b"\n{\n" + event("m-1") + b"\n" + b"x" * 40_000 + b"\n[]\n")

    report = load([str(file)], intake(), on_refused=lambda *line: told.append(line))

    assert told == [(str(file), 2, "json"), (str(file), 4, "too_large"), (str(file), 5, "json")]
    assert report.as_dict()["refused"] == {"json": 2, "too_large": 1}
    assert report.read == 4


def test_progress_is_told_every_thousand_lines_and_at_the_end_over_all_files(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    long, short = tmp_path / "long.ndjson", tmp_path / "short.ndjson"
    long.write_bytes(b"{}\n" * TELL_LINES)
    short.write_bytes(b"\n" + b"x" * 40_000)

    load([str(long), str(short)], intake(), lambda *so_far: told.append(so_far))

    assert told == [(3 * TELL_LINES, TELL_LINES), (3 * TELL_LINES + 40_001, TELL_LINES + 2)]


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


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(UnreadableFile, match="is a folder"):
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


def test_a_file_that_fails_while_it_is_read_is_told_and_what_came_before_is_kept(tmp_path: Path) -> None:
    class Failing(io.BytesIO):
        def readline(self, size: int | None = -1, /) -> bytes:
            line = super().readline(size)
            if not line:
                raise OSError(5, "Input/output error")
            return line

    store, report = Memory(), Report()
    stdin: BinaryIO = Failing(event("m-1") + b"\n" + event("m-2") + b"\n")

    with pytest.raises(UnreadableFile, match="-: Input/output error"):
        load(["-"], intake(store, chunk_events=1), report=report, stdin=stdin)

    assert store.message_ids == ["m-1", "m-2"]
    assert report.accepted == 2


def test_an_error_of_the_caller_is_not_taken_for_one_of_the_file() -> None:
    def broken_pipe(*_: object) -> None:
        raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        load(["-"], intake(), on_refused=broken_pipe, stdin=io.BytesIO(b"{"))


def test_a_named_pipe_is_opened_once(tmp_path: Path) -> None:
    """Its writer would end at the first closing."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = Thread(target=pipe.write_bytes, args=(event("m-1"),), daemon=True)
    writer.start()

    report = load([str(pipe)], intake())
    writer.join()

    assert report.accepted == 1
