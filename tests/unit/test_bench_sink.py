"""The sink answers as the vendors do, and what it was sent can be told again, person by person."""

import asyncio
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bench.events import audience_id, computation_id
from bench.membership import Amendment, Recorded, amendments, differences, expected, frame, received, recorded
from bench.sink import Connection, Sink
from worker.destinations.base import sha256_hex

ANN, BOB = "ann@example.com", "bob@example.com"
LISTS = "/criteo/2026-07/marketing-solutions/audience-segments"
ONBOARDING = "/taboola/backstage/api/1.0/my-account/audience_onboarding"


def criteo(operation: str, *who: str) -> Recorded:
    attributes = {"operation": operation, "identifiers": who}
    return request(f"{LISTS}/{audience_id('vip')}/contact-list", {"data": {"attributes": attributes}})


def taboola(operation: str, *who: str) -> Recorded:
    identities = [{"cluster": [{"user_id": sha256_hex(each), "type": "EMAIL_ID"}]} for each in who]
    return request(ONBOARDING, {"operation": operation, "audience_id": audience_id("vip"), "identities": identities})


def stackadapt(operation: str, *who: str) -> Recorded:
    action = "enter" if operation == "add" else "exit"
    rows = [{"email": each, "audienceId": computation_id("vip"), "action": action} for each in who]
    profiles = msgspec.json.encode(rows).decode()
    return request("/stackadapt/graphql", {"query": "…", "variables": {"profiles": {"profiles": profiles}}})


def request(path: str, body: Any) -> Recorded:
    return Recorded(1.5, path, msgspec.json.encode(body))


@pytest.mark.parametrize(
    ("requests", "audience", "ann"),
    [
        ([criteo("add", ANN, BOB), criteo("remove", BOB)], str(audience_id("vip")), ANN),
        ([taboola("ADD", ANN, BOB), taboola("REMOVE", BOB)], str(audience_id("vip")), sha256_hex(ANN)),
        ([stackadapt("add", ANN, BOB), stackadapt("remove", BOB)], "aud_vip", ANN),
    ],
)
def test_what_was_kept_is_read_back(requests: Sequence[Recorded], audience: str, ann: str, tmp_path: Path) -> None:
    with (tmp_path / "requests").open("wb") as kept:
        sink = Sink(kept)
        for each in requests:
            sink.answer(each)
    found = received(amendments(recorded(tmp_path / "requests")))

    assert found.keys() == {audience}
    assert found[audience][ann] is True
    assert sorted(found[audience].values()) == [False, True]
    assert sink.tally.identifiers == 3


def test_differences_count_persons() -> None:
    wanted = expected("criteo", 100, audiences=4)
    audience = next(iter(wanted))
    lost = {name: dict(list(people.items())[name == audience :]) for name, people in wanted.items()}
    turned = {name: {who: not inside for who, inside in people.items()} for name, people in wanted.items()}

    assert sum(map(len, wanted.values())) == 100
    assert differences(wanted, wanted) == 0
    assert differences(wanted, lost) == 1
    assert differences(wanted, turned) == 200
    assert differences(wanted, {}) == 100


def test_an_audience_has_the_same_id_wherever_it_is_asked() -> None:
    name = {"data": [{"attributes": {"name": "vip"}}]}
    made = msgspec.json.decode(Sink().answer(request(f"{LISTS}/create", name)))
    onboarded = msgspec.json.decode(Sink().answer(request(f"{ONBOARDING}/create", {"audience_name": "vip"})))

    assert made["data"][0]["id"] == str(audience_id("vip"))
    assert onboarded["audience_id"] == audience_id("vip")


def test_what_no_vendor_has_is_not_answered() -> None:
    with pytest.raises(LookupError, match="no vendor has /criteo/elsewhere"):
        Sink().answer(Recorded(0, "/criteo/elsewhere", b""))


class Wire(asyncio.Transport):
    """Keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""

    def write(self, data: "bytes | bytearray | memoryview[Any]") -> None:
        self.written += bytes(data)


@pytest.mark.parametrize("size", [1, 7, 64, 10_000])
def test_requests_are_read_whole_however_they_are_cut(size: int) -> None:
    kept, wire = io.BytesIO(), Wire()
    sink = Sink(kept)
    connection = Connection(sink)
    connection.connection_made(wire)
    asked = criteo("add", ANN)
    head = f"PATCH {asked.path}?limit=1 HTTP/1.1\r\nHost: here\r\nContent-Length: {len(asked.body)}\r\n\r\n"
    raw = head.encode() + asked.body
    for _ in range(2):
        for start in range(0, len(raw), size):
            connection.data_received(raw[start : start + size])

    assert wire.written.count(b"HTTP/1.1 200 OK") == 2
    assert (sink.tally.requests, sink.tally.identifiers) == (2, 2)


def test_a_frame_tells_when_the_request_came(tmp_path: Path) -> None:
    asked = criteo("add", ANN)
    (tmp_path / "requests").write_bytes(frame(asked) + frame(asked))

    assert list(recorded(tmp_path / "requests")) == [asked, asked]
    assert next(amendments([asked])) == Amendment(
        1.5, "criteo", str(audience_id("vip")), entered=True, identifiers=[ANN]
    )
