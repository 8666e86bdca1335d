"""Properties of a source event, read into the types that a destination declares."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from producers.properties import PropertyReader
from worker.contract import Change, Property, Waiting, decode, encode, stamped
from worker.destinations.base import PropertyReading

TYPES: Any = ("STRING", "NUMBER", "BOOLEAN", "DATE")


def read(type_: Any, value: object) -> tuple[dict[str, Property], list[str]]:
    """What is found at the one path, and which properties are told as lost."""
    lost: list[str] = []
    found = PropertyReader([PropertyReading("p", type_, ("traits.p",))]).read({"traits": {"p": value}}, lost.append)
    return found, lost


@pytest.mark.parametrize(
    ("type_", "value", "fitting"),
    [
        ("STRING", "  Jane\tO'Neill \n", "Jane\tO'Neill"),
        ("STRING", "two\r\nlines", "two\r\nlines"),
        ("STRING", "日本 🎈 a\u200db\u00a0c", "日本 🎈 a\u200db\u00a0c"),
        ("STRING", "x" * 1_000, "x" * 1_000),
        ("STRING", 94105.0, "94105"),
        ("STRING", 15550109999.0, "15550109999"),
        ("STRING", -0.0, "0"),
        ("STRING", 2.0**60, "1.152921504606847e+18"),
        ("STRING", 12345678901234567890123, "12345678901234567890123"),
        ("NUMBER", "+5", 5),
        ("NUMBER", "1e3", 1000.0),
        ("NUMBER", ".5", 0.5),
        ("NUMBER", 0, 0),
        ("BOOLEAN", False, False),
        ("BOOLEAN", " True ", True),
        ("BOOLEAN", "FALSE", False),
        ("DATE", "1990-06-15T00:30:00.000+02:00", "1990-06-15"),
        ("DATE", "1990-06-15T23:30:00-05:00", "1990-06-15"),
        ("DATE", "19900615T120000Z", "1990-06-15"),
        ("DATE", "2024-02-29", "2024-02-29"),
    ],
)
def test_what_fits_is_converted(type_: Any, value: object, fitting: object) -> None:
    found, lost = read(type_, value)

    assert found == {"p": fitting}
    assert type(found["p"]) is type(fitting)
    assert lost == []


@pytest.mark.parametrize(
    ("type_", "value"),
    [
        *((type_, value) for type_ in TYPES for value in ([], {}, ["x"], {"x": 1}, [1], [True])),
        *((type_, value) for type_ in TYPES for value in (float("nan"), float("inf"))),
        ("STRING", "x" * 1_001),
        ("STRING", "nul\0inside"),
        ("STRING", "bell\a"),
        ("STRING", "escape \x1b[31m"),
        ("STRING", "delete\x7f"),
        ("STRING", "half a pair \ud83c"),
        ("STRING", 10**40),
        ("STRING", 10**4_000),
        ("NUMBER", "five"),
        ("NUMBER", "1 000"),
        ("NUMBER", "1,000"),
        ("NUMBER", "٣"),
        ("NUMBER", "1e999"),
        ("NUMBER", "Infinity"),
        ("NUMBER", True),
        ("NUMBER", 2**63),
        ("NUMBER", -(2**63) - 1),
        ("BOOLEAN", 1),
        ("BOOLEAN", 0),
        ("BOOLEAN", "1"),
        ("BOOLEAN", "yes"),
        ("DATE", "2023-02-29"),
        ("DATE", "2024-13-01"),
        ("DATE", "12/31/2024"),
        ("DATE", "2024-1-2"),
        ("DATE", "20240131"),
        ("DATE", "0000-01-01"),
        ("DATE", "2024-01-31 and more"),
        ("DATE", 1706659200),
        ("DATE", False),
    ],
)
def test_what_does_not_fit_is_lost_and_told_once(type_: Any, value: object) -> None:
    assert read(type_, value) == ({}, ["p"])


@pytest.mark.parametrize("type_", TYPES)
@pytest.mark.parametrize("value", [None, "", "  ", "\t\n"])
def test_what_states_nothing_is_no_loss(type_: Any, value: object) -> None:
    assert read(type_, value) == ({}, [])


def test_a_property_is_lost_only_when_no_path_has_a_value_that_fits() -> None:
    reader = PropertyReader(
        [PropertyReading("n", "NUMBER", ("a.n", "b.n", "c.n")), PropertyReading("d", "DATE", ("a.d", "b.d"))]
    )
    lost: list[str] = []

    assert reader.read({"a": {"n": "x", "d": "soon"}, "b": {"n": 2, "d": ""}}, lost.append) == {"n": 2}
    assert lost == ["d"]

    lost.clear()

    assert reader.read({"a": {"n": "x"}, "b": {"n": "y"}}, lost.append) == {}
    assert lost == ["n"]


def test_nobody_needs_to_ask_for_losses() -> None:
    assert PropertyReader([PropertyReading("n", "NUMBER", ("n",))]).read({"n": "x"}) == {}


STAMP = 1_795_000_000_000

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(exclude_categories=())),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
READER = PropertyReader([PropertyReading(each, each, (f"traits.{each}", f"properties.{each}")) for each in TYPES])


@given(JSON, JSON, st.sampled_from(TYPES))
def test_whatever_comes_what_is_found_can_be_kept_and_sent(one: object, other: object, type_: str) -> None:
    lost: list[str] = []
    found = READER.read({"traits": {type_: one}, "properties": {type_: other}}, lost.append)

    change = Change(entered=True, occurred_at=0, identifiers=(), properties=found)
    assert decode([stamped(STAMP, encode(change))]) == [Waiting(STAMP, change)]
    json.dumps(found, allow_nan=False).encode()
    assert "" not in found.values()
    assert not found.keys() & set(lost)
    assert lost in ([], [type_])
