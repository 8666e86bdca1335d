"""What may differ from one Taboola account to the next, and what Taboola leaves open."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class TaboolaSwitches:
    """Each with its likely value."""

    # ── Callers and errors

    refused_clients: frozenset[str] = frozenset()
    """Client ids whose token requests fail."""
    token_seconds: int = 43_200
    new_token_revokes_old: bool = False
    accept_unknown_tokens: bool = False
    """Whether a token that was not issued here is taken."""
    accounts: frozenset[str] | None = None
    """Those that the caller may use; None: every one."""
    foreign_account: Literal["forbidden", "unknown"] = "forbidden"
    """Whether another account is a 403 or a 400."""
    lists_accounts: bool = True
    """Whether the caller may ask which accounts those are."""
    errors_in: Literal["accepted", "json", "xml"] = "accepted"
    """The form of errors: JSON where `Accept` names it, else XML; or always one of them."""
    rate_limit: int | None = None
    """Calls a minute of one client id."""
    retry_after: bool = True
    """Whether a 429 tells when to come back."""

    # ── Audiences

    existing_name: Literal["returned", "refused"] = "returned"
    """What creating an audience of a name that is there already leads to."""
    create_tells: Literal["all", "id", "name"] = "all"
    """Older documentation has less in the answer to a creation."""
    ids_as: Literal["integer", "text", "decimal"] = "integer"
    """How answers write an audience's id: 49, "49" or 49.0."""
    ready_delay_seconds: float = 0.0
    """How long a new audience cannot be used; the vendor says up to an hour."""
    unusable: Literal["field", "message", "words", "not found", "forbidden"] = "field"
    """The error for an audience that is unknown, foreign or not ready: a 400 that blames `audience_id`, that repeats
    the id, or that says so; or a 404 or 403.
    """
    listing_delay_seconds: float = 0.0
    """How long a new audience is not in `my_audiences`."""
    lists_all_accounts: bool = False
    """Whether `my_audiences` has those of other accounts, as it has those of a network."""
    days: Literal["down", "up"] = "down"
    """How `look_back_window` rounds what are no whole days."""
    size: Literal["as set", "members", "none"] = "as set"
    """What `audience_size` is: set by `set_size`, the members held, or not told."""
    accept_unknown_audiences: bool = False
    """Whether an audience id that was never given out is taken."""

    # ── Users

    strict_identifiers: bool = True
    """Refuse what would never match: an email that is not a SHA-256 in lower-case hex, a hashed device id."""
    refuse_no_identities: bool = True
    """Whether a request without users, or a user without ids, is an error."""
    refuse_unknown_fields: bool = True
    """Whether a field that is not documented is an error; else it is overlooked."""
    source_with_users: bool = True
    """Whether users may come with an `integration_source`: others send it, the page does not have it."""
    max_users: int | None = 100_000
    """Users in one request; the vendor only suggests it."""
    max_ids: int | None = None
    """Ids of one user."""
    over_limit: Literal["words", "vague", "413"] = "words"
    """The error for more: a 400 that says so, one that does not, or a 413."""
    max_body_bytes: int | None = None
    remove_drops_cluster: bool = False
    """Whether removing one id removes all that were added in one cluster with it."""
    adding_again_renews: bool = True
    """Whether adding a member again starts its time to live anew."""
