"""The paths of source events that a configuration reads, and what is usable there."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, Literal

from producers.identifiers import Read, reader
from producers.iso8601 import milliseconds
from producers.mapping import direction_in, is_there
from producers.properties import fits
from producers.route import name_in, whole_number
from worker.destinations.base import AUDIENCE_KEY, USER_ID, DestinationSettings
from worker.destinations.mapping import MappingSettings, text_of
from worker.paths import steps

Among = Literal["all", "counted", "about"]
"""The source events in which something should stand at a path: every one, those that the mapping counts, or those
about the audiences of the destination."""
Usable = Callable[[object], bool]
"""Whether a part of a source event could be what stands at its path."""


@dataclass(frozen=True, slots=True)
class Place:
    """A path of source events, and what is read there. `configured`: the configuration names it."""

    path: str
    what: str
    configured: bool
    usable: Usable = field(compare=False)
    among: Among = "about"


def places(settings: DestinationSettings) -> Iterator[Place]:
    """What a destination reads, in the order in which it counts."""
    yield from _mapped(settings)
    reading = settings.reading()
    written = set(_texts(settings.model_dump(exclude_unset=True, exclude={"mapping"})))
    if reading.account:
        yield Place(reading.account.path, "account", reading.account.path in written, _is_name)
    for path in reading.consent.paths if reading.consent else ():
        yield Place(path, "consent", path in written, is_there)
    for each in reading.properties:
        if each.name != USER_ID:
            usable = partial(fits, type_=each.type)
            yield from (Place(path, f"property {each.name}", path in written, usable) for path in each.paths)


def _mapped(settings: DestinationSettings) -> Iterator[Place]:
    """What the mapping says of parts that the destination reads."""
    mapping, reading = settings.mapping, settings.reading()
    yield from _asked(mapping)
    yield from _counted(mapping)
    written = mapping.model_fields_set
    if reading.audience != AUDIENCE_KEY:
        named = _is_number if reading.numeric_audience else _is_name
        for path in mapping.audience_id or (reading.audience,):
            yield Place(path, "audience_id", mapping.audience_id is not None, named)
    for type_ in reading.identifiers:
        usable = partial(_is_one, reader(type_, region=reading.phone_region))
        yield from (Place(path, type_, type_ in written, usable) for path in mapping.identifier_paths(type_))
    if any(each.name == USER_ID for each in reading.properties):
        for path in mapping.user_id:
            yield Place(path, "user_id", "user_id" in written, partial(fits, type_="STRING"))


def _counted(mapping: MappingSettings) -> Iterator[Place]:
    """What every source event that counts should have; constants stand nowhere."""
    for key in ("audience", "entered", "timestamp"):
        for path in getattr(mapping, key):
            if isinstance(path, str):
                usable = _USABLE.get(key) or partial(_is_direction, step=steps(path)[-1])
                yield Place(path, key, key in mapping.model_fields_set, usable, "counted")


def _asked(mapping: MappingSettings) -> Iterator[Place]:
    """What the conditions look at."""
    for each in mapping.when:
        yield from (Place(path, "when", configured=True, usable=_has_text, among="all") for path in each.equals)
        yield from (Place(path, "when", configured=True, usable=is_there, among="all") for path in each.exists)
        yield from (Place(path, "when", configured=False, usable=is_there, among="all") for path in each.missing)


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


# ── What is usable there ─────────────────────────────────────────────────────────────────────────


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _has_text(value: object) -> bool:
    return text_of(value) is not None


def _is_name(value: object) -> bool:
    return name_in(value) is not None


def _is_number(value: object) -> bool:
    name = name_in(value)
    return name is not None and whole_number(name) is not None


def _is_time(value: object) -> bool:
    return isinstance(value, str) and milliseconds(value) is not None


def _is_direction(value: object, step: str) -> bool:
    return direction_in(value, step) is not None


def _is_one(read: Read, value: object) -> bool:
    return bool(read([value], lambda _lost: None))


_USABLE: Final[Mapping[str, Usable]] = {"audience": _is_text, "timestamp": _is_time}
