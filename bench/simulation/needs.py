"""What a load needs, by arithmetic."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from bench.simulation.terms import Costs, Load, Vendor

FULL: Final = 0.7
"""The share of a core that is planned to be used; beyond it queues grow quickly."""


@dataclass(frozen=True, slots=True)
class Needs:
    """What the load needs."""

    shares: Mapping[str, float]
    """Of what there is; above 1 it is too much.

    `max_in_flight`, `calls_per_minute`: of one destination, if lanes are flushed when they are due; else they are late,
    and their batches larger. `vendor`: of the changes that it takes in full batches; else they pile up. `workers`: of
    all their cores. `redis`: of the core of one.
    """
    changes_a_batch: float
    batches_a_second: float
    """Of one destination."""
    bottleneck: str
    workers: int
    producers: int
    redis_bytes: float
    """At most, while all goes well."""
    redis_bytes_outage: float
    """At the end of the outage, when all vendors were away."""
    catch_up_seconds: float | None
    """After it; None when a vendor takes no more than comes in."""


def needs(load: Load, vendor: Vendor, costs: Costs) -> Needs:
    """A batch has what comes to a lane in `max_age_seconds`, and more where lanes have to wait."""
    batch = _batch(load, vendor, costs)
    batches = min(load.rate / batch, possible_batches(load, vendor, costs, batch))
    on_time = _on_time(load, vendor)
    most = possible_batches(load, vendor, costs, vendor.max_changes) * vendor.max_changes
    carried = min(load.rate, most)
    work = load.destinations * (carried * costs.drain_change + batches * costs.drain_batch)
    shares = {
        "max_in_flight": load.rate / on_time * _seconds(vendor, costs, on_time) / _places(load),
        "calls_per_minute": load.rate / on_time * vendor.requests * vendor.call_seconds,
        "vendor": load.rate / most,
        "workers": work / load.workers,
        "redis": load.destinations * (load.rate * costs.redis_change + batches * costs.redis_batch),
    }
    lanes, missed = load.destinations * load.audiences, load.outage_hours * 3600 * load.rate
    waiting = lanes * (batch * costs.bytes_change + costs.bytes_lane)
    return Needs(
        shares,
        batch,
        batches,
        bottleneck=max(shares, key=lambda each: shares[each]),
        workers=max(1, math.ceil(work / FULL)),
        producers=max(1, math.ceil(load.destinations * load.rate * costs.append_change / FULL)),
        redis_bytes=waiting,
        redis_bytes_outage=waiting + load.destinations * missed * costs.bytes_change,
        catch_up_seconds=missed / (most - load.rate) if most > load.rate else None,
    )


def possible_batches(load: Load, vendor: Vendor, costs: Costs, changes: float) -> float:
    """How many batches of so many changes one destination can deliver in a second."""
    seconds = max(_seconds(vendor, costs, changes) / _places(load), vendor.requests * vendor.call_seconds)
    return 1 / seconds if seconds else math.inf


def _batch(load: Load, vendor: Vendor, costs: Costs) -> float:
    """So many changes that as many leave as come in, at least those that come until the lane is due."""
    fixed, spare = _seconds(vendor, costs, 0), _places(load) - load.rate * costs.drain_change
    in_flight = load.rate * fixed / spare if spare > 0 else math.inf
    called = load.rate * vendor.requests * vendor.call_seconds
    return min(vendor.max_changes, max(_on_time(load, vendor), in_flight, called))


def _on_time(load: Load, vendor: Vendor) -> float:
    """So many changes have come to a lane when it is due."""
    return min(vendor.max_changes, 1 + load.rate / load.audiences * load.max_age_seconds)


def _seconds(vendor: Vendor, costs: Costs, changes: float) -> float:
    """How long one batch is in flight."""
    return vendor.requests * vendor.request_seconds + costs.drain_batch + changes * costs.drain_change


def _places(load: Load) -> int:
    """A lane is in flight once."""
    return min(load.max_in_flight, load.audiences)
