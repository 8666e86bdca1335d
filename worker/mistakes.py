"""What is wrong with a relay.toml: every mistake with its line, its place, and what is allowed there.

No text repeats a value: it might be a secret.
"""

from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from inspect import isclass
from pathlib import Path
from typing import Any, Final, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from worker.toml_lines import Place, TomlLines


class Mistakes:
    """The mistakes found so far. At a place that a reference left without a value nothing else is said."""

    def __init__(self, path: Path, lines: TomlLines, document: Mapping[str, Any]) -> None:
        self._path = path
        self._lines = lines
        self._document = document
        self._found: list[tuple[int, str]] = []
        self._unresolved: set[Place] = set()

    def __bool__(self) -> bool:
        return bool(self._found)

    def __iter__(self) -> Iterator[str]:
        """The mistakes in the order of their lines."""
        return (text for _, text in sorted(self._found, key=lambda found: found[0]))

    def add(self, place: Place, text: str, *, at: Place | None = None) -> None:
        """Note a mistake in the value at a place; `at`: look for the line there instead."""
        if self.is_unresolved(place):
            return
        line = self.line(place if at is None else at)
        name = self._name(place)
        self._found.append((line, f"{self._path}:{line}: {name}{': ' if name else ''}{text}"))

    def add_unresolved(self, place: Place, text: str) -> None:
        """Note a reference that brought no value."""
        self.add(place, text)
        self._unresolved.add(place)

    def add_invalid(self, place: Place, model: type[BaseModel], error: ValidationError) -> None:
        """Note all that pydantic found in the table at a place."""
        for detail in error.errors(include_url=False, include_context=False, include_input=False):
            self._add_detail(place, model, detail)

    def is_unresolved(self, place: Place) -> bool:
        return any(place[:end] in self._unresolved for end in range(len(place) + 1))

    def line(self, place: Place) -> int:
        return self._lines.line(place)

    def _add_detail(self, place: Place, model: type[BaseModel], detail: ErrorDetails) -> None:
        found = (*place, *detail["loc"])
        match detail["type"]:
            case "extra_forbidden":
                self.add(found[:-1], _unknown_key(str(found[-1]), model, detail["loc"][:-1]), at=found)
            case "missing":
                self.add(found[:-1], f'missing key "{found[-1]}"', at=found)
            case _:
                self.add(found, _plain(detail))

    def _name(self, place: Place) -> str:
        """`destinations[1] "taboola": batch.max_changes`"""
        match place:
            case ("destinations", int(at), *inside):
                table = f"destinations[{at}]{self._written_name(at)}"
                return f"{table}: {_dotted(inside)}" if inside else table
            case _:
                return _dotted(place)

    def _written_name(self, at: int) -> str:
        """The destination's name as the file has it: of a reference the reference."""
        table = self._document["destinations"][at]
        name = table.get("name") if isinstance(table, dict) else None
        return f' "{name}"' if isinstance(name, str) else ""


def choices(wrong: object, allowed: Iterable[str]) -> str:
    """What is allowed in place of something wrong, the likely one first."""
    names = list(allowed)
    close = get_close_matches(str(wrong), names, n=1)
    meant = f'did you mean "{close[0]}"? ' if close else ""
    return f"{meant}allowed: {', '.join(names)}"


def _unknown_key(key: str, model: type[BaseModel], inside: Place) -> str:
    for part in inside:
        if isinstance(part, str):
            model = next(_models(model.model_fields[part].annotation))
    allowed = [field.alias or name for name, field in model.model_fields.items()]
    return f'unknown key "{key}"; {choices(key, allowed)}'


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    """The models that an annotation mentions: `tuple[Property, ...]` → `Property`."""
    if isclass(annotation) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models(argument)


def _dotted(place: Iterable[str | int]) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place).removeprefix(".")


_PLAIN: Final = {
    "string_type": "must be a string; put it in quotes",
    "string_too_short": "must not be empty",
    "too_short": "must not be empty",
    "tuple_type": "must be a list in [ ]",
    "model_type": "must be a table",
}


def _plain(detail: ErrorDetails) -> str:
    """Pydantic's message, said to an operator."""
    message = detail["msg"].replace("Input should be", "must be").replace("String should", "must")
    return _PLAIN.get(detail["type"], message.removeprefix("Value error, "))
