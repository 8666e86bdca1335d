"""What Criteo reads and answers: bodies, segments as JSON, and problems in the shape its SDK checks."""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, Literal, TypeVar

import msgspec
from werkzeug import Request

from sandbox.base import Refusal, json_answer
from sandbox.criteo_switches import IdentifierType

SegmentType = Literal[
    "Unknown", "InMarket", "Prospecting", "ContactList", "Location", "Behavioral", "Retargeting", "Lookalike"
]
ProblemType = Literal[
    "access-control", "authentication", "authorization", "availability", "deprecation", "quota", "validation"
]
Problem = dict[str, Any]
TITLES: Final = {
    "audience-invalid": "Audience is invalid",
    "name-must-be-unique": "Segment name must be unique",
}


@dataclass(slots=True)
class Segment:
    """An audience segment; only a ContactList holds members. Times are in seconds since the epoch."""

    id: int
    advertiser: str
    name: str
    description: str | None
    type: SegmentType
    created_at: float
    updated_at: float
    members: dict[str, None] = field(default_factory=dict)
    identifier_type: IdentifierType | None = None
    """That of the first amendment."""
    amended: bool = False
    counted_members: int | None = None
    """What statistics show: the number of members when they were last counted; None before the first time."""


def segment_json(segment: Segment, *, read_only: bool) -> dict[str, Any]:
    attributes: dict[str, Any] = {
        "advertiserId": segment.advertiser,
        "name": segment.name,
        "description": segment.description,
        "type": segment.type,
        "createdAt": iso_milliseconds(segment.created_at),
        "updatedAt": iso_milliseconds(segment.updated_at),
    }
    if segment.type == "ContactList":
        attributes["contactList"] = {"isReadOnly": read_only}
    return {"id": str(segment.id), "type": "AudienceSegment", "attributes": attributes}


def iso_milliseconds(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


def iso_ticks(at: float) -> str:
    """With seven digits of a second and an offset, as the specification's sample of `requestDate`."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f") + "0+00:00"


# ── Request bodies. Members that they do not name are ignored. ───────────────────────────────────


class Body(msgspec.Struct, frozen=True, rename="camel"):
    """A part of a request body."""


class SearchFilters(Body, frozen=True):
    advertiser_ids: list[str] | None = None
    audience_segment_ids: list[str] | None = None
    audience_segment_types: list[SegmentType] | None = None


class Search(Body, frozen=True):
    attributes: SearchFilters = SearchFilters()


class SearchBody(Body, frozen=True):
    data: Search = Search()


class NewSegment(Body, frozen=True):
    advertiser_id: str
    name: str
    description: str | None = None
    contact_list: dict[str, Any] | None = None
    in_market: dict[str, Any] | None = None
    prospecting: dict[str, Any] | None = None
    location: dict[str, Any] | None = None
    behavioral: dict[str, Any] | None = None
    retargeting: dict[str, Any] | None = None
    lookalike: dict[str, Any] | None = None

    def types(self) -> list[SegmentType]:
        """The kinds it asks for; there must be exactly one."""
        selectors: dict[SegmentType, object] = {
            "ContactList": self.contact_list,
            "InMarket": self.in_market,
            "Prospecting": self.prospecting,
            "Location": self.location,
            "Behavioral": self.behavioral,
            "Retargeting": self.retargeting,
            "Lookalike": self.lookalike,
        }
        return [kind for kind, selector in selectors.items() if selector is not None]


class Creation(Body, frozen=True):
    attributes: NewSegment


class CreateBody(Body, frozen=True):
    data: list[Creation]


class Wrapped(Body, frozen=True):
    value: str | None = None


class SegmentChange(Body, frozen=True):
    name: str | None = None
    description: Wrapped | None = None


class Update(Body, frozen=True):
    id: str
    attributes: SegmentChange = SegmentChange()


class UpdateBody(Body, frozen=True):
    data: list[Update]


class Deletion(Body, frozen=True):
    id: str


class DeleteBody(Body, frozen=True):
    data: list[Deletion]


class AmendmentAttributes(Body, frozen=True):
    operation: Literal["add", "remove"]
    identifiers: list[str]
    identifier_type: IdentifierType | None = None
    gum_caller_id: int | None = None


class Amendment(Body, frozen=True):
    type: Literal["ContactlistAmendment"]
    attributes: AmendmentAttributes


class AmendmentBody(Body, frozen=True):
    data: Amendment


BodyT = TypeVar("BodyT", bound=Body)


def read(request: Request, kind: type[BodyT]) -> BodyT:
    """The body, or a refusal: 415 for another content type, 400 for what is not JSON or does not fit."""
    if request.mimetype != "application/json":
        raise refusal(request, 415, "unsupported-media-type", f"Content type {request.mimetype!r} is not supported")
    try:
        return msgspec.json.decode(request.get_data(), type=kind)
    except msgspec.ValidationError as error:
        code = "required-field" if "missing required field" in str(error) else "invalid"
        raise refusal(request, 400, code, str(error)) from error
    except msgspec.DecodeError as error:
        raise refusal(request, 400, "invalid", f"The body is not JSON: {error}") from error


# ── Answers ──────────────────────────────────────────────────────────────────────────────────────


def envelope(data: object, *, errors: Sequence[Problem] = (), warnings: Sequence[Problem] = ()) -> dict[str, Any]:
    return {"data": data, "errors": errors, "warnings": warnings}


def problem(
    request: Request,
    code: str,
    detail: str,
    *,
    type_: ProblemType = "validation",
    source: Mapping[str, str] | None = None,
) -> Problem:
    """`AudienceError` for a contact list; elsewhere `CommonProblem`, which has two members more (OpenAPI)."""
    trace = secrets.token_hex(10)
    title = TITLES.get(code) or code.replace("-", " ").capitalize()
    shared = {"traceId": trace, "type": type_, "code": code, "instance": request.path, "title": title}
    described = shared | {"detail": detail, "source": source}
    if request.path.endswith("/contact-list"):
        return described
    return described | {"traceIdentifier": trace, "stackTrace": None}


def refusal(request: Request, status: int, code: str, detail: str, *, type_: ProblemType = "validation") -> Refusal:
    errors = [problem(request, code, detail, type_=type_)]
    return Refusal(json_answer({"errors": errors, "warnings": []}, status))
