"""How the command as a whole behaves: its help, and how mistakes end."""

from collections.abc import Iterator
from pathlib import Path

import click
import msgspec
import pytest
from click.testing import CliRunner, Result

from cli.failures import told
from cli.main import main
from worker.errors import StoreUnavailable


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments, prog_name="audience-relay")


def test_the_help_lists_the_commands_with_what_they_do() -> None:
    result = run("--help")

    assert result.exit_code == 0
    assert [name for name in main.commands if f"\n  {name} " not in result.output] == []
    assert "..." not in result.output.partition("Commands:")[2]


def commands(group: click.Group) -> Iterator[tuple[str, click.Command]]:
    """Every command of a group and of the groups in it, with the words that call it."""
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from ((f"{name} {inner}", each) for inner, each in commands(command))
        else:
            yield name, command


@pytest.mark.parametrize("words", dict(commands(main)))
def test_every_command_takes_a_configuration_and_has_help_that_fits_80_columns(words: str) -> None:
    result = run(*words.split(), "--help")

    assert result.exit_code == 0
    assert any("--config" in option.opts for option in dict(commands(main))[words].params)
    assert max(map(len, result.output.splitlines())) <= 80


def test_the_version_is_told() -> None:
    assert run("--version").output.startswith("audience-relay ")


def test_every_mistake_in_the_configuration_is_one_line(tmp_path: Path) -> None:
    config = tmp_path / "relay.toml"
    config.write_text('[gateway]\nport = "high"\n[[destinations]]\nkind = "criteria"\n')

    result = run("status", "--config", str(config))

    assert result.exit_code == 2
    assert [line.split(": ")[0] for line in result.stderr.splitlines()] == [f"{config}:2", f"{config}:4"]
    assert result.stdout == ""


def test_the_configuration_may_be_named_in_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RELAY_CONFIG", str(tmp_path / "nowhere.toml"))

    result = run("status")

    assert result.exit_code == 2
    assert f"{tmp_path}/nowhere.toml: not found; copy relay.example.toml" in result.stderr


def test_without_the_embedded_redis_a_command_says_how_to_start_it(config: Path) -> None:
    for words in ("load -", "status", "hold taboola", "release taboola", "dead-letters list"):
        result = run(*words.split(), "--config", str(config))

        assert result.exit_code == 2
        assert "start `audience-relay up`, or set redis.url" in result.stderr
        assert result.stdout == ""


@pytest.mark.parametrize("span", ["10", "soon"])
def test_a_hold_for_no_span_of_time_is_refused_with_how_to_write_one(config: Path, span: str) -> None:
    result = run("hold", "taboola", "--for", span, "--config", str(config))

    assert result.exit_code == 2
    assert "90s, 10m, 1h30m or 2d" in result.stderr


@pytest.mark.parametrize("numbers", ["worker", "worker=many", "workers=2", "=1", "worker=2,"])
def test_a_number_of_unknown_processes_is_refused_with_the_known_ones(config: Path, numbers: str) -> None:
    result = run("up", "-c", numbers, "--config", str(config))

    assert result.exit_code == 2
    assert "write NAME=NUMBER; the names are gateway, worker, flower" in result.stderr


def test_what_the_system_refuses_is_told_in_one_line() -> None:
    @click.command()
    def command() -> None:
        with told():
            raise PermissionError(13, "Permission denied", "relay.toml")

    result = CliRunner().invoke(command)

    assert result.exit_code == 2
    assert result.stderr == "audience-relay: relay.toml: Permission denied\n"


def test_a_reader_that_has_seen_enough_is_no_failure() -> None:
    with pytest.raises(BrokenPipeError), told():
        raise BrokenPipeError(32, "Broken pipe")


def test_what_a_newer_release_wrote_is_told_plainly() -> None:
    with pytest.raises(click.ClickException, match="was written by a newer release"), told():
        raise msgspec.DecodeError("tag 2")


def test_an_error_of_ours_is_told_with_its_own_words() -> None:
    with pytest.raises(click.ClickException, match="audience-relay: Redis cannot be reached"), told():
        raise StoreUnavailable("Redis cannot be reached")


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A configuration without redis.url, where no embedded Redis runs."""
    path = tmp_path / "relay.toml"
    path.write_text(
        '[[destinations]]\nname = "taboola"\nkind = "taboola"\naccount_id = "a"\nclient_id = "i"\nclient_secret = "s"\n'
    )
    return path
