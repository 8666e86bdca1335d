"""The gateway's OpenAPI 3.1 document. Tests hold the gateway to it."""

from importlib.metadata import version
from typing import Any, Final, get_args

from producers.gateway.envelopes import EVENT_TYPES, IGNORED, MOST_EVENTS, EventType
from producers.segment import Reason
from worker.settings import GatewaySettings

Json = dict[str, Any]

INTRODUCTION: Final = """\
Takes source events as Segment's HTTP API and its webhook bring them. A 200 means that Redis has the changes of all
source events that are not named in `refused`. After a 503, send the same request again: what is there already is known
by its `messageId`. Bodies may be compressed (`Content-Encoding: gzip`).
"""
SENDERS: Final[list[Json]] = [{"basic": []}, {}]
"""Without Authorization, the write key is in the body."""


def document(settings: GatewaySettings) -> Json:
    alone, many = settings.max_event_bytes, settings.max_batch_bytes
    return {
        "openapi": "3.1.0",
        "info": {"title": "audience-relay", "version": version("audience-relay"), "description": INTRODUCTION},
        "paths": {
            **{f"/v1/{each}": {"post": _one(each, alone)} for each in EVENT_TYPES},
            "/v1/batch": {"post": _batch("Several source events", many)},
            "/v1/import": {"post": _batch("The same as /v1/batch", many)},
            "/webhooks/segment": {"post": _webhook(many)},
            "/healthz": {"get": _look("Whether the process lives", {"200": _answer("It does.", "Success")})},
            "/readyz": {"get": _look("Whether Redis takes changes", {"200": _answer("It does.", "Success"), **_LATER})},
            "/metrics": {"get": _look("Counts for Prometheus", {"200": _text("Counts since the start.")})},
            "/openapi.json": {"get": _look("This document", {"200": _answer("OpenAPI 3.1.", "Document")})},
        },
        "components": {"schemas": _SCHEMAS, "responses": _RESPONSES, "securitySchemes": _SECURITY},
    }


# ── Operations ───────────────────────────────────────────────────────────────────────────────────


def _one(event_type: EventType, limit: int) -> Json:
    if event_type in IGNORED:
        summary = f"A {event_type} call: taken, counted and ignored"
    elif event_type == "delete":
        summary = "A person is to be forgotten"
    else:
        summary = f"A {event_type} call: a person enters or leaves an audience"
    operation = _sending(summary, event_type, "Event", limit, security=SENDERS)
    operation["description"] = "A refused source event is answered with 400 and code `refused`; do not repeat it."
    return operation


def _batch(summary: str, limit: int) -> Json:
    operation = _sending(summary, summary, "Batch", limit, security=SENDERS)
    operation["description"] = f"At most {MOST_EVENTS} source events; each says its `type`."
    return operation


def _webhook(limit: int) -> Json:
    signature = {
        "name": "X-Signature",
        "in": "header",
        "required": True,
        "description": "The hex HMAC-SHA1 of the body, as it is sent, with the shared secret.",
        "schema": {"type": "string"},
    }
    operation = _sending("Source events of Segment's webhook", "webhook", "Signed", limit, security=[])
    return {**operation, "parameters": [signature]}


def _sending(summary: str, name: str, schema: str, limit: int, *, security: list[Json]) -> Json:
    return {
        "summary": summary,
        "operationId": name.replace(" ", "-").replace("/", ""),
        "security": security,
        "requestBody": {
            "required": True,
            "description": f"At most {limit:,} bytes when it is no longer compressed.",
            "content": {"application/json": {"schema": _ref("schemas", schema)}},
        },
        "responses": {
            "200": _answer("Redis has the changes.", "Taken"),
            **{status: _ref("responses", name) for status, name in _REFUSALS.items()},
            **_LATER,
        },
    }


def _look(summary: str, responses: Json) -> Json:
    return {"summary": summary, "responses": responses, "security": []}


def _answer(description: str, schema: str) -> Json:
    return {"description": description, "content": {"application/json": {"schema": _ref("schemas", schema)}}}


def _text(description: str) -> Json:
    return {"description": description, "content": {"text/plain": {"schema": {"type": "string"}}}}


def _ref(kind: str, name: str) -> Json:
    return {"$ref": f"#/components/{kind}/{name}"}


# ── Components ───────────────────────────────────────────────────────────────────────────────────

_REFUSALS: Final = {
    "400": "Unreadable",
    "401": "Unknown",
    "403": "NotConfigured",
    "408": "TooSlow",
    "413": "TooLarge",
    "415": "Encoding",
}
_LATER: Final = {"503": _ref("responses", "Later")}
_RESPONSES: Final[Json] = {
    "Unreadable": _answer("The body, or the one source event in it, is refused.", "Declined"),
    "Unknown": {
        **_answer("No write key or signature, or a wrong one.", "Declined"),
        "headers": {"WWW-Authenticate": {"required": True, "schema": {"type": "string"}}},
    },
    "NotConfigured": _answer("The relay's configuration has no write keys, or no webhook secret.", "Declined"),
    "TooSlow": _answer("The body did not come in time.", "Declined"),
    "TooLarge": _answer("The body is too large, or has too many source events, or too much beside them.", "Declined"),
    "Encoding": _answer("Another Content-Encoding than gzip.", "Declined"),
    "Later": {
        **_answer("No changes are taken now. Send the same again.", "Declined"),
        "headers": {"Retry-After": {"required": True, "schema": {"type": "string", "pattern": "^[1-9][0-9]*$"}}},
    },
}
_SECURITY: Final[Json] = {
    "basic": {
        "type": "http",
        "scheme": "basic",
        "description": "The user name is a write key; there is no password. Or `writeKey` in the body.",
    },
}
_REFUSED: Final[Json] = {
    "type": "array",
    "description": "The source events that were not taken, by where they stood (from 0) and why.",
    "items": {
        "type": "object",
        "required": ["index", "reason"],
        "properties": {
            "index": {"type": "integer", "minimum": 0},
            "reason": {"enum": list(get_args(Reason))},
        },
        "additionalProperties": False,
    },
}
_EVENT: Final[Json] = {
    "type": "track",
    "event": "Audience Entered",
    "messageId": "m-1",
    "userId": "u-1",
    "timestamp": "2026-11-21T10:00:00.000Z",
    "properties": {"audience_key": "vip_buyers", "vip_buyers": True},
    "context": {
        "traits": {"email": "jane@example.com"},
        "personas": {
            "computation_class": "audience",
            "computation_key": "vip_buyers",
            "computation_id": "aud_1",
        },
    },
}
_SHARED: Final = (
    "Merged into that of each source event, whose own keys come first. What is no Unicode in it, "
    "or a number beyond range, is replaced."
)
_SCHEMAS: Final[Json] = {
    "Event": {
        "type": "object",
        "description": "A source event as Segment's spec has it. `writeKey` serves where no Authorization is sent.",
        "properties": {
            "writeKey": {"type": "string"},
            "type": {"type": "string"},
            "messageId": {"type": ["string", "integer"]},
            "userId": {"type": ["string", "null"]},
            "anonymousId": {"type": ["string", "null"]},
            "timestamp": {"type": "string", "format": "date-time"},
            "event": {"type": "string"},
            "properties": {"type": "object"},
            "traits": {"type": "object"},
            "context": {"type": "object"},
        },
        "examples": [_EVENT],
    },
    "Batch": {
        "type": "object",
        "required": ["batch"],
        "properties": {
            "writeKey": {"type": "string"},
            "batch": {"type": "array", "maxItems": MOST_EVENTS, "items": _ref("schemas", "Event")},
            "context": {"type": "object", "description": _SHARED},
            "integrations": {"type": "object", "description": _SHARED},
            "sentAt": {"type": "string"},
        },
        "examples": [{"batch": [_EVENT | {"messageId": "m-2", "userId": "u-2"}]}],
    },
    "Signed": {
        "anyOf": [
            _ref("schemas", "Event"),
            {"type": "array", "maxItems": MOST_EVENTS, "items": _ref("schemas", "Event")},
        ]
    },
    "Success": {
        "type": "object",
        "required": ["success"],
        "properties": {"success": {"const": True}},
        "additionalProperties": False,
    },
    "Taken": {
        "type": "object",
        "required": ["success"],
        "properties": {
            "success": {"const": True},
            "refused": _REFUSED,
            "ignored": {"type": "integer", "minimum": 1, "description": "How many are about no audience."},
        },
        "additionalProperties": False,
    },
    "Declined": {
        "type": "object",
        "required": ["success", "code", "message"],
        "properties": {
            "success": {"const": False},
            "code": {"type": "string"},
            "message": {"type": "string"},
            "refused": _REFUSED,
        },
        "additionalProperties": False,
    },
    "Document": {"type": "object", "required": ["openapi", "paths"]},
}
