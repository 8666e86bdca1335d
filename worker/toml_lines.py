"""In which line of a TOML document a key stands; `tomllib` does not tell.

The document is one that `tomllib` has read, so the scanner only has to find its way, not to judge.
"""

import re
import tomllib
from bisect import bisect_left
from typing import Final

Place = tuple[str | int, ...]
"""Keys and places in arrays, from the outermost: `("destinations", 1, "batch", "max_changes")`."""

_BLANK: Final = re.compile(r"(?:\s|#[^\n]*)*")
_KEY: Final = re.compile(r"""[A-Za-z0-9_-]+|"(?:\\.|[^"\\])*"|'[^']*'""")
_DOT: Final = re.compile(r"[ \t]*\.[ \t]*")
_SCALAR: Final = re.compile(
    r'''"""(?:\\.|[^\\])*?"{3,5}|\'\'\'.*?'{3,5}|"(?:\\.|[^"\\])*"|'[^']*'|[^,\]}#\n]+''', re.DOTALL
)


def syntax_error(error: tomllib.TOMLDecodeError, document: str) -> tuple[int, str]:
    """The line of a syntax error, and what is wrong there."""
    reason, _, at = str(error).rpartition(" (at ")
    line = re.match(r"line (\d+)", at)
    return (int(line[1]) if line else document.rstrip().count("\n") + 1), reason or str(error)


class TomlLines:
    """The line of each key, table and array element."""

    def __init__(self, document: str) -> None:
        self._text = document
        self._at = 0
        self._newlines = [match.start() for match in re.finditer("\n", document)]
        self._lines: dict[Place, int] = {}
        self._lengths: dict[Place, int] = {}
        self.headers: list[int] = []
        """The lines of `[table]` and `[[table]]`, in order."""
        self._scan()

    def line(self, place: Place) -> int:
        """The line of what stands at the place, else of the nearest thing around it; 1 when nothing is."""
        for end in range(len(place), 0, -1):
            if place[:end] in self._lines:
                return self._lines[place[:end]]
        return 1

    def _scan(self) -> None:
        table: Place = ()
        self._skip_blank()
        while self._at < len(self._text):
            if self._text[self._at] == "[":
                table = self._header()
            else:
                self._pair(table)
            self._skip_blank()

    def _header(self) -> Place:
        """`[a.b]` or `[[a.b]]`: the table that the following pairs belong to."""
        start = self._at
        brackets = 2 if self._text.startswith("[[", start) else 1
        self._at += brackets
        keys = tuple(self._keys())
        if brackets == 2:  # noqa: PLR2004 - an array of tables
            array = (*self._resolved(keys[:-1]), keys[-1])
            self._lengths[array] = self._lengths.get(array, 0) + 1
        table = self._resolved(keys)
        for end in range(len(table)):
            self._note(table[: end + 1], start)
        self.headers.append(self._line_at(start))
        self._skip_blank()
        self._at += brackets
        return table

    def _resolved(self, keys: Place) -> Place:
        """The keys, with the newest element's place after each that names an array of tables."""
        path: Place = ()
        for key in keys:
            path = (*path, key)
            if path in self._lengths:
                path = (*path, self._lengths[path] - 1)
        return path

    def _pair(self, table: Place) -> None:
        start = self._at
        path = table
        for key in self._keys():
            path = (*path, key)
            self._note(path, start)
        self._skip_blank()
        self._at += 1  # =
        self._skip_blank()
        self._value(path)

    def _value(self, path: Place) -> None:
        opening = self._text[self._at]
        if opening == "[":
            self._array(path)
        elif opening == "{":
            self._inline_table(path)
        else:
            self._take(_SCALAR)

    def _array(self, path: Place) -> None:
        self._at += 1  # [
        place = 0
        while not self._closed("]"):
            self._note((*path, place), self._at)
            self._value((*path, place))
            self._skip_comma()
            place += 1

    def _inline_table(self, path: Place) -> None:
        self._at += 1  # {
        while not self._closed("}"):
            self._pair(path)
            self._skip_comma()

    def _closed(self, bracket: str) -> bool:
        """Whether the closing bracket is next; if so, step over it."""
        self._skip_blank()
        found = self._text[self._at] == bracket
        self._at += found
        return found

    def _skip_comma(self) -> None:
        self._skip_blank()
        self._at += self._text[self._at] == ","

    def _keys(self) -> list[str]:
        keys = []
        while True:
            self._skip_blank()
            keys.append(_plain(self._take(_KEY)))
            if not self._take(_DOT):
                return keys

    def _take(self, pattern: re.Pattern[str]) -> str:
        match = pattern.match(self._text, self._at)
        if match is None:
            return ""
        self._at = match.end()
        return match[0]

    def _skip_blank(self) -> None:
        self._take(_BLANK)

    def _note(self, path: Place, at: int) -> None:
        self._lines.setdefault(path, self._line_at(at))

    def _line_at(self, at: int) -> int:
        return bisect_left(self._newlines, at) + 1


def _plain(key: str) -> str:
    """A key without its quotes and escapes."""
    return next(iter(tomllib.loads(f"{key} = 0"))) if key[:1] in {'"', "'"} else key
