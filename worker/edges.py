"""Both ends of one destination, put together: its lanes in Redis, and its vendor."""

import random
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from worker.auth import ClientCredentials, FixedToken, TokenSource
from worker.delivery import Client, Gate, Sender, deliver
from worker.destinations import REGISTRY
from worker.destinations.base import (
    NOTICE,
    AudienceFacts,
    Destination,
    DestinationSettings,
    Request,
    Response,
    api_notice,
)
from worker.errors import StoreError
from worker.store.deadletters import DeadLetters
from worker.store.erasures import Erasures
from worker.store.lanes import Lanes, Schedule
from worker.store.limits import Limits
from worker.store.store import Store

Send = Callable[[Request], Response]

API: Final = "api"
"""The subject of what is to be known of the vendor's API itself."""


def open_gate() -> None:
    """Lets everything through."""


@dataclass(frozen=True, slots=True)
class Edges:
    """What a worker needs to drain one destination.

    `chance` is uniform in [0, 1): the jitter of the back-off. `may_send` raises when no request may be sent any more;
    `pause` waits so many seconds, or less when the worker stops.
    """

    destination: Destination
    schedule: Schedule
    lanes: Lanes
    erasures: Erasures
    dead_letters: DeadLetters
    limits: Limits
    tokens: TokenSource
    client: Client
    api: "ApiNotice"
    chance: Callable[[], float] = random.random
    may_send: Gate = open_gate
    pause: Callable[[float], object] = time.sleep

    def sender(self, gate: Gate) -> Sender:
        """Sends with the destination's credential, each request after passing the gate."""
        credential = self.destination.credential
        auth = ClientCredentials(credential, self.tokens) if credential.token_url else FixedToken(credential)
        return Sender(self.client, auth, gate, self._observe)

    def _observe(self, headers: Mapping[str, str]) -> None:
        """What an answer tells of limits and of its API's end; its loss must not cost the answer."""
        with suppress(StoreError):
            self.limits.observe(headers)
            self.api.observe(api_notice(headers))


class ApiNotice:
    """What the vendor says of the end of its API's version, kept for `status`.

    An answer that says nothing takes nothing back, since not all need to say it; the first of a new process does.
    """

    def __init__(self, lanes: Lanes) -> None:
        self._lanes = lanes
        self._kept: str | None = ""
        """Nothing is known at first: what another process noted may be out of date."""

    def observe(self, words: str | None) -> None:
        if words != self._kept and (words or not self._kept):
            self._lanes.keep_notes({f"{NOTICE}{API}": words})
            self._kept = words


def open_edges(
    settings: DestinationSettings,
    store: Store,
    client: Client,
    may_send: Gate = open_gate,
    pause: Callable[[float], object] = time.sleep,
) -> Edges:
    """The edges of one configured destination."""
    destination = REGISTRY[settings.kind](settings)
    credential = destination.credential
    return Edges(
        destination=destination,
        schedule=Schedule(
            max_changes=settings.batch.max_changes,
            max_age_ms=round(settings.batch.max_age_seconds * 1000),
            max_in_flight=settings.max_in_flight,
            settle_ms=round(settings.settle_seconds * 1000),
        ),
        lanes=store.lanes(settings.name),
        erasures=store.erasures(settings.name),
        dead_letters=store.dead_letters(settings.name),
        limits=store.limits(credential),
        tokens=store.tokens(credential),
        client=client,
        api=ApiNotice(store.lanes(settings.name)),
        may_send=may_send,
        pause=pause,
    )


def probe(edges: Edges, send: Send | None = None) -> str:
    """Try the credentials without changing anything; what was found, for a person. Raises `DeliveryError`."""
    return deliver(edges.destination.probe(), send or edges.sender(open_gate), {}, _keep_nothing)


def audiences(edges: Edges, send: Send) -> Sequence[AudienceFacts]:
    """What the vendor says of its audiences. Raises `DeliveryError`."""
    return deliver(edges.destination.audiences(), send, {}, _keep_nothing)


def _keep_nothing(_changed: object) -> None:
    """Who only looks notes nothing."""
