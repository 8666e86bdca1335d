"""What is Taboola's own."""

import hashlib
import json
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sandbox.app import Sandbox
from sandbox.taboola_switches import TaboolaSwitches
from tests.conftest import Clock
from tests.destinations.conftest import Bench, configured, counters, enters, leaves, open_bench
from worker.contract import Change, Identifier, LaneKey
from worker.destinations import REGISTRY
from worker.destinations.base import AudienceFacts, Destination, Entry, FoldedBatch, Request, Response
from worker.edges import audiences, open_gate, probe
from worker.errors import DeliveryError, NeedsPerson
from worker.store.store import Store

PHONE = "6D92078A-8246-4BA4-AE5B-76104861E7DC"
TABLET = "38400000-8cf0-11bd-b23e-10b96e40000d"
BY_ID: dict[str, Any] = {"audience_identifier": "external_audience_id"}


def taboola(store: Store, clock: Clock, switches: TaboolaSwitches | None = None, **settings: Any) -> Bench:
    return beside(Sandbox(taboola=switches, clock=lambda: clock() / 1000), store, clock, **settings)


def beside(sandbox: Sandbox, store: Store, clock: Clock, **settings: Any) -> Bench:
    return open_bench("taboola", store, clock, sandbox, **settings)


def person(email: str, *devices: str, entered: bool = True, at: int = 0) -> Change:
    return Change(
        entered, at, (Identifier("email", email), *(Identifier("device", each) for each in devices)), f"{email}-{at}"
    )


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def holds(bench: Bench) -> dict[str, str]:
    """Why lanes are held, by their audiences."""
    return {each.lane.audience: each.hold.reason for each in bench.status().lanes if each.hold is not None}


def held(bench: Bench) -> str:
    """Why the destination is held; blank: it is not."""
    hold = bench.status().hold
    return hold.reason if hold is not None else ""


def id_noted(bench: Bench, audience: str = "vip") -> str | None:
    return bench.edges.lanes.notes([f"audience:{audience}"]).get(f"audience:{audience}")


def flush_for(bench: Bench, minutes: int) -> None:
    """Each minute, flush each lane that is due."""
    for _ in range(minutes):
        bench.clock.advance(seconds=60)
        while bench.flush_now() is not None:
            pass


def destination(**settings: Any) -> Destination:
    return REGISTRY["taboola"](configured("taboola", **settings))


def ask(batch: FoldedBatch, *answers: Response, **settings: Any) -> list[Request]:
    """The requests of one conversation that is answered so, to its end or to the end of the answers."""
    conversation = destination(**settings).converse(batch, {})
    sent = [next(conversation)]
    with suppress(StopIteration):
        sent += [conversation.send(answer) for answer in answers]
    return sent


def batch(audience: str, *entries: Entry) -> FoldedBatch:
    return FoldedBatch(LaneKey("shop", audience), "b", removes=(), adds=entries)


def entry(*identifiers: Identifier) -> Entry:
    return Entry(0, identifiers or (Identifier("email", sha256("ada@example.com")),))


def answer(status: int = 200, **body: Any) -> Response:
    return Response(status, json.dumps(body).encode())


# ── People ───────────────────────────────────────────────────────────────────────────────────────


def test_one_person_is_one_cluster_of_a_hashed_email_and_device_ids_as_given(store: Store, clock: Clock) -> None:
    """The stand-in drops whole clusters, so that one shows."""
    bench = taboola(store, clock, TaboolaSwitches(remove_drops_cluster=True))
    bench.append([person("test@example.com", PHONE, TABLET), person("bob@example.com")])
    bench.flush()

    hashed = "973dfe463ec85785f5f95af5ba3906eedb2d931c24e69824a89ea65dba4e813b"
    assert bench.members() == {hashed, PHONE, TABLET, sha256("bob@example.com")}

    bench.append([leaves("test")])
    bench.flush()

    assert bench.members() == {sha256("bob@example.com")}


def test_a_shared_device_follows_the_newest_change(store: Store, clock: Clock) -> None:
    bench = taboola(store, clock)
    bench.append([person("ada@example.com", "tablet"), person("bob@example.com", "tablet", entered=False, at=1)])
    bench.flush()

    assert bench.members() == {sha256("ada@example.com")}


def test_only_what_taboola_may_know_is_sent() -> None:
    """An erasure may name phone numbers, or the MD5 of an email."""
    email = Identifier("email", sha256("ada@example.com"))
    others = (Identifier("phone", "+15555550100"), Identifier("email", "5" * 32), Identifier("user_id", "u-1"))
    known = batch("49", entry(email, *others), entry(*others))
    (request,) = ask(known, Response(200), **BY_ID)
    sent = json.loads(request.content)

    assert sent["identities"] == [{"cluster": [{"user_id": email.value, "type": "EMAIL_ID", "is_hashed": True}]}]
    with pytest.raises(StopIteration):
        next(destination(**BY_ID).converse(batch("49", entry(*others)), {}))


def test_whoever_is_forgotten_is_sought_in_every_form() -> None:
    def forms(type_: Any, value: str) -> list[str]:
        return [each.value for each in destination().aliases(Identifier(type_, value))]

    assert forms("email", "ada@example.com") == ["ada@example.com", sha256("ada@example.com")]
    assert forms("email", sha256("ada@example.com")) == [sha256("ada@example.com")]
    assert forms("device", PHONE) == [PHONE, PHONE.lower()]
    assert forms("device", TABLET) == [TABLET, TABLET.upper()]
    assert forms("device", "Ada's tablet") == ["Ada's tablet"]


# ── Audiences ────────────────────────────────────────────────────────────────────────────────────


def test_an_audience_known_by_its_id_is_neither_searched_nor_created(store: Store, clock: Clock) -> None:
    bench = taboola(store, clock, TaboolaSwitches(accept_unknown_audiences=True), **BY_ID)
    bench.append([enters("ada")], "9007199254740993")
    bench.flush()

    assert bench.members("9007199254740993") == {sha256("ada@example.com")}
    assert bench.requests("create") + bench.requests("audiences") == 0


def test_a_remove_finds_an_audience_but_creates_none(store: Store, clock: Clock) -> None:
    bench = taboola(store, clock)
    bench.append([enters("ada"), enters("bob")])
    bench.flush()
    bench.edges.lanes.keep_notes({"audience:vip": None})
    bench.append([leaves("ada")])
    bench.flush()
    bench.append([leaves("eve")], "unknown")
    bench.flush()

    assert bench.members() == {sha256("bob@example.com")}
    assert bench.requests("create") == 1


def test_a_pixel_audience_of_the_same_name_is_left_alone(store: Store, clock: Clock) -> None:
    bench = taboola(store, clock)
    bench.sandbox.taboola.add_audience(7, name="vip", kind="PIXEL")
    bench.append([leaves("ada")])
    bench.flush()

    assert counters(bench) == {"accepted": 1, "delivered": 1}
    assert bench.requests("amend") == 0


def test_an_own_audience_is_found_before_one_of_the_network(store: Store, clock: Clock) -> None:
    bench = taboola(store, clock, TaboolaSwitches(lists_all_accounts=True))
    bench.sandbox.taboola.add_audience(7, account="network", name="vip")
    bench.sandbox.taboola.add_audience(8, name="vip")
    bench.append([leaves("ada")])
    bench.flush()

    assert id_noted(bench) == "8"


@pytest.mark.parametrize(
    ("told", "exact"),
    [
        (9007199254740993, "9007199254740993"),
        ("9007199254740993", "9007199254740993"),
        (2**80 + 1, str(2**80 + 1)),
        (49.0, "49"),
    ],
)
def test_ids_are_kept_to_the_last_digit(store: Store, clock: Clock, told: object, exact: str) -> None:
    bench = taboola(store, clock, TaboolaSwitches(accept_unknown_audiences=True))
    bench.fault(kind="status", status=200, json={"audience_id": told}, match={"route": "create"})
    bench.append([enters("ada")])
    bench.flush()

    assert bench.members(exact) == {sha256("ada@example.com")}
    assert id_noted(bench) == exact


@pytest.mark.parametrize("told", [True, None, 49.5, 2.0**53, 10**100, "4 9", "-49", -49, [49], {}])
def test_what_is_no_id_is_not_taken_for_one(store: Store, clock: Clock, told: object) -> None:
    """Then the list of audiences tells it."""
    bench = taboola(store, clock)
    bench.sandbox.taboola.add_audience(77, name="vip")
    bench.fault(kind="status", status=200, json={"audience_id": told}, match={"route": "create"})
    bench.append([enters("ada")])
    bench.flush()

    assert id_noted(bench) == "77"
    assert bench.members() == {sha256("ada@example.com")}


@pytest.mark.parametrize(
    "switches",
    [
        TaboolaSwitches(existing_name="refused"),
        TaboolaSwitches(existing_name="refused", errors_in="xml"),
        TaboolaSwitches(create_tells="name"),
        TaboolaSwitches(create_tells="id", ids_as="text"),
        TaboolaSwitches(ids_as="decimal"),
    ],
)
def test_an_existing_audience_is_found_however_taboola_tells_of_it(
    store: Store, clock: Clock, switches: TaboolaSwitches
) -> None:
    bench = taboola(store, clock, switches)
    bench.sandbox.taboola.add_audience(49, name="vip")
    bench.append([enters("ada")])
    bench.flush()

    assert bench.members() == {sha256("ada@example.com")}


def test_an_audience_whose_id_is_told_nowhere_holds_its_lane(store: Store, clock: Clock) -> None:
    bench = taboola(store, clock, TaboolaSwitches(create_tells="name", listing_delay_seconds=3_000))
    bench.append([enters("ada")])
    bench.flush()

    assert holds(bench)["vip"].startswith("audience id not told")

    flush_for(bench, 60)

    assert bench.members() == {sha256("ada@example.com")}


def test_a_partners_name_is_sent_with_the_audience_and_with_users() -> None:
    created = answer(audience_id=49)
    plain = ask(batch("vip", entry()), created)
    named = ask(batch("vip", entry()), created, integration_source="acme.io")

    assert not any("integration_source" in json.loads(each.content) for each in plain)
    assert [json.loads(each.content)["integration_source"] for each in named] == ["acme.io", "acme.io"]


def test_the_audiences_of_the_account_are_told_as_lanes_name_them(store: Store, clock: Clock) -> None:
    sandbox = Sandbox(clock=lambda: clock() / 1000)
    sandbox.taboola.add_audience(7, name="vip")
    sandbox.taboola.add_audience(8, name="@home")
    sandbox.taboola.add_audience(9)
    sandbox.taboola.add_audience(10, name="visitors", kind="PIXEL")
    sandbox.taboola.add_audience(11, account="other", name="theirs")
    sandbox.taboola.set_size(7, 1200)
    by_name, by_id = beside(sandbox, store, clock), beside(sandbox, store, clock, **BY_ID)
    numbers = {"size": 0, "days": 365}

    assert audiences(by_name.edges, by_name.edges.sender(open_gate)) == [
        AudienceFacts("vip", "7", {"size": 1200, "days": 365}),
        AudienceFacts("@my-account/@home", "8", numbers),
        AudienceFacts("9", "9", numbers),
    ]
    assert [each.audience for each in audiences(by_id.edges, by_id.edges.sender(open_gate))] == ["7", "8", "9"]


# ── What an audience is created with ─────────────────────────────────────────────────────────────


def test_new_audiences_get_the_configured_life(store: Store, clock: Clock) -> None:
    bench = taboola(store, clock, ttl_in_hours=2)
    bench.append([enters("ada")])
    bench.flush()
    clock.advance(seconds=2 * 3600)

    assert bench.members() == set()


@pytest.mark.parametrize(
    ("stated", "created"),
    [
        ([{"ttl_in_hours": 48}], (48, False)),
        ([{"ttl_in_hours": 48.0, "exclude_from_campaigns": True}], (48, True)),
        ([{"ttl_in_hours": 48, "exclude_from_campaigns": True}, {"ttl_in_hours": 24}], (24, True)),
        ([{"ttl_in_hours": 48}, {}], (48, False)),
        ([{"ttl_in_hours": 0}], (8760, False)),
        ([{"ttl_in_hours": 2**31}], (8760, False)),
        ([{"ttl_in_hours": 1.5}], (8760, False)),
        ([{"ttl_in_hours": "48", "exclude_from_campaigns": "true"}], (8760, False)),
    ],
)
def test_an_audience_is_created_as_the_newest_event_says(
    stated: Sequence[dict[str, Any]], created: tuple[int, bool]
) -> None:
    entries = [Entry(at, (Identifier("device", f"{at}"),), settings) for at, settings in enumerate(stated)]
    sent = json.loads(ask(batch("vip", *entries[::-1]))[0].content)

    assert (sent["ttl_in_hours"], sent["exclude_from_campaigns"]) == created


def test_what_events_say_of_their_audience_is_read_where_audiences_are_created() -> None:
    paths = [each.paths for each in configured("taboola").reading().properties]

    assert paths == [
        ("context.personas.audience_settings.ttl_in_hours",),
        ("context.personas.audience_settings.exclude_from_campaigns",),
    ]
    assert configured("taboola", **BY_ID).reading().properties == ()


def test_an_audience_that_is_not_as_wanted_is_told_until_it_is(store: Store, clock: Clock) -> None:
    sandbox = Sandbox(clock=lambda: clock() / 1000)
    first = beside(sandbox, store, clock, ttl_in_hours=24, exclude_from_campaigns=True, integration_source="theirs")
    first.append([enters("ada")])
    first.flush()

    assert first.status().notices == {}

    first.edges.lanes.keep_notes({"audience:vip": None})
    second = beside(sandbox, store, clock, integration_source="ours")
    second.append([enters("bob")])
    second.flush()
    words = second.status().notices["vip"]

    assert "keeps people for 24 hours, not for 8760 hours" in words
    assert "has exclude_from_campaigns = true, not false" in words
    assert 'has integration_source = "theirs", not "ours"' in words
    assert "use an audience of another name" in words

    second.append([leaves("bob")])
    second.flush()

    assert second.status().notices == {"vip": words}

    first.append([enters("eve")])
    first.flush()

    assert first.status().notices == {}
    assert first.requests("create") == 2


def test_removes_do_not_take_back_what_was_told(store: Store, clock: Clock) -> None:
    """They seldom come with settings: an erasure has none."""
    bench = taboola(store, clock, ttl_in_hours=24)
    bench.append([enters("ada")])
    bench.flush()
    bench.edges.lanes.keep_notes({"audience:vip": None})
    bench.append([Change(True, 1, (Identifier("device", PHONE),), properties={"ttl_in_hours": 48})])
    bench.flush()
    bench.append([leaves("ada", at=2)])
    bench.flush()

    assert "keeps people for 24 hours, not for 48 hours" in bench.status().notices["vip"]


@pytest.mark.parametrize(
    ("switches", "ttl_in_hours", "told"),
    [
        (TaboolaSwitches(), 36, False),
        (TaboolaSwitches(days="up"), 36, False),
        (TaboolaSwitches(), 48, True),
        (TaboolaSwitches(), 24, False),
    ],
)
def test_days_are_compared_with_hours_as_they_may_be_rounded(
    store: Store, clock: Clock, switches: TaboolaSwitches, *, ttl_in_hours: int, told: bool
) -> None:
    """The audience was created with 36 hours, or 24 of them where those are wanted; a remove finds it by the list."""
    sandbox = Sandbox(taboola=switches, clock=lambda: clock() / 1000)
    made = beside(sandbox, store, clock, ttl_in_hours=min(ttl_in_hours, 36))
    made.append([enters("ada")])
    made.flush()
    made.edges.lanes.keep_notes({"audience:vip": None})
    bench = beside(sandbox, store, clock, ttl_in_hours=ttl_in_hours)
    bench.append([leaves("ada")])
    bench.flush()

    assert bench.requests("audiences") == 1
    assert ("keeps people for" in bench.status().notices.get("vip", "")) is told


# ── An audience that takes no users ──────────────────────────────────────────────────────────────

UNUSABLE = [
    TaboolaSwitches(ready_delay_seconds=3_000, unusable=form, errors_in=errors)
    for form in ("field", "message", "words", "not found")
    for errors in ("json", "xml")
]


@pytest.mark.parametrize("switches", UNUSABLE)
def test_an_audience_that_is_not_ready_holds_its_lane_alone(
    store: Store, clock: Clock, switches: TaboolaSwitches
) -> None:
    bench = taboola(store, clock, switches)
    bench.append([enters("ada")])
    bench.flush()

    assert holds(bench)["vip"].startswith("audience not usable: Taboola takes no users for audience 49")
    assert id_noted(bench) == "49"

    flush_for(bench, 60)

    assert bench.members() == {sha256("ada@example.com")}
    assert counters(bench) == {"accepted": 1, "delivered": 1}
    assert held(bench) == ""
    assert bench.requests("create") == 1


def test_an_audience_that_is_not_even_listed_yet_is_never_created_twice(store: Store, clock: Clock) -> None:
    bench = taboola(store, clock, TaboolaSwitches(ready_delay_seconds=3_000, listing_delay_seconds=1_500))
    bench.append([enters("ada")])
    flush_for(bench, 70)

    assert id_noted(bench) == "49"
    assert bench.members() == {sha256("ada@example.com")}


def test_an_audience_is_waited_for_where_the_list_may_not_be_read(store: Store, clock: Clock) -> None:
    bench = taboola(store, clock, TaboolaSwitches(ready_delay_seconds=3_000))
    bench.fault(kind="status", status=403, times=None, match={"route": "audiences"})
    bench.append([enters("ada")])
    bench.flush()

    assert holds(bench)["vip"].startswith("audience not usable")
    assert held(bench) == ""

    flush_for(bench, 60)

    assert bench.members() == {sha256("ada@example.com")}


def test_a_deleted_audience_is_created_again_for_adds(store: Store, clock: Clock) -> None:
    bench = taboola(store, clock)
    bench.append([enters("ada")])
    bench.flush()
    bench.sandbox.taboola.delete_audience(49)
    bench.append([enters("bob"), leaves("ada")])
    flush_for(bench, 2)

    assert id_noted(bench) == "50"
    assert bench.members() == {sha256("bob@example.com")}


def test_a_deleted_audience_is_not_created_again_for_removes(store: Store, clock: Clock) -> None:
    bench = taboola(store, clock)
    bench.append([enters("ada")])
    bench.flush()
    bench.sandbox.taboola.delete_audience(49)
    bench.append([leaves("ada")])
    bench.flush()

    assert counters(bench) == {"accepted": 2, "delivered": 2}
    assert id_noted(bench) is None
    assert bench.requests("create") == 1


def test_an_audience_that_somebody_made_anew_is_used(store: Store, clock: Clock) -> None:
    bench = taboola(store, clock)
    bench.append([enters("ada")])
    bench.flush()
    bench.sandbox.taboola.delete_audience(49)
    bench.sandbox.taboola.add_audience(77, name="vip")
    bench.append([enters("bob")])
    flush_for(bench, 2)

    assert id_noted(bench) == "77"
    assert bench.members() == {sha256("bob@example.com")}
    assert bench.requests("create") == 1


def test_a_name_that_only_a_pixel_audience_has_needs_a_person_in_its_lane(store: Store, clock: Clock) -> None:
    bench = taboola(store, clock)
    bench.sandbox.taboola.add_audience(7, name="vip", kind="PIXEL")
    bench.append([enters("ada")])
    bench.flush()

    assert "was not made by onboarding" in holds(bench)["vip"]
    assert held(bench) == ""


@pytest.mark.parametrize("form", ["field", "message", "words", "not found", "forbidden"])
@pytest.mark.parametrize("errors", ["json", "xml"])
def test_an_audience_given_by_its_id_holds_its_lane_with_advice(
    store: Store, clock: Clock, form: Any, errors: Any
) -> None:
    bench = taboola(store, clock, TaboolaSwitches(unusable=form, errors_in=errors), **BY_ID)
    bench.sandbox.taboola.add_audience(49)
    bench.append([enters("ada")], "48")
    bench.append([enters("ada")], "49")
    flush_for(bench, 1)

    assert list(holds(bench)) == ["48"]
    assert "check that it is one of the account, made by onboarding" in holds(bench)["48"]
    assert held(bench) == ""
    assert bench.members("49") == {sha256("ada@example.com")}
    assert counters(bench) == {"accepted": 2, "delivered": 1, "waiting": 1}


def test_a_lane_that_was_filled_under_another_identifier_is_held(store: Store, clock: Clock) -> None:
    bench = taboola(store, clock, **BY_ID)
    bench.append([enters("ada")], "vip")
    bench.flush()

    assert "filled under another audience_identifier" in holds(bench)["vip"]


# ── Accounts ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("errors", ["json", "xml"])
@pytest.mark.parametrize("foreign", ["forbidden", "unknown"])
def test_a_wrong_account_needs_a_person(store: Store, clock: Clock, foreign: Any, errors: Any) -> None:
    switches = TaboolaSwitches(accounts=frozenset({"my-account"}), foreign_account=foreign, errors_in=errors)
    bench = taboola(store, clock, switches, account_id="other")
    bench.append([enters("ada")])
    bench.flush()

    assert foreign in held(bench)
    assert counters(bench) == {"accepted": 1, "waiting": 1}


def test_an_events_own_account_gets_audiences_of_its_own(store: Store, clock: Clock) -> None:
    bench = taboola(store, clock)
    bench.append([enters("ada")], "vip")
    bench.append([enters("bob")], "@other/vip")
    bench.append([enters("eve")], "@my-account/@vip/gold")
    flush_for(bench, 1)

    assert bench.members("my-account/vip") == {sha256("ada@example.com")}
    assert bench.members("other/vip") == {sha256("bob@example.com")}
    assert bench.members("@vip/gold") == {sha256("eve@example.com")}
    assert id_noted(bench) != id_noted(bench, "@other/vip")


def test_events_may_name_their_account() -> None:
    account = configured("taboola").reading().account

    assert account is not None
    assert account._asdict() == {
        "path": "context.personas.audience_settings.account_id",
        "configured": "my-account",
        "api": "http://sandbox.test/taboola",
        "pattern": r"(?!\d+$)[a-z0-9-]{1,100}",
    }


STRANGE = "acme%2F..%2Fother%20network%3Fx%3D1%23y"


@pytest.mark.parametrize(
    ("account", "segment"), [(STRANGE, STRANGE), ("%40x", "%40x"), ("sch%C3%B6n", "sch%C3%B6n"), ("...", "...")]
)
def test_an_account_stays_one_segment_of_the_path(account: str, segment: str) -> None:
    (request,) = ask(batch(f"@{account}/vip", entry()))

    assert request.url == f"http://sandbox.test/taboola/backstage/api/1.0/{segment}/audience_onboarding/create"


@pytest.mark.parametrize("account", [".", "..", "%2E%2E", ""])
def test_an_account_that_would_lead_elsewhere_is_never_asked(store: Store, clock: Clock, account: str) -> None:
    bench = taboola(store, clock)
    bench.append([enters("ada")], f"@{account}/vip")
    bench.flush()

    assert holds(bench)[f"@{account}/vip"].startswith("unknown account")
    assert held(bench) == ""
    assert bench.requests("") == 0


@pytest.mark.parametrize(
    "fault",
    [
        {"status": 400, "html": "<h1>Ambiguous URI path separator</h1>"},
        {"status": 400, "json": {"message": "Bad request"}},
        {"status": 404, "json": {"message": "Resource not found"}},
        {"status": 403, "html": "<h1>Forbidden</h1>"},
        {"status": 405, "json": {"message": "Method not allowed"}},
        {"status": 302},
        None,
    ],
)
def test_accounts_that_events_name_hold_their_lanes_alone(
    store: Store, clock: Clock, fault: dict[str, Any] | None
) -> None:
    bench = taboola(store, clock, TaboolaSwitches(accounts=frozenset({"my-account"})))
    lanes = ["@other/vip", "@another/vip", "@third/vip", f"@{STRANGE}/vip"]
    for lane in lanes:
        bench.append([enters("ada")], lane)
    if fault:
        bench.fault(kind="status", times=None, match={"route": "create"}, **fault)
    flush_for(bench, 1)

    assert sorted(holds(bench)) == sorted(lanes)
    assert held(bench) == ""
    assert counters(bench) == {"accepted": 4, "waiting": 4}

    bench.fault(kind="status", status=200, times=0)
    bench.append([enters("bob")])
    flush_for(bench, 2)

    assert bench.members() == {sha256("bob@example.com")}


# ── What is refused, and how it is said ──────────────────────────────────────────────────────────


@pytest.mark.parametrize("errors", ["json", "xml"])
@pytest.mark.parametrize("limit", ["words", "vague"])
def test_somebody_refused_for_the_content_is_buried_alone(store: Store, clock: Clock, errors: Any, limit: Any) -> None:
    bench = taboola(store, clock, TaboolaSwitches(max_ids=2, over_limit=limit, errors_in=errors))
    fitting = [person(f"{at}@example.com", f"d-{at}") for at in range(7)]
    bench.append([*fitting, person("ada@example.com", PHONE, TABLET)])
    bench.flush()

    assert counters(bench) == {"accepted": 8, "delivered": 7, "buried": 1}
    assert len(bench.members()) == 14
    assert bench.edges.lanes.notes(["working_size"]) == {}
    (letter,) = bench.edges.dead_letters
    assert letter.change.identifiers[0].value == "ada@example.com"


def test_no_identifier_that_taboola_repeats_is_told_further(store: Store, clock: Clock) -> None:
    bench = taboola(store, clock)
    words = {"message": "no: 'D-17', d-17 and <d-17>", "offending_field": "user_id"}
    bench.fault(kind="status", status=400, json=words, times=None, match={"route": "amend"})
    bench.append([person("ada@example.com", "d-17")])
    bench.flush()

    (letter,) = bench.edges.dead_letters
    assert letter.reason.startswith("refused user_id: no: '…'")
    assert "-17" not in letter.reason


@pytest.mark.parametrize(
    "body",
    [
        {"html": "<html><body><h1>Bad Request</h1>your browser sent</body></html>"},
        {"html": "<html><body>Request Header Or Cookie Too Large</body></html>"},
        {"text": ""},
        {"text": "<errors><code>17</code></errors>"},
        {"text": "[" * 100_000},
        {"json": {}},
        {"json": []},
        {"json": {"message": None, "offending_field": 7}},
        {"json": {"message": {"text": "no"}}},
    ],
)
@pytest.mark.parametrize("route", ["amend", "create"])
def test_nobody_is_buried_for_what_cannot_be_read(store: Store, clock: Clock, body: dict[str, Any], route: str) -> None:
    bench = taboola(store, clock)
    bench.fault(kind="status", status=400, times=None, match={"route": route}, **body)
    bench.append([enters("ada")])
    bench.flush()

    assert holds(bench)["vip"].startswith("malformed answer: HTTP 400 without Taboola's words")
    assert held(bench) == ""
    assert counters(bench) == {"accepted": 1, "waiting": 1}


@pytest.mark.parametrize(
    "body",
    [
        {"html": "<html><body><p><b>Message</b> Unknown publisher</p></body></html>"},
        {"text": "<ApiError><message>Unknown publisher</message></ApiError>"},
        {"json": {"http_status": 400, "message": "Unknown publisher"}},
    ],
)
@pytest.mark.parametrize("settings", [{}, BY_ID])
def test_an_unknown_account_is_recognised_in_whatever_form(
    store: Store, clock: Clock, body: dict[str, Any], settings: dict[str, Any]
) -> None:
    bench = taboola(store, clock, **settings)
    bench.fault(kind="status", status=400, times=None, match={"route": "create|amend"}, **body)
    bench.append([enters("ada")], "49")
    bench.flush()

    assert held(bench).startswith("unknown account: Taboola does not know account 'my-account'")
    assert counters(bench) == {"accepted": 1, "waiting": 1}


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (400, "<BadClientCredentialsException><error>invalid_client</error></BadClientCredentialsException>"),
        (403, "<UnauthorizedException>Full authentication is required</UnauthorizedException>"),
        (400, '{"error": "unauthorized", "error_description": "Full authentication is required"}'),
    ],
)
def test_refused_credentials_are_recognised_whatever_the_status(
    store: Store, clock: Clock, status: int, text: str
) -> None:
    bench = taboola(store, clock)
    bench.fault(kind="status", status=status, text=text, times=None, match={"route": "create"})
    bench.append([enters("ada")])
    bench.flush()

    assert held(bench).startswith("credentials refused")


def test_credentials_refused_in_xml_hold_the_destination(store: Store, clock: Clock) -> None:
    switches = TaboolaSwitches(refused_clients=frozenset({"relay"}), errors_in="xml")
    bench = taboola(store, clock, switches)
    bench.append([enters("ada")])
    bench.flush()

    assert held(bench).startswith("credentials refused: the token endpoint refused")


@pytest.mark.parametrize("errors", ["json", "xml"])
def test_a_lone_change_is_not_buried_for_a_fault_of_the_account_or_the_audience(
    store: Store, clock: Clock, errors: Any
) -> None:
    """The words of the refusal blame nothing; the list of audiences does."""
    bench = taboola(store, clock, TaboolaSwitches(accept_unknown_audiences=True, errors_in=errors), **BY_ID)
    vague = {"http_status": 400, "message": "Bad request", "message_code": "api.action.bad_request.null"}
    bench.fault(kind="status", status=400, json=vague, match={"route": "amend"})
    bench.append([enters("ada")], "49")
    bench.flush()

    assert holds(bench)["49"].startswith("audience not usable")

    bench.fault(kind="status", status=400, json=vague, times=None)
    flush_for(bench, 3)

    assert holds(bench)["49"].startswith("request refused")
    assert held(bench) == ""
    assert counters(bench) == {"accepted": 1, "waiting": 1}


@pytest.mark.parametrize("limit", ["words", "vague", "413"])
@pytest.mark.parametrize("errors", ["json", "xml"])
def test_too_many_users_are_sent_in_parts(store: Store, clock: Clock, limit: Any, errors: Any) -> None:
    bench = taboola(store, clock, TaboolaSwitches(max_users=3, over_limit=limit, errors_in=errors))
    bench.append([enters(f"p{at}") for at in range(5)])
    bench.flush()

    assert len(bench.members()) == 5
    assert counters(bench) == {"accepted": 5, "delivered": 5}


@pytest.mark.parametrize(("status", "body"), [(413, {}), (400, {"html": "<html>Request Too Large</html>"})])
def test_one_person_is_never_too_large(store: Store, clock: Clock, status: int, body: dict[str, Any]) -> None:
    bench = taboola(store, clock)
    bench.fault(kind="status", status=status, times=None, match={"route": "amend"}, **body)
    bench.append([enters("ada"), enters("bob")])
    bench.flush()

    assert holds(bench)["vip"].startswith(f"malformed answer: HTTP {status}")
    assert counters(bench) == {"accepted": 2, "waiting": 2}


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, {"json": {"message": "Bad request", "message_code": "api.action.bad_request.null"}}),
        (400, {"json": {"message": "More than 255 characters", "offending_field": "audience_name"}}),
        (422, {"json": {"message": "Invalid value 'vip'", "offending_field": "audience_name"}}),
        (413, {"json": {"message": "Request too large"}}),
        (400, {"text": "<ApiError><message>Invalid</message></ApiError>"}),
    ],
)
def test_nobody_is_buried_for_an_audience_that_cannot_be_created(
    store: Store, clock: Clock, status: int, body: dict[str, Any]
) -> None:
    bench = taboola(store, clock)
    bench.fault(kind="status", status=status, times=None, match={"route": "create"}, **body)
    bench.append([enters("ada"), enters("bob")])
    bench.flush()

    assert holds(bench)["vip"].startswith("audience refused: Taboola does not create it")
    assert held(bench) == ""
    assert counters(bench) == {"accepted": 2, "waiting": 2}


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ({"status": 404, "json": {"message": "Resource not found"}}, "not found"),
        ({"status": 404, "html": "<h1>Not here</h1>"}, "not found"),
        ({"status": 405, "json": {"message": "Method not allowed"}}, "request refused: Method not allowed"),
        ({"status": 415, "json": {"message": "content type is not supported"}}, "request refused: content type"),
        ({"status": 400, "json": {"message": 'Unrecognized field "x"'}}, "request refused: Unrecognized field"),
        ({"status": 400, "json": {"message": "no", "offending_field": "operation"}}, "request refused: no"),
        ({"status": 410, "json": {}}, "API version gone"),
        ({"status": 301}, "redirected"),
        ({"status": 200, "json": {"http_status": 403, "message": "Requested action is forbidden"}}, "forbidden"),
    ],
)
def test_what_is_wrong_with_every_request_holds_the_destination(
    store: Store, clock: Clock, fault: dict[str, Any], reason: str
) -> None:
    bench = taboola(store, clock)
    bench.fault(kind="status", times=None, match={"route": "amend"}, **fault)
    bench.append([enters("ada")])
    bench.flush()

    assert held(bench).startswith(reason)
    assert counters(bench) == {"accepted": 1, "waiting": 1}


def test_a_partners_name_that_users_may_not_have_buries_nobody(store: Store, clock: Clock) -> None:
    bench = taboola(store, clock, TaboolaSwitches(source_with_users=False), integration_source="acme.io")
    bench.append([enters("ada")])
    bench.flush()

    assert "try without integration_source" in held(bench)
    assert counters(bench) == {"accepted": 1, "waiting": 1}


@pytest.mark.parametrize("body", [{}, {"json": {}}, {"json": None}, {"text": "OK"}])
def test_whatever_a_200_says_that_is_no_page_is_success(store: Store, clock: Clock, body: dict[str, Any]) -> None:
    bench = taboola(store, clock)
    bench.fault(kind="status", status=200, match={"route": "amend"}, **body)
    bench.append([enters("ada")])
    bench.flush()

    assert counters(bench) == {"accepted": 1, "delivered": 1}


@pytest.mark.parametrize("body", [{"text": ""}, {"json": {"metadata": {}}}, {"json": {"results": {}}}, {"html": "<p>"}])
def test_a_list_of_audiences_that_is_none_does_not_tell_that_there_is_none(
    store: Store, clock: Clock, body: dict[str, Any]
) -> None:
    bench = taboola(store, clock)
    bench.fault(kind="status", status=200, match={"route": "audiences"}, **body)
    bench.append([leaves("ada")])
    bench.flush()

    assert holds(bench)["vip"].startswith("malformed answer")
    assert counters(bench) == {"accepted": 1, "waiting": 1}


def test_a_rate_limit_that_names_no_time_holds_the_credential(store: Store, clock: Clock) -> None:
    bench = taboola(store, clock)
    bench.fault(kind="status", status=429)
    bench.append([enters("ada")])
    bench.flush()

    assert bench.edges.limits.held() is not None
    assert counters(bench) == {"accepted": 1, "waiting": 1}


_WORDS = st.one_of(st.text(), st.just("no 'd-1717' in d-1717"), st.just("Unknown audience '49'"))
_LEAVES = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), _WORDS)
_KEYS = st.sampled_from(["http_status", "message", "offending_field", "error", "audience_id", "results", "d-1717"])
_JSON = st.recursive(_LEAVES, lambda inner: st.lists(inner) | st.dictionaries(_KEYS, inner), max_leaves=12)
_BODIES = st.one_of(
    st.binary(max_size=60),
    _JSON.map(lambda tree: json.dumps(tree).encode()),
    st.text(alphabet="<>/!-[]&;a ", max_size=60).map(lambda text: f"<html>d-1717{text}".encode()),
)
_ANSWERS = st.builds(
    Response, st.sampled_from([200, 204, 302, 400, 401, 403, 404, 409, 413, 415, 422, 429, 500]), _BODIES
)


@given(answers=st.lists(_ANSWERS, min_size=6, max_size=6), by_id=st.booleans(), adds=st.booleans())
@settings(max_examples=300)
def test_whatever_taboola_answers_an_instruction_comes_of_it(
    answers: Sequence[Response], *, by_id: bool, adds: bool
) -> None:
    """A receipt, or an order that names nobody, though Taboola may repeat whom it was sent; and soon."""
    people = (entry(Identifier("device", "d-1717")),)
    one = FoldedBatch(LaneKey("shop", "49"), "b", removes=() if adds else people, adds=people if adds else ())
    conversation = destination(**(BY_ID if by_id else {})).converse(one, {})
    told = ""
    try:
        request = next(conversation)
        for each in answers:
            repeats = request.url.endswith("/audience_onboarding")
            content = each.content if repeats else each.content.replace(b"d-1717", b"")
            request = conversation.send(Response(each.status, content))
    except StopIteration:
        told = "a receipt"
    except DeliveryError as order:
        told = str(order)

    assert told
    assert "d-1717" not in told


# ── Trying the credentials ───────────────────────────────────────────────────────────────────────


def test_the_probe_tries_the_account_where_no_list_is_to_be_had(store: Store, clock: Clock) -> None:
    assert probe(taboola(store, clock, TaboolaSwitches(lists_accounts=False)).edges) == "account my-account can be read"


def test_the_probe_tries_an_account_that_half_a_list_does_not_have(store: Store, clock: Clock) -> None:
    bench = taboola(store, clock)
    half = {"results": [{"id": 1, "account_id": "first"}], "metadata": {"total": 700, "count": 1}}
    bench.fault(kind="status", status=200, json=half, match={"route": "accounts"})

    assert probe(bench.edges) == "account my-account can be read"


def test_the_probe_knows_an_account_by_its_number(store: Store, clock: Clock) -> None:
    bench = taboola(store, clock, account_id="1163")
    rows = {"results": [{"id": 1163, "account_id": "advertiser-1"}], "metadata": {"total": 1}}
    bench.fault(kind="status", status=200, json=rows, match={"route": "accounts"})

    with pytest.raises(NeedsPerson, match='that is the number of "advertiser-1"'):
        probe(bench.edges)
