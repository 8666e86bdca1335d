"""What runs workers in production: containers, systemd and the Procfile all start the same, and stop it with patience.

`compose-spec/schema.json` is the Compose Specification's own schema (github.com/compose-spec/compose-spec,
`schema/compose-spec.json`, Apache-2.0, as check-jsonschema 0.39.0 ships it).
"""

import json
import os
import re
import subprocess
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import jsonschema
import pytest
import yaml
from honcho.environ import parse_procfile

from cli.embedded import EmbeddedRedis
from cli.processes import GRACE_SECONDS
from cli.serve import ending_seconds
from cli.up import NUMBERS, PROCFILE
from worker.delivery import DEADLINE
from worker.settings import GatewaySettings

ROOT: Final = Path(__file__).parents[2]
SETTLING: Final = timedelta(seconds=15)
"""How long a worker may take after its last request."""
WORKER: Final = "celery -q -A worker.app worker --without-gossip --without-mingle --loglevel info -n"


def compose() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    return found


def procfile() -> dict[str, str]:
    return dict(parse_procfile(PROCFILE.read_text()).processes)


def dockerfile(instruction: str) -> list[str]:
    """What follows an instruction in the last stage."""
    last_stage = (ROOT / "Dockerfile").read_text().split("\nFROM ")[-1]
    return re.findall(rf"^{instruction} (.+)$", last_stage, re.MULTILINE)


def unit(key: str, name: str = "worker@") -> str:
    (found,) = re.findall(rf"^{key}=(.+)$", (ROOT / f"deploy/audience-relay-{name}.service").read_text(), re.MULTILINE)
    return str(found)


def seconds(text: str) -> timedelta:
    return timedelta(seconds=float(text.removesuffix("s")))


# ── Workers ──────────────────────────────────────────────────────────────────────────────────────


def test_the_same_worker_is_started_everywhere() -> None:
    in_container = " ".join(json.loads(dockerfile("CMD")[0]))

    assert procfile()["worker"].startswith(f"exec {WORKER} ")
    assert in_container.startswith(f"{WORKER} ")
    assert unit("ExecStart").endswith(f"/{WORKER} worker-%i@%%h")


def test_every_supervisor_waits_until_a_worker_has_settled_the_batch_in_hand() -> None:
    needed = DEADLINE + SETTLING

    assert timedelta(seconds=GRACE_SECONDS) >= needed
    assert seconds(compose()["services"]["worker"]["stop_grace_period"]) >= needed
    assert seconds(unit("TimeoutStopSec")) >= needed


def test_every_supervisor_starts_a_dead_worker_again() -> None:
    assert compose()["services"]["worker"]["restart"] == "unless-stopped"
    assert unit("Restart") == "always"


# ── The gateway ──────────────────────────────────────────────────────────────────────────────────


def test_the_same_gateway_is_started_everywhere() -> None:
    in_container = " ".join(compose()["services"]["gateway"]["command"])

    assert procfile()["gateway"] == "exec audience-relay serve"
    assert in_container.startswith("audience-relay serve ")
    assert unit("ExecStart", "gateway").endswith("/audience-relay serve")


def test_every_supervisor_waits_until_the_gateway_has_answered_what_is_in_hand() -> None:
    needed = timedelta(seconds=ending_seconds(GatewaySettings()))

    assert timedelta(seconds=GRACE_SECONDS) >= needed
    assert seconds(compose()["services"]["gateway"]["stop_grace_period"]) >= needed
    assert seconds(unit("TimeoutStopSec", "gateway")) >= needed


def test_every_supervisor_starts_a_dead_gateway_again() -> None:
    assert compose()["services"]["gateway"]["restart"] == "unless-stopped"
    assert unit("Restart", "gateway") == "always"


def test_the_gateway_of_a_container_is_published_to_its_host_only() -> None:
    (port,) = compose()["services"]["gateway"]["ports"]

    assert port.startswith("127.0.0.1:")
    assert f"--port={port.rpartition(':')[2]}" in compose()["services"]["gateway"]["command"]


# ── The image ────────────────────────────────────────────────────────────────────────────────────


def test_the_image_takes_only_what_the_lock_names_and_runs_without_rights() -> None:
    pip = [run for run in dockerfile("RUN") if "pip install" in run]

    assert dockerfile("USER") == ["relay"]
    assert all("--require-hashes -r /tmp/requirements.lock" in run or "--no-deps" in run for run in pip)


# ── docker-compose.yml ───────────────────────────────────────────────────────────────────────────


def test_the_compose_file_follows_the_specification() -> None:
    schema = json.loads((Path(__file__).parent / "compose-spec/schema.json").read_text())
    validator = jsonschema.Draft202012Validator(schema)

    assert [error.message for error in validator.iter_errors(compose())] == []


def test_the_specification_would_find_a_mistake() -> None:
    schema = json.loads((Path(__file__).parent / "compose-spec/schema.json").read_text())
    wrong = compose()
    wrong["services"]["worker"]["restarts"] = "always"

    assert not jsonschema.Draft202012Validator(schema).is_valid(wrong)


def test_redis_keeps_what_it_took_like_the_embedded_one(tmp_path: Path) -> None:
    command = compose()["services"]["redis"]["command"]
    options = dict(zip((name.removeprefix("--") for name in command[1::2]), command[2::2], strict=True))
    embedded = EmbeddedRedis(tmp_path)._options()  # noqa: SLF001 - the comparison is the point

    for name in ("appendonly", "appendfsync", "maxmemory-policy"):
        assert options[name] == embedded[name]


def test_workers_can_be_scaled() -> None:
    worker = compose()["services"]["worker"]

    assert worker.keys().isdisjoint({"container_name", "ports", "hostname"})


def test_the_configuration_is_mounted_read_only() -> None:
    for name in ("worker", "gateway", "flower"):
        (mount,) = compose()["services"][name]["volumes"]
        assert mount == "./relay.toml:/etc/audience-relay/relay.toml:ro"
    assert "RELAY_CONFIG=/etc/audience-relay/relay.toml" in (ROOT / "Dockerfile").read_text()


def test_flower_listens_on_this_host_only_and_asks_for_a_login() -> None:
    flower = compose()["services"]["flower"]

    assert [port.rpartition(":")[0] for port in flower["ports"]] == ["127.0.0.1:5555"]
    assert flower["environment"]["FLOWER_BASIC_AUTH"].startswith("${FLOWER_BASIC_AUTH:?")
    assert "--read_only" in flower["command"]


# ── Procfile ─────────────────────────────────────────────────────────────────────────────────────


def test_the_procfile_has_a_default_number_for_each_process() -> None:
    assert procfile().keys() == NUMBERS.keys()


def test_the_procfile_works_by_hand_where_everybody_looks_for_it() -> None:
    assert (ROOT / "Procfile").resolve() == PROCFILE.resolve()


@pytest.mark.parametrize("login", [None, ""])
def test_flower_does_not_start_without_a_login(login: str | None) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "FLOWER_BASIC_AUTH"}
    if login is not None:
        environment["FLOWER_BASIC_AUTH"] = login

    result = subprocess.run(
        ["sh", "-c", procfile()["flower"]], env=environment, capture_output=True, text=True, timeout=20, check=False
    )

    assert result.returncode != 0
    assert "set it to user:password" in result.stderr
