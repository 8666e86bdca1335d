"""Which destinations want a source event, and the change that it is at each of them."""

from collections import Counter
from collections.abc import Collection, Sequence
from functools import lru_cache
from typing import Final

from producers.events import Erasure, Membership, Reason, Refusal, SourceEvent, Unread
from producers.mapping import Reader
from producers.route import REMEMBERED_AUDIENCES, Readings, Route, Routed
from producers.segment import read_erasure
from worker.destinations.base import DestinationSettings
from worker.patterns import matches

__all__ = ["LeftOut", "Routed", "Router"]

LeftOut = Counter[tuple[str, str]]
"""What single destinations do not get of events that are otherwise taken: `shop, consent`, `shop, property plan`."""


class Router:
    """Turns source events into changes, as the destinations' settings say. Threads may share it.

    Destinations with equal mappings share one reading of an event. An event that one destination can use and another
    cannot goes to the former alone.
    """

    def __init__(self, destinations: Sequence[DestinationSettings]) -> None:
        every = [each.mapping for each in destinations]
        mappings = [mapping for place, mapping in enumerate(every) if mapping not in every[:place]]
        self._readers = tuple(map(Reader, mappings))
        self._routes = tuple(Route.of(each, mappings.index(each.mapping)) for each in destinations)
        self._routes_of = lru_cache(REMEMBERED_AUDIENCES)(self._matching)

    def route_event(self, event: SourceEvent, left_out: LeftOut | None = None) -> list[Routed] | Refusal:
        """The changes of one source event, at most one a destination. Never raises for what it holds.

        Refused when nothing is left. Adds to `left_out` what single destinations lack of an event that is taken.
        """
        if event.type == "delete":
            erasure = read_erasure(event)
            return erasure if isinstance(erasure, Refusal) else self.route_erasure(erasure, left_out)
        return self._route([reader.read(event) for reader in self._readers], left_out)

    def route(self, membership: Membership, left_out: LeftOut | None = None) -> list[Routed] | Refusal:
        """The changes of a membership that every destination reads alike. Otherwise as `route_event`.

        Refused when nothing is left: `unrouted`, `consent`, `account`, `identifier` or `audience`.
        """
        return self._route([membership] * len(self._readers), left_out)

    def route_erasure(self, erasure: Erasure, left_out: LeftOut | None = None) -> list[Routed] | Refusal:
        """A request to forget, for every destination that may hold the person by one of these handles.

        Refused (`identifier`) when there is none.
        """
        lost: list[tuple[str, str]] = []
        found = {route.destination: route.erasure(erasure, lost) for route in self._routes}
        routed = [each for each in found.values() if each is not None]
        if not routed:
            return Refusal("identifier")
        if left_out is not None:
            left_out.update(lost)
            left_out.update((destination, "erasure") for destination, each in found.items() if each is None)
        return routed

    def _route(self, readings: Readings, left_out: LeftOut | None) -> list[Routed] | Refusal:
        asked = self._routes_of(tuple([each.audience_key for each in readings]))
        routed: list[Routed] = []
        lost: list[tuple[str, str]] = []
        obstacles: list[tuple[str, Reason]] = []
        for route in asked:
            outcome = route.route(readings, asked, lost)
            if isinstance(outcome, tuple):
                routed.append(outcome)
            elif outcome is not None:
                obstacles.append((route.destination, outcome))
        if not routed:
            return Refusal(_gravest({reason for _, reason in obstacles} or _without_obstacles(readings, asked)))
        if left_out is not None and (obstacles or lost):
            left_out.update([*obstacles, *lost])
        return routed

    def _matching(self, audience_keys: tuple[str | None, ...]) -> tuple[Route, ...]:
        """The routes that take the audience, which each mapping may read differently; None: it is not known."""
        return tuple(
            route
            for route in self._routes
            if (key := audience_keys[route.mapping]) is None or matches(key, route.audiences)
        )


_BY_GRAVITY: Final[tuple[Reason, ...]] = (
    "consent",
    "account",
    "identifier",
    "audience",
    "direction",
    "timestamp",
    "class",
    "unrouted",
    "unwanted",
)


def _gravest(reasons: Collection[Reason]) -> Reason:
    """The one to look at first, where destinations had several."""
    return min(reasons, key=_BY_GRAVITY.index)


def _without_obstacles(readings: Readings, asked: Sequence[Route]) -> set[Reason]:
    """Why nobody gets an event that no destination has anything against."""
    if any(isinstance(readings[route.mapping], Membership) for route in asked):
        return {"audience"}  # it names an account that is another destination's
    if any(isinstance(each, Membership) for each in readings) or not readings:
        return {"unrouted"}
    return {each.reason for each in readings if isinstance(each, Unread)}
