"""A relay with every kind of destination, each with a vendor and a model of its own: do they hold the same?"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Final
from urllib.parse import unquote
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

import httpx
from redis import Redis

from producers.intake import Intake, Report
from producers.routing import Router
from sandbox.app import Sandbox
from sandbox.criteo import CriteoSwitches
from sandbox.criteo_identifiers import sort
from sandbox.crowd_model import can_exist
from sandbox.journal import Audience, labels
from sandbox.taboola import TaboolaSwitches
from tests.conftest import Clock
from tests.destinations.conftest import COMMON, SETTINGS, InProcess
from worker.contract import Change, Identifier, LaneKey
from worker.delivery import GatedTransport
from worker.destinations import REGISTRY
from worker.destinations.base import Destination, DestinationSettings
from worker.destinations.criteo import CriteoSettings
from worker.destinations.stackadapt import StackAdaptSettings
from worker.edges import open_edges
from worker.errors import StoreFull
from worker.flush import flush_next
from worker.store.lanes import Bounds
from worker.store.store import Store

ROUND: Final = 1_000
"""Events between two flushes: what a lane then holds fits into one batch of any kind."""
PATIENCE: Final = 60
"""So many minutes may pass until nothing waits any more."""
MANY_LANES: Final = 1_000
SHOWN: Final = 3
"""Of everything that is wrong, so many examples."""
IMPOSSIBLE: Final = {"invalid identifier", "no top-level domain"}
"""Why somebody may be buried: no vendor can hold them."""

PROPERTIES: Final = [
    {"name": "plan", "type": "STRING", "path": "traits.plan"},
    {"name": 'sc"o\\re', "type": "NUMBER", "path": "traits.score"},
    {"name": "active", "type": "BOOLEAN", "path": "traits.active"},
    {"name": "since", "type": "DATE", "path": "traits.since"},
]
EXTRAS: Final[dict[str, tuple[str, dict[str, Any]]]] = {
    "criteo-hashed": ("criteo", {"hash_emails": True}),
    "criteo-madid": ("criteo", {"identifier_type": "madid"}),
    "criteo-phone": ("criteo", {"identifier_type": "phoneNumber", "phone_region": "DE"}),
    "http-more": (
        "http",
        {"identifiers": ["email", "device", "phone"], "phone_region": "DE", "properties": PROPERTIES},
    ),
    "taboola-by-id": ("taboola", {"audience_identifier": "external_audience_id", "account_id": "by-id"}),
    "stackadapt-more": ("stackadapt", {"marketing_status": "opted_in", "properties": PROPERTIES}),
}
DESTINATIONS: Final[dict[str, tuple[str, dict[str, Any]]]] = {kind: (kind, {}) for kind in REGISTRY} | EXTRAS


def configured(name: str) -> DestinationSettings:
    """Credentials of its own: each has a vendor of its own, who knows no other's tokens."""
    kind, own = DESTINATIONS[name]
    settings = COMMON | SETTINGS[kind] | own | {"kind": kind, "name": name}
    settings["batch"] = {"max_changes": min(REGISTRY[kind].max_changes, ROUND)}
    if "client_id" in settings:
        settings["client_id"] = name
    return REGISTRY[kind].Settings.model_validate(settings)


class Overheard(InProcess):
    """Notes the answers in which the vendor complains: by their status, or in their text."""

    def __init__(self, sandbox: Sandbox) -> None:
        super().__init__(sandbox)
        self._inner = httpx.WSGITransport(app=_by_the_book(sandbox))
        self.complaints: Counter[str] = Counter()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        response = super().handle_request(request)
        text = response.read().decode()
        if response.is_error or '"errors":[{' in text or '"userErrors":[{' in text:
            self.complaints[f"{request.method} {request.url.path}: {response.status_code} {text}"] += 1
        return response


def _by_the_book(app: WSGIApplication) -> WSGIApplication:
    """Paths as WSGI has them, bytes as Latin-1 (PEP 3333); httpx gives text."""

    def called(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        return app(environ | {"PATH_INFO": environ["PATH_INFO"].encode().decode("latin-1")}, start_response)

    return called


class Model:
    """What the vendor should hold: within a batch what happened last, over all batches what came last."""

    def __init__(self, settings: DestinationSettings, destination: Destination) -> None:
        self._reading = settings.reading()
        self._destination = destination
        self._waiting: defaultdict[LaneKey, list[Change]] = defaultdict(list)
        self._newest: defaultdict[Audience, dict[Identifier, Change]] = defaultdict(dict)
        self._existing: set[Audience] = set()
        self.appended = 0

    def append(self, lane: LaneKey, changes: Sequence[Change]) -> None:
        self._waiting[lane] += changes
        self.appended += len(changes)

    def flush(self) -> None:
        for lane, changes in self._waiting.items():
            for change in sorted(changes, key=lambda each: each.occurred_at):
                if lane.is_erasures:
                    self._forget(change)
                else:
                    self._newest[self.audience(lane)] |= dict.fromkeys(self._forms(change), change)
        self._waiting.clear()
        self._existing |= set(filter(self._exists, self._newest))

    def newest(self) -> dict[str, dict[str, Change]]:
        """The newest change of everybody, by audience as the stand-in calls it.

        Stand-ins show an email and a device id that read the same as one: it is in if either is.
        """
        names = labels(self._existing)
        return {
            names[audience]: {
                identifier.value: change
                for identifier, change in sorted(self._newest[audience].items(), key=lambda each: each[1].entered)
            }
            for audience in self._existing
        }

    def _forget(self, change: Change) -> None:
        """A device id may have come in another case."""
        handles = {alias for each in change.identifiers for alias in self._destination.aliases(each)}
        forms = set(map(self._destination.vendor_form, handles))
        for people in self._newest.values():
            people.update(dict.fromkeys(forms, change))

    def _forms(self, change: Change) -> list[Identifier]:
        return list(map(self._destination.vendor_form, change.identifiers))

    def _exists(self, audience: Audience) -> bool:
        """Who leaves creates no audience; one that goes by a number of the vendor's is there from the beginning."""
        entered = any(change.entered for change in self._newest[audience].values())
        return self._reading.numeric_audience or entered

    def audience(self, lane: LaneKey) -> Audience:
        """With its account, where lanes may name one."""
        if self._reading.account is None:
            return Audience("none", lane.audience)
        if not lane.audience.startswith("@"):
            return Audience(self._reading.account.configured, lane.audience)
        account, _, audience = lane.audience[1:].partition("/")
        return Audience(unquote(account), audience)


class End:
    """One destination with a vendor of its own, and the model of it."""

    def __init__(self, settings: DestinationSettings, store: Store, clock: Clock) -> None:
        self._clock = clock
        self._settings = settings
        taboola = TaboolaSwitches(accept_unknown_audiences=True)
        sandbox = Sandbox(taboola=taboola, clock=lambda: clock() / 1000)
        self._overheard = Overheard(sandbox)
        self._vendor = sandbox.vendors[settings.kind]
        client = httpx.Client(transport=GatedTransport(self._overheard))
        self._edges = open_edges(settings, store, client, pause=lambda seconds: clock.advance(seconds=seconds))
        self._letters = store.dead_letters(settings.name)
        self.model = Model(settings, self._edges.destination)

    def drain(self) -> None:
        for _ in range(PATIENCE):
            self._clock.advance(seconds=61)
            while flush_next(self._edges):
                pass
            if not self._waiting():
                break
        self.model.flush()

    def wrongs(self, duplicates: int) -> list[str]:
        """What is not as it should be."""
        status = self._edges.lanes.status(MANY_LANES)
        books = {
            "accepted": self.model.appended - duplicates,
            "waiting": 0,
            "discarded": status.counters.get("erased", 0),
        }
        holds = [status.hold, *(lane.hold for lane in status.lanes)]
        found = [f"{count} times {text[:500]}" for text, count in self._overheard.complaints.most_common(SHOWN)]
        found += [f"held: {hold.reason}" for hold in holds if hold]
        found += [f"{name}: {status.counters[name]} not {n}" for name, n in books.items() if status.counters[name] != n]
        found += [f"unaccounted: {status.unaccounted}"] if status.unaccounted else []
        found += [f"buried: {letter.reason}" for letter in self._letters if letter.reason not in IMPOSSIBLE]
        return found + self._misplaced()[:SHOWN]

    def _waiting(self) -> int:
        return sum(lane.waiting for lane in self._edges.lanes.status(MANY_LANES).lanes)

    def _misplaced(self) -> list[str]:
        """Who is in or out and should not be. Whom the vendor cannot hold is out."""
        held = {audience: people for audience, people in self._vendor.members().items() if people}
        newest = self.model.newest()
        return [f"{audience!r} is not known here" for audience in held.keys() - newest.keys()] + [
            f"{who!r} in {audience!r}: {change!r} of message {change.message_id}"
            for audience, people in newest.items()
            for who, change in people.items()
            if (who in held.get(audience, {})) != (change.entered and self._can_hold(who))
        ]

    def _can_hold(self, who: str) -> bool:
        """Criteo counts others as invalid; StackAdapt says nothing of them, so they are not sent. Both are buried."""
        match self._settings:
            case CriteoSettings(identifier_type=kind):
                return not sort([who], kind, CriteoSwitches()).invalid
            case StackAdaptSettings():
                return can_exist(who)
        return True


class Noting(Store):
    """Also tells the models what is appended."""

    ends: Mapping[str, End] = {}

    def append_each(self, pieces: Sequence[tuple[LaneKey, Sequence[Change], str]]) -> list[int | StoreFull]:
        for lane, changes, _ in pieces:
            self.ends[lane.destination].model.append(lane, changes)
        return super().append_each(pieces)


class Relay:
    """One intake, and every kind of destination."""

    def __init__(self, redis: Redis, clock: Clock) -> None:
        settings = [configured(name) for name in DESTINATIONS]
        bounds = {each.name: Bounds.of(each) for each in settings}
        store = Noting(redis, bounds, clock)
        self.ends = store.ends = {each.name: End(each, store, clock) for each in settings}
        self.report = Report()
        self._intake = Intake(Router(settings), store, clock)

    def carry(self, events: Iterator[bytes]) -> None:
        while batch := list(islice(events, ROUND)):
            try:
                self._intake.accept_many(batch, report=self.report)
            except Exception as fault:
                fault.add_note(f"in the events after {self.report.read}")
                raise
            for end in self.ends.values():
                end.drain()

    def wrongs(self) -> str:
        found = {name: end.wrongs(self.report.duplicates[name]) for name, end in self.ends.items()}
        return "\n".join(f"{name}: {wrong}" for name, wrongs in found.items() for wrong in wrongs)
