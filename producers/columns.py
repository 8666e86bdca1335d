r"""Columns of a table as parts of source events.

| a column named                                                    | goes to                                         |
|-------------------------------------------------------------------|-------------------------------------------------|
| by a path: `properties.email`, `context.traits.plan`, `messageId` | that path                                       |
| `audience`, `audience_key`                                        | `properties.audience_key`                       |
| `audience_id`                                                     | `context.personas.computation_id`               |
| `entered`, `in_audience`                                          | `event`: `Audience Entered` or `Audience Exited`|
| `user_id`, `anonymous_id`, `message_id`                           | `userId`, `anonymousId`, `messageId`            |
| what is told of a person: `email`, `phone`, `first_name` …        | `traits`, under that name                       |

Well-known names may be written in capitals, and with spaces or hyphens. In a path, `\.` is a dot within a step, as in a
relay.toml. Everything stays text but `entered`. A blank cell is absent. A row is a `track` call unless it says
something else.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from types import MappingProxyType
from typing import Any, Final

from producers.csv_rows import Row
from producers.ndjson import Read
from producers.segment import RawEvent
from worker.errors import RelayError
from worker.paths import Steps, steps, written

Cells = Sequence[str]

TOP_LEVEL: Final = frozenset({"type", "event", "userId", "anonymousId", "messageId", "timestamp"})
OBJECTS: Final = ("properties.", "traits.", "context.")
TRAITS: Final = (
    "email", "phone", "ios_id", "android_id", "identity_link", "gum", "first_name", "last_name", "street", "city",
    "state", "country", "postal_code", "timezone", "birthday", "marketing_status",
)  # fmt: skip
WELL_KNOWN: Final[Mapping[str, str]] = {
    "audience": "properties.audience_key",
    "audience_key": "properties.audience_key",
    "audience_id": "context.personas.computation_id",
    "user_id": "userId",
    "anonymous_id": "anonymousId",
    "message_id": "messageId",
    **{name: f"traits.{name}" for name in TRAITS},
}
ENTERED: Final = frozenset({"entered", "in_audience"})
_EVENTS: Final = {True: "Audience Entered", False: "Audience Exited"}
_FLAGS: Final = {
    **dict.fromkeys(("true", "t", "yes", "y", "1"), True),
    **dict.fromkeys(("false", "f", "no", "n", "0"), False),
}
_BROKEN: Final = b""
"""Is refused as `json`."""
_RAGGED: Final[RawEvent] = {"type": "track", "properties": ""}
"""Is refused as `shape`."""
_DIVIDERS: Final = re.compile(r"[;\t|,]")
_SEPARATORS: Final = re.compile(r"[\s_-]+")


class ColumnError(RelayError):
    """A header does not say where its columns belong; the text says which, and what to do."""


@dataclass(frozen=True, slots=True)
class Part:
    """Where a text belongs in a source event, and how it is read there; None: it is not read."""

    steps: Steps
    read: Callable[[str], str | None]


@dataclass(frozen=True, slots=True)
class Columns:
    """Where the columns of a table belong. `mapped` and `constants` may use well-known names in place of paths.

    `mapped`: column → path, or nothing to leave it out. `constants`: path → what every row has there.
    """

    mapped: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    constants: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    def under(self, header: Cells) -> "RowReader":
        """How rows under this header are read. Raises `ColumnError`."""
        names = [name.strip() for name in header]
        self._expect_header(names)
        parts = [(index, self._part_of(name)) for index, name in enumerate(names) if self.mapped.get(name) != ""]
        if unknown := [names[index] for index, part in parts if part is None]:
            raise ColumnError(_unknown(unknown, names))
        read = [(index, part) for index, part in parts if part is not None]
        constants = [_constant(path, value) for path, value in self.constants.items()]
        _expect_apart([part.steps for _, part in read] + [at for at, _ in constants])
        return RowReader(len(names), read, constants)

    def _part_of(self, name: str) -> Part | None:
        return part_at(self.mapped[name]) if name in self.mapped else named_part(name)

    def _expect_header(self, names: Cells) -> None:
        if any("@" in name for name in names):
            raise ColumnError("the first row holds an email address; a header is needed there")
        if twice := [name for name, count in Counter(names).items() if count > 1 and self.mapped.get(name) != ""]:
            raise ColumnError(f"the header has more than one column {_listed(twice)}")
        if missing := [name for name in self.mapped if name not in names]:
            raise ColumnError(f"the header has no column {_listed(missing)}; it has {_listed(names)}")


class RowReader:
    """Makes source events of rows that have a cell for each column."""

    def __init__(self, width: int, parts: Sequence[tuple[int, Part]], constants: Sequence[tuple[Steps, str]]) -> None:
        self.width = width
        self._parts = [(index, part.steps, part.read) for index, part in parts]
        self._constants = constants

    def events(self, rows: Iterable[Row], max_bytes: int) -> Iterator[Read]:
        """The source events of rows. Of a row that cannot be one, something that is refused as such."""
        for row in rows:
            if row.cells is None:
                yield row.line, _BROKEN if len(row.content) <= max_bytes else row.content, row.content
            elif len(row.cells) != self.width:
                yield row.line, _RAGGED, row.content
            else:
                yield row.line, self.event(row.cells), row.content

    def event(self, cells: Cells) -> dict[str, Any]:
        tree: dict[str, Any] = {"type": "track"}
        for at, value in self._constants:
            _put(tree, at, value)
        for index, at, read in self._parts:
            found = read(cells[index])
            if found is not None:
                _put(tree, at, found)
        return tree


def named_part(name: str) -> Part | None:
    """The part that a column means by its name alone."""
    if name in TOP_LEVEL or (name.startswith(OBJECTS) and _is_path(name)):
        return Part(steps(name), _text)
    plain = _SEPARATORS.sub("_", name.strip().lower())
    if plain in ENTERED:
        return Part(("event",), _direction)
    if plain in TOP_LEVEL:
        return Part((plain,), _text)
    return Part(steps(WELL_KNOWN[plain]), _text) if plain in WELL_KNOWN else None


def part_at(path: str) -> Part:
    """The part at a path, or at a well-known name. Raises `ColumnError`."""
    part = named_part(path)
    if part is None and not _is_path(path):
        raise ColumnError(f'"{path}" is no path; a path is written like properties.plan')
    return part or Part(steps(path), _text)


def _is_path(text: str) -> bool:
    keys = steps(text)
    return len(keys) > 1 and all(keys) and text == text.strip()


def _constant(path: str, value: str) -> tuple[Steps, str]:
    part = part_at(path)
    read = part.read(value)
    if read is None:
        raise ColumnError(f'"{value}" is nothing that {path} can be')
    return part.steps, read


def _expect_apart(every: Sequence[Steps]) -> None:
    """No two parts at one place, and none inside another."""
    for one, other in combinations(sorted(every, key=len), 2):
        if other[: len(one)] == one:
            raise ColumnError(
                f"more than one column or constant is for {written(one)}; leave one out with --map COLUMN="
            )


def _unknown(unknown: Cells, names: Cells) -> str:
    advice = (
        f"nothing is known of the column{'s' * (len(unknown) > 1)} {_listed(unknown)}; "
        "say where each belongs with --map COLUMN=PATH, or leave it out with --map COLUMN="
    )
    undivided = len(names) == 1 and _DIVIDERS.search(names[0])
    return f"{advice}; or say what divides them with --delimiter" if undivided else advice


def _listed(names: Sequence[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)


def _text(cell: str) -> str | None:
    return cell if cell and not cell.isspace() else None


def _direction(cell: str) -> str | None:
    flag = _FLAGS.get(cell.strip().lower())
    return None if flag is None else _EVENTS[flag]


def _put(tree: dict[str, Any], at: Steps, value: str) -> None:
    *parents, leaf = at
    for step in parents:
        tree = tree.setdefault(step, {})
    tree[leaf] = value
