"""Taboola: first-party audiences of one account, over the Backstage API."""

import glob
from collections.abc import Generator, Mapping
from typing import Annotated, Final, Literal
from urllib.parse import quote

from pydantic import Field, model_validator

from worker.contract import Identifier, LaneKey
from worker.destinations.base import (
    ApiUrl,
    BatchSettings,
    Conversation,
    Credential,
    Destination,
    DestinationSettings,
    FoldedBatch,
    Notes,
    Probe,
    Reading,
    Receipt,
    Request,
    Response,
    Secret,
    Text,
    expect_success,
    is_hashed,
    says_too_many,
    scrub,
    sha256_hex,
)
from worker.errors import NeedsPerson, Refused, TooLarge, TryLater
from worker.patterns import matches

BAD_REQUEST: Final = 400
NOT_FOUND: Final = 404
MAX_USERS = 100_000
"""Users in one request ("add or remove users": suggested at most)."""


class TaboolaBatch(BatchSettings):
    max_changes: Annotated[int, Field(ge=1, le=MAX_USERS)] = MAX_USERS


class TaboolaSettings(DestinationSettings):
    kind: Literal["taboola"]
    api_url: ApiUrl = "https://backstage.taboola.com"
    client_id: Text
    client_secret: Secret
    account_id: Text
    audience_identifier: Literal["computation_key", "audience_name", "external_audience_id"] = "computation_key"
    audience_names: Mapping[str, Text] = Field(default_factory=dict)
    ttl_in_hours: Annotated[int, Field(ge=1, lt=2**31)] = 8760
    exclude_from_campaigns: bool = False
    batch: TaboolaBatch = TaboolaBatch()

    @model_validator(mode="after")
    def _names_fit_identifier(self) -> "TaboolaSettings":
        if (self.audience_identifier == "audience_name") != bool(self.audience_names):
            raise ValueError('audience_identifier = "audience_name" needs audience_names = {key = "name"}, and only it')
        return self

    def reading(self) -> Reading:
        common = Reading(identifiers=("email", "device"), hashed_emails=("sha256",))
        if self.audience_identifier == "external_audience_id":
            return common._replace(audience="context.personas.external_audience_id", numeric_audience=True)
        return common._replace(audience_names=self.audience_names or None)

    def target(self) -> tuple[str, ...]:
        return (self.api_url, self.account_id)

    def writes(self) -> tuple[str, ...]:
        """An event's own id may be any; listed names are just those."""
        if self.audience_identifier == "external_audience_id":
            return ("*",)
        names = (name for key, name in self.audience_names.items() if matches(key, self.audiences))
        return tuple(map(glob.escape, names)) if self.audience_names else self.audiences


class Taboola(Destination):
    """Finds or creates the audience as `audience_identifier` decides, then removes and adds users.

    Success is a 200 with an empty body; there are no results for single users.
    """

    Settings = TaboolaSettings
    max_changes = MAX_USERS
    requests_a_batch = 3
    max_bytes = 20_000_000

    def __init__(self, settings: TaboolaSettings) -> None:
        self._settings = settings
        self._backstage = f"{settings.api_url}/backstage"
        self._account = f"{self._backstage}/api/1.0/{quote(settings.account_id, safe='')}"

    @property
    def credential(self) -> Credential:
        """Client credentials; no rate limit is published."""
        return Credential(
            api_url=self._settings.api_url,
            client_id=self._settings.client_id,
            secret=self._settings.client_secret,
            token_url=f"{self._backstage}/oauth/token",
            calls_per_minute=self._settings.calls_per_minute,
        )

    def vendor_form(self, identifier: Identifier) -> Identifier:
        """Emails as SHA-256 of the lower-case address; device ids in clear text, as given (page "user id object")."""
        if identifier.type == "email" and not is_hashed(identifier.value):
            return Identifier("email", sha256_hex(identifier.value))
        return identifier

    def note_keys(self, lane: LaneKey) -> tuple[str, ...]:
        return () if self._by_id else (_note(lane),)

    def converse(self, batch: FoldedBatch, notes: Notes) -> Conversation:
        audience_id = yield from self._audience(batch, notes)
        if audience_id is None:
            return Receipt()  # nobody is in an audience that does not exist
        for operation, entries in (("REMOVE", batch.removes), ("ADD", batch.adds)):
            if entries:
                body = {
                    "operation": operation,
                    "audience_id": audience_id,
                    "identities": [{"cluster": [_user(each) for each in entry.identifiers]} for entry in entries],
                }
                _check(
                    batch.lane,
                    notes,
                    (yield Request.json("POST", f"{self._account}/audience_onboarding", body)),
                )
        return Receipt()

    def probe(self) -> Probe:
        """Ask which accounts the credentials may act for; where that is not told, try the account."""
        response = yield Request.get(f"{self._backstage}/api/1.0/users/current/allowed-accounts")
        if response.status == NOT_FOUND:
            _check_account((yield Request.get(f"{self._account}/my_audiences")))
            return f"account {self._settings.account_id} can be read"
        expect_success(response)
        rows = response.json().get("results") or []
        accounts = {str(row.get("account_id")) for row in rows if isinstance(row, dict)}
        if self._settings.account_id not in accounts:
            raise NeedsPerson(
                "account not allowed",
                f"the credentials work, but not for account_id {self._settings.account_id!r}; "
                "use the alphabetic id of an account they may act for",
            )
        return f"account {self._settings.account_id} is allowed"

    @property
    def _by_id(self) -> bool:
        return self._settings.audience_identifier == "external_audience_id"

    def _audience(self, batch: FoldedBatch, notes: Notes) -> Generator[Request, Response, int | None]:
        """The audience's id. A batch of removes alone creates nothing."""
        if self._by_id:
            return int(batch.lane.audience)
        if known := notes.get(_note(batch.lane)):
            return int(known)
        found = (yield from self._create(batch.lane)) if batch.adds else (yield from self._find(batch.lane))
        if found is not None:
            notes[_note(batch.lane)] = str(found)
        return found

    def _create(self, lane: LaneKey) -> Generator[Request, Response, int]:
        """Create the audience, or be told the id of the one that has this name already."""
        body = {
            "audience_name": lane.audience,
            "ttl_in_hours": self._settings.ttl_in_hours,
            "exclude_from_campaigns": self._settings.exclude_from_campaigns,
        }
        response = yield Request.json("POST", f"{self._account}/audience_onboarding/create", body)
        _check_account(response)
        audience_id = response.json().get("audience_id")
        if not isinstance(audience_id, int):
            raise TryLater("malformed answer", "an audience was created without an audience_id", scope="lane")
        return audience_id

    def _find(self, lane: LaneKey) -> Generator[Request, Response, int | None]:
        response = yield Request.get(f"{self._account}/my_audiences")
        _check_account(response)
        for row in response.json().get("results") or []:
            if _is_first_party(row) and row.get("display_name") == lane.audience and isinstance(row.get("id"), int):
                return int(row["id"])
        return None


def _is_first_party(row: object) -> bool:
    """Of all audiences, pixel audiences among them, only those made by onboarding take users: they have no type."""
    return isinstance(row, dict) and row.get("type") is None


def _note(lane: LaneKey) -> str:
    return f"audience:{lane.audience}"


def _user(identifier: Identifier) -> dict[str, object]:
    if identifier.type == "email":
        return {"user_id": identifier.value, "type": "EMAIL_ID", "is_hashed": True}
    return {"user_id": identifier.value, "type": "DEVICE_ID", "is_hashed": False}


def _check(lane: LaneKey, notes: Notes, response: Response) -> None:
    if response.status == BAD_REQUEST and response.json_or_empty().get("offending_field") == "audience_id":
        notes.pop(_note(lane), None)
        raise TryLater(
            "audience not usable",
            "Taboola does not know the audience, or not yet: a new one takes up to an hour",
            scope="lane",
        )
    _check_account(response)
    if response.content.lstrip().startswith(b"<"):
        raise TryLater("malformed answer", "a page in place of a blank answer")


def _check_account(response: Response) -> None:
    answer = response.json_or_empty()
    words = scrub(answer.get("message") or "")
    if response.status in {400, 404} and words == "Unknown publisher":
        raise NeedsPerson("unknown account", "Taboola does not know account_id; use the account's alphabetic id")
    if response.status == NOT_FOUND:
        raise NeedsPerson("not found", f"{words}: check api_url and account_id")
    if response.status == BAD_REQUEST:
        if says_too_many(words):
            raise TooLarge("request too large", words)
        field = scrub(answer.get("offending_field") or "")
        raise Refused(f"refused {field}".strip(), words)
    expect_success(response)
