"""Reading error bodies in XML and HTML."""

import time

import pytest

from worker.markup import elements, is_markup, is_page, root, text

XML = b"""<?xml version="1.0" encoding="UTF-8"?>
<ns:ApiError xmlns:ns="urn:x"><http_status>400</http_status>
  <ns:message lang="en"><![CDATA[Invalid value '49']]></ns:message><offendingField>audience_id</offendingField>
  <message>another</message></ns:ApiError>"""
PAGE = b"""<!DOCTYPE html><html><head><title>Error 400</title><style>p { max-width: 1px }</style></head>
  <body><!-- <b>no</b> --><h1>Bad&nbsp;Request</h1><p>Unknown <b>publisher</b></p></body></html>"""


def test_flat_elements_are_read_whatever_they_are_written_like() -> None:
    assert elements(XML) == {"httpstatus": "400", "message": "Invalid value '49'", "offendingfield": "audience_id"}
    assert root(XML) == "ApiError"
    assert is_markup(XML)
    assert not is_page(XML)


def test_a_page_is_told_from_xml_and_read_as_people_read_it() -> None:
    assert is_page(PAGE)
    assert is_page(b"\xef\xbb\xbf  <HTML><body>x</body></HTML>")
    assert text(PAGE) == "Bad Request Unknown publisher"


@pytest.mark.parametrize("content", [b"", b"{}", b"plain words", b"\xff\xfe", b"400 <b>Bad</b>"])
def test_what_is_no_markup_has_no_elements(content: bytes) -> None:
    assert not is_markup(content)
    assert (root(content), elements(content)) == ("", {})


def test_no_entity_is_expanded_but_characters() -> None:
    bomb = b'<!DOCTYPE e [<!ENTITY a "aaaa"><!ENTITY b SYSTEM "file:///etc/passwd">]><e><m>&a;&b;&lt;</m></e>'

    assert elements(bomb)["m"] == "&a;&b;<"


@pytest.mark.parametrize("part", [b"<", b"<a>", b"<a ", b"<script>", b"<!--", b"<head", b"<a>x", b"<![CDATA["])
def test_endless_markup_costs_no_time(part: bytes) -> None:
    content = part * 1_000_000
    started = time.perf_counter()
    elements(content)
    root(content)
    text(content)

    assert time.perf_counter() - started < 2
