"""Servers that a test starts beside the embedded Redis: a process for its time, and a port for it."""

import socket
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path


@contextmanager
def running(
    *command: str, folder: Path, environment: Mapping[str, str] | None = None
) -> Iterator["subprocess.Popen[bytes]"]:
    """A process for the time of a test; what it says is in its folder."""
    with (folder / "output.log").open("ab") as log:
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
        try:
            yield process
        finally:
            end(process)


def end(process: "subprocess.Popen[bytes]", within: float = 10.0) -> None:
    """Ask it to end, and kill it when it does not."""
    process.terminate()
    try:
        process.wait(within)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def free_port() -> int:
    """A port that is free, and leaves room for a cluster's bus 10,000 above it."""
    while True:
        with closing(socket.socket()) as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
            if port < 55_000:
                return port
