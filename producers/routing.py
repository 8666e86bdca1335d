"""Which destinations want a membership, and the change that it is at each of them."""

from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from producers.route import REMEMBERED_AUDIENCES, Route, Routed
from producers.segment import Erasure, Membership, Reason, Refusal
from worker.destinations.base import DestinationSettings
from worker.patterns import matches

__all__ = ["LeftOut", "Routed", "Router"]

LeftOut = Counter[tuple[str, str]]
"""What single destinations do not get of events that are otherwise taken: `shop, consent`, `shop, property plan`."""


class Router:
    """Turns memberships into changes, as the destinations' settings say. Counts in `left_out` what they lack."""

    def __init__(self, destinations: Sequence[DestinationSettings]) -> None:
        self._routes = tuple(Route.of(settings) for settings in destinations)
        self._routes_of = lru_cache(REMEMBERED_AUDIENCES)(self._matching)

    def route(self, membership: Membership, left_out: LeftOut | None = None) -> list[Routed] | Refusal:
        """The changes of one membership, at most one a destination; a destination that cannot use it is left out.

        Refused when nothing is left: `unrouted`, `consent`, `account`, `identifier` or `audience`.
        """
        routes = self._routes_of(membership.audience_key)
        if not routes:
            return Refusal("unrouted")
        routed: list[Routed] = []
        lost: list[tuple[str, str]] = []
        obstacles: list[tuple[str, Reason]] = []
        for route in routes:
            outcome = route.route(membership, routes, lost)
            if isinstance(outcome, tuple):
                routed.append(outcome)
            elif outcome is not None:
                obstacles.append((route.destination, outcome))
        if not routed:
            return Refusal(_gravest(obstacles))
        if left_out is not None and (obstacles or lost):
            left_out.update([*obstacles, *lost])
        return routed

    def route_erasure(self, erasure: Erasure, left_out: LeftOut | None = None) -> list[Routed] | Refusal:
        """A request to forget, for every destination that may hold the person by one of these handles.

        Refused (`identifier`) when there is none.
        """
        found = {route.destination: route.erasure(erasure) for route in self._routes}
        routed = [each for each in found.values() if each is not None]
        if not routed:
            return Refusal("identifier")
        if left_out is not None:
            left_out.update((destination, "erasure") for destination, each in found.items() if each is None)
        return routed

    def _matching(self, audience_key: str) -> tuple[Route, ...]:
        return tuple(route for route in self._routes if matches(audience_key, route.audiences))


_BY_GRAVITY: Final[tuple[Reason, ...]] = ("consent", "account", "identifier", "audience")


def _gravest(obstacles: Sequence[tuple[str, Reason]]) -> Reason:
    """The one to look at first, where destinations had several."""
    reasons = {reason for _, reason in obstacles}
    return next((reason for reason in _BY_GRAVITY if reason in reasons), "audience")
