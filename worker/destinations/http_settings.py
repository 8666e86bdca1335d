"""What an operator writes of an `http` destination, and what of it cannot work."""

import re
from collections.abc import Mapping
from typing import Annotated, Final, Literal

from pydantic import (
    AfterValidator,
    Field,
    SecretStr,
    StringConstraints,
    ValidationInfo,
    field_validator,
    model_validator,
)

from worker.destinations.base import BatchSettings, DestinationSettings, PropertyReading, Reading, Text
from worker.destinations.http_template import Json, check, fill, placeholders
from worker.frozen import Frozen

MAX_MEMBERS: Final = 10_000
"""Changes in one request; with more, bodies have some megabytes, which few receivers take."""
PLACEHOLDER_OF: Final = {"email": "email", "device": "devices", "phone": "phone"}
"""What stands for the identifiers of a type in a member, which has one email and one phone at most."""

OperationName = Literal["remove", "add"]
OPERATIONS: Final[tuple[OperationName, ...]] = ("remove", "add")
"""In the order in which they are sent."""

_URL: Final = re.compile(r"https?://[^\s/?#@]+([/?][^\s#]*)?")
_PATH: Final = re.compile(r"([/?][^\s#]*)?")
_PRINTABLE: Final = re.compile(r"[!-~]([ -~]*[!-~])?")
_HEADER: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_OWN_HEADERS: Final = {"host", "connection", "content-length", "transfer-encoding", "idempotency-key"}
_BODY: Final = ("audience", "operation", "members")
_MEMBER: Final = ("audience", "operation", "identifiers", *PLACEHOLDER_OF.values(), "properties")


def _url(url: str) -> str:
    """As written: a receiver may mind the slash at the end."""
    if not _URL.fullmatch(url):
        raise ValueError("must be http://… or https://…, without user:password@ and #; keys belong in headers")
    return url


def _path(path: str) -> str:
    if not _PATH.fullmatch(path):
        raise ValueError("must begin with / or ?, without spaces and #")
    if set(re.findall(r"\$\w*", path)) - {"$audience"}:
        raise ValueError("may hold no other placeholder than $audience")
    return path


def _printable(value: SecretStr) -> SecretStr:
    if not _PRINTABLE.fullmatch(value.get_secret_value()):
        raise ValueError("must be printable ASCII, as it is sent in a header")
    return value


def _body(template: Json) -> Json:
    check(template, _BODY)
    if "members" not in placeholders(template):
        raise ValueError('needs "$members", those who enter or leave')
    return template


Url = Annotated[str, AfterValidator(_url)]
HeaderValue = Annotated[SecretStr, AfterValidator(_printable)]
Body = Annotated[Json, AfterValidator(_body)]


class HttpBatch(BatchSettings):
    max_changes: Annotated[int, Field(ge=1, le=MAX_MEMBERS)] = 1_000


class HttpProperty(Frozen):
    """What a member has beside identifiers: its value is found at `path` of the source event."""

    name: Text
    type: Literal["STRING", "NUMBER", "BOOLEAN", "DATE"]
    path: Text


class Operation(Frozen):
    """How adding, or removing, is asked for."""

    method: Literal["POST", "PUT", "PATCH", "DELETE"] = "POST"
    path: Annotated[str, AfterValidator(_path)] = ""
    """Stands after `api_url`; may hold `$audience`."""
    word: Text | None = None
    """What `$operation` is; None: `add` or `remove`."""
    body: Body = Field(default=None, repr=False)
    """In place of the destination's."""

    @property
    def names_audience(self) -> bool:
        return "$audience" in self.path


class HttpSettings(DestinationSettings):
    """`headers`, `body` and `api_url` may hold keys of the operator's, so no `repr` shows them."""

    kind: Literal["http"]
    api_url: Url = Field(repr=False)
    probe_url: Url | None = Field(default=None, repr=False)
    bearer_token: HeaderValue | None = None
    headers: Mapping[str, HeaderValue] = Field(default_factory=dict)
    identifiers: Annotated[tuple[Literal["email", "device", "phone"], ...], Field(min_length=1)] = ("email",)
    hash_emails: bool = False
    phone_region: Annotated[str, StringConstraints(pattern=r"^[A-Z]{2}$")] | None = None
    properties: tuple[HttpProperty, ...] = ()
    body: Body = Field(default={name: f"${name}" for name in _BODY}, repr=False)
    member: Json = Field(default={name: f"${name}" for name in ("identifiers", "properties")}, repr=False)
    add: Operation = Operation()
    remove: Operation = Operation()
    batch: HttpBatch = HttpBatch()

    def reading(self) -> Reading:
        """Emails all in one form: as addresses, or as their SHA-256."""
        return Reading(
            identifiers=self.identifiers,
            hashed_emails=("sha256",) if self.hash_emails else (),
            phone_region=self.phone_region,
            properties=tuple(PropertyReading(each.name, each.type, (each.path,)) for each in self.properties),
        )

    def target(self) -> tuple[str, ...]:
        return (self.api_url.rstrip("/"),)

    def operation(self, name: OperationName) -> Operation:
        """With everything that it leaves to the destination."""
        written = self.add if name == "add" else self.remove
        return Operation.model_construct(
            method=written.method, path=written.path, word=written.word or name, body=written.body or self.body
        )

    @field_validator("headers")
    @classmethod
    def _headers_can_be_set(cls, headers: Mapping[str, SecretStr], info: ValidationInfo) -> Mapping[str, SecretStr]:
        for name in headers:
            if not _HEADER.fullmatch(name) or name.lower() in _OWN_HEADERS:
                raise ValueError(f'"{name}" is no name of a header, or of one that the relay sets')
            if name.lower() == "authorization" and info.data.get("bearer_token"):
                raise ValueError("Authorization is what bearer_token sets; leave one of the two out")
        return headers

    @field_validator("member")
    @classmethod
    def _member_names_whom(cls, member: Json, info: ValidationInfo) -> Json:
        """What a member does not show would be taken for delivered, and was never sent."""
        properties = [f"properties.{each.name}" for each in info.data.get("properties", ())]
        check(member, (*_MEMBER, *properties))
        shown = placeholders(member)
        for each in info.data.get("identifiers", ()):
            if not shown & {"identifiers", PLACEHOLDER_OF[each]}:
                raise ValueError(f'does not show {each}: needs "${PLACEHOLDER_OF[each]}" or "$identifiers"')
        return member

    @model_validator(mode="after")
    def _requests_say_what_is_meant(self) -> "HttpSettings":
        if not self._one_audience and not all(self._tells_audience(name) for name in OPERATIONS):
            raise ValueError('a request does not tell its audience: use "$audience", or let audiences be one name')
        if self._sample("add") == self._sample("remove"):
            raise ValueError('nothing tells adding from removing: use "$operation", or another method, path or body')
        return self

    @property
    def _one_audience(self) -> bool:
        return len(self.audiences) == 1 and not set("*?[") & set(self.audiences[0])

    def _tells_audience(self, name: OperationName) -> bool:
        operation = self.operation(name)
        return operation.names_audience or "audience" in placeholders(operation.body) | placeholders(self.member)

    def _sample(self, name: OperationName) -> tuple[str, str, Json]:
        operation = self.operation(name)
        word = {"operation": operation.word}
        body = fill(operation.body, word | {"members": fill(self.member, word)})
        return operation.method, operation.path, body
