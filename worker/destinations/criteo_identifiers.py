"""Criteo's types of identifiers, and the forms in which it holds what they name."""

import hashlib
import re
from collections.abc import Collection, Mapping
from typing import Final, Literal

from worker.contract import Identifier, IdentifierType
from worker.destinations.base import is_hashed, sha256_hex

CriteoType = Literal["email", "madid", "identityLink", "gum", "phoneNumber"]

CONTRACT_TYPES: Final[Mapping[CriteoType, IdentifierType]] = {
    "email": "email",
    "madid": "device",
    "identityLink": "identity_link",
    "gum": "gum",
    "phoneNumber": "phone",
}
"""What a change calls each of Criteo's types."""

_BARE_UUID: Final = re.compile(r"[0-9a-f]{32}")
_MD5_LENGTH: Final = 32
_SHA256_LENGTH: Final = 64


def held(identifier: Identifier, hashed: Collection[IdentifierType]) -> Identifier:
    """The identifier as Criteo is to hold it: emails and phones of the `hashed` types as SHA-256.

    What is hashed already is never hashed again. Device ids are UUIDs in lower case; the others are opaque.
    """
    kind, value = identifier.type, identifier.value
    if kind == "device":
        return Identifier(kind, _uuid(value))
    if kind not in {"email", "phone"}:
        return identifier
    if _is_hash(identifier):
        return Identifier(kind, value.lower())
    return Identifier(kind, sha256_hex(value)) if kind in hashed else identifier


def forms(identifier: Identifier) -> tuple[Identifier, ...]:
    """Every form in which Criteo takes an email (plain, MD5, SHA-256, SHA-256 of the MD5) or a phone number.

    A hash leads to what can be made of it; another identifier is its own and only form.
    """
    kind, value = identifier.type, identifier.value
    if kind == "phone" and not _is_hash(identifier):
        return (identifier, Identifier(kind, sha256_hex(value)))
    if kind != "email":
        return (identifier,)
    if _is_hash(identifier):
        of_md5 = [Identifier(kind, sha256_hex(value.lower()))] if len(value) == _MD5_LENGTH else []
        return (identifier, *of_md5)
    md5 = hashlib.md5(value.encode(), usedforsecurity=False).hexdigest()
    return (identifier, *(Identifier(kind, form) for form in (md5, sha256_hex(value), sha256_hex(md5))))


def _is_hash(identifier: Identifier) -> bool:
    """Producers let no other phone pass that is as long as a hash."""
    return is_hashed(identifier.value) if identifier.type == "email" else len(identifier.value) == _SHA256_LENGTH


def _uuid(device: str) -> str:
    """In lower case and with hyphens, as Criteo's examples have them; the case that it wants is not documented.

    >>> _uuid("3F097372F01E4B64984C395AE5828EE6")
    '3f097372-f01e-4b64-984c-395ae5828ee6'
    """
    value = device.strip().lower()
    if not _BARE_UUID.fullmatch(value):
        return value
    return "-".join((value[:8], value[8:12], value[12:16], value[16:20], value[20:]))
