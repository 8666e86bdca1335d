"""What a demo found: each vendor's membership beside what the events say, as a table, as JSON, and as a verdict."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from rich import box
from rich.table import Table

from cli.overview import Overview
from sandbox.crowd import Members
from worker.store.status import COUNTERS, Hold


class Member(NamedTuple):
    audience: str
    identifier: str


@dataclass(frozen=True, slots=True)
class Difference:
    """What a vendor holds, beside what it should hold. Empty audiences count as none."""

    audiences: int
    expected: int
    held: int
    missing: tuple[Member, ...]
    extra: tuple[Member, ...]


def compare(expected: Members, held: Members) -> Difference:
    wanted, found = set(_members(expected)), set(_members(held))
    return Difference(
        audiences=len({member.audience for member in found}),
        expected=len(wanted),
        held=len(found),
        missing=tuple(sorted(wanted - found)),
        extra=tuple(sorted(found - wanted)),
    )


@dataclass(frozen=True, slots=True)
class VendorOutcome:
    """One destination in the end, and its vendor."""

    overview: Overview
    difference: Difference
    requests: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """A whole demo. `refused` and `expected_refused`: source events by reason."""

    events: int
    seconds: float
    refused: Mapping[str, int]
    expected_refused: Mapping[str, int]
    vendors: Sequence[VendorOutcome]

    @property
    def problems(self) -> list[str]:
        """What is not as it should be, a sentence each; none: all is well."""
        return [*_refusal_problems(self), *(problem for vendor in self.vendors for problem in _vendor_problems(vendor))]

    def as_dict(self) -> dict[str, Any]:
        """For `--json`.

        `equal`: there are no `problems`, which are sentences. `events`: how many source events. `seconds`: from loading
        to the last delivery. `refused` and `refused_expected`: source events by reason. `destinations`, a list: `name`,
        `audiences` (that have members), `expected`, `held`, `missing` and `extra` (identifiers), the counters and
        `unaccounted` as in `status`, `duplicates` (changes left out because their message was known), `requests` (to
        the vendor) and `holds` (sentences).
        """
        return {
            "equal": not self.problems,
            "problems": self.problems,
            "events": self.events,
            "seconds": round(self.seconds, 1),
            "refused": dict(self.refused),
            "refused_expected": dict(self.expected_refused),
            "destinations": [_vendor_dict(vendor) for vendor in self.vendors],
        }


def table(outcome: Outcome) -> Table:
    """A column for each vendor; fits into 80 characters."""
    found = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    found.add_column("")
    for vendor in outcome.vendors:
        found.add_column(vendor.overview.name, justify="right")
    rows = [_vendor_dict(vendor) for vendor in outcome.vendors]
    for section in _SECTIONS:
        for name, label in section.items():
            found.add_row(label, *(f"{row[name]:,}" for row in rows))
        found.add_section()
    return found


def verdict(outcome: Outcome) -> str:
    """One line, and under it what is wrong."""
    if not outcome.problems:
        return "All equal: each vendor holds exactly the identifiers that the events say."
    return "\n  - ".join(["NOT as the events say:", *outcome.problems])


_SECTIONS: Final = (
    {
        "audiences": "audiences with members",
        "expected": "identifiers, as the events say",
        "held": "identifiers, as the vendor holds",
        "missing": "  missing there",
        "extra": "  too many there",
    },
    {
        "accepted": "changes accepted",
        "delivered": "  delivered",
        "folded": "  folded into newer ones",
        "buried": "  buried (refused by the vendor)",
        "waiting": "  still waiting",
        "unaccounted": "  unaccounted for",
        "duplicates": "duplicates left out",
    },
    {"requests": "requests to the vendor"},
)
SAMPLE: Final = 3
"""How many differing members are named, of those there are."""


def _members(members: Members) -> Iterator[Member]:
    for audience, identifiers in members.items():
        for identifier in identifiers:
            yield Member(audience, identifier)


def _vendor_dict(vendor: VendorOutcome) -> dict[str, Any]:
    difference, status = vendor.difference, vendor.overview.status
    return {
        "name": vendor.overview.name,
        "audiences": difference.audiences,
        "expected": difference.expected,
        "held": difference.held,
        "missing": len(difference.missing),
        "extra": len(difference.extra),
        **{counter: status.counters[counter] for counter in COUNTERS},
        "unaccounted": status.unaccounted,
        "duplicates": status.counters.get("duplicates", 0),
        "requests": vendor.requests,
        "holds": _holds(vendor.overview),
    }


# ── What is wrong ────────────────────────────────────────────────────────────────────────────────


def _holds(overview: Overview) -> list[str]:
    """Why nothing, or not everything, is flushed now."""
    reasons = [_reason("destination", overview.hold)] if overview.hold else []
    return reasons + [_reason(f"lane {each.lane.audience!r}", each.hold) for each in overview.status.lanes if each.hold]


def _reason(what: str, hold: Hold) -> str:
    return f"{what} is held, attempt {hold.attempts}: {hold.reason}"


def _refusal_problems(outcome: Outcome) -> Iterator[str]:
    for reason in sorted({*outcome.refused, *outcome.expected_refused}):
        refused, expected = outcome.refused.get(reason, 0), outcome.expected_refused.get(reason, 0)
        if refused != expected:
            yield f"{refused} source events were refused for {reason!r}, not {expected}"


def _vendor_problems(vendor: VendorOutcome) -> Iterator[str]:
    name, status = vendor.overview.name, vendor.overview.status
    for words, members in (("missing", vendor.difference.missing), ("too many", vendor.difference.extra)):
        if members:
            sample = ", ".join(f"{each.identifier!r} in {each.audience!r}" for each in members[:SAMPLE])
            yield f"{name}: {len(members)} identifiers are {words}, such as {sample}"
    if status.unaccounted:
        yield f"{name}: {status.unaccounted} accepted changes are unaccounted for"
    if waiting := status.counters["waiting"]:
        yield "; ".join([f"{name}: {waiting} changes still wait", *_holds(vendor.overview)])
