"""What Criteo tells of a contact list. Amendments are processed later, so that the numbers lag behind."""

import math

from sandbox.criteo_messages import Segment
from sandbox.criteo_switches import CriteoSwitches, Statistic


def count(segment: Segment, now: float, switches: CriteoSwitches) -> None:
    """Count the members, if the last amendment has been processed. Called before each change and each look."""
    if segment.amended and now >= _processed_at(segment.updated_at, switches):
        segment.counted_members = len(segment.members)


def statistics(segment: Segment, switches: CriteoSwitches) -> dict[Statistic, float | None]:
    """The three numbers as they were last counted; null before the first time."""
    counted = segment.counted_members
    matches = None if counted is None else int(counted * switches.matched_share)
    rate = None if not counted or matches is None else matches / counted * switches.match_rate_scale
    numbers: dict[Statistic, float | None] = {
        "numberOfIdentifiers": counted,
        "numberOfMatches": matches,
        "matchRate": rate,
    }
    return {name: number if name in switches.statistics_told else None for name, number in numbers.items()}


def _processed_at(amended_at: float, switches: CriteoSwitches) -> float:
    """In seconds since the epoch, whose midnights are those of UTC."""
    run = switches.statistics_run_seconds
    begins = amended_at if run is None else math.ceil(amended_at / run) * run
    return begins + switches.statistics_delay_seconds
