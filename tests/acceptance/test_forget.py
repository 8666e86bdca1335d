"""`forget` with real workers: the person is gone everywhere, and the receipt says so."""

import json
from typing import Any

from click.testing import CliRunner, Result

from cli.main import main
from tests.acceptance.conftest import Fleet
from tests.conftest import wait_until


def forget(fleet: Fleet, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["forget", *arguments, "--config", str(fleet.folder / "relay.toml")])


def receipts(result: Result) -> dict[str, dict[str, Any]]:
    return {each["destination"]: each for each in json.loads(result.stdout)["receipts"]}


def test_a_person_is_forgotten_everywhere_and_the_receipts_say_so(fleet: Fleet) -> None:
    for destination in ("criteo", "taboola", "stackadapt"):
        for audience in ("vip", "churn"):
            fleet.append(destination, audience, "jane", "joe")
    fleet.start_worker()
    wait_until(fleet.drained)
    assert all(len(fleet.members(vendor)) == 2 for vendor in ("criteo", "taboola", "stackadapt"))

    result = forget(fleet, "--email", " Jane@example.com", "--json")

    assert result.exit_code == 0, result.output
    found = receipts(result)
    facts = {name: (each["asked"], each["done"], each["audiences"]) for name, each in found.items()}
    assert facts == dict.fromkeys(("criteo", "taboola", "stackadapt"), (1, 1, 2))
    assert found["stackadapt"]["vendor"] == {"profiles_by_email": 1, "profiles_by_external_id": 0}
    for vendor in ("criteo", "taboola", "stackadapt"):
        assert len(fleet.members(vendor)) == len(fleet.members(vendor, "churn")) == 1
    again = forget(fleet, "--receipt", json.loads(result.stdout)["receipt"])
    assert again.exit_code == 0
    assert "1 of 1" in again.output


def test_without_workers_it_is_pending_and_what_cannot_be_reached_is_told(fleet: Fleet) -> None:
    result = forget(fleet, "--user-id", "u-1", "--email", "?", "--no-wait")

    assert result.exit_code == 1, result.output
    assert "--email: this is no email" in result.output
    assert "criteo: 1 handle could not be looked for; give an email" in result.output
    assert "taboola: 1 handle could not be looked for; give an email or a device id" in result.output
    assert "stackadapt: 1 handle could not be looked for; give an email" in result.output
    assert "stackadapt: 1 not done yet" in result.output
    assert fleet.counters("stackadapt") == {"accepted": 1, "waiting": 1}


def test_a_receipt_that_is_not_kept_is_a_failure(fleet: Fleet) -> None:
    result = forget(fleet, "--receipt", "nothing")

    assert result.exit_code == 2
    assert "no receipt nothing is kept" in result.output
