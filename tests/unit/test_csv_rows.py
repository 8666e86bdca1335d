"""How rows of CSV are read: strictly, with their lines, and without one broken row spoiling the next."""

import csv
import io
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from producers.csv_rows import MAX_ROW_BYTES, Row, read_rows
from producers.ndjson import Place

CELLS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=6)
TRICKY = st.text('a",\r\n;é ', max_size=6)


def rows(content: bytes | str, delimiter: str = ",") -> list[Row]:
    encoded = content.encode() if isinstance(content, str) else content
    return list(read_rows(io.BytesIO(encoded), delimiter, Place()))


def cells(content: bytes | str, delimiter: str = ",") -> list[tuple[int, list[str] | None]]:
    return [(row.line, row.cells) for row in rows(content, delimiter)]


def test_rows_have_the_number_of_their_first_line() -> None:
    assert cells('a,b\n"1\n2",3\n\n4,5\r\n6,"7""8"') == [
        (1, ["a", "b"]),
        (2, ["1\n2", "3"]),
        (5, ["4", "5"]),
        (6, ["6", '7"8']),
    ]


def test_a_row_has_what_stands_there() -> None:
    assert rows('"1\n2",3\n4\n') == [Row(1, ["1\n2", "3"], b'"1\n2",3\n'), Row(3, ["4"], b"4\n")]


def test_a_byte_order_mark_is_no_part_of_the_first_cell() -> None:
    assert cells(b'\xef\xbb\xbf"a",b\n\xef\xbb\xbfc,d') == [(1, ["a", "b"]), (2, ["\ufeffc", "d"])]


def test_cells_may_be_parted_by_something_else() -> None:
    assert cells("a\tb,c\n", "\t") == [(1, ["a", "b,c"])]


@pytest.mark.parametrize(
    "broken",
    [
        b"1,\0\n",
        b'1,"2"3\n',
        b'1,"2\n',
        b'"1,2\n',
        b"1,\xff\n",
        b"1\r2,3\n",
        b"1," + b"x" * MAX_ROW_BYTES + b"\n",
        b'1,"' + b"x" * MAX_ROW_BYTES + b'"\n',
        b"1," + b"x" * 140_000 + b"\n",  # the csv module's own limit of a cell
    ],
    ids=[
        "NUL",
        "after a quote",
        "open quote",
        "open quote first",
        "no UTF-8",
        "CR",
        "long",
        "long quoted",
        "long cell",
    ],
)
def test_of_a_broken_row_only_its_first_line_is_given_up(broken: bytes) -> None:
    assert cells(b"a,b\n" + broken + b"4,5\n\n6,7\n") == [
        (1, ["a", "b"]),
        (2, None),
        (3, ["4", "5"]),
        (5, ["6", "7"]),
    ]


def test_a_quote_that_is_never_closed_takes_no_more_than_a_row_may_have() -> None:
    rest = b"".join(b"%d,x\n" % number for number in range(100_000))

    first, *others = cells(b'"open,x\n' + rest)

    assert first == (1, None)
    assert len(others) == 100_000
    assert others[-1] == (100_001, ["99999", "x"])


def test_what_is_no_row_tells_its_line() -> None:
    assert rows(b'"a\nb,c\n')[0] == Row(1, None, b'"a\n')


def test_a_broken_line_within_a_quoted_cell_is_told_by_its_own_number() -> None:
    assert cells(b'"1\n\0\n2",3\n4,5\n') == [(1, None), (2, None), (3, ['2"', "3"]), (4, ["4", "5"])]


@given(st.lists(st.lists(CELLS | TRICKY, min_size=1, max_size=4), max_size=8), st.sampled_from(",;\t"))
def test_what_the_csv_module_writes_is_read_as_it_was(table: list[list[str]], delimiter: str) -> None:
    written = io.StringIO()
    csv.writer(written, delimiter=delimiter, quoting=csv.QUOTE_ALL).writerows(table)

    assert [row.cells for row in rows(written.getvalue(), delimiter)] == table


@given(st.lists(TRICKY | st.just("\0"), max_size=12).map("\n".join))
def test_whatever_stands_there_every_line_belongs_to_one_row(content: str) -> None:
    found = rows(content)

    covered = b"".join(row.content for row in found)
    assert covered.replace(b"\n", b"").replace(b"\r", b"") == content.encode().replace(b"\n", b"").replace(b"\r", b"")
    assert [row.line for row in found] == sorted({row.line for row in found})


@given(st.lists(TRICKY | st.just("\0"), max_size=12).map("\n".join), st.integers(0, 12))
def test_reading_goes_on_at_any_place_that_was_told(content: str, stop: int) -> None:
    place = Place()
    first = list(islice(read_rows(io.BytesIO(content.encode()), ",", place), stop))
    rest = io.BytesIO(content.encode())
    rest.seek(place.offset)

    assert first + list(read_rows(rest, ",", place)) == rows(content)
