"""What `load` tells: how far it is, and which source events were refused; and what it is told."""

import gzip
import io
import json
import os
import stat
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from rich.console import Console

from cli.dry_intake import read_lines
from cli.load import summary
from cli.main import main
from cli.progress import Bar, total_bytes
from cli.refusals import NAMED_LINES, RefusedLines
from cli.refused_file import FileExists, RefusedFile
from producers.files import RefusedLine
from producers.form import Form
from producers.intake import Report
from producers.segment import Reason
from tests.unit.loads import event
from tests.unit.test_cli_main import logs_as_before  # noqa: F401 - a fixture that restores what the command sets up
from worker.errors import StoreUnavailable

CONFIGURATION = """
[redis]
url = "redis://127.0.0.1:9/0"

[[destinations]]
name = "criteo"
kind = "criteo"
advertiser_id = "4711"
client_id = "relay"
client_secret = "secret"
"""
"""Nobody listens there: what is told comes from the files alone."""


def load(folder: Path, *arguments: str, stdin: bytes | None = None) -> Result:
    (folder / "relay.toml").write_text(CONFIGURATION)
    return CliRunner().invoke(main, ["load", "--config", str(folder / "relay.toml"), *arguments], input=stdin)


def refusal(file: str, line: int, reason: Reason = "json") -> RefusedLine:
    return RefusedLine(file, line, reason, b"{")


# ── What is told ─────────────────────────────────────────────────────────────────────────────────


def test_refused_lines_are_named_by_reason_the_most_frequent_first() -> None:
    report, refused = Report(), RefusedLines()
    report.refused.update(type=1, json=2)
    refused.add(refusal("a", 3))
    refused.add(refusal("a", 4, "type"))
    refused.add(refusal("b", 1))

    assert refused.describe(report) == [
        "refused: json: 2 source events: a:3, b:1",
        "refused: type: 1 source event: a:4",
    ]


def test_only_the_first_lines_of_a_reason_are_named() -> None:
    report, refused = Report(), RefusedLines()
    for line in range(1, 100_001):
        report.refused["json"] += 1
        refused.add(refusal("a", line))

    (text,) = refused.describe(report)

    assert text == "refused: json: 100,000 source events: a:1, a:2, a:3, a:4, a:5, …"
    assert NAMED_LINES == 5


def test_of_what_was_refused_before_it_went_on_the_lines_are_not_known() -> None:
    report = Report()
    report.refused.update(json=2)

    assert RefusedLines().describe(report) == ["refused: json: 2 source events: …"]


@pytest.mark.parametrize(
    ("content", "advice"),
    [
        (event().replace(b"}}", b"}}\r") * 2, "its lines end in CR alone"),
        (event() * 500 + b"\r" + event(), None),
        (event().decode().encode("utf-16"), "it looks like UTF-16"),
        (b"\0\0\0", None),
        (b'{"a": 1\r\n', None),
    ],
)
def test_of_lines_that_are_written_otherwise_what_to_do_is_told(
    tmp_path: Path, content: bytes, advice: str | None
) -> None:
    (tmp_path / "events.ndjson").write_bytes(content)

    told = load(tmp_path, "--dry-run", str(tmp_path / "events.ndjson")).stderr.splitlines()

    assert told[1].startswith("refused: ")
    assert [each.partition("; ")[0] for each in told[2:]] == (
        [f"{tmp_path}/events.ndjson:1: {advice}"] if advice else []
    )


def test_what_was_left_out_as_a_duplicate_is_told_by_destination() -> None:
    report = Report(read=3, accepted=3)
    report.changes.update(taboola=1, criteo=3, stackadapt=0)
    report.duplicates.update(taboola=2, criteo=0, stackadapt=1)

    assert summary(report) == [
        "3 source events read, 3 accepted, 0 refused",
        "  3 changes for criteo",
        "  0 changes for stackadapt, 1 duplicate left out",
        "  1 change for taboola, 2 duplicates left out",
    ]


# ── The bar ──────────────────────────────────────────────────────────────────────────────────────


def test_the_bytes_of_all_files_are_what_there_is_to_read(tmp_path: Path) -> None:
    (tmp_path / "one").write_bytes(b"12345")
    (tmp_path / "two").write_bytes(b"123")

    assert total_bytes([str(tmp_path / "one"), str(tmp_path / "two")]) == 8


@pytest.mark.parametrize("name", ["missing", "/dev/null"])
def test_what_does_not_tell_its_size_leaves_the_end_open(tmp_path: Path, name: str) -> None:
    (tmp_path / "one").write_bytes(b"12345")

    assert total_bytes([str(tmp_path / "one"), str(tmp_path / name)]) is None


def test_the_bar_shows_bytes_and_speed_on_a_terminal(tmp_path: Path) -> None:
    (tmp_path / "one").write_bytes(b"x" * 2_000_000)
    output = io.StringIO()

    with Bar([str(tmp_path / "one")], Console(file=output, force_terminal=True, width=80)) as bar:
        bar.advance(1_000_000, 3_000)

    assert "1.0/2.0 MB" in output.getvalue()
    assert "events/s" in output.getvalue()


def test_the_bar_shows_the_time_left_where_the_end_is_known(tmp_path: Path) -> None:
    (tmp_path / "one").write_bytes(b"x" * 3_000_000)
    seconds = [0.0]

    def shown(path: str) -> str:
        output = io.StringIO()
        console = Console(file=output, force_terminal=True, width=80)
        with Bar([path], console, lambda: seconds[0]) as bar:
            for done in (1_000_000, 2_000_000):
                seconds[0] += 10
                bar.advance(done, done // 300)
        return output.getvalue()

    assert "00:10" in shown(str(tmp_path / "one"))
    assert "0:00:20" in shown("/dev/null")


def test_elsewhere_there_is_no_bar(tmp_path: Path) -> None:
    output = io.StringIO()

    with Bar(["-"], Console(file=output, force_terminal=False)) as bar:
        bar.advance(1_000_000, 3_000)

    assert output.getvalue() == ""


# ── Options ──────────────────────────────────────────────────────────────────────────────────────


def test_a_dry_run_tells_what_would_come_of_it_without_redis(tmp_path: Path) -> None:
    (tmp_path / "one.ndjson").write_bytes(event("m-1") + b"\n{\n")
    (tmp_path / "two.csv").write_text("mail,audience,member,x\njane@example.com,vip,1,2\n")
    mapped = ("--map", "mail=email", "--map", "member=entered", "--map", "x=")

    result = load(tmp_path, "--dry-run", "--json", *mapped, str(tmp_path / "one.ndjson"), str(tmp_path / "two.csv"))

    assert result.exit_code == 1
    assert json.loads(result.stdout) == {
        "read": 3,
        "accepted": 2,
        "refused": {"json": 1},
        "changes": {"criteo": 2},
    }
    assert result.stderr.splitlines() == [
        "dry run: nothing is appended",
        f"refused: json: 1 source event: {tmp_path}/one.ndjson:2",
    ]


def test_without_it_redis_is_needed(tmp_path: Path) -> None:
    """So the dry run above has not only been lucky."""
    assert load(tmp_path, "-", stdin=event()).exit_code == 2


def test_a_form_may_be_given_for_standard_input(tmp_path: Path) -> None:
    result = load(
        tmp_path,
        *("--dry-run", "--format", "csv", "--delimiter", "tab"),
        *("--set", "audience=vip", "--set", "entered=no", "--map", "a=b=traits.plan", "-"),
        stdin=b"email\ta=b\njane@example.com\tpro\n",
    )

    assert result.exit_code == 0
    assert result.stdout.splitlines()[0] == "1 source event read, 1 accepted, 0 refused"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--map", "email", "x.csv"], 'there is no "=" in "email"'),
        (["--set", "email", "x.csv"], 'there is no "=" in "email"'),
        (["--map", "a=traits.b", "--map", "a=", "x.csv"], '"a" is there twice'),
        (["--delimiter", ";;", "x.csv"], "one character"),
        (["--delimiter", '"', "x.csv"], "one character"),
        (["--map", "a=traits.b", "x.ndjson"], "are for CSV"),
        (["--set", "audience=vip", "-"], "are for CSV"),
        (["--delimiter", ";", "x.ndjson"], "are for CSV"),
        (["--refused-with-events", "x.ndjson"], "needs --refused"),
        (["--refused", "x.ndjson", "x.ndjson"], "names a file that is loaded"),
    ],
)
def test_options_that_make_no_sense_are_told(tmp_path: Path, arguments: Sequence[str], words: str) -> None:
    result = load(tmp_path, *arguments)

    assert result.exit_code == 2
    assert words in result.stderr


def test_what_only_looks_at_files_reads_the_same_forms(tmp_path: Path) -> None:
    """`preview` and `check --sample`."""
    path = tmp_path / "people.csv.gz"
    path.write_bytes(gzip.compress(b"email,audience,entered\n\njane@example.com,vip,yes\n"))

    with path.open("rb") as stream:
        ((line, found),) = read_lines(stream, Form())

    assert line == 3
    assert isinstance(found, dict)
    assert found["traits"] == {"email": "jane@example.com"}


# ── The file of refused lines ────────────────────────────────────────────────────────────────────


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
        refused.begin([("a", 4)])
        refused.add(refusal("a", 6))
        refused.add(refusal("b", 2))

    assert told_in(path) == [("a", 1), ("a", 3), ("a", 6), ("b", 2)]


def test_a_file_that_goes_on_may_be_named_in_another_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is written is the name as it was given, and the whole path beside it."""
    path = tmp_path / "refused.ndjson"
    monkeypatch.chdir(tmp_path)
    write_list(path, refusal("a", 1), refusal("a", 5))

    with RefusedFile(path, with_events=False) as refused:
        refused.begin([("./a", 4)])
        refused.add(refusal("./a", 6))
    monkeypatch.chdir("/")
    with RefusedFile(path, with_events=False) as refused:
        refused.begin([(f"{tmp_path}/a", 6)])

    assert told_in(path) == [("a", 1), ("./a", 6)]
    assert json.loads(path.read_text().splitlines()[0])["path"] == f"{tmp_path}/a"


def test_each_turn_of_a_file_that_is_named_twice_goes_on_by_itself(tmp_path: Path) -> None:
    path = tmp_path / "refused.ndjson"
    write_list(path, *(refusal("a", line) for line in (1, 3, 1, 3)))

    with RefusedFile(path, with_events=False) as refused:
        refused.begin([("a", 9), ("a", 2)])

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
        refused.begin([("a", 1)])

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
        refused.begin([("a", 0)])
        raise StoreUnavailable

    assert path.read_bytes() == before
