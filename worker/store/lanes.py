"""Lanes: append · wake · lease · read · extend · settle · hold, each one script behind one method.

Times are in milliseconds of the Redis clock. `Lanes` takes `now_ms` only from tests. Every method raises
`StoreUnavailable` or `StoreFull`; a call may then be repeated: appending by its chunk id, the rest because the
lease's token is checked.
"""

import uuid
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from hashlib import blake2b
from itertools import accumulate, takewhile
from typing import Any, Final, NamedTuple, cast

from redis import Redis
from redis.client import Pipeline
from redis.exceptions import NoScriptError

from worker.batching import Settlement
from worker.contract import Change, Identifier, LaneKey, Waiting, bucket, decode, encode, repeated
from worker.destinations.base import NOTICE, DestinationSettings
from worker.errors import LeaseLost, StoreFull
from worker.store import deadletters, keys
from worker.store.connection import translated
from worker.store.scripts import in_pipeline, script
from worker.store.status import DestinationStatus, Hold, lane_hold, status_of

CHUNK_MEMORY_MS: Final = 600_000
FIRST_VALUES: Final = 1_000
"""How many values of a lane are read before it is known how large they are."""
SHARDED: Final = -2
"""What `append` answers where an audience has several lanes yet, and nobody said to whom which change belongs."""


class Schedule(NamedTuple):
    """When lanes of a destination are due, and how many at once. Times in ms."""

    max_changes: int
    max_age_ms: int
    max_in_flight: int
    settle_ms: int
    lease_ms: int = 30_000
    request_ms: int = 20_000
    """The deadline of one request; a lease outlives it by 10 s."""


class Bounds(NamedTuple):
    """What a destination takes: so many changes waiting, and a message id once in so many ms (0: any number)."""

    max_waiting: int = 10_000_000
    window_ms: int = 0
    shards: int = 1
    """How many lanes an audience is to have."""

    @classmethod
    def of(cls, settings: DestinationSettings) -> "Bounds":
        return cls(settings.max_waiting, round(settings.duplicate_window_seconds * 1000), settings.shards)


class Lease(NamedTuple):
    """The right to drain one lane, until it runs out or is given back."""

    lane: LaneKey
    token: str
    attempts: int
    """How often in a row this lane was held."""
    faults: int
    """How many faults in a row the destination had, over all lanes."""
    destination_attempts: int
    """How often in a row the destination was held."""
    dead_letters: int
    """How many dead letters the destination has."""
    may_bury: bool
    """Whether somebody has allowed to bury a great part of a batch."""

    @property
    def batch_id(self) -> str:
        """For logs and vendors: unlike that of any other lease."""
        return self.token[:12]


class Woken(NamedTuple):
    """The claims of the wake-ups to send, and in how many ms to look again. None: no lane will be due by its age."""

    claims: Sequence[str]
    next_ms: int | None


class Lanes:
    """The lanes of one destination."""

    def __init__(self, client: Redis, destination: str, now_ms: Callable[[], int] | None = None) -> None:
        self.destination = destination
        self._client = client
        self._root = keys.destination_root(destination)
        self._now_ms = now_ms
        self._announced = False
        self._scripts = {name: script(client, name) for name in _SCRIPTS}

    def append(self, lane: LaneKey, changes: Sequence[Change], chunk_id: str, bounds: Bounds | None = None) -> int:
        """Push changes onto the tail. When this returns, Redis has them; the same chunk id may be repeated.

        The lane is the audience's, as `LaneKey.unsharded` has it; where it has several, each change goes to the one of
        its person. At most 1,000 changes. Returns how many were added: those whose message id was appended lately are
        left out, and counted. Raises `StoreFull` when the destination would hold more than it may.
        """
        bounds = bounds or Bounds()
        added: int = self._run("append", *self._appended(lane, changes, chunk_id, bounds))
        if added == SHARDED:
            added = self._run("append", *self._appended(lane, changes, chunk_id, bounds, spread=True))
        if added < 0:
            raise self.full(bounds)
        return added

    def append_through(
        self, pipeline: Pipeline, lane: LaneKey, changes: Sequence[Change], chunk_id: str, bounds: Bounds
    ) -> None:
        """The same in a pipeline. It will answer how many were added, -1 for full, `SHARDED` or `NoScriptError`."""
        args = self._appended(lane, changes, chunk_id, bounds)
        with translated():
            in_pipeline(pipeline, self._scripts["append"], keys.declared(self._root), args)

    def _appended(
        self, lane: LaneKey, changes: Sequence[Change], chunk_id: str, bounds: Bounds, *, spread: bool = False
    ) -> Sequence[str | bytes | float]:
        """What the script is given; with buckets where the audience has, or is to have, several lanes."""
        self._announce()
        member, shards = lane.member, 1 if lane.is_erasures else bounds.shards
        values = [part for change in changes for part in (_digest(repeated(member, change)), encode(change))]
        buckets = [bucket(change.identifiers[0]) for change in changes] if spread or shards > 1 else ()
        fixed = (member, chunk_id, CHUNK_MEMORY_MS, bounds.max_waiting, bounds.window_ms, self._now(), shards)
        return (*fixed, len(changes), *values, *buckets)

    def full(self, bounds: Bounds) -> StoreFull:
        """What is raised where there is no room."""
        return StoreFull(
            f"{self.destination} would hold more than {bounds.max_waiting:,} changes waiting; repeat when workers have "
            "drained some (`audience-relay status` tells what is held), or raise its max_waiting"
        )

    def wake(self, schedule: Schedule, claims: Sequence[str], claim_ms: int) -> "Woken":
        """Claim a wake-up for each due lane that may run now."""
        count, next_ms = self._run(
            "wake",
            claim_ms,
            schedule.settle_ms,
            schedule.max_changes,
            schedule.max_age_ms,
            schedule.max_in_flight,
            self._now(),
            *claims,
        )
        return Woken(claims[:count], None if next_ms < 0 else next_ms)

    def begin(self, claim: str, for_ms: int) -> bool:
        """Keep a wake-up's claim while it runs. False: the claim has run out, do nothing."""
        return bool(self._run("begin", claim, for_ms, self._now()))

    def finish(self, claim: str) -> None:
        """Give a claim back."""
        with translated():
            self._client.zrem(f"{self._root}:wakeups", claim)

    def lease(self, schedule: Schedule) -> Lease | None:
        """The oldest due lane, or None: nothing is due, as many as may be are leased, or the destination is held."""
        token = uuid.uuid4().hex
        found = self._run(
            "lease",
            token,
            schedule.lease_ms,
            schedule.settle_ms,
            schedule.max_changes,
            schedule.max_age_ms,
            schedule.max_in_flight,
            self._now(),
        )
        if found is None:
            return None
        lane, attempts, faults, destination_attempts, dead_letters, may_bury = found
        key = LaneKey.from_member(self.destination, lane.decode())
        return Lease(key, token, attempts, faults, destination_attempts, dead_letters, bool(may_bury))

    def read(self, lease: Lease, most: int, max_bytes: int) -> list[Waiting]:
        """The oldest changes of the lane; they stay there. At least one, unless an erasure has to go first.

        Raises `msgspec.DecodeError` when a newer release has written one.
        """
        values, barrier = self._head(lease.lane, most, max_bytes)
        fitting = bisect_right(list(accumulate(map(len, values))), max_bytes)
        waiting = decode(values[: max(1, fitting)])
        if not barrier:
            return waiting
        # Redis' clock may step back: what stands behind a newer one waits with it, though its own stamp be older.
        return list(takewhile(lambda each: each.stamp <= int(barrier), waiting))

    def of_audience(self, audience: str) -> list[LaneKey]:
        """The lanes that an audience has now."""
        with translated():
            found = cast("bytes | None", self._client.hget(self._root + keys.SHARDS, audience))
        return [LaneKey(self.destination, audience, shard) for shard in range(int(found or 1))]

    def extend(self, lease: Lease, schedule: Schedule) -> None:
        """Keep the lease for one more request. Raises `LeaseLost`."""
        self._owned("extend", lease.lane.member, lease.token, schedule.lease_ms, schedule.request_ms, self._now())

    def settle(
        self, lease: Lease, settlement: Settlement, *, superseding: Mapping[Identifier, int] | None = None
    ) -> None:
        """Take the delivered head off the lane and give the lease back. Raises `LeaseLost`.

        `superseding`: whom the vendor took, with the stamps of the changes; older dead letters of theirs are marked.
        """
        marked: Sequence[int] = ()
        if superseding:
            marked = deadletters.superseded(self._client, lease.lane, superseding, lease.dead_letters)
        letters = [deadletters.encode(lease.lane, burial) for burial in settlement.buried]
        self._owned(
            "settle",
            lease.lane.member,
            lease.token,
            settlement.taken,
            settlement.delivered,
            settlement.folded,
            settlement.invalid_unnamed,
            settlement.audience_name,
            self._now(),
            len(marked),
            *marked,
            *letters,
        )

    def give_back(
        self,
        lease: Lease,
        reason: str = "",
        *,
        lane_ms: int = 0,
        settle_ms: int = 0,
        destination_ms: int = 0,
        fault: bool = False,
        attempt: bool = True,
    ) -> None:
        """Return a lease undelivered, with a hold on the lane, on the destination, or on neither.

        For `settle_ms` the vendor may still apply what it was sent: the lane is held for so long, whoever releases it.
        `fault` counts towards the faults in a row that hold the destination, `attempt` towards the lane's holds in a
        row. Raises `LeaseLost`.
        """
        self._owned(
            "hold",
            lease.lane.member,
            lease.token,
            reason,
            lane_ms,
            settle_ms,
            int(attempt),
            destination_ms,
            int(fault),
            self._now(),
        )

    def hold_by_hand(self, lane: LaneKey | None, reason: str, for_ms: int | None = None) -> None:
        """An operator's hold on a lane, or with None on the destination; without `for_ms` until released."""
        self._announce()
        member = lane.member if lane else ""
        self._run("hold_by_hand", member, reason, -1 if for_ms is None else for_ms, self._now())

    def release(self, lane: LaneKey | None, *, bury: bool = False) -> bool:
        """End a hold. False: there was none. `bury` lets the lane's next attempt bury however many are refused.

        A lane whose last request the vendor may still apply stays held until it cannot.
        """
        return bool(self._run("release", lane.member if lane else "", int(bury), self._now()))

    def hold_of(self, lane: LaneKey) -> Hold | None:
        """The hold of one lane that lasts now."""
        with translated():
            found = cast("bytes | None", self._client.hget(f"{self._root}:holds", lane.member))
        return lane_hold(found or b"", self.status(0).now_ms)

    def notes(self, names: Iterable[str]) -> dict[str, str]:
        """Those of the destination's notes that exist."""
        wanted = list(names)
        notices = [name for name in wanted if name.startswith(NOTICE)]
        found = self._fields(f"{self._root}:notes", [name for name in wanted if not name.startswith(NOTICE)])
        if not notices:
            return found
        words = self._fields(self._root + keys.NOTICES, [name.removeprefix(NOTICE) for name in notices])
        return found | {f"{NOTICE}{name}": value for name, value in words.items()}

    def keep_notes(self, changed: Mapping[str, str | None]) -> None:
        """Save notes; None forgets one."""
        kept = [part for name, value in changed.items() if value is not None for part in (name, value)]
        self._run("note", len(changed), *changed, *kept)

    def status(self, most_lanes: int) -> DestinationStatus:
        """Counters, holds and lanes, all of one moment."""
        return status_of(self.destination, self._run("status", most_lanes, self._now()))

    def count_left_out(self, reasons: Mapping[str, int]) -> None:
        """Count what the destination does not get of source events that were accepted."""
        self._announce()
        with translated():
            for reason, count in reasons.items():
                self._client.hincrby(self._root + keys.LEFT_OUT, reason, count)

    def _head(self, lane: LaneKey, most: int, max_bytes: int) -> tuple[list[bytes], bytes]:
        """The oldest values, of not many more than so many bytes, and up to which stamp they may be read.

        Empty: to the end. The size of the first ones tells how many more to ask for.
        """
        values, size, count = list[bytes](), 0, min(most, FIRST_VALUES)
        while True:
            page, barrier = self._page(lane, len(values), count)
            values += page
            size += sum(map(len, page))
            if len(page) < count or len(values) == most or size >= max_bytes:
                return values, barrier
            count = min(most - len(values), 1 + (max_bytes - size) * len(values) // size)

    def _page(self, lane: LaneKey, start: int, count: int) -> tuple[list[bytes], bytes]:
        """Values, and the barrier as things are after that."""
        with translated(), self._client.pipeline(transaction=False) as pipe:
            pipe.lrange(f"{self._root}:lane:{lane.member}", start, start + count - 1)
            if lane.is_erasures:
                return pipe.execute()[0], b""
            in_pipeline(pipe, self._scripts["barrier"], keys.declared(self._root), (lane.member,))
            values, barrier = pipe.execute(raise_on_error=False)
            for answer in (values, barrier):
                if isinstance(answer, Exception) and not isinstance(answer, NoScriptError):
                    raise answer
        return values, self._run("barrier", lane.member) if isinstance(barrier, NoScriptError) else barrier

    def _fields(self, key: str, names: Sequence[str]) -> dict[str, str]:
        if not names:
            return {}
        with translated():
            found = cast("list[bytes | None]", self._client.hmget(key, list(names)))
        return {name: value.decode() for name, value in zip(names, found, strict=True) if value is not None}

    def _announce(self) -> None:
        """Make the destination known to `status`, once per process."""
        if not self._announced:
            with translated():
                self._client.sadd(keys.DESTINATIONS, self.destination)
            self._announced = True

    def _now(self) -> int | str:
        return self._now_ms() if self._now_ms else ""

    def _owned(self, name: str, *args: str | bytes | float) -> None:
        if not self._run(name, *args):
            raise LeaseLost(f"the lease of a lane of {self.destination} is no longer ours")

    def _run(self, name: str, *args: str | bytes | float) -> Any:
        with translated():
            return self._scripts[name](keys=keys.declared(self._root), args=args)


_SCRIPTS: Final = (
    "append", "wake", "begin", "lease", "barrier", "extend", "settle", "hold", "hold_by_hand", "release", "note",
    "status",
)  # fmt: skip


def _digest(repeated_as: bytes) -> bytes:
    """63 bits of it as decimal text, for a set of small integers; nothing for nothing."""
    if not repeated_as:
        return b""
    return b"%d" % (int.from_bytes(blake2b(repeated_as, digest_size=8).digest()) >> 1)
