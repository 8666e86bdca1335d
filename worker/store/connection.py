"""How this project talks to Redis: one way to connect, one table of foreign errors, one look before the start.

A client repeats nothing by itself: redis-py would by default send every command up to eleven times, and a push
whose answer was lost would be there twice. Whoever calls may repeat what is safe to repeat.
"""

import hashlib
import math
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final, Literal, cast
from urllib.parse import quote

from redis import Redis
from redis.backoff import NoBackoff
from redis.cluster import ClusterNode, RedisCluster
from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    BusyLoadingError,
    ClusterDownError,
    ClusterError,
    ConnectionError,  # noqa: A004 - redis-py's own name, used in the table below only
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisClusterException,
    RedisError,
    ResponseError,
    TimeoutError,  # noqa: A004 - redis-py's own name, used in the table below only
    TryAgainError,
)
from redis.retry import Retry
from redis.sentinel import Sentinel

from worker.errors import ConfigurationError, RelayError, StoreFull, StoreUnavailable
from worker.settings import Settings
from worker.store.location import BrokerForm, RedisLocation, broker_url, celery_broker, locate

__all__ = [
    "BrokerForm",
    "broker_form",
    "broker_url",
    "connect",
    "embedded_folder",
    "embedded_url",
    "ping",
    "redis_url",
    "shut_down",
    "socket_path",
    "translated",
    "verify",
]

OLDEST: Final = (6, 2)
"""The oldest version of Redis."""
CONNECT_SECONDS: Final = 5.0
ANSWER_SECONDS: Final = 10.0
"""How long a command may take; longer than any command of this project blocks."""
HEALTH_CHECK_SECONDS: Final = 15
"""A connection idle for longer is tried with PING before it is used."""
SOCKET_BYTES: Final = 100
"""The longest path of a unix socket that every system takes (Linux: 107, macOS: 103)."""


def connect(redis_url: str) -> Redis:
    """A client for a `redis.url`, safe to share between threads. Connects when first used, to a cluster at once.

    Raises `ConfigurationError` for a URL that cannot be read, `StoreUnavailable` for a cluster that is away.
    """
    location = locate(redis_url)
    match location.form:
        case "sentinel":
            return _through_sentinels(location)
        case "cluster" | "tls cluster":
            return _to_cluster(location)
        case "unix":
            return Redis(unix_socket_path=location.path, **_client_options(location))
        case "tcp" | "tls":
            return Redis(*location.hosts[0], **_client_options(location))


@contextmanager
def translated() -> Iterator[None]:
    """Turns redis-py's errors into `StoreUnavailable`, `StoreFull` or, for missing rights, `ConfigurationError`.

    Serves as a decorator, too. An error that is neither (a wrong type, a script's own refusal) stays what it is.
    """
    try:
        yield
    except (RedisError, RedisClusterException) as error:
        meaning = _meaning(error)
        if meaning is None:
            raise
        raise meaning from error


def verify(client: Redis) -> list[str]:
    """Look whether this Redis, or each node of the cluster, will do, and return warnings, each with what to set.

    Raises `ConfigurationError` when it never will (too old, wrong credentials, a cluster's node), `StoreUnavailable`
    when it cannot be reached or is a replica.
    """
    infos = _reachable(client)
    mistakes = [mistake for info in infos for mistake in _unfit(client, info)]
    if mistakes:
        raise ConfigurationError(list(dict.fromkeys(mistakes)))
    if infos[0].get("role") == "slave":
        raise StoreUnavailable(
            "this Redis is a replica and takes no writes; name the master in redis.url, "
            "or the sentinels: redis+sentinel://host1:26379,host2:26379/service"
        )
    return list(dict.fromkeys(warning for info in infos for warning in _warnings(info)))


def memory_used(client: Redis) -> float:
    """How much of its `maxmemory` Redis uses, 0 without one; of a cluster, the node that is fullest."""
    return max(
        int(memory["used_memory"]) / (int(memory.get("maxmemory") or 0) or math.inf)
        for memory in infos(client, "memory")
    )


def infos(client: Redis, *sections: str) -> list[dict[str, Any]]:
    """What Redis tells of itself; of a cluster, what each node tells that has slots."""
    with translated():
        if isinstance(client, RedisCluster):
            return [client.info(*sections, target_nodes=node) for node in client.get_primaries()]
        return [client.info(*sections)]


def ping(client: Redis) -> Literal["ready", "loading", "away"]:
    """Whether Redis answers; `loading`: it is up, and reads its file."""
    try:
        client.ping()
    except BusyLoadingError:
        return "loading"
    except RedisError:
        return "away"
    return "ready"


def shut_down(client: Redis) -> None:
    """Order the server to end, its append-only file written. Whether it does is for the caller to see."""
    with suppress(RedisError):  # it ends before it answers
        client.shutdown()


def redis_url(settings: Settings) -> str:
    """The configured Redis; without one, the embedded server's socket."""
    return settings.redis.url or embedded_url(embedded_folder(settings))


def broker_form(settings: Settings) -> BrokerForm:
    """What Celery is told: `celery.broker_url`, or else the broker's form of `redis_url`."""
    if settings.celery.broker_url is not None:
        return celery_broker(settings.celery.broker_url)
    return broker_url(redis_url(settings))


def embedded_folder(settings: Settings) -> Path:
    """Where the embedded server lives: beside the configuration."""
    return settings.folder / ".relay"


def embedded_url(folder: Path) -> str:
    """The URL of the embedded server of a `.relay` folder, whether it runs or not."""
    return f"unix://{quote(str(socket_path(folder)))}?db=0"


def socket_path(folder: Path) -> Path:
    """Where the embedded server of a `.relay` folder listens: in the folder, or, where that is too long for a socket,
    in a short private one that every process of this user derives alike.

    Raises `ConfigurationError` when somebody else made that folder.
    """
    folder = folder.resolve()
    path = folder / "redis.sock"
    if len(os.fsencode(path)) <= SOCKET_BYTES:
        return path
    digest = hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]
    # Not tempfile.gettempdir(): TMPDIR differs between processes and may itself be long.
    short = Path("/tmp") / f"audience-relay-{os.getuid()}-{digest}"  # noqa: S108 - its owner and mode are checked
    _refuse_foreign(short)
    return short / "redis.sock"


# ── Clients ──────────────────────────────────────────────────────────────────────────────────────


def _through_sentinels(location: RedisLocation) -> Redis:
    options = _client_options(location)
    to_sentinels = _socket_options() | location.sentinel_options
    sentinel: Any = Sentinel(location.hosts, sentinel_kwargs=to_sentinels, **options)  # type: ignore[no-untyped-call]
    return cast("Redis", sentinel.master_for(location.service))


def _to_cluster(location: RedisLocation) -> Redis:
    """A cluster's client has the commands of `Redis`, if not its type."""
    options = _client_options(location)
    del options["db"]  # a cluster has only one
    nodes = [ClusterNode(*host) for host in location.hosts]  # type: ignore[no-untyped-call]  # redis-py leaves it open
    with translated():
        return cast("Redis", _Cluster(startup_nodes=nodes, **options))


class _Cluster(RedisCluster):
    """A cluster that may move its slots to nodes which had none when it was asked for its nodes."""

    def get_node(
        self, host: str | None = None, port: int | None = None, node_name: str | None = None
    ) -> ClusterNode | None:
        """redis-py asks for the node that an ASK names, and breaks when it does not know it."""
        node: ClusterNode | None = super().get_node(host, port, node_name)  # type: ignore[no-untyped-call]  # as above
        if node is None and node_name is not None:
            raise ConnectionError(f"a slot moves to {node_name}, which is new in the cluster")
        return node


def _client_options(location: RedisLocation) -> dict[str, Any]:
    tls = {"ssl": True, **location.tls} if location.tls else {}
    credentials = {"username": location.username, "password": location.password}
    return {"db": location.db, **credentials, **tls, **_socket_options()}


def _socket_options() -> dict[str, Any]:
    return {
        "protocol": 2,  # kombu shares the package and speaks 2; one form of answers for both
        "retry": Retry(NoBackoff(), 0),
        "socket_connect_timeout": CONNECT_SECONDS,
        "socket_timeout": ANSWER_SECONDS,
        "socket_keepalive": True,
        "health_check_interval": HEALTH_CHECK_SECONDS,
    }


# ── Errors ───────────────────────────────────────────────────────────────────────────────────────

# A script on Redis 6.2 reports them inside its own text: "Error running script (…): -OOM command not allowed".
_FULL: Final = re.compile(r"(?:^|[ :]-)OOM\b")
_UNAVAILABLE: Final = re.compile(
    r"(?:^|[ :]-)(?:READONLY|LOADING|MASTERDOWN|CLUSTERDOWN|TRYAGAIN|NOREPLICAS|MISCONF|BUSY|UNBLOCKED)\b"
)


def _meaning(error: Exception) -> RelayError | None:
    if isinstance(error, NoPermissionError):
        return ConfigurationError([f"redis.url: this user of Redis may not do all; allow it +@all ~*: {error}"])
    if isinstance(error, OutOfMemoryError) or (isinstance(error, ResponseError) and _FULL.search(str(error))):
        return StoreFull("Redis is at its maxmemory; draining goes on, append again when there is room")
    if isinstance(error, (ConnectionError, TimeoutError, RedisClusterException)):
        return StoreUnavailable(f"Redis cannot be reached: {error}")
    if type(error) is ClusterError:
        return StoreUnavailable("the Redis Cluster is moving the slot of these keys; repeat when it has")
    if isinstance(error, (ReadOnlyError, ClusterDownError, TryAgainError)) or _UNAVAILABLE.search(str(error)):
        return StoreUnavailable(f"Redis cannot take commands now: {error}")
    return None


# ── The look before the start ────────────────────────────────────────────────────────────────────


def _reachable(client: Redis) -> list[dict[str, Any]]:
    try:
        return infos(client)
    except StoreUnavailable as error:
        if isinstance(error.__cause__, (AuthenticationError, AuthorizationError)):
            raise ConfigurationError(["redis.url: Redis refuses the user name or password"]) from error
        advice = "start it, or mend redis.url; without redis.url, `audience-relay up` brings its own"
        raise StoreUnavailable(f"{error}; {advice}") from error


def _unfit(client: Redis, info: dict[str, Any]) -> list[str]:
    found = str(info.get("redis_version", "0.0"))
    if tuple(int(part) for part in found.split(".")[:2]) < OLDEST:
        return [f"redis.url: Redis {found} is too old; 6.2 or newer is needed"]
    if info.get("redis_mode") == "cluster" and isinstance(client, Redis):
        form = "redis+cluster:// (with TLS rediss+cluster://)"
        return [f"redis.url: this is a node of a Redis Cluster; write {form}, and set celery.broker_url"]
    return []


def _warnings(info: dict[str, Any]) -> list[str]:
    warnings = []
    policy = info.get("maxmemory_policy", "noeviction")
    if policy != "noeviction":
        warnings.append(f"maxmemory-policy is {policy}: a full Redis throws changes away; set it to noeviction")
    if not info.get("aof_enabled", 1):
        warnings.append("appendonly is off: what Redis has taken may be lost when it ends; set appendonly yes")
    return warnings


# ── The embedded server's socket ─────────────────────────────────────────────────────────────────


def _refuse_foreign(folder: Path) -> None:
    """In a folder that everybody may write to, the name may be taken by somebody who wants our changes."""
    try:
        found = folder.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or stat.S_IMODE(found.st_mode) & 0o077:
        raise ConfigurationError([f"{folder} is not a private folder of this user; remove it, or set redis.url"])
