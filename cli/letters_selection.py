"""Which dead letters a command is about: by destination, audience, reason, time and number."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from fnmatch import fnmatchcase
from functools import wraps
from typing import Any, Final

import click

from cli.access import expect_known, known
from cli.durations import Moment
from worker.settings import Settings
from worker.store.deadletters import DeadLetter, DeadLetters
from worker.store.store import Store

_OPTIONS: Final = (
    click.option("--destination", "destinations", multiple=True, metavar="NAME", help="Only of this one; repeatable."),
    click.option("--audience", metavar="PATTERN", help="The vendor's name for the audience, or a shell pattern."),
    click.option("--reason", metavar="TEXT", help="A part of the reason, or a shell pattern."),
    click.option("--since", type=Moment(), help="Buried since: 2026-01-31T12:00Z, or so long ago: 2h, 3d."),
    click.option("--until", type=Moment(), help="Buried before; written as --since."),
    click.option("--number", "numbers", type=int, multiple=True, help="This one of a destination; repeatable."),
)


@dataclass(frozen=True, slots=True)
class Filters:
    """What a dead letter must be like; what is not given excludes none."""

    destinations: tuple[str, ...] = ()
    audience: str | None = None
    reason: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    numbers: tuple[int, ...] = ()

    @property
    def given(self) -> bool:
        """Whether anything is asked for."""
        return self != Filters()

    def take(self, letter: DeadLetter) -> bool:
        return (
            (self.audience is None or fnmatchcase(letter.lane.audience, self.audience))
            and (self.reason is None or _speaks_of(letter.reason.lower(), self.reason.lower()))
            and (self.since is None or letter.buried_ms >= _ms(self.since))
            and (self.until is None or letter.buried_ms < _ms(self.until))
        )


def filtered(command: Callable[..., None]) -> Callable[..., None]:
    """Adds the options to a command, which gets them as `filters`."""

    @wraps(command)
    def with_filters(
        destinations: tuple[str, ...],
        audience: str | None,
        reason: str | None,
        since: datetime | None,
        until: datetime | None,
        numbers: tuple[int, ...],
        **rest: Any,
    ) -> None:
        command(filters=Filters(destinations, audience, reason, since, until, numbers), **rest)

    for option in reversed(_OPTIONS):
        option(with_filters)
    return with_filters


def destinations(filters: Filters, relay: Settings, store: Store) -> list[str]:
    """The destinations to look at. Raises `ConfigurationError` for one that nobody knows."""
    for name in filters.destinations:
        expect_known(name, relay, store)
    names = list(dict.fromkeys(filters.destinations)) or known(relay, store)
    if filters.numbers and len(names) > 1:
        raise click.UsageError("each destination has its own numbers; name one with --destination")
    return names


def select(filters: Filters, letters: DeadLetters, *, newest_first: bool = False) -> Iterator[DeadLetter]:
    """The dead letters of one destination that the filters take, the longest buried first, read page by page."""
    numbers = _numbers(filters, letters)
    if newest_first:
        numbers.reverse()
    return filter(filters.take, letters.read(numbers))


def _numbers(filters: Filters, letters: DeadLetters) -> list[int]:
    if filters.numbers:
        return sorted(set(filters.numbers))
    return letters.numbers(
        since_ms=_ms(filters.since) if filters.since else None, until_ms=_ms(filters.until) if filters.until else None
    )


def _speaks_of(reason: str, text: str) -> bool:
    return text in reason or fnmatchcase(reason, text)


def _ms(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)
