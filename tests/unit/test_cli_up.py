"""What `up` starts, and what it tells of it."""

import io
import json
from pathlib import Path

import click
import pytest
from structlog.dev import ConsoleRenderer

from cli.journal import Journal, readable
from cli.up import NUMBERS, Flower, Numbers, opening
from worker.settings import GatewaySettings, Settings

PLAIN = ConsoleRenderer(colors=False, pad_event_to=0)


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("worker=4", {"worker": 4}),
        ("worker=4,flower=0", {"worker": 4, "flower": 0}),
        ("gateway=0", {"gateway": 0}),
    ],
)
def test_numbers_of_processes_are_written_as_honcho_takes_them(text: str, numbers: dict[str, int]) -> None:
    assert Numbers().convert(text, None, None) == numbers


def test_a_second_gateway_would_want_the_same_port() -> None:
    with pytest.raises(click.BadParameter, match=r"gateway\.workers"):
        Numbers().convert("gateway=2", None, None)


@pytest.mark.parametrize(
    ("host", "port", "told"),
    [
        ("127.0.0.1", 8080, "gateway  http://127.0.0.1:8080\n"),
        ("::1", 8080, "gateway  http://[::1]:8080\n"),
        ("127.0.0.1", 0, "gateway  http://127.0.0.1, on a free port that it tells\n"),
    ],
)
def test_where_the_gateway_listens_is_told(host: str, port: int, told: str, tmp_path: Path) -> None:
    relay = Settings(folder=tmp_path, gateway=GatewaySettings(host=host, port=port), destinations=())

    assert told in opening(relay, NUMBERS, Flower.of({}))
    assert "\ngateway" not in opening(relay, NUMBERS | {"gateway": 0}, Flower.of({}))


def test_without_a_login_flower_gets_one_that_nobody_can_guess() -> None:
    one, other = Flower.of({}), Flower.of({})

    assert one.generated
    assert one.basic_auth != other.basic_auth
    assert len(one.basic_auth.partition(":")[2]) >= 16


def test_a_login_of_the_operator_is_kept_and_never_shown() -> None:
    flower = Flower.of({"FLOWER_BASIC_AUTH": "me:secret", "FLOWER_PORT": "5556"})

    assert flower.basic_auth == "me:secret"
    assert flower.describe(on_terminal=True) == "http://127.0.0.1:5556  (login as FLOWER_BASIC_AUTH says)"


def test_a_password_made_for_this_run_is_shown_on_a_terminal_only() -> None:
    flower = Flower.of({})
    password = flower.basic_auth.partition(":")[2]

    assert password in flower.describe(on_terminal=True)
    assert password not in flower.describe(on_terminal=False)
    assert "set FLOWER_BASIC_AUTH=user:password" in flower.describe(on_terminal=False)


def test_lines_are_named_and_elsewhere_than_on_a_terminal_left_as_they_are() -> None:
    output, line = io.StringIO(), '{"event": "worker.ready", "level": "info"}'

    Journal(["worker.1", "web.1"], output).say("web.1", line)

    assert output.getvalue().endswith(f" web.1    | {line}\n")


def test_on_a_terminal_a_log_line_is_made_readable() -> None:
    line = json.dumps({"event": "lane.flushed", "level": "info", "timestamp": "2026-01-01T00:00:00Z", "adds": 3})

    assert readable(line, PLAIN) == "[info     ] lane.flushed adds=3"


@pytest.mark.parametrize("line", ["Traceback (most recent call last):", "3", '{"no": "event"}', "{"])
def test_any_other_line_is_left_as_it_is(line: str) -> None:
    assert readable(line, PLAIN) == line


def test_a_terminal_that_has_gone_stops_nothing() -> None:
    class Gone(io.StringIO):
        def write(self, _text: str) -> int:
            raise OSError(5, "Input/output error")

    Journal(["worker.1"], Gone()).say("worker.1", "still here")
