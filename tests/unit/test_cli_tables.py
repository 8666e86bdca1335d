"""What `status` shows, as JSON and on terminals."""

import io

import pytest
from rich.console import Console

from cli.overview import NONE, Overview, as_json
from cli.tables import MOST_ROWS, draw
from worker.contract import LaneKey
from worker.destinations.base import DeadLetterSettings
from worker.store.deadletters import Stock
from worker.store.status import COUNTERS, DestinationStatus, Hold, LaneStatus

NOW = 1_795_000_000_000
LANE_HOLD = Hold("vendor unavailable: HTTP 503", NOW - 65_000, NOW + 30_000, 3)
BY_HAND = Hold("by hand", NOW - 1000, None, 0)


def lane(audience: str, *, waiting: int = 1, age_ms: int = 1000, hold: Hold | None = None) -> LaneStatus:
    return LaneStatus(LaneKey("shop", audience), waiting, NOW - age_ms if waiting else None, hold, leased=False)


def overview(
    *lanes: LaneStatus,
    name: str = "shop",
    kind: str | None = "criteo",
    hold: Hold | None = None,
    credential_hold: Hold | None = None,
    dead_letters: Stock = NONE,
    kept: DeadLetterSettings | None = None,
    notices: dict[str, str] | None = None,
    left_out: dict[str, int] | None = None,
    **counters: int,
) -> Overview:
    oldest = min((each.oldest_ms for each in lanes if each.oldest_ms is not None), default=None)
    counted = dict.fromkeys(COUNTERS, 0) | counters
    status = DestinationStatus(NOW, counted, hold, oldest, lanes, notices or {}, left_out or {})
    return Overview(name, kind, status, credential_hold, dead_letters, kept)


def drawn(*overviews: Overview, refused: dict[str, int] | None = None, width: int = 80) -> str:
    output = io.StringIO()
    Console(file=output, width=width).print(draw(overviews, refused or {}, width))
    return output.getvalue()


def test_a_destination_has_exactly_the_fields_that_were_promised() -> None:
    shop = overview(
        lane("vip", waiting=2, age_ms=1500),
        notices={"vip": "the audience has another ttl_in_hours"},
        left_out={"consent": 2},
        accepted=5,
        delivered=3,
        waiting=2,
    )

    found = as_json([shop], {"json": 1})

    assert found == {
        "destinations": [
            {
                "name": "shop",
                "kind": "criteo",
                "accepted": 5,
                "delivered": 3,
                "folded": 0,
                "buried": 0,
                "discarded": 0,
                "waiting": 2,
                "unaccounted": 0,
                "oldest_waiting_seconds": 1.5,
                "hold": None,
                "lanes": [
                    {"audience": "vip", "shard": 0, "waiting": 2, "oldest_waiting_seconds": 1.5, "hold": None},
                ],
                "duplicates": 0,
                "invalid_unnamed": 0,
                "expired": 0,
                "erased": 0,
                "dead_letters": {"count": 0, "oldest": None, "expiring": 0},
                "left_out": {"consent": 2},
                "notices": {"vip": "the audience has another ttl_in_hours"},
            },
        ],
        "refused": {"json": 1},
    }


def test_a_destination_that_only_redis_knows_has_no_kind() -> None:
    assert as_json([overview(kind=None)], {})["destinations"][0]["kind"] is None


def test_where_nothing_waits_there_is_no_oldest() -> None:
    found = as_json([overview(lane("vip", waiting=0, hold=LANE_HOLD))], {})["destinations"][0]

    assert found["oldest_waiting_seconds"] is None
    assert found["lanes"][0]["oldest_waiting_seconds"] is None


def test_a_hold_has_its_times_in_utc() -> None:
    found = as_json([overview(hold=LANE_HOLD)], {})["destinations"][0]

    assert found["hold"] == {
        "reason": "vendor unavailable: HTTP 503",
        "since": "2026-11-18T11:05:35.000Z",
        "until": "2026-11-18T11:07:10.000Z",
        "attempts": 3,
    }


def test_what_is_counted_beside_the_six_counters_has_keys_of_its_own() -> None:
    found = as_json([overview(duplicates=3, invalid_unnamed=2, expired=1)], {})["destinations"][0]

    assert (found["duplicates"], found["invalid_unnamed"], found["expired"]) == (3, 2, 1)


@pytest.mark.parametrize(
    ("stock", "kept", "expiring"),
    [
        (Stock(500, NOW - 1000, 0), DeadLetterSettings(), 0),
        (Stock(500, NOW - 1000, 20), DeadLetterSettings(), 20),
        (Stock(90, NOW - 1000, 0), DeadLetterSettings(max_count=100), 0),
        (Stock(95, NOW - 1000, 0), DeadLetterSettings(max_count=100), 5),
        (Stock(95, NOW - 1000, 30), DeadLetterSettings(max_count=100), 30),
        (Stock(95, NOW - 1000, 0), None, 0),
    ],
)
def test_dead_letters_that_are_nearly_too_old_or_too_many_will_soon_be_discarded(
    stock: Stock, kept: DeadLetterSettings | None, expiring: int
) -> None:
    found = as_json([overview(dead_letters=stock, kept=kept)], {})["destinations"][0]

    assert found["dead_letters"] == {"count": stock.total, "oldest": "2026-11-18T11:06:39.000Z", "expiring": expiring}


def test_a_hold_until_released_has_no_end() -> None:
    assert as_json([overview(hold=BY_HAND)], {})["destinations"][0]["hold"]["until"] is None


def test_a_held_credential_is_shown_as_the_hold_of_its_destinations() -> None:
    throttled = Hold("rate limited: HTTP 429", NOW, NOW + 5000, 1)

    found = as_json([overview(credential_hold=throttled), overview(hold=BY_HAND, credential_hold=throttled)], {})

    reasons = [each["hold"]["reason"] for each in found["destinations"]]
    assert reasons == ["rate limited: HTTP 429", "by hand"]


@pytest.mark.parametrize("width", [80, 200])
def test_the_tables_fit_the_terminal(width: int) -> None:
    many = 123_456_789
    text = drawn(
        overview(
            lane("a name of an audience that takes far more than its share of the room there is", hold=LANE_HOLD),
            name="criteo-shop-of-the-north",
            hold=LANE_HOLD,
            accepted=5 * many,
            delivered=many,
            folded=many,
            buried=many,
            discarded=many,
            waiting=many,
        ),
        width=width,
    )

    assert max(len(line) for line in text.splitlines()) <= width
    assert "vendor unavailable: HTTP 503" in " ".join(text.split())
    assert ("617,283,945" if width == 200 else "617.3M") in text


def test_a_hold_is_shown_with_how_long_it_lasts_and_what_to_do() -> None:
    text = drawn(overview(hold=LANE_HOLD))

    assert "shop: held for 1m 5s, 30s left, attempt 3" in text
    assert "audience-relay release shop" in text


def test_a_held_credential_is_shown_with_what_to_do() -> None:
    text = drawn(overview(credential_hold=LANE_HOLD))

    assert "Its credential is held. Before that ends: audience-relay release shop" in text


def test_what_is_counted_beside_is_shown_where_it_is_not_0() -> None:
    text = drawn(overview(duplicates=1200, expired=1), overview(name="calm", duplicates=0))

    assert "shop: duplicates left out 1,200, dead letters expired 1" in text
    assert "calm:" not in text


def test_dead_letters_that_will_soon_be_lost_are_shown_with_how_to_save_them() -> None:
    stock = Stock(1234, NOW - 28 * 86_400_000, 12)

    text = drawn(overview(dead_letters=stock, kept=DeadLetterSettings()))

    assert "shop: 12 dead letters will soon be discarded" in text
    assert "There are 1,234, the oldest buried 28d ago; at most 100,000 are kept, for 30d." in " ".join(text.split())
    assert "audience-relay dead-letters export --destination shop --output FILE" in text


def test_of_many_lanes_the_held_and_then_the_oldest_are_shown() -> None:
    waiting = [lane(f"young{number}", age_ms=number) for number in range(MOST_ROWS)]

    text = drawn(overview(*waiting, lane("old", age_ms=9_000_000), lane("held", age_ms=0, hold=LANE_HOLD)))

    assert text.index("held for 1m 5s") < text.index("old ") < text.index("young19")
    assert "young1 " not in text
    assert "and 2 more lanes" in text


def test_changes_that_nobody_can_account_for_are_called_a_fault() -> None:
    assert "3 changes are unaccounted for" in drawn(overview(accepted=4, delivered=1))


def test_what_was_refused_is_shown_by_reason_the_most_frequent_first() -> None:
    assert "source events refused: json 5, type 2" in drawn(overview(), refused={"type": 2, "json": 5})


def test_a_name_is_shown_as_it_is_also_when_it_looks_like_markup() -> None:
    assert "[bold]vip[/bold]" in drawn(overview(lane("[bold]vip[/bold]")))


def test_what_a_destination_does_not_get_is_shown_the_most_frequent_first() -> None:
    text = drawn(overview(left_out={"property plan": 2, "consent": 1_200}))

    assert "shop: of accepted events, left out consent 1,200, property plan 2" in text


def test_what_somebody_should_know_is_shown_with_its_subject() -> None:
    text = drawn(overview(notices={"api": "this version ends on 2027-01-27", "vip": "its ttl_in_hours is 24"}))

    assert "shop: this version ends on 2027-01-27" in text
    assert "shop vip: its ttl_in_hours is 24" in text


def test_the_lane_of_those_to_be_forgotten_is_called_so() -> None:
    waiting = LaneStatus(LaneKey.erasures("shop"), 2, NOW - 1000, None, leased=False)

    assert "(persons to be forgotten)" in drawn(overview(waiting))
