"""How a preview is shown: as text for a person, and as JSON with every request in full. Secrets are masked."""

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from rich.highlighter import JSONHighlighter
from rich.text import Text

from cli.dry_intake import Tally
from cli.json_lines import Cut, lines, printable
from cli.masking import MASK
from cli.reasons import WORDS
from cli.rehearsal import DestinationRehearsed, LaneRehearsed, Rehearsed
from worker.destinations.base import Credential, Request

MOST_PEOPLE: Final = 3
"""So many people of one list are shown, unless all are wanted."""
MOST_LINES: Final = 20
"""So many refused source events of one reason are named, unless all are wanted."""
INDENT: Final = "     "

_json_colours = JSONHighlighter()


# ── JSON ─────────────────────────────────────────────────────────────────────────────────────────


def tally_as_json(tally: Tally) -> dict[str, Any]:
    """`refused` counts by reason; `refused_lines` has the numbers of the lines; `more`: not all were read."""
    return {
        "read": tally.read,
        "more": tally.more,
        "refused": {reason: len(places) for reason, places in tally.refused.items()},
        "refused_lines": dict(tally.refused),
    }


def destination_as_json(each: DestinationRehearsed, tally: Tally) -> dict[str, Any]:
    """`token_request` goes before all others; null: none does."""
    token_url, erasures = each.credential.token_url, each.erasures
    return {
        "name": each.name,
        "kind": each.kind,
        "token_request": {"method": "POST", "url": token_url} if token_url else None,
        "left_out": tally.left_out_of(each.name),
        "duplicates": tally.duplicates[each.name],
        "lanes": [_lane_as_json(lane, each.credential) for lane in each.lanes],
        "erasures": {"persons": erasures.persons} | _sent_as_json(erasures, each.credential) if erasures else None,
    }


def _lane_as_json(lane: LaneRehearsed, credential: Credential) -> dict[str, Any]:
    return {
        "audience": lane.audience,
        "enters": lane.enters,
        "leaves": lane.leaves,
        "folded": lane.folded,
        "batches": lane.batches,
        "invalid": lane.invalid,
    } | _sent_as_json(lane, credential)


def _sent_as_json(part: Rehearsed, credential: Credential) -> dict[str, Any]:
    requests = [
        {"method": each.method, "url": each.url, "headers": _headers(each, credential), "body": _body(each)}
        for each in part.requests
    ]
    return {"stopped": part.stopped, "requests": requests}


def _headers(request: Request, credential: Credential) -> Mapping[str, str]:
    """With those that the credential adds; only they hold secrets."""
    authorization = {"authorization": f"Bearer {MASK}"} if credential.secret.get_secret_value() else {}
    return authorization | dict.fromkeys(credential.headers, MASK) | dict(request.headers)


def _body(request: Request) -> Any:
    """What its JSON says; a text where it is none, and None for nothing."""
    text = request.content.decode(errors="replace")
    try:
        return json.loads(text) if text else None
    except ValueError:
        return text


# ── Text ─────────────────────────────────────────────────────────────────────────────────────────


class Look(NamedTuple):
    """How many columns there are, and whether all people and lines are shown."""

    width: int
    full: bool


def tally_as_text(tally: Tally, look: Look) -> Iterator[Text]:
    """What came in, and what was refused, with the lines."""
    taken = tally.read - tally.refusals
    yield Text(f"{tally.read:,} source event{_s(tally.read)} read, {taken:,} taken, {tally.refusals:,} refused")
    for reason, places in tally.refused.items():
        shown = places if look.full else places[:MOST_LINES]
        named = ", ".join(map(str, shown)) + (", …" if len(shown) < len(places) else "")
        yield Text.assemble("  ", (reason, "red"), f" ({WORDS[reason]}): line{_s(len(places))} {named}")


def destination_as_text(each: DestinationRehearsed, tally: Tally, look: Look) -> Iterator[Text]:
    """What it gets, lane by lane, each with its requests."""
    yield Text.assemble("\n", (each.name, "bold"), f" ({each.kind})")
    yield from _lacking(each, tally)
    if not each.parts:
        yield Text("  nothing to send")
    elif url := each.credential.token_url:
        yield Text(f"  token: POST {url} (client_credentials, secret masked)")
    for lane in each.lanes:
        yield Text.assemble("\n  audience ", (printable(lane.audience), "bold"), f": {_counts(lane)}")
        yield from _sent(lane, each.credential, look)
    if each.erasures:
        count, then = each.erasures.persons, ", then:" if each.erasures.requests else ""
        yield Text(f"\n  {count:,} person{_s(count)} to forget: removed from every audience that the relay knows{then}")
        yield from _sent(each.erasures, each.credential, look)


def _lacking(each: DestinationRehearsed, tally: Tally) -> Iterator[Text]:
    if left_out := tally.left_out_of(each.name):
        counts = ", ".join(f"{reason} {count:,}" for reason, count in left_out.items())
        yield Text.assemble("  left out of source events that are taken: ", (counts, "yellow"))
    if duplicates := tally.duplicates[each.name]:
        yield Text(f"  left out as duplicate{_s(duplicates)}: {duplicates:,}")


def _counts(lane: LaneRehearsed) -> str:
    parts = [
        f"{lane.enters:,} enter{_s(lane.enters, '', 's')}",
        f"{lane.leaves:,} leave{_s(lane.leaves, '', 's')}",
        f"{lane.folded:,} folded",
        *([f"{lane.batches:,} batches"] if lane.batches > 1 else []),
        *([f"{lane.invalid:,} identifier{_s(lane.invalid)} called invalid by the stand-in"] if lane.invalid else []),
    ]
    return ", ".join(parts)


def _sent(part: Rehearsed, credential: Credential, look: Look) -> Iterator[Text]:
    cut = Cut(part.identifiers, None if look.full else MOST_PEOPLE)
    for number, request in enumerate(part.requests, 1):
        yield Text.assemble(f"\n  {number}. ", (f"{request.method} {request.url}", "bold cyan"))
        for name, value in _headers(request, credential).items():
            if name != "accept":
                yield Text(f"{INDENT}{name}: {value}", "dim")
        if (body := _body(request)) is not None:
            yield _json_colours("\n".join(INDENT + line for line in lines(body, cut, look.width - len(INDENT))))
    if part.stopped is not None:
        yield Text(f"  the stand-in takes no more: {printable(part.stopped)}", "red")


def _s(count: int, several: str = "s", one: str = "") -> str:
    """The ending of a noun; with the other two, of a verb."""
    return one if count == 1 else several
