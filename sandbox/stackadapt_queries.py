"""What StackAdapt's schema lets one read."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from sandbox.stackadapt_access import Advertisers, StackAdaptSwitches, advertiser_json
from sandbox.stackadapt_store import Profile, ProfileStore, clean_email

SOURCES: Final = frozenset({"SEGMENT_IO", "USER_UPLOADED"})
"""The part of the schema's `Source` that can arise here."""


class Queries:
    """The fields of `Query`. `fields` is what GraphQL resolves them on."""

    def __init__(
        self, store: ProfileStore, advertisers: Advertisers, switches: Callable[[], StackAdaptSwitches]
    ) -> None:
        self._switches = switches
        self._store = store
        self._advertisers = advertisers
        self.fields: Mapping[str, Callable[..., Any]] = {
            "tokenInfo": self._token_info,
            "advertisers": self._all_advertisers,
            "cdpProfiles": self._cdp_profiles,
            "profileMappingStatus": self._mapping_status,
        }

    def _token_info(self, _info: object) -> dict[str, Any]:
        nodes = [
            {"advertiser": advertiser_json(each), "scopes": self._advertisers.scopes(each)}
            for each in self._advertisers.listed()
        ]
        expires_at = self._switches().token_expires_at
        return {
            "createdAt": iso(0),
            "expiresAt": None if expires_at is None else iso(expires_at),
            "name": "sandbox",
            "scopesByAdvertiser": lambda _info, **page: _connection(nodes, **page),
        }

    def _all_advertisers(self, _info: object, **page: Any) -> dict[str, Any]:
        return _connection([advertiser_json(each) for each in self._advertisers.listed()], **page)

    def _cdp_profiles(self, _info: object, **arguments: Any) -> dict[str, Any]:
        advertiser = self._advertisers.readable(arguments["advertiserId"])
        wanted = arguments.get("filterBy") or {}
        everyone = self._store.profiles.get(advertiser, {}).values()
        found = [_profile_json(profile) for profile in everyone if self._fits(profile, wanted)]
        start = int(wanted.get("paginationToken") or 0)
        limit = wanted.get("limit") or len(found) or 1
        return {
            "size": len(found),
            "nextToken": str(start + limit) if start + limit < len(found) else None,
            "prevToken": str(max(0, start - limit)) if start else None,
            "profiles": lambda _info, **page: _connection(found[start : start + limit], **page),
        }

    def _fits(self, profile: Profile, wanted: Mapping[str, Any]) -> bool:
        domains, source = wanted.get("filterDomains"), wanted.get("source")
        inside, outside = wanted.get("listId"), wanted.get("excludeListId")
        return (
            (wanted.get("email") is None or clean_email(wanted["email"]) == profile.email)
            and (inside is None or self._listed(profile, inside))
            and (outside is None or not self._listed(profile, outside))
            and (domains is None or profile.email.partition("@")[2] in domains)
            and (source is None or source in profile.sources)
        )

    def _listed(self, profile: Profile, list_id: str) -> bool:
        found = self._store.lists.get(list_id)
        return found is not None and profile.email in found.emails

    def _mapping_status(self, _info: object, **arguments: Any) -> str | None:
        advertiser = self._advertisers.readable(arguments["advertiserId"])
        return self._store.status(advertiser, arguments["mappableId"])


def iso(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _profile_json(profile: Profile) -> dict[str, Any]:
    return {
        "email": profile.email,
        "marketingStatus": "OPTED_IN" if profile.opted_in else "INDETERMINATE",
        "sources": [source for source in profile.sources if source in SOURCES],
    }


def _connection(
    nodes: Sequence[Mapping[str, Any]],
    *,
    after: str | None = None,
    before: str | None = None,
    first: int | None = None,
    last: int | None = None,
) -> dict[str, Any]:
    """Relay's pages; a cursor is the number of its node, from 1."""
    start, end = int(after or 0), int(before) - 1 if before else len(nodes)
    if first is not None:
        end = min(end, start + first)
    if last is not None:
        start = max(start, end - last)
    edges = [{"cursor": str(number), "node": nodes[number - 1]} for number in range(start + 1, end + 1)]
    info = {
        "startCursor": edges[0]["cursor"] if edges else None,
        "endCursor": edges[-1]["cursor"] if edges else None,
        "hasNextPage": end < len(nodes),
        "hasPreviousPage": start > 0,
    }
    page = [edge["node"] for edge in edges]
    return {"edges": edges, "nodes": page, "pageInfo": info, "totalCount": len(nodes)}
