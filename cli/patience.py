"""Sends requests beside the workers without hurting them: the fleet's permits and token, and deliveries go first."""

from collections.abc import Callable
from typing import Final

from worker.destinations.base import Request, Response
from worker.edges import Edges
from worker.errors import NotYet

PAUSE_SECONDS: Final = 0.25
LONGEST_WAIT_SECONDS: Final = 120.0
"""For one request; a credential that is held for longer is told instead."""

Progress = Callable[[int, bool], None]
"""Gets how many requests were answered, and whether the next one has to wait."""


class PatientSender:
    """Waits where a worker would come back later: for a permit, or for a token that a worker renews."""

    def __init__(self, edges: Edges, progress: Progress) -> None:
        self._edges = edges
        self._send = edges.sender(self._gate)
        self._progress = progress
        self._answered = 0

    def __call__(self, request: Request) -> Response:
        """Raises `NotYet` when that takes too long, and what the vendor's answer orders."""
        waited = 0.0
        while True:
            try:
                answer = self._send(request)
            except NotYet as obstacle:
                if waited >= LONGEST_WAIT_SECONDS:
                    raise self._told(obstacle) from None
                self._progress(self._answered, True)
                self._edges.pause(PAUSE_SECONDS)
                waited += PAUSE_SECONDS
            else:
                self._answered += 1
                self._progress(self._answered, False)
                return answer

    def _gate(self) -> None:
        """Takes a permit only where those of a whole batch stay free: workers take theirs together, or none."""
        limits = self._edges.limits
        if not limits.conversations(self._edges.destination.requests_a_batch + 1) or limits.take_or_wait_ms():
            raise NotYet("no permit of the credential is free")

    def _told(self, obstacle: NotYet) -> NotYet:
        held = self._edges.limits.held()
        return NotYet(obstacle.reason, f"it is held: {held.reason}") if held else obstacle
