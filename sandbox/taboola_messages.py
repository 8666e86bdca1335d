"""What Taboola reads and answers: request bodies, and errors in JSON or, for credentials, in XML."""

import re
from typing import Any, Final, Literal, TypeVar

import msgspec
from werkzeug import Request, Response

from sandbox.base import Refusal, json_answer

BAD_REQUEST: Final = "api.action.bad_request.null"
FORBIDDEN: Final = "api.action.forbidden"


class Body(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A request body or a part of one. Unknown fields are refused (error page of the old PDF guide)."""


class NewAudience(Body, frozen=True):
    """`create`: all values are final. A null is as good as an absent one; the official SDK omits them."""

    audience_name: str
    ttl_in_hours: int | None = None
    exclude_from_campaigns: bool | None = None
    integration_source: str | None = None


class UserId(Body, frozen=True, gc=False):
    user_id: str
    type: Literal["EMAIL_ID", "DEVICE_ID", "TABOOLA_ID"]
    is_hashed: bool


class Identity(Body, frozen=True):
    """One user with all ids of that user."""

    cluster: list[UserId]


class Users(Body, frozen=True):
    operation: Literal["ADD", "REMOVE"]
    audience_id: int
    identities: list[Identity]
    integration_source: str | None = None


class Glance(msgspec.Struct, frozen=True):
    """Only the audience of a body; nothing else of it is checked."""

    audience_id: int


BodyT = TypeVar("BodyT", bound=Body)


def read(request: Request, kind: type[BodyT]) -> BodyT:
    """The body, or a refusal: 415 unless it is declared as JSON, 400 when it does not fit."""
    if request.mimetype != "application/json":
        declared = request.mimetype or "application/octet-stream"
        raise error(415, f"{declared} content type is not supported by the requested resource")
    try:
        return msgspec.json.decode(request.get_data(), type=kind)
    except msgspec.ValidationError as invalid:
        found = re.search(r"`\$\.([^`]+)`$", str(invalid)) or re.search(r"field `([^`]+)`", str(invalid))
        raise error(400, str(invalid), code=BAD_REQUEST, field=found and found[1]) from invalid
    except msgspec.DecodeError as malformed:
        raise error(400, "Bad request", code=BAD_REQUEST) from malformed


def error(status: int, message: str, *, code: str | None = None, field: str | None = None) -> Refusal:
    """Only `http_status` and `message` may be relied on; the other members are those the official SDK reads."""
    body = {
        "http_status": status,
        "message": message,
        "offending_field": field,
        "message_code": code,
        "message_code_english_template": None,
        "template_parameters": [],
    }
    return Refusal(json_answer(body, status))


def invalid_value(field: str, value: object) -> Refusal:
    return error(400, f"Invalid value '{value}'", code=BAD_REQUEST, field=field)


def credentials_error(request: Request, status: int, exception: str, name: str, description: str) -> Refusal:
    """XML, unless JSON is asked for (page "client credentials flow")."""
    if "application/json" in request.headers.get("Accept", ""):
        return Refusal(json_answer({"error": name, "error_description": description}, status))
    fields = f"<error>{name}</error><error_description>{description}</error_description>"
    return Refusal(Response(f"<{exception}>{fields}</{exception}>", status, mimetype="application/xml"))


def listed(rows: list[dict[str, Any]]) -> Response:
    total = {"total": len(rows), "count": len(rows), "static_fields": [], "static_total_fields": []}
    return json_answer({"results": rows, "metadata": total})
