"""StackAdapt: profiles and external audiences of one advertiser, over its GraphQL API."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final, Literal

import msgspec
from pydantic import AfterValidator, Field, StringConstraints

from worker.contract import Identifier, LaneKey
from worker.destinations.base import (
    ApiUrl,
    BatchSettings,
    Conversation,
    Credential,
    Destination,
    DestinationSettings,
    Entry,
    FoldedBatch,
    Frozen,
    Notes,
    Probe,
    PropertyReading,
    Reading,
    Receipt,
    Request,
    Response,
    Secret,
    Text,
    expect_success,
    says_too_many,
    scrub,
)
from worker.errors import DeliveryError, NeedsPerson, Refused, Throttled, TooLarge, TryLater

MAX_PROFILES = 1_000
"""Profiles in one request: what Segment's batches hold; the vendor's own maximum is not published."""


class StackAdaptBatch(BatchSettings):
    max_changes: Annotated[int, Field(ge=1, le=MAX_PROFILES)] = MAX_PROFILES


RESERVED: Final = {"userId", "email", "audienceId", "audienceName", "action"}
"""Keys of a profile that are the relay's own."""


def _not_reserved(name: str) -> str:
    if name in RESERVED:
        raise ValueError(f"must be none of {', '.join(sorted(RESERVED))}, which every profile has")
    return name


class CustomProperty(Frozen):
    """A profile property: its value is found at `path` of the source event. One with a standard name replaces it."""

    name: Annotated[Text, AfterValidator(_not_reserved)]
    type: Literal["STRING", "NUMBER", "BOOLEAN", "DATE"]
    path: Text


class StackAdaptSettings(DestinationSettings):
    kind: Literal["stackadapt"]
    api_url: ApiUrl = "https://api.stackadapt.com/graphql"
    api_token: Secret
    advertiser_id: Annotated[str, StringConstraints(pattern=r"^\d+$")]
    marketing_status: Literal["indeterminate", "opted_in"] = "indeterminate"
    properties: tuple[CustomProperty, ...] = ()
    batch: StackAdaptBatch = StackAdaptBatch()

    def reading(self) -> Reading:
        custom = tuple(PropertyReading(each.name, each.type, (each.path,)) for each in self.properties)
        replaced = {each.name for each in self.properties}
        standard = tuple(each for each in STANDARD if each.name not in replaced)
        return Reading(
            identifiers=("email",),
            audience="context.personas.computation_id",
            fallback_to_key=True,
            labelled=True,
            hashed_emails=(),
            properties=standard + custom,
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


def _standard(name: str, source: str, kind: Literal["STRING", "DATE"] = "STRING") -> PropertyReading:
    return PropertyReading(name, kind, (f"traits.{source}", f"properties.{source}"))


USER_ID: Final = "userId"

STANDARD: Final = (
    PropertyReading(USER_ID, "STRING", ("userId", "anonymousId")),
    _standard("first_name", "first_name"),
    _standard("last_name", "last_name"),
    _standard("phone", "phone"),
    _standard("address", "street"),
    _standard("city", "city"),
    _standard("state", "state"),
    _standard("country", "country"),
    _standard("postal_code", "postal_code"),
    _standard("timezone", "timezone"),
    _standard("birth_date", "birthday", "DATE"),
)


class StackAdapt(Destination):
    """One GraphQL request a batch: the constant mappings, then the profiles that leave and those that enter.

    The vendor works on profiles later and drops fields that no mapping names, so the mappings go before. Values
    travel as variables, never inside the document.
    """

    Settings = StackAdaptSettings
    max_changes = MAX_PROFILES
    requests_a_batch = 1
    max_bytes = 4_000_000

    def __init__(self, settings: StackAdaptSettings) -> None:
        self._settings = settings
        self._mappings = _mappings(settings)

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

    def note_keys(self, lane: LaneKey) -> tuple[str, ...]:
        del lane
        return ()

    def converse(self, batch: FoldedBatch, notes: Notes) -> Conversation:
        del notes
        entries = batch.entries
        rows = [_row(batch, entry, "exit") for entry in batch.removes]
        rows += [_row(batch, entry, "enter") for entry in batch.adds]
        profiles = {
            "advertiserId": self._settings.advertiser_id,
            "externalProvider": PROVIDER,
            "syncId": batch.id,
            "profiles": msgspec.json.encode(rows).decode(),
        }
        variables = {**self._mappings, "profiles": profiles}
        response = yield Request.json("POST", self._settings.api_url, {"query": UPSERT, "variables": variables})
        fields = _checked(response)
        for field in ("upsertProfileMapping", "upsertExternalAudienceMapping"):
            if errors := _user_errors(fields, field):
                raise NeedsPerson("mapping refused", f"{field}: {_words(errors)}; check advertiser_id and properties")
        return _receipt(entries, _user_errors(fields, "upsertProfiles"))

    def probe(self) -> Probe:
        after: str | None = None
        while True:
            body = {"query": SCOPES, "variables": {"after": after}}
            response = yield Request.json("POST", self._settings.api_url, body, changes_nothing=True)
            scopes = _scopes(_checked(response))
            for node in scopes.get("nodes") or []:
                if str(node["advertiser"]["id"]) == self._settings.advertiser_id and "WRITE" in node["scopes"]:
                    return f"the token may write for advertiser {self._settings.advertiser_id}"
            page = scopes.get("pageInfo") or {}
            after = page.get("endCursor")
            if not page.get("hasNextPage") or not after:
                raise NeedsPerson(
                    "advertiser not writable",
                    f"the token works, but has no WRITE scope for advertiser {self._settings.advertiser_id}; "
                    "ask StackAdapt for a read & write token of that advertiser",
                )


PROVIDER: Final = "segment_io"
"""The only external provider that the vendor is known to take."""

UPSERT: Final = """\
mutation Upsert(
  $profileMapping: ProfileMappingInput!
  $audienceMapping: ExternalAudienceMappingInput!
  $profiles: UpsertProfilesInput!
) {
  upsertProfileMapping(input: $profileMapping) { userErrors { message path } }
  upsertExternalAudienceMapping(input: $audienceMapping) { userErrors { message path } }
  upsertProfiles(input: $profiles) { userErrors { message path } }
}
"""

SCOPES: Final = """\
query TokenInfo($after: String) {
  tokenInfo {
    scopesByAdvertiser(first: 100, after: $after) {
      nodes { advertiser { id } scopes }
      pageInfo { hasNextPage endCursor }
    }
  }
}
"""

_NOT_PERSONAL: Final = {"city", "state", "country", "postal_code", "timezone"}
_PASSING: Final = ("internal", "unavailable", "timeout", "timed out", "try again")


def _mappings(settings: StackAdaptSettings) -> dict[str, object]:
    """Constant and complete: a field that is not named here would be dropped, and the last mapping wins."""
    standard = [_field("email", "Email", personal=True)]
    custom = {each.name: each for each in settings.properties}
    for reading in STANDARD:
        if reading.name != USER_ID and reading.name not in custom:
            label = reading.name.replace("_", " ").title()
            personal = reading.name not in _NOT_PERSONAL
            standard.append(_field(reading.name, label, reading.type, personal=personal))
    own = [_field(each.name, each.name.replace("_", " ").title(), each.type) for each in custom.values()]
    both = {"advertiserId": settings.advertiser_id, "mappableType": PROVIDER}
    opted_in = settings.marketing_status == "opted_in"
    return {
        "profileMapping": {**both, "isOptedIn": opted_in, "mappingSchemaV2": standard + own},
        "audienceMapping": {
            **both,
            "mappingSchema": [
                _field("audienceId", "External Audience ID", to="external_id"),
                _field("audienceName", "External Audience Name", to="name"),
            ],
        },
    }


def _field(
    key: str, label: str, kind: str = "STRING", *, personal: bool = False, to: str | None = None
) -> dict[str, object]:
    return {"incomingKey": key, "destinationKey": to or key, "label": label, "type": kind, "isPii": personal}


def _row(batch: FoldedBatch, entry: Entry, action: Literal["exit", "enter"]) -> dict[str, object]:
    return {
        **entry.properties,
        "email": entry.identifiers[0].value,
        "audienceId": batch.lane.audience,
        "audienceName": batch.audience_name or batch.lane.audience,
        "action": action,
    }


def _checked(response: Response) -> dict[str, Any]:
    """`data` of an answer without `errors`. An expired token comes as a 200 with `errors`."""
    answer = response.json_or_empty()
    errors = answer.get("errors") or []
    words = _words(errors)
    if "token expired" in words.lower():
        raise NeedsPerson("token expired", "ask StackAdapt for a new API token and set api_token")
    if errors and response.status in {200, 400}:
        raise _order(words)
    expect_success(response)
    data = response.json().get("data")
    if not isinstance(data, dict):
        raise TryLater("malformed answer", "no data and no errors")
    return data


def _order(words: str) -> DeliveryError:
    lower = words.lower()
    if "throttl" in lower or "rate limit" in lower or "too many requests" in lower:
        return Throttled("rate limited", words, scope="credential")
    if any(each in lower for each in _PASSING):
        return TryLater("vendor error", words)
    return TooLarge("request too large", words) if says_too_many(words) else Refused("GraphQL errors", words)


def _user_errors(fields: Mapping[str, Any], field: str) -> list[dict[str, Any]]:
    payload = fields.get(field)
    if not isinstance(payload, dict):
        raise TryLater("malformed answer", f"no answer to {field}")
    return [each for each in payload.get("userErrors") or [] if isinstance(each, dict)]


def _receipt(entries: Sequence[Entry], errors: Sequence[Mapping[str, Any]]) -> Receipt:
    """Each error belongs to the profile whose index stands in its path; one without an index, to them all."""
    refused: dict[Identifier, str] = {}
    for error in errors:
        index = _index(error.get("path"))
        if index is None or index >= len(entries):
            words = _words(errors)
            raise TooLarge("request too large", words) if says_too_many(words) else Refused("profiles refused", words)
        refused[entries[index].identifiers[0]] = scrub(error.get("message") or "refused")
    return Receipt(refused)


def _index(path: object) -> int | None:
    steps = path if isinstance(path, list) else []
    return next((int(step) for step in steps if str(step).isdecimal()), None)


def _scopes(fields: Mapping[str, Any]) -> Mapping[str, Any]:
    scopes = (fields.get("tokenInfo") or {}).get("scopesByAdvertiser")
    if not isinstance(scopes, dict):
        raise TryLater("malformed answer", "no tokenInfo")
    return scopes


def _words(errors: object) -> str:
    messages = (
        [str(each.get("message")) if isinstance(each, dict) else str(each) for each in errors]
        if isinstance(errors, list)
        else []
    )
    return scrub("; ".join(messages))
