"""Identifiers in the one form in which they are compared and sent; None for a text that is no identifier.

| type            | what is one                                                              | its form               |
|-----------------|--------------------------------------------------------------------------|------------------------|
| `email`         | an address, as email-validator judges it; its MD5 or SHA-256 in hex      | lower-case, NFC        |
| `device`        | an advertising id: no white space inside, more than zeros                | as given               |
| `phone`         | a number that phonenumbers holds valid; its SHA-256 in hex               | E.164 without its "+"  |
| `identity_link` | LiveRamp's: no white space inside                                        | trimmed                |
| `gum`           | Criteo's cookie id: no white space inside                                | trimmed                |
| `user_id`       | the source's own: any text that is not blank                             | as given               |

Trimmed means without Unicode white space and zero-width characters at the ends. A hash is lower-cased and otherwise
left alone (an SHA-256 of an MD5 looks like any other); that of the empty text, or of zeros, names nobody.

Nothing here raises, whatever the text, and none takes long: one that is too long is refused unread.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Final
from unicodedata import normalize

import phonenumbers
from email_validator import EmailNotValidError, validate_email

from worker.contract import SEVERAL_OF_A_PERSON, Identifier, IdentifierType

Form = Callable[[str], str | None]
OnLost = Callable[[IdentifierType], None]
Read = Callable[[Iterable[object], OnLost], tuple[Identifier, ...]]

MAX_LENGTH: Final = 1024
"""Of an identifier whose own rules set no lower limit, in characters."""
MAX_EMAIL: Final = 254
"""In characters, as email-validator has it in bytes (RFC 3696, erratum 1690)."""
MAX_PHONE: Final = 64
"""In characters, separators and extension included; phonenumbers takes long over a long text."""

_NUMERALS: Final[frozenset[IdentifierType]] = frozenset({"phone", "user_id"})
"""These may also come as JSON integers."""
_INTEGERS: Final = range(-(2**63), 2**64)


def reader(type_: IdentifierType, *, region: str | None = None) -> Read:
    """Reads the identifiers of one type among the values at the places where they may stand: of most types one at most.

    The first text decides, also when it is no identifier: to take a later one would be guessing. Null and blank text
    count as absent, and a value of another kind (an object, say) decides nothing. Of devices all distinct ones count.
    Whoever reads is told once when something was there and was no identifier. `region` as in `normalise`.
    """
    form_of = _FORMS.get(type_) or partial(_phone, region=region)
    return partial(_all if type_ in SEVERAL_OF_A_PERSON else _first, type_, form_of)


def normalise(type_: IdentifierType, text: str, *, region: str | None = None) -> str | None:
    """The text in the form of its type; None: it is no identifier of that type.

    `region` is the country (ISO 3166, two capital letters) of phone numbers that name none.

    >>> normalise("email", " Jane.DOE@Example.COM ")
    'jane.doe@example.com'
    >>> normalise("phone", "01 40 40 22 90", region="FR")
    '33140402290'
    """
    return _phone(text, region) if type_ == "phone" else _FORMS[type_](text)


def _first(type_: IdentifierType, form_of: Form, values: Iterable[object], lost: OnLost) -> tuple[Identifier, ...]:
    invalid = False
    for value in values:
        if value is None:
            continue
        text = value if isinstance(value, str) else _numeral(type_, value)
        if text is None:
            invalid = True
        elif form := form_of(text):
            return (Identifier(type_, form),)
        elif text.strip(_EDGES):
            invalid = True
            break
    if invalid:
        lost(type_)
    return ()


def _all(type_: IdentifierType, form_of: Form, values: Iterable[object], lost: OnLost) -> tuple[Identifier, ...]:
    found: list[Identifier] = []
    invalid = False
    for value in values:
        if value is None:
            continue
        text = value if isinstance(value, str) else _numeral(type_, value)
        form = None if text is None else form_of(text)
        if form is None:
            invalid = invalid or text is None or bool(text.strip(_EDGES))
        elif (identifier := Identifier(type_, form)) not in found:
            found.append(identifier)
    if invalid:
        lost(type_)
    return tuple(found)


def _numeral(type_: IdentifierType, value: object) -> str | None:
    integer = isinstance(value, int) and not isinstance(value, bool) and value in _INTEGERS
    return str(value) if integer and type_ in _NUMERALS else None


# ── What several types share ─────────────────────────────────────────────────────────────────────

_WHITESPACE: Final = (
    "\t\n\v\f\r\x1c\x1d\x1e\x1f \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000"
)
_ZERO_WIDTH: Final = (
    "\xad\u180e\u200b\u200c\u200d\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2060\u2066\u2067\u2068\u2069\ufeff"
)
_EDGES: Final = _WHITESPACE + _ZERO_WIDTH
_HASH: Final = re.compile(r"(?:[0-9a-f]{32}){1,2}")
_SHA256_LENGTH: Final = 64
_HASHES_OF_NOBODY: Final = frozenset(
    {
        "0" * 32,
        "0" * 64,
        "d41d8cd98f00b204e9800998ecf8427e",  # MD5 of the empty text
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",  # SHA-256 of the empty text
        "f215faf9d88b7f0a881632ee22459ee452a296c808d261b6cc993d3a1fd0600e",  # SHA-256 of that MD5
    }
)


def _hash(text: str) -> str | None:
    digest = text.lower()
    return digest if _HASH.fullmatch(digest) and digest not in _HASHES_OF_NOBODY else None


def _opaque(text: str) -> str | None:
    trimmed = text.strip(_EDGES)
    return trimmed if 0 < len(trimmed) <= MAX_LENGTH and _is_solid(trimmed) else None


def _is_solid(text: str) -> bool:
    """Whether it has no white space, no control character and no half of a surrogate pair."""
    return text.isprintable() and " " not in text


# ── Emails ───────────────────────────────────────────────────────────────────────────────────────

PLAIN: Final = re.compile(r"(?!.{65})\w++(?:[.'+-]\w++)*+@[a-z0-9]++(?:[.-][a-z0-9]++)*+")
"""Composed and lower-case addresses that need no judge: email-validator takes each unchanged (a test holds the two
together), and takes some 50 times as long. Of 64 characters none exceeds a limit of an address, a domain or a label."""
_RESERVED: Final = re.compile(r"(?<=[@.])(?:arpa|invalid|local|localhost|onion|test)\Z")
"""Domains without mail on the Internet (RFC 6761, 6762, 7686); email-validator refuses them, whatever it is told."""


def _email(text: str) -> str | None:
    """Trimmed, composed and lower-case, before the "@" too: Criteo and Taboola hash the whole address so.

    An international domain is written in Unicode, also when it came in Punycode: the two are one person. The vendors
    hash an address as it is written, people write Unicode, and Segment passes what it is given: the hash of the
    Punycode form would match nobody.

    A domain may lack a top level or be a reserved one (`jane@localhost`): where mail arrives is for the vendor to say.
    Refused are quoted local parts, comments, display names (`Jane <jane@example.com>`) and IP addresses for a domain:
    no vendor tells how it hashes them.
    """
    if text.isascii() and PLAIN.fullmatch(email := text.lower()):
        return email
    trimmed = text.strip(_EDGES)
    if len(trimmed) > MAX_EMAIL:
        return None
    if "@" not in trimmed:
        return _hash(trimmed)
    email = _lowered(trimmed)
    return email if PLAIN.fullmatch(email) else _judged(email)


def _lowered(text: str) -> str:
    return text.lower() if text.isascii() else normalize("NFC", text.lower())


def _judged(email: str) -> str | None:
    """What email-validator makes of an address; of a reserved ending it sees a stand-in of the same length."""
    reserved = _RESERVED.search(email)
    shown = email if reserved is None else email[: reserved.start()] + "x" * len(reserved[0])
    try:
        judged = validate_email(
            shown,
            allow_smtputf8=True,  # letters of any script before the "@"
            allow_empty_local=False,
            allow_quoted_local=False,
            allow_domain_literal=False,
            allow_display_name=False,
            strict=False,  # more than 64 characters before the "@": there are such addresses
            check_deliverability=False,  # no DNS
            globally_deliverable=False,  # no top-level domain
        ).normalized
    except EmailNotValidError:
        return None
    return judged if reserved is None else judged[: -len(reserved[0])] + reserved[0]


# ── Devices ──────────────────────────────────────────────────────────────────────────────────────

_NAMES_NO_DEVICE: Final = "0-" + _EDGES


def _device(text: str) -> str | None:
    """As given: no vendor tells whether it minds the case (Taboola's sample is upper-case).

    Zeros alone, hyphenated or not, are what Apple and Google give out where tracking is refused.
    """
    if len(text) > MAX_LENGTH or not text.strip(_NAMES_NO_DEVICE):
        return None
    return text if _is_solid(text) or _is_solid(text.strip(_EDGES)) else None


# ── Phones ───────────────────────────────────────────────────────────────────────────────────────

_NUMBER_FIRST: Final = re.compile(r"[+\uff0b(]{0,2}\d")
"""How a phone number begins; in any other text phonenumbers would look for one further on."""


def _phone(text: str, region: str | None) -> str | None:
    """E.164 without its "+", as Criteo hashes it. An extension is left out.

    "+" and "00" begin a number that names its country. Any other is one of the region. Without a region, one that is
    digits alone begins with the code of its country, as in Criteo's own form, and one with separators is refused.
    """
    phone = text.strip(_EDGES)
    if len(phone) == _SHA256_LENGTH and (digest := _hash(phone)):
        return digest
    if len(phone) > MAX_PHONE or not _NUMBER_FIRST.match(phone):
        return None
    try:
        number = phonenumbers.parse(_with_plus(phone, region), region)
    except phonenumbers.NumberParseException:
        return None
    if not phonenumbers.is_valid_number(number):
        return None
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164).removeprefix("+")


def _with_plus(phone: str, region: str | None) -> str:
    if phone.startswith("00"):
        return "+" + phone[2:]
    return "+" + phone if region is None and phone.isdecimal() else phone


# ── User ids ─────────────────────────────────────────────────────────────────────────────────────


def _user_id(text: str) -> str | None:
    usable = len(text) <= MAX_LENGTH and text.strip(_EDGES) and _is_unicode(text)
    return text if usable else None


def _is_unicode(text: str) -> bool:
    """Whether UTF-8 can hold it: half of a surrogate pair it cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


_FORMS: Final[Mapping[IdentifierType, Form]] = {
    "email": _email,
    "device": _device,
    "identity_link": _opaque,
    "gum": _opaque,
    "user_id": _user_id,
}
"""Of all types but `phone`, which wants a region as well."""
