"""Loads as an operator runs them: killed and run again, cut off, told in a file; and how much memory they take."""

import gzip
import json
import os
import signal
import subprocess
import sysconfig
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Final, cast

import pytest
from redis import Redis

from cli.embedded import EmbeddedRedis
from tests.conftest import wait_until
from worker.store.connection import connect

pytestmark = pytest.mark.acceptance

COMMAND: Final = Path(sysconfig.get_path("scripts")) / "audience-relay"
CONFIGURATION: Final = """
[redis]
url = "{url}"

[[destinations]]
name = "criteo"
kind = "criteo"
advertiser_id = "4711"
client_id = "relay"
client_secret = "secret"

[[destinations]]
name = "taboola"
kind = "taboola"
account_id = "my-account"
client_id = "relay"
client_secret = "secret"
"""
STAMP_DIGITS: Final = 13


class Machine:
    """A folder with a configuration and files, and a Redis."""

    def __init__(self, folder: Path, redis: Redis) -> None:
        self.folder = folder
        self.redis = redis

    def write(self, name: str, lines: Iterable[bytes]) -> Path:
        path = self.folder / name
        content = b"".join(lines)
        path.write_bytes(gzip.compress(content, compresslevel=1) if path.suffix == ".gz" else content)
        return path

    def start(
        self, *arguments: str | Path, stdout: int = subprocess.PIPE, stderr: int = subprocess.PIPE
    ) -> "subprocess.Popen[str]":
        environment = os.environ | {"RELAY_CONFIG": str(self.folder / "relay.toml")}
        return subprocess.Popen(
            [COMMAND, "load", *arguments],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            text=True,
            # Also where the tests run in the background of a shell, which has its children ignore SIGINT.
            preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 - starts no thread
        )

    def load(
        self,
        *arguments: str | Path,
        ends_with: int = 0,
        stdout: int = subprocess.PIPE,
        stderr: int = subprocess.PIPE,
    ) -> "subprocess.CompletedProcess[str]":
        process = self.start(*arguments, stdout=stdout, stderr=stderr)
        output, errors = process.communicate(timeout=60)
        assert process.returncode == ends_with, errors
        return subprocess.CompletedProcess(process.args, process.returncode, output, errors)

    def accepted(self) -> int:
        return int(self.redis.hget("relay:{criteo}:counters", "accepted") or 0)

    def lanes(self) -> dict[bytes, list[bytes]]:
        """Every lane's changes, in order, without the times of their arrival."""
        return {
            lane: [value[STAMP_DIGITS:] for value in cast("list[bytes]", self.redis.lrange(lane, 0, -1))]
            for lane in sorted(self.redis.scan_iter("relay:{*}:lane:*"))
        }


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    with EmbeddedRedis(tmp_path / ".relay") as redis, connect(redis.url) as client:
        (tmp_path / "relay.toml").write_text(CONFIGURATION.format(url=redis.url))
        yield Machine(tmp_path, client)


def event(number: int) -> bytes:
    """Without a message id; one in a thousand is none."""
    if number % 1_000 == 999:
        return b'{"type": "page"}\n'
    audience = f"audience {number % 7 // 2}"
    return (
        b"%s\n"
        % json.dumps(
            {
                "type": "track",
                "event": "Audience Exited" if number % 5 == 0 else "Audience Entered",
                "timestamp": f"2026-01-01T00:{number // 60 % 60:02}:{number % 60:02}Z",
                "properties": {"audience_key": audience, "email": f"person{number % 5_000}@example.com"},
                "context": {"personas": {"computation_key": audience}},
            }
        ).encode()
    )


@pytest.mark.parametrize("name", ["events.ndjson", "events.ndjson.gz"])
def test_a_load_that_is_killed_again_and_again_ends_as_one_that_was_not(machine: Machine, name: str) -> None:
    count = 40_000
    path, refused = machine.write(name, map(event, range(count))), machine.folder / "refused.ndjson"
    arguments = ("--json", "--refused", refused, path)
    undisturbed = machine.load(*arguments, ends_with=1)
    lanes, told = machine.lanes(), refused.read_bytes()
    machine.redis.flushall()
    refused.unlink()

    for part in (0.2, 0.6):
        process = machine.start(*arguments)
        wait_until(lambda enough=count * part: machine.accepted() > enough)  # type: ignore[misc]  # mypy sees no default
        process.send_signal(signal.SIGKILL)
        process.communicate()
    again = machine.load(*arguments, ends_with=1)

    assert f"{path}: goes on after line " in again.stderr
    assert machine.lanes() == lanes
    assert sum(map(len, lanes.values())) == 2 * (count - count // 1_000)
    assert again.stdout == undisturbed.stdout
    assert refused.read_bytes() == told
    assert not list(machine.redis.scan_iter("relay:{bookmarks:}*"))


def test_a_load_that_is_interrupted_says_that_it_goes_on(machine: Machine) -> None:
    path = machine.write("events.ndjson", map(event, range(100_000)))
    process = machine.start(path)
    wait_until(lambda: machine.accepted() > 10_000)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=20)

    assert process.returncode == 130
    assert errors.splitlines()[-1] == "what was read stays loaded; load the same files again, and it goes on there"


def test_an_archive_that_was_cut_off_ends_with_2_and_goes_on_when_it_is_whole(machine: Machine) -> None:
    path = machine.write("events.ndjson.gz", (line for line in map(event, range(20_000)) if b"page" not in line))
    whole = path.read_bytes()
    path.write_bytes(whole[:-1000])

    result = machine.load(path, ends_with=2)
    accepted = machine.accepted()
    machine.load(path, ends_with=2)

    assert f"{path}: its compressed data ends in the middle; it was read up to line {accepted:,}" in result.stderr
    assert machine.accepted() == accepted > 10_000

    path.write_bytes(whole)
    result = machine.load(path)

    assert result.stdout.splitlines()[0] == "19,980 source events read, 19,980 accepted, 0 refused"
    assert machine.accepted() == 19_980


def test_mending_the_configuration_does_not_mend_what_was_refused_before_and_that_is_told(machine: Machine) -> None:
    path, configuration = machine.write("events.ndjson", map(event, range(60_000))), machine.folder / "relay.toml"
    right = configuration.read_text()
    typo = '\n[destinations.mapping]\naudience = "properties.audiense_key"\n'
    configuration.write_text(right.partition('\n[[destinations]]\nname = "taboola')[0] + typo)
    process = machine.start(path)
    wait_until(lambda: int(machine.redis.hget("relay:refused", "audience") or 0) > 10_000)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=20)

    configuration.write_text(right)
    errors = machine.load(path, ends_with=1).stderr.splitlines()

    (goes_on,) = (each for each in errors if f"{path}: goes on after line " in each)
    line = goes_on.partition("after line ")[2].partition(", where")[0]
    stays = f"{path}: before that, {line} source events refused; that stays so, whatever relay.toml says now"
    assert errors[errors.index(goes_on) + 1] == stays


# ── Refused lines ────────────────────────────────────────────────────────────────────────────────


def test_a_load_goes_on_with_its_list_though_the_file_is_named_in_another_way(machine: Machine) -> None:
    path, refused = machine.write("events.ndjson", map(event, range(40_000))), machine.folder / "refused.ndjson"
    process = machine.start("--refused", refused, path)
    wait_until(lambda: machine.accepted() > 20_000)
    process.send_signal(signal.SIGKILL)
    process.communicate()

    machine.load("--refused", refused, machine.folder / ".." / machine.folder.name / path.name, ends_with=1)

    assert [json.loads(line)["line"] for line in refused.read_text().splitlines()] == list(range(1_000, 40_001, 1_000))


def test_refused_lines_may_go_to_standard_output(machine: Machine) -> None:
    path = machine.write("events.ndjson", [b"{\n", event(1)])

    to_a_pipe = machine.load("--refused", "/dev/stdout", path, ends_with=1)
    with (machine.folder / "output").open("w") as output:
        machine.load("--refused", "/dev/stdout", path, ends_with=1, stdout=output.fileno())

    assert to_a_pipe.stdout.splitlines()[:2] == [
        json.dumps({"file": str(path), "line": 1, "reason": "json"}),
        "2 source events read, 1 accepted, 1 refused",
    ]
    assert (machine.folder / "output").read_text() == to_a_pipe.stdout


# ── Streams that nobody reads, or that are closed ────────────────────────────────────────────────


@pytest.fixture
def unread() -> Iterator[int]:
    """The writing end of a pipe whose reader has gone."""
    reading, writing = os.pipe()
    os.close(reading)
    yield writing
    os.close(writing)


def test_whoever_reads_the_output_may_go_and_the_outcome_is_told_by_the_exit_code(
    machine: Machine, unread: int
) -> None:
    good, bad = machine.write("good.ndjson", [event(1)]), machine.write("bad.ndjson", [event(2), b"{"])

    result = machine.load(good, stdout=unread)
    machine.load(good, "--json", stdout=unread, stderr=unread)
    machine.load(bad, ends_with=1, stdout=unread, stderr=unread)
    machine.load(bad, "--refused", "/dev/stdout", ends_with=1, stdout=unread)
    machine.load(bad, machine.folder / "missing", ends_with=2, stdout=unread, stderr=unread)

    assert result.stderr == ""
    assert machine.accepted() == 4


def test_a_load_goes_on_though_nobody_reads_that_it_does(machine: Machine, unread: int) -> None:
    path = machine.write("events.ndjson.gz", (line for line in map(event, range(20_000)) if b"page" not in line))
    whole = path.read_bytes()
    path.write_bytes(whole[:-1000])
    machine.load(path, ends_with=2)
    path.write_bytes(whole)

    machine.load(path, stdout=unread, stderr=unread)

    assert machine.accepted() == 19_980


def test_a_closed_standard_input_is_told(machine: Machine) -> None:
    good = machine.write("good.ndjson", [event(1)])
    closed = ["bash", "-c", f"exec {COMMAND} load --config {machine.folder}/relay.toml {good} - <&-"]

    result = subprocess.run(closed, capture_output=True, text=True, check=False)

    assert result.returncode == 2
    assert result.stderr == (
        "audience-relay: -: standard input is closed; pipe source events into it, or name a file\n"
    )
    assert machine.accepted() == 0


# ── Memory ───────────────────────────────────────────────────────────────────────────────────────


def most_memory(machine: Machine, arguments: Sequence[str], content: Iterable[bytes]) -> int:
    """How many MB a load of so much standard input takes at most."""
    environment = os.environ | {"RELAY_CONFIG": str(machine.folder / "relay.toml")}
    process = subprocess.Popen(
        [COMMAND, "load", *arguments, "-"], env=environment, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL
    )
    assert process.stdin is not None
    process.stdin.writelines(content)
    process.stdin.close()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return usage.ru_maxrss // 1024


def some_ndjson(megabytes: int) -> Iterator[bytes]:
    lines = [event(number) for number in range(999)]
    block = b"".join(lines)
    yield from (block for _ in range(megabytes * 1_000_000 // len(block)))


def some_csv(megabytes: int) -> Iterator[bytes]:
    """Compressed, each block a member; the note is three quarters of it."""
    yield gzip.compress(b"email,audience,entered,note\n")
    block = b"".join(b'p%d@example.com,vip,yes,"%s\n"\n' % (number, b"x" * 400) for number in range(1_000))
    yield from [gzip.compress(block)] * (megabytes * 1_000_000 // len(block))


def test_memory_does_not_grow_with_what_is_loaded(machine: Machine) -> None:
    few, many = (most_memory(machine, [], some_ndjson(megabytes)) for megabytes in (5, 50))

    assert many < few + 4
    assert machine.accepted() > 150_000


def test_memory_does_not_grow_with_a_compressed_table(machine: Machine) -> None:
    arguments = ("--dry-run", "--format", "csv", "--map", "note=")

    few, many = (most_memory(machine, arguments, some_csv(megabytes)) for megabytes in (5, 50))

    assert many < few + 4
