"""Criteo: contact lists of one advertiser, over the Marketing Solutions API (stable version 2026-07)."""

from collections.abc import Generator, Sequence
from typing import Annotated, Final, Literal

from pydantic import Field, StringConstraints, model_validator

from worker.contract import Identifier, IdentifierType, LaneKey
from worker.destinations.base import (
    ApiUrl,
    AudienceFacts,
    BatchSettings,
    Catalogue,
    Conversation,
    Credential,
    Destination,
    DestinationSettings,
    Entry,
    FoldedBatch,
    Notes,
    Probe,
    Reading,
    Receipt,
    Request,
    Response,
    Secret,
    Text,
)
from worker.destinations.criteo_answers import (
    FORBIDDEN,
    ContactList,
    ListRefused,
    checked,
    checked_without_people,
    problems,
    receipt,
    refuses_the_list,
    rows,
    statistics,
    words,
)
from worker.destinations.criteo_identifiers import CONTRACT_TYPES, CriteoType, forms, held
from worker.destinations.criteo_lists import SEARCHED, ContactLists, forget, note_of, read_only
from worker.errors import NeedsPerson, Refused
from worker.patterns import matches

PUBLISHED_CALLS_PER_MINUTE: Final = 250
"""Of one application with client credentials (page "rate limits")."""
MAX_IDENTIFIERS = 50_000
"""Identifiers in one amendment (guide "audience segments", section on managing contact lists)."""
PATTERN_CHARACTERS: Final = "*?["


class CriteoBatch(BatchSettings):
    max_changes: Annotated[int, Field(ge=1, le=MAX_IDENTIFIERS)] = MAX_IDENTIFIERS


class CriteoSettings(DestinationSettings):
    """A destination sends identifiers of one type, so that each of its contact lists holds but one.

    Whether a list may hold several types is not documented. Who wants two makes two destinations, each with the
    `audience_id` of a list of its own.
    """

    kind: Literal["criteo"]
    api_url: ApiUrl = "https://api.criteo.com"
    api_version: Annotated[str, StringConstraints(pattern=r"^\d{4}-\d{2}$")] = "2026-07"
    advertiser_id: Annotated[str, StringConstraints(pattern=r"^\d+$")]
    client_id: Text
    client_secret: Secret
    audience_id: Annotated[str, StringConstraints(pattern=r"^[1-9][0-9]*$")] | None = None
    """The contact list to write, in place of the one that is called like the audience."""
    identifier_type: CriteoType = "email"
    gum_caller_id: Annotated[int, Field(ge=1, lt=2**31)] | None = None
    """Whose `gum` ids they are; Criteo's account team tells it."""
    phone_region: Annotated[str, StringConstraints(pattern=r"^[A-Z]{2}$")] | None = None
    """The country (ISO 3166) of phone numbers that name none."""
    hash_emails: bool = False
    hash_phones: bool = False
    batch: CriteoBatch = CriteoBatch()

    @model_validator(mode="after")
    def _options_fit_type(self) -> "CriteoSettings":
        if (self.identifier_type == "gum") != (self.gum_caller_id is not None):
            raise ValueError('identifier_type = "gum" needs gum_caller_id, and only it')
        if self.phone_region is not None and self.identifier_type != "phoneNumber":
            raise ValueError('phone_region is for identifier_type = "phoneNumber" only')
        return self

    @model_validator(mode="after")
    def _one_audience_for_one_list(self) -> "CriteoSettings":
        literal = len(self.audiences) == 1 and not any(each in self.audiences[0] for each in PATTERN_CHARACTERS)
        if self.audience_id is not None and not literal:
            raise ValueError(
                "audience_id needs audiences to be one key without *, ? or [: two audiences on one contact list "
                "would undo each other"
            )
        return self

    def reading(self) -> Reading:
        kind = CONTRACT_TYPES[self.identifier_type]
        return Reading(
            identifiers=(kind,),
            phone_region=self.phone_region,
            audience_names=None if self.audience_id is None else {self.audiences[0]: self.audience_id},
        )

    def target(self) -> tuple[str, ...]:
        """The advertiser, whose lists are told apart by name; or all lists, which are told apart by id."""
        return (self.api_url, self.advertiser_id) if self.audience_id is None else (self.api_url, "audience_id")

    def writes(self) -> tuple[str, ...]:
        return self.audiences if self.audience_id is None else (self.audience_id,)


class Criteo(Destination):
    """Amends contact lists, removes before adds: the one of a fixed id, or those named like the audiences."""

    Settings = CriteoSettings
    max_changes = MAX_IDENTIFIERS
    requests_a_batch = 4

    def __init__(self, settings: CriteoSettings) -> None:
        self._settings = settings
        self._api = f"{settings.api_url}/{settings.api_version}"
        self._segments = f"{self._api}/marketing-solutions/audience-segments"
        self._lists = ContactLists(self._segments, settings.advertiser_id)
        self._type = CONTRACT_TYPES[settings.identifier_type]
        hashing: dict[IdentifierType, bool] = {"email": settings.hash_emails, "phone": settings.hash_phones}
        self._hashed = frozenset(kind for kind, wanted in hashing.items() if wanted)

    @property
    def credential(self) -> Credential:
        """Client credentials."""
        return Credential(
            api_url=self._settings.api_url,
            client_id=self._settings.client_id,
            secret=self._settings.client_secret,
            token_url=f"{self._settings.api_url}/oauth2/token",
            calls_per_minute=self._settings.calls_per_minute or PUBLISHED_CALLS_PER_MINUTE,
        )

    def vendor_form(self, identifier: Identifier) -> Identifier:
        """Emails and phones plain or as SHA-256, as configured; one that is hashed already stays as it is."""
        return held(identifier, self._hashed)

    def aliases(self, identifier: Identifier) -> tuple[Identifier, ...]:
        """Other settings, or somebody else, may have put an email or a phone on a list in another form."""
        return tuple(dict.fromkeys((*forms(identifier), self.vendor_form(identifier))))

    def note_keys(self, lane: LaneKey) -> tuple[str, ...]:
        return () if lane.audience == self._settings.audience_id else (note_of(lane.audience), SEARCHED)

    def converse(self, batch: FoldedBatch, notes: Notes) -> Conversation:
        """Of a lane from before `audience_id` was configured people only leave; its list is the one of that name."""
        fixed = self._settings.audience_id
        if fixed is not None and batch.lane.audience == fixed:
            return (yield from self._amend_fixed(fixed, batch))
        if fixed is not None and batch.adds:
            raise NeedsPerson(
                "another contact list",
                f"these changes came before audience_id = {fixed} was configured; they go out when it is taken away",
                scope="lane",
            )
        try:
            return (yield from self._amend_named(batch, notes))
        except ListRefused:
            forget(batch.lane.audience, notes)
        try:
            return (yield from self._amend_named(batch, notes))
        except ListRefused as again:
            raise _list_refused(again, "Criteo lists it but takes no changes for it; see why there") from None

    def probe(self) -> Probe:
        """Search as a flush would; where Criteo tells, see whether the advertiser has granted access."""
        advertiser, fixed = self._settings.advertiser_id, self._settings.audience_id
        found = yield from self._lists.search(limit=1, list_id=fixed)
        granted = {str(row["id"]) for row in rows((yield Request.get(f"{self._api}/advertisers/me")).json_or_empty())}
        if granted and advertiser not in granted:
            raise NeedsPerson(
                "advertiser not granted",
                f"the credentials work, but advertiser {advertiser} has not granted this app access; "
                "open the app's consent link as that advertiser",
            )
        if fixed is None:
            return f"contact lists of advertiser {advertiser} can be read"
        _check_fixed(fixed, advertiser, found)
        return f"contact list {fixed} of advertiser {advertiser} is there and can be changed"

    def audiences(self) -> Catalogue:
        """The contact lists that this destination can write; one that goes away meanwhile is left out."""
        if self._settings.audience_id is not None:
            lists = [ContactList(self._settings.audience_id, self._settings.audience_id)]
        else:
            lists = [each for each in (yield from self._lists.all()) if matches(each.name, self._settings.audiences)]
        found: list[AudienceFacts] = []
        for each in lists:
            response = yield Request.get(f"{self._segments}/{each.id}/contact-list/statistics")
            if response.status != FORBIDDEN and not refuses_the_list(response):
                found.append(AudienceFacts(each.name, each.id, statistics(checked_without_people(response))))
        return found

    def _amend_fixed(self, list_id: str, batch: FoldedBatch) -> Conversation:
        """Nothing is looked for or created."""
        try:
            return (yield from self._amend_both(list_id, batch))
        except ListRefused as refused:
            advice = "check audience_id; it must be a contact list of the advertiser that can be changed"
            raise _list_refused(refused, advice) from None

    def _amend_named(self, batch: FoldedBatch, notes: Notes) -> Conversation:
        list_id = yield from self._lists.named(batch.lane.audience, notes, create=bool(batch.adds))
        if list_id is None:
            return Receipt()  # nobody is on a list that does not exist
        return (yield from self._amend_both(list_id, batch))

    def _amend_both(self, list_id: str, batch: FoldedBatch) -> Conversation:
        removed = yield from self._amend(list_id, "remove", batch.removes)
        added = yield from self._amend(list_id, "add", batch.adds)
        return _both(removed, added)

    def _amend(self, list_id: str, operation: Literal["remove", "add"], entries: Sequence[Entry]) -> Conversation:
        """In as many requests as it takes: a change may have several device ids."""
        identifiers = [identifier for entry in entries for identifier in entry.identifiers]
        fitting = [identifier for identifier in identifiers if identifier.type == self._type]
        others = [identifier for identifier in identifiers if identifier.type != self._type]
        result = Receipt(dict.fromkeys(others, "not of the configured identifier_type"))
        for start in range(0, len(fitting), MAX_IDENTIFIERS):
            part = fitting[start : start + MAX_IDENTIFIERS]
            result = _both(result, (yield from self._amend_once(list_id, operation, part)))
        return result

    def _amend_once(self, list_id: str, operation: str, identifiers: Sequence[Identifier]) -> Conversation:
        attributes: dict[str, object] = {
            "operation": operation,
            "identifierType": self._settings.identifier_type,
            "identifiers": [identifier.value for identifier in identifiers],
        }
        if self._settings.gum_caller_id is not None:
            attributes["gumCallerId"] = self._settings.gum_caller_id
        body = {"data": {"type": "ContactlistAmendment", "attributes": attributes}}
        response = yield Request.json("PATCH", f"{self._segments}/{list_id}/contact-list", body)
        if refuses_the_list(response):
            raise ListRefused(words(problems(response)) or f"HTTP {response.status}")
        try:
            return receipt(checked(response), identifiers)
        except Refused as refusal:
            if not (yield from self._takes_changes(list_id)):
                raise ListRefused(refusal.detail) from None
            raise

    def _takes_changes(self, list_id: str) -> Generator[Request, Response, bool]:
        """Asked before people are buried for a refusal: no page tells how Criteo refuses the list itself."""
        found = yield from self._lists.search(list_id=list_id)
        return any(each.id == list_id and not each.read_only for each in found)


def _both(one: Receipt, other: Receipt) -> Receipt:
    return Receipt({**one.refused, **other.refused}, one.invalid_unnamed + other.invalid_unnamed)


def _list_refused(refused: ListRefused, advice: str) -> NeedsPerson:
    return NeedsPerson("contact list refused", f"{refused}: {advice}", scope="lane")


def _check_fixed(list_id: str, advertiser: str, found: Sequence[ContactList]) -> None:
    mine = next((each for each in found if each.id == list_id), None)
    if mine is None:
        raise NeedsPerson(
            "contact list missing",
            f"advertiser {advertiser} has no contact list with the id {list_id}; check audience_id",
            scope="lane",
        )
    if mine.read_only:
        raise read_only()
