"""Segment's mapping directives, as the places where a value stands.

A directive is an object with one key that begins with "@" (segmentio/action-destinations, `mapping-kit`):

| directive                                               | is                                             |
|---------------------------------------------------------|------------------------------------------------|
| `{"@path": "$.traits.email"}`                           | what stands there                              |
| `{"@template": "{{traits.email}}"}`                     | the same, where it is one path and nothing else|
| `{"@if": {"exists": A, "then": A, "else": B}}`          | A, else B; `blank` for `exists` is the same    |
| `{"@literal": X}`, or X itself                          | the constant X, or the directive X             |

Any other has no counterpart in `[destinations.mapping]`.
"""

import re
from typing import Any, Final

from worker.paths import fault, written

Constant = str | int | float | bool
Place = str | dict[str, Constant]
"""A path, or `{"value": …}`."""

_KEY: Final = re.compile(r"[^[.\]]+")
_QUOTED_KEY: Final = re.compile(r"""\.?\[\s*["'](.*?)["']\s*\]""")
_PLACE_IN_LIST: Final = re.compile(r"\[\s*\d+\s*\]")
_PLACEHOLDER: Final = re.compile(r"\{\{\{([^}]+)\}\}\}|\{\{([^}]+)\}\}")


class Inexpressible(ValueError):
    """Something has no counterpart; the text says what, and why."""


def places(value: Any) -> list[Place]:
    """Where a value stands, the first that has one counting; null stands nowhere. Raises `Inexpressible`."""
    match value:
        case None:
            return []
        case str() | bool() | int() | float():
            return [{"value": value}]
        case {"@path": str(path), **rest} if not rest:
            return [_path(path)]
        case {"@template": str(template), **rest} if not rest:
            return [_in_template(template)]
        case {"@literal": literal, **rest} if not rest:
            return places(literal)
        case {"@if": dict(options), **rest} if not rest:
            return _alternatives(options)
        case dict() if name := next((each for each in value if each.startswith("@")), None):
            raise Inexpressible(f"{name} in this form has no counterpart")
        case _:
            raise Inexpressible("a list or an object has no counterpart")


def paths(value: Any) -> list[str]:
    """The places of a value that no constant can stand for. Raises `Inexpressible`."""
    found = places(value)
    if any(isinstance(each, dict) for each in found):
        raise Inexpressible("a constant for everybody has no counterpart")
    return [each for each in found if isinstance(each, str)]


def _path(path: str) -> str:
    """Segment splits at dots and brackets, and skips what is empty."""
    if _QUOTED_KEY.search(path):
        plain = _QUOTED_KEY.sub(r".\1", path)
        raise Inexpressible(f"{path}: Segment finds nothing by quotes in brackets; was {plain} meant?")
    if _PLACE_IN_LIST.search(path):
        raise Inexpressible(f"{path}: what stands in a list cannot be read")
    keys = tuple(_KEY.findall(path.replace("$.", "", 1).strip()))
    if not keys or fault(written(keys)):
        raise Inexpressible(f'"{path}" is no path to a value')
    return written(keys)


def _in_template(template: str) -> Place:
    if whole := _PLACEHOLDER.fullmatch(template.strip()):
        return _path(whole[1] or whole[2])
    if "{{" in template:
        raise Inexpressible("a template of more than one path has no counterpart")
    return {"value": template}


def _alternatives(options: dict[str, Any]) -> list[Place]:
    asked = places(options.get("exists", options.get("blank")))
    then, otherwise = places(options.get("then")), places(options.get("else"))
    if len(asked) != 1 or then[:1] != asked or isinstance(asked[0], dict):
        raise Inexpressible("an @if that takes another value than the one it asks for has no counterpart")
    return [*asked, *(each for each in otherwise if each not in asked)]
