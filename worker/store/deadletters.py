"""Dead letters: changes that a vendor refused for good, kept with the reason until replayed or discarded."""

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from itertools import islice
from typing import Any, Final, NamedTuple, TypeVar, cast

import msgspec
from redis import Redis

from worker import contract
from worker.batching import Burial
from worker.contract import Change, Identifier, IdentifierType, LaneKey, bucket
from worker.store import keys
from worker.store.connection import translated
from worker.store.scripts import script

Item = TypeVar("Item")
Letter = TypeVar("Letter", bound="DeadLetter | Mark")

PAGE: Final = 1_000


class DeadLetter(NamedTuple):
    """One of them. Times in ms; `superseded`: a newer change of the same person was delivered since."""

    number: int
    lane: LaneKey
    reason: str
    buried_ms: int
    arrived_ms: int
    change: Change
    superseded: bool

    @property
    def mark(self) -> "Mark":
        return Mark(self.number, self.lane.unsharded, self.arrived_ms, bucket(self.change.identifiers[0]))


class Mark(NamedTuple):
    """What a replay needs of a dead letter: little enough to keep very many in memory. `lane` is unsharded."""

    number: int
    lane: LaneKey
    arrived_ms: int
    bucket: int


class Replayed(NamedTuple):
    """What a replay did. `stayed`: those whose lane is being flushed, or that became another one meanwhile; or all,
    while persons are being forgotten.
    """

    replayed: int
    superseded: int
    stayed: tuple[Mark, ...] = ()


class Stock(NamedTuple):
    """How many there are, when the oldest was buried (ms), and how many were buried before a given moment."""

    total: int = 0
    oldest_ms: int | None = None
    before: int = 0


class DeadLetters:
    """The dead letters of one destination."""

    def __init__(self, client: Redis, destination: str, now_ms: Callable[[], int] | None = None) -> None:
        self.destination = destination
        self._client = client
        self._root = keys.destination_root(destination)
        self._now_ms = now_ms
        self._replay = script(client, "replay")
        self._discard = script(client, "discard")

    def __iter__(self) -> Iterator[DeadLetter]:
        """All of them, the longest buried first. Raises as `read` does."""
        return self.read(self.numbers())

    def numbers(self, *, since_ms: int | None = None, until_ms: int | None = None) -> list[int]:
        """The numbers of those buried since the one moment and before the other, the longest buried first."""
        low = "-inf" if since_ms is None else since_ms
        high = "+inf" if until_ms is None else f"({until_ms}"
        with translated():
            found = cast("list[bytes]", self._client.zrangebyscore(f"{self._root}:dead-by-time", low, high))
        return sorted(map(int, found))

    def read(self, numbers: Iterable[int]) -> Iterator[DeadLetter]:
        """Those of them that are there, in this order, a page at a time.

        Raises `msgspec.DecodeError` when a newer release has written one.
        """
        for some in _pages(numbers):
            yield from self._letters(some)

    def get(self, number: int) -> DeadLetter | None:
        return next(self.read([number]), None)

    def stock(self, *, before_ms: int) -> Stock:
        """How many there are, and how many of them were buried before a moment; cheap however many there are."""
        key = f"{self._root}:dead-by-time"
        with translated(), self._client.pipeline(transaction=False) as pipe:
            pipe.zcard(key)
            pipe.zrange(key, 0, 0, withscores=True)
            pipe.zcount(key, "-inf", f"({before_ms}")
            total, oldest, before = pipe.execute()
        return Stock(total, int(oldest[0][1]) if oldest else None, before)

    def replay(self, letters: Iterable[DeadLetter | Mark], *, force: bool = False) -> Replayed:
        """Put them back at the heads of their lanes: whatever waits there is newer. Superseded ones only by `force`.

        In the order of `newest_first`, so that the oldest come to stand in front. Of a lane that is being flushed
        nothing more is replayed: it would come to stand before what is older. While persons are being forgotten nothing
        is: it might come into a lane that they were taken out of already. An audience may have other lanes now.
        """
        marks = [each.mark if isinstance(each, DeadLetter) else each for each in letters]
        with translated():
            known = cast("dict[bytes, bytes]", self._client.hgetall(self._root + keys.SHARDS))
        lanes: defaultdict[tuple[LaneKey, int], list[Mark]] = defaultdict(list)
        for mark in newest_first(marks):
            shards = int(known.get(mark.lane.audience.encode(), 1))
            lane = mark.lane if shards == 1 else mark.lane._replace(shard=mark.bucket % shards)
            lanes[lane, shards].append(mark)
        done = [self._replay_lane(lane, shards, mine, force=force) for (lane, shards), mine in lanes.items()]
        return Replayed(
            sum(each.replayed for each in done),
            sum(each.superseded for each in done),
            tuple(mark for each in done for mark in each.stayed),
        )

    def discard(self, numbers: Sequence[int], *, counter: str = "") -> int:
        """Forget them for good; `counter` counts them beside `discarded`. Returns how many there were."""
        count = 0
        for some in _pages(numbers):
            with translated():
                count += cast("int", self._discard(keys=keys.declared(self._root), args=[counter, *some]))
        return count

    def expire(self, older_than: timedelta, most: int) -> int:
        """Discard what is older, and the oldest of what is more than `most`; at most a page at once."""
        before = self._now() - round(older_than.total_seconds() * 1000)
        key = f"{self._root}:dead-by-time"
        with translated():
            old = cast("list[bytes]", self._client.zrangebyscore(key, "-inf", before, 0, PAGE))
            surplus = min(PAGE, self._client.zcard(key) - most)
            extra = cast("list[bytes]", self._client.zrange(key, 0, surplus - 1)) if surplus > 0 else []
        return self.discard([int(number) for number in dict.fromkeys([*old, *extra])], counter="expired")

    def _letters(self, numbers: Sequence[int]) -> list[DeadLetter]:
        with translated(), self._client.pipeline(transaction=False) as pipe:
            pipe.hmget(f"{self._root}:dead", [str(number) for number in numbers])
            pipe.zmscore(f"{self._root}:dead-by-time", [str(number) for number in numbers])
            pipe.smismember(f"{self._root}:dead-superseded", [str(number) for number in numbers])
            found, times, superseded = pipe.execute()
        rows = zip(numbers, found, times, superseded, strict=True)
        return [self._letter(*row) for row in rows if None not in row]  # one may go while it is read

    def _letter(self, number: int, letter: bytes, buried: float, superseded: int) -> DeadLetter:
        head, change = letter.split(b"\n", 1)
        facts: dict[str, Any] = json.loads(head)
        (waiting,) = contract.decode([contract.stamped(int(facts["stamp"]), change)])
        lane = LaneKey.from_member(self.destination, facts["lane"])
        return DeadLetter(
            number, lane, facts["reason"], int(buried), waiting.stamp, waiting.change, superseded=bool(superseded)
        )

    def _replay_lane(self, lane: LaneKey, shards: int, marks: Sequence[Mark], *, force: bool) -> Replayed:
        replayed = superseded = tried = 0
        for some in _pages(marks):
            numbers = [each.number for each in some]
            args = [lane.member, shards, int(force), self._now_ms() if self._now_ms else "", *numbers]
            with translated():
                count, passed_over = cast("list[int]", self._replay(keys=keys.declared(self._root), args=args))
            if count < 0:
                break
            replayed, superseded, tried = replayed + count, superseded + passed_over, tried + len(some)
        return Replayed(replayed, superseded, tuple(marks[tried:]))

    def _now(self) -> int:
        if self._now_ms:
            return self._now_ms()
        with translated():
            seconds, micros = self._client.time()
        return seconds * 1000 + micros // 1000


def newest_first(letters: Iterable[Letter]) -> list[Letter]:
    """Lane by lane, each from the newest arrival to the oldest."""
    return sorted(letters, key=lambda each: (each.lane, each.arrived_ms, each.number), reverse=True)


def encode(lane: LaneKey, burial: Burial) -> bytes:
    """A dead letter as it is kept. By `persons` a newer change finds it, in whatever form it came."""
    waiting = burial.waiting
    head = {
        "lane": lane.member,
        "reason": burial.reason,
        "stamp": f"{waiting.stamp:0{contract.STAMP_DIGITS}}",
        "persons": [_person(lane, identifier) for identifier in burial.handles or waiting.change.identifiers],
    }
    return json.dumps(head).encode() + b"\n" + contract.encode(waiting.change)


def superseded(client: Redis, lane: LaneKey, delivered: Mapping[Identifier, int], letters: int) -> list[int]:
    """The numbers of dead letters that are older than what was delivered of the same person (with its stamp).

    Persons in the vendor's form. What arrived with it and was buried before it stood in front of it. `letters`: how
    many there are, about; all are looked at where they are few, since a few should not make every batch dear.
    """
    key = f"{keys.destination_root(lane.destination)}:dead-persons"
    find = _among_all if letters <= len(delivered) else _one_by_one
    with translated():
        return [number for stamp, marks in find(client, key, lane, delivered) for number in _no_newer(marks, stamp)]


Found = Iterator[tuple[int, bytes]]
"""Stamps of what was delivered, each with the marks of the dead letters of the same person."""


def _among_all(client: Redis, key: str, lane: LaneKey, delivered: Mapping[Identifier, int]) -> Found:
    member = lane.unsharded.member
    for person, marks in cast("dict[bytes, bytes]", client.hgetall(key)).items():
        whose, type_, value = _decode_person(person)
        if whose == member and (stamp := delivered.get(Identifier(type_, value))) is not None:
            yield stamp, marks


def _one_by_one(client: Redis, key: str, lane: LaneKey, delivered: Mapping[Identifier, int]) -> Found:
    for some in _pages(delivered.items()):
        found = cast("list[bytes | None]", client.hmget(key, [_person(lane, each) for each, _ in some]))
        yield from ((stamp, marks) for (_, stamp), marks in zip(some, found, strict=True) if marks)


def _no_newer(marks: bytes, stamp: int) -> list[int]:
    pairs = (mark.split(b"@") for mark in marks.split())
    return [int(number) for number, arrived in pairs if int(arrived) <= stamp]


def _person(lane: LaneKey, identifier: Identifier) -> str:
    return msgspec.json.encode((lane.unsharded.member, identifier.type, identifier.value)).decode()


_decode_person: Final = msgspec.json.Decoder(tuple[str, IdentifierType, str]).decode


def _pages(items: Iterable[Item]) -> Iterator[tuple[Item, ...]]:
    rest = iter(items)
    while page := tuple(islice(rest, PAGE)):
        yield page
