"""`audience-relay check`: is the configuration right, is Redis fit, do the vendors take the credentials?"""

import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from cli import options
from cli.access import verified
from worker import settings
from worker.delivery import open_client
from worker.destinations.base import DestinationSettings
from worker.edges import Edges, open_edges, probe
from worker.errors import ConfigurationError, DeliveryError, NeedsPerson, RelayError
from worker.settings import Settings
from worker.store.store import Store, open_store
from worker.store.tokens import Grant

NOT_WELL: Final = 1
AT_ONCE: Final = 8
ELSE: Final = "try again; if it stays so, check api_url and the way to the vendor"


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found about one thing. Without a `reason`, it is well."""

    name: str
    found: str = ""
    reason: str | None = None
    advice: str | None = None
    kind: str | None = None

    @property
    def ok(self) -> bool:
        return self.reason is None


@dataclass(frozen=True, slots=True)
class Findings:
    """What was found in all. Where the configuration is wrong, nothing else can be looked at."""

    mistakes: Sequence[str] = ()
    redis: Finding | None = None
    warnings: Sequence[str] = ()
    destinations: Sequence[Finding] = ()

    @property
    def ok(self) -> bool:
        return not self.mistakes and all(each.ok for each in self.looked_at)

    @property
    def looked_at(self) -> list[Finding]:
        return [*([self.redis] if self.redis else []), *self.destinations]

    def as_json(self) -> dict[str, Any]:
        redis = (
            {"ok": self.redis.ok, "problem": self.redis.reason, "warnings": [*self.warnings]} if self.redis else None
        )
        return {
            "ok": self.ok,
            "mistakes": [*self.mistakes],
            "redis": redis,
            "destinations": [
                {"name": each.name, "kind": each.kind, "ok": each.ok, "found": each.found or None}
                | {"reason": each.reason, "advice": each.advice}
                for each in self.destinations
            ],
        }


@click.command()
@options.config
@options.as_json
def check(config: Path, *, as_json: bool) -> None:
    """Try the configuration, Redis and the credentials.

    Finds every mistake in the configuration, looks whether Redis will do, and asks each vendor whether it
    takes the destination's credentials. Changes nothing anywhere. Exits with 0 only if all is well, else with 1.
    """
    findings = look(config)
    if as_json:
        options.print_json(findings.as_json())
    else:
        _print(findings, options.console())
    sys.exit(0 if findings.ok else NOT_WELL)


def look(config: Path) -> Findings:
    """Look at everything that the configuration names. Raises nothing that a person could mend."""
    try:
        relay = settings.load(config)
        store = open_store(relay)
    except ConfigurationError as error:
        return Findings(mistakes=error.mistakes)
    with closing(store):
        redis, warnings = _look_at_redis(relay, store)
        return Findings((), redis, warnings, _try_destinations(relay, store))


def _look_at_redis(relay: Settings, store: Store) -> tuple[Finding, list[str]]:
    try:
        warnings = verified(relay, store)
    except RelayError as error:
        return Finding("redis", reason=str(error)), []
    return Finding("redis", "; ".join(warnings)), warnings


def _try_destinations(relay: Settings, store: Store) -> list[Finding]:
    with open_client() as client, ThreadPoolExecutor(AT_ONCE) as pool:
        every = [replace(open_edges(each, store, client), tokens=OwnToken()) for each in relay.destinations]
        return list(pool.map(_try, relay.destinations, every))


def _try(destination: DestinationSettings, edges: Edges) -> Finding:
    described = partial(Finding, destination.name, kind=destination.kind)
    try:
        return described(probe(edges))
    except NeedsPerson as order:
        return described(reason=order.reason, advice=order.detail)
    except DeliveryError as order:
        return described(reason=str(order), advice=ELSE)


def _print(findings: Findings, console: Console) -> None:
    for mistake in findings.mistakes:
        console.print(mistake, style="red", markup=False, highlight=False, soft_wrap=True)
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for each in findings.looked_at:
        mark = Text("ok", "green") if each.ok else Text("failed", "bold red")
        table.add_row(each.name, mark, Text(each.found if each.ok else _problem(each)))
    console.print(table)


def _problem(each: Finding) -> str:
    return f"{each.reason}; {each.advice}" if each.advice else f"{each.reason}"


class OwnToken:
    """A token for one probe. The fleet's would hide a secret that is wrong now; its memory of a refusal, one mended."""

    def __init__(self) -> None:
        self._kept = ""

    def get(self, *, failed: str = "") -> Grant:
        if self._kept and self._kept != failed:
            return Grant("use", token=self._kept)
        return Grant("renew")

    def keep(self, renewal: str, token: str, lives: timedelta) -> None:
        del renewal, lives
        self._kept = token

    def refuse(self, renewal: str, reason: str) -> None:
        """The fleet finds out by itself."""

    def abandon(self, renewal: str) -> None:
        """Nobody waits for it."""
