"""A configuration tried on source events: which would be taken, and what stands at the paths that it names."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from cli.dry_intake import Line, Outcome, Tally, try_out
from cli.preview_forms import Look, tally_as_text
from cli.sample_places import Among, Place, places
from producers.events import Refusal, SourceEvent, Unread
from producers.mapping import Reader, is_there
from producers.paths import at
from worker.destinations.base import DestinationSettings
from worker.destinations.mapping import MappingSettings
from worker.paths import AUDIENCE, steps
from worker.patterns import matches

MOST_EVENTS: Final = 10_000


class DestinationSample:
    """What one destination would get."""

    def __init__(self, settings: DestinationSettings) -> None:
        self.settings = settings
        self.places = list(dict.fromkeys(places(settings)))
        self.counted = 0
        """How many source events its mapping counts."""
        self.about = 0
        """How many of these are about its audiences."""
        self.taken = 0
        self.values: Counter[Place] = Counter()
        """In how many of them something usable stands at a place."""
        self._useless: defaultdict[Place, set[str]] = defaultdict(set)
        """The types of what else stands there."""
        self._reader = Reader(settings.mapping)
        self._conditions = _conditions(settings.mapping)
        self._fitting: Counter[str] = Counter()

    def add(self, outcome: Outcome) -> None:
        event = outcome.event
        if event is None or event.type == "delete":
            return
        self._fitting.update(name for name, reader in self._conditions if _counts(reader, event))
        self._look(event, "all")
        reading = self._reader.read(event)
        if isinstance(reading, Unread) and reading.reason == "unwanted":
            return
        self.counted += 1
        self._look(event, "counted", reading.audience_key)
        if reading.audience_key is None or not matches(reading.audience_key, self.settings.audiences):
            return
        self.about += 1
        self._look(event, "about")
        routed = [] if isinstance(outcome.routed, Refusal) else outcome.routed
        self.taken += any(lane.destination == self.settings.name for lane, _ in routed)

    def warnings(self) -> Iterator[str]:
        """What looks like a mistake; where nothing gets further, no more than that."""
        for name, _ in self._conditions:
            if not self._fitting[name]:
                yield f"no source event of the sample fits {name}"
        yield from self._empty("all")
        if not self.counted:
            return
        yield from self._empty("counted")
        if not self.about:
            yield "no source event of the sample is about its audiences"
            return
        yield from self._empty("about")

    def _look(self, event: SourceEvent, among: Among, audience_key: str | None = None) -> None:
        for place in self.places:
            if place.among == among:
                keys = [audience_key if key == AUDIENCE and audience_key else key for key in steps(place.path)]
                self._count(place, at(event.tree, keys))

    def _count(self, place: Place, value: object) -> None:
        if not is_there(value):
            return
        if place.usable(value):
            self.values[place] += 1
        else:
            self._useless[place].add(_type_of(value))

    def _empty(self, among: Among) -> Iterator[str]:
        for each in self.places:
            if each.among == among and each.configured and not self.values[each]:
                found = " or ".join(sorted(self._useless[each]))
                usable, stands = (" usable", f": what stands there is {found}") if found else ("", "")
                yield f"no source event of the sample has anything{usable} at {each.path} ({each.what}){stands}"


@dataclass(frozen=True, slots=True)
class Sample:
    """What was found in all."""

    tally: Tally
    destinations: Sequence[DestinationSample]

    def as_json(self) -> dict[str, Any]:
        return {
            "read": self.tally.read,
            "more": self.tally.more,
            "refused": {reason: len(places) for reason, places in self.tally.refused.items()},
            "destinations": [
                {
                    "name": each.settings.name,
                    "about": each.about,
                    "taken": each.taken,
                    "left_out": self.tally.left_out_of(each.settings.name),
                    "paths": [_as_json(place, each.values[place]) for place in each.places],
                    "warnings": [*each.warnings()],
                }
                for each in self.destinations
            ],
        }

    def draw(self, width: int) -> RenderableType:
        """What would be taken, and the paths that are configured or where something stands."""
        parts: list[RenderableType] = [Text(), *tally_as_text(self.tally, Look(width, full=False))]
        if self.tally.more:
            parts.append(Text(f"  only the first {self.tally.read:,} were looked at"))
        for each in self.destinations:
            parts += _drawn(each, self.tally)
        return Group(*parts)


def take_sample(lines: Iterable[Line], destinations: Sequence[DestinationSettings], now_ms: int) -> Sample:
    """Decode and route at most 10,000 source events."""
    found = Sample(Tally(), [DestinationSample(each) for each in destinations])
    for outcome in try_out(lines, destinations, now_ms, MOST_EVENTS, found.tally):
        for each in found.destinations:
            each.add(outcome)
    return found


def _as_json(place: Place, events: int) -> dict[str, Any]:
    return {"path": place.path, "what": place.what, "configured": place.configured, "events": events}


# ── What is looked at ────────────────────────────────────────────────────────────────────────────


def _conditions(mapping: MappingSettings) -> list[tuple[str, Reader]]:
    """Each condition that is written, as a mapping of its own."""
    if "when" not in mapping.model_fields_set:
        return []
    alone = [mapping.model_copy(update={"when": (each,)}) for each in mapping.when]
    return [(f"mapping.when[{number}]", Reader(each)) for number, each in enumerate(alone)]


def _counts(reader: Reader, event: SourceEvent) -> bool:
    reading = reader.read(event)
    return not isinstance(reading, Unread) or reading.reason != "unwanted"


def _type_of(value: object) -> str:
    match value:
        case str():
            return "text"
        case bool():
            return "true or false"
        case int() | float():
            return "a number"
        case list():
            return "a list"
        case _:
            return "an object"


def _drawn(each: DestinationSample, tally: Tally) -> Iterator[RenderableType]:
    name = each.settings.name
    yield Text.assemble("\n", (name, "bold"), f"  {each.taken:,} of {each.about:,} about its audiences would be taken")
    if left_out := tally.left_out_of(name):
        yield Text(f"  left out of them: {', '.join(f'{reason} {count:,}' for reason, count in left_out.items())}")
    yield from (Text(f"  warning: {warning}", "yellow") for warning in each.warnings())
    rows = [place for place in each.places if place.configured or each.values[place]]
    if rows:
        table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), collapse_padding=True)
        table.add_column("path", overflow="fold")
        table.add_column("for", overflow="fold")
        table.add_column("source events", justify="right")
        for place in rows:
            table.add_row(Text(place.path), Text(place.what), f"{each.values[place]:,}")
        yield table
