"""Which part of a source event a column is: by its name, or as somebody says."""

import io
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from producers.columns import ColumnError, Columns
from producers.csv_rows import read_rows
from producers.ndjson import Place
from producers.segment import Membership, Refusal, parse
from worker.contract import Identifier


def event(header: str, row: str, **columns: dict[str, str]) -> dict[str, Any]:
    return Columns(**columns).under(header.split(",")).event(row.split(","))


def outcomes(content: str, **columns: dict[str, str]) -> list[Membership | str]:
    """What the reading says to the rows of a table: memberships, and the reasons of refusals."""
    header, *rows = read_rows(io.BytesIO(content.encode()), ",", Place())
    assert header.cells is not None
    read = Columns(**columns).under(header.cells).events(rows, 32_768)
    found = [parse(event, received_at=0) for _, event, _ in read]
    assert all(isinstance(each, Membership | Refusal) for each in found)
    return [
        each.reason if isinstance(each, Refusal) else each for each in found if isinstance(each, Membership | Refusal)
    ]


# ── Names ────────────────────────────────────────────────────────────────────────────────────────


def test_a_column_that_is_named_by_a_path_goes_there() -> None:
    assert event(
        "properties.email,context.traits.email,traits.a.b,timestamp,messageId,userId,event,type",
        "1,2,3,4,5,6,7,8",
    ) == {
        "properties": {"email": "1"},
        "context": {"traits": {"email": "2"}},
        "traits": {"a": {"b": "3"}},
        "timestamp": "4",
        "messageId": "5",
        "userId": "6",
        "event": "7",
        "type": "8",
    }


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("email", "traits.email"),
        ("E-Mail", None),
        ("EMAIL", "traits.email"),
        (" First Name ", "traits.first_name"),
        ("ios-id", "traits.ios_id"),
        ("phone", "traits.phone"),
        ("audience", "properties.audience_key"),
        ("audience_key", "properties.audience_key"),
        ("audience_id", "context.personas.computation_id"),
        ("user_id", "userId"),
        ("User ID", "userId"),
        ("message_id", "messageId"),
        ("Timestamp", "timestamp"),
        ("plan", None),
        ("properties.", None),
        ("properties..a", None),
        ("propertiesa.b", None),
        ("", None),
    ],
)
def test_well_known_names_have_a_place(name: str, path: str | None) -> None:
    if path is None:
        with pytest.raises(ColumnError, match="nothing is known of the column"):
            event(name, "x")
        return
    expected: Any = "x"
    for step in reversed(path.split(".")):
        expected = {step: expected}

    assert event(name, "x") == {"type": "track", **expected}


@pytest.mark.parametrize("name", ["entered", "In Audience", "IN_AUDIENCE"])
@pytest.mark.parametrize(
    ("cell", "meant"),
    [
        *dict.fromkeys(["true", "TRUE", "t", "1", "yes", "Y", " true "], "Audience Entered").items(),
        *dict.fromkeys(["false", "f", "0", "No", "n"], "Audience Exited").items(),
        *dict.fromkeys(["", " ", "2", "perhaps", "1.0"], None).items(),
    ],
)
def test_whether_somebody_entered_is_a_boolean(name: str, cell: str, meant: str | None) -> None:
    assert event(name, cell).get("event") == meant


def test_everything_else_stays_text_and_blank_cells_are_absent() -> None:
    row = "01,true, ,\u3000,"

    assert event("traits.a,traits.b,traits.c,traits.d,traits.e", row) == {
        "type": "track",
        "traits": {"a": "01", "b": "true"},
    }


# ── What somebody says ───────────────────────────────────────────────────────────────────────────


def test_a_column_goes_where_it_is_mapped() -> None:
    mapped = {"email": "traits.work_email", "mail": "email", "member": "entered", "junk": "", "First Name": "traits.n"}

    assert event("email,mail,member,junk,First Name", "1,2,no,4,5", mapped=mapped) == {
        "type": "track",
        "traits": {"work_email": "1", "email": "2", "n": "5"},
        "event": "Audience Exited",
    }


def test_a_dot_within_a_step_is_written_as_in_a_relay_toml() -> None:
    told = event(
        r"mail,traits.x\.y", "jane@example.com,1", mapped={"mail": r"properties.a\.b"}, constants={r"traits.c\.d": "2"}
    )

    assert told == {"type": "track", "properties": {"a.b": "jane@example.com"}, "traits": {"x.y": "1", "c.d": "2"}}
    with pytest.raises(ColumnError, match=r"is for traits\.x\\\.y;"):
        event(r"mail,traits.x\.y", "1,2", mapped={"mail": r"traits.x\.y"})


def test_every_row_has_the_constants() -> None:
    constants = {"audience": "vip", "entered": "yes", "type": "identify", "traits.plan": "pro"}

    assert event("email", "1", constants=constants) == {
        "type": "identify",
        "properties": {"audience_key": "vip"},
        "event": "Audience Entered",
        "traits": {"plan": "pro", "email": "1"},
    }


def test_rows_share_nothing() -> None:
    """A constant's object is made anew for each row."""
    reader = Columns(constants={"traits.plan": "pro"}).under(["email"])

    assert reader.event(["1"])["traits"] is not reader.event(["2"])["traits"]


def test_unknown_columns_are_all_told_with_what_to_do() -> None:
    with pytest.raises(ColumnError) as told:
        event("plan,email,seats,junk", "", mapped={"junk": ""})

    assert str(told.value) == (
        'nothing is known of the columns "plan", "seats"; '
        "say where each belongs with --map COLUMN=PATH, or leave it out with --map COLUMN="
    )


@pytest.mark.parametrize("header", ["email;audience", "email\taudience", "email|audience"])
def test_a_header_that_was_not_divided_is_recognised(header: str) -> None:
    with pytest.raises(ColumnError, match="what divides them with --delimiter"):
        Columns().under([header])


def test_a_table_without_a_header_is_told_without_whom_it_is_about() -> None:
    with pytest.raises(ColumnError, match="a header is needed") as told:
        event("vip,jane@example.com,true", "")

    assert "jane" not in str(told.value)


@pytest.mark.parametrize(
    ("header", "columns", "words"),
    [
        ("email,email", {}, 'more than one column "email"'),
        ("email,traits.email", {}, "more than one column or constant is for traits.email"),
        ("event,entered", {}, "more than one column or constant is for event"),
        ("traits.a,traits.a.b", {}, "more than one column or constant is for traits.a"),
        ("email", {"constants": {"traits.email": "x"}}, "more than one column or constant is for traits.email"),
        ("email", {"mapped": {"mail": "email"}}, 'no column "mail"; it has "email"'),
        ("mail", {"mapped": {"mail": "work_email"}}, '"work_email" is no path'),
        ("mail", {"mapped": {"mail": "traits..email"}}, '"traits..email" is no path'),
        ("email", {"constants": {"plan": "pro"}}, '"plan" is no path'),
        ("email", {"constants": {"entered": "perhaps"}}, '"perhaps" is nothing that entered can be'),
        ("email", {"constants": {"traits.plan": " "}}, '" " is nothing that traits.plan can be'),
    ],
)
def test_what_cannot_be_meant_is_told(header: str, columns: dict[str, dict[str, str]], words: str) -> None:
    with pytest.raises(ColumnError) as told:
        event(header, "", **columns)

    assert words in str(told.value)


def test_columns_that_are_left_out_may_have_one_name() -> None:
    assert event("email,,", "1,2,3", mapped={"": ""}) == {"type": "track", "traits": {"email": "1"}}


# ── Rows ─────────────────────────────────────────────────────────────────────────────────────────


def test_a_row_is_a_membership() -> None:
    (found,) = outcomes("email,audience,entered,timestamp\njane@example.com,vip,no,1970-01-01T00:00:01Z\n")

    assert isinstance(found, Membership)
    assert (found.audience_key, found.entered, found.occurred_at) == ("vip", False, 1_000)
    assert found.identifiers == (Identifier("email", "jane@example.com"),)


def test_rows_that_are_none_are_refused_by_reason() -> None:
    longest = 40_000 * "x"

    assert outcomes(
        "email,audience,entered\n"
        '"x\n'  # a quote that is never closed
        "x,vip\n"
        "x,vip,1,\n"
        "x,vip,perhaps\n"
        "x,,1\n"
        f"{longest},vip,1\n"
        f"{longest}\0,vip,1\n"
    ) == ["json", "shape", "shape", "direction", "audience", "too_large", "too_large"]


NAMES = st.text("abcxyz", min_size=1, max_size=3)
CELLS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8)


@given(st.dictionaries(NAMES, CELLS, min_size=1), st.data())
def test_every_cell_that_is_not_blank_stands_at_its_path_and_nothing_else(row: dict[str, str], data: Any) -> None:
    at = {name: data.draw(st.sampled_from(["properties", "traits", "context.traits"])) for name in row}
    header = [f"{at[name]}.{name}" for name in row]

    found = Columns().under(header).event(list(row.values()))

    expected: dict[str, Any] = {"type": "track"}
    for name, cell in row.items():
        if cell.strip():
            parent = expected
            for step in at[name].split("."):
                parent = parent.setdefault(step, {})
            parent[name] = cell
    assert found == expected
