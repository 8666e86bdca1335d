"""What `redis.url` may say, the broker's form of it, and what redis-py's errors mean."""

import os
import ssl
import stat
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from kombu import Connection
from redis import Redis
from redis import exceptions as foreign
from redis.connection import SSLConnection, UnixDomainSocketConnection
from redis.sentinel import SentinelConnectionPool

from worker.errors import ConfigurationError, StoreError, StoreFull, StoreUnavailable
from worker.settings import CelerySettings, RedisSettings, Settings
from worker.store.connection import (
    SOCKET_BYTES,
    broker_form,
    broker_url,
    connect,
    embedded_url,
    redis_url,
    socket_path,
    translated,
    verify,
)
from worker.store.location import Host, celery_broker, locate

SENTINEL_URL = "redis+sentinel://user:p%40ss@one:26380,[::2]/main%20one/3?sentinel_password=s%3Ds"

# ── Reading a URL ────────────────────────────────────────────────────────────────────────────────


def test_a_tcp_url_has_host_port_database_and_credentials() -> None:
    location = locate("redis://us%2Fer:p%40ss@[::1]:6380/2")

    assert location.form == "tcp"
    assert location.hosts == (Host("::1", 6380),)
    assert (location.db, location.username, location.password) == (2, "us/er", "p@ss")


def test_what_a_url_leaves_out_has_the_usual_value() -> None:
    location = locate("redis://h")

    assert location.hosts == (Host("h", 6379),)
    assert (location.db, location.username, location.password) == (0, None, None)


@pytest.mark.parametrize("scheme", ["unix", "redis+socket"])
def test_a_socket_url_has_a_path(scheme: str) -> None:
    location = locate(f"{scheme}://:pass@/run/my%20redis.sock?db=4")

    assert (location.form, location.path, location.db, location.password) == ("unix", "/run/my redis.sock", 4, "pass")


@pytest.mark.parametrize("scheme", ["redis+sentinel", "sentinel"])
def test_a_sentinel_url_has_hosts_and_a_service(scheme: str) -> None:
    location = locate(SENTINEL_URL.replace("redis+sentinel", scheme))

    assert location.hosts == (Host("one", 26380), Host("::2", 26379))
    assert (location.service, location.db) == ("main one", 3)
    assert location.sentinel_options["password"] == "s=s"


def test_a_cluster_url_has_nodes_and_maybe_tls() -> None:
    location = locate("rediss+cluster://one,two:7000?ssl_ca_certs=/ca.pem")

    assert location.hosts == (Host("one", 6379), Host("two", 7000))
    assert location.tls == {"ssl_cert_reqs": ssl.CERT_REQUIRED, "ssl_ca_certs": "/ca.pem"}
    assert locate("redis+cluster://one").tls == {}


@pytest.mark.parametrize(
    ("url", "mistake"),
    [
        ("localhost:6379", "unknown form; write one of redis://"),
        ("http://hush@h", "unknown form"),
        ("redis://", "the host is missing or malformed"),
        ("redis://hush@h:port", "the host is missing or malformed"),
        ("redis://hush@h/zero", "the database must be a number"),
        ("redis://hush@h?protocol=3&retry=1", "unknown option protocol, retry; allowed: db"),
        ("redis://:hu#sh@h", "holds a #; write %23"),
        ("redis://[::1", "not a URL"),
        ("rediss://h?ssl_cert_reqs=maybe", "ssl_cert_reqs must be one of none, optional, required"),
        ("unix://", "the socket's path is missing"),
        ("redis+sentinel://h1,h2", "the service is missing"),
        ("redis+sentinel://h1,/main", "the host is missing or malformed"),
        ("redis+cluster://h/1", "a Redis Cluster has no database but 0"),
        ("rediss+cluster://h/1", "a Redis Cluster has no database but 0"),
        ("redis+cluster://h?ssl_ca_certs=/ca.pem", "unknown option ssl_ca_certs; allowed: none"),
    ],
)
def test_a_url_that_cannot_be_used_says_why_and_not_what_it_holds(url: str, mistake: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        locate(url)

    assert mistake in str(raised.value)
    assert "hush" not in str(raised.value)


def test_no_repr_shows_credentials() -> None:
    url = "rediss://hush:hush@h?ssl_keyfile=hush"

    assert "hush" not in repr(locate(url))
    assert "hush" not in repr(broker_url(url.replace("?ssl_keyfile=hush", "")))


# ── The client ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "url", ["redis://h", "rediss://h", "unix:///s", "redis+sentinel://h/main"], ids=["tcp", "tls", "unix", "sentinel"]
)
def test_no_client_repeats_a_command_or_waits_without_end(url: str) -> None:
    options = connect(url).connection_pool.connection_kwargs

    assert options["retry"].get_retries() == 0
    assert options["socket_timeout"] == 10
    assert options["protocol"] == 2
    assert options["health_check_interval"] > 0
    assert not options.get("decode_responses")


def test_a_tcp_client_also_limits_connecting_and_keeps_the_connection_alive() -> None:
    options = connect("redis://h").connection_pool.connection_kwargs

    assert options["socket_connect_timeout"] == 5
    assert options["socket_keepalive"] is True


def test_a_tls_client_asks_for_certificates_unless_told_otherwise() -> None:
    strict = connect("rediss://h?ssl_ca_certs=/ca.pem").connection_pool
    loose = connect("rediss://h?ssl_cert_reqs=none&ssl_check_hostname=false").connection_pool

    assert strict.connection_class is SSLConnection
    assert strict.connection_kwargs["ssl_cert_reqs"] == ssl.CERT_REQUIRED
    assert strict.connection_kwargs["ssl_ca_certs"] == "/ca.pem"
    assert loose.connection_kwargs["ssl_cert_reqs"] == ssl.CERT_NONE
    assert loose.connection_kwargs["ssl_check_hostname"] is False


def test_a_sentinel_client_asks_all_sentinels_with_their_own_credentials() -> None:
    pool = connect(SENTINEL_URL).connection_pool

    assert isinstance(pool, SentinelConnectionPool)
    sentinels = [sentinel.connection_pool.connection_kwargs for sentinel in pool.sentinel_manager.sentinels]
    assert [(each["host"], each["port"]) for each in sentinels] == [("one", 26380), ("::2", 26379)]
    assert {each["password"] for each in sentinels} == {"s=s"}
    assert {each["socket_timeout"] for each in sentinels} == {2}
    assert (pool.connection_kwargs["username"], pool.connection_kwargs["password"]) == ("user", "p@ss")
    assert (pool.service_name, pool.connection_kwargs["db"]) == ("main one", 3)


# ── The broker's form ────────────────────────────────────────────────────────────────────────────


def kombu_options(url: str) -> dict[str, object]:
    """How kombu would make its connections to this Redis."""
    form = broker_url(url)
    transport: Any = Connection(form.url, transport_options=dict(form.transport_options)).transport
    channel = transport.Channel.__new__(transport.Channel)  # without connecting
    channel.connection = transport
    options: dict[str, object] = channel._connparams()  # noqa: SLF001 - kombu shows it nowhere else
    return options


@pytest.mark.parametrize("url", ["redis://us%2Fer:p%40ss@[::1]:6380/2", "redis://h", "redis://:p%23@h?db=1"])
def test_kombu_understands_the_tcp_form_as_we_do(url: str) -> None:
    ours = connect(url).connection_pool.connection_kwargs

    assert {key: kombu_options(url)[key] for key in ("host", "port", "db", "username", "password")} == {
        key: ours.get(key) for key in ("host", "port", "db", "username", "password")
    }


def test_kombu_understands_the_tls_form_as_we_do() -> None:
    options = kombu_options("rediss://:pass@h:6380/2?ssl_ca_certs=%2Fmy%20ca.pem&ssl_check_hostname=false")

    connection_class = options["connection_class"]
    assert isinstance(connection_class, type)
    assert issubclass(connection_class, SSLConnection)
    assert (options["ssl_cert_reqs"], options["ssl_ca_certs"]) == (ssl.CERT_REQUIRED, "/my ca.pem")
    assert options["ssl_check_hostname"] is False
    assert (options["db"], options["password"]) == (2, "pass")


def test_flower_is_told_of_tls_apart_from_the_url() -> None:
    form = broker_url("rediss://h?ssl_ca_certs=/ca.pem")

    assert form.use_ssl == {"ssl_cert_reqs": ssl.CERT_REQUIRED, "ssl_ca_certs": "/ca.pem"}
    assert broker_url("redis://h").use_ssl is None


def test_kombu_understands_the_socket_form_as_we_do() -> None:
    options = kombu_options("unix://us%2Fer:p%40ss@/run/my%20re%23dis.sock?db=4")

    connection_class = options["connection_class"]
    assert isinstance(connection_class, type)
    assert issubclass(connection_class, UnixDomainSocketConnection)
    assert (options["path"], options["db"]) == ("/run/my re#dis.sock", 4)
    assert (options["username"], options["password"]) == ("us/er", "p@ss")


def test_the_sentinel_form_names_every_sentinel_and_the_master() -> None:
    form = broker_url(SENTINEL_URL)

    assert form.url == "sentinel://user:p%40ss@one:26380/3;sentinel://user:p%40ss@[::2]:26379/3"
    assert form.transport_options["master_name"] == "main one"
    assert form.transport_options["sentinel_kwargs"]["password"] == "s=s"


def test_the_broker_asks_a_sentinel_once_and_then_the_next() -> None:
    """By default kombu's client would ask one that is away for nine seconds, at every connection."""
    asking = broker_url(SENTINEL_URL).transport_options["sentinel_kwargs"]

    assert asking["retry"] is None
    assert asking["socket_connect_timeout"] == asking["socket_timeout"] == 2


@pytest.mark.parametrize("scheme", ["redis+cluster", "rediss+cluster"])
def test_a_cluster_has_no_broker_form(scheme: str) -> None:
    with pytest.raises(ConfigurationError, match=r"a Redis Cluster cannot be the broker.* set celery.broker_url"):
        celery_broker(f"{scheme}://h:7000")


@pytest.mark.parametrize("url", ["amqp://u:p@h//", "sqs://", "redis://h/1?x=y", "redis+socket:///s?virtual_host=1"])
def test_celerys_own_forms_stay_as_they_stand(url: str) -> None:
    assert celery_broker(url).url == url


@pytest.mark.parametrize("url", ["rediss://h/1", "unix:///s", "redis+sentinel://h/main"])
def test_forms_that_only_we_know_become_celerys(url: str) -> None:
    assert celery_broker(url) == broker_url(url)


# ── Which Redis ──────────────────────────────────────────────────────────────────────────────────


def settings(folder: Path, redis: str | None = None, broker: str | None = None) -> Settings:
    return Settings(
        folder=folder, redis=RedisSettings(url=redis), celery=CelerySettings(broker_url=broker), destinations=()
    )


def test_without_a_url_redis_is_the_embedded_one_beside_the_configuration(tmp_path: Path) -> None:
    assert redis_url(settings(tmp_path)) == embedded_url(tmp_path / ".relay")
    assert redis_url(settings(tmp_path, "redis://h")) == "redis://h"


def test_the_broker_is_redis_unless_another_is_named(tmp_path: Path) -> None:
    assert broker_form(settings(tmp_path)) == broker_url(embedded_url(tmp_path / ".relay"))
    assert broker_form(settings(tmp_path, "redis://h")).url == "redis://h:6379/0"
    assert broker_form(settings(tmp_path, "redis+cluster://h", "amqp://h")).url == "amqp://h"


def test_the_socket_lies_in_its_folder_when_the_path_is_short_enough() -> None:
    assert socket_path(Path("/srv/relay/.relay")) == Path("/srv/relay/.relay/redis.sock")


def test_a_long_path_gives_a_short_socket_that_is_the_same_for_every_way_to_write_it() -> None:
    folder = Path("/srv") / ("x" * SOCKET_BYTES)
    other = Path("/srv") / ("y" * SOCKET_BYTES)

    assert len(os.fsencode(socket_path(folder))) <= SOCKET_BYTES
    assert socket_path(folder) == socket_path(folder / "sub" / "..")
    assert socket_path(folder) != socket_path(other)


def test_a_folder_name_with_signs_survives_the_url() -> None:
    url = embedded_url(Path("/srv/a b#c?d%41/.relay"))

    assert locate(url).path == "/srv/a b#c?d%41/.relay/redis.sock"
    assert unquote(urlsplit(url).path) == "/srv/a b#c?d%41/.relay/redis.sock"


@pytest.mark.parametrize("taken", ["open to others", "a link", "a file"])
def test_a_short_folder_that_is_not_private_is_refused(tmp_path: Path, taken: str) -> None:
    folder = tmp_path / ("x" * SOCKET_BYTES)
    short = socket_path(folder).parent
    try:
        match taken:
            case "open to others":
                short.mkdir()
                short.chmod(0o755)
            case "a link":
                short.symlink_to(tmp_path)
            case _:
                short.touch(mode=0o600)

        with pytest.raises(ConfigurationError, match="is not a private folder of this user"):
            socket_path(folder)
    finally:
        short.rmdir() if stat.S_ISDIR(short.lstat().st_mode) else short.unlink()


# ── The look before the start ────────────────────────────────────────────────────────────────────


class Told(Redis):
    """A Redis that says of itself what a test tells it to say."""

    def __init__(self, **info: object) -> None:
        self.said = info

    def __del__(self) -> None:
        """There is no connection to close."""

    def info(self, section: str | None = None, *args: object, **kwargs: object) -> dict[str, Any]:
        return self.said


@pytest.mark.parametrize("version", ["6.0.16", "5.0.7", "2.8"])
def test_an_older_redis_is_refused_with_its_version(version: str) -> None:
    with pytest.raises(ConfigurationError, match=f"Redis {version} is too old; 6.2 or newer is needed"):
        verify(Told(redis_version=version))


@pytest.mark.parametrize("version", ["6.2.0", "6.2", "7.0.15", "10.1.0"])
def test_redis_6_2_and_newer_will_do(version: str) -> None:
    assert verify(Told(redis_version=version)) == []


# ── Errors ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("error", "meaning"),
    [
        (foreign.ConnectionError("Error 111 connecting"), StoreUnavailable),
        (foreign.TimeoutError("Timeout reading from socket"), StoreUnavailable),
        (foreign.BusyLoadingError("Redis is loading the dataset in memory"), StoreUnavailable),
        (foreign.AuthenticationError("Authentication required."), StoreUnavailable),
        (foreign.ReadOnlyError("You can't write against a read only replica."), StoreUnavailable),
        (foreign.MasterDownError("Link with MASTER is down"), StoreUnavailable),
        (foreign.ClusterDownError("The cluster is down"), StoreUnavailable),
        (foreign.RedisClusterException("Redis Cluster cannot be connected"), StoreUnavailable),
        (foreign.ResponseError("MASTERDOWN Link with MASTER is down"), StoreUnavailable),
        (foreign.ResponseError("NOREPLICAS Not enough good replicas to write."), StoreUnavailable),
        (foreign.ResponseError("MISCONF Errors writing to the AOF file: No space left"), StoreUnavailable),
        (
            foreign.ResponseError("Error running script (call to f_1): @user_script:1: -READONLY You can't write"),
            StoreUnavailable,
        ),
        (foreign.OutOfMemoryError("command not allowed when used memory > 'maxmemory'."), StoreFull),
        (foreign.ResponseError("OOM command not allowed when used memory > 'maxmemory'."), StoreFull),
        (
            foreign.ResponseError("Error running script (call to f_1): @user_script:1: -OOM command not allowed"),
            StoreFull,
        ),
    ],
    ids=lambda value: f"{type(value).__name__} {str(value)[:12]}" if isinstance(value, Exception) else value.__name__,
)
def test_each_passing_fault_of_redis_has_a_meaning(error: Exception, meaning: type[StoreError]) -> None:
    with pytest.raises(meaning) as raised, translated():
        raise error

    assert type(raised.value) is meaning
    assert raised.value.__cause__ is error


@pytest.mark.parametrize(
    "error",
    [
        foreign.ResponseError("WRONGTYPE Operation against a key holding the wrong kind of value"),
        foreign.ResponseError("BUSYGROUP Consumer Group name already exists"),
        foreign.NoScriptError("No matching script."),
        foreign.DataError("Invalid input"),
        ValueError("ours"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_any_other_error_stays_what_it_is(error: Exception) -> None:
    with pytest.raises(type(error)) as raised, translated():
        raise error

    assert raised.value is error


def test_a_function_can_be_translated_as_a_whole() -> None:
    @translated()
    def ask(client: Redis) -> None:
        client.ping()

    for _ in range(2):
        with pytest.raises(StoreUnavailable, match="Redis cannot be reached"):
            ask(connect("unix:///nowhere"))
