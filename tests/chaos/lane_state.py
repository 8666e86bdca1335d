"""What Redis holds of one destination, read raw, past the code under test."""

import json
import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from redis import Redis

from tests.chaos.lane_model import Lane, Value
from worker.contract import Change, decode
from worker.store import keys
from worker.store.status import COUNTERS


@dataclass(frozen=True, slots=True)
class LaneState:
    """All that decides what becomes of changes. Empty lanes and counts of zero are left out."""

    lanes: Mapping[Lane, list[Value]]
    since: Mapping[Lane, float]
    depth: Mapping[Lane, float]
    parked: Mapping[Lane, float]
    leases: Mapping[Lane, tuple[int, int, str]]
    holds: Mapping[Lane, tuple[float, int, bool]]
    wakeups: Mapping[str, float]
    counters: Mapping[str, int]

    @property
    def unaccounted(self) -> int:
        accepted, *became = (self.counters.get(name, 0) for name in COUNTERS)
        return accepted - sum(became)

    def running(self, now: int, beside: Collection[str]) -> int:
        """How many leases have not run out, those with these tokens aside."""
        return sum(ends > now and token not in beside for ends, _, token in self.leases.values())


def read_state(redis: Redis, destination: str, lanes: Iterable[Lane]) -> LaneState:
    """All of one moment. A lane that is not among `lanes` shows in the indexes."""
    root, names = keys.destination_root(destination), list(lanes)
    with redis.pipeline() as pipe:
        for index in ("since", "depth", "parked", "wakeups"):
            pipe.zrange(f"{root}:{index}", 0, -1, withscores=True)
        for table in ("leases", "holds", "counters"):
            pipe.hgetall(f"{root}:{table}")
        for name in names:
            pipe.lrange(f"{root}:lane:{name}", 0, -1)
        since, depth, parked, wakeups, leases, holds, counters, *contents = pipe.execute()
    values = {name: [_plain(each) for each in content] for name, content in zip(names, contents, strict=True)}
    return LaneState(
        lanes={name: content for name, content in values.items() if content},
        since=_scores(since),
        depth=_scores(depth),
        parked=_scores(parked),
        leases={lane.decode(): _lease(found) for lane, found in leases.items()},
        holds={lane.decode(): _hold(found) for lane, found in holds.items()},
        wakeups=_scores(wakeups),
        counters={name.decode(): int(count) for name, count in counters.items() if int(count)},
    )


def everything(redis: Redis) -> dict[bytes, Any]:
    """Every key with its value, but for the list of destinations, in which a refused one may stand."""
    names = sorted(set(redis.scan_iter(count=1000)) - {keys.DESTINATIONS.encode()})
    with redis.pipeline() as pipe:
        for name in names:
            pipe.dump(name)
        return dict(zip(names, pipe.execute(), strict=True))


def _scores(rows: Iterable[tuple[bytes, float]]) -> dict[str, float]:
    return {member.decode(): score for member, score in rows}


def _lease(found: bytes) -> tuple[int, int, str]:
    ends, sent, token = found.decode().split(" ")
    return int(ends), int(sent), token


def _hold(found: bytes) -> tuple[float, int, bool]:
    hold = json.loads(found)
    until = math.inf if hold["until"] == -1 else float(hold["until"])
    return until, hold["attempts"], bool(hold["by_hand"])


def _plain(value: bytes) -> tuple[int, Change]:
    (waiting,) = decode([value])
    return waiting.stamp, waiting.change
