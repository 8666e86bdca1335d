"""What the headers of an answer tell of the end of its API version."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.destinations.base import api_notice

ENDS = "the vendor says that this version of its API ends on 2027-01-27; set a newer api_version"
DEPRECATED = "the vendor says that this version of its API is deprecated, and will end; set a newer api_version"


@pytest.mark.parametrize(
    ("headers", "notice"),
    [
        ({}, None),
        ({"deprecation": "false"}, None),
        ({"deprecation": " "}, None),
        ({"deprecation": "true"}, DEPRECATED),
        ({"deprecation": "@1688169599"}, DEPRECATED),
        ({"deprecation": "true", "sunset": "Wed, 27 Jan 2027 00:00:00 GMT"}, ENDS),
        ({"deprecation": "true", "sunset": "2027-01-27T00:00:00Z"}, ENDS),
        ({"deprecation": "true", "sunset": "2027-01-27"}, ENDS),
        ({"deprecation": "true", "sunset": "soon"}, DEPRECATED),
        ({"sunset": "Wed, 27 Jan 2027 00:00:00 GMT"}, ENDS),
    ],
)
def test_the_end_of_an_api_version_is_told_with_its_day(headers: dict[str, str], notice: str | None) -> None:
    assert api_notice(headers) == notice


@given(st.text(), st.text())
def test_whatever_a_header_holds_only_a_day_of_it_is_told(deprecation: str, sunset: str) -> None:
    notice = api_notice({"deprecation": deprecation, "sunset": sunset})

    assert notice is None or len(notice) <= len(DEPRECATED)
