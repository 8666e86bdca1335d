"""How dead letters are shown: tables, and JSON. Only `record` and `draw_one` tell identifiers."""

from collections.abc import Sequence
from typing import Any, Final

from rich import box
from rich.table import Table
from rich.text import Text

from cli.durations import utc, write
from cli.letters_found import Found
from worker.store.deadletters import DeadLetter

MOST_ROWS: Final = 20
"""So many rows of a preview are shown, those with the most dead letters first."""


def summary(letter: DeadLetter) -> dict[str, Any]:
    """What `list --json` tells of one: nothing of the person."""
    return {
        "number": letter.number,
        "destination": letter.lane.destination,
        "audience": letter.lane.audience,
        "shard": letter.lane.shard,
        "entered": letter.change.entered,
        "buried_at": utc(letter.buried_ms),
        "reason": letter.reason,
        "superseded": letter.superseded,
    }


def record(letter: DeadLetter) -> dict[str, Any]:
    """Everything of one, with the person's identifiers: a line of an export."""
    change = letter.change
    return summary(letter) | {
        "arrived_at": utc(letter.arrived_ms),
        "occurred_at": utc(change.occurred_at),
        "identifiers": [{"type": each.type, "value": each.value} for each in change.identifiers],
        "message_id": change.message_id,
        "audience_name": change.audience_name,
        "properties": change.properties,
    }


def found_as_json(found: Found) -> dict[str, Any]:
    """What a replay or a discard is about."""
    return {
        "matched": found.total,
        "superseded": found.superseded.total(),
        "groups": [
            {
                "destination": group.destination,
                "audience": group.audience,
                "reason": group.reason,
                "count": count,
                "superseded": found.superseded[group],
            }
            for group, count in found.counts.most_common()
        ],
    }


def draw_list(letters: Sequence[DeadLetter], now_ms: int) -> Table:
    table = _table()
    table.add_column("number", justify="right", no_wrap=True)
    table.add_column("destination", overflow="fold")
    table.add_column("audience", overflow="fold")
    table.add_column("direction", no_wrap=True)
    table.add_column("buried", justify="right", no_wrap=True)
    table.add_column("reason", overflow="fold")
    table.add_column("superseded", no_wrap=True)
    for each in letters:
        table.add_row(
            str(each.number),
            each.lane.destination,
            Text(each.lane.audience),
            _direction(each),
            write((now_ms - each.buried_ms) / 1000),
            Text(each.reason),
            "yes" if each.superseded else "",
        )
    return table


def draw_one(letter: DeadLetter) -> Table:
    """Everything of one, line by line."""
    change = letter.change
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    facts = [
        ("number", str(letter.number)),
        ("destination", letter.lane.destination),
        ("audience", _audience(letter)),
        ("direction", _direction(letter)),
        ("reason", letter.reason),
        ("superseded", "yes: a newer change of this person was delivered" if letter.superseded else "no"),
        ("buried", utc(letter.buried_ms)),
        ("arrived", utc(letter.arrived_ms)),
        ("occurred", utc(change.occurred_at)),
        *((each.type, each.value) for each in change.identifiers),
        ("message id", change.message_id),
        *((f"property {name}", str(value)) for name, value in change.properties.items()),
    ]
    for name, fact in facts:
        table.add_row(Text(name, "dim"), Text(fact))
    return table


def draw_found(found: Found) -> Table:
    """How many there are, by destination, audience and reason."""
    table = _table()
    table.add_column("destination", overflow="fold")
    table.add_column("audience", overflow="fold")
    table.add_column("reason", overflow="fold")
    table.add_column("dead letters", justify="right", no_wrap=True)
    table.add_column("superseded", justify="right", no_wrap=True)
    for group, count in found.counts.most_common(MOST_ROWS):
        superseded = found.superseded[group]
        table.add_row(
            group.destination,
            Text(group.audience),
            Text(group.reason),
            f"{count:,}",
            f"{superseded:,}" if superseded else "",
        )
    more = len(found.counts) - MOST_ROWS
    if more > 0:
        table.add_row("", Text(f"and {more:,} more rows", "dim"))
    return table


def _direction(letter: DeadLetter) -> str:
    return "enters" if letter.change.entered else "leaves"


def _audience(letter: DeadLetter) -> str:
    label = letter.change.audience_name
    return f"{letter.lane.audience} ({label})" if label else letter.lane.audience


def _table() -> Table:
    return Table(box=box.SIMPLE_HEAD, padding=(0, 1), collapse_padding=True, pad_edge=False)
