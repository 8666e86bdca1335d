"""Source events decoded and routed, and appended nowhere."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import BinaryIO, NamedTuple

from producers.form import Form
from producers.ndjson import Place
from producers.reading import STDIN, read_events
from producers.routing import LeftOut, Routed, Router
from producers.segment import RawEvent, Reason, Refusal, SourceEvent, decode
from producers.source import Source
from worker.contract import Change, LaneKey, repeated
from worker.destinations.base import DestinationSettings

Line = tuple[int, RawEvent]
"""A source event and the number of its line."""


class Outcome(NamedTuple):
    """What one source event comes to. `event` is None where it could not be decoded."""

    event: SourceEvent | None
    routed: list[Routed] | Refusal


@dataclass(slots=True)
class Tally:
    """What source events came to. `more`: there are others that were not read."""

    read: int = 0
    refused: defaultdict[Reason, list[int]] = field(default_factory=lambda: defaultdict(list))
    """By reason, the numbers of their lines."""
    left_out: LeftOut = field(default_factory=Counter)
    duplicates: Counter[str] = field(default_factory=Counter)
    """By destination, changes whose message id came before."""
    more: bool = False

    @property
    def refusals(self) -> int:
        return sum(map(len, self.refused.values()))

    def left_out_of(self, destination: str) -> dict[str, int]:
        """What the destination does not get of source events that are taken, by reason."""
        return {reason: count for (name, reason), count in self.left_out.items() if name == destination}


def read_lines(stream: BinaryIO, form: Form) -> Iterator[Line]:
    """The source events of an open file, in whatever form, compressed or not. Raises as `read_events` does."""
    events = read_events(name_of(stream), Source(stream), Place(), form)
    return ((line, event) for line, event, _ in events)


def name_of(stream: BinaryIO) -> str:
    name = getattr(stream, "name", None)
    return name if isinstance(name, str) else STDIN


def try_out(
    lines: Iterable[Line], destinations: Sequence[DestinationSettings], now_ms: int, limit: int, tally: Tally
) -> Iterator[Outcome]:
    """Decode and route at most `limit` source events, received now, and count them in `tally`."""
    router, events = Router(destinations), iter(lines)
    for number, event in islice(events, limit):
        outcome = _try_one(event, router, now_ms, tally.left_out)
        tally.read += 1
        if isinstance(outcome.routed, Refusal):
            tally.refused[outcome.routed.reason].append(number)
        yield outcome
    tally.more = next(events, None) is not None


def by_lane(
    outcomes: Iterable[Outcome], destinations: Sequence[DestinationSettings], tally: Tally
) -> dict[str, dict[LaneKey, list[Change]]]:
    """By destination, the changes as they would wait, in order, without those whose message id came before."""
    waiting: dict[str, dict[LaneKey, list[Change]]] = {each.name: {} for each in destinations}
    seen: dict[str, set[bytes]] = {each.name: set() for each in destinations if each.duplicate_window_seconds}
    for _, routed in outcomes:
        for lane, change in [] if isinstance(routed, Refusal) else routed:
            content = repeated(lane.member, change)
            if content in seen.get(lane.destination, ()):
                tally.duplicates[lane.destination] += 1
                continue
            waiting[lane.destination].setdefault(lane, []).append(change)
            if content:
                seen.get(lane.destination, set()).add(content)
    return waiting


def _try_one(event: RawEvent, router: Router, now_ms: int, left_out: LeftOut) -> Outcome:
    decoded = decode(event, received_at=now_ms)
    if isinstance(decoded, Refusal):
        return Outcome(None, decoded)
    return Outcome(decoded, router.route_event(decoded, left_out))
