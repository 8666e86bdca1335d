"""JSON that cannot be decoded as a whole, split into its elements, so that those of them that can be are not lost.

What is found are strings, brackets and commas, no more: whether an element is JSON is told when it is decoded.
"""

import re
from itertools import islice
from typing import Final

MOST_TOKENS: Final = 200_000
"""No body that is worth it has more; it would keep others waiting."""

_TOKEN: Final = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|["\[\]{},]', re.DOTALL)
_CLOSING: Final = {b"[": b"]", b"{": b"}"}
_CLOSED: Final = frozenset(_CLOSING.values())


def elements(text: bytes) -> list[bytes]:
    """Of a list, or the members of an object, as they are written. Raises `ValueError` for what is neither."""
    text = text.strip()
    if text[:1] not in _CLOSING:
        raise ValueError("neither a list nor an object")
    found: list[bytes] = []
    begin, awaited = 1, list[bytes]()
    for token in islice(_TOKEN.finditer(text), MOST_TOKENS):
        what = token[0]
        if what in _CLOSING:
            awaited.append(_CLOSING[what])
        elif what == b"," and len(awaited) == 1:
            found.append(text[begin : token.start()])
            begin = token.end()
        elif what == b'"' or (what in _CLOSED and what != awaited.pop()):
            break
        if not awaited:
            return _ended(text, found, begin, token.start())
    raise ValueError("brackets or quotes without an end, or too many of them")


def _ended(text: bytes, found: list[bytes], begin: int, end: int) -> list[bytes]:
    if end != len(text) - 1:
        raise ValueError("more after the end")
    last = text[begin:end]
    return [*found, last] if found or last.strip() else []
