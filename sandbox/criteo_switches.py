"""What may differ from one app at Criteo to the next, and what its pages leave open."""

from dataclasses import dataclass
from typing import Literal

from sandbox.ratelimit import WindowKind

IdentifierType = Literal["email", "madid", "identityLink", "gum", "phoneNumber"]
Right = Literal["read", "manage"]
Statistic = Literal["numberOfIdentifiers", "numberOfMatches", "matchRate"]
MatchScale = Literal[1, 100]


@dataclass(frozen=True, slots=True, kw_only=True)
class CriteoSwitches:
    """Each with what is documented, or else likely. May be replaced while the stand-in runs."""

    # ── Credentials ──────────────────────────────────────────────────────────────────────────────

    refused_clients: frozenset[str] = frozenset()
    """Client ids whose token requests fail."""
    invalid_client_status: Literal[400, 401] = 401
    token_seconds: int = 900
    accept_unknown_tokens: bool = False
    """Whether a token that was not issued here is taken."""
    advertisers: frozenset[str] | None = None
    """Those that consented; None: every one."""
    rights: frozenset[Right] = frozenset({"read", "manage"})
    """The app's rights in the domain of audiences."""

    # ── Versions ─────────────────────────────────────────────────────────────────────────────────

    versions: frozenset[str] = frozenset({"2026-01", "2026-07", "2027-01"})
    decommissioned: frozenset[str] = frozenset({"2023-10", "2024-07", "2025-01", "2025-04", "2025-07", "2025-10"})
    fall_forward: bool = False
    """Whether a version that has ended is answered like the current one ("versioning policy"), not with a 410."""
    gone_body: Literal["problem", "empty", "html"] = "problem"
    """What a 410 says."""
    sunsets: tuple[tuple[str, float], ...] = (("2026-01", 1_801_008_000.0),)
    """Versions in their deprecation window with the time of their end (2027-01-27)."""
    sunset_headers: Literal["both", "deprecation", "sunset", "none"] = "both"
    """Which headers announce that end. The pages have both; a third party says that none is sent."""
    legacy_path: bool = False
    """Whether `/{version}/audiences/{id}/contactlist` still answers."""

    # ── The limit of calls ───────────────────────────────────────────────────────────────────────

    rate_limit: int | None = 250
    """Calls a minute of one client id; None: as many as it likes."""
    rate_window: WindowKind = "fixed"
    token_calls_counted: bool = False
    rate_limit_body: Literal["problem", "object", "empty", "html"] = "problem"
    """What a 429 says."""
    rate_headers: Literal["always", "refused", "never"] = "always"
    """On which answers `x-ratelimit-*` stand."""
    retry_after: bool = False
    """Whether a 429 has a `Retry-After`, in seconds."""

    # ── Segments ─────────────────────────────────────────────────────────────────────────────────

    bulk_failures: Literal["warnings", "errors", "status_400", "status_409", "silent"] = "warnings"
    """Where failed items of create, update and delete are told; with a status of failure only when all items failed."""
    nothing_done: Literal["empty", "null", "missing"] = "empty"
    """What `data` is when no item succeeded."""
    deprecation_warnings: bool = False
    """Whether successes warn of a field that will go away."""
    creations_told: bool = True
    """Whether the answer to a creation holds what was created."""
    max_name_length: int | None = None
    max_segments: int | None = None
    """Of one advertiser."""
    max_segments_a_call: int | None = None
    read_only: frozenset[str] = frozenset()
    """The names of contact lists that are read-only."""

    # ── Contact lists ────────────────────────────────────────────────────────────────────────────

    unknown_list: Literal[404, 403, 400] = 404
    foreign_list: Literal[403, 404, 400] = 403
    """Of an advertiser that did not consent."""
    wrong_type: Literal[400, 403, 404] = 400
    """A segment that is no contact list."""
    read_only_list: Literal[400, 403, 404, 409, 200] = 400
    """Amending it; 200: with errors."""
    list_code: str = "audience-invalid"
    """The code of these refusals."""
    list_problem: Literal["validation", "authorization"] = "validation"
    """The type of these refusals; a third party has seen the other one."""
    accept_unknown_lists: bool = False
    """Whether an id that was not given here is taken for an empty contact list, which is then called by it."""
    too_many_identifiers: Literal["validation", "too_large", "too_large_problem"] = "validation"
    """Whether too long an amendment is a 400 with a problem, a 413 without a body, or a 413 with one."""
    max_body_bytes: int | None = None
    max_members: int | None = None
    """Of one contact list."""
    one_type_a_list: bool = False
    """Whether the first amendment decides which type of identifiers a list takes."""
    default_identifier_type: IdentifierType | None = "email"
    """What an amendment without a type means; None: it is refused."""
    refuse_empty: bool = True
    refuse_all_invalid: bool = False
    sample_size: int | None = 10
    """How many invalid identifiers are named; None: null in place of the sample."""
    upper_case_hashes: bool = True
    upper_case_madids: bool = True
    bare_madids: bool = False
    """Whether these are valid: hashes and UUIDs in upper case, UUIDs without hyphens."""

    # ── Statistics ───────────────────────────────────────────────────────────────────────────────

    statistics_delay_seconds: float = 0.0
    """How long after an amendment, or the run that processes it, statistics know of it."""
    statistics_run_seconds: float | None = None
    """Amendments are processed in runs so far apart, counted from midnight UTC (43,200: at 0 and 12 o'clock)."""
    statistics_told: frozenset[Statistic] = frozenset({"numberOfIdentifiers", "numberOfMatches", "matchRate"})
    """The others are null."""
    matched_share: float = 0.5
    match_rate_scale: MatchScale = 100
