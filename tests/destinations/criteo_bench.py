"""What the tests of Criteo share."""

from typing import Any

from sandbox.app import Sandbox
from sandbox.criteo import CriteoSwitches
from tests.conftest import Clock
from tests.destinations.conftest import COMMON, SETTINGS, Bench, open_bench
from worker.destinations.criteo import CriteoSettings
from worker.store.store import Store


def settings(**settings: Any) -> CriteoSettings:
    return CriteoSettings.model_validate(COMMON | {"kind": "criteo"} | SETTINGS["criteo"] | settings)


def criteo(store: Store, clock: Clock, switches: CriteoSwitches | None = None, **settings: Any) -> Bench:
    sandbox = Sandbox(criteo=switches, clock=lambda: clock() / 1000)
    return open_bench("criteo", store, clock, sandbox, **settings)


def problem(code: str, type_: str = "validation") -> dict[str, str]:
    return {"code": code, "type": type_, "instance": "/", "detail": "No.", "traceId": "56ed4096"}


def envelope(*errors: dict[str, str]) -> dict[str, Any]:
    return {"data": None, "errors": errors, "warnings": []}


def hold_of(bench: Bench) -> str:
    """Why the destination is held; empty: it is not."""
    hold = bench.status().hold
    return hold.reason if hold else ""


def lane_hold_of(bench: Bench, audience: str = "vip") -> str:
    """Why the audience's lane is held; empty: it is not."""
    holds = {lane.lane.audience: lane.hold for lane in bench.status().lanes}
    hold = holds.get(audience)
    return hold.reason if hold else ""


def flush_all(bench: Bench) -> None:
    """Flush every lane that is due in a minute, each once: those that are held meanwhile are not."""
    bench.clock.advance(seconds=61)
    while bench.flush_now():
        pass


def flush_later(bench: Bench) -> None:
    """After the longest time for which a person is waited for."""
    bench.clock.advance(seconds=900)
    bench.flush_now()
