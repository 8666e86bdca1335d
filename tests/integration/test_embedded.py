"""A real redis-server in a folder: it starts, keeps its data, and survives whoever started it."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis

from cli import embedded
from cli.embedded import EmbeddedRedis, EmbeddedRedisError, server_binary
from worker.store import connection
from worker.store.connection import connect, ping, socket_path

STARTER = """
import sys
from pathlib import Path
from cli.embedded import EmbeddedRedis
from worker.store.connection import connect

redis = EmbeddedRedis(Path(sys.argv[1]))
redis.start()
connect(redis.url).set("kept", "yes")
print("started", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / ".relay"


@pytest.fixture
def redis(folder: Path) -> Iterator[EmbeddedRedis]:
    with EmbeddedRedis(folder) as started:
        yield started


@pytest.fixture
def client(redis: EmbeddedRedis) -> Iterator[Redis]:
    with connect(redis.url) as connected:
        yield connected


@pytest.fixture
def orphan(folder: Path) -> Iterator[int]:
    """The process of a server whose starter was killed."""
    with subprocess.Popen(
        [sys.executable, "-c", STARTER, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as starter:
        assert starter.stdout is not None
        assert starter.stdout.readline() == "started\n"
        starter.kill()
    process = int((folder / "redis.pid").read_text())
    yield process
    try:
        os.kill(process, signal.SIGKILL)
    except ProcessLookupError:
        return


def test_it_answers_once_started_and_not_once_stopped(folder: Path) -> None:
    redis = EmbeddedRedis(folder)
    redis.start()
    with connect(redis.url) as client:
        assert ping(client) == "ready"

        redis.stop()

        assert ping(client) == "away"


def test_it_is_reachable_through_its_socket_only(redis: EmbeddedRedis, folder: Path, client: Redis) -> None:
    assert redis.url == f"unix://{folder.resolve()}/redis.sock?db=0"
    assert client.config_get("port") == {"port": "0"}


def test_it_writes_what_it_takes_and_throws_nothing_away(client: Redis) -> None:
    settings = client.config_get("append*") | client.config_get("maxmemory-policy") | client.config_get("save")

    assert settings["appendonly"] == "yes"
    assert settings["appendfsync"] == "everysec"
    assert settings["maxmemory-policy"] == "noeviction"
    assert settings["save"] == ""


def test_its_folder_is_for_this_user_alone(redis: EmbeddedRedis, folder: Path) -> None:
    paths = [folder, *folder.iterdir()]

    assert {"appendonly.aof", "redis.sock", "redis.log", "redis.pid", "lock", "server.lock"} <= {p.name for p in paths}
    assert not [path for path in paths if path.stat().st_mode & 0o077]


def test_what_it_took_is_there_after_a_restart(folder: Path) -> None:
    with EmbeddedRedis(folder) as redis, connect(redis.url) as client:
        client.set("kept", "yes")

    with EmbeddedRedis(folder) as redis, connect(redis.url) as client:
        assert client.get("kept") == b"yes"


def test_a_client_goes_on_after_a_restart(folder: Path) -> None:
    with EmbeddedRedis(folder) as redis, connect(redis.url) as client:
        client.set("kept", "yes")
        redis.stop()
        redis.start()

        assert client.get("kept") == b"yes"


def test_what_it_took_is_there_after_the_server_was_killed(folder: Path) -> None:
    with EmbeddedRedis(folder) as redis, connect(redis.url) as client:
        client.set("kept", "yes")
        os.kill(int(client.info("server")["process_id"]), signal.SIGKILL)

    with EmbeddedRedis(folder) as redis, connect(redis.url) as client:
        assert client.get("kept") == b"yes"


def test_starting_twice_is_starting_once(redis: EmbeddedRedis, client: Redis) -> None:
    before = client.info("server")["process_id"]

    redis.start()

    assert client.info("server")["process_id"] == before


def test_stopping_twice_or_before_the_start_does_nothing(folder: Path) -> None:
    redis = EmbeddedRedis(folder)
    redis.stop()
    redis.start()
    redis.stop()
    redis.stop()


def test_a_key_pressed_in_the_terminal_does_not_reach_it(client: Redis) -> None:
    """Ctrl-C goes to the terminal's foreground group; the workers end first, then `stop` ends the server."""
    process = int(client.info("server")["process_id"])

    assert os.getsid(process) == process != os.getsid(0)


def test_a_second_start_in_the_same_folder_names_the_holder(redis: EmbeddedRedis, folder: Path, client: Redis) -> None:
    with pytest.raises(EmbeddedRedisError, match=rf"is in use by process {os.getpid()} since 20\d\d-.* UTC; stop that"):
        EmbeddedRedis(folder).start()

    assert ping(client) == "ready"


def test_a_lock_file_without_a_holder_is_no_obstacle(folder: Path) -> None:
    folder.mkdir()
    (folder / "lock").write_text("process 1 since ever\n")

    with EmbeddedRedis(folder), connect(EmbeddedRedis(folder).url) as client:
        assert ping(client) == "ready"

    assert (folder / "lock").read_text().startswith(f"process {os.getpid()} since")


def test_a_server_whose_starter_was_killed_is_replaced_and_nothing_is_lost(folder: Path, orphan: int) -> None:
    with EmbeddedRedis(folder) as redis, connect(redis.url) as client:
        assert client.get("kept") == b"yes"
        assert client.info("server")["process_id"] != orphan


def test_a_left_server_that_does_not_answer_is_named_and_left_alone(
    folder: Path, orphan: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "ANSWER_SECONDS", 0.1)
    monkeypatch.setattr(embedded, "END_SECONDS", 0.2)
    os.kill(orphan, signal.SIGSTOP)

    with pytest.raises(EmbeddedRedisError, match=f"does not end; its process is {orphan}: end that, then start again"):
        EmbeddedRedis(folder).start()

    os.kill(orphan, signal.SIGCONT)
    with EmbeddedRedis(folder) as redis, connect(redis.url) as client:
        assert client.get("kept") == b"yes"


def test_a_process_that_only_has_the_recorded_number_is_left_alone(folder: Path) -> None:
    folder.mkdir()
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as stranger:
        (folder / "redis.pid").write_text(f"{stranger.pid}\n")

        with EmbeddedRedis(folder):
            assert stranger.poll() is None


def test_a_server_that_does_not_start_shows_the_end_of_its_log(folder: Path) -> None:
    folder.mkdir()
    (folder / "appendonly.aof").write_text("this is not what Redis writes\n")

    with pytest.raises(EmbeddedRedisError, match=r"(?s)redis-server does not start; its log ends with:.*file format"):
        EmbeddedRedis(folder).start()

    (folder / "appendonly.aof").unlink()
    with EmbeddedRedis(folder) as redis, connect(redis.url) as client:
        assert ping(client) == "ready"


def test_a_folder_that_cannot_be_made_is_an_error_with_its_name(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(EmbeddedRedisError, match=f"no embedded Redis in {tmp_path}/file/.relay: .*Not a directory"):
        EmbeddedRedis(tmp_path / "file" / ".relay").start()


def test_a_folder_with_a_long_name_has_a_short_socket_while_it_runs(tmp_path: Path) -> None:
    folder = tmp_path / ("long name, " * 12)
    socket = socket_path(folder)

    with EmbeddedRedis(folder) as redis, connect(redis.url) as client:
        assert ping(client) == "ready"
        assert socket.exists()
        assert socket.parent.stat().st_mode & 0o777 == 0o700

    assert not socket.parent.exists()


# ── Which redis-server ───────────────────────────────────────────────────────────────────────────


@pytest.fixture
def on_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a redis-server would be found first."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder / "redis-server"


def says(binary: Path, version: str) -> None:
    binary.write_text(f"#!/bin/sh\necho '{version}'\n")
    binary.chmod(0o755)


@pytest.mark.parametrize(
    ("version", "found"), [("Redis server v=6.2.14 sha=0:0", (6, 2)), ("Valkey server v=8.1.0 sha=0:0", (8, 1))]
)
def test_the_server_on_the_path_is_taken_when_it_is_new_enough(
    on_path: Path, version: str, found: tuple[int, int]
) -> None:
    says(on_path, version)

    assert server_binary() == (str(on_path), found)


@pytest.mark.parametrize("version", ["Redis server v=5.0.7 sha=0:0", "something else"])
def test_else_the_server_that_came_with_the_package_is_taken(on_path: Path, version: str) -> None:
    says(on_path, version)

    binary = server_binary()

    assert binary.path != str(on_path)
    assert binary.version >= (6, 2)


def test_without_any_server_the_error_says_what_to_do(on_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "REDIS_SERVER_PATH", "/nowhere/redis-server")

    with pytest.raises(EmbeddedRedisError, match=r"install Redis, or set redis\.url"):
        server_binary()


def test_an_older_server_does_not_start_empty_on_what_a_newer_one_wrote(folder: Path, on_path: Path) -> None:
    (folder / "appendonlydir").mkdir(parents=True)
    says(on_path, "Redis server v=6.2.14 sha=0:0")

    with pytest.raises(EmbeddedRedisError, match="was written by Redis 7 or newer"):
        EmbeddedRedis(folder).start()


def test_the_server_is_found_without_any_path(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.setenv("PATH", "")
    assert shutil.which("redis-server") is None

    with EmbeddedRedis(folder) as redis, connect(redis.url) as client:
        assert ping(client) == "ready"
