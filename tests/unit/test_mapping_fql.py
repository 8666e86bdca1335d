"""Segment's triggers let through what the conditions made of them let through, or are refused."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from producers.events import SourceEvent, Unread
from producers.mapping import Reader
from producers.mapping_directives import Inexpressible
from producers.mapping_fql import when
from producers.segment import decode
from worker.destinations.mapping import MappingSettings


@pytest.mark.parametrize(
    ("trigger", "tables"),
    [
        ('type = "track"', [{"type": "track"}]),
        ('type="identify" or type="track"', [{}]),
        ('type = "track" and event = "Audience Entered"', [{"type": "track", "event": "Audience Entered"}]),
        ('type = "track" and (event = "A" or event = "B")', [{"type": "track", "event": ["A", "B"]}]),
        (
            '(type = "track" and event = "A") or (type = "identify" and traits.x != null)',
            [{"type": "track", "event": "A"}, {"type": "identify", "exists": "traits.x"}],
        ),
        ('event = "What? [*]"', [{"event": "What[?] [[][*]]"}]),
        ('event = "Say \\"hi\\""', [{"event": 'Say "hi"'}]),
        ('match(event, "Audience *")', [{"event": "Audience *"}]),
        ('match(event, "*Entered")', [{"event": "*Entered"}]),
        ('contains(event, "dience")', [{"event": "*dience*"}]),
        ("properties.in\\ it.a = true", [{"equals": {"properties.in it.a": True}}]),
        ('traits.plan = "gold" and traits.seats = 5', [{"equals": {"traits.plan": "gold", "traits.seats": 5}}]),
        ("userId != null and traits.test = null", [{"exists": "userId", "missing": "traits.test"}]),
        ('context.personas.computation_class = "audience"', [{"class": "audience"}]),
        ('((type = "track"))', [{"type": "track"}]),
    ],
)
def test_a_trigger_is_conditions(trigger: str, tables: list[Any]) -> None:
    assert when(trigger) == tables


@pytest.mark.parametrize(
    ("trigger", "said"),
    [
        ("", "cannot be read"),
        ("type", "cannot be read"),
        ('type = "track" and', "cannot be read"),
        ('(type = "track"', "cannot be read"),
        ('type = "track") or event = "A"', "cannot be read"),
        ('type = "track" event = "A"', "cannot be read"),
        ('type = "track', "cannot be read"),
        ("event = Audience", "cannot be read"),
        ("(" * 5_000, "cannot be read"),
        ('type = "track" and event = "A" or event = "B"', "mixes and and or without brackets"),
        ('type = "page"', "only track and identify calls are ever read"),
        ('type = "track" or type = "page"', "only track and identify calls are ever read"),
        ('type = "track" and type = "identify"', "nothing fits the trigger"),
        ('type != "track"', "type != … has no counterpart"),
        ('event != "A"', "event != … has no counterpart"),
        ('event = ""', "event = … has no counterpart"),
        ("properties.price >= 100", "properties.price >= … has no counterpart"),
        ('!contains(event, "A")', "what must not be contained or matched"),
        ('contains(properties.name, "A")', "contains() of anything but event"),
        ('match(event, "A")', "but one * at an end"),
        ('match(event, "*A*")', "but one * at an end"),
        ('event = "A" and event = "B"', "two conditions on event at once"),
        ("traits.a = 1 and traits.a = 2", "two conditions on equals at once"),
        ('messageId = "m"', '"messageId" has no counterpart'),
        ('properties.$audience = "m"', "cannot be read"),
        (" and ".join(['(event = "A" or traits.a = 1)'] * 9), "too many alternatives"),
    ],
)
def test_what_has_no_counterpart_is_refused(trigger: str, said: str) -> None:
    with pytest.raises(Inexpressible) as raised:
        when(trigger)

    assert said in str(raised.value)


# ── As Segment does it ───────────────────────────────────────────────────────────────────────────

NAMES = st.sampled_from(["A", "B", "A*", "[A]"])
PLACES = st.sampled_from(["properties.a", "traits.a", "userId"])
ATOMS = st.one_of(
    st.tuples(st.just("type"), st.sampled_from(["track", "identify"])),
    st.tuples(st.just("event"), NAMES),
    st.tuples(PLACES, st.sampled_from(["x", True, 5])),
    st.tuples(PLACES, st.none()),
    PLACES.map(lambda place: (place, "!")),
)
TREES = st.recursive(
    ATOMS,
    lambda inner: st.tuples(st.sampled_from(["and", "or"]), st.lists(inner, min_size=2, max_size=3)),
    max_leaves=5,
)
VALUES = st.sampled_from([None, "x", "y", True, "true", 5, "5"])
EVENTS = st.fixed_dictionaries(
    {"type": st.sampled_from(["track", "identify"])},
    optional={
        "event": NAMES,
        "userId": VALUES,
        "properties": st.fixed_dictionaries({}, optional={"a": VALUES}),
        "traits": st.fixed_dictionaries({}, optional={"a": VALUES}),
    },
)


def fql(tree: Any) -> str:
    match tree:
        case ("and" | "or" as operator, [*children]):
            return f" {operator} ".join(f"({fql(each)})" for each in children)
        case (place, "!"):
            return f"{place} != null"
        case (place, value):
            return f"{place} = {json.dumps(value)}"
    raise AssertionError(tree)


def lets_through(tree: Any, event: dict[str, Any]) -> bool:
    """As Segment compares: as text."""
    match tree:
        case ("and", [*children]):
            return all(lets_through(each, event) for each in children)
        case ("or", [*children]):
            return any(lets_through(each, event) for each in children)
    place, value = tree
    found: Any = event
    for key in place.split("."):
        found = found.get(key) if isinstance(found, dict) else None
    if value is None or value == "!":
        return (found is None) == (value is None)
    return found is not None and _text(found) == _text(value)


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


@given(TREES, EVENTS)
def test_an_event_fits_the_conditions_when_segment_lets_it_through(tree: Any, event: dict[str, Any]) -> None:
    try:
        tables = when(fql(tree))
    except Inexpressible:
        return
    decoded = decode(event, received_at=0)
    assert isinstance(decoded, SourceEvent)
    reading = Reader(MappingSettings.model_validate({"when": tables})).read(decoded)

    assert (reading != Unread("unwanted")) == lets_through(tree, event)


@given(
    st.text()
    | st.lists(st.sampled_from(["type", "=", '"track"', "(", ")", "and", "or", "!", ",", "match"])).map(" ".join)
)
def test_whatever_comes_is_conditions_or_refused(trigger: str) -> None:
    try:
        tables = when(trigger)
    except Inexpressible:
        return
    assert MappingSettings.model_validate({"when": tables}).when
