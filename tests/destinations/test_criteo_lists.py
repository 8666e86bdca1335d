"""Which contact list of Criteo an audience is, and what happens when it is not to be had."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from sandbox.criteo import CriteoSwitches
from tests.conftest import Clock
from tests.destinations.conftest import Bench, enters, leaves
from tests.destinations.criteo_bench import (
    criteo,
    envelope,
    flush_all,
    flush_later,
    hold_of,
    lane_hold_of,
    problem,
    settings,
)
from worker.destinations.base import Request, Response
from worker.destinations.criteo import Criteo
from worker.edges import probe
from worker.errors import NeedsPerson
from worker.store.store import Store

NOTHING_FOUND = {"data": [], "meta": {"totalItems": 0}, "errors": [], "warnings": []}


# ── Found by name ────────────────────────────────────────────────────────────────────────────────


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


@pytest.mark.parametrize("meta", [{}, {"meta": None}, {"meta": {"limit": 0}}])
def test_a_search_that_does_not_tell_how_much_there_is_ends(meta: dict[str, Any]) -> None:
    """Its pages here are always the same one, as if the offset did not count."""
    page = Response(200, Request.json("POST", "", {"data": [{"id": "1", "attributes": {"name": "a"}}]} | meta).content)
    searches = Criteo(settings()).audiences()
    next(searches)
    asked = [searches.send(page) for _ in range(2)]

    assert "offset=1" in asked[0].url
    assert asked[1].url.endswith("/1/contact-list/statistics")


@pytest.mark.parametrize(
    "rows", [None, "none", 5, {"id": "1"}, [None, {"id": None}, {"id": "1", "attributes": "none"}]]
)
def test_a_search_may_find_anything(store: Store, clock: Clock, rows: object) -> None:
    bench = criteo(store, clock)
    bench.fault(kind="status", status=200, json={"data": rows, "meta": "none"}, match={"route": "search"})
    bench.append([enters("ada")])
    bench.flush()

    assert bench.members() == {"ada@example.com"}


# ── Created ──────────────────────────────────────────────────────────────────────────────────────


def race(store: Store, clock: Clock, **switches: Any) -> Bench:
    """Somebody else creates the list between our search and our creation."""
    bench = criteo(store, clock, CriteoSwitches(**switches))
    bench.sandbox.criteo.add_segment("4711", "vip")
    bench.fault(kind="status", status=200, json=NOTHING_FOUND, match={"route": "search"})
    bench.append([enters("ada")])
    bench.flush()
    return bench


@pytest.mark.parametrize("nothing_done", ["empty", "null", "missing"])
@pytest.mark.parametrize("failures", ["warnings", "errors", "status_400", "status_409", "silent"])
def test_a_list_that_somebody_else_creates_meanwhile_is_used(
    store: Store, clock: Clock, failures: str, nothing_done: str
) -> None:
    bench = race(store, clock, bulk_failures=failures, nothing_done=nothing_done)

    assert bench.members() == {"ada@example.com"}
    assert (bench.requests("search"), bench.requests("create")) == (2, 1)


def test_a_conflict_without_a_word_means_a_taken_name(store: Store, clock: Clock) -> None:
    bench = criteo(store, clock)
    bench.sandbox.criteo.add_segment("4711", "vip")
    bench.fault(kind="status", status=409, match={"route": "create"})
    bench.edges.lanes.keep_notes({"searched": "yes"})
    bench.append([enters("ada")])
    bench.flush()

    assert bench.members() == {"ada@example.com"}


@pytest.mark.parametrize("nothing_done", ["empty", "null", "missing"])
def test_a_creation_whose_answer_holds_nothing_is_looked_for(store: Store, clock: Clock, nothing_done: Any) -> None:
    bench = criteo(store, clock, CriteoSwitches(creations_told=False, nothing_done=nothing_done))
    bench.append([enters("ada")])
    bench.flush()

    assert bench.members() == {"ada@example.com"}
    assert bench.requests("create") == 1


@pytest.mark.parametrize("creations_told", [True, False])
def test_a_warning_of_a_deprecation_stands_in_no_ones_way(store: Store, clock: Clock, *, creations_told: bool) -> None:
    bench = criteo(store, clock, CriteoSwitches(deprecation_warnings=True, creations_told=creations_told))
    bench.append([enters("ada")])
    bench.flush()

    assert bench.members() == {"ada@example.com"}


@pytest.mark.parametrize("failures", ["warnings", "errors", "status_400", "status_409"])
@pytest.mark.parametrize(("name", "code"), [(" ", "name-must-not-be-empty"), ("a longer name", "invalid-range")])
def test_a_name_that_criteo_refuses_holds_its_lane_alone(
    store: Store, clock: Clock, failures: Any, name: str, code: str
) -> None:
    bench = criteo(store, clock, CriteoSwitches(bulk_failures=failures, max_name_length=3))
    bench.append([enters("ada")], name)
    bench.append([enters("bob")], "vip")
    flush_all(bench)

    assert code in lane_hold_of(bench, name)
    assert lane_hold_of(bench, name).startswith(("contact list not created", "conflict"))
    assert hold_of(bench) == lane_hold_of(bench, "vip") == ""
    assert bench.members("vip") == {"bob@example.com"}
    assert (bench.status().counters["waiting"], bench.status().counters["buried"]) == (1, 0)


def test_a_name_that_another_kind_of_segment_has_holds_the_lane(store: Store, clock: Clock) -> None:
    bench = criteo(store, clock)
    bench.sandbox.criteo.add_segment("4711", "vip", type_="Lookalike")
    bench.append([enters("ada")])
    bench.flush()

    assert lane_hold_of(bench).startswith("contact list not created: the name is taken")
    assert hold_of(bench) == ""


def test_a_failure_that_nobody_tells_is_tried_again(store: Store, clock: Clock) -> None:
    bench = criteo(store, clock, CriteoSwitches(bulk_failures="silent", max_segments=0))
    bench.append([enters("ada")])
    for _ in range(4):
        flush_later(bench)

    assert lane_hold_of(bench).startswith("contact list not created: Criteo neither shows it nor says why")
    assert hold_of(bench) == ""

    bench.sandbox.criteo.switches = CriteoSwitches()
    flush_later(bench)

    assert bench.members() == {"ada@example.com"}


@pytest.mark.parametrize("failures", ["warnings", "errors", "status_400"])
def test_a_quota_of_lists_concerns_new_audiences_alone(store: Store, clock: Clock, failures: Any) -> None:
    bench = criteo(store, clock, CriteoSwitches(bulk_failures=failures, max_segments=1))
    bench.sandbox.criteo.add_segment("4711", "old")
    for audience in ("one", "two", "three", "old"):
        bench.append([enters("ada")], audience)
    for _ in range(2):
        flush_all(bench)

    assert lane_hold_of(bench, "one").startswith("vendor error: too-many-segments")
    assert hold_of(bench) == ""
    assert bench.members("old") == {"ada@example.com"}


# ── Gone ─────────────────────────────────────────────────────────────────────────────────────────


def gone(store: Store, clock: Clock, **switches: Any) -> Bench:
    """Ada and Cid were delivered; then somebody deleted the list."""
    bench = criteo(store, clock, CriteoSwitches(**switches))
    bench.append([enters("ada"), enters("cid")])
    bench.flush()
    (list_id,) = bench.sandbox.criteo.segment_ids("vip")
    bench.sandbox.criteo.remove_segment(list_id)
    return bench


REFUSALS: Sequence[dict[str, Any]] = (
    {"unknown_list": 404},
    {"unknown_list": 403},
    {"unknown_list": 403, "list_problem": "authorization"},
    {"unknown_list": 400},
    {"unknown_list": 404, "list_code": "segment-not-found"},
    {"unknown_list": 404, "list_code": "whatever"},
)


@pytest.mark.parametrize("switches", REFUSALS)
def test_a_list_that_was_deleted_is_looked_for_and_created_again(
    store: Store, clock: Clock, switches: dict[str, Any]
) -> None:
    bench = gone(store, clock, **switches)
    bench.append([leaves("ada"), enters("bob")])
    bench.flush()

    assert bench.members() == {"bob@example.com"}
    assert (bench.requests("search"), bench.requests("create")) == (2, 2)
    assert bench.status().counters["delivered"] == 4


@pytest.mark.parametrize("switches", REFUSALS)
def test_nothing_is_created_to_remove_people(store: Store, clock: Clock, switches: dict[str, Any]) -> None:
    bench = gone(store, clock, **switches)
    bench.append([leaves("ada"), leaves("bob")])
    bench.flush()

    assert (bench.requests("search"), bench.requests("create"), bench.requests("amend")) == (2, 1, 2)
    assert bench.status().counters["delivered"] == 4


def test_a_list_that_was_made_anew_by_hand_is_found(store: Store, clock: Clock) -> None:
    bench = gone(store, clock)
    bench.sandbox.criteo.add_segment("4711", "vip")
    bench.append([leaves("ada"), enters("bob")])
    bench.flush()

    assert bench.members() == {"bob@example.com"}
    assert bench.requests("create") == 1


def test_a_success_that_says_that_there_is_no_such_segment_is_none(store: Store, clock: Clock) -> None:
    """Bulk calls tell it as a warning."""
    bench = criteo(store, clock)
    warning = {"data": {}, "errors": [], "warnings": [problem("segment-not-found")]}
    bench.fault(kind="status", status=200, json=warning, match={"route": "amend"})
    bench.append([enters("ada")])
    bench.flush()

    assert bench.members() == {"ada@example.com"}


@pytest.mark.parametrize("status", [403, 404])
def test_a_list_that_is_shown_but_takes_nothing_holds_its_lane_alone(store: Store, clock: Clock, status: int) -> None:
    bench = criteo(store, clock)
    bench.fault(
        kind="status", status=status, json=envelope(problem("audience-invalid")), match={"route": "amend"}, times=2
    )
    bench.append([enters("ada"), leaves("bob")])
    bench.clock.advance(seconds=1)
    bench.append([enters("bob")], "other")
    flush_all(bench)

    assert lane_hold_of(bench).startswith("contact list refused: audience-invalid No. (trace 56ed4096)")
    assert hold_of(bench) == ""
    assert bench.members("other") == {"bob@example.com"}

    flush_later(bench)

    assert bench.members() == {"ada@example.com"}


# ── Read-only ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("change", [enters("ada"), leaves("ada")])
def test_a_read_only_list_holds_its_lane_until_it_is_writable(store: Store, clock: Clock, change: Any) -> None:
    bench = criteo(store, clock, CriteoSwitches(read_only=frozenset({"vip"})))
    bench.sandbox.criteo.add_segment("4711", "vip")
    bench.append([change])
    bench.flush()
    flush_later(bench)

    assert lane_hold_of(bench).startswith("contact list is read-only: have Criteo make it writable")
    assert hold_of(bench) == ""
    assert (bench.requests("search"), bench.requests("create"), bench.requests("amend")) == (2, 0, 0)

    bench.sandbox.criteo.switches = CriteoSwitches()
    flush_later(bench)

    assert bench.status().counters["delivered"] == 1
    assert bench.members() == ({"ada@example.com"} if change.entered else set())


def test_a_read_only_list_that_is_deleted_is_made_anew(store: Store, clock: Clock) -> None:
    bench = criteo(store, clock, CriteoSwitches(read_only=frozenset({"vip"})))
    list_id = bench.sandbox.criteo.add_segment("4711", "vip")
    bench.append([enters("ada")])
    bench.flush()
    bench.sandbox.criteo.remove_segment(list_id)
    bench.sandbox.criteo.switches = CriteoSwitches()
    flush_later(bench)

    assert bench.members() == {"ada@example.com"}


def test_a_read_only_list_leaves_other_audiences_alone(store: Store, clock: Clock) -> None:
    bench = criteo(store, clock, CriteoSwitches(read_only=frozenset({"vip"})))
    bench.sandbox.criteo.add_segment("4711", "vip")
    bench.append([enters("ada")], "vip")
    bench.append([enters("ada")], "other")
    flush_all(bench)

    assert bench.members("other") == {"ada@example.com"}
    assert bench.members("vip") == set()


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, "audience-invalid"),
        (403, "audience-invalid"),
        (404, "audience-invalid"),
        (409, "audience-is-read-only"),
        (200, "audience-invalid"),
        (400, "not-possible"),
        (200, "not-possible"),
    ],
)
def test_a_list_that_becomes_read_only_costs_nobody_the_membership(
    store: Store, clock: Clock, status: Any, code: str
) -> None:
    bench = criteo(store, clock)
    bench.append([enters("ada")])
    bench.flush()
    read_only = CriteoSwitches(read_only=frozenset({"vip"}), read_only_list=status, list_code=code)
    bench.sandbox.criteo.switches = read_only
    bench.append([enters("bob")])
    bench.flush()

    assert lane_hold_of(bench).startswith("contact list is read-only")
    assert bench.status().counters["buried"] == 0

    bench.sandbox.criteo.switches = CriteoSwitches()
    flush_later(bench)

    assert bench.members() == {"ada@example.com", "bob@example.com"}


# ── A fixed list ─────────────────────────────────────────────────────────────────────────────────


def fixed(store: Store, clock: Clock, switches: CriteoSwitches | None = None, list_id: str = "880001") -> Bench:
    """The id is that of the first list that the stand-in knows."""
    return criteo(store, clock, switches, audiences=["vip"], audience_id=list_id)


def test_a_fixed_list_is_used_as_it_is(store: Store, clock: Clock) -> None:
    bench = fixed(store, clock)
    list_id = bench.sandbox.criteo.add_segment("4711", "called otherwise")
    bench.append([enters("ada"), enters("bob")], list_id)
    bench.flush()
    bench.append([leaves("ada"), enters("eve")], list_id)
    bench.flush()

    assert bench.members("called otherwise") == {"bob@example.com", "eve@example.com"}
    assert (bench.requests("search"), bench.requests("create")) == (0, 0)


@pytest.mark.parametrize("change", [enters("ada"), leaves("ada")])
@pytest.mark.parametrize("switches", [*REFUSALS, {"foreign_list": 403, "advertisers": frozenset({"1"})}])
def test_a_fixed_list_that_is_gone_holds_its_lane(
    store: Store, clock: Clock, switches: dict[str, Any], change: Any
) -> None:
    bench = fixed(store, clock, CriteoSwitches(**switches))
    bench.append([change], "880001")
    bench.flush()

    assert lane_hold_of(bench, "880001").startswith("contact list refused")
    assert "check audience_id" in lane_hold_of(bench, "880001")
    assert (bench.requests("search"), bench.requests("create")) == (0, 0)
    assert (bench.status().counters["waiting"], hold_of(bench)) == (1, "")


def test_a_fixed_list_never_takes_what_waits_for_another(store: Store, clock: Clock) -> None:
    """It came while the destination found lists by name."""
    bench = fixed(store, clock)
    bench.sandbox.criteo.add_segment("4711", "vip")
    bench.append([enters("ada"), leaves("bob")], "churned")
    bench.flush()

    assert lane_hold_of(bench, "churned").startswith("another contact list")
    assert bench.requests("amend") == 0


def test_people_still_leave_a_list_from_before_another_was_fixed(store: Store, clock: Clock) -> None:
    """Else nobody could be forgotten there."""
    before = criteo(store, clock)
    before.append([enters("ada"), enters("bob")])
    before.flush()
    bench = Bench("criteo", before.sandbox, fixed(store, clock, list_id="880002").edges, clock)
    bench.sandbox.criteo.add_segment("4711", "other")
    bench.edges = replace(bench.edges, client=before.edges.client)
    bench.append([leaves("ada")])
    bench.append([enters("eve")], "880002")
    flush_all(bench)

    assert bench.members("vip") == {"bob@example.com"}
    assert bench.members("other") == {"eve@example.com"}


def test_the_probe_looks_at_a_fixed_list(store: Store, clock: Clock) -> None:
    bench = fixed(store, clock, list_id="880002")
    bench.sandbox.criteo.add_segment("4711", "other")
    with pytest.raises(NeedsPerson, match="list missing: advertiser 4711 has no contact list with the id 880002"):
        probe(bench.edges)

    bench.sandbox.criteo.add_segment("4711", "vip")

    assert probe(bench.edges) == "contact list 880002 of advertiser 4711 is there and can be changed"

    bench.sandbox.criteo.switches = CriteoSwitches(read_only=frozenset({"vip"}))
    with pytest.raises(NeedsPerson, match="contact list is read-only"):
        probe(bench.edges)


@pytest.mark.parametrize(("advertiser", "type_"), [("4712", "ContactList"), ("4711", "Lookalike")])
def test_the_probe_tells_a_fixed_list_that_is_another_thing(
    store: Store, clock: Clock, advertiser: str, type_: Any
) -> None:
    bench = fixed(store, clock)
    bench.sandbox.criteo.add_segment(advertiser, "vip", type_=type_)

    with pytest.raises(NeedsPerson, match="contact list missing"):
        probe(bench.edges)
