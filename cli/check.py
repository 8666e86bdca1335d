"""`audience-relay check`: is the configuration right, is Redis fit, do the vendors take the credentials?"""

import sys
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import BinaryIO, Final

import click

from cli import options
from cli.access import verified
from cli.clock import redis_notice, vendor_notice
from cli.dry_intake import Line, name_of, read_lines
from cli.findings import Finding, Findings, show
from cli.form_options import expect_table, form_options
from cli.sample import take_sample
from producers.form import Form
from worker import settings
from worker.delivery import open_client
from worker.destinations.base import DestinationSettings, Request, Response, api_notice
from worker.edges import Edges, Send, open_edges, open_gate, probe
from worker.errors import ConfigurationError, DeliveryError, NeedsPerson, NotYet, RelayError, Throttled
from worker.settings import Settings
from worker.store.store import Store, open_store
from worker.store.tokens import Grant

NOT_WELL: Final = 1
AT_ONCE: Final = 8
LATER: Final = "try again later; `audience-relay status` tells what is held, and for how long"
ELSE: Final = "try again; if it stays so, check api_url and the way to the vendor"

Clock = Callable[[], float]
"""Seconds since the epoch."""


@click.command()
@click.option("--offline", is_flag=True, help="Look at the configuration alone: no Redis, no network.")
@click.option(
    "--sample",
    metavar="FILE",
    type=options.InputFile(),
    help="Source events, as for `load`: tell which would be taken, and what stands at the paths that are read.",
)
@form_options
@options.config
@options.as_json
def check(config: Path, form: Form, *, offline: bool, sample: BinaryIO | None, as_json: bool) -> None:
    """Try the configuration, Redis and the credentials.

    Finds every mistake in the configuration, looks whether Redis will do, and asks each vendor whether it
    takes the destination's credentials. Warns of a clock that is wrong and of an API version that ends.
    Changes nothing anywhere. Exits with 0 only if all is well, warnings aside, else with 1.
    """
    expect_table(form, [name_of(sample)] if sample else [])
    findings = look(config, offline=offline, sample=read_lines(sample, form) if sample else None)
    if as_json:
        options.print_json(findings.as_json())
    else:
        show(findings, options.console())
    sys.exit(0 if findings.ok else NOT_WELL)


def look(
    config: Path, *, offline: bool = False, sample: Iterable[Line] | None = None, now: Clock = time.time
) -> Findings:
    """Look at everything that the configuration names. Raises nothing that a person could mend."""
    try:
        relay = settings.load(config)
        tried = take_sample(sample, relay.destinations, round(now() * 1000)) if sample else None
        if offline:
            return Findings(destinations=[_unseen(each) for each in relay.destinations], sample=tried)
        store = open_store(relay)
    except ConfigurationError as error:
        return Findings(mistakes=error.mistakes)
    with closing(store):
        return Findings((), _look_at_redis(relay, store, now), _try_destinations(relay, store, now), tried)


def problem_of(order: DeliveryError) -> tuple[str, str]:
    """What is wrong, and what to do."""
    match order:
        case NeedsPerson():
            return order.reason, order.detail
        case NotYet() | Throttled():
            return str(order), LATER
        case _:
            return str(order), ELSE


def _unseen(destination: DestinationSettings) -> Finding:
    return Finding(destination.name, "its configuration is right; not tried", kind=destination.kind, tried=False)


def _look_at_redis(relay: Settings, store: Store, now: Clock) -> Finding:
    try:
        warnings = verified(relay, store)
        theirs = store.lanes(relay.destinations[0].name).status(0).now_ms / 1000
    except RelayError as error:
        return Finding("redis", reason=str(error))
    clock = redis_notice(theirs, now())
    return Finding("redis", warnings=[*warnings, *([clock] if clock else [])])


def _try_destinations(relay: Settings, store: Store, now: Clock) -> list[Finding]:
    with open_client() as client, ThreadPoolExecutor(AT_ONCE) as pool:
        every = [replace(open_edges(each, store, client), tokens=OwnToken()) for each in relay.destinations]
        return list(pool.map(partial(_try, now=now), relay.destinations, every))


def _try(destination: DestinationSettings, edges: Edges, now: Clock) -> Finding:
    listener = Listener(edges.sender(open_gate), now)
    described = partial(Finding, destination.name, kind=destination.kind)
    try:
        found = probe(edges, listener)
    except DeliveryError as order:
        reason, advice = problem_of(order)
        return described(reason=reason, advice=advice, warnings=listener.notices)
    return described(found, warnings=listener.notices)


class Listener:
    """Sends, and takes notice of what the headers of answers tell beside."""

    def __init__(self, send: Send, now: Clock) -> None:
        self._send = send
        self._now = now
        self._clock: str | None = None
        self._version: str | None = None

    def __call__(self, request: Request) -> Response:
        answer = self._send(request)
        self._clock = self._clock or vendor_notice(answer.headers, self._now())
        self._version = self._version or api_notice(answer.headers)
        return answer

    @property
    def notices(self) -> list[str]:
        return [each for each in (self._clock, self._version) if each is not None]


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
