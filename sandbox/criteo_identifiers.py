"""Which identifiers Criteo counts as valid. No page states the rules in full; this is what is known."""

import re
from collections.abc import Iterable
from typing import Final, Literal, NamedTuple

IdentifierType = Literal["email", "madid", "identityLink", "gum", "phoneNumber"]

_EMAIL: Final = re.compile(r"[^@\s]+@[^@\s.]+(?:\.[^@\s.]+)+|[0-9a-fA-F]{64}|[0-9a-fA-F]{32}")
_UUID: Final = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_PHONE: Final = re.compile(r"[0-9]{1,15}|[0-9a-fA-F]{64}")
_OPAQUE: Final = re.compile(r"\S+")

SHAPES: Final[dict[str, re.Pattern[str]]] = {
    "email": _EMAIL,  # plain, MD5 or SHA-256; an address without a top-level domain is invalid (page of 2020)
    "madid": _UUID,
    "identityLink": _OPAQUE,
    "gum": _OPAQUE,
    "phoneNumber": _PHONE,
}


class Sorted(NamedTuple):
    """The valid ones as they are held (trimmed, lower-case), the invalid ones untouched; both in order."""

    valid: list[str]
    invalid: list[str]


def sort(identifiers: Iterable[str], kind: str) -> Sorted:
    fits = SHAPES[kind].fullmatch
    result = Sorted([], [])
    for identifier in identifiers:
        trimmed = identifier.strip()
        if fits(trimmed):
            result.valid.append(trimmed.lower())
        else:
            result.invalid.append(identifier)
    return result
