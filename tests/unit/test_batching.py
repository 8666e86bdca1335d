"""Fold, split and account. Pure."""

import hashlib
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from worker.batching import account, alone, fold, halves, merge
from worker.contract import Change, Identifier, LaneKey, Waiting
from worker.destinations.base import Entry, FoldedBatch, Receipt

LANE = LaneKey("shop", "vip")


def email(who: str) -> Identifier:
    return Identifier("email", f"{who}@example.com")


def hashed(identifier: Identifier) -> Identifier:
    if "@" not in identifier.value:
        return identifier
    return Identifier("email", hashlib.sha256(identifier.value.encode()).hexdigest())


def change(who: str, *, entered: bool = True, at: int = 0, **properties: str) -> Change:
    return Change(entered, at, tuple(email(each) for each in who), properties=dict(properties))


def as_it_is(identifier: Identifier) -> Identifier:
    return identifier


def folded(*changes: Change) -> FoldedBatch:
    return fold(LANE, "b1", changes, as_it_is)


def waiting(changes: Sequence[Change]) -> list[Waiting]:
    return [Waiting(stamp, each) for stamp, each in enumerate(changes)]


def sent(batch: FoldedBatch) -> tuple[list[str], list[str]]:
    def initials(entries: Sequence[Entry]) -> list[str]:
        return ["".join(each.value[0] for each in entry.identifiers) for entry in entries]

    return initials(batch.removes), initials(batch.adds)


def test_the_newest_change_of_an_identifier_wins() -> None:
    assert sent(folded(change("a"), change("a", entered=False, at=1))) == (["a"], [])


def test_newest_is_by_time_first_and_by_arrival_then() -> None:
    assert sent(folded(change("a", at=2), change("a", entered=False, at=1))) == ([], ["a"])
    assert sent(folded(change("a", at=1), change("a", entered=False, at=1))) == (["a"], [])


def test_of_a_change_only_the_identifiers_for_which_it_is_newest_are_sent() -> None:
    assert sent(folded(change("ab"), change("b", entered=False, at=1))) == (["b"], ["a"])


def test_identifiers_are_compared_as_the_vendor_holds_them() -> None:
    known = hashed(email("a"))
    changes = [change("a"), Change(entered=False, occurred_at=1, identifiers=(known,))]

    batch = fold(LANE, "b1", changes, hashed)

    assert ([each.identifiers for each in batch.removes], batch.adds) == ([(known,)], ())


def test_properties_are_merged_the_newest_value_of_each() -> None:
    batch = folded(
        change("a", at=2, plan="pro"),
        change("a", at=1, plan="free", city="Oslo"),
        change("a", at=3, entered=False),
    )

    (entry,) = batch.removes
    assert entry.properties == {"plan": "pro", "city": "Oslo"}


def test_accounts_follow_promise_4() -> None:
    changes = [change("a"), change("b"), change("c"), change("a", at=1), change("de")]
    batch = folded(*changes)

    settlement = account(waiting(changes), batch, Receipt({email("b"): "invalid", email("e"): "invalid"}), as_it_is)

    assert (settlement.taken, settlement.delivered, settlement.folded) == (5, 2, 1)
    assert [(each.waiting.change, each.reason) for each in settlement.buried] == [
        (changes[1], "invalid"),
        (changes[4], "invalid"),
    ]


def test_what_is_buried_has_nothing_of_which_the_batch_held_something_newer() -> None:
    changes = [change("ab"), Change(False, 1, (hashed(email("a")),))]
    batch = fold(LANE, "b1", changes, hashed)

    settlement = account(waiting(changes), batch, Receipt({hashed(email("b")): "invalid"}), hashed)

    [burial] = settlement.buried
    assert burial.waiting.change == change("b")
    assert burial.handles == (hashed(email("b")),)


def test_merged_receipts_name_and_count_all() -> None:
    merged = merge([Receipt({email("a"): "x"}, 1), Receipt({email("b"): "y"}, 2)])

    assert merged == Receipt({email("a"): "x", email("b"): "y"}, 3)


changes_of_few = st.lists(
    st.builds(
        change,
        st.text("abc", min_size=1, max_size=3).map(lambda text: "".join(sorted(set(text)))),
        entered=st.booleans(),
        at=st.integers(0, 3),
    ),
    max_size=12,
)


@given(changes_of_few)
def test_folding_leaves_the_newest_direction_of_everybody_and_nobody_twice(changes: list[Change]) -> None:
    newest: dict[Identifier, tuple[int, int, bool]] = {}
    for position, each in enumerate(changes):
        for identifier in each.identifiers:
            found = (each.occurred_at, position, each.entered)
            newest[identifier] = max(newest.get(identifier, found), found)

    batch = folded(*changes)

    removed = [i for each in batch.removes for i in each.identifiers]
    added = [i for each in batch.adds for i in each.identifiers]
    assert len(removed) + len(added) == len({*removed, *added}) == len(newest)
    assert dict.fromkeys(removed, False) | dict.fromkeys(added, True) == {i: found[2] for i, found in newest.items()}
    settlement = account(waiting(changes), batch, Receipt(), as_it_is)
    assert settlement.delivered + settlement.folded == settlement.taken == len(changes)


@given(changes_of_few.filter(lambda changes: len(changes) > 1))
def test_halves_hold_everything_once(changes: list[Change]) -> None:
    batch = folded(*changes)
    if len(batch.entries) < 2:
        return

    one, other = halves(batch)

    assert one.entries
    assert other.entries
    assert one.removes + other.removes == batch.removes
    assert sorted(e.position for e in (*one.entries, *other.entries)) == sorted(e.position for e in batch.entries)
    assert len({one.id, other.id, batch.id}) == 3


@given(changes_of_few)
def test_each_entry_can_be_had_alone(changes: list[Change]) -> None:
    batch = folded(*changes)

    parts = [alone(batch, position) for position in range(len(batch.entries))]

    assert [part.entries for part in parts] == [(entry,) for entry in batch.entries]
    assert [bool(part.removes) for part in parts] == [True] * len(batch.removes) + [False] * len(batch.adds)
    assert all(part.id != batch.id for part in parts)
