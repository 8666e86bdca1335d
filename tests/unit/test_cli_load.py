"""What `load` tells: how far it is, and which source events were refused; and what it is told."""

import gzip
import io
import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from rich.console import Console

from cli.dry_intake import read_lines
from cli.load import summary
from cli.main import main
from cli.progress import Bar, total_bytes
from cli.refusals import NAMED_LINES, RefusedLines
from producers.files import RefusedLine
from producers.form import Form
from producers.intake import Report
from producers.segment import Reason
from tests.unit.loads import event

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
    return RefusedLine(file, line, reason, b'{"')


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


ARRAY = "one JSON object a line is expected, no array"


@pytest.mark.parametrize(
    ("content", "advice"),
    [
        (event().replace(b"}}", b"}}\r") * 2, "its lines end in CR alone"),
        (event() * 500 + b"\r" + event(), None),
        (event().decode().encode("utf-16"), "it looks like UTF-16"),
        (b"\0\0\0", None),
        (b'{"a": 1\r\n', None),
        (json.dumps(json.loads(event()), indent=2).encode(), "one JSON object a line is expected"),
        (event().replace(b', "', b',\n "'), "one JSON object a line is expected"),
        (json.dumps([json.loads(event())] * 2, indent=2).encode(), ARRAY),
        (b"[\n" + event() + b",\n" + event() + b"\n]", ARRAY),
        (b"[" + event() + b",\n" + event() + b"]", ARRAY),
        (b"[" + event() + b"," + event() + b"]", ARRAY),
        (b"[" + b",".join([event()] * 1_000) + b"]", ARRAY),
        (b"[info] begun\n", None),
        (b'{"properties": {' + b'"x": 1, ' * 10_000, None),
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


def test_each_file_gets_one_advice_and_the_same_is_given_once(tmp_path: Path) -> None:
    contents = {"array": b"[\n{", "object": b"{\n[", "other": b"{"}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)

    told = load(tmp_path, "--dry-run", *(str(tmp_path / name) for name in contents)).stderr.splitlines()

    assert [each.partition(";")[0] for each in told[2:]] == [
        f"{tmp_path}/array:1: {ARRAY}",
        f"{tmp_path}/object:1: one JSON object a line is expected",
    ]


def test_the_source_event_of_the_readme_can_be_loaded_as_it_stands_there(tmp_path: Path) -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    (tmp_path / "event.json").write_text(readme.partition("```json\n")[2].partition("```")[0])

    result = load(tmp_path, "--dry-run", str(tmp_path / "event.json"))

    assert result.stdout.splitlines()[0] == "1 source event read, 1 accepted, 0 refused"


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
    (tmp_path / "one.ndjson").write_bytes(event("m-1") + b'\n{"\n')
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
