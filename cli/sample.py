"""A configuration tried on source events: which would be taken, and what stands at the paths that it names."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from cli.dry_intake import Line, Outcome, Tally, try_out
from cli.preview_forms import Look, tally_as_text
from producers.properties import at
from producers.segment import Refusal
from worker.destinations.base import DestinationSettings, Reading
from worker.patterns import matches

MOST_EVENTS: Final = 10_000
AUDIENCE_KEY: Final = Reading(identifiers=()).audience


class Place(NamedTuple):
    """A path of source events, and what is read there. `configured`: the configuration names it."""

    path: str
    what: str
    configured: bool


@dataclass(slots=True)
class DestinationSample:
    """What one destination would get. `about`: how many source events are about its audiences."""

    settings: DestinationSettings
    places: Sequence[Place]
    about: int = 0
    taken: int = 0
    values: Counter[Place] = field(default_factory=Counter)
    """In how many of them something stands at a place."""

    def add(self, outcome: Outcome) -> None:
        if outcome.membership is None or not matches(outcome.membership.audience_key, self.settings.audiences):
            return
        self.about += 1
        routed = [] if isinstance(outcome.routed, Refusal) else outcome.routed
        self.taken += any(lane.destination == self.settings.name for lane, _ in routed)
        tree = outcome.membership.tree
        self.values.update(each for each in self.places if at(tree, each.path.split(".")) not in (None, ""))

    def warnings(self) -> Iterator[str]:
        if not self.about:
            yield "no source event of the sample is about its audiences"
            return
        for each in self.places:
            if each.configured and not self.values[each]:
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
                    "paths": [place._asdict() | {"events": each.values[place]} for place in each.places],
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
    """Parse and route at most 10,000 source events."""
    found = Sample(Tally(), [DestinationSample(each, list(_places(each))) for each in destinations])
    for outcome in try_out(lines, destinations, now_ms, MOST_EVENTS, found.tally):
        for each in found.destinations:
            each.add(outcome)
    return found


def _places(settings: DestinationSettings) -> Iterator[Place]:
    written = set(_texts(settings.model_dump(exclude_unset=True)))
    for path, what in dict.fromkeys(_read(settings.reading())):
        yield Place(path, what, path in written)


def _read(reading: Reading) -> Iterator[tuple[str, str]]:
    if reading.audience != AUDIENCE_KEY:
        yield reading.audience, "audience"
    if reading.account:
        yield reading.account.path, "account"
    yield from ((path, "consent") for path in (reading.consent.paths if reading.consent else ()))
    yield from ((path, kind) for kind, paths in reading.identifier_paths.items() for path in paths)
    yield from ((path, f"property {each.name}") for each in reading.properties for path in each.paths)


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
