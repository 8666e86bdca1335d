"""What StackAdapt keeps: mappings, profiles, lists and the members of external audiences.

The vendor takes mappings and profiles at once and applies them later. So does this: what is given is put
in a queue, and `apply_due` works off what is ripe, mappings before profiles where both are.
"""

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import count
from typing import Any, Final, Literal

from sandbox.base import Clock
from sandbox.journal import Audience
from sandbox.stackadapt_access import StackAdaptSwitches

Row = Mapping[str, Any]
Status = Literal["PROCESSING", "SUCCESS"]
MAPPING_RANK: Final = 0
PROFILES_RANK: Final = 1

_EMAIL: Final = re.compile(r"[^@\s]+@[^@\s.]+(?:\.[^@\s.]+)+")


@dataclass(slots=True)
class FieldMapping:
    """Which incoming keys are kept under which names, for one advertiser and mappable type."""

    id: str
    advertiser: str
    type: str
    schema: list[dict[str, Any]]
    opted_in: bool = False

    def kept(self, row: Row) -> dict[str, Any]:
        """The row's values by destination key, with the mapping's default for what is absent."""
        values = {each["destinationKey"]: row.get(each["incomingKey"], each.get("value")) for each in self.schema}
        return {key: value for key, value in values.items() if value is not None}

    def unknown(self, row: Row) -> set[str]:
        return set(row) - {each["incomingKey"] for each in self.schema}


@dataclass(slots=True)
class Profile:
    email: str
    opted_in: bool = False
    properties: dict[str, Any] = field(default_factory=dict)
    external_ids: set[str] = field(default_factory=set)
    sources: dict[str, None] = field(default_factory=dict)


@dataclass(slots=True)
class ProfileList:
    id: str
    advertiser: str
    name: str
    created_at: float
    updated_at: float
    emails: dict[str, None] = field(default_factory=dict)


class ProfileStore:
    """The state of all advertisers. `counted` tells what was silently dropped, as the vendor would not."""

    def __init__(self, switches: Callable[[], StackAdaptSwitches], clock: Clock, counted: Counter[str]) -> None:
        self._switches = switches
        self._clock = clock
        self._counted = counted
        self._ids = count(7_001)
        self._queue: list[tuple[float, int, int, Callable[[], None]]] = []
        self._asked: list[tuple[int, Callable[[], None]]] = []
        self._sequence = count()
        self._mappings: dict[tuple[str, str], FieldMapping] = {}
        self._asked_mappings: dict[tuple[str, str], FieldMapping] = {}
        self._audience_mappings: dict[tuple[str, str], FieldMapping] = {}
        self._syncs: dict[tuple[str, str], list[Row]] = {}
        self._blocked: set[tuple[str, str]] = set()
        self._members: dict[Audience, dict[str, None]] = {}
        self._statuses: dict[tuple[str, str], Status] = {}
        self.profiles: dict[str, dict[str, Profile]] = {}
        self.lists: dict[str, ProfileList] = {}

    # ── What is asked for, and applied later ─────────────────────────────────────────────────────

    def map_profiles(self, mapping: FieldMapping, *, append: bool) -> None:
        """Replace the mapping of that advertiser and type, or add to it."""
        self._asked_mappings[mapping.advertiser, mapping.type] = mapping
        self._later(MAPPING_RANK, lambda: _put(self._mappings, mapping, append=append))

    def map_audiences(self, mapping: FieldMapping) -> None:
        """Replace the external-audience mapping of that advertiser and type."""
        self._later(MAPPING_RANK, lambda: _put(self._audience_mappings, mapping, append=False))

    def upsert(self, advertiser: str, provider: str, rows: list[Row], sync_id: str | None) -> None:
        """Take rows for ingestion, unless the sync id says that they were taken before."""
        if sync_id is not None and self._repeated(advertiser, sync_id, rows):
            self._counted["repeated_syncs"] += 1
            return
        self._later(PROFILES_RANK, lambda: self._ingest_all(advertiser, provider, rows))

    def upload(self, mapping: FieldMapping, rows: list[Row], target: ProfileList | None) -> None:
        """Rows with a mapping of their own, optionally into a list; `status` follows the mapping's id."""
        self._statuses[mapping.advertiser, mapping.id] = "PROCESSING"
        self._later(PROFILES_RANK, lambda: self._ingest_upload(mapping, rows, target))

    def delete_emails(self, advertiser: str, emails: Iterable[str], *, block: bool) -> None:
        """Forget people; with `block` they are never taken again."""
        wanted = [clean_email(email) for email in emails]
        self._later(PROFILES_RANK, lambda: self._delete(advertiser, wanted, block=block))

    def delete_external_ids(self, advertisers: Collection[str], external_ids: Collection[str]) -> None:
        """Forget those whose `external_id` is among these, at these advertisers (none: at all)."""
        self._later(PROFILES_RANK, lambda: self._delete_external(advertisers, set(external_ids)))

    def apply_due(self) -> None:
        """Work off what is ripe by now. What was asked since the last call counts as asked in one moment."""
        now = self._clock()
        for rank, job in self._asked:
            heappush(self._queue, (now + self._delay(rank), rank, next(self._sequence), job))
        self._asked.clear()
        while self._queue and self._queue[0][0] <= now:
            heappop(self._queue)[-1]()

    def _later(self, rank: int, job: Callable[[], None]) -> None:
        self._asked.append((rank, job))

    def _delay(self, rank: int) -> float:
        switches = self._switches()
        return switches.mapping_delay_seconds if rank == MAPPING_RANK else switches.ingestion_delay_seconds

    def _repeated(self, advertiser: str, sync_id: str, rows: list[Row]) -> bool:
        means = self._switches().sync_id
        before = self._syncs.get((advertiser, sync_id))
        self._syncs[advertiser, sync_id] = rows
        return before is not None and (means == "any_content" or (means == "same_content" and before == rows))

    # ── What can be read ─────────────────────────────────────────────────────────────────────────

    def memberships(self) -> Mapping[Audience, Collection[str]]:
        return self._members

    def status(self, advertiser: str, mappable_id: str) -> Status | None:
        return self._statuses.get((advertiser, mappable_id))

    def unknown_emails(self, advertiser: str, emails: Sequence[str]) -> list[int]:
        """The places of those that no profile has."""
        known = self.profiles.get(advertiser, {})
        return [place for place, email in enumerate(emails) if clean_email(email) not in known]

    def unknown_external_ids(self, advertisers: Collection[str], external_ids: Sequence[str]) -> list[int]:
        profiles = [each for advertiser in advertisers for each in self.profiles.get(advertiser, {}).values()]
        known = {external_id for profile in profiles for external_id in profile.external_ids}
        return [place for place, external_id in enumerate(external_ids) if external_id not in known]

    def new_id(self) -> str:
        return str(next(self._ids))

    # ── Ingestion ────────────────────────────────────────────────────────────────────────────────

    def _ingest_all(self, advertiser: str, provider: str, rows: list[Row]) -> None:
        nothing = FieldMapping("", advertiser, provider, [])
        mapping = self._mappings.get((advertiser, provider), nothing)
        asked = self._asked_mappings.get((advertiser, provider), nothing)
        audiences = self._audience_mappings.get((advertiser, provider), nothing)
        for row in rows:
            self._counted["unmapped_fields"] += len(mapping.unknown(row) & audiences.unknown(row) - {"action"})
            self._counted["fields_lost_to_an_older_mapping"] += len(mapping.unknown(row) - asked.unknown(row))
            email = self._ingest(mapping, row, provider)
            if email is not None and "action" in row:
                self._move(advertiser, email, row["action"], audiences.kept(row).get(self._switches().membership_key))

    def _ingest_upload(self, mapping: FieldMapping, rows: list[Row], target: ProfileList | None) -> None:
        for row in rows:
            email = self._ingest(mapping, row, "user_uploaded")
            if email is not None and target is not None:
                target.emails[email] = None
        self._statuses[mapping.advertiser, mapping.id] = "SUCCESS"

    def _ingest(self, mapping: FieldMapping, row: Row, source: str) -> str | None:
        """Merge the row into its profile; None if there is no valid email after the mapping."""
        kept = mapping.kept(row)
        email = clean_email(kept.get("email"))
        if not is_email(email):
            self._counted["rows_without_email"] += 1
            return None
        if (mapping.advertiser, email) in self._blocked:
            self._counted["blocked_rows"] += 1
            return None
        profile = self.profiles.setdefault(mapping.advertiser, {}).setdefault(email, Profile(email))
        profile.opted_in = mapping.opted_in
        profile.properties |= kept
        profile.external_ids |= self._external_ids(kept, row)
        profile.sources[source.upper()] = None
        return email

    def _external_ids(self, kept: Row, row: Row) -> set[str]:
        found = [kept.get("external_id")]
        if self._switches().external_id_from_user_id:
            found.append(row.get("userId"))
        return {str(each) for each in found if each is not None}

    def _move(self, advertiser: str, email: str, action: object, audience: object) -> None:
        """Into or out of the audience that the external-audience mapping finds in the row."""
        if audience is None:
            self._counted["rows_without_audience"] += 1
            return
        members = self._members.setdefault(Audience(advertiser, str(audience)), {})
        match action:
            case "enter":
                members[email] = None
            case "exit":
                members.pop(email, None)
            case _:
                self._counted["unknown_actions"] += 1

    def _delete(self, advertiser: str, emails: Iterable[str], *, block: bool = False) -> None:
        for email in emails:
            self.profiles.get(advertiser, {}).pop(email, None)
            if block and self._switches().compliance_blocks:
                self._blocked.add((advertiser, email))
            for audience, members in self._members.items():
                if audience.owner == advertiser:
                    members.pop(email, None)
            for profile_list in self.lists.values():
                if profile_list.advertiser == advertiser:
                    profile_list.emails.pop(email, None)

    def _delete_external(self, advertisers: Collection[str], external_ids: set[str]) -> None:
        for advertiser in list(advertisers or self.profiles):
            profiles = self.profiles.get(advertiser, {}).values()
            self._delete(advertiser, [each.email for each in profiles if each.external_ids & external_ids])


def clean_email(email: object) -> str:
    """As emails are compared: trimmed and lower-case."""
    return email.strip().lower() if isinstance(email, str) else ""


def is_email(email: str) -> bool:
    return _EMAIL.fullmatch(email) is not None


def _put(mappings: dict[tuple[str, str], FieldMapping], new: FieldMapping, *, append: bool) -> None:
    key = (new.advertiser, new.type)
    before = mappings.get(key)
    if append and before is not None:
        added = {each["incomingKey"] for each in new.schema}
        new.schema = [each for each in before.schema if each["incomingKey"] not in added] + new.schema
    mappings[key] = new
