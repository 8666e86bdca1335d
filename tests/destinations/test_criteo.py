"""What is Criteo's own."""

from typing import Any

import pytest

from sandbox.app import Sandbox
from sandbox.criteo_access import CriteoSwitches
from tests.conftest import Clock
from tests.destinations.conftest import Bench, enters, leaves, open_bench
from worker.contract import Change, Identifier
from worker.edges import probe
from worker.errors import NeedsPerson
from worker.store.store import Store


def criteo(store: Store, clock: Clock, switches: CriteoSwitches | None = None, **settings: Any) -> Bench:
    sandbox = Sandbox(criteo=switches, clock=lambda: clock() / 1000)
    return open_bench("criteo", store, clock, sandbox, **settings)


def hold_of(bench: Bench) -> str:
    hold = bench.status().hold
    assert hold is not None
    return hold.reason


def test_the_list_is_found_by_its_exact_name_on_a_later_page(store: Store, clock: Clock) -> None:
    bench = criteo(store, clock)
    for number in range(250):
        bench.sandbox.criteo.add_segment("4711", f"list {number}")
    bench.append([enters("ada")], "list 249")
    bench.flush()

    assert bench.members("list 249") == {"ada@example.com"}
    assert (bench.requests("search"), bench.requests("create")) == (3, 0)


def test_what_was_found_is_remembered(store: Store, clock: Clock) -> None:
    bench = criteo(store, clock)
    for who in ("ada", "bob", "eve"):
        bench.append([enters(who)])
        bench.flush()

    assert (bench.requests("search"), bench.requests("create"), bench.requests("amend")) == (1, 1, 3)
    assert bench.requests("token") == 1


def test_a_remove_creates_no_list(store: Store, clock: Clock) -> None:
    bench = criteo(store, clock)
    bench.append([leaves("ada")])
    bench.flush()

    assert bench.requests("create") == 0


@pytest.mark.parametrize("failures", ["warnings", "errors", "status_400"])
def test_a_list_that_somebody_else_creates_meanwhile_is_used(store: Store, clock: Clock, failures: Any) -> None:
    bench = criteo(store, clock, CriteoSwitches(bulk_failures=failures))
    nothing_found = {"data": [], "meta": {"totalItems": 0}, "errors": [], "warnings": []}
    bench.sandbox.criteo.add_segment("4711", "vip")
    bench.fault(kind="status", status=200, json=nothing_found, match={"route": "search"})
    bench.append([enters("ada")])
    bench.flush()

    assert bench.members() == {"ada@example.com"}


def test_a_list_that_was_deleted_is_looked_for_and_created_again(store: Store, clock: Clock) -> None:
    bench = criteo(store, clock)
    bench.append([enters("ada")])
    bench.flush()
    gone = {"errors": [{"code": "audience-invalid", "type": "validation", "instance": "x"}], "warnings": []}
    bench.fault(kind="status", status=404, json=gone, match={"route": "amend"})
    bench.append([enters("bob")])
    bench.flush()

    assert bench.members() == {"ada@example.com", "bob@example.com"}


def test_identifiers_that_criteo_names_as_invalid_are_buried(store: Store, clock: Clock) -> None:
    bench = criteo(store, clock)
    bad = Change(entered=True, occurred_at=0, identifiers=(Identifier("email", "jkl@gmail"),))
    bench.append([enters("ada"), bad, enters("bob")])
    bench.flush()

    counters = bench.status().counters
    assert (counters["delivered"], counters["buried"]) == (2, 1)
    assert bench.members() == {"ada@example.com", "bob@example.com"}


@pytest.mark.parametrize("sample_size", [0, 1, 10])
def test_invalid_identifiers_beyond_the_sample_are_found(store: Store, clock: Clock, sample_size: int) -> None:
    bench = criteo(store, clock, CriteoSwitches(sample_size=sample_size))
    bad = [Change(entered=True, occurred_at=0, identifiers=(Identifier("email", f"{n}@x"),)) for n in range(3)]
    bench.append([enters("ada"), bad[0], enters("bob"), *bad[1:], enters("eve")])
    bench.flush()

    counters = bench.status().counters
    assert (counters["delivered"], counters["buried"]) == (3, 3)
    assert "invalid_unnamed" not in counters
    assert [letter.change for letter in store.dead_letters("shop")] == bad


def test_emails_are_hashed_on_request_and_never_twice(store: Store, clock: Clock) -> None:
    bench = criteo(store, clock, hash_emails=True)
    known = "b4c9a289323b21a01c3e940f150eb9b8c542587f1abfd8f0e1cc1ffc5e475514"  # of user@example.com
    hashed = Change(entered=True, occurred_at=0, identifiers=(Identifier("email", known),))
    bench.append([enters("user"), hashed])
    bench.flush()

    assert bench.members() == {known}
    assert bench.status().counters["folded"] == 1


def test_the_rate_limit_is_kept_without_a_single_429(store: Store, clock: Clock) -> None:
    bench = criteo(store, clock, CriteoSwitches(rate_limit=250, token_calls_counted=True))
    for number in range(120):
        bench.append([enters("ada")], f"audience {number}")
    clock.advance(seconds=61)
    for _ in range(1500):
        bench.flush_now()
        clock.advance(seconds=0.1)

    assert bench.status().counters["delivered"] == 120
    assert bench.answers(429) == 0


def test_a_long_conversation_ends_also_when_permits_are_scarce(store: Store, clock: Clock) -> None:
    """Each permit beyond the usual is waited for inside the conversation: begun anew it would never end."""
    bench = criteo(store, clock, CriteoSwitches(sample_size=3), calls_per_minute=20)
    for number in range(450):
        bench.sandbox.criteo.add_segment("4711", f"list {number}")
    bad = [Change(entered=True, occurred_at=0, identifiers=(Identifier("email", f"{n}@x"),)) for n in range(12)]
    for audience in ("one", "two"):
        bench.append([enters("ada"), *bad, enters("bob")], audience)
    for _ in range(4):
        bench.flush()

    assert bench.members("one") == bench.members("two") == {"ada@example.com", "bob@example.com"}
    counters = bench.status().counters
    assert counters["delivered"] + counters["buried"] == 28
    assert bench.requests("search") == 5, "once is enough for both"


@pytest.mark.parametrize(
    ("settings", "reason"),
    [({"api_version": "2023-10"}, "API version gone"), ({"api_version": "2031-01"}, "not found")],
)
def test_an_api_version_that_is_gone_needs_a_person(
    store: Store, clock: Clock, settings: dict[str, Any], reason: str
) -> None:
    bench = criteo(store, clock, **settings)
    bench.append([enters("ada")])
    bench.flush()

    assert hold_of(bench).startswith(reason)
    assert bench.status().counters["waiting"] == 1


@pytest.mark.parametrize("status", [400, 401])
def test_refused_client_credentials_hold_the_destination(store: Store, clock: Clock, status: Any) -> None:
    bench = criteo(store, clock, CriteoSwitches(refused_clients=frozenset({"relay"}), invalid_client_status=status))
    bench.append([enters("ada")])
    bench.flush()

    assert hold_of(bench).startswith("credentials refused")
    assert bench.requests("token") == 1


def test_the_probe_tells_an_advertiser_that_did_not_consent(store: Store, clock: Clock) -> None:
    bench = criteo(store, clock, CriteoSwitches(advertisers=frozenset({"1"})))

    with pytest.raises(NeedsPerson, match="4711"):
        probe(bench.edges)
