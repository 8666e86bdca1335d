"""A mapping of Segment's, with its triggers, as what a relay.toml says of a destination."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from cli.imported_fields import DEFAULTS, FIELDS, Imported, Tree, ignored
from producers.mapping_directives import Inexpressible
from producers.mapping_fql import when
from worker.errors import RelayError

DOES: Final = {"addUserToAudience": "enter", "removeUserFromAudience": "leave"}
"""What Criteo's actions make of every event that they get."""


class NoMapping(RelayError):
    """The file holds no mapping of Segment's; the text says what it should hold."""


@dataclass(frozen=True, slots=True)
class Subscription:
    """One action with its mapping and its trigger."""

    mapping: Tree
    trigger: str | None
    action: object

    @classmethod
    def of(cls, tree: dict[str, Any]) -> "Subscription":
        """As Segment's API writes it, or its tests. Raises `NoMapping`."""
        mapping, trigger = tree.get("mapping", tree.get("settings")), tree.get("subscribe", tree.get("trigger"))
        if not isinstance(mapping, dict) or not isinstance(trigger, str | None):
            raise NoMapping("a subscription has an object for its mapping (or settings), and a text for its trigger")
        return cls(mapping, trigger, tree.get("actionSlug", tree.get("partnerAction", tree.get("action"))))


def translate(kind: str, document: object) -> Imported:
    """A mapping, a subscription or several of one destination, decoded from JSON. Raises `NoMapping`."""
    subscriptions = list(_subscriptions(document))
    if not subscriptions:
        raise NoMapping("there is no subscription in it that is enabled")
    found = Imported()
    _take_triggers(subscriptions, found)
    for name in dict.fromkeys(name for each in subscriptions for name in each.mapping):
        _take_field(kind, name, subscriptions, found)
    return found


def _subscriptions(document: object) -> Iterator[Subscription]:
    """Those that are enabled; a mapping may stand alone."""
    match document:
        case {"data": inner} | {"subscription": inner} | {"subscriptions": inner}:
            yield from _subscriptions(inner)
        case list():
            for each in document:
                yield from _subscriptions(each)
        case {"enabled": False}:
            return
        case dict() if "mapping" in document or {"settings", "trigger"} <= document.keys():
            yield Subscription.of(document)
        case dict():
            yield Subscription(document, None, None)
        case _:
            raise NoMapping("a mapping of Segment's is a JSON object of fields; or it stands in a subscription")


def _take_field(kind: str, name: str, subscriptions: Sequence[Subscription], found: Imported) -> None:
    values = [each.mapping.get(name) for each in subscriptions]
    take = FIELDS[kind].get(name)
    if take is not ignored and any(value != values[0] for value in values):
        found.remark(name, "differs from subscription to subscription; a destination has one mapping")
        return
    try:
        if take is not None:
            take(values[0], subscriptions[0].mapping, found)
        elif values[0] is not None:
            found.remark(name, "no field that is known of this destination")
    except Inexpressible as reason:
        found.remark(name, reason)


# ── Triggers ─────────────────────────────────────────────────────────────────────────────────────


def _take_triggers(subscriptions: Sequence[Subscription], found: Imported) -> None:
    triggers = [each.trigger for each in subscriptions if each.trigger is not None]
    if len(triggers) == len(subscriptions):
        try:
            tables = when(*triggers)
        except Inexpressible as reason:
            found.remark("trigger", reason)
        else:
            if {} not in tables:
                found.mapping["when"] = tables[0] if len(tables) == 1 else tables
    elif triggers:
        found.remark("trigger", "not every subscription has one")
    _take_directions(subscriptions, found)


def _take_directions(subscriptions: Sequence[Subscription], found: Imported) -> None:
    """Where the action, not the event, says who enters: the names of the events that it gets say it then."""
    events: dict[str, str] = {}
    for each in subscriptions:
        direction = DOES.get(str(each.action))
        if direction is None:
            continue
        names = _names(each.trigger)
        if not names or any(events.setdefault(name, direction) != direction for name in names):
            found.remark(
                str(each.action), f"makes everybody {direction} whom it gets; say who does in events or entered"
            )
            return
    if events.items() - DEFAULTS["events"].items():
        found.mapping |= {"entered": [], "events": events}


def _names(trigger: str | None) -> list[str]:
    """The names of events that fit a trigger; none, where others fit, too."""
    try:
        tables = when(trigger or "")
    except Inexpressible:
        return []
    every = [names if isinstance(names := table.get("event", "*"), list) else [names] for table in tables]
    patterns = [name for names in every for name in names]
    literal = [re.sub(r"\[([*?[])\]", r"\1", pattern) for pattern in patterns]
    return literal if not any(re.search(r"[*?]", re.sub(r"\[.\]", "", each)) for each in patterns) else []
