"""JSON templates: what a request says, written by the operator, with placeholders where the values go.

A text that begins with "$" is a placeholder, as a whole: `"$members"` becomes the list, never a part of a text. So
values travel as JSON values, whatever they hold. "$$" at the beginning of a text stands for a plain "$".
"""

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Final

from pydantic import ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError

from worker.mistakes import choices
from worker.toml_lines import Place

Json = Any
"""Text, number, truth value, list or table of these; TOML has no null."""

_ABSENT: Final = object()
_INTEGERS: Final = range(-(2**63), 2**64)


def fill(template: Json, values: Mapping[str, Json]) -> Json:
    """The template with the values in place of its placeholders; one without a value is left out, with its key."""
    match template:
        case str() if template.startswith("$$"):
            return template[1:]
        case str() if template.startswith("$"):
            return values.get(template[1:], _ABSENT)
        case list():
            return [filled for each in template if (filled := fill(each, values)) is not _ABSENT]
        case dict():
            return {key: filled for key, each in template.items() if (filled := fill(each, values)) is not _ABSENT}
        case _:
            return template


def placeholders(template: Json) -> set[str]:
    """The names of all placeholders, without their "$"."""
    return {text[1:] for _, text in _leaves(template, ()) if _is_placeholder(text)}


def check(template: Json, allowed: Collection[str]) -> None:
    """Raises `ValidationError` with each place that holds something else than JSON or the allowed placeholders.

    No message repeats what stands there: a reference may have brought a secret.
    """
    names = [f"${name}" for name in allowed]
    details = [
        InitErrorDetails(type=PydanticCustomError("template", "{text}", {"text": text}), loc=place, input=None)
        for place, leaf in _leaves(template, ())
        if (text := _wrong(leaf, names))
    ]
    if details:
        raise ValidationError.from_exception_data("template", details)


def _leaves(template: Json, place: Place) -> Iterator[tuple[Place, Json]]:
    match template:
        case list():
            for at, each in enumerate(template):
                yield from _leaves(each, (*place, at))
        case dict():
            for key, each in template.items():
                yield from _leaves(each, (*place, key))
        case _:
            yield place, template


def _is_placeholder(leaf: Json) -> bool:
    return isinstance(leaf, str) and leaf.startswith("$") and not leaf.startswith("$$")


def _wrong(leaf: Json, names: Sequence[str]) -> str | None:
    match leaf:
        case str() if _is_placeholder(leaf) and leaf not in names:
            return f'unknown placeholder; {choices(leaf, names)}; "$$" begins a text with a plain "$"'
        case str() | bool():
            return None
        case int() if leaf in _INTEGERS:
            return None
        case float() if math.isfinite(leaf):
            return None
        case _:
            return "JSON has no such value; put it in quotes"
