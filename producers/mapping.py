"""What a source event says by one mapping: who entered or left which audience, and when. Nothing is guessed."""

from collections.abc import Iterable
from typing import Final

from producers.events import Membership, Reason, SourceEvent, Tree, Unread
from producers.identifiers import reader
from producers.paths import Parents, Place, Places
from worker.contract import Identifier, IdentifierType
from worker.destinations.mapping import AudienceConstant, EnteredConstant, MappingSettings, When, text_of
from worker.paths import AUDIENCE, steps
from worker.patterns import matches

BROUGHT_ALONG: Final[tuple[IdentifierType, ...]] = ("email", "device")
"""The identifiers that a membership has; others are read where a destination wants them."""
USUAL_CLASSES: Final = frozenset({"audience", "journey_step"})
"""What an event may be about where its mapping does not say."""
_FLAGS: Final = {"true": True, "false": False}


class Reader:
    """Reads memberships by one mapping, which `MappingSettings` explains."""

    def __init__(self, mapping: MappingSettings) -> None:
        self._places = Places()
        self._class_at = self._place("context.personas.computation_class")
        self._conditions = [_Condition(when, self._places) for when in mapping.when]
        self._audience = self._each(mapping.audience)
        self._same_audience = next(
            (each.value for each in mapping.audience if isinstance(each, AudienceConstant)), None
        )
        self._entered = self._each(mapping.entered)
        self._same_direction = next((each.value for each in mapping.entered if isinstance(each, EnteredConstant)), None)
        self._directions = {name: direction == "enter" for name, direction in mapping.events.items()}
        self._timestamp = self._each(mapping.timestamp)
        self._identifiers = [(reader(type_), self._each(mapping.identifier_paths(type_))) for type_ in BROUGHT_ALONG]

    def read(self, event: SourceEvent) -> Membership | Unread:
        """What a `track` or `identify` call tells. Never raises."""
        parents = self._places.parents(event.tree)
        if (obstacle := self._obstacle(event, parents)) is not None:
            return obstacle
        key = self._audience_key(parents)
        if key is None:
            return Unread("audience")
        entered = self._direction(key, event.tree, parents)
        if entered is None:
            return Unread("direction", key)
        occurred_at = event.occurred_at(self._timestamp_in(parents))
        if occurred_at is None:
            return Unread("timestamp", key)
        lost: list[IdentifierType] = []
        identifiers = self._identifiers_in(parents, lost)
        return Membership(key, entered, occurred_at, identifiers, event.message_id, event.tree, tuple(lost))

    def _place(self, path: str) -> Place:
        return self._places.add(steps(path))

    def _each(self, places: Iterable[object]) -> list[Place]:
        """The paths among them."""
        return [self._place(each) for each in places if isinstance(each, str)]

    def _obstacle(self, event: SourceEvent, parents: Parents) -> Unread | None:
        """Why the event does not count."""
        at, name = self._class_at
        reason: Reason = "unwanted"
        for condition in self._conditions:
            if condition.fits(event, parents):
                if condition.takes_class(parents[at].get(name)):
                    return None
                reason = reason if condition.classes else "class"
        return Unread(reason)

    def _audience_key(self, parents: Parents) -> str | None:
        for at, name in self._audience:
            key = parents[at].get(name)
            if isinstance(key, str) and key.strip():
                return key
        return self._same_audience

    def _direction(self, key: str, tree: Tree, parents: Parents) -> bool | None:
        for at, name in self._entered:
            told = parents[at].get(key if name == AUDIENCE else name)
            if told is not None and (flag := direction_in(told, name)) is not None:
                return flag
        if self._same_direction is not None:
            return self._same_direction
        event = tree.get("event")
        return self._directions.get(event) if isinstance(event, str) else None

    def _timestamp_in(self, parents: Parents) -> object:
        for at, name in self._timestamp:
            if (found := parents[at].get(name)) is not None:
                return found
        return None

    def _identifiers_in(self, parents: Parents, lost: list[IdentifierType]) -> tuple[Identifier, ...]:
        found: tuple[Identifier, ...] = ()
        for read, places in self._identifiers:
            values = [each for at, name in places if (own := parents[at]) and (each := own.get(name)) is not None]
            if values:
                found += read(values, lost.append)
        return found


def direction_in(told: object, step: str) -> bool | None:
    """Whether somebody enters, as it is told at the last step of a path of `entered`; None: that does not say it."""
    if isinstance(told, bool):
        return told
    return _FLAGS.get(told.strip().lower()) if isinstance(told, str) and step != AUDIENCE else None


class _Condition:
    """A `When`, ready to be compared."""

    def __init__(self, when: When, places: Places) -> None:
        self.classes = when.class_
        self._types = frozenset(when.type)
        self._names = when.event
        self._equals = [(*places.add(steps(path)), frozenset(texts)) for path, texts in when.equals.items()]
        self._exists = [places.add(steps(path)) for path in when.exists]
        self._missing = [places.add(steps(path)) for path in when.missing]
        self._says_no_more = not (self._names or self._equals or self._exists or self._missing)

    def fits(self, event: SourceEvent, parents: Parents) -> bool:
        """Whether the event has all of it, its class aside."""
        return event.type in self._types and (self._says_no_more or self._has_the_rest(event.tree, parents))

    def takes_class(self, name: object) -> bool:
        if not isinstance(name, str):
            return name is None and not self.classes
        return matches(name, self.classes) if self.classes else name in USUAL_CLASSES

    def _has_the_rest(self, tree: Tree, parents: Parents) -> bool:
        return (
            self._is_named(tree.get("event"))
            and all(text_of(parents[at].get(name)) in texts for at, name, texts in self._equals)
            and all(is_there(parents[at].get(name)) for at, name in self._exists)
            and not any(is_there(parents[at].get(name)) for at, name in self._missing)
        )

    def _is_named(self, event: object) -> bool:
        return not self._names or (isinstance(event, str) and matches(event, self._names))


def is_there(value: object) -> bool:
    """Null and blank text count as absent."""
    return value is not None and not (isinstance(value, str) and not value.strip())
