"""The audiences of destinations as their vendors show them, beside what waits in their lanes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from cli.json_lines import printable
from worker.destinations.base import AudienceFacts
from worker.store.status import LaneStatus

NOT_TOLD: Final = "–"  # noqa: RUF001 - an en dash, as in tables
DECIMALS: Final = 4

Number = int | float | None


class Row(NamedTuple):
    """One audience. `id` is None where the vendor does not show it."""

    audience: str
    id: str | None
    numbers: Mapping[str, Number]
    waiting: int
    """Changes in its lanes."""


@dataclass(frozen=True, slots=True)
class Listing:
    """One destination. With a `reason`, its vendor did not answer; not `told`: it has no such request."""

    name: str
    kind: str
    vendor: str
    told: bool
    rows: Sequence[Row] = ()
    reason: str | None = None
    advice: str | None = None


def rows_of(facts: Sequence[AudienceFacts], lanes: Sequence[LaneStatus]) -> list[Row]:
    """What the vendor shows, and audiences that it does not (yet), for which something waits. By name."""
    waiting: dict[str, int] = {}
    for each in lanes:
        if each.waiting and not each.lane.is_erasures:
            waiting[each.lane.audience] = waiting.get(each.lane.audience, 0) + each.waiting
    shown = [Row(each.audience, each.id, each.numbers, waiting.get(each.audience, 0)) for each in facts]
    known = {each.audience for each in facts}
    others = [Row(audience, None, {}, count) for audience, count in waiting.items() if audience not in known]
    return sorted([*shown, *others], key=lambda row: (row.audience.casefold(), row.id or ""))


def as_json(listings: Sequence[Listing]) -> dict[str, Any]:
    """The form of `audiences --json`."""
    return {
        "destinations": [
            {
                "name": each.name,
                "kind": each.kind,
                "ok": each.reason is None,
                "told": each.told,
                "reason": each.reason,
                "advice": each.advice,
                "audiences": [row._asdict() | {"numbers": dict(row.numbers)} for row in each.rows],
            }
            for each in listings
        ]
    }


def draw(listings: Sequence[Listing]) -> RenderableType:
    """A table for each destination, for terminals from 80 columns on."""
    return Group(*(part for each in listings for part in _drawn(each)))


def _drawn(each: Listing) -> list[RenderableType]:
    parts: list[RenderableType] = [Text.assemble((each.name, "bold"), f" ({each.kind})")]
    if each.reason is not None:
        parts.append(Text.assemble("  ", ("failed", "bold red"), f"  {each.reason}"))
        parts += [Text(f"  {each.advice}", "dim")] if each.advice else []
    elif not each.told:
        parts.append(Text(f"  {each.vendor} has no such request; see its own interface"))
    elif not each.rows:
        parts.append(Text("  no audiences"))
    parts.append(_table(each.rows) if each.rows else Text())
    return parts


def _table(rows: Sequence[Row]) -> Table:
    names = list(dict.fromkeys(name for row in rows for name in row.numbers))
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), collapse_padding=True, pad_edge=False)
    table.add_column("audience", overflow="fold")
    table.add_column("id", overflow="fold")
    for name in (*names, "waiting"):
        table.add_column(name.replace("_", " "), justify="right")
    for row in rows:
        numbers = [_number(row.numbers.get(name)) for name in names]
        table.add_row(
            Text(printable(row.audience)), Text(row.id or NOT_TOLD), *numbers, f"{row.waiting:,}" if row.waiting else ""
        )
    return table


def _number(number: Number) -> str:
    """As the vendor told it, to four decimals."""
    return NOT_TOLD if number is None else f"{round(number, DECIMALS):,}"
