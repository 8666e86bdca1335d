"""Whom `forget` is given: on the command line or in a file, and what is wrong with that."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from cli.handles import Handle, UnreadableHandles, read
from cli.main import main
from producers.segment import Erasure, parse
from worker.contract import Identifier

CONFIGURATION = """
[redis]
url = "redis://127.0.0.1:1/0"
[[destinations]]
name = "shop"
kind = "criteo"
advertiser_id = "4711"
client_id = "relay"
client_secret = "secret"
"""


def written(folder: Path, text: str | bytes) -> str:
    path = folder / "handles"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return str(path)


def forget(folder: Path, *arguments: str) -> Result:
    (folder / "relay.toml").write_text(CONFIGURATION)
    return CliRunner().invoke(main, ["forget", *arguments, "--config", str(folder / "relay.toml")])


def test_a_csv_file_names_its_columns(tmp_path: Path) -> None:
    path = written(tmp_path, '\ufeffUser_ID, email\r\nu-1,\r\n\r\n,"jane@example.com"\r\nu-2,joe@example.com\r\n')

    assert read(path) == [
        Handle("user_id", "u-1", f"{path}:2"),
        Handle("email", "jane@example.com", f"{path}:4"),
        Handle("email", "joe@example.com", f"{path}:5"),
        Handle("user_id", "u-2", f"{path}:5"),
    ]


def test_a_file_of_json_lines_has_one_object_a_line(tmp_path: Path) -> None:
    path = written(tmp_path, '{"email": "jane@example.com"}\n\n{"user_id": 7, "device_id": null}\n')

    assert read(path) == [Handle("email", "jane@example.com", f"{path}:1"), Handle("user_id", "7", f"{path}:3")]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "the header must name the columns"),
        ("jane@example.com\n", "the header must name the columns"),
        ("email,name\n", "the header must name the columns"),
        ('{"email": "a@example.com"}\n{"mail": "b@example.com"}\n', ":2: must be a JSON object"),
        ('{"email": "a@example.com"}\nb@example.com\n', ":2: must be a JSON object"),
        (b"email\n\xff\xfe\n", "utf-8"),
    ],
)
def test_a_file_that_is_neither_says_what_is_wanted(tmp_path: Path, text: str | bytes, says: str) -> None:
    with pytest.raises(UnreadableHandles, match=says):
        read(written(tmp_path, text))


def test_a_file_that_is_not_there_is_told_by_name(tmp_path: Path) -> None:
    with pytest.raises(UnreadableHandles, match="nowhere: No such file"):
        read(str(tmp_path / "nowhere"))


@pytest.mark.parametrize(
    ("column", "text", "identifier"),
    [
        ("email", " Jane@example.com", Identifier("email", "jane@example.com")),
        ("user_id", "u-1", Identifier("user_id", "u-1")),
        ("device_id", "d-1", Identifier("device", "d-1")),
    ],
)
def test_each_handle_asks_to_forget_whoever_has_it(column: str, text: str, identifier: Identifier) -> None:
    event = Handle(column, text, "here").as_event("r-1")

    assert parse(event, received_at=1_000) == Erasure((identifier,), 1_000, "r-1", event)


def test_nobody_named_is_a_failure(tmp_path: Path) -> None:
    result = forget(tmp_path)

    assert result.exit_code == 2


def test_a_redis_that_is_away_is_a_failure(tmp_path: Path) -> None:
    result = forget(tmp_path, "--email", "jane@example.com")

    assert result.exit_code == 2
    assert "jane" not in result.output
