"""What `check` found, as JSON and for a person."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from cli.sample import Sample


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found about one thing. Without a `reason` it is well, or was not `tried`."""

    name: str
    found: str = ""
    reason: str | None = None
    advice: str | None = None
    kind: str | None = None
    warnings: Sequence[str] = ()
    """What does no harm yet, each with what to do."""
    tried: bool = True

    @property
    def ok(self) -> bool | None:
        return self.reason is None if self.tried else None


@dataclass(frozen=True, slots=True)
class Findings:
    """What was found in all. Where the configuration is wrong, nothing else can be looked at."""

    mistakes: Sequence[str] = ()
    redis: Finding | None = None
    destinations: Sequence[Finding] = ()
    sample: Sample | None = None

    @property
    def ok(self) -> bool:
        return not self.mistakes and not any(each.reason for each in self.looked_at)

    @property
    def looked_at(self) -> list[Finding]:
        return [*([self.redis] if self.redis else []), *self.destinations]

    def as_json(self) -> dict[str, Any]:
        """An `ok` of null: it was not tried. `sample` is there only if one was given."""
        redis = self.redis
        return {
            "ok": self.ok,
            "mistakes": [*self.mistakes],
            "redis": {"ok": redis.ok, "problem": redis.reason, "warnings": [*redis.warnings]} if redis else None,
            "destinations": [
                {
                    "name": each.name,
                    "kind": each.kind,
                    "ok": each.ok,
                    "found": each.found or None,
                    "reason": each.reason,
                    "advice": each.advice,
                    "warnings": [*each.warnings],
                }
                for each in self.destinations
            ],
            **({"sample": self.sample.as_json()} if self.sample else {}),
        }


def show(findings: Findings, console: Console) -> None:
    """A line for each thing, and under it its warnings."""
    for mistake in findings.mistakes:
        console.print(mistake, style="red", markup=False, highlight=False, soft_wrap=True)
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for each in findings.looked_at:
        table.add_row(each.name, _MARKS[each.ok], Text(each.found if each.reason is None else _problem(each)))
        for warning in each.warnings:
            table.add_row("", Text("warning", "yellow"), Text(warning))
    console.print(table)
    if findings.sample:
        console.print(findings.sample.draw(console.width))


_OK: Final = Text("ok", "green")
_MARKS: Final = {True: _OK, None: _OK, False: Text("failed", "bold red")}


def _problem(each: Finding) -> str:
    return f"{each.reason}; {each.advice}" if each.advice else f"{each.reason}"
