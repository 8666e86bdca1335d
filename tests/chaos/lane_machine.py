"""A machine that does anything to lanes, in any order, on a real Redis and a test clock, beside a model of them.

A worker may crash after every step: its lease is then forgotten by whoever had it, and runs out. Whatever is done
with a lease that is not the caller's any more has to change nothing.
"""

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple, TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from redis import Redis

from tests.chaos.lane_model import LaneModel, ModelLease, Value
from tests.chaos.lane_state import LaneState, everything, read_state
from tests.conftest import Clock
from worker.batching import Burial, Settlement
from worker.contract import Change, Identifier, LaneKey, Waiting
from worker.errors import LeaseLost, StoreFull
from worker.store.deadletters import DeadLetters
from worker.store.erasures import Erasures
from worker.store.lanes import Bounds, Lanes, Lease, Schedule

Item = TypeVar("Item")

DESTINATION: Final = "shop"
NAMES: Final = ("vip", "two\nlines", '0/"ünï"')
SCHEDULE: Final = Schedule(max_changes=3, max_age_ms=60_000, max_in_flight=2, settle_ms=20_000)
WINDOW_MS: Final = 600_000
A_MONTH_MS: Final = 30 * 86_400_000

LANES: Final = tuple(LaneKey(DESTINATION, name) for name in NAMES)

lanes = st.sampled_from(LANES)
whom = st.sampled_from([*LANES, None, "leased"])
"""A lane, the destination, or the lane that was leased last."""
change = st.builds(
    Change,
    entered=st.booleans(),
    occurred_at=st.integers(0, 9),
    identifiers=st.sampled_from("abc").map(lambda who: (Identifier("email", f"{who}@example.com"),)),
    message_id=st.sampled_from(["", "", "m1", "m2", "m3", "m4"]),
)
changes = st.lists(change, min_size=1, max_size=5)
bounds = st.sampled_from(
    [Bounds(window_ms=WINDOW_MS), Bounds(max_waiting=4, window_ms=WINDOW_MS), Bounds(), Bounds(max_waiting=4)]
)
spans = st.sampled_from([0, 1, 5_000, 10_000, 29_999, 30_000, 35_000, 60_000, 600_000])
choices = st.integers(0, 9)
"""Which of several, modulo how many there are; 0 is the newest."""
fates = st.lists(st.sampled_from(["delivered", "folded", "buried"]), min_size=1, max_size=5)
steps = st.sampled_from(["lease", "extend", "settle", "give back", "crash"])


class Chunk(NamedTuple):
    """An append, as a producer repeats it."""

    lane: LaneKey
    changes: Sequence[Change]
    id: str


def machine_for(redis: Redis) -> "type[LaneMachine]":
    """The machine on a Redis that a test brings."""

    class OnThatRedis(LaneMachine):
        def __init__(self) -> None:
            super().__init__(redis)

    return OnThatRedis


class LaneMachine(RuleBasedStateMachine):
    """The lanes of one destination, with as many workers as like."""

    def __init__(self, redis: Redis) -> None:
        super().__init__()
        redis.flushall()
        self.redis = redis
        self.clock = Clock()
        self.lanes = Lanes(redis, DESTINATION, self.clock)
        self.dead_letters = DeadLetters(redis, DESTINATION, self.clock)
        self.erasures = Erasures(redis, DESTINATION, self.clock)
        self.model = LaneModel(SCHEDULE, self.clock.ms)
        self.leases: list[Lease] = []
        """In the hands of workers, who do not know which of them ran out."""
        self.taken: set[str] = set()
        """The tokens of those that were taken for an erasure, beside as many as may run at once."""
        self.given_back: list[Lease] = []
        self.chunks: list[Chunk] = []
        self.claims: list[str] = []

    # ── Producers ────────────────────────────────────────────────────────────────────────────────

    @rule(again=st.booleans(), choice=choices, lane=lanes, changes=changes, bounds=bounds)
    def produce(self, choice: int, lane: LaneKey, changes: list[Change], bounds: Bounds, *, again: bool) -> None:
        """Again: the answer to it was lost, or there was no room."""
        if not again or not self.chunks:
            self.chunks.append(Chunk(lane, changes, f"chunk {len(self.chunks)}"))
        self._append(_one(self.chunks, choice if again else 0), bounds)

    def _append(self, chunk: Chunk, bounds: Bounds) -> None:
        appended = self.model.append(chunk.lane.member, chunk.changes, chunk.id, bounds)
        if appended is None:
            self._changes_nothing(StoreFull, lambda: self.lanes.append(chunk.lane, chunk.changes, chunk.id, bounds))
        else:
            assert self.lanes.append(chunk.lane, chunk.changes, chunk.id, bounds) == appended

    # ── Workers ──────────────────────────────────────────────────────────────────────────────────

    @rule(act=steps, choice=choices, lane=lanes, changes=changes, most=st.integers(1, 4), fates=fates, span=spans)
    def work(
        self, act: str, choice: int, lane: LaneKey, changes: list[Change], most: int, fates: list[str], span: int
    ) -> None:
        """The next step of a worker, who does not know whether its lease has run out meanwhile."""
        if act == "lease" or not self.leases:
            self._make_due(lane, changes)
            self._lease()
            return
        lease = _one(self.leases, choice)
        match act:
            case "extend":
                self._extend(lease)
            case "settle":
                self._settle(self._let_go(lease), fates, self.lanes.read(lease, most, 1_000_000))
            case "give back":
                self._give_back(
                    self._let_go(lease),
                    lane_ms=span % 20_000,
                    settle_ms=20_000 * (most % 2),
                    destination_ms=span // 6 % 20_000,
                )
            case _:
                self.leases.remove(lease)  # killed: what it holds has to run out by itself
                self._advance(span)

    @precondition(lambda self: self.given_back)
    @rule(act=steps, choice=choices)
    def work_on_what_was_given_back(self, act: str, choice: int) -> None:
        """Somebody who has settled, or given back, does not know of it: the answer was lost."""
        lease = _one(self.given_back, choice)
        match act:
            case "settle":
                self._owned(lease, lambda: self.lanes.settle(lease, Settlement(taken=1, delivered=1, folded=0)))
            case "give back":
                self._give_back(lease, lane_ms=1_000, settle_ms=0, destination_ms=1_000)
            case _:
                self._extend(lease)

    @rule(lane=lanes, choice=choices, then=st.sampled_from(["give back", "keep", "crash"]))
    def forget(self, lane: LaneKey, choice: int, then: str) -> None:
        """Take a lane for an erasure and drop something of it."""
        taken = self.erasures.take(lane, SCHEDULE)
        token = taken.lease.token if taken else ""

        assert self.model.take(lane.member, token) == (taken is not None)

        if taken is None:
            return
        self.taken.add(token)
        if waiting := self.model.lanes.get(lane.member):
            place = choice % len(waiting)
            self.erasures.erase(taken.lease, [place])
            self.model.erase(lane.member, place)
        if then == "give back":
            self.given_back.append(taken.lease)
            self._give_back(taken.lease, lane_ms=0, settle_ms=0, destination_ms=0)
        elif then == "keep":
            self.leases.append(taken.lease)

    @precondition(lambda self: self.given_back)
    @rule(choice=choices)
    def erase_with_a_lease_that_was_given_back(self, choice: int) -> None:
        lease = _one(self.given_back, choice)
        if not self.model.owns(lease.lane.member, lease.token):
            self._changes_nothing(LeaseLost, lambda: self.erasures.erase(lease, [0]))

    def _make_due(self, lane: LaneKey, changes: Sequence[Change]) -> None:
        if not self.model.seems_due():
            enough = [each for each in changes for _ in range(SCHEDULE.max_changes)]
            self.chunks.append(Chunk(lane, enough, f"chunk {len(self.chunks)}"))
            self._append(self.chunks[-1], Bounds())

    def _lease(self) -> None:
        leasable = self.model.leasable()
        lease = self.lanes.lease(SCHEDULE)

        assert lease.lane.member in leasable if lease else not leasable

        if lease:
            self._expect_what_a_lease_tells(lease)
            self.model.lease(lease.lane.member, lease.token)
            self.leases.append(lease)

    def _let_go(self, lease: Lease) -> Lease:
        self.leases.remove(lease)
        self.given_back.append(lease)
        return lease

    def _extend(self, lease: Lease) -> None:
        if self._owned(lease, lambda: self.lanes.extend(lease, SCHEDULE)):
            self.model.extend(lease.lane.member)

    def _settle(self, lease: Lease, fates: Sequence[str], read: Sequence[Waiting]) -> None:
        lane = lease.lane.member
        taken = list(zip(fates, read, strict=False))
        buried = [waiting for fate, waiting in taken if fate == "buried"]
        folded = sum(fate == "folded" for fate, _ in taken)
        settlement = Settlement(
            taken=len(taken),
            delivered=len(taken) - folded - len(buried),
            folded=folded,
            buried=[Burial(waiting, "refused") for waiting in buried],
        )
        if self._owned(lease, lambda: self.lanes.settle(lease, settlement)):
            assert [(each.stamp, each.change) for each in read] == self.model.lanes.get(lane, [])[: len(read)]
            self.model.settle(lane, len(taken), folded, [(each.stamp, each.change) for each in buried])

    def _give_back(self, lease: Lease, lane_ms: int, settle_ms: int, destination_ms: int) -> None:
        holds = {"lane_ms": lane_ms, "settle_ms": settle_ms, "destination_ms": destination_ms}
        fault = attempt = lane_ms > 0
        if self._owned(lease, lambda: self.lanes.give_back(lease, "HTTP 500", **holds, fault=fault, attempt=attempt)):
            self.model.give_back(lease.lane.member, **holds, fault=fault, attempt=attempt)

    # ── Time and wake-ups ─────────────────────────────────────────────────────────────────────────────────

    @rule(span=spans, act=st.sampled_from(["", "wake", "begin", "finish"]), choice=choices, most=st.integers(1, 3))
    def time_passes(self, span: int, act: str, choice: int, most: int) -> None:
        self._advance(span)
        if act == "wake" or not self.claims:
            self._wake(most)
        elif act == "begin":
            self._begin(_one(self.claims, choice))
        elif act == "finish":
            self._finish(_one(self.claims, choice))

    def _advance(self, ms: int) -> None:
        self.clock.ms += ms
        self.model.now = self.clock.ms

    def _wake(self, most: int) -> None:
        """Never more than may run; not fewer than lanes are due, as far as there is room; none for nothing."""
        offered = [f"claim {len(self.claims) + number}" for number in range(most)]
        due, room = self.model.due(), self.model.room_for_wakeups()
        sent = self.lanes.wake(SCHEDULE, offered, 10_000).claims

        assert min(due, room, most) <= len(sent) <= min(room, most)
        assert due or not sent

        self.claims += sent
        self.model.wakeups = {claim: ends for claim, ends in self.model.wakeups.items() if ends > self.clock.ms}
        self.model.wakeups.update(dict.fromkeys(sent, self.clock.ms + 10_000))

    def _begin(self, claim: str) -> None:
        runs = self.model.wakeups.get(claim, 0) > self.clock.ms

        assert self.lanes.begin(claim, 30_000) == runs

        if runs:
            self.model.wakeups[claim] = self.clock.ms + 30_000

    def _finish(self, claim: str) -> None:
        self.lanes.finish(claim)
        self.model.wakeups.pop(claim, None)

    # ── People ───────────────────────────────────────────────────────────────────────────────────

    @rule(lane=whom, for_ms=st.sampled_from([None, 5_000, 100_000]), choice=choices, bury=st.booleans())
    def hold_or_release(self, lane: LaneKey | str | None, for_ms: int | None, choice: int, *, bury: bool) -> None:
        held = self.model.held()
        if len(held) > choice % 2:
            self._release(_one(held, choice), bury=bury)
        elif isinstance(lane, str):
            self._hold(self.leases[-1].lane if self.leases else LANES[0], for_ms)
        else:
            self._hold(lane, for_ms)

    def _hold(self, lane: LaneKey | None, for_ms: int | None) -> None:
        self.lanes.hold_by_hand(lane, "maintenance", for_ms)
        self.model.hold_by_hand(lane.member if lane else None, for_ms)

    def _release(self, lane: str | None, *, bury: bool) -> None:
        key = None if lane is None else LaneKey.from_member(DESTINATION, lane)

        assert self.lanes.release(key, bury=bury) == self.model.release(lane, bury=bury)

    @precondition(lambda self: self.model.letters)
    @rule(choice=choices, replay=st.booleans())
    def decide_on_a_dead_letter(self, choice: int, *, replay: bool) -> None:
        number = _one(self.model.letters_by_trouble(), choice)
        if replay:
            letter = self.dead_letters.get(number)
            assert letter is not None
            assert (self.dead_letters.replay([letter]).replayed == 1) == self.model.replay(number)
        else:
            self.model.discard(number)
            assert self.dead_letters.discard([number]) == 1

    # ── What always holds ────────────────────────────────────────────────────────────────────────

    @invariant()
    def redis_holds_what_the_model_says(self) -> None:
        state = read_state(self.redis, DESTINATION, self.model.lanes)

        assert state == _as_state(self.model)
        assert state.unaccounted == 0
        assert state.running(self.clock.ms, self.taken) <= SCHEDULE.max_in_flight

    def teardown(self) -> None:
        """After a long time nothing is in the way of anything; people's holds aside."""
        self._advance(A_MONTH_MS)
        for lane in (None, *self.model.lanes):
            self._release(lane, bury=False)
        self.leases.clear()
        for _ in range(self.model.counters["waiting"]):
            self._drain_one()

        assert self.model.counters["waiting"] == 0

    def _drain_one(self) -> None:
        if self.model.counters["waiting"]:
            self._lease()
            assert self.leases, "something waits, and nobody may have it"
            lease = self.leases.pop()
            self._settle(lease, ["delivered"] * 4, self.lanes.read(lease, 4, 1_000_000))
            self.redis_holds_what_the_model_says()

    # ── Parts ────────────────────────────────────────────────────────────────────────────────────

    def _owned(self, lease: Lease, act: Callable[[], None]) -> bool:
        """Do something that needs the lease. False: it is lost, and nothing was changed."""
        if self.model.owns(lease.lane.member, lease.token):
            act()
            return True
        self._changes_nothing(LeaseLost, act)
        return False

    def _changes_nothing(self, refusal: type[Exception], act: Callable[[], object]) -> None:
        before = everything(self.redis)
        try:
            act()
        except refusal:
            assert everything(self.redis) == before
        else:
            raise AssertionError(f"this should have been refused with {refusal.__name__}")

    def _expect_what_a_lease_tells(self, lease: Lease) -> None:
        lane, hold = lease.lane.member, self.model.holds.get(lease.lane.member)

        assert lease.attempts == (hold.attempts if hold else 0)
        assert (lease.faults, lease.destination_attempts) == (self.model.hold.faults, self.model.hold.attempts)
        assert lease.dead_letters == len(self.model.letters)
        assert lease.may_bury == (lane in self.model.may_bury)


def _one(items: Sequence[Item], choice: int) -> Item:
    """The newest for 0."""
    return items[-1 - choice % len(items)]


def _as_state(model: LaneModel) -> LaneState:
    """What Redis should hold: each lane with changes is in both indexes, unless it is parked."""
    waiting = {lane: values for lane, values in model.lanes.items() if values}
    indexed = {lane: values for lane, values in waiting.items() if lane not in model.parked}
    return LaneState(
        lanes=waiting,
        since={lane: _stamp(values[0]) for lane, values in indexed.items()},
        depth={lane: len(values) for lane, values in indexed.items()},
        parked=model.parked,
        leases={lane: _lease(lease) for lane, lease in model.leases.items()},
        holds={lane: (hold.until, hold.attempts, hold.by_hand) for lane, hold in model.holds.items()},
        wakeups=model.wakeups,
        counters={name: count for name, count in model.counters.items() if count},
    )


def _stamp(value: Value) -> int:
    return value[0]


def _lease(lease: ModelLease) -> tuple[int, int, str]:
    return lease.ends, lease.sent, lease.token
