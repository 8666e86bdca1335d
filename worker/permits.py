"""The permits of one flush: those that a batch usually needs are taken before, the rest one by one."""

from collections.abc import Callable
from typing import Final

from worker.errors import NotYet
from worker.store.limits import Limits

LONGEST_WAIT_SECONDS: Final = 10.0
"""For one more permit in the middle of a conversation: to begin it anew later would cost more permits."""


class Permits:
    """Used one a request; what is left is given back. `pause` waits so many seconds, or less when the worker stops."""

    def __init__(self, limits: Limits, pause: Callable[[float], object]) -> None:
        self._limits = limits
        self._pause = pause
        self._left = 0

    def take(self, permits: int) -> bool:
        """Take them, or as many as come at once. False: none is free now."""
        self._left = self._limits.take(permits)
        return self._left > 0

    def use(self) -> None:
        """One more request. Raises `NotYet` when it would have to wait long for a permit."""
        if self._left > 0:
            self._left -= 1
            return
        waited = 0.0
        while wait_ms := self._limits.take_or_wait_ms():
            waited += wait_ms / 1000
            if waited > LONGEST_WAIT_SECONDS:
                raise NotYet("no permit of the credential is free")
            self._pause(wait_ms / 1000)

    def give_back(self) -> None:
        self._limits.give_back(self._left)
        self._left = 0
