"""Requests as they may be shown. Credentials are no part of them; but where a URL or a template may hold a key, what a
reference (`env:NAME`, `file:PATH`) brought there is masked.
"""

import json
import tomllib
from collections.abc import Collection, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel

from worker.destinations.base import Request
from worker.settings import Settings, named_by

MASK: Final = "•••"


def hidden_of(config: Path, relay: Settings) -> dict[str, frozenset[str]]:
    """By destination, what references brought into the keys of its configuration that no `repr` shows."""
    tables = tomllib.loads(config.read_text(encoding="utf-8-sig"))["destinations"]
    return {
        each.name: frozenset(_as_sent(named_by(reference, relay.folder)) for reference in _hidden(table, each)) - {""}
        for table, each in zip(tables, relay.destinations, strict=True)
    }


def masked(request: Request, hidden: Collection[str]) -> Request:
    """The request with a mask in place of all that is hidden."""
    if not hidden:
        return request
    try:
        content = json.dumps(_masked(json.loads(request.content), hidden)).encode()
    except ValueError:
        content = _masked(request.content.decode(errors="replace"), hidden).encode()
    return replace(request, url=_masked(request.url, hidden), content=content)


def _hidden(table: dict[str, Any], model: BaseModel) -> Iterator[str]:
    for key, value in table.items():
        inner = getattr(model, key)
        if not type(model).model_fields[key].repr:
            yield from _references(value)
        elif isinstance(inner, BaseModel):
            yield from _hidden(value, inner)


def _references(value: Any) -> Iterator[str]:
    match value:
        case str() if value.startswith(("env:", "file:")):
            yield value
        case dict():
            yield from _references([*value.values()])
        case list():
            for each in value:
                yield from _references(each)


def _as_sent(found: str) -> str:
    """A URL loses the slash at its end."""
    return found.rstrip("\r\n/")


def _masked(value: Any, hidden: Collection[str]) -> Any:
    match value:
        case str():
            for each in hidden:
                value = value.replace(each, MASK)
            return value
        case dict():
            return {name: _masked(each, hidden) for name, each in value.items()}
        case list():
            return [_masked(each, hidden) for each in value]
    return value
