"""Refused source events: where the first of each reason stand."""

from collections import defaultdict
from typing import Final

from producers.files import RefusedLine
from producers.foreign import advice_on_json
from producers.intake import Report

UNREAD: Final = frozenset({"json", "too_large"})
"""Why a line is refused that may be none."""
NAMED_LINES: Final = 5
"""How many refused lines are named for each reason."""


class RefusedLines:
    """Where the first refused source events of each reason stand."""

    def __init__(self) -> None:
        self._places: defaultdict[str, list[str]] = defaultdict(list)
        self._advice: dict[str, str] = {}
        self._advised: set[str] = set()
        """Files of which the first line that needs advice got it; what follows is of the same kind."""

    def add(self, refused: RefusedLine) -> None:
        places = self._places[refused.reason]
        if len(places) < NAMED_LINES:
            places.append(f"{refused.file}:{refused.line}")
            if refused.reason in UNREAD and refused.file not in self._advised:
                self._advise(refused, places[-1])

    def describe(self, report: Report) -> list[str]:
        """One line for each reason: how many, and where the first ones of this go stand; then what is to be done."""
        return [
            *(
                f"refused: {reason}: {count:,} source event{'s' * (count != 1)}: {self._named(reason, count)}"
                for reason, count in report.refused.most_common()
            ),
            *(f"{place}: {advice}" for advice, place in self._advice.items()),
        ]

    def _advise(self, refused: RefusedLine, place: str) -> None:
        if (advice := advice_on_json(refused.content)) is not None:
            self._advised.add(refused.file)
            self._advice.setdefault(advice, place)

    def _named(self, reason: str, count: int) -> str:
        places = self._places[reason]
        return ", ".join([*places, "…"] if count > len(places) else places)
