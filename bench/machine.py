"""What was measured on, as far as it matters to whoever compares: processor, versions, and who else was busy."""

import os
import platform
import shutil
import subprocess
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Final

from cli.embedded import server_binary

PACKAGES: Final = ("celery", "kombu", "redis", "hiredis", "httpx", "pydantic", "msgspec", "uvloop", "uvicorn")
PEERS: Final = ("celery", "celery-batches", "kombu", "redis", "httpx", "pydantic")


def describe(peers_python: Path) -> dict[str, str]:
    """By what it is. What is not here is left out."""
    found = {
        "processor": _processor(),
        "cores": str(os.cpu_count()),
        "memory": _memory(),
        "system": f"{platform.system()} {platform.release()}",
        "Python": platform.python_version(),
        "Redis": _first_line([server_binary().path, "--version"]),
        "audience-relay": f"{version('audience-relay')} {_commit()}".strip(),
        "packages": ", ".join(f"{name} {version(name)}" for name in PACKAGES),
        "peers' packages": _peers(peers_python),
        "Node": _first_line(["node", "--version"]),
        "wrk": _first_line(["wrk", "--version"]),
        "redis-benchmark": _first_line(["redis-benchmark", "--version"]),
    }
    return {name: told for name, told in found.items() if told}


class Quiet:
    """How busy others kept the machine meanwhile: what they take is missing from every figure."""

    def __init__(self) -> None:
        self._busy, self._ours, self._started = _busy_seconds(), _our_seconds(), time.monotonic()

    def others(self) -> float | None:
        """The share of all cores, from 0 to 1, since this was made. None: this system does not tell."""
        if self._busy is None or (busy := _busy_seconds()) is None:
            return None
        theirs = busy - self._busy - (_our_seconds() - self._ours)
        return max(0.0, theirs / ((time.monotonic() - self._started) * (os.cpu_count() or 1)))


def _busy_seconds() -> float | None:
    """Of all cores since the start of the system, idle and waiting aside (`man proc_stat`)."""
    path = Path("/proc/stat")
    if not path.exists():
        return None
    user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, path.read_text().split()[1:9])
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def _our_seconds() -> float:
    """Of this process and of all that it started, once they have ended."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def _memory() -> str:
    return f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.1f} GiB"


def _peers(python: Path) -> str:
    """The versions there; nothing where that environment is not made."""
    told = f"from importlib.metadata import version; print(*(f'{{n}} {{version(n)}}' for n in {PEERS!r}), sep=', ')"
    return _first_line([str(python), "-c", told])


def _commit() -> str:
    return _first_line(["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"])


def _first_line(command: Sequence[str]) -> str:
    """Of what it prints; empty when it is not here, or wants nothing to do with that."""
    if shutil.which(command[0]) is None:
        return ""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = (done.stdout or ("" if done.returncode > 1 else done.stderr)).splitlines()
    return lines[0].strip() if lines else ""
