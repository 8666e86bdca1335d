"""What holds for every kind of destination, each against its vendor's stand-in."""

from typing import Any

import pytest
from pydantic import ValidationError

from tests.destinations.conftest import FIRST_CHANGE, Bench, configured, counters, enters, leaves
from worker.contract import Change, Identifier, LaneKey
from worker.destinations import REGISTRY
from worker.destinations.base import Entry, FoldedBatch
from worker.edges import probe
from worker.errors import DeliveryError
from worker.outgoing import nameless


def held_for(bench: Bench) -> str:
    """The reason why the bench's one lane is held."""
    (lane,) = bench.status().lanes
    assert lane.hold is not None
    return lane.hold.reason


def test_who_entered_is_a_member_and_who_left_is_not(bench: Bench) -> None:
    bench.append([enters("ada"), enters("bob"), enters("eve"), leaves("bob")])
    bench.flush()
    bench.append([leaves("ada"), enters("bob", at=1)])
    bench.flush()

    assert bench.members() == {bench.form("bob@example.com"), bench.form("eve@example.com")}
    assert counters(bench) == {"accepted": 6, "delivered": 5, "folded": 1}


def test_the_same_change_again_is_not_taken_for_a_repetition(bench: Bench) -> None:
    for change in (enters("ada"), leaves("ada"), enters("ada")):
        bench.append([change])
        bench.flush()

    assert bench.members() == {bench.form("ada@example.com")}


def test_every_email_of_somebody_who_leaves_is_removed(bench: Bench) -> None:
    """Somebody to be forgotten may have several."""
    bench.append([enters("ada"), enters("bob"), enters("eve")])
    bench.flush()
    both = leaves("ada").identifiers + leaves("bob").identifiers
    bench.append([Change(entered=False, occurred_at=1, identifiers=both)])
    bench.flush()

    assert bench.members() == {bench.form("eve@example.com")}
    assert counters(bench) == {"accepted": 4, "delivered": 4}


def test_leaving_an_audience_that_does_not_exist_creates_nothing(bench: Bench) -> None:
    bench.append([leaves("ada")])
    bench.flush()

    assert bench.members() == set()
    assert counters(bench) == {"accepted": 1, "delivered": 1}


def test_audiences_of_one_destination_are_kept_apart(bench: Bench) -> None:
    bench.append([enters("ada")], "vip")
    bench.append([enters("bob")], 'chürn "o\'clock" 🎈')
    bench.flush()
    bench.flush()

    assert bench.members("vip") == {bench.form("ada@example.com")}
    assert bench.members('chürn "o\'clock" 🎈') == {bench.form("bob@example.com")}


FAULTS: dict[str, tuple[dict[str, Any], str]] = {
    "a server error": ({"kind": "status", "status": 500}, "vendor unavailable: HTTP 500"),
    "an HTML page from a proxy": ({"kind": "status", "status": 503, "html": "<h1>away</h1>"}, "vendor unavailable"),
    "an HTML page with a 200": ({"kind": "html_200"}, "malformed answer"),
    "a reset before it was processed": ({"kind": "reset_before"}, "connection lost"),
    "a reset after it was processed": ({"kind": "reset_after"}, "connection lost"),
}


@pytest.mark.parametrize("what", FAULTS)
def test_nothing_is_lost_by(what: str, bench: Bench) -> None:
    fault, reason = FAULTS[what]
    bench.append([enters("ada")])
    bench.flush()
    bench.append([enters("bob"), leaves("ada")])
    bench.fault(**fault)
    bench.flush()

    assert held_for(bench).startswith(reason)
    assert counters(bench) == {"accepted": 3, "delivered": 1, "waiting": 2}

    bench.append([leaves("bob", at=1), enters("eve")])
    bench.flush()

    assert bench.members() == {bench.form("eve@example.com")}
    assert counters(bench) == {"accepted": 5, "delivered": 4, "folded": 1}


def held_for_ms(bench: Bench) -> int:
    (lane,) = bench.status().lanes
    assert lane.hold is not None
    assert lane.hold.until_ms is not None
    return lane.hold.until_ms - bench.clock()


@pytest.mark.parametrize("status", [502, 504])
def test_behind_a_gateway_that_lost_its_answer_the_vendor_is_given_time(status: int, bench: Bench) -> None:
    bench.append([enters("ada")])
    bench.flush()
    bench.append([leaves("ada")])
    bench.fault(kind="status", status=status)
    bench.flush()

    assert held_for_ms(bench) >= bench.edges.schedule.settle_ms
    assert bench.edges.lanes.release(LaneKey("shop", "vip"))
    assert bench.flush_now() is None


@pytest.mark.parametrize("bench", ["criteo"], indirect=True)
def test_but_not_where_a_search_was_lost(bench: Bench) -> None:
    bench.append([enters("ada")])
    bench.fault(kind="status", status=504, match={"route": "search"})
    bench.flush()

    assert held_for_ms(bench) <= 2_000


def test_half_an_answer_is_no_success(bench: Bench) -> None:
    """The first request that changes something is cut short; Taboola's other answers are blank in any case."""
    bench.append([enters("ada")])
    bench.fault(kind="truncate", match={"route": FIRST_CHANGE[bench.kind]})
    bench.flush()

    assert held_for(bench).startswith("malformed answer")
    assert counters(bench) == {"accepted": 1, "waiting": 1}


def test_a_rate_limit_holds_the_credential_for_as_long_as_the_vendor_says(bench: Bench) -> None:
    bench.append([enters("eve")])
    bench.flush()
    bench.append([enters("ada")])
    bench.fault(kind="status", status=429, headers={"Retry-After": "120"})
    bench.flush()

    hold = bench.edges.limits.held()
    assert hold is not None
    assert hold.until_ms is not None
    assert hold.until_ms - hold.since_ms >= 120_000
    assert bench.flush() is None

    bench.clock.advance(seconds=120)
    bench.flush()

    assert bench.members() == {bench.form("ada@example.com"), bench.form("eve@example.com")}


def test_refused_credentials_hold_the_destination_and_bury_nothing(bench: Bench) -> None:
    bench.append([enters("ada")])
    bench.fault(kind="status", status=401, times=None)
    bench.flush()

    hold = bench.status().hold
    assert hold is not None
    assert hold.reason.startswith("credentials refused")
    assert counters(bench) == {"accepted": 1, "waiting": 1}


WITH_TOKEN_ENDPOINT = [kind for kind in sorted(REGISTRY) if REGISTRY[kind](configured(kind)).credential.token_url]


@pytest.mark.parametrize("bench", WITH_TOKEN_ENDPOINT, indirect=True)
def test_a_revoked_token_leads_to_one_renewal_and_one_repeat(bench: Bench) -> None:
    bench.append([enters("ada")])
    bench.flush()
    bench.fault(kind="revoke_tokens")
    bench.append([enters("bob")])
    bench.flush()

    assert bench.members() == {bench.form("ada@example.com"), bench.form("bob@example.com")}
    assert counters(bench) == {"accepted": 2, "delivered": 2}
    assert bench.requests("token") == 2


def test_three_faults_in_a_row_hold_the_destination(bench: Bench) -> None:
    bench.append([enters("ada")])
    bench.flush()
    bench.fault(kind="status", status=500, times=3)
    for audience in ("one", "two", "three"):
        bench.append([enters("ada")], audience)
    bench.clock.advance(seconds=61)
    flushed: list[object] = [bench.flush() for _ in range(3)]

    assert all(flushed)
    hold = bench.status().hold
    assert hold is not None
    assert hold.reason == "vendor unavailable: HTTP 500"


def test_the_probe_tells_good_credentials_from_bad_ones(bench: Bench) -> None:
    assert probe(bench.edges)

    bench.fault(kind="status", status=403, times=None)

    with pytest.raises(DeliveryError):
        probe(bench.edges)


@pytest.mark.parametrize("kind", sorted(REGISTRY))
def test_no_batch_may_be_configured_that_a_request_cannot_carry(kind: str) -> None:
    most = REGISTRY[kind].max_changes

    assert configured(kind, batch={"max_changes": most}).batch.max_changes == most
    with pytest.raises(ValidationError):
        configured(kind, batch={"max_changes": most + 1})


def test_no_reason_of_a_refusal_names_whom_it_is_about() -> None:
    """Vendors repeat what they do not like."""
    batch = FoldedBatch(
        LaneKey("shop", "vip"),
        "b1",
        removes=(Entry(0, (Identifier("gum", "gum-of-ada"), Identifier("device", "xy"))),),
        adds=(Entry(1, (Identifier("email", "bob@example.com"),), {"first_name": "Robert Q", "age": 42}),),
    )

    told = nameless("gum-of-ada and bob@example.com, called 'Robert Q', not xy or 42", batch)

    assert told == "… and …, called '…', not xy or 42"
