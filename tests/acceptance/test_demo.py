"""The demo as a newcomer runs it: it ends with the truth, and leaves nothing behind."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from cli.demo import await_empty, perform
from cli.demo_report import Outcome, VendorOutcome, compare, verdict
from cli.demo_stage import folder_of_its_own, stage
from cli.overview import Overview
from sandbox.crowd import Crowd
from tests.conftest import wait_until
from worker.contract import LaneKey
from worker.store.status import COUNTERS, DestinationStatus, Hold, LaneStatus

pytestmark = pytest.mark.acceptance

NOW_MS = 1_795_000_000_000
COMMAND = [sys.executable, "-c", "from cli.demo import demo; demo()"]
VENDORS = ("criteo", "taboola", "stackadapt")


@pytest.fixture
def temporary() -> Iterator[Path]:
    """What the demo takes for the place of temporary files. Short, as the path of a socket has to be."""
    folder = Path(tempfile.mkdtemp(prefix="demo-test-"))
    yield folder
    shutil.rmtree(folder)


class Running:
    """A demo in a process of its own."""

    def __init__(self, temporary: Path, *arguments: str) -> None:
        self.temporary = temporary
        self.process = subprocess.Popen(
            [*COMMAND, *arguments],
            env=os.environ | {"TMPDIR": str(temporary)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def end(self) -> tuple[int, str, str]:
        """Its exit code, standard output and standard error."""
        output, errors = self.process.communicate(timeout=100)
        return self.process.returncode, output, errors

    def await_workers(self) -> list[int]:
        """The processes of both workers, once they have begun to write their logs."""
        wait_until(lambda: len(list(self.temporary.glob("*/demo?.log"))) == 2)
        wait_until(lambda: all(log.stat().st_size for log in self.temporary.glob("*/demo?.log")))
        return [each for each in self.children() if b"worker.app" in Path(f"/proc/{each}/cmdline").read_bytes()]

    def children(self) -> list[int]:
        process = self.process.pid
        return [int(each) for each in Path(f"/proc/{process}/task/{process}/children").read_text().split()]


@pytest.fixture
def start(temporary: Path) -> Iterator[Callable[..., Running]]:
    """Starts demos; one that still runs in the end is told to end."""
    started: list[Running] = []

    def run(*arguments: str) -> Running:
        started.append(Running(temporary, *arguments))
        return started[-1]

    yield run
    for running in started:
        if running.process.poll() is None:
            running.process.terminate()
            running.end()


# ── From beginning to end ────────────────────────────────────────────────────────────────────────


def test_each_vendor_holds_what_the_events_say(start: Callable[..., Running], temporary: Path) -> None:
    code, output, errors = start("--events", "2000", "--seed", "7", "--json").end()
    result = json.loads(output)

    assert (code, result["equal"], result["problems"]) == (0, True, []), errors
    assert (result["events"], result["seed"]) == (2_000, 7)
    assert result["refused"] == result["refused_expected"]
    assert sum(result["refused"].values()) == 2_000 // 40
    assert [each["name"] for each in result["destinations"]] == list(VENDORS)
    for each in result["destinations"]:
        assert each["expected"] == each["held"] > 100
        assert (each["missing"], each["extra"], each["waiting"], each["unaccounted"]) == (0, 0, 0, 0)
        assert each["accepted"] == each["delivered"] + each["folded"] + each["buried"]
        assert each["folded"] > 0
        assert each["audiences"] == 7
        assert each["requests"] >= 7
    assert list(temporary.iterdir()) == []


def test_the_table_fits_80_columns_and_ends_with_the_verdict(start: Callable[..., Running]) -> None:
    code, output, errors = start("--events", "300").end()

    assert code == 0, errors
    assert max(map(len, (*output.splitlines(), *errors.splitlines()))) <= 80
    assert output.splitlines()[-1] == "All equal: each vendor holds exactly the identifiers that the events say."


def test_keep_leaves_the_folder_with_logs_that_name_nobody(start: Callable[..., Running], temporary: Path) -> None:
    _, _, errors = start("--events", "100", "--keep").end()
    [folder] = temporary.iterdir()

    assert {"events.ndjson", "relay.toml", "demo1.log", "demo2.log"} <= {each.name for each in folder.iterdir()}
    assert str(folder) in errors
    assert len((folder / "events.ndjson").read_bytes().splitlines()) == 100
    assert not any("@example" in log.read_text() for log in folder.glob("*.log"))


# ── When it is ended early ───────────────────────────────────────────────────────────────────────

ENDLESS = ("--events", "100000")
"""So many that a demo is far from its end when its workers have begun, on a slow machine too."""

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")


@on_linux
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_demo_that_is_told_to_end_leaves_nothing_behind(
    start: Callable[..., Running], temporary: Path, number: signal.Signals
) -> None:
    running = start(*ENDLESS)
    workers, children = running.await_workers(), running.children()

    running.process.send_signal(number)
    code, output, _ = running.end()

    assert (len(workers), len(children)) == (2, 3)
    assert (code != 0, output) == (True, "")
    assert not any(Path(f"/proc/{child}").exists() for child in children)
    assert list(temporary.iterdir()) == []


@on_linux
def test_a_worker_that_ends_early_is_told_with_its_log(start: Callable[..., Running], temporary: Path) -> None:
    running = start(*ENDLESS)
    victim, other = running.await_workers()

    os.kill(victim, signal.SIGKILL)
    code, output, errors = running.end()

    assert (code, output) == (2, "")
    assert "ended early, with code -9; its log ends:" in errors
    assert not Path(f"/proc/{other}").exists()
    assert list(temporary.iterdir()) == []


def test_lanes_that_do_not_empty_are_given_up() -> None:
    crowd = Crowd(7, now_ms=NOW_MS, people=100)
    with folder_of_its_own(keep=False) as folder, stage(folder) as running:
        refusal = {"kind": "status", "status": 403}
        running.sandbox.taboola.script_faults({"rules": [{"fault": refusal}]})
        outcome = perform(running, crowd, events=400, patience=timedelta(seconds=3))

    waiting = {each.overview.name for each in outcome.vendors if each.overview.status.counters["waiting"]}
    assert "taboola" in waiting
    assert waiting <= {problem.partition(":")[0] for problem in outcome.problems}


# ── The verdict ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("vendor", VENDORS)
def test_a_member_too_few_or_too_many_is_found(vendor: str) -> None:
    crowd = Crowd(7, now_ms=NOW_MS)
    for _ in crowd.events(2_000):
        pass
    expected, held = crowd.members(vendor), crowd.members(vendor)
    audience = next(iter(expected))
    lost = expected[audience].popitem()[0]
    expected[audience]["nobody@example.com"] = True

    difference = compare(expected, held)

    assert compare(held, held).missing == compare(held, held).extra == ()
    assert difference.missing == ((audience, "nobody@example.com"),)
    assert difference.extra == ((audience, lost),)


def test_the_right_members_of_the_wrong_audience_are_found() -> None:
    difference = compare({"vips": {"a": True}}, {"fans": {"a": True}})

    assert (difference.missing, difference.extra) == ((("vips", "a"),), (("fans", "a"),))


def test_an_empty_audience_is_as_good_as_none() -> None:
    difference = compare({"vips": {"a": True}}, {"vips": {"a": True}, "fans": {}})

    assert (difference.audiences, difference.missing, difference.extra) == (1, (), ())


def _overview(lane_hold: Hold | None = None, hold: Hold | None = None, **counters: int) -> Overview:
    lane = LaneStatus(LaneKey("taboola", "vips"), 1, NOW_MS, lane_hold, leased=False)
    status = DestinationStatus(NOW_MS, dict.fromkeys(COUNTERS, 0) | counters, hold, lane.oldest_ms, (lane,))
    return Overview("taboola", "taboola", status)


ALL_WELL = _overview(accepted=3, delivered=2, folded=1)
UNAVAILABLE = Hold("HTTP 503", NOW_MS, NOW_MS + 1, 2)
FORBIDDEN = Hold("forbidden", NOW_MS, None, 1)


def _outcome(overview: Overview = ALL_WELL, held: str = "a", **refused: int) -> Outcome:
    difference = compare({"vips": {"a": True}}, {"vips": {held: True}})
    return Outcome(3, 1.0, refused, {"json": 2}, [VendorOutcome(overview, difference, requests=2)])


@pytest.mark.parametrize(
    ("outcome", "problems"),
    [
        (_outcome(json=2), []),
        (_outcome(json=1), ["1 source events were refused for 'json', not 2"]),
        (_outcome(json=2, type=1), ["1 source events were refused for 'type', not 0"]),
        (
            _outcome(held="b", json=2),
            [
                "taboola: 1 identifiers are missing, such as 'a' in 'vips'",
                "taboola: 1 identifiers are too many, such as 'b' in 'vips'",
            ],
        ),
        (_outcome(_overview(accepted=3, delivered=2), json=2), ["taboola: 1 accepted changes are unaccounted for"]),
        (
            _outcome(_overview(hold=FORBIDDEN, accepted=1, waiting=1), json=2),
            ["taboola: 1 changes still wait; destination is held, attempt 1: forbidden"],
        ),
        (
            _outcome(_overview(lane_hold=UNAVAILABLE, accepted=1, waiting=1), json=2),
            ["taboola: 1 changes still wait; lane 'vips' is held, attempt 2: HTTP 503"],
        ),
    ],
)
def test_the_verdict_names_what_is_wrong(outcome: Outcome, problems: list[str]) -> None:
    result: dict[str, Any] = outcome.as_dict()

    assert outcome.problems == result["problems"] == problems
    assert result["equal"] == verdict(outcome).startswith("All equal") == (not problems)


def test_waiting_for_empty_lanes_ends_with_the_patience() -> None:
    def look() -> list[Overview]:
        return [_overview(accepted=1, waiting=1)]

    assert await_empty(look, timedelta()) == look()
