"""`dead-letters` on a real Redis: what each command does to it, says, and ends with."""

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from redis import Redis

from cli import letters_found
from cli.main import main
from worker.batching import Burial, Settlement
from worker.contract import Change, Identifier, LaneKey
from worker.store.lanes import Lease, Schedule
from worker.store.status import COUNTERS
from worker.store.store import Store

SCHEDULE = Schedule(max_changes=100, max_age_ms=0, max_in_flight=2, settle_ms=20_000)
CONFIGURATION = """
[redis]
url = "{url}"
[[destinations]]
name = "shop"
kind = "taboola"
account_id = "a"
client_id = "i"
client_secret = "s"
"""


class Desk:
    """An operator's desk: what is buried, and the commands about it."""

    def __init__(self, config: Path, redis: Redis) -> None:
        self.store = Store(redis)
        self._config = config

    def run(self, *arguments: str) -> Result:
        return CliRunner().invoke(main, ["dead-letters", *arguments, "--config", str(self._config)])

    def json(self, *arguments: str) -> Any:
        return json.loads(self.run(*arguments, "--json").stdout)

    def listed(self, *arguments: str) -> list[int]:
        return [each["number"] for each in self.json("list", *arguments)["dead_letters"]]

    def bury(self, audience: str, *who: str, reason: str = "invalid identifier", destination: str = "shop") -> None:
        lease = self.append_and_lease(audience, *who, destination=destination)
        lanes = self.store.lanes(destination)
        batch = lanes.read(lease, 100, 1_000_000)
        lanes.settle(lease, Settlement(len(batch), 0, 0, [Burial(each, reason) for each in batch]))

    def deliver(self, audience: str, *who: str) -> None:
        lease = self.append_and_lease(audience, *who)
        self.store.lanes("shop").settle(
            lease, Settlement(len(who), len(who), 0), superseding={email(each): 10**13 - 1 for each in who}
        )

    def append_and_lease(self, audience: str, *who: str, destination: str = "shop") -> Lease:
        lanes = self.store.lanes(destination)
        changes = [Change(entered=True, occurred_at=0, identifiers=(email(each),)) for each in who]
        lanes.append(LaneKey(destination, audience), changes, f"{audience} {who} {lanes.status(1).counters}")
        lease = lanes.lease(SCHEDULE)
        assert lease is not None
        return lease

    def counters(self) -> dict[str, int]:
        status = self.store.lanes("shop").status(1)
        assert status.unaccounted == 0
        return {name: status.counters[name] for name in COUNTERS if status.counters[name]}


def email(who: str) -> Identifier:
    return Identifier("email", f"{who}@example.com")


@pytest.fixture
def desk(tmp_path: Path, redis: Redis, redis_url: str) -> Desk:
    config = tmp_path / "relay.toml"
    config.write_text(CONFIGURATION.format(url=redis_url))
    return Desk(config, redis)


# ── list and show ────────────────────────────────────────────────────────────────────────────────


def test_those_buried_last_come_first_over_all_destinations(desk: Desk) -> None:
    desk.bury("vip", "ada", "bob")
    desk.bury("vip", "cleo", destination="former")
    desk.bury("buyers", "dan")

    found = desk.json("list")["dead_letters"]

    assert [(each["destination"], each["number"]) for each in found] == [
        ("shop", 3),
        ("former", 1),
        ("shop", 2),
        ("shop", 1),
    ]
    assert "example.com" not in desk.run("list").output


def test_the_list_may_be_limited_and_says_that_there_are_more(desk: Desk) -> None:
    desk.bury("vip", "ada", "bob", "cleo")

    assert desk.json("list", "--limit", "2")["more"] is True
    assert desk.json("list", "--limit", "3")["more"] is False
    assert desk.listed("--limit", "2") == [3, 2]
    assert "There are more: see --limit and the filters." in desk.run("list", "--limit", "2").stdout


@pytest.mark.parametrize(
    ("filters", "numbers"),
    [
        (["--audience", "v*"], [2, 1]),
        (["--audience", "vi"], []),
        (["--reason", "MALFORMED"], [3]),
        (["--number", "2", "--number", "9", "--destination", "shop"], [2]),
        (["--since", "1h"], [3, 2, 1]),
        (["--until", "1h"], []),
        (["--since", "2026-01-01", "--until", "2026-01-02T00:00Z"], []),
        (["--destination", "shop", "--audience", "buyers", "--reason", "*id"], []),
    ],
)
def test_letters_are_found_by_audience_reason_time_and_number(
    desk: Desk, filters: Sequence[str], numbers: list[int]
) -> None:
    desk.bury("vip", "ada", "bob")
    desk.bury("buyers", "cleo", reason="malformed identifier")

    assert desk.listed(*filters) == numbers


def test_a_number_alone_is_refused_where_there_are_several_destinations(desk: Desk) -> None:
    desk.bury("vip", "ada", destination="former")

    result = desk.run("list", "--number", "1")

    assert result.exit_code == 2
    assert "each destination has its own numbers; name one with --destination" in result.stderr


def test_a_destination_that_nobody_knows_is_refused(desk: Desk) -> None:
    for arguments in (["list", "--destination", "show"], ["show", "show", "1"]):
        result = desk.run(*arguments)

        assert result.exit_code == 2
        assert result.stderr == 'no destination is named "show"; there are: shop\n'


def test_one_is_shown_with_everything(desk: Desk) -> None:
    desk.bury("vip", "ada")

    assert desk.json("show", "shop", "1")["identifiers"] == [{"type": "email", "value": "ada@example.com"}]
    assert "ada@example.com" in desk.run("show", "shop", "1").stdout


def test_one_that_is_not_there_is_told(desk: Desk) -> None:
    result = desk.run("show", "shop", "7")

    assert result.exit_code == 2
    assert result.stderr == "audience-relay: shop has no dead letter 7; see `audience-relay dead-letters list`\n"


# ── replay ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("command", ["replay", "discard"])
def test_without_a_filter_nothing_is_done_unless_all_are_asked_for(desk: Desk, command: str) -> None:
    desk.bury("vip", "ada")

    refused = desk.run(command)

    assert refused.exit_code == 2
    assert "say which ones" in refused.stderr
    assert desk.counters() == {"accepted": 1, "buried": 1}
    assert desk.run(command, "--all").exit_code == 0
    assert desk.listed() == []


@pytest.mark.parametrize("command", ["replay", "discard"])
def test_a_dry_run_counts_and_changes_nothing(desk: Desk, command: str) -> None:
    desk.bury("vip", "ada", "bob")
    desk.deliver("vip", "ada")

    assert desk.json(command, "--all", "--dry-run") == {
        "dry_run": True,
        "matched": 2,
        "superseded": 1,
        "groups": [
            {"destination": "shop", "audience": "vip", "reason": "invalid identifier", "count": 2, "superseded": 1}
        ],
    }
    assert desk.run(command, "--all", "--dry-run").stderr == "a dry run: nothing was changed\n"
    assert desk.counters() == {"accepted": 3, "delivered": 1, "buried": 2}


def test_what_is_replayed_waits_again(desk: Desk) -> None:
    desk.bury("vip", "ada", "bob")
    desk.bury("buyers", "cleo")

    result = desk.run("replay", "--audience", "vip")

    assert result.exit_code == 0
    assert result.stdout.splitlines()[-1] == "2 dead letters replayed"
    assert desk.counters() == {"accepted": 3, "buried": 1, "waiting": 2}


def test_superseded_ones_are_replayed_by_force_only(desk: Desk) -> None:
    desk.bury("vip", "ada", "bob")
    desk.deliver("vip", "ada")

    result = desk.run("replay", "--all")

    assert result.exit_code == 1
    assert result.stdout.splitlines()[-2:] == [
        "1 dead letter replayed",
        "1 dead letter stayed: superseded by newer changes; --force replays them all the same",
    ]

    forced = desk.json("replay", "--all", "--force")

    assert (forced["replayed"], forced["superseded"], forced["busy"]) == (1, 0, 0)
    assert desk.listed() == []


def test_what_stays_because_its_lane_is_being_flushed_is_told(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(letters_found, "PATIENCE_SECONDS", 0)
    desk.bury("vip", "ada")
    desk.bury("buyers", "bob")
    desk.append_and_lease("vip", "eve")

    result = desk.run("replay", "--all")

    assert result.exit_code == 1
    assert result.stdout.splitlines()[-2:] == [
        "1 dead letter replayed",
        "1 dead letter stayed, their lanes being worked on: try again, or hold them first (`audience-relay hold`)",
    ]
    assert desk.listed() == [1]


def test_a_lane_that_is_being_flushed_is_tried_again(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.bury("vip", "ada")
    lease = desk.append_and_lease("vip", "eve")

    def settle(_seconds: float) -> None:
        desk.store.lanes("shop").settle(lease, Settlement(1, 1, 0))

    monkeypatch.setattr(time, "sleep", settle)

    done = desk.json("replay", "--all")

    assert (done["replayed"], done["superseded"], done["busy"]) == (1, 0, 0)
    assert desk.counters() == {"accepted": 2, "delivered": 1, "waiting": 1}


# ── discard and export ───────────────────────────────────────────────────────────────────────────


def test_what_is_discarded_is_counted(desk: Desk) -> None:
    desk.bury("vip", "ada", "bob")
    desk.bury("buyers", "cleo")

    assert desk.json("discard", "--audience", "vip")["discarded"] == 2
    assert desk.counters() == {"accepted": 3, "buried": 1, "discarded": 2}
    assert desk.run("discard", "--audience", "buyers").stdout.splitlines()[-1] == "1 dead letter discarded"


def test_where_there_is_none_that_is_told(desk: Desk) -> None:
    assert desk.run("list").stdout == "there is no such dead letter\n"
    assert desk.run("replay", "--all").stdout == "there is no such dead letter\n0 dead letters replayed\n"
    assert desk.run("export").stdout == ""


def test_an_export_goes_to_standard_output_the_longest_buried_first(desk: Desk) -> None:
    desk.bury("vip", "ada", "bob")
    desk.bury("buyers", "cleo")

    result = desk.run("export")

    found = [json.loads(line) for line in result.stdout.splitlines()]
    assert [each["identifiers"][0]["value"] for each in found] == [
        "ada@example.com",
        "bob@example.com",
        "cleo@example.com",
    ]
    assert result.stderr == "3 dead letters exported\n"
    assert desk.counters() == {"accepted": 3, "buried": 3}
