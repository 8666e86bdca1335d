"""What the gateway measures, for Prometheus. Labels are reasons, types, routes and names of destinations, nothing else.

With several processes, `PROMETHEUS_MULTIPROC_DIR` names the folder where each leaves its numbers, so that whichever is
asked tells those of all.
"""

import os
from collections import Counter as Counts
from collections.abc import Mapping
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Histogram, disable_created_metrics, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.multiprocess import MultiProcessCollector

from producers.intake import Report

CONTENT_TYPE: Final = CONTENT_TYPE_PLAIN_0_0_4
FOLDER: Final = "PROMETHEUS_MULTIPROC_DIR"
SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Metrics:
    """Counts since the start. Threads may share it."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "relay_gateway_requests",
            "Requests that were answered, by route and status; 499: the client had gone.",
            ("route", "status"),
            registry=self._registry,
        )
        self._seconds = Histogram(
            "relay_gateway_request_seconds",
            "Time from a request's headers to its answer.",
            ("route",),
            buckets=SECONDS,
            registry=self._registry,
        )
        self._events = Counter(
            "relay_gateway_events",
            "Source events by outcome: accepted, refused (with the reason) or ignored (with the type).",
            ("outcome", "reason"),
            registry=self._registry,
        )
        self._changes = Counter(
            "relay_gateway_changes",
            "Changes by destination and outcome: appended, or duplicate.",
            ("destination", "outcome"),
            registry=self._registry,
        )

    def note_request(self, route: str, status: int, seconds: float) -> None:
        self._requests.labels(route, status).inc()
        self._seconds.labels(route).observe(seconds)

    def note_ignored(self, types: Mapping[str, int]) -> None:
        self._add_events("ignored", types)

    def note_stored(self, report: Report) -> None:
        self._add_events("accepted", {"": report.accepted})
        self._add_events("refused", report.refused)
        for outcome, counts in (("appended", report.changes), ("duplicate", report.duplicates)):
            for destination, count in counts.items():
                self._changes.labels(destination, outcome).inc(count)

    def text(self) -> bytes:
        """The numbers of all processes."""
        if not os.environ.get(FOLDER):
            return generate_latest(self._registry)
        of_all = CollectorRegistry()
        MultiProcessCollector(of_all)  # type: ignore[no-untyped-call]
        return generate_latest(of_all)

    def _add_events(self, outcome: str, reasons: Mapping[str, int] | Counts[str]) -> None:
        for reason, count in reasons.items():
            if count:
                self._events.labels(outcome, reason).inc(count)
