"""The commands as an operator runs them: real processes on a real Redis, with the stand-ins as vendors."""

import json
import os
import signal
import subprocess
import sysconfig
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.conftest import Fleet
from tests.conftest import wait_until
from worker.contract import Change, Identifier, LaneKey
from worker.outgoing import WORKING_SIZE
from worker.store.lanes import Bounds, Schedule

pytestmark = pytest.mark.acceptance

COMMAND = Path(sysconfig.get_path("scripts")) / "audience-relay"
ALL = ("criteo", "taboola", "stackadapt")


def run(fleet: Fleet, *arguments: str, stdin: str = "") -> "subprocess.CompletedProcess[str]":
    environment = os.environ | {"RELAY_CONFIG": str(fleet.folder / "relay.toml")}
    return subprocess.run(
        [COMMAND, *arguments], env=environment, input=stdin, capture_output=True, text=True, timeout=60, check=False
    )


def run_json(fleet: Fleet, *arguments: str) -> Any:
    return json.loads(run(fleet, *arguments, "--json").stdout)


def event(who: str, *, entered: bool = True, audience: str = "vip") -> str:
    return json.dumps(
        {
            "type": "identify",
            "messageId": f"{who} {audience} {entered}",
            "timestamp": "2026-01-01T00:00:00Z",
            "traits": {"email": f"{who}@example.com", audience: entered},
            "context": {"personas": {"computation_class": "audience", "computation_key": audience}},
        }
    )


def write(fleet: Fleet, name: str, lines: Sequence[str]) -> str:
    path = fleet.folder / name
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return str(path)


# ── load ─────────────────────────────────────────────────────────────────────────────────────────


def test_several_files_are_loaded_and_reported(fleet: Fleet) -> None:
    one = write(fleet, "one.ndjson", [event("ada"), event("bob")])
    two = write(fleet, "two.ndjson", [event("cleo", audience="buyers")])

    result = run(fleet, "load", "--json", one, two)

    assert result.returncode == 0
    assert json.loads(result.stdout) == {
        "read": 3,
        "accepted": 3,
        "refused": {},
        "changes": dict.fromkeys(ALL, 3),
    }
    assert all(fleet.counters(name) == {"accepted": 3, "waiting": 3} for name in ALL)


def test_refused_source_events_are_named_by_line_and_end_with_1(fleet: Fleet) -> None:
    path = write(fleet, "events.ndjson", [event("ada"), *["no JSON"] * 7, '{"type": "page"}'])

    result = run(fleet, "load", path)

    assert result.returncode == 1
    assert result.stdout.splitlines()[0] == "9 source events read, 1 accepted, 8 refused"
    assert result.stderr.splitlines() == [
        f"refused: json: 7 source events: {', '.join(f'{path}:{line}' for line in range(2, 7))}, …",
        f"refused: type: 1 source event: {path}:9",
    ]


def test_source_events_may_come_from_standard_input(fleet: Fleet) -> None:
    result = run(fleet, "load", "-", stdin=f"{event('ada')}\n{event('bob')}\n")

    assert result.returncode == 0
    assert result.stdout.splitlines() == [
        "2 source events read, 2 accepted, 0 refused",
        "  2 changes for criteo",
        "  2 changes for stackadapt",
        "  2 changes for taboola",
    ]
    assert result.stderr == ""


def test_what_comes_twice_is_left_out_and_told_but_not_in_json(fleet: Fleet) -> None:
    path = write(fleet, "events.ndjson", [event("ada")])
    run(fleet, "load", path)

    again = run(fleet, "load", path)

    assert again.stdout.splitlines()[:2] == [
        "1 source event read, 1 accepted, 0 refused",
        "  0 changes for criteo, 1 duplicate left out",
    ]
    assert run_json(fleet, "load", path) == {
        "read": 1,
        "accepted": 1,
        "refused": {},
        "changes": dict.fromkeys(ALL, 0),
    }
    assert run_json(fleet, "status")["destinations"][0]["duplicates"] == 2
    assert "criteo: duplicates left out 2\n" in run(fleet, "status").stdout


def test_a_missing_file_ends_with_2_before_anything_is_loaded(fleet: Fleet) -> None:
    path = write(fleet, "one.ndjson", [event("ada")])

    result = run(fleet, "load", path, "missing.ndjson")

    assert result.returncode == 2
    assert result.stderr.startswith("audience-relay: missing.ndjson: ")
    assert result.stdout == ""
    assert fleet.counters("criteo") == {}


# ── status, hold and release ─────────────────────────────────────────────────────────────────────


def test_status_lists_the_configuration_and_then_what_only_redis_knows(fleet: Fleet) -> None:
    fleet.append("criteo", "vip", "ada")
    fleet.append("before", "vip", "ada", "bob")

    found = run_json(fleet, "status")

    assert [(each["name"], each["kind"], each["waiting"]) for each in found["destinations"]] == [
        ("criteo", "criteo", 1),
        ("taboola", "taboola", 0),
        ("stackadapt", "stackadapt", 0),
        ("before", None, 2),
    ]
    lane = found["destinations"][0]["lanes"][0]
    assert (lane["audience"], lane["shard"], lane["waiting"], lane["hold"]) == ("vip", 0, 1, None)
    assert lane["oldest_waiting_seconds"] == found["destinations"][0]["oldest_waiting_seconds"] >= 0


def test_a_destination_is_held_for_a_while_and_released(fleet: Fleet) -> None:
    held = run(fleet, "hold", "taboola", "--for", "10m", "--reason", "the vendor asked")

    assert held.stdout == "taboola is held for 10m\n"
    assert run_json(fleet, "status")["destinations"][1]["hold"]["reason"] == "the vendor asked"
    assert "taboola: held for" in run(fleet, "status").stdout
    assert run_json(fleet, "release", "taboola") == {
        "destination": "taboola",
        "audience": None,
        "released": True,
        "credential_released": False,
        "working_size_forgotten": False,
        "bury": False,
        "settling": False,
    }
    assert run_json(fleet, "release", "taboola")["released"] is False
    assert run_json(fleet, "status")["destinations"][1]["hold"] is None


def test_a_lane_is_held_until_it_is_released(fleet: Fleet) -> None:
    fleet.append("criteo", "vip", "ada")

    hold = run_json(fleet, "hold", "criteo", "--audience", "vip")["hold"]

    destination = run_json(fleet, "status")["destinations"][0]
    assert (hold["reason"], hold["until"]) == ("by hand", None)
    assert destination["hold"] is None
    assert destination["lanes"][0]["hold"] == hold
    assert run(fleet, "release", "criteo", "--audience", "vip").stdout == "criteo, audience vip is released\n"


def test_a_release_tells_that_the_vendor_may_still_apply_the_last_request(fleet: Fleet) -> None:
    fleet.append("criteo", "vip", "ada")
    lanes = fleet.store.lanes("criteo")
    lease = lanes.lease(Schedule(max_changes=1, max_age_ms=0, max_in_flight=1, settle_ms=20_000))
    assert lease is not None
    lanes.give_back(lease, "timeout", settle_ms=20_000)

    assert run(fleet, "release", "criteo", "--audience", "vip").stdout.splitlines() == [
        "criteo, audience vip is released",
        "criteo, audience vip: it goes on when the vendor can no longer apply its last request; `status` shows when",
    ]


def test_a_release_forgets_the_batch_size_that_was_learned(fleet: Fleet) -> None:
    lanes = fleet.store.lanes("criteo")
    lanes.keep_notes({WORKING_SIZE: "10", "another": "note"})

    assert run(fleet, "release", "criteo").stdout.splitlines() == [
        "criteo was not held",
        "criteo: the batch size that its vendor took is forgotten",
    ]
    assert lanes.notes([WORKING_SIZE, "another"]) == {"another": "note"}


def test_a_lane_of_which_much_is_refused_is_buried_once_it_is_released_for_that(fleet: Fleet) -> None:
    wrong = [Change(entered=True, occurred_at=0, identifiers=(Identifier("email", f"{n}@gmail"),)) for n in range(60)]
    fleet.store.append(LaneKey("criteo", "vip"), wrong, "chunk")
    fleet.start_worker()
    wait_until(lambda: "too many refused" in run(fleet, "status").stdout)

    released = run(fleet, "release", "criteo", "--audience", "vip", "--bury")

    assert released.stdout.splitlines() == [
        "criteo, audience vip is released",
        "criteo, audience vip: the next attempt may bury however many are refused",
    ]
    wait_until(fleet.drained)
    assert fleet.counters("criteo") == {"accepted": 60, "buried": 60}


def test_burying_is_allowed_for_a_lane_only(fleet: Fleet) -> None:
    result = run(fleet, "release", "criteo", "--bury")

    assert result.returncode == 2
    assert "--bury is for one lane; name it with --audience" in result.stderr


def test_all_lanes_of_an_audience_are_held_and_released_together(fleet: Fleet) -> None:
    changes = [Change(True, 0, (Identifier("email", f"p{number}@example.com"),)) for number in range(50)]
    fleet.store.lanes("criteo").append(LaneKey("criteo", "vip"), changes, "1", Bounds(shards=3))

    def holds() -> list[str | None]:
        lanes = run_json(fleet, "status")["destinations"][0]["lanes"]
        return [each["hold"] and each["hold"]["reason"] for each in lanes]

    run_json(fleet, "hold", "criteo", "--audience", "vip")
    assert holds() == ["by hand"] * 3

    run_json(fleet, "release", "criteo", "--audience", "vip")
    assert holds() == [None] * 3


@pytest.mark.parametrize("command", ["hold", "release"])
def test_an_unknown_destination_is_refused_with_the_known_ones(fleet: Fleet, command: str) -> None:
    result = run(fleet, command, "criterion")

    assert result.returncode == 2
    assert result.stderr == 'no destination is named "criterion"; there are: criteo, taboola, stackadapt\n'


def test_a_held_credential_is_shown_where_the_destination_has_no_hold(fleet: Fleet) -> None:
    throttled = {"kind": "status", "status": 429, "headers": {"retry-after": "60"}}
    fleet.fault("criteo", match={"route": "search"}, fault=throttled)
    fleet.append("criteo", "vip", "ada")
    fleet.start_worker()

    wait_until(lambda: run_json(fleet, "status")["destinations"][0]["hold"] is not None)

    hold = run_json(fleet, "status")["destinations"][0]["hold"]
    assert "rate limited" in hold["reason"]
    assert hold["until"] is not None
    assert (
        run(fleet, "release", "criteo").stdout
        == "criteo: its credential is released, for every destination that shares it\n"
    )


def test_status_watches_until_it_is_interrupted(fleet: Fleet) -> None:
    environment = os.environ | {"RELAY_CONFIG": str(fleet.folder / "relay.toml")}
    log = fleet.folder / "watch.log"
    with log.open("wb") as output:
        watching = subprocess.Popen([COMMAND, "status", "--watch"], env=environment, stdout=output)
    try:
        wait_until(lambda: log.read_text().count("destination  accepted") >= 2)
        watching.send_signal(signal.SIGINT)

        assert watching.wait(timeout=20) == 0
    finally:
        watching.kill()
        watching.wait()


# ── check ────────────────────────────────────────────────────────────────────────────────────────


def test_check_is_content_when_every_vendor_takes_the_credentials(fleet: Fleet) -> None:
    result = run(fleet, "check", "--json")

    found = json.loads(result.stdout)
    assert result.returncode == 0
    assert found["ok"]
    assert found["redis"] == {"ok": True, "problem": None, "warnings": []}
    assert [(each["name"], each["ok"], each["reason"]) for each in found["destinations"]] == [
        (name, True, None) for name in ALL
    ]


def test_check_tells_refused_credentials_from_what_is_well(fleet: Fleet) -> None:
    refused = {"kind": "status", "status": 401, "json": {"error": "invalid_client"}}
    fleet.fault("taboola", match={"route": "token"}, fault=refused)

    result = run(fleet, "check", "--json")

    found = {each["name"]: each for each in json.loads(result.stdout)["destinations"]}
    assert result.returncode == 1
    assert [name for name in ALL if not found[name]["ok"]] == ["taboola"]
    assert found["taboola"]["reason"] == "credentials refused"
    assert "check client_id and client_secret" in found["taboola"]["advice"]


def test_check_asks_the_vendor_although_the_fleet_has_a_token(fleet: Fleet) -> None:
    fleet.append("taboola", "vip", "ada")
    fleet.start_worker()
    wait_until(fleet.drained)
    refused = {"kind": "status", "status": 401, "json": {"error": "invalid_client"}}
    fleet.fault("taboola", match={"route": "token"}, fault=refused)

    assert run(fleet, "check").returncode == 1


def test_check_finds_a_vendor_that_cannot_be_reached(fleet: Fleet) -> None:
    fleet.server.close()

    result = run(fleet, "check")

    assert result.returncode == 1
    assert result.stdout.count("connection failed") == 3


def test_check_finds_every_mistake_in_the_configuration(fleet: Fleet) -> None:
    path = write(fleet, "wrong.toml", ['redis = { url = "http://x" }', "[[destinations]]", 'kind = "criteria"'])

    result = run(fleet, "check", "--config", path, "--json")

    found = json.loads(result.stdout)
    assert result.returncode == 1
    assert not found["ok"]
    assert [mistake.split(": ")[0] for mistake in found["mistakes"]] == [f"{path}:1", f"{path}:3"]


def test_check_finds_that_redis_is_away(fleet: Fleet) -> None:
    fleet.redis.stop()

    result = run(fleet, "check", "--json")

    found = json.loads(result.stdout)
    assert result.returncode == 1
    assert "start `audience-relay up`" in found["redis"]["problem"]
    assert all(each["ok"] for each in found["destinations"])


# ── sandbox ──────────────────────────────────────────────────────────────────────────────────────


def test_the_sandbox_tells_its_addresses_and_ends_when_it_is_told_to(fleet: Fleet) -> None:
    with subprocess.Popen([COMMAND, "sandbox", "--port", "0"], stdout=subprocess.PIPE, text=True) as sandbox:
        try:
            assert sandbox.stdout is not None
            lines = [sandbox.stdout.readline() for _ in range(4)]
            sandbox.terminate()

            assert sandbox.wait(timeout=20) == 0
        finally:
            sandbox.kill()
    assert [line.split()[0] for line in lines[:3]] == list(ALL)
    assert lines[2].endswith('/stackadapt/graphql"\n')


def test_a_port_that_is_taken_is_told_with_what_to_do(fleet: Fleet) -> None:
    result = run(fleet, "sandbox", "--port", str(fleet.server.port))

    assert result.returncode == 2
    assert result.stderr == f"audience-relay: 127.0.0.1:{fleet.server.port} is taken; choose another with --port\n"
