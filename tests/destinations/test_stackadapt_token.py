"""What is told of StackAdapt's token."""

from typing import Any

import pytest

from sandbox.stackadapt_access import StackAdaptSwitches
from tests.conftest import Clock
from tests.destinations.stackadapt_talk import answer, carry, destination, stackadapt
from worker.edges import probe
from worker.errors import DeliveryError, NeedsPerson, TryLater
from worker.store.store import Store


def probed(store: Store, clock: Clock, **switches: Any) -> str:
    return probe(stackadapt(store, clock, StackAdaptSwitches(**switches)).edges)


def test_the_probe_finds_the_advertiser_on_a_later_page(store: Store, clock: Clock) -> None:
    many = frozenset(str(1_000 + number) for number in range(350)) | {"2029"}

    assert probed(store, clock, advertisers=many) == "the token may write for advertiser 2029"


@pytest.mark.parametrize(
    ("switches", "says"),
    [
        ({"read_only_advertisers": frozenset({"2029"})}, "may only read advertiser 2029.*WRITE"),
        ({"advertisers": frozenset({"1", "2"})}, "not for advertiser 2029, but for 1, 2;.*WRITE"),
        ({"advertisers": frozenset("123456")}, "but for 1, 2, 3 and 3 more;"),
        ({"advertisers": frozenset()}, "but for no advertiser at all;"),
        ({"expired_tokens": frozenset({"token"})}, "token expired"),
        ({"refused_tokens": frozenset({"token"})}, "credentials refused"),
    ],
)
def test_the_probe_tells_a_token_that_may_not_write(
    store: Store, clock: Clock, switches: dict[str, Any], says: str
) -> None:
    with pytest.raises(NeedsPerson, match=says):
        probed(store, clock, **switches)


def test_the_probe_tells_until_when_the_token_lasts(store: Store, clock: Clock) -> None:
    assert probed(store, clock, token_expires_at=1_796_000_000.0).endswith("2029, until 2026-11-30")


def token_info(expires_at: object = None, nodes: object = None, **page: object) -> dict[str, Any]:
    wanted = [{"advertiser": {"id": 2029}, "scopes": ["READ", "WRITE"]}] if nodes is None else nodes
    scopes = {"nodes": wanted, "pageInfo": {"hasNextPage": False, "endCursor": None} | page}
    return {"data": {"tokenInfo": {"expiresAt": expires_at, "scopesByAdvertiser": scopes}}}


@pytest.mark.parametrize(
    ("expires_at", "says"),
    [
        ("2026-12-07T11:59:59Z", ", but only until 2026-12-07: 13 days are left; ask StackAdapt for a new one"),
        ("2026-11-23T13:00:00+02:00", ", but only until 2026-11-23: 0 days are left; ask StackAdapt for a new one"),
        ("2026-12-07T12:00:00", ", until 2026-12-07"),
        ("2027-01-01T00:00:00Z", ", until 2027-01-01"),
        (None, ""),
        ("soon", ""),
        (5, ""),
    ],
)
def test_days_are_told_when_few_are_left_by_the_vendors_clock(expires_at: object, says: str) -> None:
    found = carry(destination().probe(), lambda _: answer(token_info(expires_at), date="Mon, 23 Nov 2026 12:00:00 GMT"))

    assert found == f"the token may write for advertiser 2029{says}"


@pytest.mark.parametrize("date", ["", "yesterday"])
def test_without_the_vendors_clock_the_end_alone_is_told(date: str) -> None:
    found = carry(destination().probe(), lambda _: answer(token_info("2026-11-24T00:00:00Z"), date=date))

    assert found.endswith(", until 2026-11-24")


@pytest.mark.parametrize(
    ("body", "order"),
    [
        ({"data": {"tokenInfo": None}}, TryLater),
        ({"data": {"tokenInfo": {"scopesByAdvertiser": {"nodes": None}}}}, TryLater),
        (token_info(nodes=[None]), TryLater),
        (token_info(nodes=["2029"]), TryLater),
        (token_info(nodes=[{"advertiser": None}]), TryLater),
        (token_info(nodes=[{"advertiser": {"id": "2029"}, "scopes": None}]), NeedsPerson),
        (token_info(nodes=[], hasNextPage=True, endCursor="same"), NeedsPerson),
        (token_info(nodes=[], hasNextPage=True, endCursor=None), NeedsPerson),
    ],
)
def test_the_probe_ends_whatever_the_answer(body: object, order: type[DeliveryError]) -> None:
    with pytest.raises(order):
        carry(destination().probe(), lambda _: answer(body))
