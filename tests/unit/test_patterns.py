"""Whether two shell patterns can match the same audience key."""

from fnmatch import fnmatchcase
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.patterns import matches, overlap


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("vip", "vip"),
        ("*", "vip"),
        ("*", "*"),
        ("vip-*", "*-buyers"),
        ("a?c", "ab*"),
        ("[a-f]x", "[e-z]x"),
        ("[!a]", "[!b]"),
        ("a*b*c", "*abc*"),
        ("", "*"),
        ("[", "?"),
        ("[]]", "]"),
        ("[!]]", "a"),
        ("[a-]", "-"),
    ],
)
def test_these_can_match_the_same_key(one: str, other: str) -> None:
    assert overlap(one, other)
    assert overlap(other, one)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("vip", "VIP"),
        ("vip", "vip2"),
        ("vip-*", "std-*"),
        ("*-a", "*-b"),
        ("?", "??"),
        ("[a-m]*", "[n-z]*"),
        ("[!a-m]*", "[a-m]*"),
        ("[z-a]", "*"),
        ("", "?*"),
        ("a*", "[!a]*"),
    ],
)
def test_these_never_match_the_same_key(one: str, other: str) -> None:
    assert not overlap(one, other)
    assert not overlap(other, one)


def test_a_key_needs_to_match_only_one_of_several_patterns() -> None:
    assert matches("vip-1", ("std-*", "vip-*"))
    assert not matches("VIP-1", ("std-*", "vip-*"))


ALPHABET = "ab]!-"
KEYS = ["".join(key) for length in range(5) for key in product(ALPHABET, repeat=length)]
_patterns = st.text("ab*?[]!-", max_size=5)


@given(_patterns, _patterns)
def test_a_key_that_matches_both_is_never_overlooked(one: str, other: str) -> None:
    if any(fnmatchcase(key, one) and fnmatchcase(key, other) for key in KEYS):
        assert overlap(one, other)


_tame = st.lists(st.sampled_from(["a", "b", "?", "*", "[ab]", "[a-b]"]), max_size=4).map("".join)


@given(_tame, _tame)
def test_where_every_short_key_was_tried_overlap_is_exact(one: str, other: str) -> None:
    """Two patterns of at most four places share a key of at most eight characters, or none."""
    shared = any(
        fnmatchcase("".join(key), one) and fnmatchcase("".join(key), other)
        for length in range(8)
        for key in product("ab", repeat=length)
    )

    assert overlap(one, other) == shared
