"""A crowd: made-up people who enter and leave audiences, the source events that tell of it, and what follows from them.

    crowd = Crowd(seed=7, now_ms=1_795_000_000_000)
    lines = list(crowd.events(20_000))
    crowd.members("criteo")  # {"vip_buyers": {"ada.abel.0@example.com": True, …}, …}

Of one person and audience, an event that arrives later never tells of an earlier time, unless it says the same
again; so what is newest does not depend on how the events are cut into batches. Among people any order occurs.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from sandbox.crowd_events import Telling, unusable, usable, write_time
from sandbox.crowd_model import SANDBOX_RULES, Audience, Members, Model, Move, Rules
from sandbox.crowd_people import Dice, Person, make_person, untidy

__all__ = ["AUDIENCES", "SANDBOX_RULES", "Audience", "Crowd", "Members", "Rules"]

AUDIENCES: Final = (
    Audience("vip_buyers", "aud_1"),
    Audience("cart_abandoners", "aud_2"),
    Audience("welcome_step_3", "jou_3", "journey_step"),
    Audience("Newsletter readers"),
    Audience('the "late\\night" list', "aud_5"),
    Audience("two\nlines"),
    Audience("fête 🎉"),
)
UNUSABLE_EVERY: Final = 40
AGAIN: Final = 0.08
"""The share of events that are exact duplicates."""
LATE: Final = 0.08
"""The share of events that say what is known already, with an earlier time."""
DAY_MS: Final = 86_400_000
AHEAD_MS: Final = (120_000, 240_000)
"""How far clocks run ahead that do: below the five minutes at which a time is cut to that of receipt."""


class Crowd:
    """The same seed, people, audiences and time give the same events."""

    def __init__(
        self,
        seed: int,
        *,
        now_ms: int,
        people: int = 1_000,
        audiences: Sequence[Audience] = AUDIENCES,
        rules: Mapping[str, Rules] = SANDBOX_RULES,
    ) -> None:
        """`now_ms`: milliseconds since the epoch, not later than the time of receipt."""
        self._dice = Dice(seed)
        self._seed = seed
        self._now_ms = now_ms
        self._audiences = tuple(audiences)
        self._people = [make_person(number, self._dice) for number in range(people)]
        self._standings: dict[tuple[int, str], _Standing] = {}
        self._model = Model(rules)
        self._told = 0
        self.refused: Counter[str] = Counter()
        """How many of the events so far have to be refused, by reason."""

    def events(self, count: int) -> Iterator[bytes]:
        """The next events, each JSON in one line, or meant to be."""
        for _ in range(count):
            self._told += 1
            yield self._unusable() if self._told % UNUSABLE_EVERY == 0 else self._usable()

    @property
    def people(self) -> int:
        """How many people there are."""
        return len(self._people)

    def members(self, vendor: str) -> Members:
        """What the vendor should hold when all events so far are delivered."""
        return self._model.members(vendor)

    # ── One event ────────────────────────────────────────────────────────────────────────────────

    def _usable(self) -> bytes:
        """Somebody moves, or is told of again."""
        person, audience = self._someone()
        standing = self._standings.get((person.number, audience.key))
        chance = self._dice.roll()
        if standing is None or chance >= AGAIN + LATE:
            return self._move(person, standing or self._new_standing(person, audience))
        return standing.line if chance < AGAIN else self._late(person, standing)

    def _unusable(self) -> bytes:
        person, audience = self._someone()
        telling = Telling(self._message_id(), person, audience, entered=True, email=person.email)
        line, reason = unusable(self._told // UNUSABLE_EVERY, telling, self._dice)
        self.refused[reason] += 1
        return line

    def _someone(self) -> tuple[Person, Audience]:
        """Some people are told of often, most of them rarely; each is in two or three audiences at most."""
        person = self._people[int(self._dice.roll() ** 2 * len(self._people))]
        audience = self._audiences[(person.number + self._dice.below(3)) % len(self._audiences)]
        return person, audience

    def _new_standing(self, person: Person, audience: Audience) -> "_Standing":
        """Exits of people who never entered occur, too."""
        at = self._now_ms - DAY_MS - self._dice.below(30 * DAY_MS)
        standing = _Standing(audience, entered=self._dice.happens(0.1), at=at, clock=self._dice.pick(_CLOCKS))
        self._standings[person.number, audience.key] = standing
        return standing

    def _move(self, person: Person, standing: "_Standing") -> bytes:
        """In or out; now and then in again, or out again."""
        if self._dice.happens(0.7):
            standing.entered = not standing.entered
        timestamp = self._advance(standing)
        standing.handles = self._handles(person)
        return self._tell(person, standing, standing.at, timestamp)

    def _late(self, person: Person, standing: "_Standing") -> bytes:
        """What the last event said, told once more with an earlier time."""
        at = standing.at - 1 - self._dice.below(2 * DAY_MS)
        return self._tell(person, standing, at, write_time(at, self._dice))

    def _tell(self, person: Person, standing: "_Standing", at: int, timestamp: str | None) -> bytes:
        email, ios, android = standing.handles
        devices = tuple([each for each in (ios, android) if each])
        self._model.record(Move(standing.audience, standing.entered, at, email, devices))
        telling = Telling(
            self._message_id(),
            person,
            standing.audience,
            standing.entered,
            email=untidy(email, self._dice),
            ios=ios,
            android=android,
            timestamp=timestamp,
        )
        standing.line = msgspec.json.encode(usable(telling, self._dice))
        return standing.line

    def _advance(self, standing: "_Standing") -> str | None:
        """Move the clock on; returns the time as the event tells it, None to leave it out.

        In the end some clocks run ahead, and some tell no time or an absurd one: both mean the time of receipt.
        No clock does both, for nobody can say which of the two is later.
        """
        if standing.at >= self._now_ms or (standing.clock != "right" and self._dice.happens(0.3)):
            if standing.clock == "none":
                standing.at = self._now_ms
                return None if self._dice.happens(0.7) else "2199-12-31T23:59:59Z"
            first, last = AHEAD_MS
            standing.at = min(max(standing.at, self._now_ms + first) + self._dice.below(1_000), self._now_ms + last)
        else:
            standing.at = min(standing.at + self._dice.below(2 * DAY_MS), self._now_ms - 1)
        return write_time(standing.at, self._dice)

    def _handles(self, person: Person) -> tuple[str, str, str]:
        """Email, iOS and Android device of which this event knows: not always all, but one at least."""
        email = person.email
        ios = self._dice.pick(person.ios) if person.ios and self._dice.happens(0.8) else ""
        android = self._dice.pick(person.android) if person.android and self._dice.happens(0.8) else ""
        if email and (ios or android) and self._dice.happens(0.1):
            email = ""
        if email or ios or android:
            return email, ios, android
        return "", (person.ios or ("",))[0], (person.android or ("",))[0]

    def _message_id(self) -> str:
        return f"crowd-{self._seed}-{self._told}"


@dataclass(slots=True)
class _Standing:
    """How one person stands with one audience, and how that was told last."""

    audience: Audience
    entered: bool
    at: int
    clock: str
    handles: tuple[str, str, str] = ("", "", "")
    line: bytes = b""


_CLOCKS: Final = ("right", "right", "right", "none", "ahead")
