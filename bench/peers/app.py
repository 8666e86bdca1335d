"""The same work with Celery alone, as one would write it: `celery-batches`, and one plain task per event.

`celery -A bench.peers.app worker`, with `PEER_BROKER` and `PEER_SINK` in the environment. Imports nothing of the
relay.
"""

import os
import re
from collections.abc import Iterable, Sequence
from typing import Any, Final, Literal

import httpx
from celery import Celery
from celery_batches import Batches, SimpleRequest
from pydantic import BaseModel, ConfigDict, Field

from bench.events import audience_id

FLUSH_EVERY: Final = 1_000
FLUSH_SECONDS: Final = 1
ADDRESS: Final = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")
SEGMENTS: Final = f"{os.environ['PEER_SINK']}/criteo/2026-07/marketing-solutions/audience-segments"

app: "Celery[Any]" = Celery("peers", broker=os.environ["PEER_BROKER"])
app.conf.update(
    task_ignore_result=True,
    result_backend=None,
    worker_prefetch_multiplier=10 * FLUSH_EVERY,  # as celery-batches asks for: more than a batch
    worker_send_task_events=False,
    worker_hijack_root_logger=False,
    broker_connection_retry_on_startup=True,
)
_client = httpx.Client(trust_env=False)


class Part(BaseModel):
    model_config = ConfigDict(frozen=True)


class Traits(Part):
    email: str


class Context(Part):
    traits: Traits


class Properties(Part):
    model_config = ConfigDict(extra="allow")

    audience_key: str


class SourceEvent(Part):
    """What is read of a `track` call."""

    type: Literal["track"]
    message_id: str = Field(alias="messageId")
    timestamp: str
    properties: Properties
    context: Context

    @property
    def entered(self) -> bool:
        return bool((self.properties.model_extra or {})[self.properties.audience_key])

    @property
    def email(self) -> str:
        address = self.context.traits.email.strip().lower()
        if not ADDRESS.fullmatch(address):
            raise ValueError("no email")
        return address


@app.task(base=Batches, flush_every=FLUSH_EVERY, flush_interval=FLUSH_SECONDS, name="peers.batched")
def batched(requests: Sequence[SimpleRequest]) -> None:
    _deliver(request.args[0] for request in requests)


@app.task(name="peers.alone")
def alone(text: str) -> None:
    _deliver([text])


def _deliver(texts: Iterable[str]) -> None:
    """Group by audience; the newest of each person wins; removes first, then adds."""
    audiences: dict[str, dict[str, bool]] = {}
    for text in texts:
        event = SourceEvent.model_validate_json(text)
        audiences.setdefault(event.properties.audience_key, {})[event.email] = event.entered
    for key, people in audiences.items():
        _amend(key, "remove", [who for who, entered in people.items() if not entered])
        _amend(key, "add", [who for who, entered in people.items() if entered])


def _amend(key: str, operation: str, people: Sequence[str]) -> None:
    if not people:
        return
    attributes = {"operation": operation, "identifierType": "email", "identifiers": people}
    body = {"data": {"type": "ContactlistAmendment", "attributes": attributes}}
    url = f"{SEGMENTS}/{audience_id(key)}/contact-list"
    answer = _client.patch(url, json=body, headers={"authorization": "Bearer token"})
    answer.raise_for_status()
    if answer.json()["data"]["attributes"]["nbInvalidIdentifiers"]:
        raise ValueError("invalid identifiers")
