"""Other programs that use the library get its types."""

import subprocess
import sys
from pathlib import Path

CONSUMER = """
from producers import Published, Publisher, Report

with Publisher("relay.toml") as publisher:
    published: Published = publisher.publish({"type": "track"})
    report: Report = publisher.publish_many([b"{}"])
    reveal_type(published.accepted)
    reveal_type(report.changes)
    publisher.publish(5)
"""


def test_a_strict_program_outside_is_checked_against_them(tmp_path: Path) -> None:
    (tmp_path / "consumer.py").write_text(CONSUMER)
    command = [sys.executable, "-m", "mypy", "--strict", "--no-color-output", "consumer.py"]

    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    told = [line.split(": ", 1)[1] for line in done.stdout.splitlines() if line.startswith("consumer.py:")]
    accepted, changes, wrong = told
    assert accepted == 'note: Revealed type is "bool"'
    assert changes == 'note: Revealed type is "collections.Counter[str]"'
    assert wrong.startswith('error: Argument 1 to "publish" of "Publisher" has incompatible type "int"')
