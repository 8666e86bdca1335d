"""`audience-relay up`: everything on this machine, as the Procfile beside this module says, until Ctrl-C.

Redis starts first and stops last, so that workers can settle the batch they have in hand.
"""

import os
import secrets
import sys
import sysconfig
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

import click
from honcho.environ import expand_processes, parse_procfile

from cli import options
from cli.access import opened
from cli.embedded import EmbeddedRedis
from cli.journal import Journal
from cli.processes import Command, run
from cli.signals import counting, interrupting
from worker import settings
from worker.settings import GatewaySettings, Settings
from worker.store.connection import embedded_folder

KILLED: Final = 1
REDIS: Final = "redis"
PROCFILE: Final = Path(__file__).parent / "Procfile"
NUMBERS: Final = {"gateway": 1, "worker": 2, "flower": 1}
"""How many of each. Two workers, so that one drains while the other starts again."""
GATEWAY: Final = "gateway"


class Numbers(click.ParamType[dict[str, int]]):
    """How many of each process: `worker=4`, or `worker=4,flower=0`, as honcho takes it."""

    name = "name=number"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> dict[str, int]:
        numbers = {}
        for part in str(value).split(","):
            name, _, number = part.partition("=")
            if name not in NUMBERS or not number.isdecimal():
                self.fail(f"{part!r}: write NAME=NUMBER; the names are {', '.join(NUMBERS)}", param, ctx)
            if name == GATEWAY and int(number) > 1:
                self.fail(f"{part!r}: a port has one gateway; its processes are gateway.workers", param, ctx)
            numbers[name] = int(number)
        return numbers


@click.command()
@click.option(
    "-c",
    "--concurrency",
    "wanted",
    type=Numbers(),
    multiple=True,
    help="How many of a process, as worker=4. Default: gateway=1,worker=2,flower=1.",
)
@options.config
def up(config: Path, wanted: tuple[dict[str, int], ...]) -> None:
    """Run Redis, gateway, workers and flower on this machine until Ctrl-C.

    With redis.url in the configuration, that Redis is used; without it, an embedded one, which keeps its
    file in .relay/ beside the configuration. What ends by itself, the embedded Redis too, is started
    again. Ctrl-C lets workers finish the batch in hand; a second Ctrl-C does not.
    """
    relay = settings.load(config)
    numbers = _merged(wanted)
    flower = Flower.of(os.environ)
    commands = _commands(numbers, _environment(config, flower))
    journal = Journal([*(command.name for command in commands), REDIS])
    with interrupting(), _redis(relay) as servers, counting() as endings:
        _expect_fit(relay)
        click.echo(opening(relay, numbers, flower), err=True)
        orderly = run(commands, endings, journal.say, servers=servers)
    sys.exit(0 if orderly else KILLED)


class Flower(NamedTuple):
    """Where flower listens, and who may look."""

    address: str
    port: str
    basic_auth: str
    generated: bool

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> "Flower":
        """What flower's own variables say; without a login, one for this run."""
        given = environment.get("FLOWER_BASIC_AUTH")
        return cls(
            environment.get("FLOWER_ADDRESS", "127.0.0.1"),
            environment.get("FLOWER_PORT", "5555"),
            given or f"relay:{secrets.token_urlsafe(12)}",
            generated=not given,
        )

    def describe(self, *, on_terminal: bool) -> str:
        """Shows a password that was made for this run, but only to a person: logs keep no secrets."""
        user, _, password = self.basic_auth.partition(":")
        if not self.generated:
            login = "login as FLOWER_BASIC_AUTH says"
        elif on_terminal:
            login = f"user {user}, password {password}"
        else:
            login = "set FLOWER_BASIC_AUTH=user:password to log in"
        return f"http://{self.address}:{self.port}  ({login})"


def _merged(wanted: Iterable[Mapping[str, int]]) -> dict[str, int]:
    numbers = dict(NUMBERS)
    for each in wanted:
        numbers |= each
    return numbers


def _environment(config: Path, flower: Flower) -> dict[str, str]:
    """What every process gets: this Python's scripts first on the PATH, and the configuration."""
    scripts = sysconfig.get_path("scripts")
    return {
        "PATH": os.pathsep.join([scripts, os.environ.get("PATH", os.defpath)]),
        "PYTHONUNBUFFERED": "1",
        "RELAY_CONFIG": str(config.resolve()),
        "FLOWER_ADDRESS": flower.address,
        "FLOWER_PORT": flower.port,
        "FLOWER_BASIC_AUTH": flower.basic_auth,
    }


def _commands(numbers: Mapping[str, int], environment: Mapping[str, str]) -> list[Command]:
    lines = parse_procfile(PROCFILE.read_text(encoding="utf-8")).processes
    return [
        Command(each.name, each.cmd, each.env)
        for each in expand_processes(lines, concurrency=numbers, env=dict(environment))
    ]


@contextmanager
def _redis(relay: Settings) -> Iterator[dict[str, EmbeddedRedis]]:
    """The servers to look after: the embedded Redis, or none."""
    if relay.redis.url is not None:
        yield {}
        return
    with EmbeddedRedis(embedded_folder(relay)) as server:
        yield {REDIS: server}


def _expect_fit(relay: Settings) -> None:
    """Raise when this Redis will not do; workers would only say so again and again."""
    with opened(relay):
        pass


def _gateway(gateway: GatewaySettings) -> str:
    """Where it will listen; it tells by itself when it does."""
    host = f"[{gateway.host}]" if ":" in gateway.host else gateway.host
    return f"http://{host}:{gateway.port}" if gateway.port else f"http://{host}, on a free port that it tells"


def opening(relay: Settings, numbers: Mapping[str, int], flower: Flower) -> str:
    """What is told at the start: what runs, and where."""
    redis = f"embedded, in {embedded_folder(relay)}" if relay.redis.url is None else "as redis.url says"
    lines = [f"redis    {redis}", f"workers  {numbers['worker']}"]
    if numbers[GATEWAY]:
        lines.append(f"gateway  {_gateway(relay.gateway)}")
    if numbers["flower"]:
        lines.append(f"flower   {flower.describe(on_terminal=sys.stderr.isatty())}")
    return "\n".join([*lines, "Ctrl-C ends all. In another terminal: audience-relay load FILE, status --watch"])
