"""In which line of a TOML document a key stands."""

import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.toml_lines import Place, TomlLines, syntax_error


def test_a_key_stands_in_its_own_line() -> None:
    lines = TomlLines("top = 1\n\n# a comment\n[redis]\nurl = 'x'  # another\n")

    assert lines.line(("top",)) == 1
    assert lines.line(("redis",)) == 4
    assert lines.line(("redis", "url")) == 5


def test_each_table_of_an_array_has_its_own_lines() -> None:
    lines = TomlLines("[[d]]\nname = 1\n[d.batch]\nmax = 2\n\n[[d]]\nname = 3\n[d.batch]\nmax = 4\n")

    assert [lines.line(("d", at)) for at in (0, 1)] == [1, 6]
    assert [lines.line(("d", at, "name")) for at in (0, 1)] == [2, 7]
    assert [lines.line(("d", at, "batch")) for at in (0, 1)] == [3, 8]
    assert [lines.line(("d", at, "batch", "max")) for at in (0, 1)] == [4, 9]


def test_the_lines_of_headers_are_known() -> None:
    assert TomlLines('a = """\n[b]"""\n[c]\nd = [\n[1]]\n[[e]]\n').headers == [3, 6]


def test_an_array_of_tables_within_another_counts_for_itself() -> None:
    lines = TomlLines("[[a]]\n[[a.b]]\nx = 1\n[[a.b]]\nx = 2\n[[a]]\n[[a.b]]\nx = 3\n")

    assert lines.line(("a", 0, "b", 0, "x")) == 3
    assert lines.line(("a", 0, "b", 1, "x")) == 5
    assert lines.line(("a", 1, "b", 0, "x")) == 8


def test_dotted_and_quoted_keys_are_paths() -> None:
    lines = TomlLines("a . \"b c\" . 'd' = 1\n[ 'x' . y ]\nz.\"\\u0041\" = 2\n")

    assert lines.line(("a", "b c", "d")) == 1
    assert lines.line(("x", "y", "z", "A")) == 3


def test_elements_of_arrays_and_of_inline_tables_have_their_lines() -> None:
    document = "keys = [\n  'a',\n  # none here\n  'b',\n]\nrows = [ { p = 1, q = [\n 2 ] },\n  { p = 3 } ]\nlast = 4\n"

    lines = TomlLines(document)

    assert [lines.line(("keys", at)) for at in (0, 1)] == [2, 4]
    assert lines.line(("rows", 0, "q", 0)) == 7
    assert lines.line(("rows", 1, "p")) == 8
    assert lines.line(("last",)) == 9


@pytest.mark.parametrize(
    "value",
    [
        '"""\n[no.table]\nno = "key"\n"""',
        '"""\n\\""" still # inside\n"""""',
        "'''\n[[no]]\n= ''\n'''",
        '"a # b ] } , \\" = \\\\"',
        "'a # b ] } , = \\'",
        '[ "]", \'}\', """\n,""" ]',
        '{ a = "}", b = [ 1, 2 ], "c]" = 1979-05-27 07:32:00 }',
        "1979-05-27 07:32:00",
        '""',
        "''",
        '""""""',
        "[]",
        "{}",
        "[[1, 2], [\n3,\n],]",
    ],
)
def test_no_value_confuses_what_follows(value: str) -> None:
    document = f"[table]\nkey = {value} # comment\nnext = 1\n"

    assert tomllib.loads(document)["table"]["next"] == 1
    assert TomlLines(document).line(("table", "next")) == document.count("\n")


def test_windows_line_ends_count_once() -> None:
    assert TomlLines("a = 1\r\nb = 2\r\n\r\nc = '''\r\n'''\r\nd = 3\r\n").line(("d",)) == 6


def test_what_is_missing_has_the_line_of_what_is_around_it() -> None:
    lines = TomlLines("\n[[d]]\nname = 1\n")

    assert lines.line(("d", 0, "batch", "max")) == 2
    assert lines.line(("nowhere",)) == 1


@pytest.mark.parametrize(
    ("document", "line", "reason"),
    [
        ("a = 1\nb = \nc = 3\n", 2, "Invalid value"),
        ("a = 1\n\nb = [1\n\n", 3, "Unclosed array"),
        ("a b", 1, "Expected '=' after a key in a key/value pair"),
        ("[x]\n[x]\n", 2, "Cannot declare ('x',) twice"),
    ],
)
def test_a_syntax_error_has_a_line_and_a_reason(document: str, line: int, reason: str) -> None:
    with pytest.raises(tomllib.TOMLDecodeError) as raised:
        tomllib.loads(document)

    assert syntax_error(raised.value, document) == (line, reason)


def test_every_key_of_the_example_is_found() -> None:
    document = (Path(__file__).parents[2] / "relay.example.toml").read_text()
    lines, texts = TomlLines(document), document.splitlines()

    for place in _places(tomllib.loads(document), ()):
        key = next(part for part in reversed(place) if isinstance(part, str))
        assert key in texts[lines.line(place) - 1], place


_keys = st.text("ab-", min_size=1, max_size=2) | st.sampled_from(['"x.y"', "'#'", '"[["'])
_values = st.sampled_from(["1", "'[a]'", '"""\n[b]\n"""', "[\n1,\n2]", "{ a = 1, b = [ 2 ] }", "true # c", "'''\n'''"])
_headers = st.lists(_keys, min_size=1, max_size=2).map(".".join)
_statements = (
    st.tuples(_headers, _values).map(" = ".join)
    | _headers.map("[{}]".format)
    | _headers.map("[[{}]]".format)
    | st.sampled_from(["", "# comment"])
)


@given(st.lists(_statements, max_size=12).map("\n".join))
def test_every_key_of_any_document_is_in_the_line_that_names_it(document: str) -> None:
    try:
        values = tomllib.loads(document)
    except tomllib.TOMLDecodeError:
        return
    lines, texts = TomlLines(document), document.split("\n")

    for place in _places(values, ()):
        key = next(part for part in reversed(place) if isinstance(part, str))
        assert key in texts[lines.line(place) - 1]


def _places(value: object, place: Place) -> Iterator[Place]:
    if isinstance(value, dict):
        for key, each in value.items():
            yield (*place, key)
            yield from _places(each, (*place, key))
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        for at, each in enumerate(value):
            yield from _places(each, (*place, at))
