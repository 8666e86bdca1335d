"""Who only looks waits for permits and tokens, and leaves to workers what they need."""

from datetime import timedelta

import pytest

from cli.patience import LONGEST_WAIT_SECONDS, PatientSender
from sandbox.app import Sandbox
from sandbox.criteo import CriteoSwitches
from tests.conftest import Clock
from tests.destinations.conftest import HOST, Bench, open_bench
from worker.destinations.base import Request
from worker.edges import audiences
from worker.errors import NotYet
from worker.store.store import Store

SEARCH = Request.json(
    "POST",
    f"{HOST}/criteo/2026-07/marketing-solutions/audience-segments/search",
    {"data": {"type": "AudienceSegment", "attributes": {}}},
    changes_nothing=True,
)


class Progress:
    """Notes what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[int, bool]] = []

    def __call__(self, requests: int, waiting: bool) -> None:  # noqa: FBT001 - the form of `cli.patience.Progress`
        self.told.append((requests, waiting))

    @property
    def waited(self) -> bool:
        return any(waiting for _, waiting in self.told)


def limited(store: Store, clock: Clock, calls_per_minute: int) -> Bench:
    """Criteo, which takes just so many calls a minute and does not tell how many are left."""
    switches = CriteoSwitches(rate_limit=calls_per_minute, rate_window="sliding", rate_headers="never")
    sandbox = Sandbox(criteo=switches, clock=lambda: clock() / 1000)
    return open_bench("criteo", store, clock, sandbox, calls_per_minute=calls_per_minute)


@pytest.mark.parametrize("calls_per_minute", [1, 10, 60])
def test_the_vendor_never_has_to_refuse_a_call(store: Store, clock: Clock, calls_per_minute: int) -> None:
    bench, progress, began = limited(store, clock, calls_per_minute), Progress(), clock()
    send = PatientSender(bench.edges, progress)

    statuses = {send(SEARCH).status for _ in range(3 * calls_per_minute)}

    assert statuses == {200}
    assert bench.answers(429) == 0
    assert progress.waited
    assert progress.told[-1] == (3 * calls_per_minute, False)
    assert clock() - began < 240_000


def test_the_permits_of_a_batch_stay_free_for_workers(store: Store, clock: Clock) -> None:
    bench = limited(store, clock, 60)
    limits, batch = bench.edges.limits, bench.edges.destination.requests_a_batch
    send = PatientSender(bench.edges, Progress())

    for _ in range(30):
        send(SEARCH)
        assert limits.take(batch) == batch
        limits.give_back(batch)


def test_a_token_that_a_worker_renews_is_waited_for(store: Store, clock: Clock) -> None:
    bench, progress = limited(store, clock, 60), Progress()
    renewal = bench.edges.tokens.get()
    assert renewal.act == "renew"

    assert PatientSender(bench.edges, progress)(SEARCH).status == 200
    assert progress.waited


def test_a_credential_that_is_held_for_long_is_told_with_the_reason(store: Store, clock: Clock) -> None:
    bench, began = limited(store, clock, 60), clock()
    bench.edges.limits.hold("rate limited: HTTP 429", round(timedelta(hours=1) / timedelta(milliseconds=1)))

    with pytest.raises(NotYet, match="no permit of the credential is free: it is held: rate limited: HTTP 429"):
        PatientSender(bench.edges, Progress())(SEARCH)

    assert clock() - began == LONGEST_WAIT_SECONDS * 1000
    assert bench.requests("search") == 0


def test_a_long_list_of_audiences_is_read_to_its_end(store: Store, clock: Clock) -> None:
    bench = limited(store, clock, 60)
    for number in range(150):
        bench.sandbox.criteo.add_segment("4711", f"list {number}")

    found = audiences(bench.edges, PatientSender(bench.edges, Progress()))

    assert [each.audience for each in found] == [f"list {number}" for number in range(150)]
    assert bench.answers(429) == 0
