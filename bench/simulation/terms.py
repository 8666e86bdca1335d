"""What is simulated: unit costs, a vendor's account, and the load."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final

BURST: Final = 5
"""So great a part of a minute's permits."""
OPTIONAL: Final = "bytes_lane"
MOST: Final = 1e9
"""No cost, rate or time is greater; all that is reckoned of them is finite."""


@dataclass(frozen=True, slots=True)
class Costs:
    """What was measured: seconds of a core, and bytes in Redis."""

    append_change: float
    """Of a producer: one change parsed, routed and appended."""
    drain_change: float
    """Of a worker: one change read, folded, delivered and settled; the vendor's time aside."""
    drain_batch: float
    """Of a worker: one lane leased and settled, whatever is in it."""
    redis_change: float
    """Of Redis: one change appended and drained."""
    redis_batch: float
    """Of Redis: one lane leased and settled."""
    bytes_change: float
    """One waiting change."""
    bytes_lane: float = 0.0
    """One lane that is known, beside its changes."""


@dataclass(frozen=True, slots=True)
class Vendor:
    """What one account takes. `requests` a batch: a remove and an add make two."""

    max_changes: int
    requests: int
    request_seconds: float
    calls_per_minute: int | None = None

    @property
    def burst(self) -> int:
        """So many permits may be taken at once (see permit.lua)."""
        return max(1, (self.calls_per_minute or 0) // BURST)

    @property
    def call_seconds(self) -> float:
        """After a burst there is a permit each so many seconds, so that no minute sees more than the limit."""
        return 60 / max(1, self.calls_per_minute - self.burst) if self.calls_per_minute else 0.0


@dataclass(frozen=True, slots=True)
class Load:
    """What is asked for; audiences, rate and limits of each destination."""

    destinations: int
    audiences: int
    rate: float
    """Changes a second."""
    max_age_seconds: float = 60.0
    max_in_flight: int = 2
    workers: int = 1
    outage_hours: float = 0.0
    """How long a vendor is away."""


def read_costs(path: Path | None, given: Mapping[str, float]) -> Costs:
    """Of a JSON object with the names of `Costs`; what is given by hand comes in its place.

    Raises `ValueError` when one is missing, unknown, or makes no sense.
    """
    found = {**(_read(path) if path else {}), **given}
    names = {each.name for each in fields(Costs)}
    if mistaken := (names - {OPTIONAL} - found.keys()) or (found.keys() - names):
        raise ValueError(f"missing, or no cost: {', '.join(sorted(mistaken))}")
    if mistaken := {name for name, value in found.items() if not _is_cost(value)}:
        raise ValueError(f"not from 0 to {MOST:,.0f}: {', '.join(sorted(mistaken))}")
    return Costs(**{name: float(value) for name, value in found.items()})


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_bytes())
    except ValueError as error:
        raise ValueError(f"{path}: no JSON: {error}") from None
    if not isinstance(found, dict):
        raise ValueError(f"{path}: no JSON object")  # noqa: TRY004 - as every other mistake in it
    return found


def _is_cost(value: object) -> bool:
    """What is no number at all is none, either."""
    return isinstance(value, int | float) and 0 <= value <= MOST
