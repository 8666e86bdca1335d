"""`audience-relay sandbox`: the vendors' stand-ins on a port."""

import errno
from contextlib import suppress
from typing import Final

import click

from cli import options
from cli.signals import interrupting
from sandbox.app import Sandbox
from sandbox.server import Server
from worker.errors import RelayError

API_PATHS: Final = {"criteo": "/criteo", "taboola": "/taboola", "stackadapt": "/stackadapt/graphql"}
RECEIVER_PATH: Final = "/http/members"
"""What stands in for a receiver of one's own; it knows the default form of requests alone."""


class PortTaken(RelayError):
    """Somebody else listens there."""


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Where to listen.")
@click.option("--port", default=8900, show_default=True, type=click.IntRange(0, 65535), help="0 takes a free one.")
@click.option("--requests", is_flag=True, help="Log every request.")
@options.unused_config
def sandbox(host: str, port: int, *, requests: bool) -> None:
    """Stand in for the vendors until Ctrl-C. Any client id, secret and token are taken."""
    with interrupting(), suppress(KeyboardInterrupt), _server(host, port, access_log=requests) as server:
        for kind, path in {**API_PATHS, "http": RECEIVER_PATH}.items():
            click.echo(f'{kind:<11} api_url = "{server.url}{path}"')
        click.echo(f"members:    {server.url}/_sandbox/members/criteo")
        server.run()


def _server(host: str, port: int, *, access_log: bool) -> Server:
    try:
        return Server(Sandbox(), host, port, access_log=access_log)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        raise PortTaken(f"{host}:{port} is taken; choose another with --port") from error
