"""Connecting to real servers: directly, through sentinels, to a cluster; and Celery and Flower on the broker's form."""

import base64
import json
import socket
import subprocess
import sys
import textwrap
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from kombu import Connection
from redis import Redis
from redis.exceptions import ResponseError

from cli.embedded import EmbeddedRedis, server_binary
from tests.conftest import wait_until
from tests.servers import free_port, running
from worker.errors import ConfigurationError, StoreFull, StoreUnavailable
from worker.store.connection import broker_url, connect, ping, translated, verify

WRITE_SCRIPT = "return redis.call('set', KEYS[1], 'x')"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """The URL of a server of its own, whose settings a test may change."""
    with EmbeddedRedis(tmp_path / ".relay") as embedded:
        yield embedded.url


@pytest.fixture
def client(server: str) -> Iterator[Redis]:
    with connect(server) as connected:
        yield connected


# ── The look before the start ────────────────────────────────────────────────────────────────────


def test_the_embedded_server_is_as_it_should_be(client: Redis) -> None:
    assert verify(client) == []


def test_a_server_that_throws_changes_away_when_full_is_warned_of(client: Redis) -> None:
    client.config_set("maxmemory", "100mb")
    assert verify(client) == []

    client.config_set("maxmemory-policy", "allkeys-lru")

    assert verify(client) == ["maxmemory-policy is allkeys-lru: a full Redis throws changes away; set it to noeviction"]


def test_a_server_that_writes_no_file_is_warned_of(client: Redis) -> None:
    client.config_set("appendonly", "no")

    (warning,) = verify(client)
    assert warning.endswith("set appendonly yes")


def test_a_server_that_is_away_says_what_to_do() -> None:
    with connect("unix:///nowhere/redis.sock") as away, pytest.raises(StoreUnavailable) as raised:
        verify(away)

    assert "/nowhere/redis.sock" in str(raised.value)
    assert "start it, or mend redis.url" in str(raised.value)


def test_wrong_credentials_are_a_mistake_of_the_configuration(server: str, client: Redis) -> None:
    client.config_set("requirepass", "right")

    for url in (server, server.replace("unix://", "unix://:wrong@")):
        with connect(url) as stranger, pytest.raises(ConfigurationError, match="refuses the user name or password"):
            verify(stranger)
    with connect(server.replace("unix://", "unix://:right@")) as known:
        assert verify(known) == []


def test_a_user_that_may_look_but_not_write_is_told_what_it_needs(server: str, client: Redis) -> None:
    client.acl_setuser("narrow", enabled=True, nopass=True, keys=["*"], commands=["+info", "+ping"])

    with (
        connect(server.replace("unix://", "unix://narrow:any@")) as narrow,
        pytest.raises(ConfigurationError, match=r"may not do all; allow it \+@all"),
        translated(),
    ):
        narrow.get("anything")


def test_a_user_that_may_not_look_is_told_what_it_needs(server: str, client: Redis) -> None:
    client.acl_setuser("narrow", enabled=True, nopass=True, commands=["+get"])

    with (
        connect(server.replace("unix://", "unix://narrow:any@")) as narrow,
        pytest.raises(ConfigurationError, match=r"may not do all; allow it \+@all"),
    ):
        verify(narrow)


def test_a_replica_takes_no_writes(client: Redis) -> None:
    client.replicaof("127.0.0.1", "1")

    with pytest.raises(StoreUnavailable, match=r"is a replica .* name the master"):
        verify(client)
    with pytest.raises(StoreUnavailable), translated():
        client.set("key", "x")
    with pytest.raises(StoreUnavailable), translated():
        client.eval(WRITE_SCRIPT, 1, "key")


# ── Faults ───────────────────────────────────────────────────────────────────────────────────────


def test_a_full_server_is_full_for_commands_and_for_scripts(client: Redis) -> None:
    client.config_set("maxmemory", "1kb")

    with pytest.raises(StoreFull), translated():
        client.set("key", "x")
    with pytest.raises(StoreFull), translated():
        client.eval(WRITE_SCRIPT, 1, "key")


def test_a_scripts_own_mistake_stays_what_it_is(client: Redis) -> None:
    with pytest.raises(ResponseError), translated():
        client.eval("return nonsense", 0)


def test_a_command_whose_answer_is_lost_was_sent_once() -> None:
    """redis-py's default would have sent it eleven times."""
    with answering_all_but_rpush() as (port, received), connect(f"redis://127.0.0.1:{port}") as client:
        with pytest.raises(StoreUnavailable), translated():
            client.rpush("lane", "change")

        assert b"".join(received).count(b"RPUSH") == 1


@contextmanager
def answering_all_but_rpush() -> Iterator[tuple[int, list[bytes]]]:
    """A server that hangs up on RPUSH and is content with anything else; with what it received last each time."""
    received: list[bytes] = []

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                while (text := connection.recv(4096)) and b"RPUSH" not in text:
                    connection.sendall(b"+PONG\r\n" if b"PING" in text else b"+OK\r\n" * text.count(b"*"))
                received.append(text)

    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listener.getsockname()[1], received
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


# ── Through sentinels, and to a cluster ──────────────────────────────────────────────────────────


def test_sentinels_lead_to_the_master_for_us_and_for_the_broker(tmp_path: Path) -> None:
    port, sentinel_port = free_port(), free_port()
    binary = server_binary().path
    configuration = f"port {sentinel_port}\nbind 127.0.0.1\nsentinel monitor main 127.0.0.1 {port} 1\n"
    (tmp_path / "sentinel.conf").write_text(configuration)
    url = f"redis+sentinel://127.0.0.1:1,127.0.0.1:{sentinel_port}/main/2"

    with (
        running(binary, "--port", str(port), "--bind", "127.0.0.1", "--appendonly", "yes", folder=tmp_path),
        running(binary, "sentinel.conf", "--sentinel", folder=tmp_path),
        connect(url) as client,
        connect(f"redis://127.0.0.1:{port}/2") as master,
    ):
        wait_until(lambda: ping(client) == "ready")
        client.set("key", "x")
        sent_and_received = through_broker(url)

        assert master.get("key") == b"x"
        assert verify(client) == []
        assert sent_and_received == "wake up"


def through_broker(url: str) -> object:
    """What comes out of a queue of the broker's form of a Redis, once something was put in."""
    form = broker_url(url)
    options = {"socket_timeout": 10, "socket_connect_timeout": 5, "socket_keepalive": True, **form.transport_options}
    with (
        Connection(form.url, transport_options=options) as connection,
        closing(connection.SimpleQueue("probe")) as queue,
    ):
        queue.put("wake up")
        message = queue.get(timeout=5)
        message.ack()
        return message.payload


def test_the_lanes_may_lie_on_a_cluster(tmp_path: Path) -> None:
    port = free_port()
    arguments = ("--port", str(port), "--bind", "127.0.0.1", "--cluster-enabled", "yes", "--appendonly", "yes")

    with running(server_binary().path, *arguments, folder=tmp_path), connect(f"redis://127.0.0.1:{port}") as node:
        wait_until(lambda: ping(node) == "ready")
        node.execute_command("CLUSTER ADDSLOTS", *range(16384))
        wait_until(lambda: node.execute_command("CLUSTER INFO")["cluster_state"] == "ok")
        with connect(f"redis+cluster://127.0.0.1:{port}") as client:
            client.eval(WRITE_SCRIPT, 1, "{lane}:key")

            assert client.get("{lane}:key") == b"x"
            assert verify(client) == []
        with pytest.raises(ConfigurationError, match=r"write redis\+cluster://"):
            verify(node)


def test_a_cluster_that_is_away_is_unavailable() -> None:
    with pytest.raises(StoreUnavailable):
        connect(f"redis+cluster://127.0.0.1:{free_port()}")


@pytest.mark.parametrize(("scheme", "first"), [("redis+cluster", b"*"), ("rediss+cluster", b"\x16")])
def test_a_cluster_is_spoken_to_in_tls_when_the_url_says_so(scheme: str, first: bytes) -> None:
    """No server here speaks it: what the client says first tells a handshake (RFC 8446, 5.1) from a command."""
    said: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def hear() -> None:
            with listener.accept()[0] as connection:
                said.append(connection.recv(1))

        hearing = threading.Thread(target=hear)
        hearing.start()
        with pytest.raises(StoreUnavailable):
            connect(f"{scheme}://127.0.0.1:{listener.getsockname()[1]}")
        hearing.join()

    assert said == [first]


# ── Celery and Flower ────────────────────────────────────────────────────────────────────────────

PROBE = """
from pathlib import Path
from celery import Celery
from worker.store.connection import broker_url

form = broker_url({url!r})
app = Celery("probe")
app.conf.update(broker_url=form.url, broker_transport_options=dict(form.transport_options))

@app.task(ignore_result=True)
def note(path):
    Path(path).write_text("done")
"""
SEND = "import sys, probe; probe.note.delay(sys.argv[1])"


def test_celery_and_flower_use_the_embedded_server_as_broker(server: str, tmp_path: Path) -> None:
    (tmp_path / "probe.py").write_text(textwrap.dedent(PROBE).format(url=server))
    (tmp_path / "worker").mkdir()
    port = free_port()
    celery = (sys.executable, "-m", "celery", "-A", "probe")
    listening = (f"--port={port}", "--address=127.0.0.1", "--basic_auth=eye:open")
    working = ("--pool=threads", "--concurrency=1", "--without-gossip", "--without-mingle")

    with running(*celery, "flower", *listening, folder=tmp_path):
        subprocess.run([sys.executable, "-c", SEND, str(tmp_path / "noted")], cwd=tmp_path, check=True)
        wait_until(lambda: status(port, "/healthcheck") == 200)
        assert status(port, "/api/queues/length") == 401
        assert queue_lengths(port) == {"celery": 1}

        with running(*celery, "--workdir", str(tmp_path), "worker", *working, folder=tmp_path / "worker"):
            wait_until((tmp_path / "noted").exists)
            wait_until(lambda: queue_lengths(port) == {"celery": 0})

        assert status(port, "/tasks", as_user=True) == 200


def queue_lengths(port: int) -> dict[str, int]:
    queues = json.loads(answer(port, "/api/queues/length", as_user=True))["active_queues"]
    return {queue["name"]: queue["messages"] for queue in queues}


def status(port: int, path: str, *, as_user: bool = False) -> int | None:
    """The HTTP status; None when nobody listens."""
    try:
        answer(port, path, as_user=as_user)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code
    except OSError:
        return None
    return 200


def answer(port: int, path: str, *, as_user: bool) -> bytes:
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}")
    if as_user:
        request.add_header("Authorization", f"Basic {base64.b64encode(b'eye:open').decode()}")
    with urllib.request.urlopen(request, timeout=5) as response:  # noqa: S310 - a loopback address
        body: bytes = response.read()
        return body
