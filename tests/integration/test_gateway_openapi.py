"""The gateway keeps to its own OpenAPI document, and answers whatever it is sent."""

import json
from collections.abc import Iterator
from typing import Any, Final

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from pydantic import SecretStr
from schemathesis import Case, GenerationMode
from schemathesis.checks import CHECKS, load_all_checks

from tests.asgi import Client
from tests.conftest import Clock
from tests.integration.test_gateway import CRITEO, KEY, TABOOLA, basic, gateway, signature
from worker.destinations.stackadapt import StackAdaptSettings
from worker.store.store import Store

load_all_checks()
CONFORMS: Final = CHECKS.get_by_names(
    [
        "not_a_server_error",
        "status_code_conformance",
        "content_type_conformance",
        "response_headers_conformance",
        "response_schema_conformance",
    ]
)
FEW: Final = settings(
    max_examples=20,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)
APIS: Final = ["/v1/track", "/v1/identify", "/v1/delete", "/v1/page", "/v1/batch"]
TYPES: Final = ["track", "identify", "delete", "page", "group", None, 7, "other"]


STACKADAPT: Final = StackAdaptSettings(
    name="stackadapt",
    kind="stackadapt",
    advertiser_id="2029",
    api_token=SecretStr("t"),
    properties=({"name": "plan", "type": "NUMBER", "path": "traits.vip"},),
)


@pytest.fixture
def client(store: Store, clock: Clock) -> Iterator[Client]:
    """Every kind of destination that reads events in a way of its own has its lane."""
    with gateway(store, clock, headers={}, destinations=[CRITEO, TABOOLA, STACKADAPT]) as client:
        yield client


def document(client: Client) -> dict[str, Any]:
    found: dict[str, Any] = client.get("/openapi.json").json()
    return found


def call(client: Client, case: Case[Any], **headers: str) -> None:
    """Send what was made up, and compare what is answered with the document."""
    made = case.as_transport_kwargs(base_url="http://gateway")
    content = made["data"] if "data" in made else json.dumps(made["json"]).encode() if "json" in made else b""
    signed = signature(content) if made["url"].endswith("/webhooks/segment") else {}

    response = client.request(made["method"], made["url"], content=content, headers={**headers, **signed})

    case.validate_response(response, checks=CONFORMS)  # type: ignore[arg-type]  # they are of one kind of several


# ── By the document ──────────────────────────────────────────────────────────────────────────────


def test_the_document_is_one_and_names_every_address(client: Client) -> None:
    found = document(client)

    assert found["openapi"] == "3.1.0"
    schemathesis.openapi.from_dict(found).validate()
    for path, operations in found["paths"].items():
        for method in operations:
            assert client.request(method.upper(), path).status_code not in {404, 405}


@pytest.mark.parametrize("mode", list(GenerationMode))
@pytest.mark.parametrize("path", [*APIS, "/webhooks/segment"])
def test_what_is_answered_is_as_the_document_says(client: Client, path: str, mode: GenerationMode) -> None:
    operation = schemathesis.openapi.from_dict(document(client))[path]["POST"]

    @FEW
    @given(operation.as_strategy(mode))
    def answered(case: Case[Any]) -> None:
        call(client, case, **basic(KEY))

    answered()


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics", "/openapi.json"])
def test_what_may_be_looked_at_is_as_the_document_says(client: Client, path: str) -> None:
    operation = schemathesis.openapi.from_dict(document(client))[path]["GET"]

    call(client, operation.Case())


@pytest.mark.parametrize("headers", [{}, basic("unknown"), {"content-encoding": "br"}, {"content-encoding": "gzip"}])
def test_what_is_refused_before_it_is_read_is_as_the_document_says(client: Client, headers: dict[str, str]) -> None:
    operation = schemathesis.openapi.from_dict(document(client))["/v1/batch"]["POST"]

    call(client, operation.Case(body={"batch": []}, media_type="application/json"), **{**basic(KEY), **headers})


def test_the_examples_of_the_document_are_taken(client: Client, store: Store) -> None:
    found = document(client)["components"]["schemas"]

    for name, path in (("Event", "/v1/track"), ("Batch", "/v1/batch")):
        Draft202012Validator({**found[name], "components": {"schemas": found}}).validate(found[name]["examples"][0])
        answer = client.post(path, json=found[name]["examples"][0], headers=basic(KEY))
        assert (answer.status_code, answer.json()) == (200, {"success": True})
    assert store.lanes("criteo").status(1).counters["accepted"] == 2


# ── Without it ───────────────────────────────────────────────────────────────────────────────────

SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
VALUES = st.recursive(
    SCALARS, lambda each: st.lists(each, max_size=3) | st.dictionaries(st.text(max_size=5), each, max_size=3)
)
PARTS = st.sampled_from(["properties", "traits", "context", "timestamp", "messageId", "userId", "event", "writeKey"])
FIELDS = st.sampled_from(["email", "audience_key", "vip", "ios_id", "phone", "personas", "computation_key"])
EVENTS = st.builds(
    lambda event_type, parts: {"type": event_type, **parts},
    st.sampled_from(TYPES),
    st.dictionaries(PARTS, VALUES | st.dictionaries(FIELDS, VALUES | st.just("vip"), max_size=4), max_size=5),
)


@pytest.mark.parametrize("path", ["/v1/track", "/v1/batch", "/webhooks/segment"])
def test_no_bytes_are_a_fault(client: Client, path: str) -> None:
    @FEW
    @given(st.binary() | st.text().map(str.encode) | VALUES.map(json.dumps).map(str.encode), st.booleans())
    def answered(body: bytes, gzip: bool) -> None:  # noqa: FBT001 - hypothesis passes it so
        encoding = {"content-encoding": "gzip"} if gzip else {}
        answer = client.post(path, content=body, headers={**basic(KEY), **signature(body), **encoding})
        assert answer.status_code in {200, 400}

    answered()


@pytest.mark.parametrize("path", APIS)
def test_no_event_is_a_fault(client: Client, path: str) -> None:
    many = path == "/v1/batch"

    @FEW
    @given(st.lists(EVENTS | VALUES, max_size=4) if many else EVENTS)
    def answered(sent: Any) -> None:
        body = json.dumps({"batch": sent} if many else sent).encode()
        answer = client.post(path, content=body, headers=basic(KEY))
        assert answer.status_code in ({200} if many else {200, 400})

    answered()
