"""`load --refused`: the file that names refused lines, what it may replace, and where else they may go."""

import json
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from cli.refused_file import FileExists, RefusedFile
from producers.files import RefusedLine
from producers.resume import Resumed
from tests.unit.loads import event
from tests.unit.test_cli_load import load, refusal
from worker.errors import StoreUnavailable


def test_refused_lines_are_named_in_a_file_for_its_owner_alone(tmp_path: Path) -> None:
    file, refused = tmp_path / "events.ndjson", tmp_path / "refused.ndjson"
    file.write_bytes(event("m-1") + b'\n{"type": "page"}\n\xff\n')
    arguments = ("--dry-run", "--refused", str(refused), str(file))

    load(tmp_path, *arguments)

    assert [json.loads(line) for line in refused.read_text().splitlines()] == [
        {"file": str(file), "line": 2, "reason": "type"},
        {"file": str(file), "line": 3, "reason": "json"},
    ]
    assert stat.S_IMODE(refused.stat().st_mode) == 0o600


def test_on_request_the_file_names_what_stands_there(tmp_path: Path) -> None:
    refused = tmp_path / "refused.ndjson"

    load(
        tmp_path, "--dry-run", "--refused", str(refused), "--refused-with-events", "-", stdin=b'{"type": "page"}\n\xff'
    )

    assert [json.loads(line)["event"] for line in refused.read_text().splitlines()] == ['{"type": "page"}', "\ufffd"]


def test_where_nothing_is_refused_the_file_is_empty(tmp_path: Path) -> None:
    refused = tmp_path / "refused.ndjson"

    load(tmp_path, "--dry-run", "--refused", str(refused), "-", stdin=event())

    assert refused.read_bytes() == b""


def test_a_file_that_somebody_made_keeps_its_mode(tmp_path: Path) -> None:
    refused = tmp_path / "refused.ndjson"
    refused.touch()
    refused.chmod(0o640)

    load(tmp_path, "--dry-run", "--refused", str(refused), "-", stdin=b"{")

    assert stat.S_IMODE(refused.stat().st_mode) == 0o640
    assert refused.read_bytes() != b""


def test_the_list_of_another_load_is_not_replaced(tmp_path: Path) -> None:
    """Nor by a dry run."""
    refused = tmp_path / "refused.ndjson"
    load(tmp_path, "--dry-run", "--refused", str(refused), "-", stdin=b"{")
    before = refused.read_bytes()

    result = load(tmp_path, "--dry-run", "--refused", str(refused), "-", stdin=event())

    assert result.exit_code == 2
    assert f"{refused} names refused lines of -, and no load of that goes on here; name another" in result.stderr
    assert refused.read_bytes() == before


def test_nothing_else_is_replaced(tmp_path: Path) -> None:
    other = tmp_path / "events.ndjson"
    other.write_bytes(event())

    result = load(tmp_path, "--dry-run", "--refused", str(other), "-", stdin=b"{")

    assert result.exit_code == 2
    assert "exists, and is no list of refused lines" in result.stderr
    assert other.read_bytes() == event()


def told_in(path: Path) -> list[tuple[str, int]]:
    return [(told["file"], told["line"]) for told in map(json.loads, path.read_text().splitlines())]


def write_list(path: Path, *lines: RefusedLine) -> None:
    with RefusedFile(path, with_events=False) as refused:
        refused.begin([])
        for line in lines:
            refused.add(line)


def test_what_was_written_after_the_place_where_a_file_goes_on_is_taken_out(tmp_path: Path) -> None:
    """The last line was being written when the load was killed."""
    path = tmp_path / "refused.ndjson"
    write_list(path, *(refusal("a", line) for line in (1, 3, 5)))
    path.write_bytes(path.read_bytes() + b'{"file": "a", "li')

    with RefusedFile(path, with_events=False) as refused:
        refused.begin([Resumed("a", 4)])
        refused.add(refusal("a", 6))
        refused.add(refusal("b", 2))

    assert told_in(path) == [("a", 1), ("a", 3), ("a", 6), ("b", 2)]


def test_a_file_that_goes_on_may_be_named_in_another_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is written is the name as it was given, and the whole path beside it."""
    path = tmp_path / "refused.ndjson"
    monkeypatch.chdir(tmp_path)
    write_list(path, refusal("a", 1), refusal("a", 5))

    with RefusedFile(path, with_events=False) as refused:
        refused.begin([Resumed("./a", 4)])
        refused.add(refusal("./a", 6))
    monkeypatch.chdir("/")
    with RefusedFile(path, with_events=False) as refused:
        refused.begin([Resumed(f"{tmp_path}/a", 6)])

    assert told_in(path) == [("a", 1), ("./a", 6)]
    assert json.loads(path.read_text().splitlines()[0])["path"] == f"{tmp_path}/a"


def test_each_turn_of_a_file_that_is_named_twice_goes_on_by_itself(tmp_path: Path) -> None:
    path = tmp_path / "refused.ndjson"
    write_list(path, *(refusal("a", line) for line in (1, 3, 1, 3)))

    with RefusedFile(path, with_events=False) as refused:
        refused.begin([Resumed("a", 9), Resumed("a", 2)])

    assert told_in(path) == [("a", 1), ("a", 3), ("a", 1)]


@pytest.mark.parametrize(
    "content", [b'{"file": "a", "line": "one", "reason": "json"}\n', b"[]\n", b"{}", b'{"file": 1}', b"[" * 100_000]
)
def test_what_only_looks_like_a_list_is_none(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "refused.ndjson"
    path.write_bytes(content)

    with (
        pytest.raises(FileExists, match="is no list of refused lines"),
        RefusedFile(path, with_events=False) as refused,
    ):
        refused.begin([Resumed("a", 1)])

    assert path.read_bytes() == content


def test_what_is_no_regular_file_only_gets_the_lines(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with ThreadPoolExecutor(1) as pool:
        got = pool.submit(pipe.read_bytes)
        result = load(tmp_path, "--dry-run", "--refused", str(pipe), "-", stdin=b"{")

    assert result.exit_code == 1
    assert json.loads(got.result())["line"] == 1


def test_a_device_keeps_its_mode(tmp_path: Path) -> None:
    terminal, device = os.openpty()
    mode = os.fstat(device).st_mode

    result = load(tmp_path, "--dry-run", "--refused", os.ttyname(device), "-", stdin=b"{")

    assert result.exit_code == 1
    assert json.loads(os.read(terminal, 1000))["line"] == 1
    assert os.fstat(device).st_mode == mode
    os.close(terminal)
    os.close(device)


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    result = load(tmp_path, "--dry-run", "--refused", "/dev/full", "-", stdin=b"{")

    assert result.exit_code == 2
    assert result.stderr.splitlines()[-1] == "audience-relay: /dev/full: No space left on device"


def test_a_load_that_fails_before_it_refuses_anything_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "refused.ndjson"
    write_list(path, refusal("a", 1))
    before = path.read_bytes()

    with suppress(StoreUnavailable), RefusedFile(path, with_events=False) as refused:
        refused.begin([Resumed("a", 0)])
        raise StoreUnavailable

    assert path.read_bytes() == before
