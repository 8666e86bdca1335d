"""What a vendor was asked, and how many requests were in flight at once for each audience."""

import threading
from collections import Counter
from collections.abc import Collection, Iterable
from typing import Any, NamedTuple


class Audience(NamedTuple):
    """An audience as its owner (advertiser or account) knows it."""

    owner: str
    name: str


def labels(audiences: Iterable[Audience]) -> dict[Audience, str]:
    """What each is called in read-outs: its name, with the owner in front where two owners use that name."""
    distinct = set(audiences)
    owners = Counter(audience.name for audience in distinct)
    return {each: each.name if owners[each.name] == 1 else f"{each.owner}/{each.name}" for each in distinct}


class Journal:
    """Counts of answered requests per route and status, and the most in flight per audience."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._routes: dict[str, Counter[str]] = {}
        self._in_flight: Counter[Audience] = Counter()
        self._most: dict[Audience, int] = {}

    def clear(self) -> None:
        """Forget what is over; what is in flight still counts."""
        with self._lock:
            self._routes.clear()
            self._in_flight = +self._in_flight
            self._most = dict(self._in_flight)

    def begin(self, method: str, route: str, audiences: Collection[Audience]) -> "Flight":
        """A request has arrived in full."""
        with self._lock:
            for audience in audiences:
                self._in_flight[audience] += 1
                self._most[audience] = max(self._most.get(audience, 0), self._in_flight[audience])
        return Flight(self, f"{method} {route}", audiences)

    def end(self, flight: "Flight", status: str) -> None:
        """The last of its answer is about to leave: from here on its sender may know the outcome."""
        with self._lock:
            self._routes.setdefault(flight.route, Counter())[status] += 1
            self._in_flight.subtract(flight.audiences)

    def summary(self) -> dict[str, Any]:
        with self._lock:
            names = labels(self._most)
            return {
                "total": sum(statuses.total() for statuses in self._routes.values()),
                "routes": {route: dict(statuses) for route, statuses in sorted(self._routes.items())},
                "most_in_flight": {names[audience]: most for audience, most in self._most.items()},
            }


class Flight:
    """One request under way. It ends once; what comes after is ignored."""

    def __init__(self, journal: Journal, route: str, audiences: Collection[Audience]) -> None:
        self._journal = journal
        self._over = False
        self.route = route
        self.audiences = audiences

    def end(self, status: str) -> None:
        if not self._over:
            self._over = True
            self._journal.end(self, status)
