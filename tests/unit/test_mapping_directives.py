"""Segment's directives lead to the places where Segment finds a value, or are refused."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from producers.mapping_directives import Inexpressible, paths, places
from producers.paths import at
from worker.paths import steps

EMAIL = {"@path": "$.traits.email"}
CONTEXT = {"@path": "$.context.traits.email"}


def if_(condition: Any, then: Any, otherwise: Any = None, word: str = "exists") -> dict[str, Any]:
    branches = {"then": then, "else": otherwise} if otherwise is not None else {"then": then}
    return {"@if": {word: condition, **branches}}


@pytest.mark.parametrize(
    ("directive", "found"),
    [
        (None, []),
        (EMAIL, ["traits.email"]),
        ({"@path": "traits.email"}, ["traits.email"]),
        ({"@path": "$.traits..work email"}, ["traits.work email"]),
        ({"@path": "$.traits[email].work"}, ["traits.email.work"]),
        ({"@template": "{{traits.email}}"}, ["traits.email"]),
        ({"@template": " {{{ $.traits.email }}} "}, ["traits.email"]),
        ({"@template": "vip"}, [{"value": "vip"}]),
        ({"@literal": "vip"}, [{"value": "vip"}]),
        ({"@literal": EMAIL}, ["traits.email"]),
        (False, [{"value": False}]),
        (if_(EMAIL, EMAIL, CONTEXT), ["traits.email", "context.traits.email"]),
        (if_(EMAIL, EMAIL, CONTEXT, "blank"), ["traits.email", "context.traits.email"]),
        (if_(EMAIL, EMAIL), ["traits.email"]),
        (if_(EMAIL, EMAIL, "nobody"), ["traits.email", {"value": "nobody"}]),
        (if_(EMAIL, {"@template": "{{traits.email}}"}, EMAIL), ["traits.email"]),
        (if_(EMAIL, EMAIL, if_(CONTEXT, CONTEXT, {"@path": "$.a"})), ["traits.email", "context.traits.email", "a"]),
    ],
)
def test_a_directive_leads_to_places(directive: Any, found: list[Any]) -> None:
    assert places(directive) == found


@pytest.mark.parametrize(
    "directive",
    [
        {"@path": "$.products[0].id"},
        {"@path": ""},
        {"@path": "$"},
        {"@path": {"@template": "$.a"}},
        {"@path": "$.a", "@template": "b"},
        {"@template": "{{traits.first}} {{traits.last}}"},
        {"@template": "mailto:{{traits.email}}"},
        if_(EMAIL, CONTEXT),
        if_("always", EMAIL),
        if_(EMAIL, EMAIL, [1]),
        {"@if": {"exists": EMAIL}},
        {"@if": {"then": EMAIL}},
        {"@if": [EMAIL]},
        {"@case": {"operator": "lower", "value": EMAIL}},
        {"@arrayPath": ["$.a"]},
        {"a": EMAIL},
        [EMAIL],
    ],
)
def test_what_has_no_counterpart_is_refused(directive: Any) -> None:
    with pytest.raises(Inexpressible):
        places(directive)


@pytest.mark.parametrize("path", ["$['a']['b c']", '$["a"].["b c"]', "$.a['b c']"])
def test_quotes_in_brackets_by_which_segment_finds_nothing_are_told_with_what_was_meant(path: str) -> None:
    with pytest.raises(Inexpressible, match=r"quotes in brackets; was \$\.a\.b c meant\?"):
        places({"@path": path})


def test_where_everybody_differs_a_constant_is_refused() -> None:
    assert paths(EMAIL) == ["traits.email"]
    with pytest.raises(Inexpressible, match="for everybody"):
        paths(if_(EMAIL, EMAIL, "nobody@example.com"))


# ── As Segment does it ───────────────────────────────────────────────────────────────────────────

KEYS = st.sampled_from(["a", "b", "c d"])
LEADING = st.lists(KEYS, min_size=1, max_size=3).map(lambda keys: {"@path": "$." + ".".join(keys)})
DIRECTIVES = st.recursive(
    LEADING | st.text(min_size=1).map(lambda text: {"@literal": text}),
    lambda inner: st.tuples(LEADING, inner).map(lambda pair: if_(pair[0], pair[0], pair[1])),
    max_leaves=4,
)
TREES = st.recursive(
    st.none() | st.text(min_size=1), lambda inner: st.dictionaries(KEYS, inner, max_size=3), max_leaves=8
)


def resolved(directive: Any, tree: Any) -> Any:
    """What Segment makes of a directive."""
    match directive:
        case {"@path": path}:
            for key in path.removeprefix("$.").split("."):
                tree = tree.get(key) if isinstance(tree, dict) else None
            return tree
        case {"@literal": literal}:
            return literal
        case {"@if": {"exists": condition, **branches}}:
            exists = resolved(condition, tree) is not None
            return resolved(branches["then"], tree) if exists else resolved(branches.get("else"), tree)
    return None


@given(DIRECTIVES, st.dictionaries(KEYS, TREES))
def test_what_stands_at_the_places_is_what_segment_finds(directive: Any, tree: dict[str, Any]) -> None:
    values = [at(tree, steps(each)) if isinstance(each, str) else each["value"] for each in places(directive)]

    assert next((value for value in values if value is not None), None) == resolved(directive, tree)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(["@if", "@path", "@template", "@literal", "exists", "then"]), inner, max_size=2
        )
    ),
)


@given(JSON)
def test_whatever_comes_leads_to_places_or_is_refused(directive: Any) -> None:
    try:
        found = places(directive)
    except Inexpressible:
        return
    assert all(isinstance(each, dict) or steps(each) for each in found)
