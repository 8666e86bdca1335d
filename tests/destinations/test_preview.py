"""What a preview shows is what a worker sends."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import httpx
import msgspec
import pytest

from cli.dry_intake import Tally
from cli.preview_forms import destination_as_json
from cli.rehearsal import DestinationRehearsed, rehearse
from sandbox.app import Sandbox
from tests.conftest import Clock
from tests.destinations.conftest import Bench, InProcess, configured, enters, leaves, open_bench
from worker.contract import Change, Identifier, LaneKey
from worker.delivery import GatedTransport
from worker.destinations import REGISTRY
from worker.store.store import Store

Sent = tuple[str, str, Any]


class Recorder(httpx.BaseTransport):
    """Notes each request but those for tokens."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sent: list[Sent] = []
        self._inner = InProcess(sandbox)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        if "/token" not in request.url.path:
            self.sent.append(_comparable(request.method, str(request.url), request.content))
        return self._inner.handle_request(request)


def _comparable(method: str, url: str, content: bytes) -> Sent:
    """Without what differs from batch to batch."""
    body = msgspec.json.decode(content) if content else None
    if isinstance(body, dict):
        body.get("variables", {}).get("profiles", {}).pop("syncId", None)
    return method, url, body


def _sent_by_worker(kind: str, store: Store, clock: Clock, changes: Sequence[Change], **settings: Any) -> list[Sent]:
    bench = open_bench(kind, store, clock, Sandbox(clock=lambda: clock() / 1000), **settings)
    recorder = Recorder(bench.sandbox)
    edges = replace(bench.edges, client=httpx.Client(transport=GatedTransport(recorder)))
    recording = Bench(kind, bench.sandbox, edges, clock)
    recording.append(changes)
    while recording.flush() is not None:
        pass
    return recorder.sent


def _previewed(kind: str, clock: Clock, changes: Sequence[Change], **settings: Any) -> DestinationRehearsed:
    return rehearse(configured(kind, **settings), {LaneKey("shop", "vip"): changes}, clock())


@pytest.mark.parametrize("kind", sorted(REGISTRY))
def test_a_preview_shows_the_requests_that_a_worker_sends(kind: str, store: Store, clock: Clock) -> None:
    batch = {"max_changes": 3, "max_age_seconds": 60}
    changes = [
        enters("ada"),
        enters("bob"),
        leaves("ada", 1),
        enters("cleo"),
        leaves("cleo", 1),
        leaves("dan"),
        enters("eve"),
    ]

    (lane,) = _previewed(kind, clock, changes, batch=batch).lanes

    assert [_comparable(each.method, each.url, each.content) for each in lane.requests] == _sent_by_worker(
        kind, store, clock, changes, batch=batch
    )
    assert (lane.batches, lane.enters, lane.leaves, lane.folded) == (3, 4, 3, 2)
    assert lane.stopped is None


@pytest.mark.parametrize("kind", sorted(REGISTRY))
def test_who_only_leaves_is_removed(kind: str, clock: Clock) -> None:
    (lane,) = _previewed(kind, clock, [leaves("ada")]).lanes

    form = REGISTRY[kind](configured(kind)).vendor_form(Identifier("email", "ada@example.com")).value
    assert form.encode() in lane.requests[-1].content
    assert (lane.stopped, lane.invalid) == (None, 0)


def test_a_contact_list_of_a_fixed_id_is_there(clock: Clock) -> None:
    fixed = {"audiences": ["vip"], "audience_id": "123456"}
    waiting = {LaneKey("shop", "123456"): [enters("ada")]}

    (lane,) = rehearse(configured("criteo", **fixed), waiting, clock()).lanes

    assert lane.stopped is None
    assert [each.url.rpartition("/audience-segments/")[2] for each in lane.requests] == ["123456/contact-list"]


def test_headers_that_hold_keys_are_masked(clock: Clock) -> None:
    settings = configured("http", headers={"X-Api-Key": "k3y"})

    told = destination_as_json(rehearse(settings, {LaneKey("shop", "vip"): [enters("ada")]}, clock()), Tally())

    headers = told["lanes"][0]["requests"][0]["headers"]
    assert (headers["X-Api-Key"], headers["authorization"]) == ("•••", "Bearer •••")
    assert "k3y" not in str(told)
