"""What is Criteo's own: its limits, its answers, and what it tells. Lists and identifiers have their own tests."""

from collections.abc import Mapping
from typing import Any

import pytest

from sandbox.criteo import CriteoSwitches
from tests.conftest import Clock
from tests.destinations.conftest import Bench, enters, leaves
from tests.destinations.criteo_bench import criteo, envelope, flush_later, hold_of, lane_hold_of, problem
from worker.contract import Change, Identifier
from worker.destinations.base import AudienceFacts
from worker.edges import audiences, open_gate, probe
from worker.errors import NeedsPerson
from worker.outgoing import WORKING_SIZE
from worker.store.store import Store

# ── Invalid identifiers ──────────────────────────────────────────────────────────────────────────


def test_identifiers_that_criteo_names_as_invalid_are_buried(store: Store, clock: Clock) -> None:
    bench = criteo(store, clock)
    bad = Change(entered=True, occurred_at=0, identifiers=(Identifier("email", "jkl@gmail"),))
    bench.append([enters("ada"), bad, enters("bob")])
    bench.flush()

    counters = bench.status().counters
    assert (counters["delivered"], counters["buried"]) == (2, 1)
    assert bench.members() == {"ada@example.com", "bob@example.com"}


@pytest.mark.parametrize("sample_size", [None, 0, 1, 10])
def test_invalid_identifiers_beyond_the_sample_are_found(store: Store, clock: Clock, sample_size: int | None) -> None:
    bench = criteo(store, clock, CriteoSwitches(sample_size=sample_size))
    bad = [Change(entered=True, occurred_at=0, identifiers=(Identifier("email", f"{n}@x"),)) for n in range(3)]
    bench.append([enters("ada"), bad[0], enters("bob"), *bad[1:], enters("eve")])
    bench.flush()

    counters = bench.status().counters
    assert (counters["delivered"], counters["buried"]) == (3, 3)
    assert "invalid_unnamed" not in counters
    assert [letter.change for letter in store.dead_letters("shop")] == bad


@pytest.mark.parametrize("refuse_all_invalid", [False, True])
def test_a_change_that_is_invalid_alone_is_buried(store: Store, clock: Clock, *, refuse_all_invalid: bool) -> None:
    bench = criteo(store, clock, CriteoSwitches(refuse_all_invalid=refuse_all_invalid))
    bench.append([Change(entered=True, occurred_at=0, identifiers=(Identifier("email", "jkl@gmail"),))])
    bench.flush()

    assert bench.status().counters["buried"] == 1


@pytest.mark.parametrize(
    "attributes",
    [
        {"operation": "add"},
        {"operation": "add", "nbInvalidIdentifiers": None, "sampleInvalidIdentifiers": None},
        {"operation": "add", "nbInvalidIdentifiers": "none", "sampleInvalidIdentifiers": "none"},
        None,
    ],
)
def test_a_success_need_not_hold_counts(store: Store, clock: Clock, attributes: object) -> None:
    bench = criteo(store, clock)
    answer = {"data": {"type": "ContactlistAmendment", "attributes": attributes}, "errors": [], "warnings": []}
    bench.fault(kind="status", status=200, json=answer, match={"route": "amend"})
    bench.append([enters("ada")])
    bench.flush()

    assert bench.status().counters["delivered"] == 1


def test_a_deprecation_among_the_errors_of_a_success_is_none(store: Store, clock: Clock) -> None:
    bench = criteo(store, clock)
    answer = envelope(problem("deprecated-field", "deprecation")) | {"data": {"type": "ContactlistAmendment"}}
    bench.fault(kind="status", status=200, json=answer, match={"route": "amend"})
    bench.append([enters("ada")])
    bench.flush()

    assert bench.status().counters["delivered"] == 1


# ── Limits ───────────────────────────────────────────────────────────────────────────────────────


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


def test_no_amendment_has_more_identifiers_than_criteo_takes(store: Store, clock: Clock) -> None:
    """A change may have several device ids."""
    bench = criteo(store, clock, identifier_type="madid", batch={"max_changes": 50_000, "max_age_seconds": 60})
    devices = [Identifier("device", f"{number:032x}") for number in range(1, 60_001)]
    changes = [
        Change(entered=True, occurred_at=0, identifiers=tuple(devices[at : at + 20])) for at in range(0, 60_000, 20)
    ]
    bench.append(changes)
    bench.flush()

    assert len(bench.members()) == 60_000
    assert bench.requests("amend") == 2
    assert bench.answers(400) == bench.answers(413) == 0


TOO_MANY = envelope(problem("invalid-range") | {"detail": "There are more than 5000 identifiers"})


@pytest.mark.parametrize(
    "reaction", [{"status": 413}, {"status": 413, "json": TOO_MANY}, {"status": 400, "json": TOO_MANY}]
)
def test_a_batch_that_is_too_large_for_criteo_is_sent_in_parts(
    store: Store, clock: Clock, reaction: dict[str, Any]
) -> None:
    """As if its limit were lower than is known."""
    bench = criteo(store, clock)
    bench.fault(kind="status", match={"route": "amend"}, times=3, **reaction)
    bench.append([enters(f"user{number}") for number in range(20)])
    bench.flush()

    assert len(bench.members()) == 20
    assert bench.status().counters["buried"] == 0
    assert bench.edges.lanes.notes([WORKING_SIZE]) == {WORKING_SIZE: "5"}


# ── Failures ─────────────────────────────────────────────────────────────────────────────────────

PAGE = "<!doctype html><h1>Bad gateway</h1>"
DESTINATION: dict[str, tuple[dict[str, Any], str]] = {
    "a version that is gone": ({"status": 410}, "API version gone"),
    "a version that is gone, on a page": ({"status": 410, "html": PAGE}, "API version gone"),
    "another content type": ({"status": 415}, "request not understood"),
    "another method": ({"status": 405, "json": envelope(problem("method-not-allowed"))}, "request not understood"),
    "no permission": ({"status": 403}, "forbidden"),
    "no permission, with a code": ({"status": 403, "json": envelope(problem("insufficient-permissions"))}, "forbidden"),
    "no permission in a success": (
        {"status": 200, "json": envelope(problem("insufficient-permissions", "access_control"))},
        "forbidden",
    ),
    "no consent": (
        {"status": 403, "json": envelope(problem("insufficient-advertiser-permissions", "access-control"))},
        "advertiser refused",
    ),
    "no consent, as another endpoint says it": (
        {"status": 403, "json": envelope(problem("insufficient-advertisers-permissions", "access-control"))},
        "advertiser refused",
    ),
    "an issuer that is not recognised": (
        {"status": 401, "json": envelope(problem("authorization-issuer-invalid", "authorization"))},
        "credentials refused: authorization-issuer-invalid",
    ),
    "a token without a word": ({"status": 401}, "credentials refused"),
}


@pytest.mark.parametrize("route", ["search", "create", "amend"])
@pytest.mark.parametrize("what", DESTINATION)
def test_the_destination_is_held_for(what: str, route: str, store: Store, clock: Clock) -> None:
    fault, reason = DESTINATION[what]
    bench = criteo(store, clock)
    bench.fault(kind="status", times=2, match={"route": route}, **fault)
    bench.append([enters("ada")])
    bench.flush()

    assert hold_of(bench).startswith(reason)
    assert bench.status().counters["waiting"] == 1


LANE: dict[str, tuple[dict[str, Any], str]] = {
    "an outage": (
        {"status": 500, "json": envelope(problem("internal-error", "availability"))},
        "vendor unavailable: HTTP 500; internal-error No. (trace 56ed4096)",
    ),
    "a gateway's page": ({"status": 503, "html": PAGE}, "vendor unavailable: HTTP 503"),
    "an outage in a success": (
        {"status": 200, "json": envelope(problem("internal-error", "availability"))},
        "vendor error: internal-error",
    ),
    "a quota in a success": ({"status": 200, "json": envelope(problem("quota", "quota"))}, "vendor error: quota"),
    "a quota in a refusal": ({"status": 400, "json": envelope(problem("quota", "quota"))}, "vendor error: quota"),
    "a conflict": ({"status": 409, "json": envelope(problem("conflict"))}, "conflict: conflict No."),
}


@pytest.mark.parametrize("what", LANE)
def test_the_lane_is_held_for(what: str, store: Store, clock: Clock) -> None:
    fault, reason = LANE[what]
    bench = criteo(store, clock)
    bench.fault(kind="status", match={"route": "amend"}, **fault)
    bench.append([enters("ada")])
    bench.flush()

    assert lane_hold_of(bench).startswith(reason)
    assert (bench.status().counters["waiting"], hold_of(bench)) == (1, "")

    flush_later(bench)

    assert bench.members() == {"ada@example.com"}


@pytest.mark.parametrize("body", ["problem", "object", "empty", "html"])
@pytest.mark.parametrize("told", [{"rate_headers": "never"}, {"rate_headers": "refused"}, {"retry_after": True}])
def test_a_429_holds_the_credential_whatever_it_says(store: Store, clock: Clock, body: Any, told: Any) -> None:
    bench = criteo(store, clock, CriteoSwitches(rate_limit=0, rate_limit_body=body, **told))
    bench.append([enters("ada")])
    bench.flush()

    hold = bench.edges.limits.held()
    assert hold is not None
    assert hold.reason.startswith("rate limit")
    assert (bench.status().counters["waiting"], hold_of(bench), lane_hold_of(bench)) == (1, "", "")


@pytest.mark.parametrize("route", ["search", "create"])
@pytest.mark.parametrize("status", [400, 413, 418, 422, 200])
def test_nobody_is_buried_for_a_request_that_names_nobody(store: Store, clock: Clock, route: str, status: int) -> None:
    bench = criteo(store, clock)
    refusal = envelope(problem("invalid"))
    bench.fault(kind="status", status=status, json=refusal, match={"route": route})
    bench.append([enters("ada")])
    bench.flush()

    reason = "request refused" if route == "search" else "contact list not created"
    assert (hold_of(bench) or lane_hold_of(bench)).startswith(reason)
    assert (bench.status().counters["waiting"], bench.status().counters["buried"]) == (1, 0)


@pytest.mark.parametrize("status", [400, 422, 200])
def test_who_is_refused_for_good_is_buried_with_criteos_words(store: Store, clock: Clock, status: int) -> None:
    bench = criteo(store, clock)
    refusal = envelope(problem("invalid") | {"detail": "ada@example.com is not to be had"})
    bench.fault(kind="status", status=status, json=refusal, match={"route": "amend"})
    bench.append([enters("ada")])
    bench.flush()

    (letter,) = store.dead_letters("shop")
    assert letter.reason == "invalid: invalid … is not to be had (trace 56ed4096)"


@pytest.mark.parametrize("errors", [None, "none", 5, {"code": "x"}, [None, "x"], [{}]])
def test_problems_may_have_any_shape(store: Store, clock: Clock, errors: object) -> None:
    bench = criteo(store, clock)
    odd = {"data": None, "errors": errors, "warnings": errors}
    bench.fault(kind="status", status=403, json=odd, match={"route": "amend"})
    bench.append([enters("ada")])
    bench.flush()

    assert hold_of(bench).startswith("forbidden")


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


# ── What it tells of itself ──────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("version", ["2026-01", "2026-07", "2027-01"])
def test_a_version_that_still_lives_is_no_failure(store: Store, clock: Clock, version: str) -> None:
    bench = criteo(store, clock, api_version=version)
    bench.append([enters("ada")])
    bench.flush()

    assert bench.members() == {"ada@example.com"}


def test_the_probe_tells_an_advertiser_that_did_not_consent(store: Store, clock: Clock) -> None:
    bench = criteo(store, clock, CriteoSwitches(advertisers=frozenset({"1"})))

    with pytest.raises(NeedsPerson, match="4711"):
        probe(bench.edges)


def test_the_probe_believes_the_list_of_advertisers(store: Store, clock: Clock) -> None:
    bench = criteo(store, clock)
    granted = {"data": [{"id": "1", "type": "advertiser"}], "errors": [], "warnings": []}
    bench.fault(kind="status", status=200, json=granted, match={"route": "advertisers"})

    with pytest.raises(NeedsPerson, match="advertiser 4711 has not granted this app access"):
        probe(bench.edges)


def facts(bench: Bench) -> dict[str, Mapping[str, int | float | None]]:
    found = audiences(bench.edges, bench.edges.sender(open_gate))
    return {each.audience: each.numbers for each in found}


def test_audiences_have_their_statistics_once_criteo_has_counted(store: Store, clock: Clock) -> None:
    bench = criteo(store, clock, CriteoSwitches(statistics_delay_seconds=3600))
    bench.append([enters("ada"), enters("bob")])
    bench.flush()

    assert facts(bench) == {"vip": {"identifiers": None, "matches": None, "match_rate": None}}

    clock.advance(seconds=3600)

    assert facts(bench) == {"vip": {"identifiers": 2, "matches": 1, "match_rate": 50.0}}


def test_only_lists_that_the_destination_can_write_are_of_interest(store: Store, clock: Clock) -> None:
    bench = criteo(store, clock, audiences=["vip-*"])
    for number in range(120):
        bench.sandbox.criteo.add_segment("4711", f"list {number}")
    vip = bench.sandbox.criteo.add_segment("4711", "vip-1")
    bench.sandbox.criteo.add_segment("4711", "vip-2", type_="Lookalike")
    bench.sandbox.criteo.add_segment("4712", "vip-3")
    found = audiences(bench.edges, bench.edges.sender(open_gate))

    nothing = {"identifiers": None, "matches": None, "match_rate": None}
    assert found == [AudienceFacts("vip-1", vip, nothing)]
    assert (bench.requests("search"), bench.requests("statistics")) == (2, 1)


@pytest.mark.parametrize(
    "gone",
    [
        {"status": 404},
        {"status": 403},
        {"status": 403, "json": envelope(problem("audience-invalid"))},
        {"status": 400, "json": envelope(problem("segment-not-found"))},
    ],
)
def test_a_list_that_goes_away_meanwhile_is_left_out(store: Store, clock: Clock, gone: dict[str, Any]) -> None:
    bench = criteo(store, clock)
    for name in ("one", "two", "three"):
        bench.sandbox.criteo.add_segment("4711", name)
    bench.fault(kind="status", match={"route": "statistics"}, **gone)

    assert set(facts(bench)) == {"two", "three"}


def test_of_a_destination_with_a_fixed_list_only_that_is_shown(store: Store, clock: Clock) -> None:
    bench = criteo(store, clock, audiences=["vip"], audience_id="880002")
    for name in ("vip", "called otherwise"):
        bench.sandbox.criteo.add_segment("4711", name)
    bench.append([enters("ada"), leaves("bob")], "880002")
    bench.flush()

    assert facts(bench) == {"880002": {"identifiers": 1, "matches": 0, "match_rate": 0.0}}
    assert bench.requests("search") == 0

    bench.sandbox.criteo.remove_segment("880002")

    assert facts(bench) == {}
