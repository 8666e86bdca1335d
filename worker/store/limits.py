"""How fast a credential may be used, over all workers together: permits and holds.

Permits follow the generic cell rate algorithm. Of a vendor's `calls` per `seconds` one fifth may come at once
and the rest evenly, so that no window of that length sees more than `calls`, wherever the vendor starts it.
"""

import json
from collections.abc import Callable
from typing import cast

from redis import Redis

from worker.destinations.base import Credential, Rate
from worker.store import keys
from worker.store.connection import translated
from worker.store.lanes import Hold
from worker.store.scripts import credential_script


class Limits:
    """The permits of one credential."""

    def __init__(self, client: Redis, credential: Credential, now_ms: Callable[[], int] | None = None) -> None:
        self._client = client
        self._root = keys.credential_root(credential.id)
        self._interval_us, self._burst = _spread(credential.rate)
        self._script = credential_script(client, "permit")
        self._now_ms = now_ms

    def take(self, permits: int) -> int:
        """Take that many permits, or none: returns 0, or in how many ms to come back."""
        return self._permit(min(permits, self._burst))

    def give_back(self, permits: int) -> None:
        """Return permits that were not used."""
        if permits > 0:
            self._permit(-min(permits, self._burst))

    def hold(self, reason: str, for_ms: int) -> None:
        """Let nobody use the credential for so long."""
        with translated():
            now = self._now_ms() if self._now_ms else _redis_ms(self._client)
            value = json.dumps({"reason": reason, "since": now, "until": now + for_ms})
            self._client.set(f"{self._root}:hold", value, px=max(1, for_ms))

    def held(self) -> Hold | None:
        """The hold that lasts now."""
        with translated():
            value = cast("bytes | None", self._client.get(f"{self._root}:hold"))
        if value is None:
            return None
        hold = json.loads(value)
        return Hold(hold["reason"], hold["since"], hold["until"], 1)

    def _permit(self, permits: int) -> int:
        now = self._now_ms() if self._now_ms else ""
        with translated():
            return int(self._script(keys=[self._root], args=[permits, self._interval_us, self._burst, now]))


def _redis_ms(client: Redis) -> int:
    seconds, micros = client.time()
    return seconds * 1000 + micros // 1000


def _spread(rate: Rate | None) -> tuple[int, int]:
    """Interval (µs) and burst that keep any window of `rate.seconds` within `rate.calls`."""
    if rate is None:
        return 0, 2**31
    burst = max(1, rate.calls // 5)
    return round(rate.seconds * 1_000_000 / max(1, rate.calls - burst)), burst
