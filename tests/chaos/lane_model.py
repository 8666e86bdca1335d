"""What lanes should do, in plain Python: the store's scripts are held against this, call by call.

Times are in milliseconds. `now` is moved by whoever uses the model.
"""

import math
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from worker.contract import Change
from worker.store.lanes import Bounds, Schedule

Lane = str
"""The name of a lane inside its destination: `LaneKey.member`."""
Value = tuple[int, Change]
"""A change as it waits, with the time of its arrival."""


@dataclass(slots=True)
class ModelLease:
    token: str
    ends: int
    sent: int = 0
    """When the last request may at the latest have been sent; 0: none was."""


@dataclass(slots=True)
class LaneHold:
    until: float
    attempts: int
    by_hand: bool
    settles: float = 0
    """Until when the vendor may apply a request of unknown outcome: it does not end sooner."""

    def __post_init__(self) -> None:
        self.until = max(self.until, self.settles)


@dataclass(slots=True)
class DestinationHold:
    """Also remembers faults in a row, while nothing is held. `until` None: no hold since the last delivery."""

    until: float | None = None
    attempts: int = 0
    faults: int = 0
    by_hand: bool = False


@dataclass(slots=True)
class LaneModel:
    """One destination."""

    schedule: Schedule
    now: int
    lanes: dict[Lane, list[Value]] = field(default_factory=dict)
    leases: dict[Lane, ModelLease] = field(default_factory=dict)
    holds: dict[Lane, LaneHold] = field(default_factory=dict)
    hold: DestinationHold = field(default_factory=DestinationHold)
    parked: dict[Lane, float] = field(default_factory=dict)
    """Leased and held lanes, with the time when they are looked at again."""
    wakeups: dict[str, int] = field(default_factory=dict)
    counters: Counter[str] = field(default_factory=Counter)
    letters: dict[int, tuple[Lane, Value]] = field(default_factory=dict)
    may_bury: set[Lane] = field(default_factory=set)
    _chunks: dict[str, int] = field(default_factory=dict)
    _seen: dict[tuple[object, ...], int] = field(default_factory=dict)

    # ── What is asked ────────────────────────────────────────────────────────────────────────────

    def owns(self, lane: Lane, token: str) -> bool:
        """Whether that token may change the lane."""
        return lane in self.leases and self.leases[lane].token == token

    def leasable(self) -> Collection[Lane]:
        """The lanes of which one must be leased now; empty: none may be."""
        self._look_again()
        if len(self.leases) >= self._allowance():
            return ()
        waiting = {lane: values for lane, values in self.lanes.items() if values and lane not in self.parked}
        heads = {lane: values[0][0] for lane, values in waiting.items()}
        old = [lane for lane, stamp in heads.items() if stamp <= self.now - self.schedule.max_age_ms]
        if old:
            oldest = min(heads[lane] for lane in old)
            return [lane for lane in old if heads[lane] == oldest]
        deepest = max((len(values) for values in waiting.values()), default=0)
        if deepest < self.schedule.max_changes:
            return ()
        return [lane for lane, values in waiting.items() if len(values) == deepest]

    def due(self) -> int:
        """How many lanes are due and free."""
        self._look_again()
        return sum(self._is_due(lane) for lane in self.lanes)

    def room_for_wakeups(self) -> int:
        outstanding = sum(ends > self.now for ends in self.wakeups.values())
        return max(0, self._allowance() - outstanding)

    def seems_due(self) -> bool:
        """Whether it is worth while to ask for a lease. Unlike the rest this looks and changes nothing."""
        free = [values for lane, values in self.lanes.items() if values and self.parked.get(lane, 0) <= self.now]
        return self._allowance() > 0 and any(self._is_enough(values) for values in free)

    def held(self) -> list[Lane | None]:
        """The lanes that have a hold, and None for the destination."""
        return [*self.holds, *([None] if self.hold.until is not None else [])]

    def letters_by_trouble(self) -> list[int]:
        """The numbers of dead letters, those of leased lanes last."""
        return sorted(self.letters, key=lambda number: self.letters[number][0] in self.leases)

    # ── What is done ─────────────────────────────────────────────────────────────────────────────

    def append(self, lane: Lane, changes: Sequence[Change], chunk: str, bounds: Bounds) -> int | None:
        """How many are there through this chunk, now or before. None: there is no room."""
        if chunk in self._chunks:
            return self._chunks[chunk]
        needed = sum(not self._is_known(lane, change, bounds.window_ms) for change in changes)
        if needed and self.counters["waiting"] + needed > bounds.max_waiting:
            return None
        fresh = [change for change in changes if self._is_new(lane, change, bounds.window_ms)]
        self._chunks[chunk] = len(fresh)
        self.lanes.setdefault(lane, []).extend((self.now, change) for change in fresh)
        self.counters.update(accepted=len(fresh), waiting=len(fresh), duplicates=len(changes) - len(fresh))
        return len(fresh)

    def lease(self, lane: Lane, token: str) -> None:
        self.leases[lane] = ModelLease(token, self.now + self.schedule.lease_ms)
        self.parked[lane] = self.leases[lane].ends

    def take(self, lane: Lane, token: str) -> bool:
        """Due or not, held or not; False: the lane is leased."""
        self._look_again()
        if lane in self.leases:
            return False
        self.lease(lane, token)
        return True

    def erase(self, lane: Lane, place: int) -> None:
        del self.lanes[lane][place]
        self.counters.update(waiting=-1, discarded=1, erased=1)

    def extend(self, lane: Lane) -> None:
        lease = self.leases[lane]
        lease.ends = self.now + self.schedule.lease_ms
        lease.sent = self.now + self.schedule.request_ms
        self.parked[lane] = lease.ends

    def settle(self, lane: Lane, taken: int, folded: int, buried: Sequence[Value]) -> None:
        del self.lanes.setdefault(lane, [])[:taken]
        delivered = taken - folded - len(buried)
        self.counters.update(delivered=delivered, folded=folded, buried=len(buried), waiting=-taken)
        for value in buried:
            self.counters["dead_letters"] += 1
            self.letters[self.counters["dead_letters"]] = (lane, value)
        self.may_bury.discard(lane)
        hold = self.holds.get(lane)
        if hold and not (hold.by_hand and hold.until > self.now):
            del self.holds[lane]
        if not self._destination_held_by_hand():
            self.hold = DestinationHold()
        del self.leases[lane]
        self._schedule(lane)

    def give_back(
        self, lane: Lane, lane_ms: int, settle_ms: int, destination_ms: int, *, fault: bool, attempt: bool
    ) -> None:
        del self.leases[lane]
        if lane_ms or settle_ms:
            self._write_hold(lane, self.now + lane_ms, self.now + settle_ms if settle_ms else 0, attempt=attempt)
        self._schedule(lane)
        self.hold.faults += fault
        if destination_ms and not self._destination_held_by_hand():
            self.hold.by_hand = False
            self.hold.until = self.now + destination_ms
            self.hold.attempts += 1

    def hold_by_hand(self, lane: Lane | None, for_ms: int | None) -> None:
        until = math.inf if for_ms is None else self.now + for_ms
        if lane is None:
            self.hold = DestinationHold(until, by_hand=True)
            return
        before = self.holds.get(lane, LaneHold(0, 0, by_hand=False))
        self.holds[lane] = LaneHold(until, before.attempts, by_hand=True, settles=before.settles)
        if lane not in self.leases:
            self._schedule(lane)

    def release(self, lane: Lane | None, *, bury: bool) -> bool:
        """Whether a hold lasted."""
        if lane is None:
            until, self.hold = self.hold.until, DestinationHold()
            return until is not None and until > self.now
        if bury:
            self.may_bury.add(lane)
        hold = self.holds.pop(lane, None)
        if hold and hold.settles > self.now:
            self.holds[lane] = LaneHold(0, 0, by_hand=False, settles=hold.settles)
        if lane not in self.leases:
            self._schedule(lane)
        return hold is not None and hold.until > self.now

    def replay(self, number: int) -> bool:
        """False: the lane is leased."""
        lane, value = self.letters[number]
        if lane in self.leases:
            return False
        del self.letters[number]
        self.lanes[lane].insert(0, value)
        self.counters.update(buried=-1, waiting=1)
        self._schedule(lane)
        return True

    def discard(self, number: int) -> None:
        del self.letters[number]
        self.counters.update(buried=-1, discarded=1)

    # ── Parts ────────────────────────────────────────────────────────────────────────────────────

    def _is_due(self, lane: Lane) -> bool:
        return lane not in self.parked and self._is_enough(self.lanes[lane])

    def _is_enough(self, values: Sequence[Value]) -> bool:
        old = bool(values) and values[0][0] <= self.now - self.schedule.max_age_ms
        return old or len(values) >= self.schedule.max_changes

    def _is_new(self, lane: Lane, change: Change, window_ms: int) -> bool:
        if self._is_known(lane, change, window_ms):
            return False
        if window_ms:
            self._seen[self._content(lane, change)] = self.now // window_ms
        return True

    def _is_known(self, lane: Lane, change: Change, window_ms: int) -> bool:
        """An id is known for the window in which it came, and the next."""
        if not change.message_id or not window_ms:
            return False
        return self._seen.get(self._content(lane, change), -2) >= self.now // window_ms - 1

    def _content(self, lane: Lane, change: Change) -> tuple[object, ...]:
        return (change.message_id, lane, change.entered, change.identifiers)

    def _allowance(self) -> int:
        """None while held; one, as a probe, after a hold until something is delivered."""
        if self.hold.until is None:
            return self.schedule.max_in_flight
        return 0 if self.hold.until > self.now else 1

    def _destination_held_by_hand(self) -> bool:
        return self.hold.by_hand and self.hold.until is not None and self.hold.until > self.now

    def _look_again(self) -> None:
        """Leases that ran out, and holds that ended. After a request the vendor is given time."""
        for lane in [lane for lane, again in self.parked.items() if again <= self.now]:
            lease = self.leases.pop(lane, None)
            if lease and lease.sent and lease.sent + self.schedule.settle_ms > self.now:
                self._write_hold(lane, 0, lease.sent + self.schedule.settle_ms, attempt=True)
            self._schedule(lane)

    def _write_hold(self, lane: Lane, until: int, settles: int, *, attempt: bool) -> None:
        """A hold by hand that lasts is stronger, but for what has to settle."""
        before = self.holds.get(lane, LaneHold(0, 0, by_hand=False))
        settles_at = max(before.settles, settles)
        if before.by_hand and before.until > self.now:
            self.holds[lane] = LaneHold(before.until, before.attempts, by_hand=True, settles=settles_at)
        else:
            self.holds[lane] = LaneHold(until, before.attempts + attempt, by_hand=False, settles=settles_at)

    def _schedule(self, lane: Lane) -> None:
        self.parked.pop(lane, None)
        hold = self.holds.get(lane)
        if hold and hold.until > self.now:
            self.parked[lane] = hold.until
        elif hold and not self.lanes.get(lane):
            del self.holds[lane]
