"""`audiences` and `check` with a real Redis and the stand-ins on a port."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from redis import Redis

from cli.check import look
from cli.main import main
from sandbox.app import Sandbox
from sandbox.server import Server, serve
from worker.contract import Change, Identifier, LaneKey
from worker.store.store import Store

CONFIGURATION = """
[redis]
url = "{redis_url}"

[[destinations]]
name = "criteo"
kind = "criteo"
api_url = "{url}/criteo"
api_version = "{api_version}"
advertiser_id = "4711"
client_id = "relay"
client_secret = "secret"

[[destinations]]
name = "taboola"
kind = "taboola"
api_url = "{url}/taboola"
account_id = "my-account"
client_id = "relay"
client_secret = "secret"

[[destinations]]
name = "stackadapt"
kind = "stackadapt"
api_url = "{url}/stackadapt/graphql"
advertiser_id = "2029"
api_token = "token"
"""
FAULT = {"kind": "status", "status": 401, "json": {"error": "invalid_client"}}


class Desk:
    """An operator's desk: the vendors, what waits, and the commands."""

    def __init__(self, folder: Path, redis: Redis, redis_url: str, server: Server, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        self.store = Store(redis)
        self.config = folder / "relay.toml"
        self._redis_url, self._server = redis_url, server
        self.configure()

    def configure(self, api_version: str = "2026-07") -> None:
        text = CONFIGURATION.format(url=self._server.url, redis_url=self._redis_url, api_version=api_version)
        self.config.write_text(text)

    def run(self, *arguments: str) -> Result:
        return CliRunner().invoke(main, [*arguments, "--config", str(self.config)], catch_exceptions=False)

    def json(self, *arguments: str) -> dict[str, Any]:
        """What is told of each destination, by its name."""
        found = json.loads(self.run(*arguments, "--json").stdout)
        return {each["name"]: each for each in found["destinations"]}

    def append(self, destination: str, audience: str, *who: str) -> None:
        changes = [
            Change(entered=True, occurred_at=0, identifiers=(Identifier("email", f"{each}@x.org"),)) for each in who
        ]
        self.store.append(LaneKey(destination, audience), changes, f"{destination} {audience}")


@pytest.fixture
def desk(tmp_path: Path, redis: Redis, redis_url: str) -> Iterator[Desk]:
    sandbox = Sandbox()
    with serve(sandbox) as server:
        yield Desk(tmp_path, redis, redis_url, server, sandbox)


# ── audiences ────────────────────────────────────────────────────────────────────────────────────


def test_what_the_vendor_tells_stands_beside_what_waits(desk: Desk) -> None:
    list_id = desk.sandbox.criteo.add_segment("4711", "vip")
    desk.sandbox.criteo.add_segment("4711", "lapsed")
    desk.append("criteo", "vip", "ada", "bob")

    found = desk.json("audiences", "--destination", "criteo")["criteo"]

    assert (found["ok"], found["told"]) == (True, True)
    assert [(each["audience"], each["waiting"]) for each in found["audiences"]] == [("lapsed", 0), ("vip", 2)]
    assert found["audiences"][1]["id"] == list_id
    assert found["audiences"][1]["numbers"].keys() == {"identifiers", "matches", "match_rate"}


def test_numbers_have_separators_and_what_is_not_told_is_a_dash(desk: Desk) -> None:
    desk.sandbox.criteo.add_segment("4711", "new")
    desk.sandbox.taboola.add_audience(7, name="vip")
    desk.sandbox.taboola.set_size(7, 1_234_567)

    text = desk.run("audiences").stdout

    assert "1,234,567" in text
    (row,) = [line.split() for line in text.splitlines() if line.split()[:1] == ["new"]]
    assert row[2:] == ["–", "–", "–"]  # noqa: RUF001 - the dash that is shown


def test_an_audience_for_which_something_waits_is_shown_before_the_vendor_has_it(desk: Desk) -> None:
    desk.append("taboola", "vip", "ada")
    desk.append("stackadapt", "aud_1", "ada", "bob")

    found = desk.json("audiences")

    assert found["taboola"]["audiences"] == [{"audience": "vip", "id": None, "numbers": {}, "waiting": 1}]
    assert found["stackadapt"]["audiences"] == [{"audience": "aud_1", "id": None, "numbers": {}, "waiting": 2}]


def test_a_vendor_that_tells_nothing_is_said_to(desk: Desk) -> None:
    result = desk.run("audiences", "--destination", "stackadapt", "--destination", "taboola")

    assert result.exit_code == 0
    assert "StackAdapt has no such request; see its own interface" in result.stdout
    assert "taboola (taboola)\n  no audiences\n" in result.stdout
    assert desk.json("audiences")["stackadapt"]["told"] is False


def test_a_vendor_that_fails_is_told_with_what_to_do_and_the_others_are_shown(desk: Desk) -> None:
    desk.sandbox.criteo.add_segment("4711", "vip")
    desk.sandbox.taboola.script_faults({"rules": [{"match": {"route": "token"}, "fault": FAULT}]})

    result = desk.run("audiences")

    assert result.exit_code == 1
    assert "vip" in result.stdout
    assert "failed  credentials refused" in result.stdout
    assert "check client_id and client_secret" in result.stdout
    taboola = desk.json("audiences")["taboola"]
    assert (taboola["ok"], taboola["reason"], taboola["audiences"]) == (False, "credentials refused", [])


def test_a_vendor_that_is_asked_too_often_is_told_with_when_to_come_back(desk: Desk) -> None:
    fault = {"kind": "status", "status": 429}
    desk.sandbox.taboola.script_faults({"rules": [{"match": {"route": "audiences"}, "fault": fault}]})

    taboola = desk.json("audiences")["taboola"]

    assert taboola["reason"] == "rate limited: HTTP 429"
    assert taboola["advice"].startswith("try again later")


def test_an_unknown_destination_is_refused_with_the_known_ones(desk: Desk) -> None:
    result = desk.run("audiences", "--destination", "nobody")

    assert result.exit_code == 2
    assert result.stderr == 'no destination is named "nobody"; there are: criteo, taboola, stackadapt\n'


# ── check ────────────────────────────────────────────────────────────────────────────────────────


def test_an_api_version_that_ends_is_a_warning_with_the_day(desk: Desk) -> None:
    desk.configure(api_version="2026-01")

    result = desk.run("check")

    assert result.exit_code == 0
    assert "warning  the vendor says that this version of its API ends on 2027-01-27" in result.stdout
    warnings = {name: each["warnings"] for name, each in desk.json("check").items()}
    assert warnings["criteo"] == [
        "the vendor says that this version of its API ends on 2027-01-27; set a newer api_version"
    ]
    assert warnings["taboola"] == warnings["stackadapt"] == []


def test_an_api_version_that_has_ended_is_a_failure(desk: Desk) -> None:
    desk.configure(api_version="2025-10")

    assert desk.run("check").exit_code == 1
    assert desk.json("check")["criteo"]["reason"] == "API version gone"


def test_a_clock_that_is_wrong_is_a_warning(desk: Desk) -> None:
    found = look(desk.config, now=lambda: 1_600_000_000.0)

    assert found.ok
    assert found.redis is not None
    assert [warning.partition(" is ")[0] for warning in found.redis.warnings] == ["the clock of this machine"]
    assert all("behind the vendor's" in warning for each in found.destinations for warning in each.warnings)
    assert [len(each.warnings) for each in found.destinations] == [1, 1, 1]


def test_a_warning_stands_beside_a_failure(desk: Desk) -> None:
    fault = {"kind": "status", "status": 403, "headers": {"deprecation": "true"}}
    desk.sandbox.stackadapt.script_faults({"rules": [{"match": {"route": "graphql"}, "fault": fault}]})

    found = desk.json("check")

    assert found["stackadapt"]["reason"] == "forbidden"
    assert "is deprecated, and will end" in found["stackadapt"]["warnings"][0]
    assert found["criteo"]["warnings"] == []
