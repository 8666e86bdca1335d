"""What a Taboola audience is created with, for good: as it was wanted, and as Taboola shows it."""

from collections.abc import Mapping
from typing import Final, NamedTuple

from worker.destinations.base import FoldedBatch, PropertyReading

TTL: Final = "ttl_in_hours"
EXCLUDED: Final = "exclude_from_campaigns"
LONGEST_TTL: Final = 2**31 - 1
"""In hours. Taboola refused 99999999999; an integer of 32 bits is what others send."""
_SETTINGS: Final = "context.personas.audience_settings"
STATED: Final = (
    PropertyReading(TTL, "NUMBER", (f"{_SETTINGS}.{TTL}",)),
    PropertyReading(EXCLUDED, "BOOLEAN", (f"{_SETTINGS}.{EXCLUDED}",)),
)
"""What an event may state of the audience that it is about."""


class Wanted(NamedTuple):
    hours: int
    excluded: bool
    source: str | None = None
    """The partner's name (`integration_source`)."""

    def stated_in(self, batch: FoldedBatch) -> "Wanted":
        """With what the newest entry says that says anything of it; a time to live out of bounds is not heard."""
        stated: dict[str, object] = {}
        stating = (each for each in batch.entries if each.properties)
        for entry in sorted(stating, key=lambda each: each.position):
            stated.update(entry.properties)
        hours, excluded = _hours(stated.get(TTL)), stated.get(EXCLUDED)
        return self._replace(
            hours=self.hours if hours is None else hours,
            excluded=excluded if isinstance(excluded, bool) else self.excluded,
        )

    def body(self, name: str) -> Mapping[str, object]:
        """The body of a creation (page "create fields")."""
        body = {"audience_name": name, TTL: self.hours, EXCLUDED: self.excluded}
        return body if self.source is None else body | {"integration_source": self.source}


class Shown(NamedTuple):
    """None: that answer does not tell. `my_audiences` tells days where `create` tells hours."""

    hours: int | None = None
    days: int | None = None
    excluded: bool | None = None
    source: str | None = None


def notice(audience_id: int, wanted: Wanted, shown: Shown) -> str | None:
    """What somebody should know of an audience that is not as it was wanted; None: it is."""
    differences = [each for each in (_life(wanted, shown), _exclusion(wanted, shown), _source(wanted, shown)) if each]
    if not differences:
        return None
    return (
        f"Taboola's audience {audience_id} {' and '.join(differences)}. That is final there: ask for what it has, here "
        "or in the events' audience settings, or use an audience of another name"
    )


def _life(wanted: Wanted, shown: Shown) -> str:
    if shown.hours is not None:
        same, has = shown.hours == wanted.hours, f"{shown.hours} hours"
    else:
        same = shown.days in {None, wanted.hours // 24, -(-wanted.hours // 24)}
        has = f"{shown.days} days"
    return "" if same else f"keeps people for {has}, not for {wanted.hours} hours"


def _exclusion(wanted: Wanted, shown: Shown) -> str:
    if shown.excluded in {None, wanted.excluded}:
        return ""
    return f"has {EXCLUDED} = {str(shown.excluded).lower()}, not {str(wanted.excluded).lower()}"


def _source(wanted: Wanted, shown: Shown) -> str:
    if None in {wanted.source, shown.source} or wanted.source == shown.source:
        return ""
    return f'has integration_source = "{shown.source}", not "{wanted.source}"'


def _hours(stated: object) -> int | None:
    if isinstance(stated, bool) or not isinstance(stated, int | float) or not 1 <= stated <= LONGEST_TTL:
        return None
    return int(stated) if stated == int(stated) else None
