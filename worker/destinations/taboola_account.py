"""One account at Taboola: the three requests of audience onboarding, each with what its answers order."""

from collections.abc import Generator, Sequence
from typing import Final, Literal, NamedTuple, TypeVar
from urllib.parse import quote, unquote

from worker.contract import Identifier
from worker.destinations.base import Entry, Request, Response, is_hashed
from worker.destinations.taboola_answers import Audience, audiences, created, named
from worker.destinations.taboola_complaints import Complaint, complaint_of
from worker.destinations.taboola_terms import Wanted
from worker.errors import NeedsPerson, TryLater
from worker.markup import is_markup

_Found = TypeVar("_Found")
Asking = Generator[Request, Response, _Found]
"""A part of a conversation."""
Operation = Literal["REMOVE", "ADD"]

_SHA256_LENGTH: Final = 64
_NO_SEGMENT: Final = {"", ".", ".."}
"""What no path can hold as a segment of its own, however it is escaped."""


class Place(NamedTuple):
    """An account and the audience in it. The only place that knows how lanes name those of several accounts.

    A lane is called `@{account}/{audience}`, the account quoted, where that is not the configured account, or the
    audience's own name begins with "@"; else it is called as the audience.
    """

    account: str
    audience: str

    @classmethod
    def of(cls, lane_audience: str, configured: str) -> "Place":
        """What a lane's name says.

        >>> Place.of("@acme%2Feu/vip/gold", "my-account"), Place.of("vip", "my-account")
        (Place(account='acme/eu', audience='vip/gold'), Place(account='my-account', audience='vip'))
        """
        account, slash, audience = lane_audience.partition("/")
        if lane_audience.startswith("@") and slash:
            return cls(unquote(account[1:]), audience)
        return cls(configured, lane_audience)

    def lane_audience(self, configured: str) -> str:
        if self.account == configured and not self.audience.startswith("@"):
            return self.audience
        return f"@{quote(self.account, safe='')}/{self.audience}"


class Account:
    """Asks as one account. Raises `DeliveryError` for all that is about no person's data."""

    def __init__(self, api: str, account: str) -> None:
        """Raises `NeedsPerson` for what can be no account id: the URL would lead elsewhere."""
        if account in _NO_SEGMENT:
            raise NeedsPerson("unknown account", f"{account!r} is no account id; use the account's alphabetic id")
        self.id = account
        self._url = f"{api}/{quote(account, safe='')}"

    def audiences(self) -> Asking[list[Audience]]:
        """All that the account sees, those of its network among them (page "get all my audiences")."""
        response = yield Request.get(f"{self._url}/my_audiences")
        complaint = complaint_of(response, self.id)
        if complaint is not None:
            raise complaint.against_account()
        return audiences(response.json())

    def create(self, name: str, wanted: Wanted) -> Asking[Audience]:
        """Create the audience, or be told the one that has this name already (page "create")."""
        response = yield Request.json("POST", f"{self._url}/audience_onboarding/create", wanted.body(name))
        complaint = complaint_of(response, self.id)
        if complaint is not None and not complaint.says_name_is_taken:
            raise complaint.against_audience()
        told = None if complaint is not None else created(response.json(), name)
        found = told or named((yield from self.audiences()), name, self.id)
        if found is None:
            detail = "Taboola has it, but does not list it yet, and did not tell its id"
            raise TryLater("audience id not told", detail, scope="lane")
        return found

    def amend(
        self, operation: Operation, audience_id: int, entries: Sequence[Entry], source: str | None
    ) -> Asking[Complaint | None]:
        """Add or remove users. Success is a 200 with an empty body, and tells nothing of single users."""
        identities = [{"cluster": cluster} for entry in entries if (cluster := _cluster(entry))]
        if not identities:
            return None
        body: dict[str, object] = {"operation": operation, "audience_id": audience_id, "identities": identities}
        if source is not None:
            body["integration_source"] = source
        response = yield Request.json("POST", f"{self._url}/audience_onboarding", body)
        complaint = complaint_of(response, self.id)
        if complaint is not None:
            return complaint.without(each.value for entry in entries for each in entry.identifiers)
        if is_markup(response.content):
            raise TryLater("malformed answer", "a page in place of a blank answer")
        return None


def _cluster(entry: Entry) -> list[dict[str, object]]:
    """All ids of one person that Taboola may know (page "user id object"); an erasure may name others."""
    return [user for each in entry.identifiers if (user := _user(each)) is not None]


def _user(identifier: Identifier) -> dict[str, object] | None:
    match identifier.type:
        case "email" if is_hashed(identifier.value) and len(identifier.value) == _SHA256_LENGTH:
            return {"user_id": identifier.value, "type": "EMAIL_ID", "is_hashed": True}
        case "device":
            return {"user_id": identifier.value, "type": "DEVICE_ID", "is_hashed": False}
        case _:
            return None
