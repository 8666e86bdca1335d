"""The routes, and what a request to each of them is answered with.

What comes alone and is refused is answered with 400, which clients do not repeat. In a batch, and to the webhook
(which is repeated until it gets a 200), what is refused is told in a 200, by where it stood and why.
"""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

import msgspec
import structlog
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from producers.events import Opened
from producers.gateway import openapi
from producers.gateway.access import Signature, WriteKeys, user_name
from producers.gateway.answers import ALWAYS, Declined, answer, decline
from producers.gateway.bodies import MOST_BYTES, MOST_UNKNOWN_BYTES, Reading, Room
from producers.gateway.commit import STORE_SECONDS, GroupCommit, Probe
from producers.gateway.envelopes import EVENT_TYPES, Envelope, EventType, batch, ignored_type, one, signed
from producers.gateway.metrics import CONTENT_TYPE, Metrics
from producers.intake import Chunk, Intake
from producers.segment import RawEvent, Refusal
from worker.settings import GatewaySettings
from worker.telemetry import place_of

CLIENT_GONE: Final = 499
"""Nobody gets it; it counts as this, as nginx has it."""
READY_SECONDS: Final = 2.0
TURN_EVENTS: Final = 100
"""So many events of a request are read before others have a turn."""

Endpoint = Callable[[Request], Awaitable[Response]]
log = structlog.get_logger()


@dataclass(slots=True)
class Taken:
    """What became of the events of one request."""

    chunk: Chunk = field(default_factory=Chunk)
    refused: list[dict[str, Any]] = field(default_factory=list)
    ignored: Counter[str] = field(default_factory=Counter)

    def as_dict(self) -> dict[str, Any]:
        body: dict[str, Any] = {"success": True}
        if self.refused:
            body["refused"] = self.refused
        if self.ignored:
            body["ignored"] = self.ignored.total()
        return body


class Gateway:
    """`now_ms` is the time of receipt, in milliseconds since the epoch."""

    def __init__(
        self,
        settings: GatewaySettings,
        intake: Intake,
        probe: Probe,
        now_ms: Callable[[], int],
        *,
        store_seconds: float = STORE_SECONDS,
    ) -> None:
        self._settings = settings
        self._intake = intake
        self._now_ms = now_ms
        self._metrics = Metrics()
        self._commit = GroupCommit(intake, probe, self._metrics, store_seconds)
        self._keys = WriteKeys(settings.write_keys)
        self._signature = Signature(settings.webhook_secret)
        self._room = Room(MOST_BYTES - MOST_UNKNOWN_BYTES)
        self._room_of_unknown = Room(MOST_UNKNOWN_BYTES)
        self._openapi = msgspec.json.encode(openapi.document(settings))

    def application(self) -> Starlette:
        """The ASGI application; to be made once."""
        alone = self._settings.max_event_bytes
        many = self._settings.max_batch_bytes
        apis: dict[str, Endpoint] = {
            **{f"/v1/{each}": partial(self._api, _open_one(each), alone, self._answer_one) for each in EVENT_TYPES},
            "/v1/batch": partial(self._api, batch, many, self._answer_many),
            "/v1/import": partial(self._api, batch, many, self._answer_many),
            "/webhooks/segment": self._webhook,
        }
        looks = {
            "/healthz": self._health,
            "/readyz": self._ready,
            "/metrics": self._tell_metrics,
            "/openapi.json": self._tell_openapi,
        }
        application = Starlette(
            routes=[
                *(Route(path, self._told(path, endpoint), methods=["POST"]) for path, endpoint in apis.items()),
                *(Route(path, self._told(path, endpoint), methods=["GET"]) for path, endpoint in looks.items()),
            ],
            exception_handlers={HTTPException: self._no_route},
            lifespan=self._lifespan,
        )
        application.router.redirect_slashes = False  # it would repeat the Host that was sent
        return application

    @asynccontextmanager
    async def _lifespan(self, _app: Starlette) -> AsyncIterator[None]:
        self._commit.start()
        yield
        self._commit.stop()

    def _told(self, route: str, endpoint: Endpoint) -> Endpoint:
        """The endpoint with its failures answered, counted and timed."""

        async def told(request: Request) -> Response:
            started = time.monotonic()
            try:
                response = await endpoint(request)
            except Declined as declined:
                response = decline(declined)
            except ClientDisconnect:
                response = Response(status_code=CLIENT_GONE)
            except Exception as fault:  # noqa: BLE001 - the server would log its text, which may name somebody
                log.error("gateway.fault", route=route, where=place_of(fault))  # noqa: TRY400 - as above
                response = decline(Declined(500, "fault", "a fault of the relay; it is in its log"))
            seconds = time.monotonic() - started
            self._metrics.note_request(route, response.status_code, seconds)
            log.debug("gateway.answered", route=route, status=response.status_code, seconds=seconds)
            return response

        return told

    async def _no_route(self, _request: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else 404
        headers = error.headers if isinstance(error, HTTPException) else None
        self._metrics.note_request("none", status, 0.0)
        if status == 405:  # noqa: PLR2004 - the number says it
            return decline(Declined(status, "method", "not with this method", headers))
        return decline(Declined(status, "route", "nothing is at this address; see /openapi.json", headers))

    # ── Source events ────────────────────────────────────────────────────────────────────────────

    async def _api(
        self, open_: Callable[[bytes], Envelope], limit: int, told: Callable[[Taken], Response], request: Request
    ) -> Response:
        self._keys.expect_any()
        name = user_name(request.headers.get("authorization"))
        if name is not None:
            self._keys.expect(name)
        room = self._room_of_unknown if name is None else self._room
        with Reading(request, room, self._settings.body_seconds) as reading:
            body = await reading.body(limit)
            if name is None:
                self._keys.expect_in(body.content)
            envelope = open_(body.content)
            if name is None:
                self._keys.expect(envelope.write_key)
            return told(await self._take(envelope.events))

    async def _webhook(self, request: Request) -> Response:
        self._signature.expect_any()
        with Reading(request, self._room_of_unknown, self._settings.body_seconds) as reading:
            body = await reading.body(self._settings.max_batch_bytes)
            self._signature.expect(request.headers.get("x-signature"), body.raw)
            return self._answer_many(await self._take(signed(body.content).events))

    async def _take(self, events: Iterable[RawEvent | Opened]) -> Taken:
        """Read the events and have their changes stored."""
        taken = Taken()
        received_at = self._now_ms()
        for index, event in enumerate(events):
            if index % TURN_EVENTS == TURN_EVENTS - 1:
                await asyncio.sleep(0)
            self._read(index, event, received_at, taken)
        if taken.chunk.read:
            await self._commit.store(taken.chunk)
        self._metrics.note_ignored(taken.ignored)
        return taken

    def _read(self, index: int, event: RawEvent | Opened, received_at: int, taken: Taken) -> None:
        outcome = self._intake.read(event, received_at, taken.chunk.left_out)
        if isinstance(outcome, Refusal):
            ignored = ignored_type(event)
            if ignored is not None:
                taken.ignored[ignored] += 1
                return
            taken.refused.append({"index": index, "reason": outcome.reason})
        taken.chunk.take(outcome)

    def _answer_many(self, taken: Taken) -> Response:
        return answer(200, taken.as_dict())

    def _answer_one(self, taken: Taken) -> Response:
        if not taken.refused:
            return answer(200, taken.as_dict())
        reason = taken.refused[0]["reason"]
        body = {"success": False, "code": "refused", "message": f"the source event is refused: {reason}"}
        return answer(400, {**body, "refused": taken.refused})

    # ── What else may be asked ───────────────────────────────────────────────────────────────────

    async def _health(self, _request: Request) -> Response:
        return answer(200, {"success": True})

    async def _ready(self, _request: Request) -> Response:
        await self._commit.expect_room(READY_SECONDS)
        return answer(200, {"success": True})

    async def _tell_metrics(self, _request: Request) -> Response:
        return Response(self._metrics.text(), headers=ALWAYS, media_type=CONTENT_TYPE)

    async def _tell_openapi(self, _request: Request) -> Response:
        return Response(self._openapi, headers=ALWAYS, media_type="application/json")


def _open_one(event_type: EventType) -> Callable[[bytes], Envelope]:
    return partial(one, event_type=event_type)
