"""What a destination is: settings that say which events it wants, and a conversation that delivers a batch.

A destination is pure. It is given a folded batch, *yields* requests, is sent the responses and returns a
receipt; `worker.delivery` does the sending. Requests and responses are plain values of our own, so that
producers may import the settings without an HTTP client and tests need no network.
"""

import hashlib
import re
from abc import ABC, abstractmethod
from collections.abc import Generator, Mapping, MutableMapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Annotated, Any, ClassVar, Final, Literal, NamedTuple, Self

import msgspec
from pydantic import AfterValidator, Field, SecretStr, StringConstraints, model_validator

from worker.contract import SEVERAL_OF_A_PERSON, Identifier, IdentifierType, LaneKey, Property
from worker.destinations.mapping import MappingSettings
from worker.errors import NeedsPerson, Refused, Throttled, TooLarge, TryLater
from worker.frozen import Frozen

# ── What the operator writes, and what producers read ────────────────────────────────────────────


class BatchSettings(Frozen):
    """When a lane is due: it holds `max_changes`, or its head waits for `max_age_seconds`."""

    max_changes: Annotated[int, Field(ge=1)]
    max_age_seconds: Annotated[float, Field(ge=0)] = 60.0


AUDIENCE_KEY: Final = "audience_key"
"""What a `Reading` says where the audience key itself is meant, not a path."""


class Reading(NamedTuple):
    """What a destination wants of a source event. Facts for producers; they hold no destination code.

    Where the parts of an event stand that every kind reads is said by `MappingSettings`.
    """

    identifiers: tuple[IdentifierType, ...]
    """The types it can use; a change carries all that the event has of them."""
    phone_region: str | None = None
    """The country (ISO 3166, two letters) of phone numbers that name none."""
    erases_by_user_id: bool = False
    """Whether the vendor holds user ids, so that it can forget whoever has one."""
    keeps_user_ids: bool = False
    """Whether what waits for it carries user ids, so that this can be dropped by them."""
    audience: str = AUDIENCE_KEY
    """Where the vendor's name for the audience stands: `audience_key` (as read from the event), or a path, in whose
    place `mapping.audience_id` may put others."""
    audience_names: Mapping[str, str] | None = None
    """From that value to the vendor's name; None: the value is the name. An audience not listed is refused."""
    fallback_to_key: bool = False
    """Whether the audience key serves where `audience` finds nothing."""
    numeric_audience: bool = False
    """Whether the vendor's name for the audience is a whole number; another is refused."""
    account: "AccountReading | None" = None
    """Whether an event may name another account than the configured one; lanes are then kept apart by account."""
    labelled: bool = False
    """Whether the change carries the audience key as `audience_name`, beside the lane's audience."""
    hashed_emails: tuple[Literal["md5", "sha256"], ...] = ("md5", "sha256")
    """Which emails that are hashed already it can use (SHA-256 of an MD5 looks like any SHA-256)."""
    properties: tuple["PropertyReading", ...] = ()
    consent: "ConsentReading | None" = None
    """Which consent it sends for everybody; an event that states another is left out (reason `consent`)."""


class AccountReading(NamedTuple):
    """Where an event may name the vendor's account, and the account of the configuration.

    An event that names the account of another destination with the same `api` goes to that one alone; one that
    names an account of no destination goes to the first that takes its audience.
    """

    path: str
    configured: str
    api: str
    pattern: str = r".*"
    """What the vendor's account ids look like (a regular expression); an event that names another is refused."""


class ConsentReading(NamedTuple):
    """Where an event may state its consent, and the spellings (in `folded` form) of the one that is sent."""

    paths: tuple[str, ...]
    spellings: frozenset[str]

    @staticmethod
    def folded(stated: object) -> str:
        """Without case, spaces, hyphens and underscores: `Opted-in` is `optedin`.

        >>> ConsentReading.folded("Opted-in")
        'optedin'
        """
        return re.sub(r"[\s_-]", "", str(stated)).casefold()


class PropertyReading(NamedTuple):
    """One profile property: its name at the vendor, its type and the paths where it may stand."""

    name: str
    type: Literal["STRING", "NUMBER", "BOOLEAN", "DATE"]
    paths: tuple[str, ...]


MOST_SHARDS: Final = 64


def _http_url(url: str) -> str:
    if not url.startswith(("http://", "https://")):
        raise ValueError("must begin with http:// or https://")
    return url.rstrip("/")


ApiUrl = Annotated[str, AfterValidator(_http_url)]
Secret = Annotated[SecretStr, Field(min_length=1)]
Text = Annotated[str, StringConstraints(min_length=1)]


class DeadLetterSettings(Frozen):
    """How long refused changes are kept; what is older or more is discarded, and counted."""

    max_age_days: Annotated[float, Field(gt=0)] = 30.0
    max_count: Annotated[int, Field(ge=1)] = 100_000


class DestinationSettings(Frozen):
    """What every kind of destination has; a kind adds its own keys and its `kind`."""

    name: Annotated[str, StringConstraints(pattern=r"^[a-z0-9-]+$")]
    kind: str
    audiences: tuple[Text, ...] = ("*",)
    max_in_flight: Annotated[int, Field(ge=1)] = 2
    settle_seconds: Annotated[float, Field(ge=0)] = 20.0
    """How long a vendor may yet apply a request whose outcome is unknown; nothing is sent for its lane before."""
    max_waiting: Annotated[int, Field(ge=1)] = 10_000_000
    """Beyond so many waiting changes, producers are refused for a while."""
    duplicate_window_seconds: Annotated[float, Field(ge=0)] = 3600.0
    """A `messageId` that comes again with the same content within this time counts once; 0: always counts."""
    shards: Annotated[int, Field(ge=1, le=MOST_SHARDS)] = 1
    """How many lanes each audience has, flushed side by side. Another number takes effect for an audience when nothing
    waits for it."""
    calls_per_minute: Annotated[int, Field(ge=1)] | None = None
    """The vendor's limit for these credentials, where it differs from what it publishes."""
    dead_letters: DeadLetterSettings = DeadLetterSettings()
    mapping: MappingSettings = MappingSettings()
    """Which source events count, and where everything stands in them."""
    api_url: ApiUrl
    batch: BatchSettings

    @model_validator(mode="after")
    def _audience_id_is_read(self) -> Self:
        if self.mapping.audience_id is not None and self.reading().audience == AUDIENCE_KEY:
            raise ValueError("mapping.audience_id is never read: here the audience key names the audience")
        return self

    @model_validator(mode="after")
    def _a_person_has_one_shard(self) -> Self:
        identifiers = self.reading().identifiers if self.shards > 1 else ()
        if len(identifiers) > 1 or SEVERAL_OF_A_PERSON & set(identifiers):
            raise ValueError("shards: a change of this destination may carry several identifiers; only 1 is possible")
        return self

    def reading(self) -> Reading:
        """What producers take from a source event for this destination."""
        raise NotImplementedError

    def target(self) -> tuple[str, ...]:
        """What it writes to, as far as the configuration tells; two destinations may not share one."""
        raise NotImplementedError

    def writes(self) -> tuple[str, ...]:
        """Shell patterns of the audiences, as the vendor names them, that it can write."""
        return self.audiences

    def conflicts_with(self, other: "DestinationSettings") -> str | None:
        """Why the two may not stand in one configuration, and what to mend; None if they may.

        That two destinations may not write the same audience is seen without this.
        """
        del other
        return None


# ── Credentials ──────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Credential:
    """Whom we are at the vendor. With a `token_url`: OAuth client credentials; without: `secret` is the token or ""."""

    api_url: str = field(repr=False)
    """Of a receiver of one's own it may hold a key."""
    client_id: str
    secret: SecretStr
    token_url: str | None = None
    calls_per_minute: int | None = None
    """The vendor's limit over all who use the credential; None: it is not known, and learned from 429s."""
    headers: Mapping[str, SecretStr] = field(default_factory=dict)
    """Without a `token_url`: sent with each request, for keys that are no bearer token."""

    @property
    def id(self) -> str:
        """Names the credential in Redis; destinations with the same API and client id share it."""
        client = self.client_id or self.secret.get_secret_value()
        return hashlib.sha256(f"{self.api_url}\0{client}".encode()).hexdigest()[:16]


# ── What goes over the wire ──────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request, complete but for its credentials."""

    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
    url: str
    content: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    changes_nothing: bool = False
    """Whether a lost answer leaves nothing in doubt (a search, say)."""

    @classmethod
    def json(
        cls,
        method: Literal["POST", "PATCH", "DELETE"],
        url: str,
        body: object,
        *,
        changes_nothing: bool = False,
    ) -> "Request":
        headers = {"content-type": "application/json", "accept": "application/json"}
        return cls(method, url, msgspec.json.encode(body), headers, changes_nothing)

    @classmethod
    def get(cls, url: str) -> "Request":
        return cls("GET", url, headers={"accept": "application/json"}, changes_nothing=True)


@dataclass(frozen=True, slots=True)
class Response:
    """A whole answer. `headers` have lower-case names."""

    status: int
    content: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)

    def json(self) -> dict[str, Any]:
        """The answer as a JSON object. Raises `TryLater` for anything else: a proxy spoke, or a part is missing."""
        try:
            answer = msgspec.json.decode(self.content)
        except (ValueError, RecursionError):  # also of broken UTF-8, and of endless nesting
            raise TryLater("malformed answer", f"HTTP {self.status} without JSON") from None
        if not isinstance(answer, dict):
            raise TryLater("malformed answer", f"HTTP {self.status} with JSON that is no object")
        return answer

    def json_or_empty(self) -> dict[str, Any]:
        """Like `json`, for error bodies, which may be anything."""
        try:
            return self.json()
        except TryLater:
            return {}


# ── A batch and what became of it ────────────────────────────────────────────────────────────────


class Entry(msgspec.Struct, frozen=True, gc=False):
    """What is sent for one change: those of its identifiers for which it is the newest, in the vendor's form."""

    position: int
    """The change's place in its batch."""
    identifiers: tuple[Identifier, ...]
    properties: Mapping[str, Property] = {}


@dataclass(frozen=True, slots=True)
class FoldedBatch:
    """Removes and adds of one lane. No identifier stands in both, or twice in one."""

    lane: LaneKey
    id: str
    """Unlike that of any other batch, also of the same changes sent again."""
    removes: tuple[Entry, ...]
    adds: tuple[Entry, ...]
    audience_name: str = ""
    at_ms: int = 0
    """When its newest change arrived: the only clock that a destination sees. 0: nobody says."""

    @property
    def entries(self) -> tuple[Entry, ...]:
        return (*self.removes, *self.adds)


@dataclass(frozen=True, slots=True)
class Receipt:
    """What the vendor said of a batch it took. All that is not refused counts as delivered."""

    refused: Mapping[Identifier, str] = field(default_factory=dict)
    """Identifiers in the vendor's form, with the vendor's reason."""
    invalid_unnamed: int = 0
    """How many more the vendor called invalid without naming them."""


Conversation = Generator[Request, Response, Receipt]
Probe = Generator[Request, Response, str]
"""Like a conversation, to try the credentials; returns what it found, for a person."""
Notes = MutableMapping[str, str]
"""What a destination keeps between batches (an audience's id, say). The driver saves it after every step."""
USER_ID: Final = "userId"
"""The property that holds the source's user id, at kinds that ask for it."""
NOTICE: Final = "notice:"
"""A note whose name begins so is shown by `status`: what somebody should know, though delivery goes on."""


class AudienceFacts(NamedTuple):
    """One audience as the vendor shows it. `numbers` are the vendor's own, by a short name; None: not told yet."""

    audience: str
    """As the lane names it."""
    id: str
    numbers: Mapping[str, int | float | None]


Catalogue = Generator[Request, Response, Sequence[AudienceFacts]]
"""Like a conversation, to read what the vendor says of its audiences."""


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody to be forgotten. Emails and devices normalised, not in the vendor's form."""

    identifiers: tuple[Identifier, ...]


Erasure = Generator[Request, Response, Mapping[str, int]]
"""Like a conversation, to delete persons; returns what was done, in counts by a short name."""


class Destination(ABC):
    """One configured destination. Pure: no method reads a clock, a socket or a file."""

    Settings: ClassVar[type[DestinationSettings]]
    max_changes: ClassVar[int]
    """The most changes that one request of this kind can carry."""
    max_bytes: ClassVar[int] = 8_000_000
    """The most bytes of waiting changes that a batch may hold, so that a request stays within the vendor's size."""

    deletes_persons: ClassVar[bool] = False
    """Whether `erase` also ends memberships. No lane then goes on before it is done: it would undo what is newer."""
    requests_a_batch: ClassVar[int]
    """How many requests a batch usually needs at most: so many permits are taken before the first one."""

    @abstractmethod
    def __init__(self, settings: Any) -> None:
        """`settings` is an instance of `Settings`."""

    @property
    @abstractmethod
    def credential(self) -> Credential:
        """Whom to be when sending."""

    @abstractmethod
    def vendor_form(self, identifier: Identifier) -> Identifier:
        """The identifier as the vendor holds it (hashed, say). Folding compares these."""

    def aliases(self, identifier: Identifier) -> tuple[Identifier, ...]:
        """Every form in which the vendor, or a waiting change, may hold the same handle; for erasure."""
        return tuple(dict.fromkeys((identifier, self.vendor_form(identifier))))

    @abstractmethod
    def note_keys(self, lane: LaneKey) -> tuple[str, ...]:
        """The notes that a conversation about this lane reads or writes."""

    @abstractmethod
    def converse(self, batch: FoldedBatch, notes: Notes) -> Conversation:
        """Deliver a batch that is not empty: removes first, then adds.

        May be stopped at any `yield` and started anew with the same or more changes. Raises `DeliveryError`.
        """

    @abstractmethod
    def probe(self) -> Probe:
        """Try the credentials and the account without changing anything. Raises `DeliveryError`."""

    def audiences(self) -> Catalogue:
        """What the vendor says of the audiences it holds; nothing, where it has no such request."""
        yield from ()
        return ()

    def erase(self, persons: Sequence[Person]) -> Erasure:
        """Delete what the vendor holds of persons beside memberships, which were ended before; here: nothing."""
        del persons
        yield from ()
        return {}


# ── Reading an answer's status ───────────────────────────────────────────────────────────────────

_STATUS: Final = {
    401: NeedsPerson("credentials refused", "the API refused a new token; check the client id, its secret and rights"),
    403: NeedsPerson(
        "forbidden", "the credentials may not do this; check scope, consent and the account or advertiser"
    ),
    410: NeedsPerson("API version gone", "the vendor has ended this version of its API; set a newer api_version"),
    413: TooLarge("request too large"),
}


_FROM_A_GATEWAY: Final = frozenset({502, 504})


def expect_success(response: Response) -> None:
    """Return for a 2xx; for anything else raise what the status alone tells.

    429 waits as `Retry-After` says. A 4xx that no rule of the destination explained is the content's fault. 502 and 504
    come from a gateway that lost the vendor's own answer (RFC 9110, 15.6): what was sent may yet be applied.
    """
    status = response.status
    if 200 <= status < 300:  # noqa: PLR2004 - the classes of HTTP
        return
    if status in _STATUS:
        found = _STATUS[status]
        raise type(found)(found.reason, found.detail)
    if status == 429:  # noqa: PLR2004 - Too Many Requests
        raise Throttled(
            "rate limited",
            "HTTP 429",
            scope="credential",
            retry_after=_retry_after(response),
            reset_at=_reset(response),
        )
    if status in {408, 425} or status >= 500:  # noqa: PLR2004 - the classes of HTTP
        raise TryLater(
            "vendor unavailable",
            f"HTTP {status}",
            retry_after=_retry_after(response),
            reset_at=_retry_date(response),
            outcome_unknown=status in _FROM_A_GATEWAY,
        )
    if 300 <= status < 400:  # noqa: PLR2004 - the classes of HTTP
        raise NeedsPerson("redirected", f"HTTP {status}: api_url points to a place that moved")
    raise Refused("refused", f"HTTP {status}")


def _retry_after(response: Response) -> float | None:
    value = response.headers.get("retry-after", "")
    return float(value) if value.isdigit() else None


def _reset(response: Response) -> float | None:
    """Seconds since the epoch: Criteo's own header (page "rate limits"), else a date in `Retry-After`."""
    value = response.headers.get("x-ratelimit-reset", "")
    return float(value) if value.isdigit() else _retry_date(response)


def _retry_date(response: Response) -> float | None:
    """`Retry-After` may also be a date (RFC 9110); in seconds since the epoch."""
    with suppress(ValueError):
        return parsedate_to_datetime(response.headers.get("retry-after", "")).timestamp()
    return None


def api_notice(headers: Mapping[str, str]) -> str | None:
    """What an answer's headers tell of the end of its API version, with what to do; None: nothing.

    `Deprecation` is `true` (Criteo, page "versioning policy") or a time (RFC 9745), `Sunset` the day of the end
    (RFC 8594).
    """
    deprecated = headers.get("deprecation", "").strip().lower() not in {"", "false"}
    sunset = headers.get("sunset", "").strip()
    if not (deprecated or sunset):
        return None
    end = _day(sunset)
    when = f"ends on {end}" if end else "is deprecated, and will end"
    return f"the vendor says that this version of its API {when}; set a newer api_version"


def _day(moment: str) -> str | None:
    """`Wed, 27 Jan 2027 00:00:00 GMT` → `2027-01-27`; None: it is no moment."""
    for read in (parsedate_to_datetime, datetime.fromisoformat):
        with suppress(ValueError):
            return read(moment).date().isoformat()
    return None


_PERSONAL: Final = re.compile(r"\S+@\S+|\b[0-9a-fA-F]{32,}\b|\b[0-9a-fA-F]{8}-[0-9a-fA-F-]{27}\b|\+?\d[\d ().-]{7,}\d")
_LONGEST_WORDS: Final = 200


def scrub(words: object) -> str:
    """A vendor's words without what may be personal, and not too many of them: fit for status and logs."""
    text = _PERSONAL.sub("…", str(words)).replace("\n", " ")
    return text if len(text) <= _LONGEST_WORDS else text[: _LONGEST_WORDS - 1] + "…"


_TOO_MANY: Final = re.compile(r"too (many|large|long|big)|exceed|more than|at most|maximum", re.IGNORECASE)


def says_too_many(words: str) -> bool:
    """Whether a vendor's words are about the size of the request."""
    return _TOO_MANY.search(words) is not None


def sha256_hex(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def is_hashed(email: str) -> bool:
    """Whether an email was hashed before it came: producers let nothing else pass that has no "@"."""
    return "@" not in email
