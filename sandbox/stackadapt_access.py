"""Who may call StackAdapt, and for which advertisers."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

EXAMPLE_ADVERTISER: Final = "2029"
MAX_BODY_BYTES: Final = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class StackAdaptSwitches:
    """What may differ from one token to the next, and what StackAdapt leaves open, each with its likely value."""

    refused_tokens: frozenset[str] = frozenset()
    """Tokens that are answered with 401."""
    expired_tokens: frozenset[str] = frozenset()
    """Tokens that are answered with 200 and an error that says so, as was observed."""
    advertisers: frozenset[str] | None = None
    """Those that the token may use; None: every one."""
    read_only_advertisers: frozenset[str] = frozenset()
    forbidden_as: Literal["user_errors", "errors", "status_403"] = "user_errors"
    """How a foreign or read-only advertiser is told."""
    token_expires_at: float | None = None
    """What `tokenInfo` says of the token's end, in seconds since the epoch; nothing comes of it."""
    providers: frozenset[str] | None = frozenset({"segment_io"})
    """The values of `externalProvider` and `mappableType` that are known; None: any."""
    accept_profile_list: bool = False
    """Whether `profiles` may be a JSON list; the vendor's own connector sends a string that holds one."""
    max_profiles: int | None = None
    """Profiles in one `upsertProfiles`; the vendor's own maximum is not published."""
    max_body_bytes: int | None = MAX_BODY_BYTES
    mapping_delay_seconds: float = 0.0
    ingestion_delay_seconds: float = 0.0
    """How long after the request profiles are applied; the vendor says up to four hours."""
    sync_id: Literal["same_content", "any_content", "ignored"] = "same_content"
    """What is taken only once under one `syncId`: the same profiles, or whatever comes second; or it means nothing."""
    membership_key: Literal["external_id", "name"] = "external_id"
    """Which field of an external audience tells it from others."""
    invalid_rows: Literal["dropped", "named", "unnamed"] = "dropped"
    """A row without a valid email is dropped at ingestion; or told by its place, and the others are taken; or the
    whole request is refused, without a place."""
    external_id_from_user_id: bool = False
    """Whether deletion by external id finds a profile by its `userId` when no field maps to `external_id`."""
    unknown_profiles: Literal["ignored", "named", "unnamed"] = "ignored"
    """The deletion of somebody unknown is no error; or it is told by its place, and the others are deleted; or nobody
    is deleted, and no place is told."""
    compliance_blocks: bool = True
    """Whether who was deleted by a compliance request is never taken again."""
    early_errors: Literal["by_accept", "status_200", "status_400"] = "by_accept"
    """The status of an answer to a document that is not executed. By what the caller accepts: 200 as
    `application/json`, 400 as `application/graphql-response+json`."""
    rate_limit: int | None = None
    """Calls a minute of one token."""
    retry_after: bool = True
    """Whether the answer tells when to come back."""
    throttled_as: Literal["status_429", "errors"] = "status_429"
    """The status of that answer: 429, or 200."""


class Rejected(Exception):
    """What a mutation tells in `userErrors`."""

    def __init__(self, message: str, *path: str) -> None:
        super().__init__(message)
        self.path = ["input", *path]


class Forbidden(Rejected):
    """The token may not do that for this advertiser."""


class Advertisers:
    """The advertisers that the token may use. Without a list, whoever is named from now on."""

    def __init__(self, switches: Callable[[], StackAdaptSwitches]) -> None:
        self._switches = switches
        self._named: dict[str, None] = {EXAMPLE_ADVERTISER: None}

    def readable(self, advertiser: str) -> str:
        """The same id, if it may be read."""
        allowed = self._switches().advertisers
        if not advertiser.isdecimal() or (allowed is not None and advertiser not in allowed):
            raise Forbidden("Advertiser not found", "advertiserId")
        self._named[advertiser] = None
        return advertiser

    def writable(self, given: Mapping[str, Any]) -> str:
        """The `advertiserId` of a mutation's input, if it may be written."""
        advertiser = self.readable(given.get("advertiserId") or "")
        if advertiser in self._switches().read_only_advertisers:
            raise Forbidden(f"No WRITE scope for advertiser {advertiser}", "advertiserId")
        return advertiser

    def listed(self) -> list[str]:
        allowed = self._switches().advertisers
        return sorted(self._named if allowed is None else allowed)

    def scopes(self, advertiser: str) -> list[str]:
        return ["READ"] if advertiser in self._switches().read_only_advertisers else ["READ", "WRITE"]


def advertiser_json(advertiser: str) -> dict[str, str]:
    return {"id": advertiser, "name": f"Advertiser {advertiser}"}
