"""Dead letters in a real Redis: replayed at the head, superseded by newer changes, bounded by age and count."""

from datetime import timedelta

import pytest
from redis import Redis

from tests.conftest import Clock
from worker.batching import Burial, Settlement
from worker.contract import Change, Identifier, LaneKey, Waiting
from worker.destinations.base import sha256_hex
from worker.store import deadletters
from worker.store.deadletters import DeadLetters, Replayed, Stock
from worker.store.lanes import Bounds, Lanes, Lease, Schedule
from worker.store.status import COUNTERS
from worker.store.store import Store

LANE = LaneKey("shop", "vip")
SCHEDULE = Schedule(max_changes=2, max_age_ms=1_000, max_in_flight=2, settle_ms=20_000)


def email(who: str) -> Identifier:
    return Identifier("email", f"{who}@example.com")


def change(who: str, *, at: int = 0, message_id: str = "") -> Change:
    return Change(entered=True, occurred_at=at, identifiers=(email(who),), message_id=message_id)


@pytest.fixture
def lanes(store: Store) -> Lanes:
    return store.lanes("shop")


@pytest.fixture
def letters(store: Store) -> DeadLetters:
    return store.dead_letters("shop")


def lease(lanes: Lanes, clock: Clock) -> Lease:
    clock.advance(seconds=2)
    found = lanes.lease(SCHEDULE)
    assert found is not None
    return found


def flush(lanes: Lanes, clock: Clock, *, refused: bool = False, most: int = 100) -> list[Waiting]:
    """Deliver, or have refused, what waits in the oldest lane."""
    held = lease(lanes, clock)
    batch = lanes.read(held, most, 1_000_000)
    buried = [Burial(each, "invalid identifier") for each in batch] if refused else []
    taken: dict[Identifier, int] = {} if refused else {i: w.stamp for w in batch for i in w.change.identifiers}
    lanes.settle(held, Settlement(len(batch), len(batch) - len(buried), 0, buried), superseding=taken)
    return batch


def bury(lanes: Lanes, clock: Clock, *who: str) -> None:
    for each in who:
        lanes.append(LANE, [change(each)], f"bury {each} {clock()}")
        clock.advance(seconds=1)
    flush(lanes, clock, refused=True)


def counters(lanes: Lanes) -> dict[str, int]:
    status = lanes.status(10)
    assert status.unaccounted == 0
    return {name: status.counters[name] for name in COUNTERS if status.counters[name]}


def counts(done: Replayed) -> tuple[int, int, int]:
    return done.replayed, done.superseded, len(done.stayed)


def names(batch: list[Waiting]) -> list[str]:
    return [each.change.identifiers[0].value.partition("@")[0] for each in batch]


def test_replayed_changes_go_to_the_head_in_the_order_they_came(
    lanes: Lanes, letters: DeadLetters, clock: Clock
) -> None:
    bury(lanes, clock, "ada", "bob")
    lanes.append(LANE, [change("eve")], "later")

    assert counts(letters.replay(list(letters))) == (2, 0, 0)
    assert counters(lanes) == {"accepted": 3, "waiting": 3}
    assert list(letters) == []
    assert names(flush(lanes, clock)) == ["ada", "bob", "eve"]
    assert counters(lanes) == {"accepted": 3, "delivered": 3}


def test_their_order_is_kept_when_they_are_more_than_one_script_takes(
    lanes: Lanes, letters: DeadLetters, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deadletters, "PAGE", 2)
    people = ["ada", "bob", "cleo", "dan", "eve"]
    bury(lanes, clock, *people)

    assert counts(letters.replay([letter.mark for letter in letters])) == (5, 0, 0)
    assert names(flush(lanes, clock)) == people


def test_a_lane_that_is_leased_meanwhile_takes_nothing_older(
    lanes: Lanes, letters: DeadLetters, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deadletters, "PAGE", 1)
    bury(lanes, clock, "ada", "bob", "eve")
    answers, asked = [[1, 0], [-1, 0], [1, 0]], []

    def script(keys: list[str], args: list[int]) -> list[int]:
        asked.append((keys, args[4:]))
        return answers[len(asked) - 1]

    monkeypatch.setattr(letters, "_replay", script)

    assert counts(letters.replay(list(letters))) == (1, 0, 2)
    assert [numbers for _, numbers in asked] == [[3], [2]]


def test_replays_one_after_the_other_stay_in_order(lanes: Lanes, letters: DeadLetters, clock: Clock) -> None:
    bury(lanes, clock, "ada", "bob")
    first, second = letters
    letters.replay([first])
    letters.replay([second])

    assert names(flush(lanes, clock)) == ["ada", "bob"]


def test_a_lane_that_is_being_flushed_takes_no_replay(lanes: Lanes, letters: DeadLetters, clock: Clock) -> None:
    bury(lanes, clock, "ada")
    lanes.append(LANE, [change("bob"), change("eve")], "later")
    lease(lanes, clock)

    assert counts(letters.replay(list(letters))) == (0, 0, 1)
    assert counters(lanes) == {"accepted": 3, "buried": 1, "waiting": 2}


def test_a_letter_is_superseded_once_a_newer_change_of_the_person_was_delivered(
    lanes: Lanes, letters: DeadLetters, clock: Clock
) -> None:
    bury(lanes, clock, "ada", "bob")
    lanes.append(LANE, [change("ada")], "newer")
    flush(lanes, clock)

    assert [letter.superseded for letter in letters] == [True, False]
    assert counts(letters.replay(list(letters))) == (1, 1, 0)
    assert counts(letters.replay(list(letters), force=True)) == (1, 0, 0)


@pytest.mark.parametrize("others", [0, 30])
def test_it_is_found_among_many_and_among_few(
    lanes: Lanes, letters: DeadLetters, clock: Clock, redis: Redis, others: int
) -> None:
    """Few are looked through, and no command asks for each person that was delivered."""
    bury(lanes, clock, "ada", *(f"other {number}" for number in range(others)))
    lanes.append(LANE, [change("ada"), *(change(f"new {number}") for number in range(20))], "newer")
    redis.config_resetstat()
    flush(lanes, clock)

    asked = redis.info("commandstats")
    assert ("cmdstat_hmget" in asked) == (others > 0)
    assert [letter.number for letter in letters if letter.superseded] == [1]


def test_so_is_one_that_came_with_the_newer_change_and_stood_before_it(
    lanes: Lanes, letters: DeadLetters, clock: Clock
) -> None:
    lanes.append(LANE, [change("ada"), change("ada")], "both")
    held = lease(lanes, clock)
    [first] = lanes.read(held, 1, 1_000_000)
    lanes.settle(held, Settlement(1, 0, 0, [Burial(first, "invalid identifier")]))
    flush(lanes, clock)

    assert [letter.superseded for letter in letters] == [True]


def test_a_letter_is_found_by_the_form_that_the_vendor_has(lanes: Lanes, letters: DeadLetters, clock: Clock) -> None:
    lanes.append(LANE, [change("ada")], "plain")
    held, hashed = lease(lanes, clock), Identifier("email", sha256_hex("ada@example.com"))
    [plain] = lanes.read(held, 1, 1_000_000)
    lanes.settle(held, Settlement(1, 0, 0, [Burial(plain, "invalid identifier", (hashed,))]))
    lanes.append(LANE, [Change(False, 0, (hashed,))], "hashed")
    flush(lanes, clock)

    assert [letter.superseded for letter in letters] == [True]


def test_while_persons_are_being_forgotten_there_is_no_replay(lanes: Lanes, letters: DeadLetters, clock: Clock) -> None:
    bury(lanes, clock, "ada")
    lanes.append(LaneKey.erasures("shop"), [change("eve")], "forget")
    lease(lanes, clock)

    assert counts(letters.replay(list(letters))) == (0, 0, 1)


def test_replaying_an_older_letter_does_not_supersede_a_newer_one(
    lanes: Lanes, letters: DeadLetters, clock: Clock
) -> None:
    bury(lanes, clock, "ada")
    bury(lanes, clock, "ada")
    letters.replay([letter for letter in letters if letter.number == 1])
    flush(lanes, clock)

    assert [(letter.number, letter.superseded) for letter in letters] == [(2, False)]


def test_a_replay_keeps_the_time_of_the_change_and_passes_the_duplicate_window(
    lanes: Lanes, letters: DeadLetters, clock: Clock
) -> None:
    lanes.append(LANE, [change("ada", at=7, message_id="m-1")], "1", Bounds(window_ms=3_600_000))
    flush(lanes, clock, refused=True)
    letters.replay(list(letters))

    (waiting,) = flush(lanes, clock)
    assert (waiting.change.occurred_at, waiting.change.message_id) == (7, "m-1")


def test_discarding_is_counted(lanes: Lanes, letters: DeadLetters, clock: Clock) -> None:
    bury(lanes, clock, "ada", "bob")

    assert letters.discard([1, 99]) == 1
    assert counters(lanes) == {"accepted": 2, "buried": 1, "discarded": 1}


def test_they_are_found_by_when_they_were_buried(lanes: Lanes, letters: DeadLetters, clock: Clock) -> None:
    buried = []
    for who in ("ada", "bob", "eve"):
        bury(lanes, clock, who)
        buried.append(clock())

    assert letters.numbers() == [1, 2, 3]
    assert letters.numbers(since_ms=buried[1]) == [2, 3]
    assert letters.numbers(until_ms=buried[1]) == [1]
    assert letters.numbers(since_ms=buried[1], until_ms=buried[2]) == [2]


def test_what_goes_while_others_are_read_makes_nobody_skip_one(
    lanes: Lanes, letters: DeadLetters, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deadletters, "PAGE", 2)
    bury(lanes, clock, *(f"p{number}" for number in range(6)))
    reading = iter(letters)
    seen = [next(reading).number]

    letters.discard([1, 2, 4])
    seen += [letter.number for letter in reading]

    assert seen == [1, 2, 3, 5, 6]


def test_the_stock_tells_how_many_there_are_since_when_and_how_many_are_old(
    lanes: Lanes, letters: DeadLetters, clock: Clock
) -> None:
    assert letters.stock(before_ms=clock()) == Stock()

    bury(lanes, clock, "ada")
    first = clock()
    bury(lanes, clock, "bob", "eve")

    assert letters.stock(before_ms=first) == Stock(total=3, oldest_ms=first, before=0)
    assert letters.stock(before_ms=clock()) == Stock(total=3, oldest_ms=first, before=1)


def test_letters_beyond_their_age_or_number_are_discarded_and_counted(
    lanes: Lanes, letters: DeadLetters, clock: Clock
) -> None:
    bury(lanes, clock, "ada")
    clock.advance(seconds=3600)
    bury(lanes, clock, "bob", "eve", "dan")

    assert letters.expire(timedelta(minutes=30), most=2) == 2
    assert [letter.number for letter in letters] == [3, 4]
    assert lanes.status(1).counters["expired"] == 2
    assert counters(lanes) == {"accepted": 4, "buried": 2, "discarded": 2}


def test_a_message_id_that_was_appended_lately_counts_once(lanes: Lanes, clock: Clock) -> None:
    window = Bounds(window_ms=60_000)
    for number in range(3):
        lanes.append(LANE, [change("ada", message_id="m-1"), change("bob")], str(number), window)

    assert counters(lanes) == {"accepted": 4, "waiting": 4}
    assert lanes.status(1).counters["duplicates"] == 2

    clock.advance(seconds=120)
    lanes.append(LANE, [change("ada", message_id="m-1")], "later", window)

    assert counters(lanes) == {"accepted": 5, "waiting": 5}


def test_what_was_seen_is_forgotten_by_itself(lanes: Lanes, store: Store, clock: Clock) -> None:
    lanes.append(LANE, [change("ada", message_id="m-1")], "1", Bounds(window_ms=60_000))

    (seen,) = store._client.scan_iter("relay:{shop}:seen:*")  # noqa: SLF001 - the keys themselves are looked at
    assert 0 < store._client.pttl(seen) <= 120_000  # noqa: SLF001 - as above
