"""The library: source events from any Python program into the lanes."""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from producers.clock import now_ms
from producers.intake import WAITS, Intake, Report
from producers.routing import Router
from producers.segment import RawEvent, Reason
from worker import settings
from worker.settings import Settings
from worker.store.store import open_store


@dataclass(frozen=True, slots=True)
class Published:
    """What became of one source event: Redis has its changes, or it was refused and brought none."""

    refused: Reason | None = None
    """Why it was refused; None: it was taken. The reasons are explained in `producers.events`."""
    changes: Mapping[str, int] = field(default_factory=dict)
    """By destination, how many changes were appended: one, or none where it had come before."""
    duplicates: Mapping[str, int] = field(default_factory=dict)
    """By destination, how many had come before (the same `messageId` and content, lately)."""
    left_out: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """By destination, what it does not get of it, though others may."""

    @property
    def accepted(self) -> bool:
        return self.refused is None


class Publisher:
    """Publishes source events to the destinations of a relay.toml. Threads may share one; make one a process.

    >>> from producers import Publisher
    >>> event = {
    ...     "type": "track",
    ...     "event": "Audience Entered",
    ...     "messageId": "m-1",
    ...     "properties": {"audience_key": "vip", "email": "jane@example.com"},
    ... }
    >>> with Publisher("relay.toml") as publisher:
    ...     published = publisher.publish(event)
    ...     report = publisher.publish_many([event, {"type": "page"}])
    >>> published.accepted, dict(published.changes)
    (True, {'shop': 1})
    >>> report.accepted, dict(report.duplicates), dict(report.refused)
    (1, {'shop': 1}, {'type': 1})

    When a call returns, Redis has the changes. With asyncio: `await asyncio.to_thread(publisher.publish, event)`.

    An event that cannot be used is no error: the outcome tells the reason. Errors, all to be had from `producers`:

    * `ConfigurationError`: of the constructor, the relay.toml cannot be used; of any call, its user of Redis lacks
      rights. `mistakes` has a line for each.
    * `StoreUnavailable`: Redis is away, and was at each repetition. Publish the same again later.
    * `StoreFull`: Redis, or a destination (`max_waiting`), has no room. Publish the same again when there is.

    After an error some of the changes may be there. To publish the same events again is harmless where they have a
    `messageId`: what is there is not appended twice.
    """

    def __init__(
        self, config: Settings | str | os.PathLike[str] | None = None, *, waits: Sequence[float] = WAITS
    ) -> None:
        """`config`: settings, or the path of a relay.toml; None: `$RELAY_CONFIG`, else `relay.toml`.

        `waits`: the seconds before each repetition while Redis is away; none: fail at once. Connects when first used.
        """
        relay = config if isinstance(config, Settings) else settings.load(Path(config or settings.default_path()))
        self._store = open_store(relay)
        self._intake = Intake(Router(relay.destinations), self._store, now_ms, waits=waits)

    def publish(self, event: RawEvent) -> Published:
        """Publish one source event: a mapping, or JSON as text or bytes."""
        reasons: list[Reason] = []
        chunk = self._intake.gather([(1, event)], lambda _number, reason: reasons.append(reason))
        report = Report()
        self._intake.store(chunk, report)
        if reasons:
            return Published(reasons[0])
        return Published(None, dict(report.changes), +report.duplicates, _by_destination(report))

    def publish_many(self, events: Iterable[RawEvent]) -> Report:
        """Publish source events in their order and in bounded memory, some thousand of them in each round trip.

        What `events` raises is raised when Redis has the changes of all that came before. While it yields nothing, what
        has come waits for the next one: who has to wait long should `publish` each, or some of them at a time.
        """
        if isinstance(events, bytes | str | Mapping):
            raise TypeError("publish_many takes several source events; use publish for one")
        given = _UntilError(events)
        report = self._intake.accept_many(given)
        if given.error is not None:
            raise given.error
        return report

    def close(self) -> None:
        """Give the connections back. Who publishes after that opens new ones."""
        self._store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


class _UntilError:
    """Source events that end where their iterator fails, with its error."""

    def __init__(self, events: Iterable[RawEvent]) -> None:
        self._events = events
        self.error: Exception | None = None

    def __iter__(self) -> Iterator[RawEvent]:
        try:
            yield from self._events
        except Exception as error:  # noqa: BLE001 - whatever it is, it is raised in the end
            self.error = error


def _by_destination(report: Report) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for destination, reason in report.left_out:
        found.setdefault(destination, []).append(reason)
    return found
