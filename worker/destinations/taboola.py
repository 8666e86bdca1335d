"""Taboola: first-party audiences, over the Backstage API."""

import glob
import re
from collections.abc import Mapping
from typing import Annotated, Final, Literal

from pydantic import Field, model_validator

from worker.contract import Identifier, LaneKey
from worker.destinations.base import (
    AccountReading,
    ApiUrl,
    AudienceFacts,
    BatchSettings,
    Catalogue,
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
    Secret,
    Text,
    expect_success,
    is_hashed,
    sha256_hex,
)
from worker.destinations.taboola_account import Account, Place
from worker.destinations.taboola_answers import Audience, allowed_accounts
from worker.destinations.taboola_complaints import FORBIDDEN, NOT_FOUND
from worker.destinations.taboola_delivery import Delivery, DeliveryById, DeliveryByName, note_keys
from worker.destinations.taboola_terms import LONGEST_TTL, STATED, Wanted
from worker.errors import NeedsPerson
from worker.patterns import matches

METHOD_NOT_ALLOWED: Final = 405
MAX_USERS: Final = 100_000
"""Users in one request ("add or remove users": suggested at most)."""
_HEXADECIMAL: Final = re.compile(r"[0-9A-Fa-f-]+")


ACCOUNT_ID: Final = r"(?!\d+$)[a-z0-9-]{1,100}"
"""Lower-case and dashes; the number that an account has, too, is another id (page "get allowed accounts")."""


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
    ttl_in_hours: Annotated[int, Field(ge=1, le=LONGEST_TTL)] = 8760
    exclude_from_campaigns: bool = False
    integration_source: Text | None = None
    """The name of a partner for whom the audiences are kept; the same for an audience's whole life."""
    batch: TaboolaBatch = TaboolaBatch()

    @model_validator(mode="after")
    def _names_fit_identifier(self) -> "TaboolaSettings":
        if (self.audience_identifier == "audience_name") != bool(self.audience_names):
            raise ValueError('audience_identifier = "audience_name" needs audience_names = {key = "name"}, and only it')
        return self

    def reading(self) -> Reading:
        common = Reading(
            identifiers=("email", "device"),
            hashed_emails=("sha256",),
            account=AccountReading(
                "context.personas.audience_settings.account_id", self.account_id, self.api_url, ACCOUNT_ID
            ),
        )
        if self.audience_identifier == "external_audience_id":
            return common._replace(audience="context.personas.external_audience_id", numeric_audience=True)
        return common._replace(audience_names=self.audience_names or None, properties=STATED)

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

    Success is a 200 with an empty body; there are no results for single users. An event may name an account of its
    own, to which the credentials may have no access: whatever needs a person there holds that lane alone.
    """

    Settings = TaboolaSettings
    max_changes = MAX_USERS
    requests_a_batch = 3
    max_bytes = 20_000_000

    def __init__(self, settings: TaboolaSettings) -> None:
        self._settings = settings
        self._by_id = settings.audience_identifier == "external_audience_id"
        self._wanted = Wanted(settings.ttl_in_hours, settings.exclude_from_campaigns, settings.integration_source)
        self._backstage = f"{settings.api_url}/backstage"
        self._api = f"{self._backstage}/api/1.0"

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

    def aliases(self, identifier: Identifier) -> tuple[Identifier, ...]:
        """Device ids in each case, too: the relay passes them as given, and another source may have given another.

        Only those in hexadecimal: there case tells nobody apart.
        """
        forms = [identifier, self.vendor_form(identifier)]
        if identifier.type == "device" and _HEXADECIMAL.fullmatch(identifier.value):
            forms += [Identifier("device", identifier.value.lower()), Identifier("device", identifier.value.upper())]
        return tuple(dict.fromkeys(forms))

    def note_keys(self, lane: LaneKey) -> tuple[str, ...]:
        return () if self._by_id else note_keys(lane)

    def converse(self, batch: FoldedBatch, notes: Notes) -> Conversation:
        place = Place.of(batch.lane.audience, self._settings.account_id)
        try:
            yield from self._delivery(place, batch, notes).run()
        except NeedsPerson as order:
            if place.account == self._settings.account_id:
                raise
            raise NeedsPerson(order.reason, order.detail, scope="lane") from None
        return Receipt()

    def probe(self) -> Probe:
        """Ask which accounts the credentials may act for; where that is not told, try the account."""
        account_id = self._settings.account_id
        response = yield Request.get(f"{self._api}/users/current/allowed-accounts")
        if response.status in {FORBIDDEN, NOT_FOUND, METHOD_NOT_ALLOWED}:
            return (yield from self._can_be_read())
        expect_success(response)
        allowed = allowed_accounts(response.json())
        if account_id in allowed.ids.values():
            return f"account {account_id} is allowed"
        if not allowed.complete:
            return (yield from self._can_be_read())
        number_of = allowed.ids.get(account_id)
        advice = (
            f'that is the number of "{number_of}"' if number_of else "use the alphabetic id of one they may act for"
        )
        raise NeedsPerson(
            "account not allowed", f"the credentials work, but not for account_id {account_id!r}; {advice}"
        )

    def _can_be_read(self) -> Probe:
        yield from Account(self._api, self._settings.account_id).audiences()
        return f"account {self._settings.account_id} can be read"

    def audiences(self) -> Catalogue:
        """The configured account's audiences that take users. `size` is Taboola's estimate of whom it sees."""
        account = Account(self._api, self._settings.account_id)
        found = [each for each in (yield from account.audiences()) if each.onboarded]
        own = [each for each in found if each.account == account.id]
        return [
            AudienceFacts(self._lane_audience(each), str(each.id), {"size": each.size, "days": each.shown.days})
            for each in own or found
        ]

    def _delivery(self, place: Place, batch: FoldedBatch, notes: Notes) -> Delivery:
        kind = DeliveryById if self._by_id else DeliveryByName
        return kind(Account(self._api, place.account), place.audience, batch, notes, self._wanted)

    def _lane_audience(self, audience: Audience) -> str:
        name = "" if self._by_id else audience.name
        return Place(self._settings.account_id, name or str(audience.id)).lane_audience(self._settings.account_id)
