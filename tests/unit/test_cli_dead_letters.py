"""Which dead letters a command is about, and how they are shown and written."""

import io
import json
import stat
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from rich.console import Console, RenderableType

from cli.letters_export import FileExists
from cli.letters_export import write as export
from cli.letters_forms import MOST_ROWS, draw_found, draw_list, draw_one, found_as_json, record, summary
from cli.letters_found import Found
from cli.letters_selection import Filters
from worker.contract import Change, Identifier, LaneKey
from worker.errors import StoreUnavailable
from worker.store.deadletters import DeadLetter

NOW = 1_795_000_000_000
DAY_MS = 86_400_000


def letter(
    number: int = 1,
    audience: str = "vip",
    reason: str = "invalid identifier",
    *,
    buried_ms: int = NOW,
    superseded: bool = False,
) -> DeadLetter:
    people = (Identifier("email", f"p{number}@example.com"), Identifier("device", f"d{number}"))
    change = Change(
        entered=False,
        occurred_at=NOW - 2000,
        identifiers=people,
        message_id=f"m-{number}",
        audience_name="The best",
        properties={"plan": "gold", "age": 3},
    )
    lane = LaneKey("shop", audience)
    return DeadLetter(number, lane, reason, buried_ms, NOW - 1000, change, superseded=superseded)


def drawn(table: RenderableType, width: int = 80) -> str:
    output = io.StringIO()
    Console(file=output, width=width).print(table)
    return output.getvalue()


# ── Filters ──────────────────────────────────────────────────────────────────────────────────────


def test_no_filter_takes_all() -> None:
    assert Filters().take(letter())
    assert not Filters().given


@pytest.mark.parametrize(
    "filters",
    [
        Filters(audience="vip"),
        Filters(audience="v*"),
        Filters(reason="INVALID"),
        Filters(reason="inv*fier"),
        Filters(since=datetime.fromtimestamp(NOW / 1000, UTC)),
        Filters(until=datetime.fromtimestamp(NOW / 1000 + 1, UTC)),
        Filters(audience="vip", reason="identifier"),
    ],
)
def test_a_filter_takes_what_is_like_it(filters: Filters) -> None:
    assert filters.take(letter())
    assert filters.given


@pytest.mark.parametrize(
    "filters",
    [
        Filters(audience="vi"),
        Filters(audience="VIP"),
        Filters(reason="other"),
        Filters(reason="inv*x"),
        Filters(since=datetime.fromtimestamp(NOW / 1000 + 1, UTC)),
        Filters(until=datetime.fromtimestamp(NOW / 1000, UTC)),
        Filters(audience="vip", reason="other"),
    ],
)
def test_a_filter_leaves_what_is_not(filters: Filters) -> None:
    assert not filters.take(letter())


def test_a_reason_may_have_what_looks_like_a_pattern() -> None:
    assert Filters(reason="[0]").take(letter(reason="field ids[0] is wrong"))


# ── Forms ────────────────────────────────────────────────────────────────────────────────────────


def test_the_list_tells_nothing_of_the_person() -> None:
    one = letter(7, buried_ms=NOW - 2 * DAY_MS, superseded=True)

    text, told = drawn(draw_list([one], NOW), 200), json.dumps(summary(one))

    assert text.split()[-8:] == ["7", "shop", "vip", "leaves", "2d", "invalid", "identifier", "yes"]
    for secret in ("p7", "d7", "m-7", "gold"):
        assert secret not in text
        assert secret not in told


def test_a_record_tells_everything() -> None:
    assert record(letter(7)) == {
        "number": 7,
        "destination": "shop",
        "audience": "vip",
        "shard": 0,
        "audience_name": "The best",
        "entered": False,
        "reason": "invalid identifier",
        "superseded": False,
        "buried_at": "2026-11-18T11:06:40.000Z",
        "arrived_at": "2026-11-18T11:06:39.000Z",
        "occurred_at": "2026-11-18T11:06:38.000Z",
        "identifiers": [{"type": "email", "value": "p7@example.com"}, {"type": "device", "value": "d7"}],
        "message_id": "m-7",
        "properties": {"plan": "gold", "age": 3},
    }


def test_one_is_shown_with_all_its_identifiers() -> None:
    text = drawn(draw_one(letter(7, superseded=True)))

    for fact in ("p7@example.com", "d7", "leaves", "vip (The best)", "property plan", "gold", "yes: a newer change"):
        assert fact in text


def test_a_preview_counts_by_audience_and_reason_the_most_first() -> None:
    found = Found()
    for each in (letter(1, "a"), letter(2, "b"), letter(3, "b", superseded=True), letter(4, "b", "other")):
        found.add(each)

    assert found_as_json(found) == {
        "matched": 4,
        "superseded": 1,
        "groups": [
            {"destination": "shop", "audience": "b", "reason": "invalid identifier", "count": 2, "superseded": 1},
            {"destination": "shop", "audience": "a", "reason": "invalid identifier", "count": 1, "superseded": 0},
            {"destination": "shop", "audience": "b", "reason": "other", "count": 1, "superseded": 0},
        ],
    }


def test_of_a_long_preview_the_most_frequent_are_shown() -> None:
    found = Found()
    for number in range(MOST_ROWS + 3):
        found.add(letter(number, f"audience{number}"))

    assert "and 3 more rows" in drawn(draw_found(found))


@pytest.mark.parametrize("width", [80, 200])
def test_the_tables_fit_the_terminal(width: int) -> None:
    long = letter(123_456, "an audience " * 10, "a reason that the vendor gives at length " * 5, superseded=True)
    found = Found()
    found.add(long)

    for table in (draw_list([long], NOW), draw_found(found), draw_one(long)):
        assert max(len(line) for line in drawn(table, width).splitlines()) <= width


# ── Export ───────────────────────────────────────────────────────────────────────────────────────


def test_an_export_is_a_line_for_each_in_a_file_that_only_its_owner_may_read(tmp_path: Path) -> None:
    path = tmp_path / "letters.ndjson"

    assert export([letter(1), letter(2)], path, force=False) == 2
    assert [json.loads(line) for line in path.read_text().splitlines()] == [record(letter(1)), record(letter(2))]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_file_that_is_there_stays_unless_it_may_be_replaced(tmp_path: Path) -> None:
    path = tmp_path / "letters.ndjson"
    path.write_text("older")
    path.chmod(0o644)

    with pytest.raises(FileExists, match="exists; name another, or replace it with --force"):
        export([letter()], path, force=False)
    assert path.read_text() == "older"

    export([letter()], path, force=True)

    assert json.loads(path.read_text())["number"] == 1
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("force", [False, True])
def test_an_export_that_fails_leaves_nothing_behind_and_what_was_there(tmp_path: Path, *, force: bool) -> None:
    path = tmp_path / "letters.ndjson"
    if force:
        path.write_text("older")

    def letters() -> Iterator[DeadLetter]:
        yield letter()
        raise StoreUnavailable("gone")

    with pytest.raises(StoreUnavailable, match="gone"):
        export(letters(), path, force=force)

    assert [each.read_text() for each in tmp_path.iterdir()] == (["older"] if force else [])
