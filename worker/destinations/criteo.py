"""Criteo: contact lists of one advertiser, over the Marketing Solutions API (stable version 2026-07)."""

from collections.abc import Generator, Mapping, Sequence
from typing import Annotated, Any, Final, Literal

from pydantic import Field, StringConstraints

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

PAGE: Final = 100
SEARCHED: Final = "searched"
"""The note that all contact lists were noted once."""
PUBLISHED_CALLS_PER_MINUTE: Final = 250
"""Of one application with client credentials (page "rate limits")."""
MAX_IDENTIFIERS = 50_000
"""Identifiers in one amendment (guide "audience segments", section on managing contact lists)."""


class CriteoBatch(BatchSettings):
    max_changes: Annotated[int, Field(ge=1, le=MAX_IDENTIFIERS)] = MAX_IDENTIFIERS


class CriteoSettings(DestinationSettings):
    kind: Literal["criteo"]
    api_url: ApiUrl = "https://api.criteo.com"
    api_version: Annotated[str, StringConstraints(pattern=r"^\d{4}-\d{2}$")] = "2026-07"
    advertiser_id: Annotated[str, StringConstraints(pattern=r"^\d+$")]
    client_id: Text
    client_secret: Secret
    hash_emails: bool = False
    batch: CriteoBatch = CriteoBatch()

    def reading(self) -> Reading:
        return Reading(identifiers=("email",))

    def target(self) -> tuple[str, ...]:
        return (self.api_url, self.advertiser_id)


class Criteo(Destination):
    """Finds (or creates) the contact list by its name, then amends it: removes, then adds."""

    Settings = CriteoSettings
    max_changes = MAX_IDENTIFIERS
    requests_a_batch = 4

    def __init__(self, settings: CriteoSettings) -> None:
        self._settings = settings
        self._api = f"{settings.api_url}/{settings.api_version}"
        self._segments = f"{self._api}/marketing-solutions/audience-segments"

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
        """Emails plain or as SHA-256, as configured; one that is hashed already stays as it is."""
        if self._settings.hash_emails and not is_hashed(identifier.value):
            return Identifier("email", sha256_hex(identifier.value))
        return identifier

    def note_keys(self, lane: LaneKey) -> tuple[str, ...]:
        return (_note(lane.audience), SEARCHED)

    def converse(self, batch: FoldedBatch, notes: Notes) -> Conversation:
        try:
            return (yield from self._deliver(batch, notes))
        except _ListGone:
            notes.pop(_note(batch.lane.audience), None)
            notes.pop(SEARCHED, None)
        try:
            return (yield from self._deliver(batch, notes))
        except _ListGone as gone:
            raise NeedsPerson("contact list refused", f"{gone}: Criteo lists it but takes no changes for it") from None

    def probe(self) -> Probe:
        """Search as a flush would; then, where Criteo tells, see whether the advertiser has granted access."""
        _checked((yield self._search(limit=1, offset=0)))
        response = yield Request.get(f"{self._api}/advertisers/me")
        granted = {str(row["id"]) for row in _rows(response.json_or_empty())}
        if granted and self._settings.advertiser_id not in granted:
            raise NeedsPerson(
                "advertiser not granted",
                f"the credentials work, but advertiser {self._settings.advertiser_id} has not granted this app access; "
                "open the app's consent link as that advertiser",
            )
        return f"contact lists of advertiser {self._settings.advertiser_id} can be read"

    def _deliver(self, batch: FoldedBatch, notes: Notes) -> Conversation:
        note, name = _note(batch.lane.audience), batch.lane.audience
        if note not in notes and not (SEARCHED in notes and batch.adds):
            yield from self._search_all(notes)
        if note not in notes:
            if not batch.adds:
                return Receipt()  # nobody is on a list that does not exist
            notes[note] = yield from self._create(name, notes)
        list_id, removes = notes[note], batch.removes
        removed = yield from self._amend(list_id, "remove", removes)
        added = yield from self._amend(list_id, "add", batch.adds)
        return Receipt({**removed.refused, **added.refused}, removed.invalid_unnamed + added.invalid_unnamed)

    def _search_all(self, notes: Notes) -> Generator[Request, Response, None]:
        """Note every contact list of the advertiser: there is no search by name.

        Once that is done, a name that is not noted is new, or somebody else's: creating it tells.
        """
        offset = 0
        while True:
            answer = _checked((yield self._search(limit=PAGE, offset=offset)))
            rows = _rows(answer)
            notes.update({_note(str(_attributes(row).get("name"))): str(row["id"]) for row in rows})
            offset += PAGE
            if not rows or offset >= _total(answer, default=offset + 1):
                break
        notes[SEARCHED] = "yes"

    def _search(self, *, limit: int, offset: int) -> Request:
        wanted = {"advertiserIds": [self._settings.advertiser_id], "audienceSegmentTypes": ["ContactList"]}
        body = {"data": {"type": "AudienceSegment", "attributes": wanted}}
        url = f"{self._segments}/search?limit={limit}&offset={offset}"
        return Request.json("POST", url, body, changes_nothing=True)

    def _create(self, name: str, notes: Notes) -> Generator[Request, Response, str]:
        attributes = {
            "advertiserId": self._settings.advertiser_id,
            "name": name,
            "description": name,
            "contactList": {},
        }
        body = {"data": [{"type": "AudienceSegment", "attributes": attributes}]}
        response = yield Request.json("POST", f"{self._segments}/create", body)
        problems = _problems(response.json_or_empty())
        if not any(problem.get("code") == "name-must-be-unique" for problem in problems):
            rows = _rows(_checked(response))
            if rows:
                return str(rows[0]["id"])
        yield from self._search_all(notes)  # somebody else has created it, or the answer does not say
        if _note(name) not in notes:
            raise TryLater("contact list not created", _words(problems), scope="lane")
        return notes[_note(name)]

    def _amend(
        self, list_id: str, operation: Literal["remove", "add"], entries: Sequence[Entry]
    ) -> Generator[Request, Response, Receipt]:
        if not entries:
            return Receipt()
        identifiers = [identifier.value for entry in entries for identifier in entry.identifiers]
        attributes = {"operation": operation, "identifierType": "email", "identifiers": identifiers}
        body = {"data": {"type": "ContactlistAmendment", "attributes": attributes}}
        response = yield Request.json("PATCH", f"{self._segments}/{list_id}/contact-list", body)
        return _receipt(_attributes(_checked(response).get("data")), set(identifiers))


class _ListGone(Exception):
    """The contact list is not there (404) or not ours (403) any more."""


def _note(name: str) -> str:
    return f"list:{name}"


def _receipt(attributes: Mapping[str, Any], sent: set[str]) -> Receipt:
    sample = attributes.get("sampleInvalidIdentifiers") or []
    invalid = attributes.get("nbInvalidIdentifiers") or 0
    all_invalid = int(invalid) >= len(sent)
    named = sent if all_invalid else {value for each in sample if (value := _as_sent(each, sent)) is not None}
    refused = {Identifier("email", value): "invalid identifier" for value in named}
    return Receipt(refused, max(0, int(invalid) - len(named)))


def _as_sent(echo: object, sent: set[str]) -> str | None:
    """The identifier that Criteo echoes in its sample, in the form it was sent."""
    value = str(echo)
    return value if value in sent else next((form for form in (value.strip().lower(),) if form in sent), None)


def _checked(response: Response) -> dict[str, Any]:
    """The answer of a request that Criteo took. Problems may also come with a 200."""
    problems = _problems(response.json_or_empty(), "errors")
    codes = {str(problem.get("code")) for problem in problems}
    if response.status in {403, 404} and "audience-invalid" in codes:
        raise _ListGone(_words(problems))
    if response.status == 403 and problems:  # noqa: PLR2004 - Forbidden
        raise NeedsPerson("forbidden", f"{_words(problems)}: check the app's consent, scope and advertiser")
    if response.status == 404:  # noqa: PLR2004 - Not Found
        raise NeedsPerson("not found", "Criteo does not know this address; check api_url and api_version")
    if response.status in {400, 422} and problems:
        words = _words(problems)
        raise TooLarge("request too large", words) if says_too_many(words) else Refused(", ".join(sorted(codes)), words)
    expect_success(response)
    answer = response.json()
    if problems:
        passing = all(problem.get("type") in {"availability", "quota"} for problem in problems)
        raise TryLater("vendor error", _words(problems)) if passing else Refused("refused", _words(problems))
    return answer


def _problems(answer: Mapping[str, Any], *places: str) -> list[dict[str, Any]]:
    found = [each for place in places or ("errors", "warnings") for each in answer.get(place) or []]
    return [each for each in found if isinstance(each, dict)]


def _words(problems: Sequence[Mapping[str, Any]]) -> str:
    """Codes, details and Criteo's trace ids, for whoever asks its support."""
    return scrub(
        "; ".join(f"{each.get('code')} {each.get('detail') or ''} (trace {each.get('traceId')})" for each in problems)
    )


def _rows(answer: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [row for row in answer.get("data") or [] if isinstance(row, dict) and row.get("id")]


def _attributes(row: object) -> Mapping[str, Any]:
    attributes = row.get("attributes") if isinstance(row, dict) else None
    return attributes if isinstance(attributes, dict) else {}


def _total(answer: Mapping[str, Any], *, default: int) -> int:
    """`meta.totalItems`; without it, go on while pages have rows."""
    meta = answer.get("meta")
    total = meta.get("totalItems") if isinstance(meta, dict) else None
    return total if isinstance(total, int) else default
