"""Identifiers in the one form in which they are compared and sent: trimmed, lower-cased, or left as they are."""

import re
from collections.abc import Iterable
from typing import Final
from unicodedata import normalize

_WHITESPACE: Final = (
    "\t\n\v\f\r\x1c\x1d\x1e\x1f \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000"
)
_ZERO_WIDTH: Final = (
    "\xad\u180e\u200b\u200c\u200d\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2060\u2066\u2067\u2068\u2069\ufeff"
)
_EDGES: Final = _WHITESPACE + _ZERO_WIDTH
_HASH: Final = re.compile(r"[0-9a-f]{32}|[0-9a-f]{64}")
_ALL_ZERO: Final = frozenset({"00000000-0000-0000-0000-000000000000", "0" * 32})


def first_email(values: Iterable[object]) -> str | None:
    """Normalise the first value that is a string and not blank. None: there is none, or it is no email.

    Later values do not stand in for one that is no email: that would be guessing.
    """
    for value in values:
        if isinstance(value, str) and (trimmed := value.strip(_EDGES)):
            return normalise_email(trimmed)
    return None


def normalise_email(text: str) -> str | None:
    """Trim, compose (NFC) and lower-case an email, or the hash of one. None: the text is neither.

    Whether an address exists is for the vendor to say: anything around an "@" passes.

    >>> normalise_email(" Jane.DOE@Example.COM ")
    'jane.doe@example.com'
    """
    email = _canonical(text.strip(_EDGES))
    return email if _is_address(email) or _HASH.fullmatch(email) else None


def distinct_devices(values: Iterable[object]) -> list[str]:
    """The device ids among the values, exactly as given, each once; blank and all-zero ones name nobody."""
    found: list[str] = []
    for value in values:
        if isinstance(value, str) and value not in found and _names_device(value):
            found.append(value)
    return found


def _names_device(text: str) -> bool:
    return text not in _ALL_ZERO and bool(text.strip(_EDGES))


def _canonical(text: str) -> str:
    if text.isascii():
        return text.lower()
    # Lower-casing can undo the composition, so it is done again.
    return normalize("NFC", normalize("NFC", text).lower())


def _is_address(text: str) -> bool:
    local, _, domain = text.rpartition("@")
    return bool(local and domain) and len(text.split(None, 1)) == 1
