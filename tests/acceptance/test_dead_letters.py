"""What a vendor refuses for good, from its burial to its end, as an operator meets it: real processes throughout."""

import json
import os
import pty
import subprocess
from typing import Any

import pytest

from tests.acceptance.conftest import Fleet
from tests.acceptance.test_commands import COMMAND, event, run, run_json, write
from tests.conftest import wait_until

pytestmark = pytest.mark.acceptance

WRONG = "jkl@gmail"
"""An address without a top-level domain: Criteo names it as invalid."""


@pytest.fixture
def buried(fleet: Fleet) -> Fleet:
    """Criteo took one of two people and refused the other."""
    wrong = event("jkl").replace("jkl@example.com", WRONG)
    run(fleet, "load", write(fleet, "events.ndjson", [event("ada"), wrong]))
    fleet.start_worker()
    wait_until(lambda: fleet.counters("criteo") == {"accepted": 2, "delivered": 1, "buried": 1})
    return fleet


def listed(fleet: Fleet) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = run_json(fleet, "dead-letters", "list", "--destination", "criteo")["dead_letters"]
    return found


def test_a_refused_change_is_listed_without_whom_it_is_about_and_shown_with_it(buried: Fleet) -> None:
    (one,) = listed(buried)
    table = run(buried, "dead-letters", "list", "--destination", "criteo").stdout
    shown = run_json(buried, "dead-letters", "show", "criteo", str(one["number"]))

    assert (one["destination"], one["audience"], one["entered"], one["superseded"]) == ("criteo", "vip", True, False)
    assert one["reason"] in table
    assert WRONG not in table
    assert WRONG not in json.dumps(one)
    assert shown["identifiers"] == [{"type": "email", "value": WRONG}]
    assert shown["message_id"] == "jkl vip True"


def test_status_tells_how_many_there_are(buried: Fleet) -> None:
    criteo = run_json(buried, "status")["destinations"][0]

    assert (criteo["buried"], criteo["unaccounted"]) == (1, 0)
    assert (criteo["dead_letters"]["count"], criteo["dead_letters"]["expiring"]) == (1, 0)
    assert criteo["dead_letters"]["oldest"] == listed(buried)[0]["buried_at"]


def test_an_export_has_everything_and_changes_nothing(buried: Fleet) -> None:
    path = buried.folder / "letters.ndjson"

    result = run(buried, "dead-letters", "export", "--destination", "criteo", "--output", str(path))

    assert (result.returncode, result.stdout, result.stderr) == (0, "", "1 dead letter exported\n")
    (line,) = path.read_text().splitlines()
    assert json.loads(line) == run_json(buried, "dead-letters", "show", "criteo", "1")
    assert path.stat().st_mode & 0o777 == 0o600
    assert run(buried, "dead-letters", "export", "--destination", "criteo", "--output", str(path)).returncode == 2
    assert buried.counters("criteo")["buried"] == 1


def test_what_is_replayed_and_refused_again_is_buried_again(buried: Fleet) -> None:
    dry = run(buried, "dead-letters", "replay", "--reason", "invalid", "--dry-run")
    assert dry.returncode == 0
    assert [each["number"] for each in listed(buried)] == [1]

    done = run(buried, "dead-letters", "replay", "--destination", "criteo")

    assert done.returncode == 0
    assert done.stdout.splitlines()[-1] == "1 dead letter replayed"
    wait_until(lambda: [each["number"] for each in listed(buried)] == [2])
    assert buried.counters("criteo") == {"accepted": 2, "delivered": 1, "buried": 1}
    assert listed(buried)[0]["reason"] == "invalid identifier"


def test_what_is_discarded_is_gone_and_counted(buried: Fleet) -> None:
    done = run_json(buried, "dead-letters", "discard", "--destination", "criteo")

    assert (done["matched"], done["discarded"]) == (1, 1)
    assert listed(buried) == []
    assert buried.counters("criteo") == {"accepted": 2, "delivered": 1, "discarded": 1}
    assert run_json(buried, "status")["destinations"][0]["unaccounted"] == 0
    assert buried.members("criteo") == {"ada@example.com"}


@pytest.mark.parametrize(
    ("answer", "code", "left"), [("n", 1, {"buried": 1}), ("y", 0, {"discarded": 1})], ids=["no", "yes"]
)
def test_on_a_terminal_a_person_is_asked_first(buried: Fleet, answer: str, code: int, left: dict[str, int]) -> None:
    ours, theirs = pty.openpty()
    environment = os.environ | {"RELAY_CONFIG": str(buried.folder / "relay.toml")}
    with subprocess.Popen(
        [COMMAND, "dead-letters", "discard", "--destination", "criteo"],
        env=environment,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    ) as discarding:
        os.close(theirs)
        said = b""
        while b"Discard 1 dead letter for good? [y/N]" not in said:
            said += os.read(ours, 4096)
        os.write(ours, f"{answer}\n".encode())

        assert discarding.wait(timeout=20) == code
    os.close(ours)
    assert buried.counters("criteo") == {"accepted": 2, "delivered": 1} | left
