"""What is a receiver's of one's own: requests in the operator's form, and what answers mean."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from pydantic import ValidationError

from sandbox.app import Sandbox
from sandbox.webhook import WebhookSwitches
from tests.conftest import Clock
from tests.destinations.conftest import Bench, counters, enters, leaves, open_bench
from worker.batching import fold
from worker.contract import Change, Identifier, LaneKey
from worker.destinations.base import Receipt, Request, Response
from worker.destinations.http import Http
from worker.destinations.http_settings import HttpSettings
from worker.edges import probe
from worker.errors import ConfigurationError, DeliveryError, NeedsPerson, Refused, Throttled, TooLarge, TryLater
from worker.settings import Settings, load
from worker.store.store import Store

URL = "https://example.com/hook"
AWKWARD = 'O\'Neill "the" \\ \n\t{} $members 🎈 \\u0041'
EMAIL, SHA256 = "test@example.com", "973dfe463ec85785f5f95af5ba3906eedb2d931c24e69824a89ea65dba4e813b"
DONE = Response(204)


def http(store: Store, clock: Clock, switches: WebhookSwitches | None = None, **settings: Any) -> Bench:
    sandbox = Sandbox(http=switches, clock=lambda: clock() / 1000)
    return open_bench("http", store, clock, sandbox, **settings)


def configured(**settings: Any) -> HttpSettings:
    return HttpSettings.model_validate({"name": "own", "kind": "http", "api_url": URL} | settings)


def person(*handles: str, entered: bool = True, **properties: Any) -> Change:
    """Each handle as `type:value`."""
    parts = [each.partition(":") for each in handles]
    identifiers = tuple(Identifier(kind, value) for kind, _, value in parts)  # type: ignore[arg-type]
    return Change(entered, 0, identifiers, properties=properties)


ADA, BOB = person("email:ada@example.com"), person("email:bob@example.com", entered=False)


class Talk(NamedTuple):
    requests: list[Request]
    receipt: Receipt

    @property
    def bodies(self) -> list[Any]:
        return [json.loads(each.content) for each in self.requests]


def talk(*changes: Change, audience: str = "vip", answer: Response = DONE, batch: str = "b1", **settings: Any) -> Talk:
    """The conversation about one batch, each of whose requests gets that answer."""
    destination = Http(configured(**settings))
    folded = fold(LaneKey("own", audience), batch, changes, destination.vendor_form)
    conversation = destination.converse(folded, {})
    requests: list[Request] = []
    try:
        requests.append(next(conversation))
        while True:
            requests.append(conversation.send(answer))
    except StopIteration as ended:
        return Talk(requests, ended.value)


# ── What is sent ─────────────────────────────────────────────────────────────────────────────────


def test_removes_go_before_adds_each_in_a_request_of_its_own() -> None:
    told = talk(ADA, BOB)

    member = {"identifiers": [{"type": "email", "value": "bob@example.com"}]}
    assert told.bodies[0] == {"audience": "vip", "operation": "remove", "members": [member]}
    assert told.bodies[1]["operation"] == "add"
    assert [(each.method, each.url) for each in told.requests] == [("POST", URL)] * 2
    assert all(each.headers["content-type"] == "application/json" for each in told.requests)


def test_an_operation_without_members_is_not_asked_for() -> None:
    assert [each["operation"] for each in talk(ADA).bodies] == ["add"]
    assert [each["operation"] for each in talk(BOB).bodies] == ["remove"]


def test_the_idempotency_key_is_that_of_the_attempt_and_the_operation() -> None:
    keys = [each.headers["idempotency-key"] for name in ("b1", "b2") for each in talk(ADA, BOB, batch=name).requests]

    assert len(set(keys)) == 4


def test_values_travel_as_json_values_and_are_no_placeholders() -> None:
    plan = {"name": "plan", "type": "STRING", "path": "traits.plan"}
    (told,) = talk(person("email:$audience", plan=AWKWARD), audience=AWKWARD, properties=[plan]).bodies

    assert told["audience"] == AWKWARD
    assert told["members"] == [
        {"identifiers": [{"type": "email", "value": "$audience"}], "properties": {"plan": AWKWARD}}
    ]


def test_a_template_says_what_the_body_is() -> None:
    template = {"meta": {"to": "$audience", "price": "$$5", "version": 2}, "rows": "$members"}
    row = {"who": {"mail": "$email", "phone": "$phone", "ids": "$devices"}, "list": "$audience", "do": "$operation"}
    (told,) = talk(
        person("email:ada@example.com", "device:x", "device:y"),
        body=template,
        member=row,
        identifiers=["email", "phone", "device"],
    ).bodies

    who = {"mail": "ada@example.com", "ids": ["x", "y"]}
    assert told == {
        "meta": {"to": "vip", "price": "$5", "version": 2},
        "rows": [{"who": who, "list": "vip", "do": "add"}],
    }


def test_a_body_may_be_the_list_of_members_and_a_member_a_list_of_identifiers() -> None:
    told = talk(
        ADA, body="$members", member=["$email", "$operation", "$properties"], add={"word": "+"}, audiences=["vip"]
    )

    assert told.bodies == [[["ada@example.com", "+"]]]


def test_single_properties_stand_where_the_template_wants_them() -> None:
    properties = [{"name": name, "type": "NUMBER", "path": f"traits.{name}"} for name in ("visits", "age")]
    member = {"id": "$email", "visits": "$properties.visits", "age": "$properties.age"}
    (told,) = talk(person("email:ada@example.com", visits=3), properties=properties, member=member).bodies

    assert told["members"] == [{"id": "ada@example.com", "visits": 3}]


def test_adding_and_removing_may_be_asked_for_in_different_ways() -> None:
    told = talk(
        ADA,
        BOB,
        audience="a/b c",
        api_url=f"{URL}/?tenant=1",
        member="$email",
        add={"method": "PUT", "path": "/$audience/members", "body": {"in": "$members"}},
        remove={"method": "DELETE", "path": "/$audience/members?list=$audience", "body": {"out": "$members"}},
    )

    assert [(each.method, each.url) for each in told.requests] == [
        ("DELETE", f"{URL}/a%2Fb%20c/members?tenant=1&list=a%2Fb%20c"),
        ("PUT", f"{URL}/a%2Fb%20c/members?tenant=1"),
    ]
    assert told.bodies == [{"out": ["bob@example.com"]}, {"in": ["ada@example.com"]}]


def test_no_audience_climbs_out_of_its_path() -> None:
    for audience in (".", ".."):
        with pytest.raises(NeedsPerson) as raised:
            talk(ADA, audience=audience, add={"path": "/$audience/members"}, remove={"path": "/$audience/gone"})
        assert raised.value.scope == "lane"


@pytest.mark.parametrize("add", [{}, {"path": ""}])
def test_the_url_is_used_as_it_is_written(add: dict[str, str]) -> None:
    assert talk(ADA, api_url=f"{URL}/", add=add).requests[0].url == f"{URL}/"


def test_an_email_is_hashed_where_that_is_configured_unless_it_is_a_hash() -> None:
    told = talk(person(f"email:{EMAIL}"), person(f"email:{SHA256[::-1]}"), member="$email", hash_emails=True)

    assert told.bodies[0]["members"] == [SHA256, SHA256[::-1]]
    assert talk(person(f"email:{EMAIL}"), member="$email").bodies[0]["members"] == [EMAIL]


def test_emails_are_read_in_one_form_alone() -> None:
    assert configured().reading().hashed_emails == ()
    assert configured(hash_emails=True).reading().hashed_emails == ("sha256",)


def test_all_emails_and_phones_of_somebody_are_sent() -> None:
    """Whoever is to be forgotten may have more of them than an event has."""
    everything = person("email:a@example.com", "email:b@example.com", "phone:+1", "device:x", entered=False)
    member = {"email": "$email", "phone": "$phone", "devices": "$devices"}
    (told,) = talk(everything, identifiers=["email", "device", "phone"], member=member).bodies

    assert told["members"] == [
        {"email": "a@example.com", "phone": "+1", "devices": ["x"]},
        {"email": "b@example.com"},
    ]


def test_devices_alone_make_a_member() -> None:
    for identifiers in (["device"], ["email", "device"]):
        (told,) = talk(
            person("device:x", "device:y"),
            identifiers=identifiers,
            member={"identifiers": "$identifiers"},
        ).bodies

        found = [{"type": "device", "value": "x"}, {"type": "device", "value": "y"}]
        assert told["members"] == [{"identifiers": found}]


def test_only_identifiers_of_the_configured_types_are_sent() -> None:
    assert talk(person("device:x"), person("user_id:u-1", entered=False)).requests == []


# ── What answers mean ────────────────────────────────────────────────────────────────────────────

BY_PATH = {"add": {"path": "/$audience/add"}, "remove": {"path": "/$audience/remove"}}
STATUSES: dict[int, tuple[type[DeliveryError], str]] = {
    301: (NeedsPerson, "redirected"),
    400: (Refused, "refused"),
    401: (NeedsPerson, "credentials refused"),
    402: (NeedsPerson, "request not understood"),
    403: (NeedsPerson, "forbidden"),
    404: (NeedsPerson, "not found"),
    405: (NeedsPerson, "request not understood"),
    408: (TryLater, "vendor unavailable"),
    409: (NeedsPerson, "request not understood"),
    410: (NeedsPerson, "not found"),
    413: (TooLarge, "request too large"),
    415: (NeedsPerson, "request not understood"),
    422: (Refused, "refused"),
    425: (TryLater, "vendor unavailable"),
    429: (Throttled, "rate limited"),
    500: (TryLater, "vendor unavailable"),
    503: (TryLater, "vendor unavailable"),
}


@pytest.mark.parametrize("status", STATUSES)
def test_a_status_is_an_order(status: int) -> None:
    order, reason = STATUSES[status]

    with pytest.raises(DeliveryError) as raised:
        talk(ADA, answer=Response(status, headers={"retry-after": "7"}))

    assert (type(raised.value), raised.value.reason) == (order, reason)
    if status in {429, 503}:
        assert raised.value.retry_after == 7  # type: ignore[attr-defined]


@pytest.mark.parametrize(("settings", "scope"), [({}, "destination"), (BY_PATH, "lane")])
def test_a_path_that_is_not_found_concerns_the_audience_that_it_names(settings: dict[str, Any], scope: str) -> None:
    with pytest.raises(NeedsPerson) as raised:
        talk(ADA, answer=Response(404), **settings)

    assert raised.value.scope == scope


@pytest.mark.parametrize(
    "content", [b"", b" \n", b"ok", b'"ok"', b"[]", b"{}", b'{"refused": []}', b'{"refused":null}']
)
def test_these_answers_take_everything(content: bytes) -> None:
    assert talk(ADA, BOB, answer=Response(200, content)).receipt == Receipt()


@pytest.mark.parametrize(
    "content",
    [b"<h1>Sorry</h1>", b" <!doctype html>", b'{"refused": [', b'{"refused": 3}', b'{"refused": ["ada@example.com"]}'],
)
def test_these_answers_are_no_success(content: bytes) -> None:
    with pytest.raises(TryLater) as raised:
        talk(ADA, answer=Response(200, content))

    assert raised.value.reason == "malformed answer"
    assert "ada" not in str(raised.value)


def refusing(*identifiers: str, reason: str | None = None) -> Response:
    refused = [{"identifier": each} | ({"reason": reason} if reason else {}) for each in identifiers]
    return Response(200, json.dumps({"refused": refused}).encode())


def test_refused_identifiers_are_named_with_the_reason_but_not_in_it() -> None:
    tablet = person("email:ada@example.com", "device:tablet")
    told = talk(
        tablet, answer=refusing("tablet", reason="no tablet here, x@example.com"), identifiers=["email", "device"]
    )

    assert told.receipt == Receipt({Identifier("device", "tablet"): "no … here, …"})
    assert talk(ADA, answer=refusing("ada@example.com")).receipt.refused == {ADA.identifiers[0]: "refused"}


def test_a_refused_identifier_is_known_in_the_form_in_which_it_was_sent() -> None:
    told = talk(person(f"email:{EMAIL}"), answer=refusing(SHA256), hash_emails=True)

    assert told.receipt.refused == {Identifier("email", SHA256): "refused"}


def test_refused_identifiers_of_both_requests_are_told() -> None:
    told = talk(ADA, BOB, answer=refusing("ada@example.com", "bob@example.com"))

    assert set(told.receipt.refused) == {ADA.identifiers[0], BOB.identifiers[0]}
    assert told.receipt.invalid_unnamed == 2, "each request was answered with one that was not in it"


def test_the_words_of_a_refusal_hold_neither_identifiers_nor_secrets() -> None:
    """Receivers repeat what they were sent; a device id may look like any word."""
    said = {"message": "tablet of ada@example.com is bad; key hush-1, token hush-2"}
    keys: dict[str, Any] = {
        "headers": {"X-Key": "hush-1"},
        "bearer_token": "hush-2",
        "identifiers": ["email", "device"],
    }

    with pytest.raises(Refused) as raised:
        talk(person("device:tablet"), answer=Response(422, json.dumps(said).encode()), **keys)

    assert raised.value.detail == "… of … is bad; key …, token …"


@pytest.mark.parametrize("member", ["message", "error", "detail", "title"])
def test_a_receiver_may_say_that_it_is_too_much(member: str) -> None:
    with pytest.raises(TooLarge):
        talk(ADA, answer=Response(400, json.dumps({member: "at most 10 members"}).encode()))


def test_endless_words_are_not_repeated() -> None:
    with pytest.raises(Refused) as raised:
        talk(ADA, answer=Response(400, json.dumps({"message": "no " * 1_000}).encode()))

    assert raised.value.detail == "HTTP 400"


# ── Against the stand-in ─────────────────────────────────────────────────────────────────────────


def test_who_is_refused_is_buried_and_the_others_are_members(store: Store, clock: Clock) -> None:
    bench = http(store, clock, WebhookSwitches(refused_values=frozenset({"ada@example.com"})))
    bench.append([enters("ada"), enters("bob")])
    bench.flush()

    assert bench.members() == {"bob@example.com"}
    assert counters(bench) == {"accepted": 2, "delivered": 1, "buried": 1}


@pytest.mark.parametrize(
    "switches",
    [
        WebhookSwitches(refused_values=frozenset({"ada@example.com"}), refuse_whole_requests=True),
        WebhookSwitches(refused_values=frozenset({"ada@example.com"}), max_members=3),
    ],
)
def test_the_culprits_of_a_refused_request_are_found_and_parts_made_small_enough(
    store: Store, clock: Clock, switches: WebhookSwitches
) -> None:
    names = ("ada", "bob", "cid", "dan", "eve")
    bench = http(store, clock, switches)
    bench.append([enters(name) for name in names])
    bench.flush()

    assert bench.members() == {f"{name}@example.com" for name in names[1:]}
    assert counters(bench) == {"accepted": 5, "delivered": 4, "buried": 1}


def test_a_retry_is_not_taken_for_the_request_that_it_follows(store: Store, clock: Clock) -> None:
    """The receiver applied the first request, though nobody knows; what has changed since must not be lost."""
    bench = http(store, clock)
    bench.append([enters("ada")])
    bench.fault(kind="reset_after")
    bench.flush()
    bench.append([enters("bob")])
    bench.flush()

    assert bench.members() == {"ada@example.com", "bob@example.com"}
    assert bench.sandbox.http.counted["repeated"] == 0


def test_properties_arrive(store: Store, clock: Clock) -> None:
    properties = [{"name": "plan", "type": "STRING", "path": "traits.plan"}]
    bench = http(store, clock, properties=properties)
    bench.append([person("email:ada@example.com", plan="gold"), enters("bob")])
    bench.flush()

    assert bench.sandbox.http.properties("vip") == {"ada@example.com": {"plan": "gold"}, "bob@example.com": {}}


def test_blank_answers_will_do(store: Store, clock: Clock) -> None:
    bench = http(store, clock, WebhookSwitches(blank_answers=True))
    bench.append([enters("ada"), leaves("bob")])
    bench.flush()

    assert counters(bench) == {"accepted": 2, "delivered": 2}


def test_headers_are_sent_with_every_request(store: Store, clock: Clock) -> None:
    only = WebhookSwitches(tokens=frozenset({"key"}))
    bench = http(store, clock, only, bearer_token=None, headers={"Authorization": "Bearer key"})
    bench.append([enters("ada")])
    bench.flush()

    assert bench.members() == {"ada@example.com"}
    assert probe(bench.edges) == "probe_url answers with HTTP 200"


def test_without_credentials_none_are_sent(store: Store, clock: Clock) -> None:
    bench = http(store, clock, bearer_token=None)
    bench.append([enters("ada")])
    bench.flush()

    hold = bench.status().hold
    assert hold is not None
    assert hold.reason == "credentials refused: check bearer_token and headers"


def test_without_a_probe_url_nothing_is_tried(store: Store, clock: Clock) -> None:
    bench = http(store, clock, probe_url=None)

    assert probe(bench.edges) == "not tried, since there is no probe_url"
    assert bench.sandbox.http.requests()["total"] == 0


# ── What may be configured ───────────────────────────────────────────────────────────────────────

Load = Callable[[str], Settings]
HEAD = f'[[destinations]]\nname = "own"\nkind = "http"\napi_url = "{URL}"\n'
OTHER = HEAD.replace('"own"', '"other"')


@pytest.fixture
def loaded(tmp_path: Path) -> Load:
    """Loads what a relay.toml says."""

    def read(text: str) -> Settings:
        (tmp_path / "relay.toml").write_text(text)
        return load(tmp_path / "relay.toml")

    return read


def mistakes(loaded: Load, text: str) -> list[str]:
    """Each without the folder and the destination."""
    with pytest.raises(ConfigurationError) as raised:
        loaded(text)
    return [each.rpartition("relay.toml:")[2].replace(' destinations[0] "own":', "") for each in raised.value.mistakes]


def test_each_unknown_placeholder_is_told_with_its_line(loaded: Load) -> None:
    text = (
        HEAD
        + """
member = { id = "$mail" }
[destinations.body]
list = "$audience"
users = [
    "$members",
    { x = "$mebers" },
]
"""
    )
    member, users = mistakes(loaded, text)

    plain = '"$$" begins a text with a plain "$"'
    of_member = "$audience, $operation, $identifiers, $email, $devices, $phone, $properties"
    assert member == f'6: member.id: unknown placeholder; did you mean "$email"? allowed: {of_member}; {plain}'
    of_body = "$audience, $operation, $members"
    assert users == f'11: body.users[1].x: unknown placeholder; did you mean "$members"? allowed: {of_body}; {plain}'


def test_a_property_is_known_to_the_template_by_its_name(loaded: Load) -> None:
    properties = 'properties = [{ name = "plan", type = "STRING", path = "traits.plan" }]\n'
    member = 'member = { id = "$email", plan = "$properties.plan" }\n'

    assert loaded(HEAD + properties + member).destinations
    (found,) = mistakes(loaded, HEAD + member)
    assert found.startswith("5: member.plan: unknown placeholder")


@pytest.mark.parametrize("value", ["2026-01-01", "nan", "inf", str(2**64)])
def test_what_json_cannot_say_is_a_mistake(loaded: Load, value: str) -> None:
    (found,) = mistakes(
        loaded, HEAD + f'body = {{ users = "$members", a = "$audience", o = "$operation", x = {value} }}\n'
    )

    assert found == "5: body.x: JSON has no such value; put it in quotes"


WRONG = {
    'body = { a = "$audience", o = "$operation" }': '5: body: needs "$members"',
    'add = { body = { a = "$audience" } }': '5: add.body: needs "$members"',
    'identifiers = ["email", "device"]\nmember = { email = "$email" }': "6: member: does not show device",
    "identifiers = []": "5: identifiers: must not be empty",
    'body = { o = "$operation", m = "$members" }': "1: a request does not tell its audience",
    'body = { a = "$audience", m = "$members" }': "1: nothing tells adding from removing",
    'add = { word = "x" }\nremove = { word = "x" }': "1: nothing tells adding from removing",
    'add = { path = "members" }': "5: add.path: must begin with / or ?",
    'add = { path = "/$audiences" }': "5: add.path: may hold no other placeholder than $audience",
    'add = { method = "GET" }': "5: add.method: must be 'POST', 'PUT', 'PATCH' or 'DELETE'",
    'headers = { "a b" = "x" }': '5: headers: "a b" is no name of a header',
    'headers = { Host = "x" }': '5: headers: "Host" is no name of a header',
    'headers = { Idempotency-Key = "x" }': '5: headers: "Idempotency-Key" is no name of a header',
    'headers = { x-team = "a\\nb" }': "5: headers.x-team: must be printable ASCII",
    'bearer_token = ""': "5: bearer_token: must be printable ASCII",
    'bearer_token = "t"\nheaders = { authorization = "x" }': "6: headers: Authorization is what bearer_token sets",
    'probe_url = "example.com"': "5: probe_url: must be http://",
    "batch = { max_changes = 10001 }": "5: batch.max_changes: must be less than or equal to 10000",
}


@pytest.mark.parametrize("text", WRONG)
def test_what_cannot_work_is_a_mistake(loaded: Load, text: str) -> None:
    (found,) = mistakes(loaded, HEAD + text + "\n")

    assert found.startswith(WRONG[text])


@pytest.mark.parametrize("url", ["ftp://example.com", "https://", "https://u:p@example.com", f"{URL}#a", f"{URL} "])
def test_a_url_must_be_one(url: str) -> None:
    with pytest.raises(ValidationError, match="must be http"):
        configured(api_url=url)


def test_one_audience_alone_need_not_be_told() -> None:
    body = {"do": "$operation", "who": "$members"}

    assert talk(ADA, audiences=["vip"], body=body).bodies[0]["do"] == "add"
    for several in (["vip", "fans"], ["vip*"]):
        with pytest.raises(ValidationError, match="a request does not tell its audience"):
            configured(audiences=several, body=body)


def test_a_member_or_a_path_may_tell_the_audience() -> None:
    body = {"do": "$operation", "who": "$members"}

    assert configured(body=body, member={"list": "$audience", "id": "$email"}).body == body
    assert configured(body=body, add={"path": "/$audience"}, remove={"path": "/$audience"}).body == body
    with pytest.raises(ValidationError, match="a request does not tell its audience"):
        configured(body=body, add={"path": "/$audience"})


def test_two_may_not_write_the_same_audience_at_one_url(loaded: Load) -> None:
    (found,) = mistakes(loaded, HEAD + OTHER.replace(URL, f"{URL}/"))

    assert "may not stand beside destinations[0]: both can write the same audience" in found
    assert len(loaded(HEAD + OTHER.replace(URL, f"{URL}/other")).destinations) == 2
    assert len(loaded(HEAD + 'audiences = ["a*"]\n' + OTHER + 'audiences = ["b*"]\n').destinations) == 2


def test_no_repr_and_no_mistake_shows_a_secret(loaded: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HUSH", "$hush-é")
    secret = 'headers = { x-key = "hush-1" }\nbearer_token = "hush-2"\n'
    secret += 'body = { key = "hush-3", a = "$audience", o = "$operation", m = "$members" }\n'
    secret += 'member = { key = "hush-4", id = "$email" }\n'
    secret += 'add = { body = { key = "hush-5", a = "$audience", m = "$members" } }\n'
    settings = loaded(HEAD.replace(URL, f"{URL}?code=hush-6") + secret + f'probe_url = "{URL}?code=hush-7"\n')
    found = mistakes(loaded, HEAD + 'body = { key = "env:HUSH" }\nheaders = { x-key = "env:HUSH" }\n')

    assert "hush" not in repr(settings)
    assert "hush" not in repr(Http(settings.destinations[0]).credential)  # type: ignore[arg-type]
    assert len(found) == 2
    assert "hush" not in "".join(found)
    assert "hush" not in repr(talk(ADA, bearer_token="hush-2", headers={"x-key": "hush-1"}).requests)
