"""Segment's triggers in FQL, as the `when` of a mapping: `type = "track" and event = "Audience Entered"`.

What `when` has no counterpart for makes the whole trigger inexpressible: a part of it would let other events through.
"""

import glob
import re
from collections.abc import Iterator
from itertools import product
from typing import Any, Final

from producers.mapping_directives import Inexpressible
from worker.paths import fault

Table = dict[str, Any]
"""A `When`, as it is written."""
Tables = list[Table]

CLASS: Final = "context.personas.computation_class"
TYPES: Final = ("track", "identify")
MOST_TABLES: Final = 100
UNREADABLE: Final = "the trigger cannot be read"
_TOKEN: Final = re.compile(
    r'\s*(?:(?P<text>"(?:\\.|[^"\\])*")|(?P<number>-?\d+(?:\.\d+)?)|(?P<sign>!=|>=|<=|[=<>!(),])'
    r"|(?P<word>(?:[^\W\d]|\\.)(?:[\w.-]|\\.)*))"
)
_FIELDS: Final = re.compile(r"event|userId|anonymousId|name|(?:properties|traits|context)\..+")
_CONSTANTS: Final = {"true": True, "false": False, "null": None}
_LISTS: Final = ("type", "event", "class", "exists", "missing")


def when(*triggers: str) -> Tables:
    """The conditions of which one must fit; one without any keys fits every event. Of triggers any one lets it through.

    Raises `Inexpressible`.
    """
    found = _merged([table for trigger in triggers for table in _read(trigger)])
    if not found:
        raise Inexpressible("nothing fits the trigger")
    return [_shortened(table) for table in found]


# ── From the text to conditions ──────────────────────────────────────────────────────────────────


def _read(trigger: str) -> Tables:
    tokens = _Tokens(trigger)
    try:
        found = _any(tokens)
    except RecursionError:
        raise Inexpressible(UNREADABLE) from None
    tokens.expect_end()
    return found


class _Tokens:
    """What a trigger consists of, taken from its beginning."""

    def __init__(self, trigger: str) -> None:
        self._found = list(_split(trigger))
        self._at = 0

    def peek(self, *wanted: str) -> bool:
        return self._at < len(self._found) and self._found[self._at] in {("sign", each) for each in wanted} | {
            ("word", each) for each in wanted
        }

    def take(self, *kinds: str) -> tuple[str, str]:
        if self._at == len(self._found) or self._found[self._at][0] not in kinds:
            raise Inexpressible(UNREADABLE)
        self._at += 1
        return self._found[self._at - 1]

    def skip(self, *wanted: str) -> bool:
        """Whether one of these is next; if so, it is taken."""
        found = self.peek(*wanted)
        self._at += found
        return found

    def expect(self, sign: str) -> None:
        if not self.skip(sign):
            raise Inexpressible(UNREADABLE)

    def expect_end(self) -> None:
        if self._at < len(self._found):
            raise Inexpressible(UNREADABLE)


def _split(trigger: str) -> Iterator[tuple[str, str]]:
    at, end = 0, len(trigger.rstrip())
    while at < end:
        match = _TOKEN.match(trigger, at)
        if match is None:
            raise Inexpressible(UNREADABLE)
        yield str(match.lastgroup), match[str(match.lastgroup)]
        at = match.end()


def _any(tokens: _Tokens) -> Tables:
    """Terms between which `and` stands, or `or`; both without brackets are read in two ways by Segment."""
    found = _term(tokens)
    operator = next((each for each in ("and", "or") if tokens.peek(each)), None)
    while operator is not None and tokens.skip(operator):
        more = _term(tokens)
        found = found + more if operator == "or" else _both(found, more)
    if tokens.peek("and", "or"):
        raise Inexpressible("the trigger mixes and and or without brackets")
    return found


def _term(tokens: _Tokens) -> Tables:
    if tokens.skip("("):
        found = _any(tokens)
        tokens.expect(")")
        return found
    if tokens.skip("!"):
        raise Inexpressible("what must not be contained or matched has no counterpart")
    for function in ("contains", "match"):
        if tokens.skip(function):
            return _function(function, tokens)
    _, field = tokens.take("word")
    _, sign = tokens.take("sign")
    return _comparison(_field(field), sign, _value(tokens))


def _function(function: str, tokens: _Tokens) -> Tables:
    tokens.expect("(")
    field = _field(tokens.take("word")[1])
    tokens.expect(",")
    text = str(_value(tokens))
    tokens.expect(")")
    if field != "event":
        raise Inexpressible(f"{function}() of anything but event has no counterpart")
    if function == "contains":
        return [{"event": [f"*{glob.escape(text)}*"]}]
    literal = text.strip("*")
    if len(text) != len(literal) + 1 or "*" in literal:
        raise Inexpressible("match() with anything but one * at an end has no counterpart")
    return [{"event": [glob.escape(literal) + "*" if text.endswith("*") else "*" + glob.escape(literal)]}]


def _field(word: str) -> str:
    """As our paths write it: FQL escapes whatever is no letter, digit, underscore or hyphen."""
    field = re.sub(r"\\([^.\\])", r"\1", word)
    if field != "type" and (not _FIELDS.fullmatch(field) or fault(field)):
        raise Inexpressible(f'"{field}" has no counterpart')
    return field


def _value(tokens: _Tokens) -> Any:
    kind, text = tokens.take("text", "number", "word")
    match kind:
        case "text":
            return re.sub(r"\\(.)", r"\1", text[1:-1])
        case "number":
            return float(text) if "." in text else int(text)
        case _ if text in _CONSTANTS:
            return _CONSTANTS[text]
        case _:
            raise Inexpressible(UNREADABLE)


def _comparison(field: str, sign: str, value: Any) -> Tables:
    match field, sign, value:
        case "type", "=", str():
            if value not in TYPES:
                raise Inexpressible("only track and identify calls are ever read")
            return [{"type": [value]}]
        case _, "=" | "!=", None if field != "type":
            return [{"missing" if sign == "=" else "exists": [field]}]
        case "event", "=", str() if value:
            return [{"event": [glob.escape(value)]}]
        case _, "=", str() if field == CLASS and value:
            return [{"class": [glob.escape(value)]}]
        case _, "=", str() | bool() | int() | float() if field not in {"type", "event"}:
            return [{"equals": {field: value}}]
        case _:
            raise Inexpressible(f"{field} {sign} … has no counterpart")


# ── Conditions, put together ─────────────────────────────────────────────────────────────────────


def _both(some: Tables, others: Tables) -> Tables:
    if len(some) * len(others) > MOST_TABLES:
        raise Inexpressible("the trigger has too many alternatives")
    pairs = (_joined(one, other) for one, other in product(some, others))
    return [table for table in pairs if table is not None]


def _joined(one: Table, other: Table) -> Table | None:
    """What has all of both; None: nothing can."""
    found = dict(one)
    for key, value in other.items():
        if key not in found or found[key] == value:
            found[key] = value
        elif key == "type":
            return None
        elif key in {"exists", "missing"}:
            found[key] = [*found[key], *value]
        elif key == "equals" and not found[key].keys() & value.keys():
            found[key] = found[key] | value
        else:
            raise Inexpressible(f"two conditions on {key} at once have no counterpart")
    return found


def _merged(tables: Tables) -> Tables:
    """Without those that say the same, and as few as names and types allow."""
    for key in ("event", "type"):
        kept: Tables = []
        for table in tables:
            alike = next((each for each in kept if _differs_only_in(key, each, table)), None)
            if alike is None:
                kept.append(dict(table))
            elif key in table:
                alike[key] = list(dict.fromkeys([*alike[key], *table[key]]))
        tables = kept
    return [{key: value for key, value in table.items() if set(value) != set(TYPES)} for table in tables]


def _differs_only_in(key: str, one: Table, other: Table) -> bool:
    rest = [{name: value for name, value in table.items() if name != key} for table in (one, other)]
    return (key in one) == (key in other) and rest[0] == rest[1]


def _shortened(table: Table) -> Table:
    """One of a list may stand without its brackets."""
    return {
        key: value[0] if key in _LISTS and len(value) == 1 else value
        for key, value in sorted(table.items(), key=lambda item: (*_LISTS, "equals").index(item[0]))
    }
