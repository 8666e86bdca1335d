"""What Taboola tells of audiences and accounts. Numbers are kept to the last digit."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from worker.destinations.taboola_terms import Shown
from worker.errors import TryLater

_EXACT_FLOATS: Final = 2**53
_MAX_DIGITS: Final = 100


class Audience(NamedTuple):
    """An audience as Taboola tells of it."""

    id: int
    name: str
    shown: Shown
    account: str = ""
    onboarded: bool = True
    """Whether it was made by onboarding: others (pixel, lookalike, DMP) take no users. Those have a type."""
    size: int | None = None
    """People seen in Taboola's network in the last 30 days, by its estimate (changelog "audience sizes")."""


def audiences(answer: dict[str, Any]) -> list[Audience]:
    """The rows of `my_audiences`. Raises `TryLater` where there is no list."""
    rows = answer.get("results", ...)
    if rows is not None and not isinstance(rows, list):
        raise TryLater("malformed answer", "a list of audiences without results")
    found = [_audience(row) for row in rows or () if isinstance(row, dict)]
    return [each for each in found if each is not None]


def created(answer: dict[str, Any], name: str) -> Audience | None:
    """The audience that an answer to `create` tells of; None: it does not tell its id."""
    audience_id = whole(answer.get("audience_id"))
    if audience_id is None:
        return None
    shown = Shown(
        hours=whole(answer.get("ttl_in_hours")),
        excluded=_boolean(answer.get("exclude_from_campaigns")),
        source=_text(answer.get("integration_source")) or None,
    )
    return Audience(audience_id, name, shown)


def named(listed: Sequence[Audience], name: str, account: str) -> Audience | None:
    """The audience of that name that takes users, the account's own before one that it merely sees."""
    found = [each for each in listed if each.onboarded and each.name == name]
    return next((each for each in found if each.account == account), found[0] if found else None)


class Allowed(NamedTuple):
    """The accounts that credentials may act for."""

    ids: Mapping[str, str]
    """Their alphabetic ids, by their numbers."""
    complete: bool
    """Whether these are all of them."""


def allowed_accounts(answer: dict[str, Any]) -> Allowed:
    """What `users/current/allowed-accounts` lists."""
    rows = [row for row in answer.get("results") or () if isinstance(row, dict)]
    metadata = answer.get("metadata")
    total = whole(metadata.get("total")) if isinstance(metadata, dict) else None
    ids = {str(row.get("id")): _text(row.get("account_id")) for row in rows}
    return Allowed(ids, complete=total is None or total <= len(rows))


def _audience(row: dict[str, Any]) -> Audience | None:
    audience_id = whole(row.get("id"))
    if audience_id is None:
        return None
    return Audience(
        audience_id,
        _text(row.get("display_name")),
        Shown(days=whole(row.get("look_back_window")), excluded=_boolean(row.get("exclude_from_campaigns"))),
        account=_text(row.get("advertiser_id")),
        onboarded=row.get("type") is None,
        size=whole(row.get("audience_size")),
    )


def whole(value: object) -> int | None:
    """A number from 0 as it was told, to the last digit: an integer, or one as text or with decimals of zero.

    >>> whole(9007199254740993), whole("49"), whole(49.0), whole(49.5), whole(True), whole(1e300)
    (9007199254740993, 49, 49, None, None, None)
    """
    if isinstance(value, str):
        return int(value) if value.isascii() and value.isdecimal() and len(value) <= _MAX_DIGITS else None
    if isinstance(value, float):
        return int(value) if value.is_integer() and 0 <= value < _EXACT_FLOATS else None
    if isinstance(value, int) and not isinstance(value, bool):
        return value if 0 <= value < 10**_MAX_DIGITS else None
    return None


def _boolean(value: object) -> bool | None:
    return value if isinstance(value, bool) else None


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
