"""Erasures: what is done to lanes so that somebody is forgotten, how far that went, and the receipts.

Requests to forget wait in a lane of their own, `LaneKey.erasures`. Whoever leases it takes every other lane of the
destination in turn, so that nobody flushes it meanwhile.
"""

import json
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any, Final, NamedTuple, cast

from redis import Redis

from worker.contract import LaneKey, Waiting, decode
from worker.errors import LeaseLost
from worker.store import keys
from worker.store.connection import translated
from worker.store.lanes import Lease, Schedule
from worker.store.scripts import lone_script, script

PAGE: Final = 1_000
RECEIPTS_KEPT: Final = timedelta(days=90)


class Taken(NamedTuple):
    """A lane leased for an erasure, why nothing may be sent for it now, if so, and whether a person said that."""

    lease: Lease
    held: str | None
    by_hand: bool


class Audience(NamedTuple):
    """What is known of a lane's audience: its label, if it has one, whether the vendor may hold anybody there by this
    lane, and how many lanes the audience has now.
    """

    label: str
    may_have_members: bool
    shards: int = 1


class Erasures:
    """The erasures of one destination."""

    def __init__(self, client: Redis, destination: str, now_ms: Callable[[], int] | None = None) -> None:
        self.destination = destination
        self._client = client
        self._root = keys.destination_root(destination)
        self._now_ms = now_ms
        self._take, self._erase, self._pass = (script(client, name) for name in ("take", "erase", "pass"))
        self._remember, self._keep = script(client, "remember"), lone_script(client, "keep")

    def audiences(self) -> "dict[LaneKey, Audience]":
        """Every lane of which the vendor may hold anybody, with its label, and those where something waits."""
        with translated(), self._client.pipeline(transaction=False) as pipe:
            pipe.hgetall(self._root + keys.AUDIENCES)
            pipe.zrange(f"{self._root}:since", 0, -1)
            pipe.zrange(f"{self._root}:parked", 0, -1)
            pipe.hgetall(self._root + keys.SHARDS)
            labels, since, parked, shards = pipe.execute()
        members = dict.fromkeys([*labels, *since, *parked])
        lanes = {member: LaneKey.from_member(self.destination, member.decode()) for member in members}
        return {
            lane: Audience(
                labels.get(member, b"").decode(),
                may_have_members=member in labels,
                shards=int(shards.get(lane.audience.encode(), 1)),
            )
            for member, lane in lanes.items()
            if not lane.is_erasures
        }

    def remember(self, lane: LaneKey) -> None:
        """The vendor took, or may have taken, something of this lane, though it was not settled."""
        with translated():
            self._remember(keys=keys.declared(self._root), args=[lane.member])

    def take(self, lane: LaneKey, schedule: Schedule) -> Taken | None:
        """Lease one lane, due or not, held or not. None: it is being flushed."""
        token = uuid.uuid4().hex
        args = (lane.member, token, schedule.lease_ms, schedule.settle_ms, self._now())
        with translated():
            free, hold = cast("tuple[int, bytes]", self._take(keys=keys.declared(self._root), args=args))
        if not free:
            return None
        found = json.loads(hold or "{}")
        return Taken(Lease(lane, token, 0, 0, 0, 0, may_bury=False), found.get("reason"), found.get("by_hand", False))

    def waiting(self, lease: Lease) -> Iterator[tuple[int, Waiting]]:
        """Everything that waits in a leased lane, with its place from the head."""
        key, start = f"{self._root}:lane:{lease.lane.member}", 0
        while True:
            with translated():
                values = cast("list[bytes]", self._client.lrange(key, start, start + PAGE - 1))
            yield from enumerate(decode(values), start)
            start += PAGE
            if len(values) < PAGE:
                return

    def erase(self, lease: Lease, places: Sequence[int]) -> None:
        """Drop what waits at these places; it counts as discarded, and as erased. Raises `LeaseLost`."""
        # From the end, in pages: what is dropped does not move what is still to be dropped.
        ordered = sorted(places, reverse=True)
        for start in range(0, len(ordered), PAGE):
            self._owned(self._erase, lease.lane.member, lease.token, *ordered[start : start + PAGE])

    def passed(self) -> dict[str, int]:
        """How many of the oldest requests each lane has passed, by its name inside the destination."""
        with translated():
            found = cast("dict[bytes, bytes]", self._client.hgetall(f"{self._root}:erasing"))
        return {member.decode(): int(count) for member, count in found.items()}

    def note_passed(self, erasures: Lease, lane: LaneKey, count: int) -> None:
        """A lane has passed so many of the oldest requests. Raises `LeaseLost`."""
        self._owned(self._pass, erasures.token, lane.member, count)

    def keep_receipt(self, request: str, receipt: Mapping[str, object]) -> None:
        """Remember what became of a request to forget somebody."""
        kept_ms = round(RECEIPTS_KEPT.total_seconds() * 1000)
        with translated():
            self._keep(keys=[f"{self._root}:erasure:{request}"], args=["", json.dumps(receipt), kept_ms])

    def receipts(self, requests: Sequence[str]) -> dict[str, dict[str, Any]]:
        """What became of those of them that are done."""
        found: dict[str, dict[str, Any]] = {}
        for start in range(0, len(requests), PAGE):
            some = requests[start : start + PAGE]
            with translated():
                kept = self._client.mget([f"{self._root}:erasure:{request}" for request in some])
            found.update((request, json.loads(each)) for request, each in zip(some, kept, strict=True) if each)
        return found

    def _owned(self, run: Callable[..., object], *args: str | int) -> None:
        with translated():
            kept = run(keys=keys.declared(self._root), args=args)
        if not kept:
            raise LeaseLost(f"the lease of a lane of {self.destination} is no longer ours")

    def _now(self) -> int | str:
        return self._now_ms() if self._now_ms else ""
