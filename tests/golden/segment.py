"""What the requests that Segment sent mean, read from the vendor's side."""

from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple

from tests.golden.cases import Case, Effects, Profiles

Sent = dict[str, Any]


class Move(NamedTuple):
    """Somebody enters or leaves an audience, both as the vendor knows them."""

    audience: str
    who: str
    entered: bool


def effects(case: Case) -> Effects:
    """Who is in and who is out in the end, by the requests that the vendor took, in their order."""
    found: Effects = {}
    for move in _READ[case.kind](case):
        found.setdefault(move.audience, {})[move.who] = move.entered
    return found


def profiles(case: Case) -> Profiles:
    """What StackAdapt keeps of the rows that it took. `email` tells whose they are. Nobody else keeps any."""
    found: Profiles = {}
    for sent, row in _rows(case):
        kept = {key: value for key, value in row.items() if key in sent["mapping"] and value is not None}
        found.setdefault(_email(kept.pop("email")), {}).update(kept)
    return found


def opted_in(case: Case) -> set[bool]:
    """The marketing status of the mappings that StackAdapt took."""
    return {sent["opted_in"] for sent, _ in _rows(case)}


def audiences(case: Case) -> list[dict[str, Any]]:
    """The audiences that Taboola was asked to create, with its defaults for what was left out."""
    defaults = {"ttl_in_hours": 8760, "exclude_from_campaigns": False}
    return [defaults | sent["audience"] for sent in _taken(case, "create") if "audience" in sent]


def _criteo(case: Case) -> Iterator[Move]:
    names: dict[str, str] = {}
    for sent in case.sent:
        names |= sent.get("lists", {})
    for sent in _taken(case, "amend"):
        for who in sent["identifiers"]:
            yield Move(names[sent["list"]], who.strip().lower(), sent["operation"] == "add")


def _taboola(case: Case) -> Iterator[Move]:
    for sent in _taken(case, "amend"):
        for cluster in sent["clusters"]:
            for _, who in cluster:
                yield Move(str(sent["audience_id"]), who, sent["operation"] == "ADD")


def _stackadapt(case: Case) -> Iterator[Move]:
    for _, row in _rows(case):
        yield Move(row["audienceId"], _email(row["email"]), row["action"] == "enter")


def _rows(case: Case) -> Iterator[tuple[Sent, dict[str, Any]]]:
    """The profiles that StackAdapt took, each with its request. A string is one that holds no JSON."""
    for sent in _taken(case, "graphql"):
        if isinstance(sent.get("profiles"), list):
            for row in sent["profiles"]:
                yield sent, row


def _taken(case: Case, route: str) -> Iterator[Sent]:
    """The requests to that route that the vendor took: not refused, and no document that cannot be read."""
    for sent in case.sent:
        if sent["route"] == route and sent["status"] == 200 and not sent.keys() & {"errors", "invalid"}:
            yield sent


def _email(text: str) -> str:
    return text.strip().lower()


_READ: Final[dict[str, Callable[[Case], Iterator[Move]]]] = {
    "criteo": _criteo,
    "taboola": _taboola,
    "stackadapt": _stackadapt,
}
