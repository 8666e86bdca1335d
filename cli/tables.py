"""The tables of `status`, for terminals from 80 columns on."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Final

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from cli.durations import write
from cli.overview import BESIDE, Overview
from worker.destinations.base import DeadLetterSettings
from worker.edges import API
from worker.store.status import COUNTERS, Hold, LaneStatus

MOST_ROWS: Final = 20
"""So many lanes of a destination are shown, the held and the oldest first."""
WIDE: Final = 100
"""From so many columns on, numbers are written in full."""
MILLION: Final = 1_000_000
WORDS_BESIDE: Final = {
    "duplicates": "duplicates left out",
    "invalid_unnamed": "delivered but called invalid",
    "expired": "dead letters expired",
    "erased": "erased on request",
}


def draw(overviews: Sequence[Overview], refused: Mapping[str, int], width: int) -> RenderableType:
    """Every destination's counters, then holds with what to do, lanes, and what was refused."""
    parts: list[RenderableType] = [_counters(overviews, wide=width >= WIDE)]
    if any(_counted_beside(each) for each in overviews):
        parts.append(Text("".join(_beside(each) for each in overviews if _counted_beside(each))))
    if any(each.status.left_out for each in overviews):
        parts.append(Text("".join(_left_out(each) for each in overviews if each.status.left_out)))
    parts += [_held(each, each.hold) for each in overviews if each.hold]
    parts += [_notice(each, subject, words) for each in overviews for subject, words in each.status.notices.items()]
    parts += [_expiring(each, each.kept) for each in overviews if each.kept and each.expiring]
    parts += [_unaccounted(each) for each in overviews if each.status.unaccounted]
    if any(each.status.lanes for each in overviews):
        parts.append(_lanes(overviews))
    if refused:
        parts.append(_refused(refused))
    return Group(*parts)


# ── Destinations ─────────────────────────────────────────────────────────────────────────────────


def _counters(overviews: Sequence[Overview], *, wide: bool) -> Table:
    table = _table()
    table.add_column("destination", overflow="fold")
    for name in (*COUNTERS, "oldest"):
        table.add_column(name, justify="right", no_wrap=True)
    for each in overviews:
        name = each.name if each.kind else f"{each.name} (not configured)"
        numbers = [_number(each.status.counters[counter], wide=wide) for counter in COUNTERS]
        table.add_row(Text(name), *numbers, _age(each.oldest_seconds), style="yellow" if each.hold else "")
    return table


def _number(number: int, *, wide: bool) -> str:
    return f"{number:,}" if wide or number < MILLION else f"{number / MILLION:,.1f}M"


def _beside(each: Overview) -> str:
    counts = (f"{WORDS_BESIDE[name]} {count:,}" for name, count in _counted_beside(each).items())
    return f"{each.name}: {', '.join(counts)}\n"


def _counted_beside(each: Overview) -> dict[str, int]:
    counters = each.status.counters
    return {name: counters[name] for name in BESIDE if counters.get(name)}


def _left_out(each: Overview) -> str:
    counts = sorted(each.status.left_out.items(), key=lambda item: -item[1])
    return f"{each.name}: of accepted events, left out {', '.join(f'{what} {count:,}' for what, count in counts)}\n"


def _notice(each: Overview, subject: str, words: str) -> Text:
    about = "" if subject == API else f" {subject}"
    return Text.assemble((f"{each.name}{about}: ", "bold yellow"), f"{words}\n")


def _held(each: Overview, hold: Hold) -> Text:
    return Text.assemble(
        (f"{each.name}: held {_span(hold, each.status.now_ms)}\n", "bold yellow"),
        f"  {hold.reason}\n",
        (f"  {_advice(each, hold)}\n", "dim"),
    )


def _advice(each: Overview, hold: Hold) -> str:
    if each.status.hold is None:
        return f"Its credential is held. Before that ends: audience-relay release {each.name}"
    if hold.until_ms is None:
        return f"To go on: audience-relay release {each.name}"
    return f"Tried again then. Now: audience-relay release {each.name}"


def _expiring(each: Overview, kept: DeadLetterSettings) -> Text:
    count = each.expiring
    return Text.assemble(
        (f"{each.name}: {count:,} dead letter{'' if count == 1 else 's'} will soon be discarded\n", "bold yellow"),
        f"  There are {each.dead_letters.total:,}, the oldest buried {_age(each.buried_seconds)} ago; at most "
        f"{kept.max_count:,} are kept, for {write(timedelta(days=kept.max_age_days).total_seconds())}. To save them:\n",
        (f"  audience-relay dead-letters export --destination {each.name} --output FILE\n", "dim"),
    )


def _unaccounted(each: Overview) -> Text:
    number = each.status.unaccounted
    return Text(f"{each.name}: {number:,} changes are unaccounted for: a fault in this software\n", "bold red")


# ── Lanes ────────────────────────────────────────────────────────────────────────────────────────


def _lanes(overviews: Sequence[Overview]) -> Table:
    table = _table()
    table.add_column("destination", overflow="fold")
    table.add_column("audience", overflow="fold", max_width=40)
    table.add_column("waiting", justify="right", no_wrap=True)
    table.add_column("oldest", justify="right", no_wrap=True)
    table.add_column("", overflow="fold")
    for each in overviews:
        for row in _rows(each):
            table.add_row(*row)
    return table


def _rows(each: Overview) -> Iterator[tuple[Text | str, ...]]:
    lanes = sorted(each.status.lanes, key=_urgency)
    for number, lane in enumerate(lanes[:MOST_ROWS]):
        yield (
            "" if number else each.name,
            Text(_audience(lane)),
            f"{lane.waiting:,}",
            _age(each.lane_seconds(lane)),
            _state(lane, each.status.now_ms),
        )
    more = len(lanes) - MOST_ROWS
    if more > 0:
        yield "", Text(f"and {more:,} more lanes", "dim"), "", "", ""


def _urgency(lane: LaneStatus) -> tuple[bool, float]:
    """Held lanes first, then by age."""
    return lane.hold is None, lane.oldest_ms or float("inf")


def _audience(lane: LaneStatus) -> str:
    if lane.lane.is_erasures:
        return "(persons to be forgotten)"
    shard = f" (shard {lane.lane.shard})" if lane.lane.shard else ""
    return f"{lane.lane.audience}{shard}"


def _state(lane: LaneStatus, now_ms: int) -> Text:
    if lane.hold is not None:
        return Text.assemble((f"held {_span(lane.hold, now_ms)}: ", "yellow"), lane.hold.reason)
    return Text("in flight", "green") if lane.leased else Text()


# ── What was refused ─────────────────────────────────────────────────────────────────────────────


def _refused(refused: Mapping[str, int]) -> Text:
    counts = sorted(refused.items(), key=lambda item: -item[1])
    return Text(f"source events refused: {', '.join(f'{reason} {count:,}' for reason, count in counts)}")


# ── Cells ────────────────────────────────────────────────────────────────────────────────────────


def _table() -> Table:
    return Table(box=box.SIMPLE_HEAD, padding=(0, 1), collapse_padding=True, pad_edge=False)


def _age(seconds: float | None) -> str:
    return "" if seconds is None else write(seconds)


def _span(hold: Hold, now_ms: int) -> str:
    """`for 2m 5s, 10s left, attempt 3`"""
    lasted = f"for {write((now_ms - hold.since_ms) / 1000)}"
    left = "until released" if hold.until_ms is None else f"{write((hold.until_ms - now_ms) / 1000)} left"
    attempts = f", attempt {hold.attempts}" if hold.attempts > 1 else ""
    return f"{lasted}, {left}{attempts}"
