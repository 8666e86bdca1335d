"""`audience-relay serve`: real processes, spoken to by clients that are not ours, killed, and ended in order."""

import json
import os
import re
import signal
import socket
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, Final, cast

import httpx
import pytest
from redis import Redis
from rudderstack.analytics.client import Client as RudderStack
from segment.analytics.client import Client as Segment

from cli.embedded import EmbeddedRedis
from cli.serve import START_SECONDS
from tests.acceptance.conftest import CONFIGURATION
from tests.acceptance.test_commands import COMMAND
from tests.conftest import wait_until
from worker.contract import decode
from worker.settings import load
from worker.store.connection import connect
from worker.store.store import Store, open_store

pytestmark = pytest.mark.acceptance

KEY, SECRET = "the-write-key", "the-webhook-secret"
GATEWAY: Final = f"""
[gateway]
write_keys = ["{KEY}"]
webhook_secret = "{SECRET}"
"""
DESTINATIONS: Final = ("criteo", "taboola", "stackadapt")
MANY: Final = 3_000


class Serving:
    """A running `audience-relay serve`."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.log = folder / "serve.log"
        self._from = self.log.stat().st_size if self.log.exists() else 0
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                [COMMAND, "serve", "--config", folder / "relay.toml", *options], stdout=output, stderr=output
            )
        wait_until(lambda: self.process.poll() is not None or self.listens(), within=30)
        self.url = re.findall(r'"url": "(http://[^"]+)"', self.said())[-1]
        self.port = self.url.rpartition(":")[2]
        self.address = ("127.0.0.1", int(self.port))

    def said(self) -> str:
        """What this process wrote."""
        return self.log.read_bytes()[self._from :].decode()

    def pids(self) -> list[int]:
        """Those of the processes that take requests."""
        return [int(pid) for pid in re.findall(r"Started server process \[(\d+)\]", self.said())]

    def begun(self) -> set[int]:
        """Those of the processes beside the one that keeps them, whether they take requests already or not."""
        keeper = self.process.pid
        children = Path(f"/proc/{keeper}/task/{keeper}/children").read_text().split()
        return {int(pid) for pid in children if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()}

    def metric(self, name: str) -> float:
        found = re.search(rf"^{re.escape(name)} (\S+)$", httpx.get(f"{self.url}/metrics").text, re.MULTILINE)
        return float(found[1]) if found else 0.0

    def requests(self, route: str, status: int) -> float:
        """How many were answered so."""
        return self.metric(f'relay_gateway_requests_total{{route="{route}",status="{status}"}}')

    def post(self, path: str, body: Any, **parts: Any) -> httpx.Response:
        return httpx.post(self.url + path, json=body, auth=(KEY, ""), **parts)

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(timeout=30)

    def listens(self) -> bool:
        found = re.search(r'"url": "(http://[^"]+)"', self.said())
        if found is None:
            return False
        try:
            return httpx.get(f"{found[1]}/healthz").status_code == 200
        except httpx.TransportError:
            return False


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A configuration, and its Redis. What was logged in the end names nobody and no secret."""
    folder = tmp_path_factory.mktemp("serve")
    unused = CONFIGURATION.format(url="http://127.0.0.1:1", age=60, settle=1)
    (folder / "relay.toml").write_text(unused + GATEWAY)
    (folder / "hasty.toml").write_text(f"{unused}{GATEWAY}body_seconds = 0.2\n")
    (folder / "small.toml").write_text(f"{unused}{GATEWAY}max_event_bytes = 1024\n")
    with EmbeddedRedis(folder / ".relay"):
        yield folder
    log = folder / "serve.log"
    logged = log.read_text() if log.exists() else ""
    assert [word for word in (KEY, SECRET, "@example.com", "user-") if word in logged] == []


@pytest.fixture
def store(folder: Path) -> Iterator[Store]:
    """The Redis, empty."""
    with connect(EmbeddedRedis(folder / ".relay").url) as redis:
        redis.flushall()
    store = open_store(load(folder / "relay.toml"))
    yield store
    store.close()


@pytest.fixture
def redis(folder: Path) -> Iterator[Redis]:
    with connect(EmbeddedRedis(folder / ".relay").url) as redis:
        yield redis


@contextmanager
def serving(folder: Path, *options: str) -> Iterator[Serving]:
    running = Serving(folder, *(options or ("--port", "0")))
    try:
        yield running
    finally:
        if running.process.poll() is None:
            running.process.terminate()
            running.process.wait(timeout=30)


@pytest.fixture(scope="module")
def gateway(folder: Path) -> Iterator[Serving]:
    """One for all who do not end it."""
    with serving(folder) as running:
        yield running


def properties(number: int, audience: str) -> dict[str, Any]:
    return {"audience_key": audience, audience: number % 3 > 0, "email": f"user-{number}@example.com"}


def event(number: int, audience: str = "vip", **parts: Any) -> dict[str, Any]:
    return {
        "type": "track",
        "event": "Audience Entered",
        "messageId": f"m-{number}",
        "properties": properties(number, audience),
        **parts,
    }


def waiting(store: Store) -> dict[str, int]:
    return {name: store.lanes(name).status(10).counters["waiting"] for name in DESTINATIONS}


def message_ids(redis: Redis, destination: str = "criteo", audience: str = "vip") -> Counter[str]:
    values = cast("list[bytes]", redis.lrange(f"relay:{{{destination}}}:lane:0/{audience}", 0, -1))
    return Counter(each.change.message_id for each in decode(values))


# ── Clients that are not ours ────────────────────────────────────────────────────────────────────


def test_segments_client_delivers_every_event(gateway: Serving, store: Store, redis: Redis) -> None:
    errors: list[object] = []
    client = Segment(KEY, host=gateway.url, gzip=True, max_queue_size=MANY, on_error=lambda *each: errors.append(each))
    persona = {"personas": {"computation_class": "audience", "computation_key": "vip"}}

    for number in range(MANY):
        who, what, message_id = f"user-{number}", properties(number, "vip"), f"m-{number}"
        if number % 2:
            client.track(who, "Audience Entered", what, message_id=message_id)
        else:
            client.identify(who, what, persona, message_id=message_id)
    client.page(f"user-{MANY}", "Shop", "Home")
    client.shutdown()

    assert errors == []
    assert waiting(store) == dict.fromkeys(DESTINATIONS, MANY)
    assert message_ids(redis) == {f"m-{number}": 1 for number in range(MANY)}
    assert store.refused() == {}


def test_rudderstacks_client_delivers_every_event(gateway: Serving, store: Store, redis: Redis) -> None:
    errors: list[object] = []
    client = RudderStack(KEY, host=gateway.url, max_queue_size=MANY, on_error=lambda *each: errors.append(each))

    for number in range(MANY):
        client.track(f"user-{number}", "Audience Entered", properties(number, "vip"), message_id=f"m-{number}")
    client.group(f"user-{MANY}", "company")
    client.shutdown()

    assert errors == []
    assert waiting(store) == dict.fromkeys(DESTINATIONS, MANY)
    assert message_ids(redis) == {f"m-{number}": 1 for number in range(MANY)}
    assert store.refused() == {}


def test_rudderstacks_client_delivers_identify_calls_too(gateway: Serving, store: Store, redis: Redis) -> None:
    """It sends their traits in the context alone."""
    client = RudderStack(KEY, host=gateway.url)
    personas = {"computation_class": "audience", "computation_key": "vip", "computation_id": "vip"}

    for number in range(100):
        traits = {"vip": number % 2 == 0, "email": f"user{number}@example.com"}
        client.identify(f"user-{number}", traits, context={"personas": personas}, message_id=f"m-{number}")
    client.shutdown()

    assert waiting(store) == dict.fromkeys(DESTINATIONS, 100)
    values = cast("list[bytes]", redis.lrange("relay:{criteo}:lane:0/vip", 0, -1))
    assert {each.change.message_id: each.change.entered for each in decode(values)} == {
        f"m-{number}": number % 2 == 0 for number in range(100)
    }
    assert store.refused() == {}


@pytest.mark.parametrize("client", [Segment, RudderStack])
def test_a_client_with_a_wrong_key_gives_up_at_once(gateway: Serving, store: Store, client: Callable[..., Any]) -> None:
    """Both read `code` and `message`; RudderStack's repeats what has none."""
    errors: list[BaseException] = []
    before = gateway.requests("/v1/batch", 401)
    sender = client("wrong", host=gateway.url, on_error=lambda error, _: errors.append(error))

    sender.track("user-1", "Audience Entered", properties(1, "vip"))
    sender.shutdown()

    assert [getattr(error, "code", None) for error in errors] == ["unauthorized"]
    assert gateway.requests("/v1/batch", 401) == before + 1
    assert waiting(store) == dict.fromkeys(DESTINATIONS, 0)


def test_a_webhook_that_was_signed_by_somebody_else_is_taken(gateway: Serving, store: Store) -> None:
    body = json.dumps(event(1)).encode()
    signing = ["openssl", "dgst", "-sha1", "-hmac", SECRET, "-r"]
    signed = subprocess.run(signing, input=body, capture_output=True, check=True).stdout.split()[0].decode()

    answer = httpx.post(f"{gateway.url}/webhooks/segment", content=body, headers={"X-Signature": signed})

    assert (answer.status_code, waiting(store)["criteo"]) == (200, 1)


# ── Killed under load ────────────────────────────────────────────────────────────────────────────


class Load:
    """Threads that send until told to end, each event until it is answered, and remember what was taken."""

    def __init__(self, url: str) -> None:
        self.taken: set[str] = set()
        self.failures = 0
        self._url = url
        self._numbers = count()
        self._ending = threading.Event()
        self._threads = ThreadPoolExecutor(4)
        self._running = [self._threads.submit(self._send, many=each % 2 == 0) for each in range(4)]

    def take(self, more: int) -> None:
        """Return when so many more were taken."""
        target = len(self.taken) + more
        wait_until(lambda: len(self.taken) > target)

    def end(self) -> None:
        self._ending.set()
        for each in self._running:
            each.result(timeout=30)
        self._threads.shutdown()

    def _send(self, *, many: bool) -> None:
        with httpx.Client(base_url=self._url, auth=(KEY, ""), timeout=10) as client:
            while not self._ending.is_set():
                events = [event(next(self._numbers)) for _ in range(20 if many else 1)]
                while not self._is_taken(client, events, many=many):
                    self.failures += 1
                    self._ending.wait(0.05)
                self.taken |= {each["messageId"] for each in events}

    @staticmethod
    def _is_taken(client: httpx.Client, events: list[dict[str, Any]], *, many: bool) -> bool:
        path, body = ("/v1/batch", {"batch": events}) if many else ("/v1/track", events[0])
        try:
            return client.post(path, json=body).status_code == 200
        except httpx.TransportError:
            return False


@contextmanager
def writes_waiting(redis: Redis) -> Iterator[None]:
    """Redis writes nothing, long enough for every sender to have something on its way."""

    def now_ms() -> float:
        seconds, microseconds = redis.time()
        return seconds * 1000 + microseconds / 1000

    redis.client_pause(20_000, all=False)
    begun = now_ms()
    wait_until(lambda: now_ms() > begun + 200)
    try:
        yield
    finally:
        redis.client_unpause()


def test_killed_and_started_again_it_loses_nothing_that_was_answered_with_200(
    folder: Path, store: Store, redis: Redis
) -> None:
    with serving(folder) as gateway:
        sending = Load(gateway.url)
        sending.take(200)
        with writes_waiting(redis):
            gateway.process.kill()
            gateway.process.wait()
    with serving(folder, "--port", gateway.port) as gateway:
        sending.take(200)
        sending.end()

    found = message_ids(redis)
    assert sending.failures > 0
    assert set(found) >= sending.taken
    assert set(found.values()) == {1}
    assert store.lanes("criteo").status(1).unaccounted == 0


def test_several_processes_share_a_port_and_a_dead_one_is_replaced(folder: Path, store: Store, redis: Redis) -> None:
    with serving(folder, "--port", "0", "--workers", "2") as gateway:
        wait_until(lambda: len(gateway.pids()) == 2)
        sending = Load(gateway.url)
        sending.take(100)
        os.kill(gateway.pids()[0], signal.SIGKILL)
        wait_until(lambda: len(gateway.pids()) == 3)
        sending.take(100)
        sending.end()
        told = gateway.metric('relay_gateway_events_total{outcome="accepted",reason=""}')

        assert gateway.end() == 0
    assert set(message_ids(redis)) >= sending.taken
    assert told >= len(sending.taken) - 100  # but for what the dead one had stored and not yet counted


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="looks for processes in /proc")
def test_one_that_dies_while_it_starts_keeps_no_other_dead(folder: Path) -> None:
    with serving(folder, "--port", "0", "--workers", "2") as gateway:
        wait_until(lambda: len(gateway.pids()) == 2)
        first, second = gateway.pids()
        os.kill(first, signal.SIGKILL)
        wait_until(lambda: len(gateway.begun() - {first, second}) == 1)
        (starting,) = gateway.begun() - {first, second}
        os.kill(starting, signal.SIGSTOP)
        asked = time.monotonic() + 1.5  # by then it is asked whether it lives
        wait_until(lambda: time.monotonic() > asked)
        os.kill(starting, signal.SIGKILL)
        os.kill(second, signal.SIGKILL)

        wait_until(gateway.listens, within=START_SECONDS - 5)
        assert gateway.end() == 0


def test_when_the_one_that_keeps_them_is_killed_the_others_end_and_free_the_port(folder: Path) -> None:
    with serving(folder, "--port", "0", "--workers", "2") as gateway:
        wait_until(lambda: len(gateway.pids()) == 2)
        gateway.process.kill()
        gateway.process.wait()

        wait_until(lambda: not is_open(gateway.address))


@contextmanager
def two_serving_a_copy(folder: Path) -> Iterator[tuple[Serving, Path]]:
    """Two processes, and a configuration that is theirs alone, so that it may be changed."""
    configuration = folder / "copy.toml"
    configuration.write_text((folder / "relay.toml").read_text())
    with serving(folder, "--port", "0", "--workers", "2", "--config", str(configuration)) as gateway:
        wait_until(lambda: len(gateway.pids()) == 2)
        yield gateway, configuration


def test_on_sighup_each_of_several_processes_is_replaced_and_obeys_the_new_configuration(
    folder: Path, store: Store
) -> None:
    with two_serving_a_copy(folder) as (gateway, configuration):
        assert gateway.post("/v1/track", event(1)).status_code == 200
        configuration.write_text(configuration.read_text().replace(KEY, "another-key"))
        gateway.process.send_signal(signal.SIGHUP)
        wait_until(lambda: len(gateway.pids()) == 4 and not any(map(lives, gateway.pids()[:2])))

        answers = [gateway.post("/v1/track", event(2)).status_code for _ in range(20)]
        taken = httpx.post(f"{gateway.url}/v1/track", json=event(2), auth=("another-key", ""))
        assert gateway.end() == 0
    assert answers == [401] * 20
    assert (taken.status_code, waiting(store)["criteo"]) == (200, 2)


def test_on_sighup_a_mistake_in_the_new_configuration_is_told_in_a_line_and_those_that_serve_stay(
    folder: Path, store: Store
) -> None:
    with two_serving_a_copy(folder) as (gateway, configuration):
        configuration.write_text(configuration.read_text().replace('kind = "criteo"', 'kind = "critoe"'))
        gateway.process.send_signal(signal.SIGHUP)
        wait_until(lambda: "aborting the restart" in gateway.said())
        mistaken = subprocess.run(
            [COMMAND, "serve", "--config", configuration], capture_output=True, text=True, check=False
        )

        assert (mistaken.returncode, len(mistaken.stderr.splitlines())) == (2, 1)
        assert mistaken.stderr in gateway.said()
        assert "Traceback" not in gateway.said()
        assert gateway.post("/v1/track", event(1)).status_code == 200
        assert gateway.end() == 0


def lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


# ── The end, and slow clients ────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("workers", ["1", "2"])
def test_at_the_end_what_is_in_hand_is_answered(folder: Path, store: Store, workers: str) -> None:
    body = json.dumps({**event(1), "writeKey": KEY}).encode()
    with (
        serving(folder, "--port", "0", "--workers", workers) as gateway,
        socket.create_connection(gateway.address) as connection,
    ):
        wait_until(lambda: len(gateway.pids()) == int(workers))
        connection.sendall(head(len(body)) + body[:10])
        httpx.get(f"{gateway.url}/healthz")
        gateway.process.send_signal(signal.SIGTERM)
        wait_until(lambda: "Waiting for connections to close" in gateway.said())
        assert workers == "2" or not is_open(gateway.address)  # of several, the one that keeps them listens on
        connection.sendall(body[10:])
        answer = everything(connection)

        assert gateway.process.wait(timeout=10) == 0
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b"connection: close" in answer
    assert waiting(store)["criteo"] == 1


def test_a_client_that_sends_nothing_is_cut_off_also_at_the_end(folder: Path) -> None:
    with serving(folder, "--port", "0", "--config", str(folder / "hasty.toml")) as gateway:
        silent, late = (socket.create_connection(gateway.address) for _ in range(2))
        with silent, late:
            silent.sendall(head(100))
            answer = everything(silent)
            late.sendall(head(100))
            httpx.get(f"{gateway.url}/healthz")

            assert gateway.end(signal.SIGHUP) == 0
            assert answer.startswith(b"HTTP/1.1 408 ")
            assert everything(late).startswith(b"HTTP/1.1 408 ")


@pytest.mark.parametrize(("headers", "are_told"), [(b"authorization: Basic bm86\r\n", 401), (b"", 503)])
def test_senders_who_have_shown_no_key_leave_room_to_those_who_have(
    gateway: Serving, store: Store, headers: bytes, are_told: int
) -> None:
    """These, who never end their bodies, would take all the room there is, and small ones what is left of it."""
    before = gateway.requests("/v1/batch", are_told)
    with ExitStack() as opened, ThreadPoolExecutor(140) as threads:
        for count, size in ((140, 499_000), (40, 20_000)):
            stalling = [opened.enter_context(socket.create_connection(gateway.address)) for _ in range(count)]
            content = head(500_000, "/v1/batch", headers) + b" " * size
            list(threads.map(partial(send_all, content=content), stalling))
        wait_until(lambda: gateway.requests("/v1/batch", are_told) > before)

        known = [gateway.post("/v1/batch", {"batch": [event(1, padding="x" * 20_000)] * 20}) for _ in range(5)]

    assert [each.status_code for each in known] == [200] * 5


def send_all(connection: socket.socket, content: bytes) -> None:
    with suppress(OSError):  # it may be answered before, and cut off
        connection.sendall(content)


def test_limits_are_as_configured(folder: Path, store: Store) -> None:
    with serving(folder, "--port", "0", "--config", str(folder / "small.toml")) as gateway:
        answer = gateway.post("/v1/batch", {"batch": [event(1), event(2, padding="x" * 1024)]})

    assert answer.json() == {"success": True, "refused": [{"index": 1, "reason": "too_large"}]}


def test_a_redis_that_hangs_keeps_a_sender_for_five_seconds(gateway: Serving, store: Store, redis: Redis) -> None:
    with writes_waiting(redis):
        answer = gateway.post("/v1/track", event(1), timeout=30)

    assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
    assert 4.5 < answer.elapsed.total_seconds() < 8


def test_a_body_without_end_is_cut_off(gateway: Serving) -> None:
    before = gateway.requests("/v1/track", 413)
    sent = 0
    with socket.create_connection(gateway.address) as endless, suppress(OSError):
        endless.sendall(head(10**12))
        while sent < 10**9:
            sent += endless.send(b" " * 65_536)

    assert sent < 10**8  # what buffers on the way hold
    assert gateway.requests("/v1/track", 413) == before + 1


def test_a_redis_that_is_away_keeps_it_from_being_ready_not_from_starting(tmp_path: Path) -> None:
    unused = CONFIGURATION.format(url="http://127.0.0.1:1", age=60, settle=1)
    (tmp_path / "relay.toml").write_text(f'{unused}{GATEWAY}\n[redis]\nurl = "redis://127.0.0.1:1/0"\n')
    with serving(tmp_path) as gateway:
        ready = httpx.get(f"{gateway.url}/readyz")
        answer = gateway.post("/v1/track", event(1))

        assert gateway.end(signal.SIGINT) == 0
    assert (ready.status_code, answer.status_code) == (503, 503)
    assert 1.3 < answer.elapsed.total_seconds() < 3.5  # it repeats for that long
    assert "retry-after" in answer.headers


def test_a_port_that_is_taken_is_told_with_what_to_do(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        result = subprocess.run(
            [COMMAND, "serve", "--config", folder / "relay.toml", "--port", port],
            capture_output=True,
            text=True,
            check=False,
        )

    assert result.returncode == 2
    assert f"127.0.0.1:{port} is taken; choose another with --port" in result.stderr


def head(length: int, path: str = "/v1/track", headers: bytes = b"") -> bytes:
    lines = [f"POST {path} HTTP/1.1", "host: gateway", "content-type: application/json", f"content-length: {length}"]
    return "\r\n".join([*lines, ""]).encode() + headers + b"\r\n"


def everything(connection: socket.socket) -> bytes:
    """Until the other side closes it."""
    pieces = []
    try:
        while piece := connection.recv(65_536):
            pieces.append(piece)
    except ConnectionResetError:
        pass
    return b"".join(pieces)


def is_open(address: tuple[str, int]) -> bool:
    try:
        socket.create_connection(address).close()
    except OSError:
        return False
    return True
