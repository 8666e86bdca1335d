"""Reads Criteo's answers: what they hold, and whom a refusal concerns (the people, one list, or everything)."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple

from worker.contract import Identifier
from worker.destinations.base import Receipt, Response, expect_success, says_too_many, scrub
from worker.errors import DeliveryError, NeedsPerson, Refused, TooLarge, TryLater

CONFLICT: Final = 409
FORBIDDEN: Final = 403
NOT_FOUND: Final = 404

Problem = Mapping[str, Any]


class ContactList(NamedTuple):
    """A contact list as a search shows it."""

    id: str
    name: str
    read_only: bool = False


class ListRefused(Exception):
    """Criteo takes no changes for this contact list: it is gone, another's, of another type or read-only."""


# ── What went wrong ──────────────────────────────────────────────────────────────────────────────

_PASSING: Final = frozenset({"availability", "quota"})
"""Types of problems that end by themselves; a quota is taken for that of one list, since the rate has its own 429."""
_RIGHTS: Final = frozenset({"access-control", "access_control", "authentication", "authorization"})
_OF_THE_LIST: Final = re.compile(
    r"audience-invalid|(audience|segment|contact-?list)-not-found|read-?only", re.IGNORECASE
)
"""No page tells which code a list gets that is another's, of another type or read-only."""
_NOT_UNDERSTOOD: Final = ("request not understood", "check api_url: something there does not take Criteo's requests")
_FOR_A_PERSON: Final = {
    401: ("credentials refused", "the API refused a new token; check the client id, its secret and rights"),
    403: ("forbidden", "check the app's consent, scope and advertiser"),
    404: ("not found", "Criteo does not know this address; check api_url and api_version"),
    405: _NOT_UNDERSTOOD,
    406: _NOT_UNDERSTOOD,
    415: _NOT_UNDERSTOOD,
}
_NOT_GRANTED: Final = (
    "advertiser refused",
    "check advertiser_id, and open the app's consent link as that advertiser: it grants no access, or none any more",
)


def checked(response: Response) -> dict[str, Any]:
    """The answer of a request that Criteo took. Raises `Refused` or `TooLarge` if it does not like the content."""
    failures = problems(response, "errors")
    order = _order(response.status, failures)
    if order is not None:
        raise order
    try:
        expect_success(response)
    except DeliveryError as failure:
        failure.detail = "; ".join(filter(None, (failure.detail, words(failures))))
        raise
    return response.json()


def checked_without_people(response: Response) -> dict[str, Any]:
    """Like `checked`, for a request that names nobody: whatever is wrong with it, no change may be buried for it."""
    try:
        return checked(response)
    except (Refused, TooLarge) as refusal:
        raise NeedsPerson("request refused", f"{refusal.reason}: {refusal.detail}") from None


def refuses_the_list(response: Response) -> bool:
    """Whether the contact list named in the URL is not there, not ours, no contact list, or read-only."""
    if response.status == NOT_FOUND:
        return True
    return response.status < 500 and any(_OF_THE_LIST.search(str(each.get("code"))) for each in problems(response))  # noqa: PLR2004 - the classes of HTTP


def passes(failures: Sequence[Problem]) -> bool:
    """Whether they end by themselves."""
    return {str(each.get("type")) for each in failures} <= _PASSING


def _order(status: int, failures: Sequence[Problem]) -> DeliveryError | None:
    """Problems may also come with a 200."""
    said = words(failures)
    if status in {400, FORBIDDEN, 422} and any("advertiser" in str(each.get("code")) for each in failures):
        return _for_a_person(_NOT_GRANTED, said)
    if status in _FOR_A_PERSON:
        return _for_a_person(_FOR_A_PERSON[status], said)
    if status == CONFLICT:
        return TryLater("conflict", said, scope="lane")
    if failures and (status in {400, 422} or 200 <= status < 300):  # noqa: PLR2004 - the classes of HTTP
        return _order_of_types(failures, said)
    return None


def _order_of_types(failures: Sequence[Problem], said: str) -> DeliveryError:
    types = {str(each.get("type")) for each in failures}
    if passes(failures):
        return TryLater("vendor error", said, scope="lane" if types == {"quota"} else "destination")
    if types & _RIGHTS:
        return _for_a_person(_FOR_A_PERSON[FORBIDDEN], said)
    if says_too_many(said):
        return TooLarge("request too large", said)
    return Refused(scrub(", ".join(sorted({str(each.get("code")) for each in failures}))), said)


def _for_a_person(advice: tuple[str, str], said: str) -> NeedsPerson:
    reason, what_to_do = advice
    return NeedsPerson(reason, f"{said}: {what_to_do}" if said else what_to_do)


def problems(response: Response, *places: Literal["errors", "warnings"]) -> list[Problem]:
    """Errors and warnings, or those at one of these places, but for deprecations. A failure's body may be anything."""
    answer = response.json_or_empty()
    lists = [answer.get(place) for place in places or ("errors", "warnings")]
    told = [each for found in lists if isinstance(found, list) for each in found if isinstance(each, dict)]
    return [each for each in told if each.get("type") != "deprecation"]


def words(told: Sequence[Problem]) -> str:
    """Codes, details and Criteo's trace ids, for whoever asks its support."""
    return scrub("; ".join(f"{each.get('code')} {each.get('detail') or ''} (trace {_trace(each)})" for each in told))


def _trace(problem: Problem) -> object:
    return problem.get("traceId") or problem.get("traceIdentifier")


# ── What an answer holds ─────────────────────────────────────────────────────────────────────────


def contact_lists(answer: Mapping[str, Any]) -> list[ContactList]:
    """The contact lists on a page of a search, or those that were created."""
    return [_contact_list(row) for row in rows(answer)]


def _contact_list(row: Mapping[str, Any]) -> ContactList:
    attributes = _attributes(row)
    options = attributes.get("contactList")
    read_only = isinstance(options, dict) and options.get("isReadOnly") is True
    return ContactList(str(row["id"]), str(attributes.get("name")), read_only)


def rows(answer: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """What has an id in `data`, which may be null or absent."""
    found = answer.get("data")
    return [row for row in found if isinstance(row, dict) and row.get("id")] if isinstance(found, list) else []


def total(answer: Mapping[str, Any]) -> int | None:
    """`meta.totalItems`; None: the answer does not tell."""
    meta = answer.get("meta")
    items = meta.get("totalItems") if isinstance(meta, dict) else None
    return items if isinstance(items, int) else None


def statistics(answer: Mapping[str, Any]) -> dict[str, int | float | None]:
    """How many identifiers are on the list, how many Criteo knows, and their share as Criteo puts it."""
    attributes = _attributes(answer.get("data"))
    names = {"identifiers": "numberOfIdentifiers", "matches": "numberOfMatches", "match_rate": "matchRate"}
    return {name: _number(attributes.get(theirs)) for name, theirs in names.items()}


def receipt(answer: Mapping[str, Any], sent: Sequence[Identifier]) -> Receipt:
    """Which identifiers of an amendment are invalid: those in the sample, or all."""
    attributes = _attributes(answer.get("data"))
    by_value = {identifier.value: identifier for identifier in sent}
    invalid = int(_number(attributes.get("nbInvalidIdentifiers")) or 0)
    if invalid >= len(by_value):
        return Receipt(dict.fromkeys(sent, "invalid identifier"))
    sample = attributes.get("sampleInvalidIdentifiers")
    echoes = [_as_sent(str(each), by_value) for each in sample] if isinstance(sample, list) else []
    named = {each for each in echoes if each is not None}
    return Receipt(dict.fromkeys(named, "invalid identifier"), max(0, invalid - len(named)))


def _as_sent(echo: str, sent: Mapping[str, Identifier]) -> Identifier | None:
    """The identifier that Criteo echoes in its sample."""
    forms = (echo, echo.strip(), echo.strip().lower())
    return next((sent[form] for form in forms if form in sent), None)


def _attributes(row: object) -> Mapping[str, Any]:
    attributes = row.get("attributes") if isinstance(row, dict) else None
    return attributes if isinstance(attributes, dict) else {}


def _number(value: object) -> int | float | None:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None
