"""What the sink was sent, read back: who entered and who left which audience, to be compared with the events."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from bench.events import audience_id, audience_of, computation_id, email, enters

Memberships = Mapping[str, Mapping[str, bool]]
"""By audience as the vendor knows it, and identifier: whether the last word was that the person is in."""


class Recorded(NamedTuple):
    """One request: when its first byte came (seconds since the epoch), its path and its body."""

    at: float
    path: str
    body: bytes


class Amendment(NamedTuple):
    """One direction of one batch."""

    at: float
    vendor: str
    audience: str
    entered: bool
    identifiers: list[str]


def frame(recorded: Recorded) -> bytes:
    """How the sink keeps a request."""
    head = msgspec.json.encode([recorded.at, recorded.path, len(recorded.body)])
    return b"%b\n%b" % (head, recorded.body)


def recorded(path: Path) -> Iterator[Recorded]:
    """What a sink has kept in that file."""
    with path.open("rb") as file:
        for head in file:
            at, where, size = msgspec.json.decode(head)
            yield Recorded(at, where, file.read(size))


def amendments(requests: Iterable[Recorded]) -> Iterator[Amendment]:
    """Those that change memberships, in the order in which they came."""
    for request in requests:
        vendor = request.path.split("/")[1]
        read = _READERS.get(vendor) if _is_amendment(request.path) else None
        if read is not None:
            yield from read(request)


def received(changes: Iterable[Amendment]) -> Memberships:
    """What it all comes to."""
    found: dict[str, dict[str, bool]] = {}
    for each in changes:
        found.setdefault(each.audience, {}).update(dict.fromkeys(each.identifiers, each.entered))
    return found


def expected(vendor: str, count: int, *, audiences: int = 1) -> Memberships:
    """What the generated events come to at that vendor."""
    found: dict[str, dict[str, bool]] = {}
    for number in range(count):
        key = audience_of(number, audiences)
        found.setdefault(_known_as(vendor, key), {})[_form(vendor, email(number))] = enters(number)
    return found


def differences(one: Memberships, other: Memberships) -> int:
    """How many persons are told of differently, or in one of them only."""
    audiences = one.keys() | other.keys()
    return sum(len(one.get(each, {}).items() ^ other.get(each, {}).items()) for each in audiences)


def _known_as(vendor: str, key: str) -> str:
    return computation_id(key) if vendor == "stackadapt" else str(audience_id(key))


def _form(vendor: str, address: str) -> str:
    return hashlib.sha256(address.encode()).hexdigest() if vendor == "taboola" else address


def _is_amendment(path: str) -> bool:
    return path.endswith(("/contact-list", "/audience_onboarding", "/graphql"))


def _of_criteo(request: Recorded) -> Iterator[Amendment]:
    attributes = msgspec.json.decode(request.body)["data"]["attributes"]
    audience = request.path.split("/")[-2]
    yield Amendment(request.at, "criteo", audience, attributes["operation"] == "add", attributes["identifiers"])


def _of_taboola(request: Recorded) -> Iterator[Amendment]:
    body = msgspec.json.decode(request.body)
    people = [user["user_id"] for identity in body["identities"] for user in identity["cluster"]]
    yield Amendment(request.at, "taboola", str(body["audience_id"]), body["operation"] == "ADD", people)


def _of_stackadapt(request: Recorded) -> Iterator[Amendment]:
    variables: dict[str, Any] = msgspec.json.decode(request.body)["variables"]
    rows = msgspec.json.decode(variables["profiles"]["profiles"]) if "profiles" in variables else []
    by_direction: dict[tuple[str, bool], list[str]] = {}
    for row in rows:
        by_direction.setdefault((row["audienceId"], row["action"] == "enter"), []).append(row["email"])
    for (audience, entered), people in by_direction.items():
        yield Amendment(request.at, "stackadapt", audience, entered, people)


_READERS: Final = {"criteo": _of_criteo, "taboola": _of_taboola, "stackadapt": _of_stackadapt}
