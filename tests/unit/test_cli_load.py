"""What `load` tells: how far it is, and which source events were refused."""

import io
from pathlib import Path

import pytest
from rich.console import Console

from cli.load import NAMED_LINES, RefusedLines, summary
from cli.progress import Bar, total_bytes
from producers.intake import Report


def test_refused_lines_are_named_by_reason_the_most_frequent_first() -> None:
    report, refused = Report(), RefusedLines()
    report.refused.update(type=1, json=2)
    refused.add("a", 3, "json")
    refused.add("a", 4, "type")
    refused.add("b", 1, "json")

    assert refused.describe(report) == [
        "refused: json: 2 source events: a:3, b:1",
        "refused: type: 1 source event: a:4",
    ]


def test_only_the_first_lines_of_a_reason_are_named() -> None:
    report, refused = Report(), RefusedLines()
    for line in range(1, 100_001):
        report.refused["json"] += 1
        refused.add("a", line, "json")

    (text,) = refused.describe(report)

    assert text == "refused: json: 100,000 source events: a:1, a:2, a:3, a:4, a:5, …"
    assert NAMED_LINES == 5


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


def test_elsewhere_there_is_no_bar(tmp_path: Path) -> None:
    output = io.StringIO()

    with Bar(["-"], Console(file=output, force_terminal=False)) as bar:
        bar.advance(1_000_000, 3_000)

    assert output.getvalue() == ""
