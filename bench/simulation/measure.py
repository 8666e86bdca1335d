"""Measures the unit costs on this machine: a few seconds, one process, the vendor's stand-in in it and not counted.

    python -m bench.simulation.measure --kind criteo > costs.json

The same work is done twice, once in few large batches and once in many small ones; two equations give the cost of a
change and that of a batch.
"""

import json
import logging
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, NamedTuple

import click
import httpx
import structlog
from redis import Redis

from bench.in_memory import Clocked
from bench.simulation.terms import Costs
from cli.embedded import EmbeddedRedis
from producers.intake import Intake
from producers.routing import Router
from sandbox.app import Sandbox
from sandbox.criteo import CriteoSwitches
from worker.delivery import GatedTransport
from worker.destinations import REGISTRY
from worker.edges import Edges, open_edges
from worker.flush import flush_next
from worker.settings import Settings, load
from worker.store.connection import connect
from worker.store.store import open_store

HOST: Final = "http://vendor.test"
TERMS: Final[Mapping[str, str]] = {
    "criteo": 'api_url = "{host}/criteo"\nadvertiser_id = "4711"\nclient_id = "id"\nclient_secret = "secret"',
    "taboola": 'api_url = "{host}/taboola"\naccount_id = "account"\nclient_id = "id"\nclient_secret = "secret"',
    "stackadapt": 'api_url = "{host}/stackadapt/graphql"\nadvertiser_id = "2029"\napi_token = "token"',
    "http": 'api_url = "{host}/http/members"\nbearer_token = "token"\nprobe_url = "{host}/http/health"',
}
CONFIGURATION: Final = (
    '[redis]\nurl = "{url}"\n[[destinations]]\nname = "one"\nkind = "{kind}"\n{terms}\ncalls_per_minute = 1000000\n'
)
BATCH: Final = "[destinations.batch]\nmax_age_seconds = 0\n"
ROUNDS: Final = 5


class Work(NamedTuple):
    """So many changes in each of so many lanes."""

    lanes: int
    changes: int

    @property
    def all(self) -> int:
        return self.lanes * self.changes


LARGE: Final = Work(10, 5_000)
SMALL: Final = Work(400, 5)


@dataclass(frozen=True, slots=True)
class Spent:
    """Seconds of a core: of the producer, of Redis for it, of the worker, of Redis for that. And bytes in Redis."""

    append: float
    redis_append: float
    drain: float
    redis_drain: float
    stored: float


def measure(kind: str, rounds: int = ROUNDS) -> Costs:
    """The cheapest of some rounds, since whatever disturbs one makes it dearer."""
    with TemporaryDirectory() as folder, EmbeddedRedis(Path(folder) / ".relay") as server:
        relay = Path(folder) / "relay.toml"
        terms = TERMS[kind].format(host=HOST)
        relay.write_text(CONFIGURATION.format(url=server.url, kind=kind, terms=terms) + BATCH, encoding="utf-8")
        with connect(server.url) as redis:
            large, small = (
                _cheapest([_spend(load(relay), redis, work) for _ in range(rounds)]) for work in (LARGE, SMALL)
            )
    return _solved(large, small)


def _solved(large: Spent, small: Spent) -> Costs:
    drain_change, drain_batch = _split(large.drain, small.drain)
    redis_change, redis_batch = _split(large.redis_drain, small.redis_drain)
    bytes_change, bytes_lane = _split(large.stored, small.stored)
    return Costs(
        append_change=large.append / LARGE.all,
        drain_change=drain_change,
        drain_batch=drain_batch,
        redis_change=large.redis_append / LARGE.all + redis_change,
        redis_batch=redis_batch,
        bytes_change=bytes_change,
        bytes_lane=bytes_lane,
    )


def _split(large: float, small: float) -> tuple[float, float]:
    """Of a change, and of a lane."""
    lane = max(0.0, (small - large * SMALL.all / LARGE.all) / (SMALL.lanes - LARGE.lanes * SMALL.all / LARGE.all))
    return (large - LARGE.lanes * lane) / LARGE.all, lane


def _cheapest(rounds: list[Spent]) -> Spent:
    return Spent(**{name: min(asdict(each)[name] for each in rounds) for name in asdict(rounds[0])})


def _spend(settings: Settings, redis: Redis, work: Work) -> Spent:
    """Append and drain so much in an empty Redis, to audiences that the vendor knows already."""
    redis.flushall()
    store, vendor = (
        open_store(settings),
        Clocked(httpx.WSGITransport(app=Sandbox(criteo=CriteoSwitches(rate_limit=None))), time.process_time),
    )
    intake = Intake(Router(settings.destinations), store, lambda: int(time.time() * 1000))
    clocks = _Clocks(redis, vendor)
    with httpx.Client(transport=GatedTransport(vendor)) as client:
        edges = open_edges(settings.destinations[0], store, client)
        intake.accept_many(_events(work._replace(changes=1)))
        _drain(edges, work.lanes)
        before, start = int(redis.info("memory")["used_memory"]), clocks.read()
        intake.accept_many(_events(work, first=work.lanes))
        stored, middle = int(redis.info("memory")["used_memory"]) - before, clocks.read()
        _drain(edges, work.all)
        end = clocks.read()
    store.close()
    return Spent(middle[0] - start[0], middle[1] - start[1], end[0] - middle[0], end[1] - middle[1], stored)


def _drain(edges: Edges, waiting: int) -> None:
    delivered = sum(flushed.changes for flushed in iter(lambda: flush_next(edges), None))
    if delivered != waiting:
        raise RuntimeError(f"{delivered} of {waiting} changes were delivered")


class _Clocks:
    def __init__(self, redis: Redis, vendor: Clocked) -> None:
        self._redis, self._vendor = redis, vendor

    def read(self) -> tuple[float, float]:
        """Seconds of a core: of this process without the stand-in, and of Redis."""
        cpu = self._redis.info("cpu")
        return time.process_time() - self._vendor.seconds, float(cpu["used_cpu_user"]) + float(cpu["used_cpu_sys"])


def _events(work: Work, first: int = 0) -> Iterator[bytes]:
    for number in range(first, first + work.all):
        key = f"audience_{number % work.lanes}"
        yield json.dumps(
            {
                "type": "track",
                "messageId": f"{number:032x}",
                "userId": f"u-{number}",
                "timestamp": "2026-01-01T00:00:00.000Z",
                "properties": {"audience_key": key, key: number % 5 > 0},
                "context": {
                    "traits": {"email": f"user{number}@example.com"},
                    "personas": {"computation_class": "audience", "computation_key": key, "computation_id": key},
                },
            }
        ).encode()


@click.command()
@click.option("--kind", type=click.Choice(list(REGISTRY)), default="criteo", show_default=True)
def main(kind: str) -> None:
    """Print the costs as JSON."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    click.echo(json.dumps(asdict(measure(kind)), indent=2))


if __name__ == "__main__":
    main()
