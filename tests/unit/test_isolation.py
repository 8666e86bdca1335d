"""Culprits of a refused batch are found by halving, within a budget."""

import math
from contextlib import suppress
from random import Random
from typing import get_args

import pytest

from worker.batching import fold
from worker.contract import Change, Identifier, LaneKey
from worker.destinations.base import FoldedBatch, Receipt
from worker.errors import DeliveryError, NotYet, Refused, Throttled, TooLarge, TryLater
from worker.isolation import Caution, NothingTaken, TooManyCulprits, deliver_isolating


def batch_of(size: int) -> FoldedBatch:
    changes = [Change(number % 2 == 0, 0, (Identifier("email", str(number)),)) for number in range(size)]
    return fold(LaneKey("shop", "vip"), "b1", changes, lambda identifier: identifier)


class Vendor:
    """Refuses a request that holds a culprit, more than `most` entries or the oversized one; remembers what it took."""

    def __init__(self, *culprits: int, most: int = 1_000_000, oversized: int | None = None) -> None:
        self.culprits = {Identifier("email", str(each)) for each in culprits}
        self.most = most
        self.oversized = Identifier("email", str(oversized))
        self.taken: list[Identifier] = []
        self.requests = 0

    def __call__(self, batch: FoldedBatch) -> Receipt:
        self.requests += 1
        identifiers = [identifier for entry in batch.entries for identifier in entry.identifiers]
        if len(batch.entries) > self.most or self.oversized in identifiers:
            raise TooLarge("request too large")
        if self.culprits & set(identifiers):
            raise Refused("refused", "a bad value")
        self.taken += identifiers
        return Receipt()


@pytest.mark.parametrize("culprits", [(), (0,), (999,), (3, 700)])
def test_the_rest_is_delivered_and_the_culprits_are_named(culprits: tuple[int, ...]) -> None:
    vendor = Vendor(*culprits)

    receipt, working_size = deliver_isolating(batch_of(1000), vendor)

    assert working_size is None
    assert receipt.refused == dict.fromkeys(vendor.culprits, "refused: a bad value")
    assert len(vendor.taken) == len(set(vendor.taken)) == 1000 - len(culprits)
    assert vendor.requests - 1 <= len(culprits) * 2 * math.ceil(math.log2(1000))


@pytest.mark.parametrize(("size", "requests"), [(7, 13), (8, 15), (9, 16), (1000, 23)])
def test_a_request_that_is_refused_whatever_it_holds_buries_nothing(size: int, requests: int) -> None:
    vendor = Vendor(*range(size))

    with pytest.raises(NothingTaken, match=r"^request refused: every part of it is: refused: a bad value\. Compare"):
        deliver_isolating(batch_of(size), vendor)

    assert vendor.requests == requests


def test_of_few_each_may_be_a_culprit() -> None:
    vendor = Vendor(*range(6))

    receipt, _ = deliver_isolating(batch_of(6), vendor)

    assert receipt.refused == dict.fromkeys(vendor.culprits, "refused: a bad value")


@pytest.mark.parametrize("culprits", [3, 5, 20, 100])
def test_scattered_culprits_are_no_fault_of_the_request(culprits: int) -> None:
    """Also where each eighth holds one: it is enough that single entries are taken."""
    for seed in range(30):
        vendor = Vendor(*Random(seed).sample(range(1000), culprits))
        with suppress(TooManyCulprits):
            deliver_isolating(batch_of(1000), vendor)


def test_culprits_at_regular_distances_are_no_fault_of_the_request() -> None:
    """The first entry of each eighth is one."""
    vendor = Vendor(*(number for number in range(1000) if number % 5 < 2))

    with pytest.raises(TooManyCulprits):
        deliver_isolating(batch_of(1000), vendor)


def test_entries_that_are_too_large_even_alone_are_the_requests_fault_when_all_are() -> None:
    with pytest.raises(NothingTaken, match="request too large"):
        deliver_isolating(batch_of(1000), Vendor(most=0))


def test_isolating_ends_when_its_budget_is_spent() -> None:
    vendor = Vendor(*range(0, 500, 5))

    with pytest.raises(TooManyCulprits, match=r"^too many refused: .* for example: refused: a bad value$"):
        deliver_isolating(batch_of(1000), vendor)

    assert vendor.requests <= 65


def test_many_culprits_in_a_row_are_buried_where_the_request_is_known_to_be_right() -> None:
    vendor = Vendor(*range(20))

    receipt, _ = deliver_isolating(batch_of(20), vendor, "budget")

    assert receipt.refused == dict.fromkeys(vendor.culprits, "refused: a bad value")
    with pytest.raises(TooManyCulprits):
        deliver_isolating(batch_of(40), Vendor(*range(40)), "budget")


@pytest.mark.parametrize("culprits", [range(1000), range(0, 1000, 2), range(0, 1000, 50)])
def test_what_may_be_buried_is_isolated_to_the_end(culprits: range) -> None:
    vendor = Vendor(*culprits)

    receipt, _ = deliver_isolating(batch_of(1000), vendor, "none")

    assert receipt.refused == dict.fromkeys(vendor.culprits, "refused: a bad value")
    assert len(vendor.taken) == len(set(vendor.taken)) == 1000 - len(culprits)


def test_a_request_that_is_too_large_is_sent_in_parts() -> None:
    vendor = Vendor(most=100)

    receipt, working_size = deliver_isolating(batch_of(1000), vendor)

    assert receipt.refused == {}
    assert len(set(vendor.taken)) == 1000
    assert working_size == 63


@pytest.mark.parametrize(("most", "learned"), [(1000, None), (300, 250)])
def test_no_size_is_learned_from_an_entry_that_is_too_large_even_alone(most: int, learned: int | None) -> None:
    vendor = Vendor(most=most, oversized=700)

    receipt, working_size = deliver_isolating(batch_of(1000), vendor)

    assert receipt.refused == {Identifier("email", "700"): "request too large"}
    assert working_size == learned


class Sampler:
    """Takes everything, and names only some of the invalid identifiers it counts."""

    def __init__(self, *invalid: int, sample: int) -> None:
        self.invalid = {Identifier("email", str(each)) for each in invalid}
        self.sample = sample
        self.requests = 0

    def __call__(self, batch: FoldedBatch) -> Receipt:
        self.requests += 1
        found = [each for entry in batch.entries for each in entry.identifiers if each in self.invalid]
        return Receipt(dict.fromkeys(found[: self.sample], "invalid"), len(found[self.sample :]))


def test_invalid_identifiers_that_are_only_counted_are_named_by_halving() -> None:
    vendor = Sampler(*range(0, 1000, 40), sample=3)

    receipt, _ = deliver_isolating(batch_of(1000), vendor)

    assert receipt == Receipt(dict.fromkeys(vendor.invalid, "invalid"))


@pytest.mark.parametrize("caution", get_args(Caution))
def test_naming_ends_with_the_budget_and_what_is_unnamed_stays_counted(caution: Caution) -> None:
    vendor = Sampler(*range(0, 1000, 2), sample=1)

    receipt, _ = deliver_isolating(batch_of(1000), vendor, caution)

    assert vendor.requests == 65
    assert len(receipt.refused) + receipt.invalid_unnamed == 500


class Ending(Sampler):
    """As long as it is asked no second time: then this is how it ends."""

    def __init__(self, order: DeliveryError) -> None:
        super().__init__(1, 2, sample=0)
        self.order = order

    def __call__(self, batch: FoldedBatch) -> Receipt:
        if self.requests:
            raise self.order
        return super().__call__(batch)


@pytest.mark.parametrize(
    "order", [TryLater("timeout", outcome_unknown=True), Throttled("throttled", scope="credential")]
)
def test_naming_hides_neither_an_unknown_outcome_nor_a_rate_limit(order: TryLater) -> None:
    with pytest.raises(type(order), match=order.reason):
        deliver_isolating(batch_of(10), Ending(order))


@pytest.mark.parametrize(
    "order", [TryLater("connection failed"), NotYet("no permit"), Refused("refused"), TooLarge("large")]
)
def test_naming_ends_with_another_failure_and_what_is_unnamed_stays_counted(order: DeliveryError) -> None:
    receipt, working_size = deliver_isolating(batch_of(10), Ending(order))

    assert (receipt, working_size) == (Receipt({}, 2), None)
