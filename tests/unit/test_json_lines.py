"""JSON for people: in few lines, with long texts unfolded and lists of people cut."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.json_lines import Cut, lines, printable

NOBODY = Cut((), None)
PEOPLE = Cut({"a@x", "b@x", "c@x", "d@x"}, 2)


def test_what_fits_is_one_line() -> None:
    assert lines({"operation": "add", "ids": [1, None, True]}, NOBODY, 80) == [
        '{"operation": "add", "ids": [1, null, true]}'
    ]


def test_what_does_not_fit_is_an_element_a_line() -> None:
    value = {"data": {"type": "AudienceSegment", "attributes": {"name": "vip", "contactList": {"isReadOnly": False}}}}

    assert lines(value, NOBODY, 40) == [
        "{",
        '  "data": {',
        '    "type": "AudienceSegment",',
        '    "attributes": {',
        '      "name": "vip",',
        '      "contactList": {"isReadOnly": false}',
        "    }",
        "  }",
        "}",
    ]


def test_plain_values_fill_the_lines() -> None:
    assert lines({"ids": list(range(100, 112))}, NOBODY, 30) == [
        "{",
        '  "ids": [100, 101, 102, 103,',
        "    104, 105, 106, 107, 108,",
        "    109, 110, 111]",
        "}",
    ]


@pytest.mark.parametrize(
    "value",
    [
        ["a@x", "b@x", "c@x", "d@x"],
        [{"cluster": [{"id": each}]} for each in ("a@x", "b@x", "c@x", "d@x")],
    ],
)
def test_a_list_of_people_is_cut_with_how_many_more_there_are(value: list[Any]) -> None:
    (line,) = lines({"identities": value}, PEOPLE, 200)

    assert "b@x" in line
    assert "c@x" not in line
    assert line.endswith("… and 2 more]}")


def test_a_list_of_other_things_is_not_cut() -> None:
    assert lines(["one", "two", "three"], PEOPLE, 80) == ['["one", "two", "three"]']


def test_everybody_is_shown_where_that_is_wanted() -> None:
    assert lines(["a@x", "b@x", "c@x"], Cut(PEOPLE.people, None), 80) == ['["a@x", "b@x", "c@x"]']


def test_a_text_that_holds_json_is_shown_as_json_and_cut_like_it() -> None:
    value = {"profiles": json.dumps([{"email": each} for each in ("a@x", "b@x", "c@x")])}

    assert lines(value, PEOPLE, 80) == [
        '{"profiles": (JSON as text) [{"email": "a@x"}, {"email": "b@x"}, … and 1 more]}'
    ]


def test_a_text_that_only_looks_like_json_stays_a_text() -> None:
    assert lines({"name": "[bold]"}, NOBODY, 80) == ['{"name": "[bold]"}']


def test_a_text_of_several_lines_is_a_block() -> None:
    assert lines({"query": "query {\n  a\n}\n", "n": 1}, NOBODY, 80) == [
        "{",
        '  "query": """',
        "    query {",
        "      a",
        "    }",
        '  """,',
        '  "n": 1',
        "}",
    ]


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text("ab é"),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abc"), inner, max_size=4),
    max_leaves=20,
)


@given(values, st.integers(1, 120))
def test_without_long_texts_and_people_it_is_the_same_json(value: Any, width: int) -> None:
    assert json.loads("\n".join(lines(value, NOBODY, width))) == value


def test_what_a_terminal_would_obey_is_written_as_an_escape() -> None:
    assert printable("vip\x1b[2J\u202e é 日本") == "vip\\x1b[2J\\u202e é 日本"
    assert lines("\x9b31m", NOBODY, 80) == ['"\\x9b31m"']
