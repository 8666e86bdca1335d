"""StackAdapt: profiles and external audiences of one advertiser, over its GraphQL API."""

from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Annotated, Final, Literal

import msgspec
from pydantic import AfterValidator, Field, StringConstraints

from worker.contract import Identifier, LaneKey, Property
from worker.destinations.base import (
    ApiUrl,
    BatchSettings,
    ConsentReading,
    Conversation,
    Credential,
    Destination,
    DestinationSettings,
    Erasure,
    FoldedBatch,
    Notes,
    Person,
    Probe,
    Reading,
    Receipt,
    Request,
    Response,
    Secret,
    Text,
    is_hashed,
    sha256_hex,
)
from worker.destinations.mapping import USUAL_USER_ID
from worker.destinations.stackadapt_erasure import by_email, by_external_id, delete
from worker.destinations.stackadapt_graphql import ask, data_of, order_of, receipt_of, user_errors, words_of
from worker.destinations.stackadapt_mapping import EXTERNAL_ID, PROVIDER, CustomProperty, mappings, readings
from worker.destinations.stackadapt_token import try_token
from worker.errors import NeedsPerson, Refused, TooLarge

__all__ = ["CustomProperty", "StackAdapt", "StackAdaptSettings"]

MAX_PROFILES = 1_000
"""Profiles in one request: what Segment's batches hold; the vendor's own maximum is not published."""


class StackAdaptBatch(BatchSettings):
    max_changes: Annotated[int, Field(ge=1, le=MAX_PROFILES)] = MAX_PROFILES


MarketingStatus = Literal["indeterminate", "opted_in"]
SPELLINGS: Final[dict[MarketingStatus, frozenset[str]]] = {
    "indeterminate": frozenset({"indeterminate"}),
    "opted_in": frozenset({"optedin", "true"}),
}
"""Folded. A `false` is in neither: it may as well mean that the person has opted out."""


def _distinct(properties: tuple[CustomProperty, ...]) -> tuple[CustomProperty, ...]:
    if len({each.name for each in properties}) < len(properties):
        raise ValueError("two of them have the same name")
    return properties


class StackAdaptSettings(DestinationSettings):
    kind: Literal["stackadapt"]
    api_url: ApiUrl = "https://api.stackadapt.com/graphql"
    api_token: Secret
    advertiser_id: Annotated[str, StringConstraints(pattern=r"^\d+$")]
    marketing_status: MarketingStatus = "indeterminate"
    """Of all people of the advertiser: the vendor has it in the mapping, not in the profile."""
    marketing_status_paths: tuple[Text, ...] = (
        "traits.marketing_status",
        "properties.marketing_status",
        "context.traits.marketing_status",
    )
    """Where an event may state its own; one that states another than the configured is refused."""
    properties: Annotated[tuple[CustomProperty, ...], AfterValidator(_distinct)] = ()
    mapping_refresh_hours: Annotated[float, Field(ge=0, le=8760)] = 1.0
    """After so long a mapping that has not changed is sent again, should somebody else have replaced it."""
    erase_as_compliance_request: bool = False
    """Whether who is erased is blocked, too: the vendor then never takes a profile with that email again."""
    batch: StackAdaptBatch = StackAdaptBatch()

    def reading(self) -> Reading:
        return Reading(
            identifiers=("email",),
            keeps_user_ids=True,
            erases_by_user_id=self.maps_user_ids,
            audience="context.personas.computation_id",
            fallback_to_key=True,
            labelled=True,
            hashed_emails=(),
            properties=readings(self.properties),
            consent=ConsentReading(self.marketing_status_paths, SPELLINGS[self.marketing_status]),
        )

    def target(self) -> tuple[str, ...]:
        return (self.api_url, self.advertiser_id)

    def conflicts_with(self, other: DestinationSettings) -> str | None:
        """The vendor keeps one mapping per advertiser, replaced each time and applied later."""
        if not isinstance(other, StackAdaptSettings) or other.target() != self.target():
            return None
        if (self.marketing_status, set(self.properties)) == (other.marketing_status, set(other.properties)):
            return None
        return "same advertiser, so properties and marketing_status must be equal too; StackAdapt keeps one of each"

    @property
    def maps_user_ids(self) -> bool:
        """Whether the vendor's external ids are the source's user ids, and no other ids that may look the same."""
        paths = [path for each in self.properties if each.name == EXTERNAL_ID for path in each.path]
        if self.mapping.user_id != USUAL_USER_ID:
            return any(path in self.mapping.user_id for path in paths)
        return any(path.rpartition(".")[2].replace("_", "").lower() == "userid" for path in paths)


class StackAdapt(Destination):
    """One request a batch: the profiles that leave, then those that enter, each with all its properties.

    The vendor merges what a profile brings, so who leaves brings properties, too. It works on profiles later and drops
    fields that the mapping in force does not name. So the mappings go before, in a request of their own, when they
    have changed or nobody has sent them for a while: profiles never go under a mapping that was refused.
    """

    Settings = StackAdaptSettings
    max_changes = MAX_PROFILES
    requests_a_batch = 1
    max_bytes = 1_900_000  # text is escaped twice, JSON within JSON, so that the request may have twice as many
    deletes_persons = True

    def __init__(self, settings: StackAdaptSettings) -> None:
        self._settings = settings
        self._mappings = mappings(
            settings.advertiser_id, opted_in=settings.marketing_status == "opted_in", custom=settings.properties
        )
        here = msgspec.json.encode([settings.api_url, self._mappings]).decode()
        self._fingerprint = sha256_hex(here)[:16]
        self._refresh_ms = timedelta(hours=settings.mapping_refresh_hours) // timedelta(milliseconds=1)

    @property
    def credential(self) -> Credential:
        """A fixed token; the vendor's rate limits are not published."""
        return Credential(
            api_url=self._settings.api_url,
            client_id="",
            secret=self._settings.api_token,
            calls_per_minute=self._settings.calls_per_minute,
        )

    def vendor_form(self, identifier: Identifier) -> Identifier:
        """Emails in clear text: the profiles API takes no hashes."""
        return identifier

    def aliases(self, identifier: Identifier) -> tuple[Identifier, ...]:
        """A hashed email or a device never got here."""
        held = identifier.type == "user_id" or _is_plain_email(identifier)
        return (identifier,) if held else ()

    def note_keys(self, lane: LaneKey) -> tuple[str, ...]:
        """The mapping is the same for all audiences."""
        del lane
        return (MAPPING,)

    def converse(self, batch: FoldedBatch, notes: Notes) -> Conversation:
        if self._is_mapping_due(batch.at_ms, notes):
            yield from self._map(batch.at_ms, notes)
        rows = dict(_rows(batch))
        nobody = {each: "no top-level domain" for each in rows if not _can_exist(each)}
        for each in nobody:
            del rows[each]
        if not rows:
            return Receipt(nobody)
        profiles = {
            "advertiserId": self._settings.advertiser_id,
            "externalProvider": PROVIDER,
            "syncId": batch.id,
            "profiles": msgspec.json.encode(list(rows.values())).decode(),
        }
        response = yield ask(self._settings.api_url, UPSERT, {"profiles": profiles})
        receipt = receipt_of(data_of(response), list(rows))
        return replace(receipt, refused={**receipt.refused, **nobody})

    def probe(self) -> Probe:
        return try_token(self._settings.api_url, self._settings.advertiser_id)

    def erase(self, persons: Sequence[Person]) -> Erasure:
        """Delete profiles by email, and by user id where a property `external_id` is filled with it."""
        url, advertiser = self._settings.api_url, self._settings.advertiser_id
        email = by_email(advertiser, for_good=self._settings.erase_as_compliance_request)
        handles = dict.fromkeys(each for person in persons for each in person.identifiers)
        emails = [each.value for each in handles if _is_plain_email(each)]
        ids = [each.value.strip() for each in handles if each.type == "user_id" and self._settings.maps_user_ids]
        return {
            "profiles_by_email": (yield from delete(url, email, emails)),
            "profiles_by_external_id": (yield from delete(url, by_external_id(advertiser), ids)),
        }

    def _is_mapping_due(self, at_ms: int, notes: Notes) -> bool:
        """Whether it is another than the vendor took last, or that was long ago. Older lanes tell no earlier time."""
        fingerprint, _, taken_at = notes.get(MAPPING, "").partition(" ")
        if fingerprint != self._fingerprint:
            return True
        return at_ms > 0 and at_ms - int(taken_at) >= self._refresh_ms

    def _map(self, at_ms: int, notes: Notes) -> Generator[Request, Response, None]:
        """Until the vendor has said yes, nobody knows which mapping is in force: so the note goes first."""
        notes.pop(MAPPING, None)
        response = yield ask(self._settings.api_url, MAP, self._mappings)
        try:
            data = data_of(response)
            for field in ("upsertProfileMapping", "upsertExternalAudienceMapping"):
                if errors := user_errors(data, field):
                    raise order_of(errors) or Refused("mapping refused", words_of(errors))
        except (Refused, TooLarge) as refusal:
            advice = f"{refusal.detail}; check advertiser_id and properties"
            raise NeedsPerson("mapping refused", advice) from None
        notes[MAPPING] = f"{self._fingerprint} {at_ms}"


MAPPING: Final = "mapping"
"""The note of the mapping that the vendor took: its fingerprint, and when that was (ms)."""

MAP: Final = """\
mutation Map($profileMapping: ProfileMappingInput!, $audienceMapping: ExternalAudienceMappingInput!) {
  upsertProfileMapping(input: $profileMapping) { userErrors { message path } }
  upsertExternalAudienceMapping(input: $audienceMapping) { userErrors { message path } }
}
"""

UPSERT: Final = """\
mutation Upsert($profiles: UpsertProfilesInput!) {
  upsertProfiles(input: $profiles) { userErrors { message path } }
}
"""


def _rows(batch: FoldedBatch) -> Iterator[tuple[Identifier, Mapping[str, Property]]]:
    """The profiles, by whom they are about. Who enters comes last; no value is empty."""
    audience = {"audienceId": batch.lane.audience, "audienceName": batch.audience_name or batch.lane.audience}
    for action, entries in (("exit", batch.removes), ("enter", batch.adds)):
        common = {**audience, "action": action}
        for entry in entries:
            properties = entry.properties
            if "" in properties.values():
                properties = {key: value for key, value in properties.items() if value != ""}
            for each in entry.identifiers:
                yield each, {**properties, "email": each.value, **common}


def _can_exist(identifier: Identifier) -> bool:
    """Without a valid email no profile exists, and the vendor drops the row without a word ("email" is required)."""
    return "." in identifier.value.rpartition("@")[2]


def _is_plain_email(identifier: Identifier) -> bool:
    return identifier.type == "email" and not is_hashed(identifier.value)
