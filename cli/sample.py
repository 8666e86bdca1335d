"""A configuration tried on source events: which would be taken, and what stands at the paths that it names."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from cli.dry_intake import Line, Outcome, Tally, try_out
from cli.preview_forms import Look, tally_as_text
from producers.events import Refusal, SourceEvent, Unread
from producers.mapping import Reader
from producers.paths import at
from worker.destinations.base import AUDIENCE_KEY, USER_ID, DestinationSettings
from worker.destinations.mapping import MappingSettings
from worker.paths import AUDIENCE, steps
from worker.patterns import matches

MOST_EVENTS: Final = 10_000

Among = Literal["all", "counted", "about"]
"""The source events in which something should stand at a path: every one, those that the mapping counts, or those
about the audiences of the destination."""


class Place(NamedTuple):
    """A path of source events, and what is read there. `configured`: the configuration names it."""

    path: str
    what: str
    configured: bool
    among: Among = "about"


class DestinationSample:
    """What one destination would get."""

    def __init__(self, settings: DestinationSettings) -> None:
        self.settings = settings
        self.places = list(dict.fromkeys(_places(settings)))
        self.counted = 0
        """How many source events its mapping counts."""
        self.about = 0
        """How many of these are about its audiences."""
        self.taken = 0
        self.values: Counter[Place] = Counter()
        """In how many of them something stands at a place."""
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
                self.values[place] += at(event.tree, keys) not in (None, "")

    def _empty(self, among: Among) -> Iterator[str]:
        for each in self.places:
            if each.among == among and each.configured and not self.values[each]:
                yield f"no source event of the sample has anything at {each.path} ({each.what})"


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


def _places(settings: DestinationSettings) -> Iterator[Place]:
    yield from _mapped(settings)
    reading = settings.reading()
    written = set(_texts(settings.model_dump(exclude_unset=True, exclude={"mapping"})))
    if reading.account:
        yield Place(reading.account.path, "account", reading.account.path in written)
    for path in reading.consent.paths if reading.consent else ():
        yield Place(path, "consent", path in written)
    for each in reading.properties:
        if each.name != USER_ID:
            yield from (Place(path, f"property {each.name}", path in written) for path in each.paths)


def _mapped(settings: DestinationSettings) -> Iterator[Place]:
    """What the mapping says of parts that the destination reads."""
    mapping, reading = settings.mapping, settings.reading()
    for each in mapping.when:
        for path in (*each.equals, *each.exists, *each.missing):
            yield Place(path, "when", configured=path not in each.missing, among="all")
    for key in ("audience", "entered", "timestamp"):
        for path in getattr(mapping, key):
            if isinstance(path, str):
                yield Place(path, key, key in mapping.model_fields_set, "counted")
    if reading.audience != AUDIENCE_KEY:
        written = mapping.audience_id is not None
        yield from (Place(path, "audience_id", written) for path in mapping.audience_id or (reading.audience,))
    for type_ in reading.identifiers:
        yield from (Place(path, type_, type_ in mapping.model_fields_set) for path in mapping.identifier_paths(type_))
    if any(each.name == USER_ID for each in reading.properties):
        yield from (Place(path, "user_id", "user_id" in mapping.model_fields_set) for path in mapping.user_id)


def _texts(value: Any) -> Iterator[str]:
    """Every text of a configuration."""
    match value:
        case str():
            yield value
        case dict():
            yield from _texts([*value.values()])
        case list() | tuple():
            for each in value:
                yield from _texts(each)


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
