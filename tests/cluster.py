"""A real Redis Cluster on loopback: nodes without replicas that share the slots."""

import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, Final

from redis import Redis
from redis.crc import key_slot
from redis.exceptions import ResponseError

from cli.embedded import server_binary
from tests.conftest import wait_until
from tests.servers import free_port, running
from worker.store.connection import connect, ping

SLOTS: Final = 16_384
PAGE: Final = 100


class Cluster:
    """Its nodes, in the order of their slots; the last ones may have none."""

    def __init__(self, nodes: Sequence[Redis], ports: Sequence[int]) -> None:
        self.nodes = nodes
        self._ports = ports

    @property
    def url(self) -> str:
        """Names a node that is not there first."""
        return f"redis+cluster://127.0.0.1:1,{self.address(0)}"

    def address(self, number: int) -> str:
        return f"127.0.0.1:{self._ports[number]}"

    def owner(self, key: str) -> int:
        """The number of the node that has the key's slot now."""
        slot = key_slot(key.encode())
        return next(number for number, node in enumerate(self.nodes) if _is_ready(node) and slot in _slots_of(node))

    def replicate(self, number: int, replica: int) -> None:
        """Make a node without slots the replica of another; returns when it has what that has."""
        replicated = _id_of(self.nodes[number])
        wait_until(lambda: replicated in _ids_known_to(self.nodes[replica]))
        tell(self.nodes[replica], "CLUSTER REPLICATE", replicated)
        wait_until(lambda: self.nodes[replica].info("replication").get("master_link_status") == "up")

    def kill(self, number: int) -> None:
        os.kill(int(self.nodes[number].info("server")["process_id"]), signal.SIGKILL)

    @contextmanager
    def moving(self, key: str, target: int) -> Iterator[None]:
        """Move a key's slot to another node as redis-cli does. Inside, half of the slot's keys have moved."""
        slot, giver, taker = key_slot(key.encode()), self.nodes[self.owner(key)], self.nodes[target]
        tell(taker, "CLUSTER SETSLOT", slot, "IMPORTING", _id_of(giver))
        tell(giver, "CLUSTER SETSLOT", slot, "MIGRATING", _id_of(taker))
        self._migrate(slot, giver, target, most=tell(giver, "CLUSTER COUNTKEYSINSLOT", slot) // 2)
        yield
        self._migrate(slot, giver, target, most=tell(giver, "CLUSTER COUNTKEYSINSLOT", slot))
        tell(taker, "CLUSTER SETSLOT", slot, "NODE", _id_of(taker))
        with suppress(ResponseError):  # one that has lost its last slot is a replica by now, and knows
            tell(giver, "CLUSTER SETSLOT", slot, "NODE", _id_of(taker))
        wait_until(lambda: slot not in _slots_of(giver))

    def _migrate(self, slot: int, giver: Redis, target: int, most: int) -> None:
        for start in range(0, most, PAGE):
            keys = tell(giver, "CLUSTER GETKEYSINSLOT", slot, min(PAGE, most - start))
            tell(giver, "MIGRATE", "127.0.0.1", self._ports[target], "", 0, 5_000, "KEYS", *keys)


@contextmanager
def cluster(folder: Path, bounds: Sequence[int]) -> Iterator[Cluster]:
    """A cluster for the time of a test. Each node has the slots from the bound before its own up to its own."""
    ports = [free_port() for _ in bounds]
    with ExitStack() as stack:
        for port in ports:
            (folder / str(port)).mkdir()
            stack.enter_context(running(server_binary().path, *_options(port), folder=folder / str(port)))
        nodes = [stack.enter_context(connect(f"redis://127.0.0.1:{port}")) for port in ports]
        for node in nodes:
            wait_until(partial(_is_ready, node))
        _join(nodes, ports, bounds)
        yield Cluster(nodes, ports)


def tell(node: Redis, *command: object) -> Any:
    """What a node answers to a command."""
    return node.execute_command(*command)  # type: ignore[no-untyped-call]  # redis-py leaves it open


def _options(port: int) -> Sequence[str]:
    return (
        *("--port", str(port), "--bind", "127.0.0.1", "--appendonly", "yes"),
        *("--cluster-enabled", "yes", "--cluster-node-timeout", "1000"),
    )


def _join(nodes: Sequence[Redis], ports: Sequence[int], bounds: Sequence[int]) -> None:
    for node, start, stop in zip(nodes, (0, *bounds), bounds, strict=False):
        if start < stop:
            tell(node, "CLUSTER ADDSLOTS", *range(start, stop))
        tell(node, "CLUSTER MEET", "127.0.0.1", ports[0])
    for node in nodes:
        wait_until(partial(_is_whole, node, len(nodes)))


def _is_ready(node: Redis) -> bool:
    return ping(node) == "ready"


def _is_whole(node: Redis, size: int) -> bool:
    info = tell(node, "CLUSTER INFO")
    return (info["cluster_state"], int(info["cluster_known_nodes"])) == ("ok", size)


def _id_of(node: Redis) -> str:
    return str(tell(node, "CLUSTER MYID").decode())


def _ids_known_to(node: Redis) -> set[str]:
    return {row["node_id"] for row in tell(node, "CLUSTER NODES").values()}


def _slots_of(node: Redis) -> set[int]:
    own = next(row for row in tell(node, "CLUSTER NODES").values() if "myself" in row["flags"])
    return {slot for first, *last in own["slots"] for slot in range(int(first), int((last or [first])[0]) + 1)}
