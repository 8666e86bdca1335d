"""What cannot be decoded as a whole is split where its elements end."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from producers.gateway import elements as module
from producers.gateway.elements import elements

TEXTS = st.text(alphabet='a"\\\\[]{},:é\\ud800', max_size=6)
VALUES = st.recursive(
    st.none() | st.integers() | TEXTS,
    lambda each: st.lists(each, max_size=4) | st.dictionaries(TEXTS, each, max_size=4),
)


@settings(database=None)
@given(st.lists(VALUES, max_size=5))
def test_the_elements_of_a_list_are_told_whatever_is_in_them(values: list[object]) -> None:
    text = json.dumps(values, indent=1).encode()

    assert [json.loads(each) for each in elements(text)] == values


@settings(database=None)
@given(st.dictionaries(TEXTS, VALUES, max_size=5))
def test_so_are_the_members_of_an_object(members: dict[str, object]) -> None:
    found = elements(json.dumps(members).encode())

    assert [json.loads(b"{%b}" % each) for each in found] == [{name: value} for name, value in members.items()]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (b"[]", []),
        (b" [ ] ", []),
        (b"[1,,2]", [b"1", b"", b"2"]),
        (b"[,]", [b"", b""]),
        (b"[nothing, {of: this} is JSON]", [b"nothing", b" {of: this} is JSON"]),
        (b"[" + b"[" * 9_000 + b"]" * 9_000 + b",1]", [b"[" * 9_000 + b"]" * 9_000, b"1"]),
    ],
)
def test_whether_an_element_is_json_is_not_asked(text: bytes, found: list[bytes]) -> None:
    assert elements(text) == found


@pytest.mark.parametrize(
    "text", [b"", b"7", b'"[]"', b"[", b"[1", b"[}", b"[{]}", b'["]', b'["a\\"]', b'{"a": [1}', b"[1] 2", b"[1]]", b"]"]
)
def test_what_does_not_end_where_it_should_is_neither(text: bytes) -> None:
    with pytest.raises(ValueError, match=r"neither|without an end|after the end"):
        elements(text)


def test_what_would_take_too_long_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_TOKENS", 5)

    assert elements(b"[[],0]") == [b"[]", b"0"]
    with pytest.raises(ValueError, match="too many"):
        elements(b"[[],[]]")
