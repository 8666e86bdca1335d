"""One Redis, opened: the lanes, limits and tokens that are kept there, and the way in for producers."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, ParamSpec, cast

from redis import Redis
from redis.cluster import RedisCluster
from redis.exceptions import NoScriptError

from worker.contract import Change, LaneKey
from worker.destinations.base import Credential
from worker.errors import StoreFull
from worker.settings import Settings
from worker.store import keys
from worker.store.connection import connect, memory_used, redis_url, translated, verify
from worker.store.deadletters import DeadLetters
from worker.store.erasures import Erasures
from worker.store.lanes import SHARDED, Bounds, Lanes
from worker.store.limits import Limits
from worker.store.tokens import Tokens

FULL_AT: Final = 0.8
"""Appending is refused when so much of `maxmemory` is used: the rest is for draining."""
SAMPLE_SECONDS: Final = 1.0
Given = ParamSpec("Given")


class Store:
    """Everything in Redis. Safe to share between threads; connects when first used."""

    def __init__(
        self,
        client: Redis,
        bounds: Mapping[str, Bounds] | None = None,
        now_ms: Callable[[], int] | None = None,
    ) -> None:
        self._client = client
        self._bounds = bounds or {}
        self._now_ms = now_ms
        self._lanes: dict[str, Lanes] = {}
        self._memory_read_at = 0.0
        self._memory_used = 0.0

    def lanes(self, destination: str) -> Lanes:
        if destination not in self._lanes:
            self._lanes[destination] = Lanes(self._client, destination, self._now_ms)
        return self._lanes[destination]

    def limits(self, credential: Credential) -> Limits:
        return Limits(self._client, credential, self._now_ms)

    def tokens(self, credential: Credential) -> Tokens:
        return Tokens(self._client, credential, self._now_ms)

    def dead_letters(self, destination: str) -> DeadLetters:
        return DeadLetters(self._client, destination, self._now_ms)

    def erasures(self, destination: str) -> Erasures:
        return Erasures(self._client, destination, self._now_ms)

    def verify(self) -> list[str]:
        """Warnings about this Redis; raises when it will not do."""
        return verify(self._client)

    def append(self, lane: LaneKey, changes: Sequence[Change], chunk_id: str) -> int:
        """Add at most 1,000 changes to the tail of a lane; with the same `chunk_id` it may be repeated.

        Returns how many were added: those whose message id was appended lately are not.

        Raises `StoreUnavailable`, or `StoreFull` well before Redis is, and at the destination's `max_waiting`.
        """
        self._refuse_when_full()
        return self.lanes(lane.destination).append(lane, changes, chunk_id, self._bounds_of(lane))

    def append_each(self, pieces: Sequence[tuple[LaneKey, Sequence[Change], str]]) -> list[int | StoreFull]:
        """Append all in their order, each as `append` does, in one round trip.

        Where a destination has no room, the error stands in place of the number of changes that were added. Raises
        `StoreUnavailable`, or `StoreFull` well before Redis is.
        """
        self._refuse_when_full()
        pipeline = self._client.pipeline(transaction=False)
        for lane, changes, chunk_id in pieces:
            self.lanes(lane.destination).append_through(pipeline, lane, changes, chunk_id, self._bounds_of(lane))
        with translated():
            outcomes = pipeline.execute(raise_on_error=False)
        return [_or_full(self._added, piece, outcome) for piece, outcome in zip(pieces, outcomes, strict=True)]

    def expect_room(self) -> None:
        """Raise `StoreUnavailable` or `StoreFull` when an append would now be refused, whatever its destination."""
        self._refuse_when_full()
        with translated():
            for root in self._roots():
                self._client.setrange(f"{root}:", 0, "")

    def count_refused(self, reasons: Mapping[str, int]) -> None:
        """Count source events that routing did not accept."""
        with translated():
            for reason, count in reasons.items():
                self._client.hincrby(keys.REFUSED, reason, count)

    def count_left_out(self, destination: str, reasons: Mapping[str, int]) -> None:
        """Count what a destination does not get of source events that were accepted."""
        self.lanes(destination).count_left_out(reasons)

    def refused(self) -> dict[str, int]:
        """Source events that routing did not accept, by reason."""
        with translated():
            found = cast("dict[bytes, bytes]", self._client.hgetall(keys.REFUSED))
        return {reason.decode(): int(count) for reason, count in found.items()}

    def destinations(self) -> set[str]:
        """The names of all destinations that ever had a change or a hold."""
        with translated():
            return {name.decode() for name in cast("set[bytes]", self._client.smembers(keys.DESTINATIONS))}

    def close(self) -> None:
        self._client.close()

    def _bounds_of(self, lane: LaneKey) -> Bounds:
        return self._bounds.get(lane.destination) or Bounds()

    def _roots(self) -> Iterable[str]:
        """Of a cluster, one for each destination, since each may lie on another node; one stands for all elsewhere."""
        if isinstance(self._client, RedisCluster) and self._bounds:
            return map(keys.destination_root, self._bounds)
        return [keys.PREFIX]

    def _added(self, piece: tuple[LaneKey, Sequence[Change], str], outcome: Any) -> int:
        """Of one append in a pipeline, done alone when Redis did not know the script, or wants to know the shards."""
        lane, changes, chunk_id = piece
        if outcome == SHARDED or isinstance(outcome, NoScriptError):
            return self.lanes(lane.destination).append(lane, changes, chunk_id, self._bounds_of(lane))
        if isinstance(outcome, Exception):
            with translated():
                raise outcome
        if outcome < 0:
            raise self.lanes(lane.destination).full(self._bounds_of(lane))
        return int(outcome)

    def _refuse_when_full(self) -> None:
        now = time.monotonic()
        if now - self._memory_read_at > SAMPLE_SECONDS:
            self._memory_used = memory_used(self._client)
            self._memory_read_at = now
        if self._memory_used > FULL_AT:
            raise StoreFull(
                f"Redis uses {self._memory_used:.0%} of its maxmemory; repeat when workers have drained some, "
                "or raise maxmemory"
            )


def _or_full(append: Callable[Given, int], *given: Given.args, **named: Given.kwargs) -> int | StoreFull:
    try:
        return append(*given, **named)
    except StoreFull as error:
        return error


def open_store(settings: Settings) -> Store:
    """The store of a configuration. Raises `ConfigurationError` for a `redis.url` that cannot be read."""
    return Store(connect(redis_url(settings)), {each.name: Bounds.of(each) for each in settings.destinations})
