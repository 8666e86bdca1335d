"""What a source event says, and why one is refused."""

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, get_args

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from producers.iso8601 import calendar_date, milliseconds
from producers.segment import MAX_AHEAD_MS, MAX_EVENT_BYTES, Erasure, Membership, RawEvent, Reason, Refusal, parse
from worker.contract import Identifier

RECEIVED_AT = 1_714_560_000_000
"""2024-05-01T10:40:00Z"""
SHA256 = "973dfe463ec85785f5f95af5ba3906eedb2d931c24e69824a89ea65dba4e813b"
IOS = "EA7583CD-A667-48BC-B806-42ECB2B48606"
ANDROID = "38400000-8cf0-11bd-b23e-10b96e40000d"


def track(**parts: Any) -> dict[str, Any]:
    return {
        "type": "track",
        "messageId": "msg-1",
        "userId": "user-1",
        "timestamp": "2024-05-01T10:00:00.000Z",
        "event": "Audience Entered",
        "properties": {"audience_key": "vip_users", "vip_users": True},
        "context": {
            "traits": {"email": "user1@example.com"},
            "personas": {
                "computation_class": "audience",
                "computation_id": "aud_vip_users",
                "computation_key": "vip_users",
                "external_audience_id": "1234567",
            },
        },
        **parts,
    }


def identify(**parts: Any) -> dict[str, Any]:
    return {
        "type": "identify",
        "messageId": "msg-1",
        "userId": "user-1",
        "timestamp": "2024-05-01T10:00:00.000Z",
        "traits": {"vip_users": False, "email": "user1@example.com"},
        "context": {"personas": {"computation_class": "journey_step", "computation_key": "vip_users"}},
        **parts,
    }


def delete(**parts: Any) -> dict[str, Any]:
    return {
        "type": "delete",
        "messageId": "msg-1",
        "userId": "user-1",
        "timestamp": "2024-05-01T10:00:00.000Z",
        **parts,
    }


def read(event: RawEvent) -> Membership:
    found = parse(event, received_at=RECEIVED_AT)
    assert isinstance(found, Membership)
    return found


def erasure(event: RawEvent) -> Erasure:
    found = parse(event, received_at=RECEIVED_AT)
    assert isinstance(found, Erasure)
    return found


def refusal(event: RawEvent) -> Reason | None:
    found = parse(event, received_at=RECEIVED_AT)
    return found.reason if isinstance(found, Refusal) else None


# ── The two shapes ───────────────────────────────────────────────────────────────────────────────


def test_a_track_call_tells_who_entered_which_audience_and_when() -> None:
    membership = read(json.dumps(track()).encode())

    assert membership.audience_key == "vip_users"
    assert membership.entered
    assert membership.occurred_at == 1_714_557_600_000
    assert membership.identifiers == (Identifier("email", "user1@example.com"),)
    assert membership.message_id == "msg-1"
    assert membership.tree == track()


def test_an_identify_call_tells_it_in_its_traits() -> None:
    membership = read(json.dumps(identify()).encode())

    assert membership.audience_key == "vip_users"
    assert not membership.entered
    assert membership.identifiers == (Identifier("email", "user1@example.com"),)


def test_bytes_text_and_an_object_read_the_same() -> None:
    text = json.dumps(track())

    assert read(text) == read(text.encode()) == read(track())


def test_members_that_nobody_reads_may_be_anything() -> None:
    assert refusal(track(sentAt=5, integrations=[], userId={}, event_id=None, version=1.5)) is None


def test_the_repr_of_a_membership_leaves_the_person_out() -> None:
    assert repr(read(track())) == "Membership(in since 1714557600000, 1 identifiers)"


# ── Which audience ───────────────────────────────────────────────────────────────────────────────


def personas(**parts: Any) -> dict[str, Any]:
    return {"traits": {"email": "user1@example.com"}, "personas": parts}


def test_the_audience_key_of_the_properties_comes_before_the_computation_key() -> None:
    event = track(properties={"audience_key": "one"}, context=personas(computation_key="other"))

    assert read(event).audience_key == "one"


@pytest.mark.parametrize("missing", [None, "", "  ", 5, True, ["vip_users"], {}])
def test_the_computation_key_serves_when_the_properties_have_no_usable_key(missing: object) -> None:
    event = track(properties={"audience_key": missing}, context=personas(computation_key="vip_users"))

    assert read(event).audience_key == "vip_users"


@pytest.mark.parametrize("missing", [None, "", "\t", 5, False, ["vip_users"]])
def test_an_event_that_names_no_audience_is_refused(missing: object) -> None:
    event = track(properties={"audience_key": missing}, context=personas(computation_key=missing))

    assert refusal(event) == "audience"


def test_an_audience_key_is_taken_as_it_stands() -> None:
    key = 'O\'Brien "Bob" \\ naïve 日本 😀 \n\t</x>'

    assert read(track(properties={"audience_key": key, key: True})).audience_key == key


# ── In or out ────────────────────────────────────────────────────────────────────────────────────


def test_the_boolean_at_the_key_comes_before_the_name_of_the_event() -> None:
    event = track(event="Audience Entered", properties={"audience_key": "vip", "vip": False})

    assert not read(event).entered


def test_the_boolean_in_properties_comes_before_the_one_in_traits() -> None:
    event = track(properties={"audience_key": "vip", "vip": True}, traits={"vip": False})

    assert read(event).entered


@pytest.mark.parametrize("unclear", [None, "true", "false", 0, 1, [], {}])
def test_only_true_and_false_are_directions_and_then_the_traits_decide(unclear: object) -> None:
    event = track(properties={"audience_key": "vip", "vip": unclear}, traits={"vip": False})

    assert not read(event).entered


@pytest.mark.parametrize(("name", "entered"), [("Audience Entered", True), ("Audience Exited", False)])
def test_the_name_of_the_event_decides_when_there_is_no_boolean(name: str, entered: object) -> None:
    assert read(track(event=name, properties={"audience_key": "vip"})).entered is entered


@pytest.mark.parametrize(("name", "entered"), [("new", True), ("updated", True), ("deleted", False)])
def test_a_row_of_a_warehouse_enters_when_it_is_new_or_updated_and_leaves_when_it_is_deleted(
    name: str, entered: object
) -> None:
    row = {"audience_key": "vip", "email": "jane@example.com"}
    event = {"type": "track", "event": name, "messageId": "m-1", "properties": row}

    membership = read(event)

    assert membership.entered is entered
    assert membership.identifiers == (Identifier("email", "jane@example.com"),)


def test_the_boolean_at_the_key_comes_before_what_a_warehouse_did_with_the_row() -> None:
    assert not read(track(event="new", properties={"audience_key": "vip", "vip": False})).entered
    assert read(track(event="deleted", properties={"audience_key": "vip", "vip": True})).entered


def test_an_identify_whose_traits_are_in_its_context_alone_is_read_as_if_they_were_its_own() -> None:
    """So RudderStack's SDKs send it."""
    context = {"traits": {"vip": False, "email": "user1@example.com", "ios_id": "EA7583CD"}}
    personas = {"computation_key": "vip", "computation_class": "audience"}
    event = {"type": "identify", "userId": "u-1", "context": {**context, "personas": personas}}

    without: list[dict[str, Any]] = [{}, {"traits": None}, {"traits": {}}]
    for traits in without:
        membership = read(event | traits)
        assert not membership.entered
        assert [each.value for each in membership.identifiers] == ["user1@example.com", "EA7583CD"]
    assert read(event | {"traits": {"vip": True}}).entered


def test_traits_in_the_context_of_a_track_call_tell_no_direction() -> None:
    event = track(
        event="Audience Entered",
        properties={"audience_key": "vip"},
        context={"traits": {"vip": False, "email": "user1@example.com"}},
    )

    assert read(event).entered


@pytest.mark.parametrize("name", [None, "", "audience entered", "Order Completed", 5, ["Audience Entered"], {}])
def test_an_event_without_boolean_and_without_a_telling_name_is_refused(name: object) -> None:
    assert refusal(track(event=name, properties={"audience_key": "vip"})) == "direction"


# ── Type, class, shape ───────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("type_", ["page", "Track", "Delete", "", None, 5, ["track"]])
def test_only_track_identify_and_delete_calls_are_taken(type_: object) -> None:
    assert refusal(track(type=type_)) == "type"


def test_an_event_without_a_type_is_refused() -> None:
    assert refusal({"properties": {"audience_key": "vip", "vip": True}}) == "type"


def test_of_several_faults_the_type_is_told_first() -> None:
    """Whatever a `page` call holds, it is ignored for being one."""
    assert (
        refusal(track(type="page", properties=[], timestamp=5, context=personas(computation_class="trait"))) == "type"
    )


@pytest.mark.parametrize("class_", ["audience", "journey_step", None])
def test_audiences_journey_steps_and_no_class_at_all_are_taken(class_: str | None) -> None:
    assert refusal(track(context=personas(computation_class=class_))) is None


@pytest.mark.parametrize("class_", ["trait", "", "Audience", 5, True, [], {}])
def test_any_other_class_is_refused(class_: object) -> None:
    assert refusal(track(context=personas(computation_class=class_))) == "class"


@pytest.mark.parametrize("part", ["properties", "traits", "context"])
@pytest.mark.parametrize("value", [[], "text", 5, True])
def test_a_part_that_is_read_and_no_object_is_refused(part: str, value: object) -> None:
    assert refusal(track(**{part: value})) == "shape"


@pytest.mark.parametrize("part", ["traits", "personas"])
@pytest.mark.parametrize("value", [[], "text", 5, True])
def test_a_part_of_the_context_that_is_read_and_no_object_is_refused(part: str, value: object) -> None:
    assert refusal(track(context={part: value})) == "shape"


def test_a_part_that_is_null_counts_as_absent() -> None:
    assert refusal(identify(properties=None)) is None
    assert refusal(track(traits=None, context={"traits": {"email": "a@b"}, "personas": None})) is None
    assert refusal(track(context=None, properties=None)) == "audience"


# ── When ─────────────────────────────────────────────────────────────────────────────────────────


def occurred_at(timestamp: object) -> int:
    return read(track(timestamp=timestamp)).occurred_at


def test_a_missing_timestamp_is_the_time_of_receipt() -> None:
    event = track()
    del event["timestamp"]

    assert read(event).occurred_at == RECEIVED_AT
    assert occurred_at(None) == RECEIVED_AT


def test_a_timestamp_may_be_five_minutes_ahead_and_is_cut_to_its_receipt_beyond() -> None:
    def ahead(ms: int) -> int:
        then = datetime.fromtimestamp((RECEIVED_AT + ms) / 1000, UTC)
        return occurred_at(then.isoformat()) - RECEIVED_AT

    assert ahead(MAX_AHEAD_MS) == MAX_AHEAD_MS
    assert ahead(MAX_AHEAD_MS + 1) == 0
    assert ahead(-1) == -1


@pytest.mark.parametrize(
    "text",
    [
        "2024-05-01T10:00:00Z",
        "2024-05-01T10:00:00.000Z",
        "2024-05-01t10:00:00z",
        "2024-05-01 10:00:00",
        "2024-05-01T10:00",
        "2024-05-01T10:00:00.000000000000000001Z",
        "2024-05-01T10:00:00,0Z",
        "2024-05-01T12:00:00+02:00",
        "2024-05-01T12:00:00+0200",
        "2024-05-01T12+02",
        "2024-05-01T04:30:00-05:30",
        "20240501T100000Z",
        "20240501T1000",
    ],
)
def test_the_usual_forms_of_iso_8601_are_read_and_without_a_zone_are_utc(text: str) -> None:
    assert milliseconds(text) == 1_714_557_600_000


def test_a_date_alone_is_its_midnight() -> None:
    assert milliseconds("2024-05-01") == 1_714_521_600_000


@pytest.mark.parametrize(
    "value",
    [
        1_714_557_600,
        1_714_557_600_000.5,
        True,
        [],
        {},
        "",
        " ",
        "1714557600",
        "20240501",
        "2024-05",
        "yesterday",
        "05/01/2024",
        "2024-05-01T10:00:00 UTC",
        "2024-05-01_10:00:00",
        "2024-05-01T10:00:00+24:00",
        "2024-05-01+02:00",
        "2024-13-01T10:00:00Z",
        "2024-02-30",
        "2024-05-01T10:00:00.",
        "2024-05-01T10:00:00Z\n",
        "\u0662\u0660\u0662\u0664-\u0660\u0665-\u0660\u0661",
        "Wed, 01 May 2024 10:00:00 GMT",
    ],
)
def test_a_timestamp_in_any_other_form_is_refused(value: object) -> None:
    assert refusal(track(timestamp=value)) == "timestamp"


@given(st.datetimes(timezones=st.sampled_from([UTC, timezone(timedelta(hours=14)), timezone(-timedelta(hours=12))])))
@example(datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=14))))
def test_an_instant_is_read_to_the_millisecond_rounded_down(instant: datetime) -> None:
    epoch = datetime(1970, 1, 1, tzinfo=UTC)

    assert milliseconds(instant.isoformat()) == (instant - epoch) // timedelta(milliseconds=1)


@given(st.text())
def test_no_text_breaks_the_reading_of_a_date(text: str) -> None:
    assert isinstance(milliseconds(text), int | None)
    assert isinstance(calendar_date(text), str | None)


# ── Who ──────────────────────────────────────────────────────────────────────────────────────────


def who(
    *,
    properties: dict[str, Any] | None = None,
    traits: dict[str, Any] | None = None,
    context_traits: dict[str, Any] | None = None,
) -> list[str]:
    event = track(
        properties={"audience_key": "vip", **(properties or {})},
        traits=traits or {},
        context={"traits": context_traits or {}},
    )
    return [identifier.value for identifier in read(event).identifiers]


def test_the_email_is_the_first_of_traits_properties_and_the_traits_of_the_context() -> None:
    first, second, third = {"email": "a@x"}, {"email": "b@x"}, {"email": "c@x"}

    assert who(traits=first, properties=second, context_traits=third) == ["a@x"]
    assert who(properties=second, context_traits=third) == ["b@x"]
    assert who(context_traits=third) == ["c@x"]


@pytest.mark.parametrize("missing", [None, "", " \u200b\ufeff\xa0 ", 12345, True, ["a@x"], {}])
def test_what_is_no_text_or_blank_is_no_email_and_the_next_place_serves(missing: object) -> None:
    assert who(traits={"email": missing}, properties={"email": "b@x"}) == ["b@x"]
    assert who(traits={"email": missing}) == []


def test_a_text_that_is_no_email_is_not_replaced_by_another() -> None:
    assert who(traits={"email": "not an email"}, properties={"email": "b@x"}) == []


def test_devices_are_all_distinct_ids_as_given_and_follow_the_email() -> None:
    found = who(
        properties={"ios_id": IOS, "android_id": ANDROID, "email": "a@x"},
        traits={"ios_id": IOS.lower(), "android_id": ANDROID},
    )

    assert found == ["a@x", IOS, ANDROID, IOS.lower()]


def lost(**places: Any) -> tuple[str, ...]:
    return read(track(context={"personas": {"computation_key": "vip"}}, **places)).lost


def in_properties(**handles: object) -> dict[str, Any]:
    return {"audience_key": "vip", "vip": True, **handles}


@pytest.mark.parametrize("nobody", ["00000000-0000-0000-0000-000000000000", "0" * 32, 5, True, ["x"], {}])
def test_a_device_that_is_none_is_left_out_and_told_of_once(nobody: object) -> None:
    properties = in_properties(ios_id=nobody, android_id=ANDROID)

    assert who(properties=properties) == [ANDROID]
    assert lost(properties=properties) == ("device",)
    assert lost(properties=properties, traits={"ios_id": nobody, "android_id": nobody}) == ("device",)


@pytest.mark.parametrize("invalid", ["not an email", "jane@", "d41d8cd98f00b204e9800998ecf8427e", 12345, {}])
def test_an_email_that_is_none_is_told_of_and_the_devices_stay(invalid: object) -> None:
    properties = in_properties(ios_id=IOS)

    assert who(properties=properties, traits={"email": invalid}) == [IOS]
    assert lost(properties=properties, traits={"email": invalid}) == ("email",)


@pytest.mark.parametrize("absent", [None, "", " \u200b\ufeff\xa0 "])
def test_what_is_null_or_blank_is_absent_and_not_lost(absent: object) -> None:
    assert lost(properties=in_properties(email=absent, ios_id=absent, android_id=absent)) == ()


def test_a_value_of_another_kind_is_not_lost_where_an_email_follows() -> None:
    assert lost(traits={"email": 12345}, properties=in_properties(email="b@x")) == ()


def test_a_membership_that_lost_everything_is_still_one() -> None:
    """Destinations may read other places."""
    membership = read(track(context={"traits": {"email": "nobody"}}, properties=in_properties(ios_id="0")))

    assert membership.identifiers == ()
    assert membership.lost == ("email", "device")


# ── Who is to be forgotten ───────────────────────────────────────────────────────────────────────


def test_a_delete_call_names_a_person_by_every_identifier_it_has() -> None:
    event = delete(
        traits={"email": " Jane@Example.com", "android_id": ANDROID},
        properties={"ios_id": IOS},
        context={"traits": {"email": "other@example.com"}},
    )

    assert erasure(json.dumps(event).encode()) == Erasure(
        identifiers=(
            Identifier("email", "jane@example.com"),
            Identifier("device", IOS),
            Identifier("device", ANDROID),
            Identifier("user_id", "user-1"),
        ),
        occurred_at=1_714_557_600_000,
        message_id="msg-1",
        tree=event,
    )


def test_the_email_of_a_delete_call_may_stand_in_the_traits_of_the_context_alone() -> None:
    event = delete(userId=None, context={"traits": {"email": "jane@example.com"}})

    assert erasure(event).identifiers == (Identifier("email", "jane@example.com"),)


def test_the_user_id_alone_names_the_person_and_is_taken_as_given() -> None:
    assert erasure(delete(userId=' "u"\n1 ')).identifiers == (Identifier("user_id", ' "u"\n1 '),)
    assert erasure(delete(userId=4711)).identifiers == (Identifier("user_id", "4711"),)


def test_the_anonymous_id_serves_when_there_is_no_user_id() -> None:
    """As where the profiles of StackAdapt get theirs."""
    assert erasure(delete(anonymousId="a-1")).identifiers == (Identifier("user_id", "user-1"),)
    assert erasure(delete(userId="", anonymousId="a-1")).identifiers == (Identifier("user_id", "a-1"),)


@pytest.mark.parametrize("user_id", [None, "", "  ", True, ["u-1"], "x" * 1025])
def test_a_delete_call_without_any_identifier_is_refused(user_id: object) -> None:
    assert refusal(delete(userId=user_id)) == "identifier"
    assert refusal(delete(userId=user_id, traits={"email": "nobody", "ios_id": "0"})) == "identifier"


def test_what_a_delete_call_has_that_is_no_identifier_is_told() -> None:
    found = erasure(delete(traits={"email": "nobody", "ios_id": "0"}))

    assert found.identifiers == (Identifier("user_id", "user-1"),)
    assert found.lost == ("email", "device")


def test_a_delete_call_is_about_no_audience_so_its_class_is_not_looked_at() -> None:
    assert refusal(delete(context={"personas": {"computation_class": "trait"}})) is None
    assert refusal(delete(context={"personas": []})) is None


@pytest.mark.parametrize("value", [[], "text", 5, True])
@pytest.mark.parametrize("part", ["properties", "traits", "context"])
def test_a_part_of_a_delete_call_that_is_no_object_is_refused(part: str, value: object) -> None:
    assert refusal(delete(**{part: value})) == "shape"


def test_the_time_of_a_delete_call_is_read_as_that_of_any_other() -> None:
    assert erasure(delete(timestamp=None)).occurred_at == RECEIVED_AT
    assert erasure(delete(timestamp="2124-05-01T10:00:00Z")).occurred_at == RECEIVED_AT
    assert refusal(delete(timestamp="yesterday")) == "timestamp"
    assert refusal(delete(timestamp=5)) == "timestamp"


def test_the_repr_of_an_erasure_leaves_the_person_out() -> None:
    assert repr(erasure(delete())) == "Erasure(at 1714557600000, 1 identifiers)"


# ── The message's id ─────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("unusable", [None, 5.0, True, [], {}, "x" * 257])
def test_a_message_id_that_is_neither_text_nor_an_integer_or_too_long_is_none(unusable: object) -> None:
    assert not read(track(messageId=unusable)).message_id


@pytest.mark.parametrize("number", [0, 5, -5, 2**64 - 1])
def test_an_integer_is_a_message_id_as_its_decimal_text(number: int) -> None:
    assert read(track(messageId=number)).message_id == str(number)


# ── Arbitrary bytes and arbitrary JSON ───────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"null",
        b"[]",
        b'"track"',
        b"{",
        b"{} {}",
        b'{"type": "track", "userId": NaN}',
        b'{"type": "track", "userId": "\xff"}',
        b'{"type": "track", "userId": "\xed\xa0\x80"}',
        rb'{"type": "track", "userId": "\ud800"}',
        rb'{"type": "track", "userId": "\udc00 and more"}',
        rb'{"type": "track", "\ud800x": 1}',
        b'{"a":' + b"[" * 30_000,
        b'{"a":' + b"[" * 16_000 + b"]" * 16_000 + b"}",
        b'{"a":' + b"9" * 5_000 + b"}",
        "not json",
        '{"userId": "\ud800"}',
        {"userId": "\ud800"},
        {"\ud800": 1},
        {"userId": object()},
    ],
    ids=lambda line: repr(line)[:30],
)
def test_what_is_no_json_object_is_refused(line: RawEvent) -> None:
    assert refusal(line) == "json"


def test_an_object_that_contains_itself_is_refused() -> None:
    event = track()
    event["context"]["event"] = event

    assert refusal(event) == "json"


def test_numbers_that_text_can_hold_do_no_harm() -> None:
    line = json.dumps(track(extra=0)).replace('"extra": 0', f'"extra": [{"9" * 4000}, -1e308, 1.5E-400]')

    assert refusal(line) is None


def test_the_last_of_two_equal_keys_counts() -> None:
    line = json.dumps(track()).replace('"type": "track"', '"type": "page", "type": "track"')

    assert refusal(line) is None


def test_an_event_over_the_limit_is_refused_unread() -> None:
    line = json.dumps(track()).encode()

    assert refusal(line.ljust(MAX_EVENT_BYTES)) is None
    assert refusal(line.ljust(MAX_EVENT_BYTES + 1)) == "too_large"
    assert refusal(track(extra="x" * MAX_EVENT_BYTES)) == "too_large"
    assert parse(line, received_at=RECEIVED_AT, max_bytes=len(line) - 1) == Refusal("too_large")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(st.characters()), inner, max_size=3),
    max_leaves=8,
)


def one_of(*known: object) -> st.SearchStrategy[Any]:
    return st.sampled_from(known) | JSON


def objects(**members: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.fixed_dictionaries({}, optional=members) | JSON


PLACES = objects(
    audience_key=one_of("vip"),
    vip=one_of(True, False),
    email=one_of("jane@example.com", SHA256),
    ios_id=one_of(IOS),
    android_id=one_of(ANDROID),
)
EVENTS = objects(
    type=one_of("track", "identify", "delete"),
    userId=one_of("u-1"),
    event=one_of("Audience Entered", "Audience Exited"),
    messageId=one_of("m-1"),
    timestamp=one_of("2024-05-01T10:00:00Z"),
    properties=PLACES,
    traits=PLACES,
    context=objects(
        traits=PLACES,
        personas=objects(computation_class=one_of("audience", "trait"), computation_key=one_of("vip")),
    ),
)


@given(EVENTS)
def test_arbitrary_json_in_every_place_is_read_or_refused_and_raises_nothing(event: Any) -> None:
    """Python's encoder writes what JSON has no words for: NaN, infinities and lone surrogates."""
    found = parse(json.dumps(event), received_at=RECEIVED_AT)

    if isinstance(found, Refusal):
        assert found.reason in get_args(Reason)
    else:
        assert found.audience_key if isinstance(found, Membership) else found.identifiers
        assert found.occurred_at <= RECEIVED_AT + MAX_AHEAD_MS


@given(st.dictionaries(st.text(st.characters()), JSON))
def test_an_arbitrary_object_is_read_or_refused_and_raises_nothing(event: dict[str, Any]) -> None:
    assert refusal(event) in {None, *get_args(Reason)}


@given(st.binary() | st.text(st.characters()))
def test_arbitrary_bytes_and_text_are_refused_and_raise_nothing(event: bytes | str) -> None:
    assert refusal(event) in get_args(Reason)
