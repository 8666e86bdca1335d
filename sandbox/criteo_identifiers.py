"""Which identifiers Criteo counts as valid, and how it holds them. No page states the rules in full."""

import re
from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

from sandbox.criteo_switches import CriteoSwitches, IdentifierType

_EMAIL: Final = r"[^@\s]+@[^@\s.]+(?:\.[^@\s.]+)+"
"""An address without a top-level domain is invalid (page of 2020)."""
_PHONE: Final = r"[0-9]{1,15}"
_MD5_OR_SHA256: Final = r"(?:[0-9a-f]{32}){1,2}"
_SHA256: Final = r"[0-9a-f]{64}"
_UUID: Final = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_BARE_UUID: Final = r"[0-9a-f]{32}"


class Sorted(NamedTuple):
    """The valid ones as they are held, the invalid ones untouched; both in order."""

    valid: list[str]
    invalid: list[str]


def sort(identifiers: Iterable[str], kind: IdentifierType, switches: CriteoSwitches) -> Sorted:
    """They are trimmed; what says the same in upper and lower case is held in lower case."""
    fits = re.compile(_shape(kind, switches)).fullmatch
    held = _FORMS.get(kind, str.lower)
    result = Sorted([], [])
    for identifier in identifiers:
        trimmed = identifier.strip()
        if fits(trimmed):
            result.valid.append(held(trimmed))
        else:
            result.invalid.append(identifier)
    return result


def _shape(kind: IdentifierType, switches: CriteoSwitches) -> str:
    match kind:
        case "email":
            return f"{_EMAIL}|{_hex(_MD5_OR_SHA256, upper=switches.upper_case_hashes)}"
        case "phoneNumber":
            return f"{_PHONE}|{_hex(_SHA256, upper=switches.upper_case_hashes)}"
        case "madid":
            uuid = f"{_UUID}|{_BARE_UUID}" if switches.bare_madids else _UUID
            return _hex(uuid, upper=switches.upper_case_madids)
        case "identityLink" | "gum":
            return r"\S+"


def _hex(shape: str, *, upper: bool) -> str:
    """As it is, or in either case."""
    return f"(?i:{shape})" if upper else f"(?:{shape})"


def _hyphenated(uuid: str) -> str:
    digits = uuid.lower().replace("-", "")
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


_FORMS: Final[dict[IdentifierType, Callable[[str], str]]] = {"madid": _hyphenated, "identityLink": str, "gum": str}
