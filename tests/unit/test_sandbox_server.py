"""The stand-ins on a real port."""

import http.client
import socket
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import msgspec
import pytest

from sandbox.app import Sandbox
from sandbox.server import Server, serve

QUERY = msgspec.json.encode({"query": "{ tokenInfo { name } }"})
ANSWER = b'{"data":{"tokenInfo":{"name":"sandbox"}}}'
HEADERS = {"Content-Type": "application/json", "Authorization": "Bearer any"}


@pytest.fixture
def sandbox() -> Sandbox:
    return Sandbox(sleep=lambda _: None)


@pytest.fixture
def server(sandbox: Sandbox) -> Iterator[Server]:
    with serve(sandbox) as running:
        yield running


@pytest.fixture
def connection(server: Server) -> Iterator[http.client.HTTPConnection]:
    with closing(http.client.HTTPConnection(server.host, server.port, timeout=10)) as opened:
        yield opened


def ask(connection: http.client.HTTPConnection, **more: Any) -> tuple[int, bytes]:
    connection.request("POST", "/stackadapt/graphql", QUERY, HEADERS, **more)
    response = connection.getresponse()
    return response.status, response.read()


def test_a_free_port_is_taken_and_told(server: Server) -> None:
    assert server.port > 0
    assert server.url == f"http://127.0.0.1:{server.port}"


def test_a_connection_is_kept_alive(connection: http.client.HTTPConnection) -> None:
    answers = []
    sockets = set()
    for _ in range(3):
        answers.append(ask(connection))
        sockets.add(connection.sock)

    assert answers == [(200, ANSWER)] * 3
    assert len(sockets) == 1
    assert None not in sockets


def test_a_body_that_nobody_reads_does_not_disturb_the_next_request(connection: http.client.HTTPConnection) -> None:
    connection.request("POST", "/nowhere", b"x" * 1_000_000)
    response = connection.getresponse()
    response.read()

    assert response.status == 404
    assert ask(connection) == (200, ANSWER)


def test_a_body_may_come_in_chunks(connection: http.client.HTTPConnection) -> None:
    parts = iter([QUERY[:5], QUERY[5:]])
    connection.request("POST", "/stackadapt/graphql", parts, HEADERS, encode_chunked=True)

    assert connection.getresponse().read() == ANSWER
    assert ask(connection) == (200, ANSWER)


def test_an_answer_without_a_body_keeps_the_connection(connection: http.client.HTTPConnection) -> None:
    connection.request("POST", "/_sandbox/reset")
    response = connection.getresponse()
    response.read()

    assert response.status == 204
    assert connection.sock is not None


@pytest.mark.parametrize("kind", ["reset_before", "reset_after"])
def test_a_reset_is_a_reset_of_the_connection(
    sandbox: Sandbox, connection: http.client.HTTPConnection, kind: str
) -> None:
    sandbox.stackadapt.script_faults({"rules": [{"times": 1, "fault": {"kind": kind}}]})

    with pytest.raises(ConnectionResetError):
        ask(connection)
    connection.close()
    assert ask(connection) == (200, ANSWER)


def test_a_dripping_answer_arrives_whole(sandbox: Sandbox, connection: http.client.HTTPConnection) -> None:
    sandbox.stackadapt.script_faults({"rules": [{"fault": {"kind": "drip"}}]})

    assert [ask(connection), ask(connection)] == [(200, ANSWER)] * 2


def test_a_truncated_answer_can_end_the_connection_too_early(
    sandbox: Sandbox, connection: http.client.HTTPConnection
) -> None:
    sandbox.stackadapt.script_faults({"rules": [{"fault": {"kind": "truncate", "hang_up": True}}]})

    with pytest.raises(http.client.IncompleteRead):
        ask(connection)


def test_an_error_in_the_application_is_a_500(capsys: pytest.CaptureFixture[str]) -> None:
    def broken(_environ: object, _start_response: object) -> list[bytes]:
        raise RuntimeError("broken")

    with serve(broken) as server, closing(http.client.HTTPConnection(server.host, server.port, timeout=10)) as opened:
        opened.request("GET", "/")

        assert opened.getresponse().status == 500
    assert "broken" in "".join(capsys.readouterr())


@pytest.mark.parametrize("access_log", [False, True])
def test_requests_are_logged_only_when_asked(
    sandbox: Sandbox, capsys: pytest.CaptureFixture[str], *, access_log: bool
) -> None:
    with (
        serve(sandbox, access_log=access_log) as server,
        closing(http.client.HTTPConnection(server.host, server.port, timeout=10)) as opened,
    ):
        ask(opened)

    assert ("sandbox.request" in "".join(capsys.readouterr())) is access_log


def test_closing_ends_open_connections_and_frees_the_port(sandbox: Sandbox) -> None:
    server = serve(sandbox)
    with closing(http.client.HTTPConnection(server.host, server.port, timeout=10)) as opened:
        ask(opened)
        server.close()
        server.close()

        with pytest.raises((ConnectionError, http.client.HTTPException)):
            ask(opened)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((server.host, server.port), timeout=10)
    with serve(sandbox, port=server.port) as again:
        assert again.port == server.port


def test_a_port_that_is_taken_is_an_os_error(server: Server, sandbox: Sandbox) -> None:
    with pytest.raises(OSError, match="in use"):
        serve(sandbox, port=server.port)
