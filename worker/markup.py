"""Error bodies in XML or HTML: what their flat elements say.

No XML parser reads them. Half of them are pages that none would take, and the standard library's follows entities
wherever a document leads it (its own documentation warns of that). Here only the beginning is looked at, and nothing
but characters is ever expanded.
"""

import html
import re
from typing import Final

LONGEST: Final = 16 * 1024
"""So many bytes of an answer are looked at: an error says what it has to say at its beginning."""
_FLAT: Final = re.compile(r"<(?:[\w.-]{1,64}:)?([\w.-]{1,64})(?:\s[^<>]{0,1024})?>([^<>]*)</")
_FIRST: Final = re.compile(r"<(?:[\w.-]{1,64}:)?([A-Za-z][\w.-]{0,63})")
_UNSEEN: Final = re.compile(
    r"<(script|style|head)\b.{0,4096}?</\1>|<!--.{0,4096}?-->|<[^<>]*>", re.IGNORECASE | re.DOTALL
)


def is_markup(content: bytes) -> bool:
    return _beginning(content).startswith("<")


def is_page(content: bytes) -> bool:
    """Whether it is HTML: a proxy's page, not an interface's XML."""
    return root(content).lower() == "html" or _beginning(content)[:14].lower() == "<!doctype html"


def root(content: bytes) -> str:
    """The name of the outermost element; "" for what is no markup.

    >>> root(b"<?xml version='1.0'?><UnauthorizedException/>")
    'UnauthorizedException'
    """
    found = _FIRST.search(_beginning(content)) if is_markup(content) else None
    return found[1] if found else ""


def elements(content: bytes) -> dict[str, str]:
    """The texts of elements that hold nothing else, the first of each name; names in `plain` form.

    >>> elements(b"<error><http_status>400</http_status><message>Invalid value &apos;49&apos;</message></error>")
    {'httpstatus': '400', 'message': "Invalid value '49'"}
    """
    found: dict[str, str] = {}
    for name, text in _FLAT.findall(_beginning(content)) if is_markup(content) else ():
        found.setdefault(plain(name), html.unescape(text).strip())
    return found


def plain(name: str) -> str:
    """Without case, hyphens and underscores: `offendingField` and `offending_field` are one.

    >>> plain("offending_field")
    'offendingfield'
    """
    return re.sub(r"[_-]", "", name).lower()


def text(content: bytes) -> str:
    """What a reader of the page sees, its title aside.

    >>> text(b"<html><head><title>400</title></head><body><h1>Bad</h1>request</body></html>")
    'Bad request'
    """
    return " ".join(html.unescape(_UNSEEN.sub(" ", _beginning(content))).split())


def _beginning(content: bytes) -> str:
    decoded = content[:LONGEST].decode("utf-8-sig", errors="replace")
    return decoded.replace("<![CDATA[", "").replace("]]>", "").lstrip()
