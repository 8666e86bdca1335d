"""What Taboola has against a request, in JSON, XML or on a page, and what it orders."""

import re
from collections.abc import Iterable
from dataclasses import replace
from typing import Final, NamedTuple

from worker.destinations.base import Response, expect_success, says_too_many, scrub
from worker.errors import DeliveryError, NeedsPerson, Refused, TooLarge, TryLater
from worker.markup import elements, is_markup, plain, root, text

BAD_REQUEST: Final = 400
FORBIDDEN: Final = 403
NOT_FOUND: Final = 404
CONFLICT: Final = 409
CONTENT_TOO_LARGE: Final = 413
UNPROCESSABLE: Final = 422
_OF_THE_TIME: Final = {401, 408, 410, 425, 429}
"""Those 4xx that `expect_success` reads; they concern no request of its own."""
_OF_THE_CONTENT: Final = {BAD_REQUEST, CONFLICT, CONTENT_TOO_LARGE, UNPROCESSABLE}
_OF_CREDENTIALS: Final = {
    "badclientcredentialsexception",
    "unauthorizedexception",
    "invalidclient",
    "invalidtoken",
    "unauthorized",
}
"""OAuth errors, and the exceptions in which the XML wraps them, in plain form."""
_OF_EVERY_REQUEST: Final = {"operation", "integrationsource"}
"""Fields that are the same whoever is added or removed."""

_ACCOUNT_UNKNOWN: Final = re.compile(
    r"unknown (publisher|account|advertiser)|\b(publisher|account|advertiser)\b.{0,40}\bnot (found|exist)",
    re.IGNORECASE,
)
_FIELD_UNKNOWN: Final = re.compile(r"(unknown|unrecognized|unrecognised|unexpected) (field|property)", re.IGNORECASE)
_NAME_TAKEN: Final = re.compile(r"already (exist|in use|taken)|must be unique|duplicate", re.IGNORECASE)
_AUDIENCE: Final = re.compile(
    r"(unknown|invalid|unsupported|wrong|no such) audience"
    r"|\baudience([ _]?id)?\b[^.;]{0,40}\b(not|unknown|invalid|unsupported|unavailable|inactive|pending|yet)\b",
    re.IGNORECASE,
)
_QUOTED: Final = re.compile(r"'[^']*'|\"[^\"]*\"|`[^`]*`")


class Complaint(NamedTuple):
    """What Taboola, or something in between, has against a request."""

    status: int
    account: str
    """For whose sake it was asked, fit for status."""
    words: str = ""
    field: str = ""
    """The field that it blames."""
    of_credentials: bool = False
    """Whether it is about the credentials, whatever its status."""
    readable: bool = True
    """Whether the words stand where Taboola puts them, rather than on some page."""

    @property
    def said(self) -> str:
        """For a person: without the values that Taboola likes to repeat."""
        return scrub(_QUOTED.sub("'…'", self.words)) or f"HTTP {self.status}"

    @property
    def says_name_is_taken(self) -> bool:
        return self.status in _OF_THE_CONTENT and _NAME_TAKEN.search(self.words) is not None

    @property
    def is_vague(self) -> bool:
        """Whether it blames no field: only `http_status` and `message` may be relied on (error page)."""
        return self.status in _OF_THE_CONTENT and self.readable and not self.field

    def without(self, values: Iterable[str]) -> "Complaint":
        """The same, with nothing in it of what was sent."""
        words, field = self.words, self.field
        for value in values:
            if value in words or value in field:
                words, field = words.replace(value, "…"), field.replace(value, "…")
        return self._replace(words=words, field=field)

    def blames_audience(self, audience_id: int) -> bool:
        """Whether the audience is unknown, somebody else's, of another kind, or not ready (seen: 400)."""
        if self.status not in {*_OF_THE_CONTENT, NOT_FOUND}:
            return False
        if self.field:
            return plain(self.field) in {"audienceid", "audience"}
        if f"'{audience_id}'" in self.words:
            return True
        return _AUDIENCE.search(self.words) is not None and not says_too_many(self.words)

    def order(self, *, alone: bool) -> DeliveryError:
        """What a complaint about users orders. `alone`: the request was about one person, so it is not its size."""
        if self.status not in _OF_THE_CONTENT:
            return self.against_account()
        about_number = plain(self.field) in {"", "identities"} and says_too_many(self.words)
        if not alone and (about_number or self.status == CONTENT_TOO_LARGE):
            return TooLarge("request too large", self.said)
        if self.status == CONTENT_TOO_LARGE or not self.readable:
            return self._unreadable()
        if plain(self.field) in _OF_EVERY_REQUEST or _FIELD_UNKNOWN.search(self.words):
            return NeedsPerson("request refused", f"{self.said}; try without integration_source, if it is set")
        return Refused(f"refused {scrub(self.field)}".strip(), self.said)

    def against_audience(self) -> DeliveryError:
        """What a complaint about a creation orders: nobody in the lane is to blame for the audience."""
        if self.status not in _OF_THE_CONTENT or not self.readable:
            return self.against_account()
        advice = "check the audience's name, ttl_in_hours and integration_source"
        return NeedsPerson("audience refused", f"Taboola does not create it: {self.said}; {advice}", scope="lane")

    def against_account(self) -> DeliveryError:
        """What a complaint orders that is about no content."""
        if self.status == FORBIDDEN:
            advice = f"the credentials may not act for account {self.account}, or it is not active"
            return NeedsPerson("forbidden", f"{advice}: {self.said}")
        if self.status == NOT_FOUND:
            return NeedsPerson("not found", f"check api_url, and account {self.account}: {self.said}")
        if not self.readable:
            return self._unreadable()
        return NeedsPerson("request refused", f"{self.said}; check account {self.account}, and api_url")

    def _unreadable(self) -> TryLater:
        """Nobody is refused for what may be a proxy's mood; it shows in `status` if it lasts."""
        return TryLater("malformed answer", f"HTTP {self.status} without Taboola's words: {self.said}", scope="lane")


def complaint_of(response: Response, account: str) -> Complaint | None:
    """What there is against the request; None: it was taken.

    Raises what concerns no single request: credentials, an unknown account, limits, an outage. Errors come in XML
    unless JSON is asked for, and may come so anyway (pages "client credentials flow", "request basics").
    """
    complaint = _read(response, scrub(repr(account)))
    if not BAD_REQUEST <= complaint.status < 500 or complaint.status in _OF_THE_TIME:  # noqa: PLR2004 - the 4xx
        expect_success(replace(response, status=complaint.status))
        return None
    if complaint.of_credentials:
        advice = "Taboola's API refuses them; check client_id, client_secret and their rights"
        raise NeedsPerson("credentials refused", advice)
    if _ACCOUNT_UNKNOWN.search(complaint.words):
        advice = "use the account's alphabetic id"
        raise NeedsPerson("unknown account", f"Taboola does not know account {complaint.account}; {advice}")
    return complaint


def _read(response: Response, account: str) -> Complaint:
    if is_markup(response.content):
        told = elements(response.content)
    else:
        told = {
            plain(each): str(value) for each, value in response.json_or_empty().items() if isinstance(value, str | int)
        }
    status = _status(response.status, told.get("httpstatus", ""))
    words = told.get("message") or told.get("errordescription") or told.get("error") or ""
    readable = bool(words)
    if not readable and is_markup(response.content):
        words = text(response.content)
    of_credentials = any(plain(each) in _OF_CREDENTIALS for each in (told.get("error", ""), root(response.content)))
    return Complaint(status, account, words, told.get("offendingfield", ""), of_credentials, readable)


def _status(status: int, told: str) -> int:
    """A 200 whose body tells of an error is one."""
    failed = status < 300 and re.fullmatch("[45][0-9]{2}", told)  # noqa: PLR2004 - the classes of HTTP
    return int(told) if failed else status
