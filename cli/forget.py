"""`audience-relay forget`: have persons forgotten, everywhere, and tell what became of it."""

import sys
import time
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import click
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from cli import handles, options
from cli.access import opened
from cli.durations import Duration, write
from cli.handles import COLUMNS, Handle
from producers.routing import Router
from producers.segment import Erasure, Refusal, parse
from worker import settings
from worker.contract import Change, LaneKey
from worker.destinations.base import DestinationSettings
from worker.errors import RelayError
from worker.settings import Settings
from worker.store.erasures import RECEIPTS_KEPT
from worker.store.store import Store

NOT_ALL: Final = 1
CHUNK: Final = 1_000
PAUSE_SECONDS: Final = 0.2
WAIT: Final = timedelta(minutes=2)
WORDS: Final = {"email": "an email", "device": "a device id", "phone": "a phone number", "user_id": "a user id"}


class NothingAsked(RelayError):
    """Nobody is named, or there is no such receipt."""


@dataclass(slots=True)
class Asked:
    """What one destination was asked: the requests, and those of them that are done."""

    destination: str
    kind: str | None
    unused: int
    """How many handles could not be looked for there."""
    needs: str
    """What can."""
    requests: list[str] = field(default_factory=list)
    done: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def pending(self) -> list[str]:
        return [each for each in self.requests if each not in self.done]

    def as_json(self) -> dict[str, Any]:
        receipts = self.done.values()
        vendor: Counter[str] = Counter()
        for of_batch in {each["batch"]: each["vendor"] for each in receipts}.values():
            vendor.update(of_batch)
        return {
            "destination": self.destination,
            "kind": self.kind,
            "asked": len(self.requests),
            "done": len(self.done),
            "audiences": max((each["audiences"] for each in receipts), default=0),
            "waiting_dropped": sum(each["waiting_dropped"] for each in receipts),
            "dead_letters_dropped": sum(each["dead_letters_dropped"] for each in receipts),
            "identifiers_refused": sum(each["identifiers_refused"] for each in receipts),
            "vendor": dict(vendor),
            "unused": self.unused,
            "needs": self.needs if self.unused else None,
        }


@click.command()
@click.argument("file", required=False)
@click.option("--email", "emails", multiple=True, help="Whose email it is; plain or hashed. Repeatable.")
@click.option("--user-id", "user_ids", multiple=True, help="Whose user id it is. Repeatable.")
@click.option("--device-id", "devices", multiple=True, help="Whose device id it is. Repeatable.")
@click.option(
    "--receipt", "receipt_id", metavar="ID", help="Only tell what became of a request; also a delete event's messageId."
)
@click.option("--wait", type=Duration(), default=WAIT, show_default="2m", help="How long to wait until it is done.")
@click.option("--no-wait", is_flag=True, help="Only ask for it; see --receipt.")
@click.option("--yes", is_flag=True, help="Do not ask on a terminal.")
@options.config
@options.as_json
def forget(  # noqa: PLR0913 - each is an option of the command line
    file: str | None,
    emails: Sequence[str],
    user_ids: Sequence[str],
    devices: Sequence[str],
    receipt_id: str | None,
    wait: timedelta,
    config: Path,
    *,
    no_wait: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Have persons forgotten at every destination.

    Takes them out of every audience that the relay has ever delivered to, drops what waits for them and their dead
    letters, and deletes their profiles where a vendor has some. Whom: by the options, or a FILE of handles (`-`:
    standard input): CSV with a header of email, user_id and device_id, or one JSON object of these a line.

    Workers do it; this command waits for them and prints a receipt per destination. What comes for a person
    afterwards counts again. Exits with 0 when all is done, with 1 when something is not or could not be, and with 2
    when it failed.
    """
    relay = settings.load(config)
    with opened(relay) as store:
        if receipt_id is None:
            given = [*_given(emails, user_ids, devices), *(handles.read(file) if file else ())]
            _confirm(given, relay, yes=yes)
            receipt_id = uuid.uuid4().hex[:12]
            unreadable = _ask(given, receipt_id, relay, store)
        else:
            unreadable = []
        asked = _asked(receipt_id, relay, store)
        _await(asked, store, 0.0 if no_wait else wait.total_seconds())
    _tell(receipt_id, asked, unreadable, as_json=as_json)
    sys.exit(NOT_ALL if unreadable or any(each.pending or each.unused for each in asked) else 0)


def _given(emails: Sequence[str], user_ids: Sequence[str], devices: Sequence[str]) -> Iterator[Handle]:
    for column, texts in zip(COLUMNS, (emails, user_ids, devices), strict=True):
        yield from (Handle(column, text, f"--{column.replace('_', '-')}") for text in texts)


def _confirm(given: Sequence[Handle], relay: Settings, *, yes: bool) -> None:
    if not given:
        raise NothingAsked("whom? give --email, --user-id, --device-id or a FILE; see `audience-relay forget --help`")
    question = f"Forget {len(given):,} handle{'s' if len(given) > 1 else ''} at {len(relay.destinations)} destinations?"
    if not yes and sys.stdin.isatty() and not click.confirm(question, err=True):
        click.echo("nothing was changed", err=True)
        sys.exit(NOT_ALL)


# ── Asking ───────────────────────────────────────────────────────────────────────────────────────


def _ask(given: Sequence[Handle], receipt_id: str, relay: Settings, store: Store) -> list[str]:
    """Put the requests where workers find them; returns where a handle stood that is none."""
    router, now_ms = Router(relay.destinations), time.time_ns() // 1_000_000
    changes: dict[str, list[Change]] = {each.name: [] for each in relay.destinations}
    unreadable: list[str] = []
    for number, handle in enumerate(given):
        erasure = parse(handle.as_event(f"{receipt_id}-{number}"), received_at=now_ms)
        if not isinstance(erasure, Erasure):
            unreadable.append(f"{handle.place}: this is no {handle.column.replace('_', ' ')}")
            continue
        routed = router.route_erasure(erasure)
        for lane, change in [] if isinstance(routed, Refusal) else routed:
            changes[lane.destination].append(change)
    readable = len(given) - len(unreadable)
    for destination in relay.destinations:
        own = changes[destination.name]
        _append(destination, own, receipt_id, readable - _count_that_reach(own, destination), store)
    return unreadable


def _count_that_reach(changes: Sequence[Change], destination: DestinationSettings) -> int:
    """How many of the requests the vendor can carry out; by others only what waits for it can be dropped."""
    by_user_id = destination.reading().erases_by_user_id
    return sum(by_user_id or any(each.type != "user_id" for each in change.identifiers) for change in changes)


def _append(
    destination: DestinationSettings, changes: Sequence[Change], receipt_id: str, unused: int, store: Store
) -> None:
    """The record first: a request without one could not be found again."""
    record = {
        "asked": [change.message_id for change in changes],
        "unused": unused,
    }
    store.erasures(destination.name).keep_receipt(receipt_id, record)
    for start in range(0, len(changes), CHUNK):
        lane = LaneKey.erasures(destination.name)
        store.append(lane, changes[start : start + CHUNK], f"{receipt_id}-{start}")


def _needs(destination: DestinationSettings) -> str:
    return " or ".join(WORDS[each] for each in destination.reading().identifiers if each in WORDS)


# ── Waiting ──────────────────────────────────────────────────────────────────────────────────────


def _asked(receipt_id: str, relay: Settings, store: Store) -> list[Asked]:
    found = [_asked_of(each, receipt_id, store) for each in relay.destinations]
    asked = [each for each in found if each is not None]
    if not asked:
        raise NothingAsked(f"no receipt {receipt_id} is kept; they are for {RECEIPTS_KEPT.days} days")
    return asked


def _asked_of(destination: DestinationSettings, receipt_id: str, store: Store) -> Asked | None:
    record = store.erasures(destination.name).receipts([receipt_id]).get(receipt_id)
    if record is None:
        return None
    if "asked" not in record:  # of a single request: the message id of a source event
        return Asked(destination.name, destination.kind, 0, _needs(destination), [receipt_id])
    return Asked(destination.name, destination.kind, record["unused"], _needs(destination), record["asked"])


def _await(asked: Sequence[Asked], store: Store, seconds: float) -> None:
    """Until all is done, or so many seconds went by."""
    deadline = time.monotonic() + seconds
    with Console(stderr=True).status(f"waiting for workers, {write(seconds)} at most"):
        while True:
            for each in asked:
                receipts = store.erasures(each.destination).receipts(each.pending)
                each.done |= {request: receipt for request, receipt in receipts.items() if receipt["done"]}
            if not any(each.pending for each in asked) or time.monotonic() >= deadline:
                return
            time.sleep(PAUSE_SECONDS)


# ── Telling ──────────────────────────────────────────────────────────────────────────────────────


def _tell(receipt_id: str, asked: Sequence[Asked], unreadable: Sequence[str], *, as_json: bool) -> None:
    for line in unreadable:
        click.echo(line, err=True)
    if as_json:
        options.print_json({"receipt": receipt_id, "receipts": [each.as_json() for each in asked]})
        return
    options.console().print(_table(asked))
    for each in asked:
        if each.unused:
            noun = "handle" if each.unused == 1 else "handles"
            click.echo(f"{each.destination}: {each.unused:,} {noun} could not be looked for; give {each.needs}")
        if each.pending:
            click.echo(f"{each.destination}: {len(each.pending):,} not done yet; see `audience-relay status`")
    click.echo(f"To look again: audience-relay forget --receipt {receipt_id}")


def _table(asked: Sequence[Asked]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), pad_edge=False)
    table.add_column("destination")
    for title in ("done", "audiences", "waiting dropped", "dead letters dropped"):
        table.add_column(title, justify="right")
    table.add_column("at the vendor")
    for each in asked:
        row = each.as_json()
        vendor = ", ".join(f"{name.replace('_', ' ')} {count:,}" for name, count in row["vendor"].items())
        table.add_row(
            each.destination,
            Text(f"{row['done']:,} of {row['asked']:,}", "yellow" if each.pending else ""),
            *(f"{row[name]:,}" for name in ("audiences", "waiting_dropped", "dead_letters_dropped")),
            vendor,
        )
    return table
