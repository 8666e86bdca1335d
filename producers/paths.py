"""Looking up paths in one source event after another."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from worker.paths import Steps

Place = tuple[int, str]
"""A parent, by its number, and a key in it."""
Parents = Sequence[Mapping[str, Any]]

_NOTHING: Final[Mapping[str, Any]] = {}


def at(tree: object, keys: Iterable[str]) -> object:
    """What stands there, or None."""
    for key in keys:
        if not isinstance(tree, dict):
            return None
        tree = tree.get(key)
    return tree


class Places:
    """Paths whose parents are found once an event, however many paths have them."""

    def __init__(self) -> None:
        self._numbers: dict[Steps, int] = {(): 0}
        self._ways: list[Place] = []
        """Where each parent but the first stands, in the order of their numbers."""

    def add(self, path: Steps) -> Place:
        return self._number(path[:-1]), path[-1]

    def parents(self, tree: Mapping[str, Any]) -> Parents:
        """The parents of all paths, in the order of their numbers: an empty one where there is no object."""
        found = [tree]
        for number, key in self._ways:
            parent = found[number].get(key)
            found.append(parent if isinstance(parent, dict) else _NOTHING)
        return found

    def _number(self, parent: Steps) -> int:
        if parent not in self._numbers:
            self._ways.append(self.add(parent))
            self._numbers[parent] = len(self._ways)
        return self._numbers[parent]
