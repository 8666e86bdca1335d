"""The simulation against arithmetic, and the command."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from bench.simulation.__main__ import main
from bench.simulation.delays import drain_seconds, simulate
from bench.simulation.needs import needs
from bench.simulation.terms import Costs, Load, Vendor, read_costs
from worker.destinations import REGISTRY
from worker.dispatch import PERIOD_SECONDS

FREE = Costs(0, 0, 0, 0, 0, 0)
COSTS = Costs(
    append_change=2e-5, drain_change=1e-5, drain_batch=0.002, redis_change=4e-6, redis_batch=0.0002, bytes_change=160
)
VENDOR = Vendor(max_changes=50_000, requests=2, request_seconds=0.1)
LOAD = Load(destinations=1, audiences=10, rate=100.0, max_age_seconds=10.0)


# ── Arithmetic ───────────────────────────────────────────────────────────────────────────────────


def test_a_batch_has_what_comes_until_its_lane_is_due() -> None:
    found = needs(LOAD, VENDOR, COSTS)

    assert found.changes_a_batch == 101
    assert found.batches_a_second == pytest.approx(100 / 101)
    assert all(share < 0.2 for share in found.shares.values())


def test_workers_and_producers_are_as_many_as_their_cores_are_asked_for() -> None:
    load = replace(LOAD, destinations=100, audiences=100, rate=1000.0, max_in_flight=8, workers=10)
    found = needs(load, VENDOR, COSTS)
    seconds = 100 * (1000 * 1e-5 + 1000 / 101 * 0.002)

    assert found.shares["workers"] == pytest.approx(seconds / 10)
    assert found.workers == 5  # 2.98 cores at 70 %
    assert found.producers == 3  # 2 cores
    assert found.shares["redis"] == pytest.approx(100 * (1000 * 4e-6 + 1000 / 101 * 0.0002))


def test_few_lanes_in_flight_make_batches_larger() -> None:
    load = replace(LOAD, audiences=1_000)
    found = needs(load, VENDOR, FREE)

    assert found.bottleneck == "max_in_flight"
    assert found.batches_a_second == pytest.approx(2 / 0.2)
    assert found.changes_a_batch == pytest.approx(10)
    assert found.shares["max_in_flight"] == pytest.approx(100 / 2 * 0.2 / 2)


def test_one_lane_has_one_request_at_a_time() -> None:
    found = needs(replace(LOAD, audiences=1, rate=1e6, max_in_flight=8), VENDOR, FREE)

    assert found.batches_a_second == pytest.approx(1 / 0.2)
    assert found.shares["vendor"] == pytest.approx(1e6 / (5 * 50_000))
    assert found.catch_up_seconds is None


def test_calls_a_minute_bound_batches() -> None:
    found = needs(replace(LOAD, audiences=1_000, max_in_flight=100), replace(VENDOR, calls_per_minute=250), FREE)

    assert found.bottleneck == "calls_per_minute"
    assert found.batches_a_second == pytest.approx((250 - 50) / 60 / 2)


def test_an_outage_fills_redis_and_is_caught_up() -> None:
    found = needs(replace(LOAD, outage_hours=2), VENDOR, replace(FREE, bytes_change=160, bytes_lane=300))
    missed = 2 * 3600 * 100

    assert found.redis_bytes == 10 * (101 * 160 + 300)
    assert found.redis_bytes_outage - found.redis_bytes == missed * 160
    assert found.catch_up_seconds == pytest.approx(missed / (10 * 50_000 - 100))


# ── Simulation ───────────────────────────────────────────────────────────────────────────────────


def test_a_lane_that_need_not_wait_begins_when_dispatch_looks() -> None:
    quick = replace(VENDOR, request_seconds=0.005)
    alone, helped = (simulate(replace(LOAD, workers=workers), quick, FREE, seconds=2_000) for workers in (1, 4))

    assert alone.median == pytest.approx(PERIOD_SECONDS / 2, rel=0.15)
    assert alone.most <= PERIOD_SECONDS
    assert helped.median < alone.median / 2
    assert alone.changes_a_batch == pytest.approx(101, rel=0.03)


def test_lanes_that_wait_for_a_place_are_flushed_in_turn() -> None:
    """A lane's turn comes when all have been flushed: 1,000 lanes, two at a time, 0.2 seconds each."""
    found = simulate(replace(LOAD, audiences=1_000, rate=1_000.0), VENDOR, FREE)

    assert found.median == pytest.approx(1_000 * 0.2 / 2 - 10 - 1, rel=0.05)
    assert found.changes_a_batch == pytest.approx(
        needs(replace(LOAD, audiences=1_000, rate=1_000.0), VENDOR, FREE).changes_a_batch, rel=0.05
    )


def test_no_more_calls_are_made_than_the_vendor_allows() -> None:
    found = simulate(replace(LOAD, audiences=1_000, max_in_flight=100), replace(VENDOR, calls_per_minute=250), FREE)

    assert found.batches * 2 / found.seconds == pytest.approx((250 - 50) / 60, rel=0.05)


def test_a_full_lane_does_not_wait_for_its_age() -> None:
    found = simulate(replace(LOAD, rate=1_000.0), replace(VENDOR, max_changes=100), FREE)

    assert found.changes_a_batch == pytest.approx(100, rel=0.02)
    assert found.batches / found.seconds == pytest.approx(10, rel=0.05)


def test_busy_cores_make_lanes_late() -> None:
    """A hundred batches a second of 15 ms each are too much for one core."""
    load = replace(LOAD, destinations=10, audiences=1_000, rate=100.0, max_in_flight=100)
    slow = replace(FREE, drain_batch=0.015)
    busy, helped = (simulate(replace(load, workers=workers), VENDOR, slow, seconds=60) for workers in (1, 8))

    assert busy.median > 10
    assert helped.median < 1


def test_what_waits_is_drained_by_turns() -> None:
    load = replace(LOAD, audiences=40)

    assert drain_seconds(load, VENDOR, FREE, 10) == pytest.approx(40 * 0.2 / 2, abs=2 * PERIOD_SECONDS)
    assert drain_seconds(load, replace(VENDOR, max_changes=5), FREE, 10) == pytest.approx(
        80 * 0.2 / 2, abs=2 * PERIOD_SECONDS
    )


def test_the_same_seed_gives_the_same_delays() -> None:
    assert simulate(LOAD, VENDOR, COSTS, seed=7) == simulate(LOAD, VENDOR, COSTS, seed=7)
    assert simulate(LOAD, VENDOR, COSTS, seed=7) != simulate(LOAD, VENDOR, COSTS, seed=8)


# ── The command ──────────────────────────────────────────────────────────────────────────────────


def test_the_command_reads_costs_and_tells_all(tmp_path: Path) -> None:
    path = tmp_path / "costs.json"
    path.write_text(
        json.dumps({"append_change": 2e-5, "drain_change": 1e-5, "drain_batch": 0.002, "redis_change": 4e-6})
    )
    arguments = ["--costs", str(path), "--cost", "redis_batch", "0.0002", "--cost", "bytes_change", "160"]

    found = json.loads(CliRunner().invoke(main, [*arguments, "--audiences", "10", "--rate", "100", "--json"]).stdout)
    lines = CliRunner().invoke(main, [*arguments, "--audiences", "10", "--rate", "100"]).stdout.splitlines()

    assert found["needs"]["changes_a_batch"] == 601
    assert found["shares"]["calls_per_minute"] == pytest.approx(100 / 601 * 2 / (200 / 60))
    assert [line for line in lines if not line.startswith(" ")] == ["shares:", "needs:", "delays:"]


def costs(tmp_path: Path, **other: object) -> list[str]:
    path = tmp_path / "costs.json"
    path.write_text(json.dumps(asdict(COSTS) | other))
    return ["--costs", str(path)]


def test_what_is_too_much_is_told_first(tmp_path: Path) -> None:
    """The first round of all lanes takes longer than what is simulated: the delays would still grow."""
    arguments = [*costs(tmp_path), "--audiences", "1000", "--seconds", "300"]

    lines = CliRunner().invoke(main, arguments).stdout.splitlines()
    found = json.loads(CliRunner().invoke(main, [*arguments, "--json"]).stdout)
    enough = json.loads(CliRunner().invoke(main, [*costs(tmp_path), "--audiences", "10", "--json"]).stdout)

    assert lines[0].startswith("overload, more than max_in_flight, calls_per_minute allow: lanes fall behind")
    assert found["overloaded"] == ["max_in_flight", "calls_per_minute"]
    assert enough["overloaded"] == []


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "-1", "1e300"])
@pytest.mark.parametrize(
    "option",
    ["--rate", "--max-age-seconds", "--request-seconds", "--outage-hours", "--seconds", "--cost drain_batch"],
)
def test_a_number_that_makes_no_sense_is_refused_in_one_line(tmp_path: Path, option: str, value: str) -> None:
    result = CliRunner().invoke(main, [*costs(tmp_path), *option.split(), value])

    assert result.exit_code == 2
    (told,) = (line for line in result.stderr.splitlines() if line.startswith("Error: "))
    assert option.rsplit(maxsplit=1)[-1] in told


@pytest.mark.parametrize("kind", REGISTRY)
def test_a_batch_is_no_larger_than_the_kind_carries(tmp_path: Path, kind: str) -> None:
    most = REGISTRY[kind].max_changes
    arguments = [*costs(tmp_path), "--kind", kind, "--max-changes"]

    assert CliRunner().invoke(main, [*arguments, str(most)]).exit_code == 0
    result = CliRunner().invoke(main, [*arguments, str(most + 1)])

    assert result.exit_code == 2
    assert f"--max-changes: a request of {kind} carries at most {most:,}" in result.stderr


@pytest.mark.parametrize(
    ("content", "told"),
    [("[]", "no JSON object"), ("{", "no JSON: "), ('{"append_change": null}', "missing")],
)
def test_costs_that_cannot_be_read_are_told(tmp_path: Path, content: str, told: str) -> None:
    (tmp_path / "costs.json").write_text(content)

    result = CliRunner().invoke(main, ["--costs", str(tmp_path / "costs.json")])

    assert result.exit_code == 2
    assert told in result.stderr


@pytest.mark.parametrize("value", [None, "1", float("nan"), -1e-9, 2e9])
def test_what_is_no_cost_is_named(tmp_path: Path, value: object) -> None:
    result = CliRunner().invoke(main, costs(tmp_path, drain_change=value))

    assert result.exit_code == 2
    assert "Error: not from 0 to 1,000,000,000: drain_change" in result.stderr


def test_a_cost_that_is_missing_or_unknown_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="drain_batch"):
        read_costs(None, {"append_change": 1.0})
    result = CliRunner().invoke(main, ["--cost", "drain", "1"])

    assert result.exit_code == 2
    assert "append_change" in result.stderr
