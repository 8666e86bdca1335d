"""More lines for a destination in a relay.toml. All else in the file stays as it is, comments among it."""

import os
import re
import tempfile
import tomllib
from codecs import BOM_UTF8
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from shutil import copymode
from typing import Any

from worker import settings
from worker.errors import RelayError
from worker.toml_lines import TomlLines

Table = Mapping[str, Any]


class NoPlace(RelayError):
    """The lines cannot be put into the file; the text says why, and what to do."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where lines for a destination belong: after its own keys, and before its first sub-table."""

    path: Path
    mark: bytes
    """The byte order mark that stands before the text, if one does."""
    text: str
    at: int
    """Which of the destinations it is, from 0."""
    line: int
    """The lines come before this one."""

    @classmethod
    def of(cls, path: Path, name: str) -> "Place":
        """Of the destination of that name. Raises `ConfigurationError` and `NoPlace`."""
        at = [each.name for each in settings.load(path).destinations].index(name)
        content = path.read_bytes()
        mark = BOM_UTF8 if content.startswith(BOM_UTF8) else b""
        text = content.removeprefix(mark).decode()
        lines = TomlLines(text)
        header = lines.line(("destinations", at))
        if header not in lines.headers:
            raise NoPlace(f"{path}:{header}: {name} has no header [[destinations]] of its own; add the text by hand")
        following = next((each for each in lines.headers if each > header), None)
        return cls(path, mark, text, at, _end(_lines(text), following) + 1)

    @property
    def described(self) -> str:
        return f"{self.path}, from line {self.line} on"

    def write(self, lines: Sequence[str], added: Table) -> None:
        """Put the lines there, which add this to the table. Raises `NoPlace`, `ConfigurationError` or `OSError`."""
        self._expect_free(added)
        text = self._with(lines)
        if tomllib.loads(text) != self._expected(added):
            raise NoPlace(f"{self.path}: the lines mean something else before line {self.line}; add them by hand")
        settings.read(text, self.path)
        _replace(self.path.resolve(), self.mark + text.encode())

    def without_known(self, added: Table) -> dict[str, Any]:
        """What the table does not say already."""
        table = self._table(self._document())
        return {key: value for key, value in added.items() if key not in table or table[key] != value}

    def _document(self) -> dict[str, Any]:
        return tomllib.loads(self.text)

    def _table(self, document: dict[str, Any]) -> dict[str, Any]:
        table: dict[str, Any] = document["destinations"][self.at]
        return table

    def _expect_free(self, added: Table) -> None:
        """Whoever wrote another value should see it go."""
        lines = TomlLines(self.text)
        for key in added.keys() & self._table(self._document()).keys():
            line = lines.line(("destinations", self.at, key))
            raise NoPlace(f"{self.path}:{line}: {key} is there already; take it out first, or add the text by hand")

    def _expected(self, added: Table) -> dict[str, Any]:
        document = deepcopy(self._document())
        self._table(document).update(added)
        return document

    def _with(self, lines: Sequence[str]) -> str:
        old = _lines(self.text)
        newline = "\r\n" if self.text.count("\r\n") * 2 > len(old) else "\n"
        before, after = old[: self.line - 1], old[self.line - 1 :]
        if before and not before[-1].endswith("\n"):
            before.append(newline)
        if after and after[0].strip():
            after.insert(0, newline)
        return "".join([*before, *(each + newline for each in lines), *after])


def _lines(text: str) -> list[str]:
    """As TOML parts them; `str.splitlines` knows more ends."""
    return re.findall(r"[^\n]*\n|[^\n]+", text)


def _end(lines: Sequence[str], following: int | None) -> int:
    """How many lines belong to what ends before the header in line `following`; None: at the end of the file.

    Blank lines there do not, nor comments directly above the header, which are about what it begins; but comments
    directly below the keys are about these.
    """
    before = lines if following is None else lines[: following - 1]
    own = before if following is None else _without_last(before, lambda line: line.lstrip().startswith("#"))
    if own and own[-1].strip():
        own = before
    return len(_without_last(own, lambda line: not line.strip()))


def _without_last(lines: Sequence[str], drops: Callable[[str], bool]) -> Sequence[str]:
    dropped = sum(1 for _ in takewhile(drops, reversed(lines)))
    return lines[: len(lines) - dropped]


def _replace(path: Path, content: bytes) -> None:
    """At once, so that nobody ever reads a part of it; for the same people as before."""
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    new = Path(name)
    try:
        with open(descriptor, "wb") as stream:  # noqa: PTH123 - a descriptor, not a path
            stream.write(content)
            stream.flush()
            os.fsync(descriptor)
        owner = path.stat()
        os.chown(new, owner.st_uid, owner.st_gid)
        copymode(path, new)
        new.replace(path)
    except BaseException:
        new.unlink(missing_ok=True)
        raise
