"""Who may send source events. Comparisons take the same time whatever is offered."""

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Final

import msgspec
from pydantic import SecretStr

from producers.gateway.answers import Declined

CHALLENGE: Final = {"www-authenticate": 'Basic realm="audience-relay", charset="UTF-8"'}
"""Goes with each 401, which else would be none (RFC 9110, 15.5.2)."""
LOOKED_AT: Final = 16
"""Of what may be the write key in a body."""

_WRITE_KEY: Final = re.compile(rb'"writeKey"\s*+:\s*+("[^"\\]*+(?:\\.[^"\\]*+)*+")')


class WriteKeys:
    """The keys of the HTTP API."""

    def __init__(self, keys: Iterable[SecretStr]) -> None:
        self._digests = [_digest(key.get_secret_value()) for key in keys]

    def expect_any(self) -> None:
        """Raise `Declined` when nobody may send."""
        if not self._digests:
            raise Declined(403, "not_configured", "no write_keys in [gateway] of the relay's configuration")

    def expect(self, key: str | None) -> None:
        """Raise `Declined` unless it is one of them."""
        if key is None:
            raise _unknown("no write key; send it as user name of Basic authentication, or as writeKey in the body")
        if not self._is_one(key):
            raise _unknown("unknown write key")

    def expect_in(self, body: bytes) -> None:
        """Raise `Declined` unless one of them stands where it may be the body's `writeKey`.

        Whether it is that, is told when the body is decoded, which is not done for everybody: it takes longer.
        """
        found = list(islice(_write_keys(body), LOOKED_AT))
        if not any(map(self._is_one, found)):
            self.expect(found[0] if found else None)

    def _is_one(self, key: str) -> bool:
        offered = _digest(key)
        return any([hmac.compare_digest(offered, each) for each in self._digests])  # noqa: C419 - look at each one


class Signature:
    """What the webhook's bodies are signed with: `X-Signature` is the hex HMAC-SHA1 of the raw body."""

    def __init__(self, secret: SecretStr | None) -> None:
        self._secret = secret.get_secret_value().encode() if secret else None

    def expect_any(self) -> None:
        """Raise `Declined` when nobody may send."""
        if self._secret is None:
            raise Declined(403, "not_configured", "no webhook_secret in [gateway] of the relay's configuration")

    def expect(self, signature: str | None, body: bytes) -> None:
        """Raise `Declined` unless the body, as it came, is signed with the secret."""
        if signature is None:
            raise _unknown("no X-Signature; it is the hex HMAC-SHA1 of the body with the shared secret")
        expected = hmac.new(self._secret or b"", body, hashlib.sha1).hexdigest()
        if self._secret is None or not hmac.compare_digest(signature.strip().lower().encode(), expected.encode()):
            raise _unknown("X-Signature is not the hex HMAC-SHA1 of this body with the shared secret")


def user_name(authorization: str | None) -> str | None:
    """Of Basic authentication; None when there is no such header. One that cannot be read names nobody."""
    if authorization is None:
        return None
    scheme, _, credentials = authorization.partition(" ")
    if scheme.lower() != "basic":
        return ""
    try:
        return base64.b64decode(credentials.strip(), validate=True).decode().partition(":")[0]
    except (binascii.Error, ValueError):
        return ""


def _write_keys(body: bytes) -> Iterator[str]:
    for found in _WRITE_KEY.finditer(body):
        try:
            yield msgspec.json.decode(found[1], type=str)
        except msgspec.DecodeError:
            continue


def _digest(key: str) -> bytes:
    """Of equal length for all keys."""
    return hashlib.sha256(key.encode()).digest()


def _unknown(message: str) -> Declined:
    return Declined(401, "unauthorized", message, CHALLENGE)
