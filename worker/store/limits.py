"""How fast a credential may be used, over all workers together: permits, holds, and what vendors tell of limits."""

import json
import time
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple, cast

from redis import Redis

from worker.destinations.base import Credential
from worker.store import keys
from worker.store.connection import translated
from worker.store.scripts import lone_script
from worker.store.status import Hold

REMEMBER_HOLD_MS: Final = 600_000
"""A hold is remembered for so long after its end: another one then counts as one more in a row."""
TOLD_LASTS_MS: Final = 86_400_000
TELL_AGAIN_AFTER_MS: Final = 3_600_000
"""So long a process keeps to itself what it has told the fleet of the vendor's limit, unless that changes."""


class Limits:
    """The permits of one credential.

    Its rate is what the vendor's answers tell, else what is configured or published; and not more than what was
    learned from 429s: two thirds of the last minute's use, then a quarter more each minute.
    """

    def __init__(self, client: Redis, credential: Credential, now_ms: Callable[[], int] | None = None) -> None:
        self._client = client
        self._root = keys.credential_root(credential.id)
        self._calls_per_minute = credential.calls_per_minute or 0
        self._permit = lone_script(client, "permit")
        self._slow_down = lone_script(client, "slow_down")
        self._hold = lone_script(client, "credential_hold")
        self._keep = lone_script(client, "keep")
        self._now_ms = now_ms
        self._told = _Told(0, 0.0)

    def take(self, permits: int) -> int:
        """Take so many permits, or as many as a burst may have; returns how many, 0 when none is free now."""
        return self._ask(permits)[1]

    def take_or_wait_ms(self) -> int:
        """Take one permit and return 0, or in how many ms there is one."""
        wait, taken, _, _ = self._ask(1)
        return 0 if taken else max(1, wait)

    def free(self) -> int:
        """How many permits could be taken now."""
        return self._ask(0)[2]

    def conversations(self, permits_each: int) -> int:
        """How many conversations could begin now, each with so many permits or as many as come at once."""
        _, _, free, rate = self._ask(0)
        return free // min(permits_each, max(1, rate // 5)) if rate else free

    def calls_per_minute(self) -> int | None:
        """The rate as it is kept now; None: no limit is known."""
        return self._ask(0)[3] or None

    def give_back(self, permits: int) -> None:
        """Return permits that were not used."""
        if permits > 0:
            self._ask(-permits)

    def hold(self, reason: str, for_ms: int, *, ordinary: bool = False) -> None:
        """Let nobody use the credential for so long; a longer hold that lasts stays. An ordinary one is no attempt."""
        kind, now = "ordinary" if ordinary else "", self._given_now()
        with translated():
            self._hold(keys=keys.declared(self._root), args=[reason, for_ms, REMEMBER_HOLD_MS, kind, now])

    def held(self) -> Hold | None:
        """The hold that lasts now."""
        with translated():
            found = cast("bytes | None", self._client.get(f"{self._root}:hold"))
        hold: dict[str, Any] | None = json.loads(found) if found else None
        if hold is None or hold["until"] <= self._now():
            return None
        return Hold(hold["reason"], hold["since"], hold["until"], hold["attempts"])

    def attempts(self) -> int:
        """How often in a row the credential was held lately."""
        with translated():
            return int(cast("bytes | None", self._client.get(f"{self._root}:attempts")) or 0)

    def release(self) -> bool:
        """End a hold. False: there was none."""
        was = self.held() is not None
        with translated():
            self._client.delete(f"{self._root}:hold", f"{self._root}:attempts")
        return was

    def slow_down(self) -> None:
        """Learn from a 429."""
        with translated():
            self._slow_down(keys=keys.declared(self._root), args=[self._calls_per_minute, self._given_now()])

    def observe(self, headers: Mapping[str, str]) -> None:
        """Read `x-ratelimit-*` of an answer (Criteo, page "rate limits": calls a minute, epoch seconds)."""
        limit, remaining, reset = (_number(headers, name) for name in ("limit", "remaining", "reset"))
        if limit and self._is_news(limit):
            with translated():
                self._keep(keys=[f"{self._root}:rate"], args=["told", limit, TOLD_LASTS_MS])
            self._told = _Told(limit, self._clock() + TELL_AGAIN_AFTER_MS)
        if remaining == 0 and reset and (left_ms := reset * 1000 - self._now()) > 0:
            self.hold("rate limit used up", min(left_ms, 60_000), ordinary=True)

    def _is_news(self, limit: int) -> bool:
        """Whether to tell the fleet, also of what is configured: it may have been told something else before."""
        return limit != self._told.limit or self._clock() >= self._told.until_ms

    def _ask(self, permits: int) -> tuple[int, int, int, int]:
        args = [permits, self._calls_per_minute, self._given_now()]
        with translated():
            wait, taken, free, rate = cast("list[int]", self._permit(keys=keys.declared(self._root), args=args))
        return wait, taken, free, rate

    def _given_now(self) -> int | str:
        return self._now_ms() if self._now_ms else ""

    def _clock(self) -> float:
        """For spans of time, in ms."""
        return self._now_ms() if self._now_ms else time.monotonic() * 1000

    def _now(self) -> int:
        if self._now_ms:
            return self._now_ms()
        with translated():
            seconds, micros = self._client.time()
        return seconds * 1000 + micros // 1000


class _Told(NamedTuple):
    """The vendor's limit as this process told it to the fleet, and until when it need not again."""

    limit: int
    until_ms: float


def _number(headers: Mapping[str, str], name: str) -> int | None:
    value = headers.get(f"x-ratelimit-{name}", "")
    return int(value) if value.isdigit() else None
