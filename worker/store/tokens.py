"""Access tokens: one per credential for the whole fleet, renewed by one worker at a time."""

import time
import uuid
from collections.abc import Callable
from datetime import timedelta
from typing import Any, Final, Literal, NamedTuple

from redis import Redis

from worker.destinations.base import Credential
from worker.store import keys
from worker.store.connection import translated
from worker.store.scripts import lone_script

RENEW_BEFORE: Final = timedelta(seconds=60)
"""So long before its end a token is renewed, or a fifth of its life when that is less."""
RENEWAL_TAKES: Final = timedelta(seconds=30)
BELIEVE_REFUSAL: Final = timedelta(seconds=60)
ASK_AGAIN_AFTER: Final = timedelta(seconds=5)
"""How long a process uses a token without asking again, unless that is refused or to be renewed."""


class Grant(NamedTuple):
    """What to do about a token: `use` it, `renew` it, `wait` for who renews it, or leave it: it was `refused`."""

    act: Literal["use", "renew", "wait", "refused"]
    renewal: str = ""
    """Names the renewal, for `keep`, `refuse` or `abandon`."""
    token: str = ""
    reason: str = ""


class Tokens:
    """The token of one credential."""

    def __init__(self, client: Redis, credential: Credential, now_ms: Callable[[], int] | None = None) -> None:
        self._client = client
        self._root = keys.credential_root(credential.id)
        self._token = lone_script(client, "token")
        self._store = lone_script(client, "token_store")
        self._now_ms = now_ms
        self._known = _Known("", 0.0)

    def get(self, *, failed: str = "") -> Grant:
        """A token that has some time to live and is not the one that `failed`; or the task of renewing it."""
        if self._known.token not in {"", failed} and self._clock() < self._known.until:
            return Grant("use", token=self._known.token)
        renewal = uuid.uuid4().hex
        answer = self._run(self._token, renewal, _ms(RENEWAL_TAKES), failed)
        act = answer[0].decode()
        if act == "use":
            token = answer[1].decode()
            self._known = _Known(token, self._clock() + min(answer[2], _ms(ASK_AGAIN_AFTER)))
            return Grant("use", token=token)
        if act == "refused":
            return Grant("refused", reason=answer[1].decode())
        return Grant(act, renewal)

    def keep(self, renewal: str, token: str, lives: timedelta) -> None:
        """Hand a new token to the fleet."""
        margin = min(RENEW_BEFORE, lives / 5)
        self._run(self._store, renewal, token, _ms(lives), _ms(margin), "", 0)

    def refuse(self, renewal: str, reason: str) -> None:
        """Remember that the vendor refused the credentials, so that nobody asks again for a minute."""
        self._run(self._store, renewal, "", 0, 0, reason, _ms(BELIEVE_REFUSAL))

    def abandon(self, renewal: str) -> None:
        """The renewal failed for a passing reason: let the next caller try."""
        self._run(self._store, renewal, "", 0, 0, "", 0)

    def forgive(self) -> None:
        """Forget that the credentials were refused: somebody has mended them."""
        with translated():
            self._client.hdel(f"{self._root}:token", "refused", "refused_until")

    def _clock(self) -> float:
        """For spans of time, in ms."""
        return self._now_ms() if self._now_ms else time.monotonic() * 1000

    def _run(self, script: Any, *args: str | int) -> Any:
        now = self._now_ms() if self._now_ms else ""
        with translated():
            return script(keys=keys.declared(self._root), args=[*args, now])


class _Known(NamedTuple):
    """A token that Redis gave out, and until when it is used without asking."""

    token: str
    until: float


def _ms(span: timedelta) -> int:
    return round(span.total_seconds() * 1000)
