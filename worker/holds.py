"""What an instruction leads to: which lane, destination or credential is held, and for how long."""

import time
from collections.abc import Callable
from datetime import timedelta
from typing import Final, NamedTuple

import structlog

from worker.edges import Edges
from worker.errors import DeliveryError, NeedsPerson, NotYet, Throttled, TryLater
from worker.store.lanes import Lease

FAULTS_THAT_HOLD: Final = 3
"""So many faults in a row, over any lanes, hold the destination."""
LONGEST_NAMED: Final = timedelta(hours=1)
"""The longest that a vendor's own word is believed."""

log = structlog.get_logger()


class Backoff(NamedTuple):
    """Exponential with full jitter: a random time up to `first`, doubled at each attempt, at most `longest`."""

    first: timedelta
    longest: timedelta

    def ms(self, attempts: int, chance: Callable[[], float]) -> int:
        span: timedelta = min(self.longest, self.first * 2 ** min(attempts, 20))
        return max(100, round(span.total_seconds() * 1000 * chance()))


LANE: Final = Backoff(timedelta(seconds=2), timedelta(minutes=5))
DESTINATION: Final = Backoff(timedelta(seconds=5), timedelta(minutes=2))
CREDENTIAL: Final = Backoff(timedelta(seconds=5), timedelta(minutes=5))
PERSON: Final = Backoff(timedelta(seconds=10), timedelta(minutes=15))


def obey(order: DeliveryError, lease: Lease, edges: Edges) -> None:
    """Give the lease back and hold what the instruction says. Raises `LeaseLost`."""
    reason = str(order)
    match order:
        case NotYet():
            edges.lanes.give_back(lease, reason, lane_ms=order.lane_ms, attempt=False)
            return
        case TryLater(scope="credential"):
            held_ms = _hold_credential(order, reason, edges)
            edges.lanes.give_back(lease, reason, settle_ms=_settle_ms(order, edges))
        case TryLater():
            lane_ms, settle_ms = max(LANE.ms(lease.attempts, edges.chance), _named_ms(order)), _settle_ms(order, edges)
            held_ms = max(lane_ms, settle_ms)
            fault = order.scope == "destination"
            destination_ms = _destination_ms(lease, edges) if fault else 0
            edges.lanes.give_back(
                lease, reason, lane_ms=lane_ms, settle_ms=settle_ms, destination_ms=destination_ms, fault=fault
            )
        case NeedsPerson(scope="lane"):
            held_ms = PERSON.ms(lease.attempts, edges.chance)
            edges.lanes.give_back(lease, reason, lane_ms=held_ms)
        case _:
            held_ms = PERSON.ms(lease.destination_attempts, edges.chance)
            edges.lanes.give_back(lease, reason, destination_ms=held_ms)
    log.warning(
        "lane.held",
        **names(lease),
        order=type(order).__name__,
        reason=reason,
        seconds=held_ms / 1000,
    )


def names(lease: Lease) -> dict[str, str]:
    """What every log line about a lane tells of it."""
    return {"destination": lease.lane.destination, "lane": lease.lane.member, "batch": lease.batch_id}


def _hold_credential(order: TryLater, reason: str, edges: Edges) -> int:
    if isinstance(order, Throttled):
        edges.limits.slow_down()
    held_ms = max(_named_ms(order), CREDENTIAL.ms(edges.limits.attempts(), edges.chance))
    edges.limits.hold(reason, held_ms)
    return held_ms


def _destination_ms(lease: Lease, edges: Edges) -> int:
    if lease.faults + 1 < FAULTS_THAT_HOLD:
        return 0
    return DESTINATION.ms(lease.destination_attempts, edges.chance)


def _settle_ms(order: TryLater, edges: Edges) -> int:
    return edges.schedule.settle_ms if order.outcome_unknown else 0


def _named_ms(order: TryLater) -> int:
    """How long the vendor asks to wait."""
    seconds = order.retry_after or 0.0
    if order.reset_at is not None:
        seconds = max(seconds, order.reset_at - time.time())
    return round(max(0.0, min(seconds, LONGEST_NAMED.total_seconds())) * 1000)
