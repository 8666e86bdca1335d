"""What the gateway answers: a JSON object with `success` and, where that is false, a `code` and a `message`.

Clients read both: rudder-sdk-python sends a request again whose refusal has no `code`. Nothing of what was sent is
repeated, but where an event stood.
"""

import secrets
from collections.abc import Mapping
from typing import Any, Final

import msgspec
from starlette.responses import Response

LONGEST_RETRY_SECONDS: Final = 5
ALWAYS: Final = {"x-content-type-options": "nosniff", "cache-control": "no-store"}


class Declined(Exception):
    """A request that is not taken: what it is answered with."""

    def __init__(self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(code)
        self.status = status
        self.code = code
        self.message = message
        self.headers = headers or {}


class Later(Declined):
    """A request to be sent again, at a time that is not the same for everybody."""

    def __init__(self, code: str, message: str) -> None:
        seconds = 1 + secrets.randbelow(LONGEST_RETRY_SECONDS)
        super().__init__(503, code, message, {"retry-after": str(seconds)})


def answer(status: int, body: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> Response:
    return Response(msgspec.json.encode(body), status, {**ALWAYS, **(headers or {})}, "application/json")


def decline(declined: Declined) -> Response:
    body = {"success": False, "code": declined.code, "message": declined.message}
    return answer(declined.status, body, declined.headers)
