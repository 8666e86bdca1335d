"""What Taboola reads and answers: request bodies, and errors in JSON or XML."""

import html
import re
from typing import Any, Final, Literal, TypeVar

import msgspec
from werkzeug import Request, Response

from sandbox.base import Refusal, json_answer

BAD_REQUEST: Final = "api.action.bad_request.null"


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
_KNOWN: Final = frozenset(name for kind in (NewAudience, Users, Identity, UserId) for name in kind.__struct_fields__)


def read(request: Request, kind: type[BodyT], *, overlook_unknown: bool = False) -> BodyT:
    """The body, or a refusal: 415 unless it is declared as JSON, 400 when it does not fit."""
    if request.mimetype != "application/json":
        declared = request.mimetype or "application/octet-stream"
        raise error(415, f"{declared} content type is not supported by the requested resource")
    try:
        if overlook_unknown:
            return msgspec.convert(_known_of(msgspec.json.decode(request.get_data())), kind)
        return msgspec.json.decode(request.get_data(), type=kind)
    except msgspec.ValidationError as invalid:
        found = re.search(r"`\$\.([^`]+)`$", str(invalid)) or re.search(r"field `([^`]+)`", str(invalid))
        raise error(400, str(invalid), code=BAD_REQUEST, field=found and found[1]) from invalid
    except msgspec.DecodeError as malformed:
        raise error(400, "Bad request", code=BAD_REQUEST) from malformed


def _known_of(tree: Any) -> Any:
    if isinstance(tree, dict):
        return {name: _known_of(value) for name, value in tree.items() if name in _KNOWN}
    return [_known_of(each) for each in tree] if isinstance(tree, list) else tree


class Trouble(Response):
    """An error, in JSON until it is turned to XML."""

    def __init__(self, body: dict[str, Any], status: int, root: str) -> None:
        super().__init__(msgspec.json.encode(body), status, mimetype="application/json")
        self._body = body
        self._root = root

    def turn_to_xml(self) -> None:
        told = {name: value for name, value in self._body.items() if value not in (None, [])}
        fields = "".join(f"<{name}>{html.escape(str(value))}</{name}>" for name, value in told.items())
        self.set_data(f"<{self._root}>{fields}</{self._root}>")
        self.mimetype = "application/xml"


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
    return Refusal(Trouble(body, status, "ApiError"))


def invalid_value(field: str, value: object) -> Refusal:
    return error(400, f"Invalid value '{value}'", code=BAD_REQUEST, field=field)


def forbidden() -> Refusal:
    return error(403, "Requested action is forbidden", code="api.action.forbidden")


def credentials_error(status: int, exception: str, name: str, description: str) -> Refusal:
    return Refusal(Trouble({"error": name, "error_description": description}, status, exception))


def listed(rows: list[dict[str, Any]]) -> Response:
    total = {"total": len(rows), "count": len(rows), "static_fields": [], "static_total_fields": []}
    return json_answer({"results": rows, "metadata": total})
