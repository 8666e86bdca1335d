"""Plays a case through the relay: parse, route, append, flush, against the vendor's stand-in."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from pydantic import ValidationError
from redis import Redis

from producers.intake import Intake, Report
from producers.routing import Router
from sandbox.app import Sandbox
from sandbox.criteo import CriteoSwitches
from sandbox.stackadapt import StackAdaptSwitches
from sandbox.taboola import TaboolaSwitches
from tests.conftest import Clock
from tests.destinations.conftest import COMMON, HOST, Bench, open_bench
from tests.golden.cases import Case, Members, Profiles, with_members
from worker.destinations import REGISTRY
from worker.store.lanes import Bounds
from worker.store.store import Store

SECRET: Final = "s+e/c&ret"
ROUNDS: Final = 10
LONGEST_HOLD_SECONDS: Final = 15 * 60
ENTERED: Final = "Audience Entered"
_STATUSES: Final = {True: "opted_in", False: "indeterminate"}

Event = Mapping[str, Any]


@dataclass
class Outcome:
    """Where a case ends. Of settings that the relay refuses nothing comes."""

    report: Report = field(default_factory=Report)
    before: Members = field(default_factory=dict)
    members: Members = field(default_factory=dict)
    profiles: Profiles = field(default_factory=dict)
    opted_in: set[bool] = field(default_factory=set)
    counters: Mapping[str, int] = field(default_factory=dict)
    unaccounted: int = 0
    holds: list[str] = field(default_factory=list)
    statuses: dict[str, int] = field(default_factory=dict)
    """The answers of the stand-in that were no success, by route and status, but for those that the case asks for."""
    unsuffered: int = 0
    """How many of the case's replies were never given."""


class Relay:
    """The relay with the one destination that a case is about."""

    def __init__(self, case: Case, redis: Redis, clock: Clock, own_settings: Mapping[str, Any]) -> None:
        settings = {**settings_of(case), **own_settings}
        whole = REGISTRY[case.kind].Settings.model_validate(COMMON | {"kind": case.kind} | settings)
        bounds = {whole.name: Bounds.of(whole)}
        store = Store(redis, bounds, clock)
        self.sandbox = _sandbox(case, clock)
        self.bench: Bench = open_bench(case.kind, store, clock, self.sandbox, **settings)
        self._intake = Intake(Router([whole]), store, clock)
        self._vendor = self.sandbox.vendors[case.kind]
        self._case = case

    def accept(self, events: Iterable[Event]) -> Report:
        return self._intake.accept_many(events)

    def suffer_replies(self) -> None:
        """From now on the vendor replies as it did in the case, once each."""
        rules = [_rule(reply) for reply in self._case.replies]
        self._vendor.script_faults({"rules": rules})

    def drain(self) -> None:
        """Flush until nothing waits; what is held is tried again when its time has come."""
        for _ in range(ROUNDS):
            self.bench.clock.advance(seconds=LONGEST_HOLD_SECONDS + 1)
            while self.bench.flush_now():
                pass
            if not self.bench.status().counters["waiting"]:
                return

    def members(self) -> Members:
        held = self._vendor.members()
        return with_members({audience: set(people) for audience, people in held.items()})

    def outcome(self, report: Report, before: Members) -> Outcome:
        status = self.bench.status()
        holds = [status.hold, *(lane.hold for lane in status.lanes)]
        profiles = self.sandbox.stackadapt.profiles(self._case.settings.get("advertiser_id", ""))
        return Outcome(
            report=report,
            before=before,
            members=self.members(),
            profiles={email: _without_email(kept.properties) for email, kept in profiles.items()},
            opted_in={kept.opted_in for kept in profiles.values()},
            counters=status.counters,
            unaccounted=status.unaccounted,
            holds=[hold.reason for hold in holds if hold],
            statuses=self._unasked_failures(),
            unsuffered=sum(not rule["fired"] for rule in self._vendor.faults.summary()["rules"]),
        )

    def _unasked_failures(self) -> dict[str, int]:
        asked = [(reply["route"], str(reply["status"])) for reply in self._case.replies]
        routes = self._vendor.requests()["routes"]
        found = {
            f"{route} {status}": count - asked.count((route.partition(" ")[2], status))
            for route, statuses in routes.items()
            for status, count in statuses.items()
            if status != "200"
        }
        return {name: count for name, count in found.items() if count > 0}


def play(
    case: Case, redis: Redis, clock: Clock, *, everybody: bool = False, own_settings: Mapping[str, Any] | None = None
) -> Outcome:
    """Carry the case's events to the vendor. `everybody`: all of whom they tell have entered before."""
    try:
        relay = Relay(case, redis, clock, own_settings or {})
    except ValidationError:
        return Outcome()
    if everybody:
        relay.accept(map(entering, case.events))
        relay.drain()
    before = relay.members()
    relay.suffer_replies()
    report = relay.accept(case.events)
    relay.drain()
    return relay.outcome(report, before)


def entering(event: Event) -> Event:
    """The same person enters, the day before."""
    properties, traits = dict(event.get("properties") or {}), dict(event.get("traits") or {})
    key = properties.get("audience_key") or event["context"]["personas"]["computation_key"]
    for place in (properties, traits):
        if key in place:
            place[key] = True
    changed = {"messageId": f"before-{event['messageId']}", "timestamp": "2024-04-30T10:00:00.000Z"}
    return dict(event) | {"event": ENTERED, "properties": properties, "traits": traits} | changed


def settings_of(case: Case) -> dict[str, Any]:
    """What Segment's settings and mapping are in a relay.toml. A name without a value is left out."""
    return {name: value for name, value in _TRANSLATED[case.kind](case).items() if value is not None}


def _criteo(case: Case) -> dict[str, Any]:
    return {
        "api_url": f"{HOST}/criteo",
        "advertiser_id": case.settings["advertiser_id"],
        "client_id": case.settings.get("client_id"),
        "client_secret": SECRET,
        "hash_emails": case.mapping.get("hash_emails"),
    }


def _taboola(case: Case) -> dict[str, Any]:
    settings = case.audience_settings or {}
    return {
        "api_url": f"{HOST}/taboola",
        "account_id": settings.get("account_id"),
        "client_id": case.settings["client_id"],
        "client_secret": SECRET,
        "audience_identifier": "external_audience_id",
        "ttl_in_hours": settings.get("ttl_in_hours"),
        "exclude_from_campaigns": settings.get("exclude_from_campaigns"),
    }


def _stackadapt(case: Case) -> dict[str, Any]:
    return {
        "api_url": f"{HOST}/stackadapt/graphql",
        "advertiser_id": case.settings["advertiser_id"],
        "api_token": SECRET,
        "properties": list(_properties(case)) or None,
        **_marketing_status(case),
    }


def _marketing_status(case: Case) -> dict[str, Any]:
    """One that stands in the events is then that of the first of them, as it is for Segment."""
    told: Any = case.mapping.get("marketing_status")
    if isinstance(told, dict):
        opted_in = case.sent[0]["opted_in"]
        return {"marketing_status": _STATUSES[opted_in], "marketing_status_paths": [_path(told)]}
    return {"marketing_status": {"Opted-in": _STATUSES[True], "Indeterminate": _STATUSES[False]}.get(told, told)}


def _properties(case: Case) -> Iterable[dict[str, str]]:
    """The custom properties that stand at a path, under a name of their own; a constant is no matter of events.

    Segment's first mode guesses the type from the value, ours is told what it guessed.
    """
    guessed = {name: kind for sent in case.sent for name, kind in sent.get("mapping", {}).items()}
    told = [(name, guessed.get(name), value) for name, value in case.mapping.get("custom_traits", {}).items()]
    if case.mapping.get("custom_properties_mode") == "v2":
        told = [(each["name"], each["type"], each["value"]) for each in case.mapping["custom_user_properties"]]
    for name, kind, value in told:
        if isinstance(value, dict) and kind in {"STRING", "NUMBER", "BOOLEAN", "DATE"} and name != "email":
            yield {"name": name, "type": kind, "path": _path(value)}


def _path(directive: Mapping[str, str]) -> str:
    return directive["@path"].removeprefix("$.")


_TRANSLATED: Final = {"criteo": _criteo, "taboola": _taboola, "stackadapt": _stackadapt}


def _sandbox(case: Case, clock: Clock) -> Sandbox:
    """A vendor that knows the case's account alone, and the contact lists that Segment found there."""
    account = (case.audience_settings or {}).get("account_id", "")
    advertisers = frozenset({case.settings.get("advertiser_id", "")})
    read_only = advertisers if case.scopes == ["READ"] else frozenset()
    sandbox = Sandbox(
        criteo=CriteoSwitches(advertisers=advertisers),
        taboola=TaboolaSwitches(accounts=frozenset({account}), accept_unknown_audiences=True),
        stackadapt=StackAdaptSwitches(advertisers=advertisers, read_only_advertisers=read_only),
        clock=lambda: clock() / 1000,
    )
    for name in _lists_found(case):
        sandbox.criteo.add_segment(case.settings["advertiser_id"], name)
    return sandbox


def _lists_found(case: Case) -> set[str]:
    return {name for sent in case.sent if sent["route"] == "search" for name in sent["lists"].values()}


def _rule(reply: Mapping[str, Any]) -> dict[str, Any]:
    fault = {"kind": "status", "status": reply["status"], "json": reply["json"]}
    return {"match": {"route": reply["route"]}, "times": 1, "fault": fault}


def _without_email(properties: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in properties.items() if key != "email"}
