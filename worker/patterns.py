"""Shell patterns for audience keys, and whether two of them can match the same key.

The patterns are those of `fnmatch.fnmatchcase`: `*`, `?`, `[abc]`, `[a-z]`, `[!abc]`.
"""

from fnmatch import fnmatchcase
from functools import cache
from typing import Final

Interval = tuple[int, int]
"""Code points from the first to the last, both included."""
Token = tuple[Interval, ...] | None
"""The characters that fit at one place; None: any number of any (`*`)."""

LAST: Final = 0x10FFFF
_ANY: Final[tuple[Interval, ...]] = ((0, LAST),)


def matches(key: str, patterns: tuple[str, ...]) -> bool:
    """Whether one of the patterns takes the audience key."""
    return any(fnmatchcase(key, pattern) for pattern in patterns)


def overlap(one: str, other: str) -> bool:
    """Whether some key matches both patterns.

    >>> overlap("vip-*", "*-buyers")
    True
    >>> overlap("vip-[a-m]*", "vip-[!a-m]*")
    False
    """
    left, right = _tokens(one), _tokens(other)
    if () in left or () in right:
        return False  # `[z-a]` fits no character

    @cache
    def meet(i: int, j: int) -> bool:
        """Whether what is left of both patterns can match the same text."""
        if i == len(left) and j == len(right):
            return True
        if i < len(left) and left[i] is None:
            return meet(i + 1, j) or (j < len(right) and meet(i, j + 1))
        if j < len(right) and right[j] is None:
            return meet(i, j + 1) or (i < len(left) and meet(i + 1, j))
        if i == len(left) or j == len(right):
            return False
        return _share(left[i] or (), right[j] or ()) and meet(i + 1, j + 1)

    return meet(0, 0)


def _share(some: tuple[Interval, ...], others: tuple[Interval, ...]) -> bool:
    return any(a <= d and c <= b for a, b in some for c, d in others)


def _tokens(pattern: str) -> list[Token]:
    tokens: list[Token] = []
    at = 0
    while at < len(pattern):
        token, at = _token(pattern, at)
        tokens.append(token)
    return tokens


def _token(pattern: str, at: int) -> tuple[Token, int]:
    """The token at a place, and the place after it."""
    char = pattern[at]
    if char == "*":
        return None, at + 1
    if char == "?":
        return _ANY, at + 1
    end = _class_end(pattern, at) if char == "[" else -1
    if end < 0:
        return ((ord(char), ord(char)),), at + 1
    return _class(pattern[at + 1 : end]), end + 1


def _class_end(pattern: str, at: int) -> int:
    """Where the `]` of the `[` stands, or -1: then the `[` means itself. A `]` in first place is a member."""
    first = at + 2 if pattern[at + 1 : at + 2] == "!" else at + 1
    return pattern.find("]", first + 1)


def _class(text: str) -> tuple[Interval, ...]:
    if text.startswith("!"):
        return _complement(_members(text[1:]))
    return _members(text)


def _members(text: str) -> tuple[Interval, ...]:
    """`a-z` is a range, a `-` at either end is itself, and a range from high to low is empty."""
    members = []
    at = 0
    while at < len(text):
        ranged = text[at + 1 : at + 2] == "-" and at + 2 < len(text)
        last = text[at + 2] if ranged else text[at]
        members.append((ord(text[at]), ord(last)))
        at += 3 if ranged else 1
    return tuple(each for each in members if each[0] <= each[1])


def _complement(members: tuple[Interval, ...]) -> tuple[Interval, ...]:
    gaps = []
    start = 0
    for first, last in sorted(members):
        if start < first:
            gaps.append((start, first - 1))
        start = max(start, last + 1)
    return (*gaps, (start, LAST))
