"""Text that is written otherwise than source events are: what to do with it."""

import re
from typing import Final

_UTF_16: Final = (b"\xff\xfe", b"\xfe\xff")
_CR_ALONE: Final = re.compile(rb"\r[^\n]")
_ARRAY: Final = re.compile(rb"\[\s*(?:[{\[]|$)")
_BEGUN_OBJECT: Final = re.compile(rb"\{(?:.{,1000}[,:{\[])?", re.DOTALL)
"""Ends where a line of printed JSON may; what is much longer is no such line."""


def advice_on(content: bytes) -> str | None:
    """Of what could not be read, or of its beginning. None: it is not known to be of that kind."""
    if content.startswith(_UTF_16) or _begins_as_utf_16(content):
        return "it looks like UTF-16; turn it into UTF-8, such as with `iconv -f UTF-16 -t UTF-8`"
    if _CR_ALONE.search(content):
        return r"its lines end in CR alone; end them in LF, such as with `tr '\r' '\n'`"
    return None


def advice_on_json(content: bytes) -> str | None:
    """As above, of a line in place of a source event: it may be a part of JSON that goes over several."""
    if _ARRAY.match(content):
        return "one JSON object a line is expected, no array; `jq -c '.[]' FILE | audience-relay load -` takes it apart"
    if _BEGUN_OBJECT.fullmatch(content):
        return "one JSON object a line is expected; `jq -c . FILE | audience-relay load -` writes it so"
    return advice_on(content)


def _begins_as_utf_16(content: bytes) -> bool:
    """Of the two bytes of an ASCII character one is zero."""
    return len(content) > 1 and (content[0] == 0) != (content[1] == 0)
