"""A private RabbitMQ on loopback, where one is installed: its own node, ports and folder."""

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import amqp
import pytest

from tests.conftest import wait_until
from tests.servers import end, free_port, running

BOOT_SECONDS: Final = 60.0
NO_WRAPPER: Final = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
"""Debian's command on the PATH would run this one as another user."""


class RabbitMQ:
    """A node that may be killed and started again on what it has written."""

    def __init__(self, command: str, folder: Path, environment: Mapping[str, str], port: int) -> None:
        self.url = f"amqp://guest:guest@127.0.0.1:{port}//"
        self._command = command
        self._folder = folder
        self._environment = environment
        self._port = port
        self._process: subprocess.Popen[bytes] | None = None

    def boot(self) -> None:
        """Returns at once; see `is_ready`."""
        with (self._folder / "rabbitmq.log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._command],
                cwd=self._folder,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def await_ready(self) -> None:
        wait_until(lambda: self.queue_length() is not None, within=BOOT_SECONDS)

    def queue_length(self, queue: str = "") -> int | None:
        """How many messages wait in a queue, 0 for no queue; None when the broker does not answer."""
        try:
            with amqp.Connection(f"127.0.0.1:{self._port}") as connection:
                return _length(connection, queue) if queue else 0
        except OSError:
            return None

    def kill(self) -> None:
        """End it and all it started with SIGKILL."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def stop(self) -> None:
        if self._process is not None:
            end(self._process)
            self._process = None


def _length(connection: amqp.Connection, queue: str) -> int:
    declared = connection.channel().queue_declare(queue, passive=True)
    assert declared is not None
    return int(declared[1])


@contextmanager
def rabbitmq(folder: Path) -> Iterator[RabbitMQ]:
    """A node that boots. Skips the test where RabbitMQ is not installed."""
    command = shutil.which("rabbitmq-server")
    epmd = shutil.which("epmd")
    if command is None or epmd is None:
        pytest.skip("rabbitmq-server and Erlang's epmd are not on the PATH")
    port, names_port = free_port(), free_port()
    environment = _environment(folder, port, names_port)
    with running(epmd, "-port", str(names_port), "-address", "127.0.0.1", folder=folder):
        node = RabbitMQ(str(NO_WRAPPER) if NO_WRAPPER.exists() else command, folder, environment, port)
        node.boot()
        try:
            yield node
        finally:
            node.stop()


def _environment(folder: Path, port: int, names_port: int) -> Mapping[str, str]:
    (folder / "enabled_plugins").write_text("[].")
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "ERL_EPMD_ADDRESS": "127.0.0.1",
        "ERL_EPMD_PORT": str(names_port),
        "RABBITMQ_CONF_ENV_FILE": str(folder / "rabbitmq-env.conf"),
        "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "enabled_plugins"),
        "RABBITMQ_MNESIA_BASE": str(folder / "mnesia"),
        "RABBITMQ_LOG_BASE": str(folder / "log"),
        "RABBITMQ_LOGS": "-",
        "RABBITMQ_NODENAME": f"relay-test-{port}@localhost",
        "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
        "RABBITMQ_NODE_PORT": str(port),
        "RABBITMQ_DIST_PORT": str(free_port()),
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
    }
