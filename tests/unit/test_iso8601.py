"""Texts that tell a time: RFC 3339 is read by msgspec, and no text is read otherwise for that."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from producers import iso8601
from producers.iso8601 import milliseconds

CLOCKS = st.datetimes().map(lambda moment: moment.isoformat())
FRACTIONS = st.sampled_from(["", ".", ","]).flatmap(lambda mark: st.text("0123456789", max_size=9).map(mark.__add__))
ZONES = st.sampled_from(["", "Z", "z", "+01:00", "-0930", "+23", "+24:00", "-00:00"])
USUAL = st.builds("{}{}{}".format, CLOCKS, FRACTIONS, ZONES)
ALMOST = st.text("0123456789-:.,TtZz+ W", max_size=30)


@given(USUAL | ALMOST)
@example("2026-11-21T10:00:00.0009999Z")
@example("2026-11-21T10:00:00.0009999")
@example("2026-11-21 10:00:00Z")
@example("2026-W47-6T10:00:00Z")
@example("2026-11-21T24:00:00Z")
def test_whoever_reads_a_text_reads_the_same(text: str) -> None:
    assert iso8601._read(text) == iso8601._read_any(text)  # noqa: SLF001 - one is a faster way to the other


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01T00:00:00.0019999999Z", 1),
        ("1970-01-01T00:00:00.0009999", 0),
        ("1970-01-01T01:00:00.5+01:00", 500),
        ("19700101T000001Z", 1_000),
        ("1970-01-02", 86_400_000),
        ("1969-12-31T23:59:59.9995Z", -1),
    ],
)
def test_a_fraction_of_a_millisecond_is_dropped(text: str, ms: int) -> None:
    assert milliseconds(text) == ms
