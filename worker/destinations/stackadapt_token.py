"""What StackAdapt's token may do, and for how long."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any, Final

from worker.destinations.base import Probe
from worker.destinations.stackadapt_graphql import ask, data_of
from worker.errors import NeedsPerson, TryLater

SCOPES: Final = """\
query TokenInfo($after: String) {
  tokenInfo {
    expiresAt
    scopesByAdvertiser(first: 100, after: $after) {
      nodes { advertiser { id } scopes }
      pageInfo { hasNextPage endCursor }
    }
  }
}
"""
SOON: Final = timedelta(days=14)


def try_token(api_url: str, advertiser_id: str) -> Probe:
    """Look, page by page, for the advertiser among those that the token is for."""
    others: list[str] = []
    after: str | None = None
    while True:
        response = yield ask(api_url, SCOPES, {"after": after}, changes_nothing=True)
        token = _object(data_of(response).get("tokenInfo"))
        page = _object(token.get("scopesByAdvertiser"))
        for node in _list(page.get("nodes")):
            advertiser = str(_object(_object(node).get("advertiser")).get("id"))
            if advertiser != advertiser_id:
                others.append(advertiser)
            elif "WRITE" in _list(node.get("scopes")):
                return f"the token may write for advertiser {advertiser_id}{_life(token, response.headers)}"
            else:
                raise _not_writable(f"may only read advertiser {advertiser_id}")
        after = _next_page(_object(page.get("pageInfo")), after)
        if after is None:
            raise _not_writable(f"is not for advertiser {advertiser_id}, but for {_few(others)}")


def _not_writable(what: str) -> NeedsPerson:
    advice = "check advertiser_id, or ask StackAdapt for a read & write token (scope WRITE) of that advertiser"
    return NeedsPerson("advertiser not writable", f"the token {what}; {advice}")


def _few(advertisers: Sequence[str]) -> str:
    if not advertisers:
        return "no advertiser at all"
    more = f" and {len(advertisers) - 3} more" if len(advertisers) > 3 else ""  # noqa: PLR2004 - enough to see
    return f"{', '.join(advertisers[:3])}{more}"


def _next_page(info: Mapping[str, Any], before: str | None) -> str | None:
    """None: this was the last. A cursor that stands still ends it, too."""
    cursor = info.get("endCursor")
    return str(cursor) if info.get("hasNextPage") and cursor and cursor != before else None


# ── How long ─────────────────────────────────────────────────────────────────────────────────────


def _life(token: Mapping[str, Any], headers: Mapping[str, str]) -> str:
    """Days are told by the vendor's clock: a destination has none."""
    ends = _instant(token.get("expiresAt"))
    if ends is None:
        return ""
    now = _http_date(headers.get("date"))
    if now is None or ends - now >= SOON:
        return f", until {ends:%Y-%m-%d}"
    days = max(0, (ends - now).days)
    return f", but only until {ends:%Y-%m-%d}: {days} days are left; ask StackAdapt for a new one"


def _instant(told: object) -> datetime | None:
    try:
        read = datetime.fromisoformat(str(told))
    except ValueError:
        return None
    return read if read.tzinfo else read.replace(tzinfo=UTC)


def _http_date(told: str | None) -> datetime | None:
    try:
        return parsedate_to_datetime(told or "")
    except ValueError:
        return None


# ── Of an answer's parts, only what has the form that the schema says ────────────────────────────


def _object(part: object) -> Mapping[str, Any]:
    if not isinstance(part, dict):
        raise TryLater("malformed answer", "a part of tokenInfo is missing")
    return part


def _list(part: object) -> Sequence[Any]:
    return part if isinstance(part, list) else ()
