"""What the tests of StackAdapt share: a bench of it, and conversations with whatever answers."""

import json
from collections.abc import Callable, Generator, Mapping
from typing import Any, Final, TypeVar

import httpx

from sandbox.app import Sandbox
from sandbox.stackadapt_access import StackAdaptSwitches
from tests.conftest import Clock
from tests.destinations.conftest import HOST, Bench, open_bench
from worker.batching import fold
from worker.contract import Change, Identifier, LaneKey
from worker.destinations.base import Request, Response
from worker.destinations.stackadapt import StackAdapt, StackAdaptSettings
from worker.store.store import Store

Outcome = TypeVar("Outcome")
Conversation = Generator[Request, Response, Outcome]

OK: Final[dict[str, Any]] = {
    "data": {
        "upsertProfileMapping": {"userErrors": []},
        "upsertExternalAudienceMapping": {"userErrors": []},
        "upsertProfiles": {"userErrors": []},
    }
}
"""The answer to whatever is sent for a batch."""


def stackadapt(store: Store, clock: Clock, switches: StackAdaptSwitches | None = None, **settings: Any) -> Bench:
    sandbox = Sandbox(stackadapt=switches, clock=lambda: clock() / 1000)
    return open_bench("stackadapt", store, clock, sandbox, **settings)


def reconfigured(bench: Bench, store: Store, **settings: Any) -> Bench:
    """The same lanes and the same vendor, with other settings."""
    return open_bench("stackadapt", store, bench.clock, bench.sandbox, **settings)


def settings_of(**settings: Any) -> StackAdaptSettings:
    common = {"name": "stack", "kind": "stackadapt", "advertiser_id": "2029", "api_token": "token"}
    return StackAdaptSettings.model_validate(common | {"api_url": f"{HOST}/stackadapt/graphql"} | settings)


def destination(**settings: Any) -> StackAdapt:
    return StackAdapt(settings_of(**settings))


def named(who: str, *, entered: bool = True, at: int = 0, **properties: Any) -> Change:
    identifiers = (Identifier("email", f"{who}@example.com"),)
    return Change(entered, at, identifiers, audience_name="vip", properties=properties)


def bodies_for(*changes: Change, **settings: Any) -> list[dict[str, Any]]:
    """The bodies of the requests that the changes lead to, where nothing was sent before."""
    made = destination(**settings)
    bodies: list[dict[str, Any]] = []
    conversation = made.converse(fold(LaneKey("stack", "aud_1"), "b1", changes, made.vendor_form, at_ms=1), {})

    def send(request: Request) -> Response:
        bodies.append(json.loads(request.content))
        return answer(OK)

    carry(conversation, send)
    return bodies


def mapping_of(**settings: Any) -> dict[str, Any]:
    mapping: dict[str, Any] = bodies_for(named("ada"), **settings)[0]["variables"]["profileMapping"]
    return mapping


def rows_for(*changes: Change) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads(bodies_for(*changes)[1]["variables"]["profiles"]["profiles"])
    return rows


def carry(conversation: Conversation[Outcome], send: Callable[[Request], Response]) -> Outcome:
    """To its end, with whatever sends."""
    try:
        request = next(conversation)
        while True:
            request = conversation.send(send(request))
    except StopIteration as ended:
        outcome: Outcome = ended.value
        return outcome


def answer(body: object, status: int = 200, **headers: str) -> Response:
    return Response(status, json.dumps(body).encode(), headers)


def talk(conversation: Conversation[Outcome], sandbox: Sandbox, requests: list[Request] | None = None) -> Outcome:
    """A conversation with the stand-in alone."""
    client = httpx.Client(transport=httpx.WSGITransport(app=sandbox), headers={"authorization": "Bearer token"})

    def send(request: Request) -> Response:
        if requests is not None:
            requests.append(request)
        found = client.request(request.method, request.url, content=request.content, headers=request.headers)
        return Response(found.status_code, found.content, dict(found.headers))

    return carry(conversation, send)


def hold_of(bench: Bench) -> str:
    """Why the destination is held, or its one lane."""
    status = bench.status()
    holds = [status.hold, *(lane.hold for lane in status.lanes)]
    return next((hold.reason for hold in holds if hold), "")


def properties_of(bench: Bench, who: str) -> Mapping[str, Any]:
    kept = bench.sandbox.stackadapt.profiles("2029")[f"{who}@example.com"].properties
    return {name: value for name, value in kept.items() if name != "email"}


def counted(bench: Bench, what: str) -> int:
    return bench.sandbox.stackadapt.counted[what]
