"""The gateway on a real Redis: what it answers is what the lanes hold."""

import asyncio
import base64
import gzip
import hashlib
import hmac
import json
from codecs import BOM_UTF8
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import Any, cast

import httpx
import pytest
from pydantic import SecretStr
from redis import Redis
from structlog.testing import capture_logs

from producers.events import Opened
from producers.gateway import envelopes
from producers.gateway.app import TURN_EVENTS, Gateway
from producers.gateway.envelopes import MOST_EVENTS, MOST_SHARED_BYTES
from producers.intake import Intake, Piece
from producers.intake import Store as Waiting
from producers.route import Routed
from producers.routing import LeftOut, Router
from producers.segment import RawEvent, Refusal
from tests.asgi import Client
from tests.conftest import Clock
from worker.contract import Change, LaneKey, decode
from worker.destinations.base import DestinationSettings
from worker.destinations.criteo import CriteoSettings
from worker.destinations.taboola import TaboolaSettings
from worker.errors import StoreFull, StoreUnavailable
from worker.settings import GatewaySettings
from worker.store.connection import connect
from worker.store.lanes import Bounds
from worker.store.store import Store

KEY, SECRET = "write-key", "webhook-secret"
CRITEO = CriteoSettings(
    name="criteo", kind="criteo", advertiser_id="4711", client_id="c", client_secret=SecretStr("s"), audiences=("vip*",)
)
TABOOLA = TaboolaSettings(
    name="taboola", kind="taboola", account_id="acme", client_id="c", client_secret=SecretStr("s")
)
SETTINGS = GatewaySettings(write_keys=(SecretStr("other"), SecretStr(KEY)), webhook_secret=SecretStr(SECRET))

Json = dict[str, Any]


def basic(key: str, password: str = "") -> dict[str, str]:
    return {"authorization": f"Basic {base64.b64encode(f'{key}:{password}'.encode()).decode()}"}


def signature(body: bytes, secret: str = SECRET) -> dict[str, str]:
    return {"x-signature": hmac.new(secret.encode(), body, hashlib.sha1).hexdigest()}


def gateway(
    store: Store,
    clock: Clock,
    settings: GatewaySettings = SETTINGS,
    *,
    way_in: Waiting | None = None,
    seconds: float = 5.0,
    headers: dict[str, str] | None = None,
    destinations: Sequence[DestinationSettings] = (CRITEO, TABOOLA),
) -> Client:
    """`way_in` takes the place of the store where changes go."""
    router = Router(destinations)
    intake = Intake(router, way_in or store, clock, waits=(0.01,), max_event_bytes=settings.max_event_bytes)
    application = Gateway(settings, intake, store, clock, store_seconds=seconds).application()
    return Client(application, basic(KEY) if headers is None else headers)


@pytest.fixture
def client(store: Store, clock: Clock) -> Iterator[Client]:
    with gateway(store, clock) as client:
        yield client


def event(number: int = 0, audience: str = "vip", **parts: Any) -> Json:
    return {
        "type": "track",
        "event": "Audience Entered",
        "messageId": f"m-{number}",
        "properties": {"audience_key": audience, "email": f"jane{number}@example.com"},
        **parts,
    }


def batch(*events: object, **parts: Any) -> Json:
    return {"batch": events, "sentAt": "2026-11-21T10:00:00.000Z", **parts}


def waiting(store: Store, destination: str, audience: str = "vip") -> int:
    """How many changes wait in a lane."""
    lanes = store.lanes(destination).status(100).lanes
    return sum(each.waiting for each in lanes if each.lane == LaneKey(destination, audience))


# ── What is taken ────────────────────────────────────────────────────────────────────────────────


def test_an_event_that_is_answered_with_200_is_in_its_lanes(client: Client, store: Store) -> None:
    answer = client.post("/v1/track", json=event())

    assert (answer.status_code, answer.json()) == (200, {"success": True})
    assert waiting(store, "criteo") == waiting(store, "taboola") == 1


def test_an_event_that_comes_again_counts_once_also_when_its_message_id_is_a_number(redis: Redis, clock: Clock) -> None:
    store = Store(redis, {"criteo": Bounds(window_ms=3_600_000)}, now_ms=clock)
    with gateway(store, clock) as client:
        answers = [client.post("/v1/track", json=event(messageId=5)).status_code for _ in range(3)]

    assert answers == [200] * 3
    assert waiting(store, "criteo") == 1


def test_the_address_says_the_type_of_an_event_that_comes_alone(client: Client, store: Store) -> None:
    entered = event()
    del entered["type"]
    identified = {"type": "track", "traits": {"vip": True, "email": "jane@example.com"}, **persona("vip")}

    assert client.post("/v1/track", json=entered).status_code == 200
    assert client.post("/v1/identify", json=identified).status_code == 200
    assert waiting(store, "criteo") == 2


def test_rows_of_a_warehouse_enter_when_they_are_new_or_updated_and_leave_when_they_are_deleted(
    client: Client, redis: Redis
) -> None:
    """As reverse ETL sends them: what was done with the row is the event's name."""
    rows = [event(number, event=name) for number, name in enumerate(["new", "updated", "deleted"])]

    one = client.post("/v1/track", json=rows[0])
    others = client.post("/v1/batch", json=batch(*rows[1:]))

    assert [each.json() for each in (one, others)] == [{"success": True}] * 2
    values = cast("list[bytes]", redis.lrange(f"relay:{{criteo}}:lane:{LaneKey('criteo', 'vip').member}", 0, -1))
    changes = [each.change for each in decode(values)]
    assert [(each.entered, each.identifiers[0].value) for each in changes] == [
        (True, "jane0@example.com"),
        (True, "jane1@example.com"),
        (False, "jane2@example.com"),
    ]


@pytest.mark.parametrize("path", ["/v1/batch", "/v1/import"])
def test_of_a_batch_bad_events_are_told_by_index_and_the_good_ones_are_taken(
    client: Client, store: Store, path: str
) -> None:
    bad_time = event(3, timestamp="yesterday")

    answer = client.post(path, json=batch(event(0), 7, event(2), bad_time, event(4, properties={})))

    assert answer.status_code == 200
    assert answer.json() == {
        "success": True,
        "refused": [
            {"index": 1, "reason": "json"},
            {"index": 3, "reason": "timestamp"},
            {"index": 4, "reason": "audience"},
        ],
    }
    assert waiting(store, "criteo") == 2
    assert store.refused() == {"json": 1, "timestamp": 1, "audience": 1}


def test_an_event_that_comes_alone_and_is_refused_is_answered_with_400(client: Client, store: Store) -> None:
    answer = client.post("/v1/track", json=event(timestamp="yesterday"))

    assert answer.status_code == 400
    assert (answer.json()["code"], answer.json()["refused"]) == ("refused", [{"index": 0, "reason": "timestamp"}])
    assert store.refused() == {"timestamp": 1}


def test_one_half_of_a_surrogate_pair_takes_no_other_event_with_it(client: Client, store: Store) -> None:
    body = b'{"batch": [%s, {"type": "track", "event": "\\ud83d"}]}' % json.dumps(event()).encode()

    answer = client.post("/v1/batch", content=body)

    assert answer.json() == {"success": True, "refused": [{"index": 1, "reason": "json"}]}
    assert waiting(store, "criteo") == 1


DEEP = b"[" * 1_000 + b"]" * 1_000
BAD = [DEEP, b'{"a": %b}' % DEEP, b'{"a": "\\ud800"}', b"9" * 5_000, b'{"a" 1}', b"\xff", b"nothing", b""]


@pytest.mark.parametrize("path", ["/v1/batch", "/webhooks/segment"])
def test_what_is_no_json_in_one_event_takes_no_other_with_it(client: Client, store: Store, path: str) -> None:
    written = b",".join([json.dumps(event(1)).encode(), *BAD, json.dumps(event(2)).encode()])
    body = (
        b'{"sentAt": "\\ud83d", "batch": [%b], "\\ud83d": [1]}' % written if path == "/v1/batch" else b"[%b]" % written
    )

    answer = client.post(path, content=body, headers=signature(body))

    refused = [{"index": index, "reason": "json"} for index in range(1, 1 + len(BAD))]
    assert answer.json() == {"success": True, "refused": refused}
    assert waiting(store, "criteo") == 2


@pytest.mark.parametrize("bad", BAD)
def test_nor_does_a_single_one(client: Client, bad: bytes) -> None:
    body = b'{"batch": [%b, %b]}' % (json.dumps(event()).encode(), bad)

    assert client.post("/v1/batch", content=body).json()["refused"] == [{"index": 1, "reason": "json"}]


def test_where_a_batch_is_split_its_key_and_its_context_count_and_its_events_are_counted(
    store: Store, clock: Clock
) -> None:
    mail = {"context": {"traits": {"email": "jane@example.com"}}}
    bare = json.dumps(event(properties={"audience_key": "vip"})).encode()
    with gateway(store, clock, headers={}) as client:
        body = json.dumps({**mail, "batch": ["EVENT", "DEEP"], "writeKey": KEY}).encode()
        answer = client.post("/v1/batch", content=body.replace(b'"EVENT"', bare).replace(b'"DEEP"', DEEP))
        many = client.post("/v1/batch", content=body.replace(b'"DEEP"', b"{}," * MOST_EVENTS + DEEP))

    assert answer.json() == {"success": True, "refused": [{"index": 1, "reason": "json"}]}
    assert waiting(store, "criteo") == 1
    assert (many.status_code, many.json()["code"]) == (413, "too_many")


# ── What a batch says once ───────────────────────────────────────────────────────────────────────


def kept(redis: Redis, destination: str = "criteo") -> list[Change]:
    """The changes of a lane, in their order."""
    values = cast("list[bytes]", redis.lrange(f"relay:{{{destination}}}:lane:0/vip", 0, -1))
    return [each.change for each in decode(values)]


def test_the_context_beside_a_batch_is_that_of_each_event_whose_own_keys_come_first(
    client: Client, redis: Redis
) -> None:
    shared = {"traits": {"email": "shared@example.com"}, **persona("vip")["context"]}
    own = {"traits": {"email": "own@example.com"}}
    track = {"type": "track", "event": "Audience Entered"}

    answer = client.post(
        "/v1/batch", json=batch(track, {**track, "context": own}, {**track, "context": 7}, context=shared)
    )

    assert answer.json() == {"success": True, "refused": [{"index": 2, "reason": "shape"}]}
    assert [each.identifiers[0].value for each in kept(redis)] == ["shared@example.com", "own@example.com"]


@pytest.mark.parametrize("name", ["context", "integrations"])
def test_events_that_have_nothing_of_their_own_share_it_uncopied_and_nobody_changes_it(
    name: str, store: Store, clock: Clock
) -> None:
    shared = {"traits": {"email": "shared@example.com", "plan": "gold"}, **persona("vip")["context"]}
    calls: list[Json] = [{"type": each} for each in ("track", "identify", "delete")]
    body = json.dumps(batch(*calls, {"type": "track", name: {}}, {"type": "track", name: {"own": 1}}, **{name: shared}))

    events = [cast("Opened", each) for each in envelopes.batch(body.encode()).events]
    *sharing, own = [each.tree[name] for each in events]
    intake = Intake(Router([CRITEO, TABOOLA]), store, clock)
    for each in events:
        intake.read(each, clock(), Counter())

    assert all(each is sharing[0] for each in sharing)
    assert (sharing[0], own) == (shared, {**shared, "own": 1})


@pytest.mark.parametrize("own", [{}, {"context": {"own": 1}}])
def test_what_a_batch_says_once_may_be_only_so_large_for_so_many_events(client: Client, own: Json) -> None:
    shared = {"padding": "x" * (MOST_SHARED_BYTES // 50)}

    most, more = (
        client.post("/v1/batch", json=batch(*[{"type": "page", **own}] * count, context=shared)) for count in (49, 50)
    )

    assert most.json() == {"success": True, "ignored": 49}
    assert (more.status_code, more.json()["code"]) == (413, "too_large")


@pytest.mark.parametrize("shared", [None, 7, [], {}, "text"])
def test_what_stands_beside_a_batch_and_is_no_object_is_not_looked_at(client: Client, shared: object) -> None:
    answer = client.post("/v1/batch", json=batch(event(), context=shared, integrations=shared))

    assert answer.json() == {"success": True}


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (rb'"\ud83d"', "\ufffd"),
        (rb'"\ude00 \ud83d\ude00 \ud83d\\ud83d"', "\ufffd \N{GRINNING FACE} \ufffd\\ud83d"),
        (b'"\xf0\x9f\x98"', "\ufffd"),
        (b"1e999", None),
        (b"[-1e999, 1]", [None, 1]),
    ],
)
@pytest.mark.parametrize("name", ["context", "integrations"])
@pytest.mark.parametrize("beside", [[], [{"padding": "REPLACED"}]])
def test_what_msgspec_cannot_hold_of_what_a_batch_says_once_is_replaced_there(
    name: str, written: bytes, read: object, beside: Sequence[Json]
) -> None:
    shared = {"own": "REPLACED", "traits": {"email": "jane@example.com"}}
    body = json.dumps(batch({"type": "track"}, *beside, **{name: shared})).encode()

    first, *_ = envelopes.batch(body.replace(b'"REPLACED"', written)).events

    assert isinstance(first, Opened)
    assert first.tree[name] == shared | {"own": read}


def test_events_are_taken_whatever_their_context_holds_beside(client: Client, redis: Redis) -> None:
    shared = {"userAgent": "REPLACED", "traits": {"email": "jane@example.com"}, **persona("vip")["context"]}
    body = json.dumps(batch({"type": "track", "event": "Audience Entered"}, context=shared))

    answer = client.post("/v1/batch", content=body.replace("REPLACED", "\\ud83d"))

    assert answer.json() == {"success": True}
    assert [each.identifiers[0].value for each in kept(redis)] == ["jane@example.com"]


def test_events_that_cannot_be_read_are_refused_beside_a_context_too(client: Client) -> None:
    answer = client.post("/v1/batch", json=batch(7, event(), {"type": "page"}, context={"a": 1}, integrations={"b": 2}))

    assert answer.json() == {"success": True, "refused": [{"index": 0, "reason": "json"}], "ignored": 1}


def test_rows_of_a_warehouse_come_through(client: Client, redis: Redis) -> None:
    row = {"audience_key": "vip", "email": "jane@example.com"}
    names = ["new", "updated", "deleted"]

    answer = client.post(
        "/v1/batch", json=batch(*({"type": "track", "event": name, "properties": row} for name in names))
    )

    assert answer.json() == {"success": True}
    assert [each.entered for each in kept(redis)] == [True, True, False]


@pytest.mark.parametrize("event_type", ["page", "screen", "group", "alias"])
def test_what_is_about_no_audience_is_taken_counted_and_ignored(client: Client, store: Store, event_type: str) -> None:
    alone = client.post(f"/v1/{event_type}", json={"userId": "u", "type": "track"})
    among = client.post("/v1/batch", json=batch({"type": event_type}, event(), {"type": event_type, "traits": 3}))

    assert (alone.status_code, alone.json()) == (200, {"success": True, "ignored": 1})
    assert (among.status_code, among.json()) == (200, {"success": True, "ignored": 2})
    assert waiting(store, "criteo") == 1
    assert store.refused() == {}
    assert f'relay_gateway_events_total{{outcome="ignored",reason="{event_type}"}} 3.0' in client.get("/metrics").text


def test_who_is_to_be_forgotten_waits_to_be(client: Client, store: Store) -> None:
    forget = {"type": "delete", "userId": "u", "traits": {"email": "jane@example.com"}}

    assert client.post("/v1/delete", json=forget).status_code == 200
    assert client.post("/v1/batch", json=batch(forget)).json() == {"success": True}
    lanes = {each.lane: each.waiting for each in store.lanes("criteo").status(10).lanes}
    assert lanes == {LaneKey.erasures("criteo"): 2}


def test_what_one_destination_cannot_use_is_counted_as_when_it_is_loaded(client: Client, store: Store) -> None:
    device_alone = event(properties={"audience_key": "vip", "ios_id": "d-1"})

    assert client.post("/v1/track", json=device_alone).json() == {"success": True}
    assert store.lanes("criteo").status(10).left_out == {"identifier": 1}
    assert (waiting(store, "criteo"), waiting(store, "taboola")) == (0, 1)


def test_an_empty_batch_is_taken(client: Client) -> None:
    assert client.post("/v1/batch", json=batch()).json() == {"success": True}


def test_a_compressed_batch_is_taken(client: Client, store: Store) -> None:
    body = json.dumps(batch(event())).encode()

    whole = client.post("/v1/batch", content=gzip.compress(body), headers={"content-encoding": "gzip"})
    members = gzip.compress(body[:50]) + gzip.compress(body[50:])
    in_members = client.post("/v1/batch", content=members, headers={"content-encoding": "gzip"})

    assert (whole.status_code, in_members.status_code, waiting(store, "criteo")) == (200, 200, 2)


@pytest.mark.parametrize("content_type", ["text/plain", "application/json; charset=utf-8", ""])
def test_json_is_taken_whatever_it_is_called(client: Client, content_type: str) -> None:
    answer = client.post("/v1/track", content=json.dumps(event()), headers={"content-type": content_type})

    assert answer.status_code == 200


def test_requests_that_come_at_once_are_each_answered_for_themselves(client: Client, store: Store) -> None:
    bodies = [event(number, timestamp="yesterday") if number % 3 == 0 else event(number) for number in range(60)]

    answers = client.post_at_once("/v1/track", bodies)

    assert [answer.status_code for answer in answers] == [400 if number % 3 == 0 else 200 for number in range(60)]
    assert waiting(store, "criteo") == 40
    assert store.refused() == {"timestamp": 20}


# ── Who may send ─────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("path", ["/v1/track", "/v1/batch"])
def test_the_write_key_may_be_in_the_body(store: Store, clock: Clock, path: str) -> None:
    body = event() if path == "/v1/track" else batch(event())
    with gateway(store, clock, headers={}) as client:
        known = client.post(path, json={**body, "writeKey": KEY})
        unknown = client.post(path, json={**body, "writeKey": KEY + "x"})
        none = client.post(path, json=body)
        odd = client.post(path, json={**body, "writeKey": 7})

    assert [each.status_code for each in (known, unknown, none, odd)] == [200, 401, 401, 401]
    assert waiting(store, "criteo") == 1


@pytest.mark.parametrize(
    "headers",
    [
        basic("unknown"),
        basic(""),
        basic(KEY[:-1]),
        {"authorization": "Basic %%%"},
        {"authorization": "Basic"},
        {"authorization": "Basic gICA"},  # not UTF-8
        {"authorization": f"Bearer {KEY}"},
        {"authorization": ""},
    ],
)
def test_an_authorization_that_names_no_key_is_refused_whatever_the_body_says(
    store: Store, clock: Clock, headers: dict[str, str]
) -> None:
    with gateway(store, clock, headers=headers) as client:
        answer = client.post("/v1/track", json={**event(), "writeKey": KEY})

    assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized")
    assert answer.headers["www-authenticate"].startswith("Basic ")
    assert waiting(store, "criteo") == 0


def test_a_key_of_several_is_enough_and_its_password_is_not_looked_at(store: Store, clock: Clock) -> None:
    with gateway(store, clock, headers=basic("other", "anything:at all")) as client:
        assert client.post("/v1/track", json=event()).status_code == 200


def test_a_wrong_key_is_refused_before_the_body_is_read(store: Store, clock: Clock) -> None:
    read: list[bytes] = []

    async def body() -> AsyncIterator[bytes]:
        read.append(b"{}")
        yield b"{}"

    with gateway(store, clock, headers=basic("unknown")) as client:
        assert client.post("/v1/batch", content=body()).status_code == 401
        assert read == []
        assert client.post("/v1/batch", content=body(), headers=basic(KEY)).status_code == 400
        assert read == [b"{}"]


@pytest.mark.parametrize(
    ("parts", "status"),
    [
        (b'"writeKey":"%b"' % KEY.encode(), 200),
        (b'"writeKey" : "\\u0077%b"' % KEY[1:].encode(), 200),
        (b'"a": {"writeKey":"unknown"}, "writeKey":"%b"' % KEY.encode(), 200),
        (b'"a": {"writeKey":"%b"}' % KEY.encode(), 401),
        (b'"a": {"writeKey":"%b"}, "writeKey": "unknown"' % KEY.encode(), 401),
        (b'"writeKey": "\\ud83d"', 401),
        (b'"writeKey": {"writeKey": 7}', 401),
        (b"nothing", 401),
    ],
)
def test_a_key_in_the_body_is_found_where_it_should_be(store: Store, clock: Clock, parts: bytes, status: int) -> None:
    with gateway(store, clock, headers={}) as client:
        assert client.post("/v1/batch", content=b'{"batch": [], %b}' % parts).status_code == status


def test_without_keys_or_a_secret_everything_is_refused_with_what_to_configure(store: Store, clock: Clock) -> None:
    with gateway(store, clock, GatewaySettings()) as client:
        api = client.post("/v1/batch", json=batch(event()))
        webhook = client.post("/webhooks/segment", content=b"{}", headers=signature(b"{}", ""))

    assert (api.status_code, webhook.status_code) == (403, 403)
    assert "write_keys" in api.json()["message"]
    assert "webhook_secret" in webhook.json()["message"]


def test_a_signed_event_or_list_of_them_is_taken(store: Store, clock: Clock) -> None:
    one = json.dumps(event(1), indent=2).encode()
    several = b" " + json.dumps([event(2), event(3, timestamp="yesterday")]).encode()
    with gateway(store, clock, headers={}) as client:
        first = client.post("/webhooks/segment", content=one, headers=signature(one))
        second = client.post("/webhooks/segment", content=several, headers=signature(several))

    assert (first.status_code, first.json()) == (200, {"success": True})
    assert second.json() == {"success": True, "refused": [{"index": 1, "reason": "timestamp"}]}
    assert waiting(store, "criteo") == 2


def test_a_refused_event_gets_a_200_from_the_webhook_which_would_else_get_it_again(client: Client) -> None:
    body = json.dumps(event(timestamp="yesterday")).encode()

    answer = client.post("/webhooks/segment", content=body, headers=signature(body))

    assert (answer.status_code, answer.json()["refused"]) == (200, [{"index": 0, "reason": "timestamp"}])


@pytest.mark.parametrize("body", [b"", b"{", b"[{]", b"7", b"[" * 3_000, b"\xff"])
def test_what_the_webhook_cannot_read_is_refused_like_an_event(client: Client, store: Store, body: bytes) -> None:
    answer = client.post("/webhooks/segment", content=body, headers=signature(body))

    assert answer.json() == {"success": True, "refused": [{"index": 0, "reason": "json"}]}
    assert store.refused() == {"json": 1}


def test_a_compressed_webhook_is_signed_as_it_is_sent(client: Client, store: Store) -> None:
    plain = json.dumps(event()).encode()
    sent = gzip.compress(plain)

    right = client.post("/webhooks/segment", content=sent, headers={**signature(sent), "content-encoding": "gzip"})
    wrong = client.post("/webhooks/segment", content=sent, headers={**signature(plain), "content-encoding": "gzip"})

    assert (right.status_code, wrong.status_code) == (200, 401)
    assert waiting(store, "criteo") == 1


@pytest.mark.parametrize("headers", [{}, {"x-signature": ""}, {"x-signature": "\xe9"}, signature(b"other")])
def test_what_is_not_signed_is_refused(client: Client, store: Store, headers: dict[str, str]) -> None:
    encoded = {name: value.encode("latin-1") for name, value in headers.items()}

    answer = client.post("/webhooks/segment", content=json.dumps(event()).encode(), headers=encoded)

    assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized")
    assert waiting(store, "criteo") == 0


# ── Bounds ───────────────────────────────────────────────────────────────────────────────────────


def test_an_event_that_is_too_large_is_refused_and_those_beside_it_are_taken(client: Client, store: Store) -> None:
    large = event(1, padding="x" * 33_000)

    alone = client.post("/v1/track", json=large)
    among = client.post("/v1/batch", json=batch(event(0), large))

    assert (alone.status_code, alone.json()["code"]) == (413, "too_large")
    assert among.json() == {"success": True, "refused": [{"index": 1, "reason": "too_large"}]}
    assert waiting(store, "criteo") == 1


@pytest.mark.parametrize("path", ["/v1/track", "/v1/batch"])
def test_an_event_is_as_large_as_it_came(client: Client, path: str) -> None:
    numbers = b"[%b]" % b",".join([b"1e15"] * 6_000)
    written = b'{"numbers": %b, %b' % (numbers, json.dumps(event()).encode()[1:])
    shared = b'{"batch": [%b], "context": {"padding": "%b"}}' % (written, b"x" * 30_000)

    answer = client.post(path, content=written if path == "/v1/track" else shared)

    assert (len(written) < 32_768, answer.json()) == (True, {"success": True})


def test_a_large_event_is_refused_beside_a_context_too(client: Client) -> None:
    answer = client.post("/v1/batch", json=batch(event(padding="x" * 33_000), event(1), context={"a": 1}))

    assert answer.json() == {"success": True, "refused": [{"index": 0, "reason": "too_large"}]}


@pytest.mark.parametrize("path", ["/v1/track", "/v1/batch", "/webhooks/segment"])
def test_a_byte_order_mark_may_come_first_whatever_the_address(client: Client, store: Store, path: str) -> None:
    body = BOM_UTF8 + json.dumps(batch(event()) if path == "/v1/batch" else event()).encode()

    assert client.post(path, content=body, headers=signature(body)).json() == {"success": True}
    assert waiting(store, "criteo") == 1


def test_a_batch_may_have_only_so_many_bytes(client: Client, store: Store) -> None:
    answer = client.post("/v1/batch", json=batch(*([event(0, padding="x" * 30_000)] * 18)))

    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")
    assert waiting(store, "criteo") == 0


@pytest.mark.parametrize("path", ["/v1/batch", "/webhooks/segment"])
def test_a_request_may_have_only_so_many_events(client: Client, path: str) -> None:
    events: list[Json] = [{}] * (MOST_EVENTS + 1)
    body = json.dumps(batch(*events) if path == "/v1/batch" else events).encode()

    answer = client.post(path, content=body, headers=signature(body))

    assert (answer.status_code, answer.json()["code"]) == (413, "too_many")


def test_limits_are_as_configured(store: Store, clock: Clock) -> None:
    small = SETTINGS.model_copy(update={"max_event_bytes": 1024, "max_batch_bytes": 2048})
    with gateway(store, clock, small) as client:
        event_answer = client.post("/v1/track", json=event(padding="x" * 1024))
        batch_answer = client.post("/v1/batch", json=batch(event(padding="x" * 2048)))
        signed = json.dumps(event(padding="x" * 2048)).encode()
        webhook_answer = client.post("/webhooks/segment", content=signed, headers=signature(signed))

    assert [each.status_code for each in (event_answer, batch_answer, webhook_answer)] == [413] * 3


class Watched(Intake):
    """Remembers how many turns others had when it read each event."""

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self.turns = 0
        self.at: list[int] = []

    def read(self, event: RawEvent | Opened, received_at: int, left_out: LeftOut) -> list[Routed] | Refusal:
        self.at.append(self.turns)
        return super().read(event, received_at, left_out)

    async def take_turns(self) -> None:
        while True:
            self.turns += 1
            await asyncio.sleep(0)


def test_while_a_large_batch_is_read_others_have_their_turns(store: Store, clock: Clock) -> None:
    intake = Watched(Router([CRITEO]), store, clock)

    async def asked() -> int:
        client = httpx.AsyncClient(transport=httpx.ASGITransport(application), base_url="http://gateway")
        async with client, application.router.lifespan_context(application):
            others = asyncio.create_task(intake.take_turns())
            answer = await client.post("/v1/batch", json=batch(*([7] * MOST_EVENTS)), headers=basic(KEY))
            others.cancel()
        return answer.status_code

    application = Gateway(SETTINGS, intake, store, clock).application()
    assert asyncio.run(asked()) == 200
    assert len(set(intake.at)) == MOST_EVENTS // TURN_EVENTS + 1


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "json"),
        (b"{", "json"),
        (b"\xff\xfe", "json"),
        (b'{"a":' * 5_000 + b"1" + b"}" * 5_000, "json"),
        (b'{"batch": [' + b"[" * 10_000 + b"}" * 10_000 + b"]}", "json"),
        (b'{"batch": [{]}', "json"),
        (b'{"batch": [1], "more" 2}', "json"),
        (json.dumps({"batch": []}).encode("utf-16"), "json"),
        (b"[]", "shape"),
        (b"null", "shape"),
        (b'"text"', "shape"),
    ],
)
@pytest.mark.parametrize("path", ["/v1/track", "/v1/batch"])
def test_a_body_that_cannot_be_read_is_a_400_that_repeats_nothing_of_it(
    client: Client, path: str, body: bytes, code: str
) -> None:
    answer = client.post(path, content=body)

    assert (answer.status_code, answer.json()["code"]) == (400, code)
    assert answer.json()["success"] is False
    assert answer.json()["message"]


@pytest.mark.parametrize("body", [b'{"batch": {}}', b'{"batch": null}', b'{"events": []}'])
def test_a_batch_without_a_list_of_events_is_a_400(client: Client, body: bytes) -> None:
    answer = client.post("/v1/batch", content=body)

    assert (answer.status_code, answer.json()["code"]) == (400, "shape")


def test_an_unknown_encoding_is_refused_with_the_one_that_is_known(client: Client) -> None:
    answer = client.post("/v1/batch", content=b"x", headers={"content-encoding": "br"})

    assert (answer.status_code, answer.headers["accept-encoding"]) == (415, "gzip")


# ── Backpressure ─────────────────────────────────────────────────────────────────────────────────


class Cut(Waiting):
    """Gives pieces to a store one by one; before the n-th of all it raises what it was told."""

    def __init__(self, store: Store, fault: Exception, *, before: int) -> None:
        self._store = store
        self._fault = fault
        self._before = before

    def append(self, lane: LaneKey, changes: Sequence[Change], chunk_id: str) -> int:
        return self._store.append(lane, changes, chunk_id)

    def count_refused(self, reasons: Mapping[str, int]) -> None:
        self._store.count_refused(reasons)

    def count_left_out(self, destination: str, reasons: Mapping[str, int]) -> None:
        self._store.count_left_out(destination, reasons)

    def append_each(self, pieces: Sequence[Piece]) -> list[int | StoreFull]:
        for number, piece in enumerate(pieces, 1):
            if number == self._before:
                raise self._fault
            self._store.append(*piece)
        return self._store.append_each(pieces)


def test_over_max_waiting_a_request_is_told_when_to_come_again(redis: Redis, clock: Clock) -> None:
    store = Store(redis, {"criteo": Bounds(max_waiting=1)}, now_ms=clock)
    with gateway(store, clock) as client:
        first = client.post("/v1/track", json=event(1))
        second = client.post("/v1/track", json=event(2))
        elsewhere = client.post("/v1/track", json=event(3, audience="for-taboola"))

    assert (first.status_code, second.status_code, elsewhere.status_code) == (200, 503, 200)
    assert (second.json()["code"], second.json()["success"]) == ("full", False)
    assert 1 <= int(second.headers["retry-after"]) <= 5


def test_of_requests_stored_together_only_those_without_room_are_refused(redis: Redis, clock: Clock) -> None:
    store = Store(redis, {"criteo": Bounds(max_waiting=0)}, now_ms=clock)
    with gateway(store, clock) as client:
        answers = client.post_at_once("/v1/track", [event(1), event(2, audience="for-taboola"), event(3)])

    assert [answer.status_code for answer in answers] == [503, 200, 503]
    assert waiting(store, "taboola", "for-taboola") == 1


def test_what_a_refused_request_has_stored_is_completed_not_doubled(redis: Redis, clock: Clock) -> None:
    """Criteo had no room, Taboola had: sent again with the same ids, each has every change once."""
    full = Store(redis, {"criteo": Bounds(max_waiting=1), "taboola": Bounds(window_ms=3_600_000)}, now_ms=clock)
    roomy = Store(redis, dict.fromkeys(("criteo", "taboola"), Bounds(window_ms=3_600_000)), now_ms=clock)
    body = batch(event(1), event(2), event(3, timestamp="yesterday"))
    with gateway(full, clock) as client:
        refused = client.post("/v1/batch", json=body)
    partly = waiting(full, "criteo"), waiting(full, "taboola")

    with gateway(roomy, clock) as client:
        taken = client.post("/v1/batch", json=body)

    assert (refused.status_code, partly) == (503, (0, 2))
    assert (taken.status_code, taken.json()["refused"]) == (200, [{"index": 2, "reason": "timestamp"}])
    assert (waiting(roomy, "criteo"), waiting(roomy, "taboola")) == (2, 2)
    assert roomy.lanes("taboola").status(1).counters["duplicates"] == 2
    assert roomy.refused() == {"timestamp": 1}


def test_a_redis_that_goes_away_between_two_lanes_leaves_nothing_doubled(redis: Redis, clock: Clock) -> None:
    bounds = dict.fromkeys(("criteo", "taboola"), Bounds(window_ms=3_600_000))
    store = Store(redis, bounds, now_ms=clock)
    body = batch(event(1), event(2, audience="churn"), event(3))
    with gateway(store, clock, way_in=Cut(store, StoreUnavailable("away"), before=3)) as client:
        refused = client.post("/v1/batch", json=body)
    partly = waiting(store, "criteo"), waiting(store, "taboola"), waiting(store, "taboola", "churn")

    with gateway(store, clock) as client:
        taken = client.post("/v1/batch", json=body)

    assert (refused.status_code, refused.json()["code"], partly) == (503, "unavailable", (2, 2, 0))
    assert taken.status_code == 200
    assert (waiting(store, "criteo"), waiting(store, "taboola"), waiting(store, "taboola", "churn")) == (2, 2, 1)


def test_a_redis_that_is_away_is_a_503_until_it_is_back(store: Store, clock: Clock) -> None:
    away = Store(connect("redis://127.0.0.1:1/0"))
    with gateway(away, clock) as client:
        answer = client.post("/v1/track", json=event())
        refused = client.post("/v1/track", json=event(timestamp="yesterday"))
        ready = client.get("/readyz")
        alive = client.get("/healthz")

    assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
    assert (refused.status_code, refused.json()["code"]) == (400, "refused")
    assert (ready.status_code, alive.status_code) == (503, 200)
    assert "retry-after" in ready.headers


def test_a_redis_that_hangs_is_a_503_in_time(redis: Redis, store: Store, clock: Clock) -> None:
    with gateway(store, clock, seconds=0.05) as client:
        assert client.post("/v1/track", json=event(1)).status_code == 200
        redis.client_pause(300, all=False)
        answer = client.post("/v1/track", json=event(2))
        redis.client_unpause()

    assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")


# ── What else may be asked ───────────────────────────────────────────────────────────────────────


def test_it_is_ready_when_redis_takes_changes(client: Client, redis: Redis) -> None:
    assert client.get("/readyz").json() == {"success": True}

    redis.replicaof("127.0.0.1", "1")
    try:
        assert client.get("/readyz").status_code == 503
    finally:
        redis.replicaof("NO", "ONE")


def test_metrics_tell_of_requests_events_and_changes_and_of_nobody(client: Client) -> None:
    client.post("/v1/batch", json=batch(event(1), event(2), event(3, timestamp="yesterday")))
    client.post("/v1/track", json=event(4), headers=basic("unknown"))
    client.get("/nowhere")

    text = client.get("/metrics").text

    for line in (
        'relay_gateway_requests_total{route="/v1/batch",status="200"} 1.0',
        'relay_gateway_requests_total{route="/v1/track",status="401"} 1.0',
        'relay_gateway_requests_total{route="none",status="404"} 1.0',
        'relay_gateway_request_seconds_count{route="/v1/batch"} 1.0',
        'relay_gateway_events_total{outcome="accepted",reason=""} 2.0',
        'relay_gateway_events_total{outcome="refused",reason="timestamp"} 1.0',
        'relay_gateway_changes_total{destination="taboola",outcome="appended"} 2.0',
    ):
        assert line in text
    assert "jane" not in text


@pytest.mark.parametrize(("path", "status"), [("/nowhere", 404), ("/v1/track/", 404), ("/v1/track", 405)])
def test_any_other_address_is_answered_in_the_same_form(client: Client, path: str, status: int) -> None:
    answer = client.get(path)

    assert answer.status_code == status
    assert answer.json()["success"] is False
    assert (answer.headers.get("allow") == "POST") == (status == 405)


def test_a_fault_is_answered_and_logged_without_what_it_says(store: Store, clock: Clock) -> None:
    fault = ValueError("jane@example.com")
    with (
        gateway(store, clock, way_in=Cut(store, fault, before=1)) as client,
        capture_logs() as logs,
    ):
        answer = client.post("/v1/track", json=event())

    assert (answer.status_code, answer.json()["code"]) == (500, "fault")
    faults = [entry for entry in logs if entry["event"] == "gateway.fault"]
    assert [entry["route"] for entry in faults] == ["/v1/track"]
    assert faults[0]["where"].startswith("ValueError in test_gateway.py")
    assert "jane" not in str(logs) + answer.text


def test_no_answer_is_guessed_at_or_kept(client: Client) -> None:
    for answer in (client.post("/v1/track", json=event()), client.post("/v1/track"), client.get("/metrics")):
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] == "no-store"


def persona(key: str) -> Json:
    return {"context": {"personas": {"computation_class": "audience", "computation_key": key}}}
