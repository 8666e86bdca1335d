"""JSON for people: as few lines as fit, long texts unfolded, and lists of people cut. It is no JSON any more."""

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

MARK: Final = "(JSON as text) "


@dataclass(frozen=True, slots=True)
class Cut:
    """After how many elements a list that names people is cut; None: never."""

    people: Collection[str]
    most: int | None


def lines(value: Any, cut: Cut, width: int) -> list[str]:
    """The lines of a value that came out of JSON, of at most `width` characters where that can be.

    >>> lines({"a": ["ada", "bob", "cleo"]}, Cut({"ada"}, 2), 80)
    ['{"a": ["ada", "bob", … and 1 more]}']
    """
    return _laid_out("", _prepared(value, cut), width)


def printable(text: str) -> str:
    r"""With everything that a terminal would not show as it is, or would obey, written as an escape.

    >>> printable("vip\x1b[2J")
    'vip\\x1b[2J'
    """
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


# ── What is shown in place of some values ────────────────────────────────────────────────────────


class _More(NamedTuple):
    """The rest of a list."""

    number: int


class _Block(NamedTuple):
    """A text of several lines, such as a GraphQL document."""

    lines: tuple[str, ...]


class _Holding(NamedTuple):
    """A text that holds JSON."""

    tree: Any


def _prepared(value: Any, cut: Cut) -> Any:
    match value:
        case dict():
            return {name: _prepared(each, cut) for name, each in value.items()}
        case list():
            shown = value[: cut.most] if value and _names(value[0], cut.people) else value
            rest = [_More(len(value) - len(shown))] if len(shown) < len(value) else []
            return [*(_prepared(each, cut) for each in shown), *rest]
        case str() if value.startswith(("{", "[")):
            return _decoded(value, cut)
        case str() if "\n" in value:
            return _Block(tuple(printable(line.expandtabs()) for line in value.strip().splitlines()))
    return value


def _names(value: Any, people: Collection[str]) -> bool:
    match value:
        case str():
            return value in people
        case dict():
            return any(_names(each, people) for each in value.values())
        case list():
            return any(_names(each, people) for each in value)
    return False


def _decoded(text: str, cut: Cut) -> Any:
    try:
        return _Holding(_prepared(json.loads(text), cut))
    except ValueError:
        return text


# ── Laying out ───────────────────────────────────────────────────────────────────────────────────


def _laid_out(beginning: str, value: Any, width: int) -> list[str]:
    """In one line, else filled, else an element a line. `beginning` goes before, `width` is what is left of a line."""
    flat = _flat(value)
    if flat is not None and len(beginning) + len(flat) < width:
        return [beginning + flat]
    match value:
        case dict():
            parts = [(f"{_quoted(name)}: ", each) for name, each in value.items()]
            return _enclosed(f"{beginning}{{", parts, "}", width)
        case list():
            return _enclosed(f"{beginning}[", [("", each) for each in value], "]", width)
        case _Block():
            return [f'{beginning}"""', *(f"  {line}" for line in value.lines), '"""']
        case _Holding():
            return _laid_out(beginning + MARK, value.tree, width)
    return [beginning + (flat or "")]


def _enclosed(opening: str, parts: Sequence[tuple[str, Any]], closing: str, width: int) -> list[str]:
    if not any(isinstance(value, dict | list | _Block | _Holding) for _, value in parts):
        return _filled([f"{name}{_flat(value)}" for name, value in parts], opening, closing, width)
    found = [opening]
    for number, (name, value) in enumerate(parts, 1):
        *others, last = _laid_out(name, value, width - 2)
        found += [f"  {line}" for line in others]
        found.append(f"  {last}{',' if number < len(parts) else ''}")
    return [*found, closing]


def _filled(parts: Sequence[str], opening: str, closing: str, width: int) -> list[str]:
    """As many of them in each line as fit."""
    if not parts:
        return [opening + closing]
    found = [opening]
    for number, part in enumerate(parts, 1):
        last = number == len(parts)
        piece = f"{part}{closing if last else ','}"
        if number == 1:
            found[-1] += piece
        elif len(found[-1]) + 1 + len(piece) < width:
            found[-1] += f" {piece}"
        else:
            found.append(f"  {piece}")
    return found


def _flat(value: Any) -> str | None:
    """In one line; None: that cannot be."""
    match value:
        case _More():
            return f"… and {value.number:,} more"
        case _Block():
            return None
        case _Holding():
            flat = _flat(value.tree)
            return None if flat is None else MARK + flat
        case dict():
            parts = [(name, _flat(each)) for name, each in value.items()]
            joined = ", ".join(f"{_quoted(name)}: {flat}" for name, flat in parts)
            return None if any(flat is None for _, flat in parts) else f"{{{joined}}}"
        case list():
            flats = [_flat(each) for each in value]
            return None if None in flats else f"[{', '.join(map(str, flats))}]"
    return _quoted(value)


def _quoted(value: Any) -> str:
    return printable(json.dumps(value, ensure_ascii=False))
