"""How many calls a caller has left in a minute."""

import math
from collections import deque
from collections.abc import Callable
from typing import Final, Literal

WindowKind = Literal["fixed", "sliding"]
WINDOW_SECONDS: Final = 60


class RateWindow:
    """The calls of one caller. `fixed` windows begin with each minute, `sliding` ones look back."""

    def __init__(self, clock: Callable[[], float], kind: WindowKind = "fixed") -> None:
        self._clock = clock
        self._kind = kind
        self._calls: deque[float] = deque()

    def take(self, limit: int) -> bool:
        """Count one call; False, and nothing counted, when the limit is reached."""
        if self.remaining(limit) <= 0:
            return False
        self._calls.append(self._clock())
        return True

    def remaining(self, limit: int) -> int:
        while self._calls and self._calls[0] + self._seconds_counted(self._calls[0]) <= self._clock():
            self._calls.popleft()
        return max(0, limit - len(self._calls))

    def resets_at(self) -> int:
        """When a new call could be made at the latest, in whole seconds since the epoch."""
        first = self._calls[0] if self._calls else self._clock()
        return math.ceil(first + self._seconds_counted(first))

    def _seconds_counted(self, call: float) -> float:
        """How long a call counts: to the end of its minute, or a minute."""
        return WINDOW_SECONDS if self._kind == "sliding" else WINDOW_SECONDS - call % WINDOW_SECONDS
