"""Dead letters: changes that a vendor refused for good, kept with the reason until replayed or discarded."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from hashlib import blake2b
from itertools import groupby, islice
from typing import Any, Final, NamedTuple, TypeVar, cast

from redis import Redis

from worker import contract
from worker.batching import Burial
from worker.contract import Change, Identifier, LaneKey
from worker.store import keys
from worker.store.connection import translated
from worker.store.scripts import script

Item = TypeVar("Item")

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


class Replayed(NamedTuple):
    """What a replay did. `busy`: so many stayed because their lane is being flushed; try again."""

    replayed: int
    superseded: int
    busy: int


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
        """All of them, the longest buried first, read a page at a time."""
        first = 0
        while page := self._page(first):
            yield from page
            first += PAGE

    def get(self, number: int) -> DeadLetter | None:
        found = self._letters([number])
        return found[0] if found else None

    def replay(self, letters: Sequence[DeadLetter], *, force: bool = False) -> Replayed:
        """Put them back at the heads of their lanes: whatever waits there is newer. Superseded ones only by `force`."""
        done = [
            self._replay_lane(lane, [each.number for each in some], force=force)
            for lane, group in groupby(sorted(letters, key=lambda each: each.lane), key=lambda each: each.lane)
            for some in _pages(group)
        ]
        return Replayed(*(sum(counts) for counts in zip(*done, strict=True))) if done else Replayed(0, 0, 0)

    def discard(self, numbers: Sequence[int], *, counter: str = "") -> int:
        """Forget them for good; `counter` counts them beside `discarded`. Returns how many there were."""
        count = 0
        for some in _pages(numbers):
            with translated():
                count += cast("int", self._discard(keys=[self._root], args=[counter, *some]))
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

    def _page(self, first: int) -> list[DeadLetter]:
        with translated():
            numbers = cast("list[bytes]", self._client.zrange(f"{self._root}:dead-by-time", first, first + PAGE - 1))
        return self._letters([int(number) for number in numbers])

    def _letters(self, numbers: Sequence[int]) -> list[DeadLetter]:
        if not numbers:
            return []
        with translated(), self._client.pipeline(transaction=False) as pipe:
            pipe.hmget(f"{self._root}:dead", [str(number) for number in numbers])
            pipe.zmscore(f"{self._root}:dead-by-time", [str(number) for number in numbers])
            pipe.smismember(f"{self._root}:dead-superseded", [str(number) for number in numbers])
            found, times, superseded = pipe.execute()
        rows = zip(numbers, found, times, superseded, strict=True)
        return [self._letter(*row) for row in rows if row[1] is not None]

    def _letter(self, number: int, letter: bytes, buried: float, superseded: int) -> DeadLetter:
        head, change = letter.split(b"\n", 1)
        facts: dict[str, Any] = json.loads(head)
        waiting = contract.decode(facts["stamp"].encode() + change)
        lane = LaneKey.from_member(self.destination, facts["lane"])
        return DeadLetter(
            number, lane, facts["reason"], int(buried), waiting.stamp, waiting.change, superseded=bool(superseded)
        )

    def _replay_lane(self, lane: LaneKey, numbers: Sequence[int], *, force: bool) -> Replayed:
        args = [lane.member, int(force), self._now_ms() if self._now_ms else "", *numbers]
        with translated():
            replayed, superseded = cast("list[int]", self._replay(keys=[self._root], args=args))
        return Replayed(0, 0, len(numbers)) if replayed < 0 else Replayed(replayed, superseded, 0)

    def _now(self) -> int:
        if self._now_ms:
            return self._now_ms()
        with translated():
            seconds, micros = self._client.time()
        return seconds * 1000 + micros // 1000


def encode(lane: LaneKey, burial: Burial) -> bytes:
    """A dead letter as it is kept. `persons` are digests, by which a newer change finds it."""
    waiting, reason = burial
    head = {
        "lane": lane.member,
        "reason": reason,
        "stamp": f"{waiting.stamp:0{contract.STAMP_DIGITS}}",
        "persons": [_person(lane, identifier) for identifier in waiting.change.identifiers],
    }
    return json.dumps(head).encode() + b"\n" + contract.encode(waiting.change)


def superseded(client: Redis, lane: LaneKey, delivered: Mapping[Identifier, int]) -> list[int]:
    """The numbers of dead letters that are older than what was delivered of the same person (with its stamp)."""
    key = f"{keys.destination_root(lane.destination)}:dead-persons"
    found: list[int] = []
    for some in _pages(delivered.items()):
        with translated():
            marks = cast("list[bytes | None]", client.hmget(key, [_person(lane, each) for each, _ in some]))
        for (_, stamp), known in zip(some, marks, strict=True):
            found += _older(known, stamp) if known else []
    return found


def _older(marks: bytes, stamp: int) -> list[int]:
    pairs = (mark.split(b"@") for mark in marks.split())
    return [int(number) for number, arrived in pairs if int(arrived) < stamp]


def _person(lane: LaneKey, identifier: Identifier) -> str:
    return blake2b(f"{lane.member}\0{identifier.type}\0{identifier.value}".encode(), digest_size=9).hexdigest()


def _pages(items: Iterable[Item]) -> Iterator[tuple[Item, ...]]:
    rest = iter(items)
    while page := tuple(islice(rest, PAGE)):
        yield page
