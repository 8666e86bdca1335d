"""What a measurement yields, as values: figures, series of a quantity over time, and what was left out and why."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Literal, NamedTuple

import msgspec

Better = Literal["more", "less"]


class Figure(msgspec.Struct, frozen=True, tag=True):
    """One quantity, measured as often as it has samples. The median is what is quoted."""

    name: str
    """Dotted, its measurement first."""
    title: str
    unit: str
    samples: tuple[float, ...]
    measured_on: str
    """What the work was, in words."""
    better: Better = "more"

    @property
    def value(self) -> float:
        return median(self.samples)

    @property
    def low(self) -> float:
        return min(self.samples)

    @property
    def high(self) -> float:
        return max(self.samples)


class Series(msgspec.Struct, frozen=True, tag=True):
    """A quantity over another, for a chart of lines."""

    name: str
    title: str
    unit: str
    over: str
    """What it runs over, with its unit."""
    points: tuple[tuple[float, float], ...]


class Skipped(msgspec.Struct, frozen=True, tag=True):
    """What was not measured, and what to do so that it is; `failed`: it was tried, and went wrong."""

    name: str
    reason: str
    failed: bool = False


Outcome = Figure | Series | Skipped


class NotMeasured(Exception):
    """What was measured does not count: the work was not done, or not as it should have been."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How much work, and where: `folder` is for what a measurement leaves lying."""

    scale: float
    folder: Path
    peers_python: Path
    """The Python of the environment that the peers need."""

    def count(self, number: int, *, least: int = 1_000) -> int:
        """So many, scaled, in whole thousands or what `least` is."""
        return max(least, round(number * self.scale / least) * least)

    def seconds(self, number: float) -> float:
        return max(2.0, number * min(1.0, self.scale))


Measurement = Callable[[Plan], Iterator[Outcome]]


class Results(NamedTuple):
    """One run."""

    machine: Mapping[str, str]
    date: str
    scale: float
    seconds: float
    outcomes: Sequence[Outcome]

    @property
    def figures(self) -> dict[str, Figure]:
        return {each.name: each for each in self.outcomes if isinstance(each, Figure)}

    @property
    def series(self) -> list[Series]:
        return [each for each in self.outcomes if isinstance(each, Series)]

    @property
    def skipped(self) -> list[Skipped]:
        return [each for each in self.outcomes if isinstance(each, Skipped)]

    def value(self, name: str) -> float | None:
        """The median of a figure; None: it was not measured."""
        figure = self.figures.get(name)
        return None if figure is None else figure.value


def as_dict(figure: Figure) -> dict[str, Any]:
    """With the median, and what it lies between."""
    told: dict[str, Any] = msgspec.to_builtins(figure)
    del told["type"]
    return told | {"value": figure.value, "low": figure.low, "high": figure.high}
