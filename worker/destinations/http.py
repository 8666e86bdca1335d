"""HTTP: a webhook of one's own, or any API that takes lists of members as JSON.

Unless configured otherwise, a batch is these two requests at most, each with an `Idempotency-Key` of its own:

    POST {api_url}
    {"audience": "vip", "operation": "remove", "members": [{"identifiers": [{"type": "email", "value": "…"}]}]}
    {"audience": "vip", "operation": "add", "members": [{"identifiers": […], "properties": {"plan": "gold"}}]}

A 2xx takes them all but those it names: `{"refused": [{"identifier": "…", "reason": "…"}]}`. It may be blank.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import chain, zip_longest
from typing import Final, Literal
from urllib.parse import quote

import msgspec
from pydantic import SecretStr

from worker.contract import Identifier, LaneKey
from worker.destinations.base import (
    Conversation,
    Credential,
    Destination,
    Entry,
    FoldedBatch,
    Notes,
    Probe,
    Receipt,
    Request,
    Response,
    expect_success,
    is_hashed,
    says_too_many,
    scrub,
    sha256_hex,
)
from worker.destinations.http_settings import (
    MAX_MEMBERS,
    OPERATIONS,
    PLACEHOLDER_OF,
    HttpSettings,
    Operation,
    OperationName,
)
from worker.destinations.http_template import Json, fill
from worker.errors import NeedsPerson, Refused, TooLarge, TryLater


class Http(Destination):
    """Removes, then adds. Membership is what the receiver keeps per identifier."""

    Settings = HttpSettings
    max_changes = MAX_MEMBERS
    requests_a_batch = 2

    def __init__(self, settings: HttpSettings) -> None:
        self._settings = settings
        self._secrets = {
            each.get_secret_value() for each in (settings.bearer_token, *settings.headers.values()) if each
        }

    @property
    def credential(self) -> Credential:
        """A bearer token, headers, both or neither."""
        return Credential(
            api_url=self._settings.api_url,
            client_id="",
            secret=self._settings.bearer_token or SecretStr(""),
            calls_per_minute=self._settings.calls_per_minute,
            headers=self._settings.headers,
        )

    def vendor_form(self, identifier: Identifier) -> Identifier:
        """With `hash_emails`, emails as the SHA-256 of the lower-case address in lower-case hex; else as they are."""
        if self._settings.hash_emails and identifier.type == "email" and not is_hashed(identifier.value):
            return Identifier("email", sha256_hex(identifier.value))
        return identifier

    def note_keys(self, lane: LaneKey) -> tuple[str, ...]:
        del lane
        return ()

    def converse(self, batch: FoldedBatch, notes: Notes) -> Conversation:
        del notes
        refused: dict[Identifier, str] = {}
        unnamed = 0
        for name in OPERATIONS:
            entries = batch.removes if name == "remove" else batch.adds
            members = list(chain.from_iterable(_members(each, self._settings.identifiers) for each in entries))
            if members:
                operation = self._settings.operation(name)
                response = yield self._request(name, operation, batch, members)
                self._expect_taken(response, members, operation)
                receipt = _receipt(response, members)
                refused |= receipt.refused
                unnamed += receipt.invalid_unnamed
        return Receipt(refused, unnamed)

    def probe(self) -> Probe:
        """Only the operator knows a request that changes nothing."""
        if self._settings.probe_url is None:
            yield from ()
            return "not tried, since there is no probe_url"
        response = yield Request.get(self._settings.probe_url)
        _expect_no_person(response)
        expect_success(response)
        return f"probe_url answers with HTTP {response.status}"

    def _request(
        self, name: OperationName, operation: Operation, batch: FoldedBatch, members: Sequence[Entry]
    ) -> Request:
        """The key is that of this attempt: a later one may carry other changes, and must not be taken for this one."""
        common = {"audience": batch.lane.audience, "operation": operation.word}
        filled = [fill(self._settings.member, common | _values(each)) for each in members]
        headers = {
            "content-type": "application/json",
            "accept": "application/json",
            "idempotency-key": f"{batch.id}-{name}",
        }
        body = fill(operation.body, common | {"members": filled})
        url = _url(self._settings.api_url, operation, batch.lane.audience)
        return Request(operation.method, url, msgspec.json.encode(body), headers)

    def _expect_taken(self, response: Response, members: Sequence[Entry], operation: Operation) -> None:
        if response.status in _FOR_CONTENT:
            words = self._words(response, members)
            if says_too_many(words):
                raise TooLarge("request too large", words)
            raise Refused("refused", words or f"HTTP {response.status}")
        _expect_no_person(response, "lane" if operation.names_audience else "destination")
        expect_success(response)

    def _words(self, response: Response, members: Sequence[Entry]) -> str:
        """What the receiver says, without what it was sent."""
        answer = response.json_or_empty()
        said = next((answer[each] for each in _WORDS if isinstance(answer.get(each), str)), "")
        sent = {each.value for member in members for each in member.identifiers} | self._secrets
        return scrub(_without(said, sent)) if len(said) <= _LONGEST_READ else ""


_FOR_CONTENT: Final = {400, 422}
_LEFT_TO_STATUS: Final = {408, 413, 425, 429}
_NOT_FOUND: Final = {404, 410}
_WORDS: Final = ("message", "error", "detail", "title")
"""Where receivers say what is wrong; the last two are those of RFC 9457."""
_LONGEST_READ: Final = 2_000
_CREDENTIALS: Final = {
    401: NeedsPerson("credentials refused", "check bearer_token and headers"),
    403: NeedsPerson("forbidden", "check what bearer_token and headers may do at api_url"),
}


def _expect_no_person(response: Response, scope: Literal["lane", "destination"] = "destination") -> None:
    """Of the 4xx, few are about the content or pass by themselves. All others somebody has to mend."""
    status = response.status
    if status in _CREDENTIALS:
        found = _CREDENTIALS[status]
        raise NeedsPerson(found.reason, found.detail)
    if status in _NOT_FOUND:
        whose = "the receiver may not know the audience; else " if scope == "lane" else ""
        raise NeedsPerson("not found", f"HTTP {status}: {whose}check api_url and path", scope=scope)
    if 400 <= status < 500 and status not in _FOR_CONTENT | _LEFT_TO_STATUS:  # noqa: PLR2004 - the classes of HTTP
        raise NeedsPerson("request not understood", f"HTTP {status}: check api_url, path, method and headers")


def _url(api_url: str, operation: Operation, audience: str) -> str:
    """The path goes before what `api_url` asks with, its own question after that."""
    if operation.names_audience and audience in {".", ".."}:
        raise NeedsPerson(
            "audience not addressable", "no path can hold such a name; use $audience in body", scope="lane"
        )
    base, _, asked = api_url.partition("?")
    path, _, also = operation.path.replace("$audience", quote(audience, safe="")).partition("?")
    query = "&".join(filter(None, (asked, also)))
    return (base.rstrip("/") + path if path else base) + (f"?{query}" if query else "")


def _members(entry: Entry, types: Collection[str]) -> Iterator[Entry]:
    """One for each email and each phone; devices stand with the first. Identifiers of other types are left out."""
    of = {kind: [each for each in entry.identifiers if each.type == kind] for kind in types}
    devices = of.pop("device", [])
    for singles in list(zip_longest(*of.values())) or [()]:
        identifiers = (*filter(None, singles), *devices)
        devices = []
        if identifiers:
            yield Entry(entry.position, identifiers, entry.properties)


def _values(member: Entry) -> dict[str, Json]:
    values: dict[str, Json] = {"identifiers": [{"type": each.type, "value": each.value} for each in member.identifiers]}
    for each in member.identifiers:
        if each.type == "device":
            values.setdefault("devices", []).append(each.value)
        else:
            values[PLACEHOLDER_OF[each.type]] = each.value
    if member.properties:
        values["properties"] = member.properties
        values |= {f"properties.{name}": value for name, value in member.properties.items()}
    return values


class _Refusal(msgspec.Struct, frozen=True):
    identifier: str
    reason: str | None = None


def _receipt(response: Response, members: Sequence[Entry]) -> Receipt:
    """Whom a 2xx refuses. A page, or half an object, is no success; a word is."""
    body = response.content.strip()
    if body.startswith(b"<"):
        raise TryLater("malformed answer", "a page in place of an answer")
    if not body.startswith(b"{"):
        return Receipt()
    try:
        refusals = msgspec.convert(response.json().get("refused") or [], list[_Refusal])
    except msgspec.ValidationError:
        raise TryLater("malformed answer", 'refused must be a list of {"identifier", "reason"}') from None
    sent = _by_value(members)
    refused = {each: _reason(refusal) for refusal in refusals for each in sent.get(refusal.identifier, ())}
    return Receipt(refused, sum(refusal.identifier not in sent for refusal in refusals))


def _by_value(members: Sequence[Entry]) -> dict[str, list[Identifier]]:
    """An email and a device may have one value, though hardly ever."""
    found: dict[str, list[Identifier]] = {}
    for each in chain.from_iterable(member.identifiers for member in members):
        found.setdefault(each.value, []).append(each)
    return found


def _reason(refusal: _Refusal) -> str:
    return scrub(_without(refusal.reason or "", [refusal.identifier])) or "refused"


def _without(text: str, parts: Iterable[str]) -> str:
    for part in filter(None, parts):
        text = text.replace(part, "…")
    return text
