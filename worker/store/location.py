"""Where Redis is: what `redis.url` may say, and the broker's form of it. Pure; talks to no server."""

import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, NamedTuple
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlencode, urlsplit

from worker.errors import ConfigurationError

Form = Literal["tcp", "tls", "unix", "sentinel", "cluster", "tls cluster"]

FORMS: Final[Mapping[str, Form]] = {
    "redis": "tcp",
    "rediss": "tls",
    "unix": "unix",
    "redis+socket": "unix",
    "redis+sentinel": "sentinel",
    "sentinel": "sentinel",
    "redis+cluster": "cluster",
    "rediss+cluster": "tls cluster",
}
NO_CLUSTER: Final = (
    "a Redis Cluster cannot be the broker: Celery does not support it; "
    "set celery.broker_url to a Redis without cluster mode, or to RabbitMQ or SQS"
)
SENTINEL_SECONDS: Final = 2.0
"""How long a sentinel may take to be reached, and to answer."""

_EXAMPLES: Final[Mapping[Form, str]] = {
    "tcp": "redis://[user:password@]host[:6379][/db]",
    "tls": "rediss://[user:password@]host[:6379][/db][?ssl_ca_certs=FILE]",
    "unix": "unix:///path/redis.sock[?db=0]",
    "sentinel": "redis+sentinel://[user:password@]host1:26379,host2:26379/service[/db]",
    "cluster": "redis+cluster://[user:password@]host[:6379]",
    "tls cluster": "rediss+cluster://[user:password@]host[:6379][?ssl_ca_certs=FILE]",
}
_TLS_OPTIONS: Final = frozenset({"ssl_cert_reqs", "ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_check_hostname"})
_OPTIONS: Final[Mapping[Form, frozenset[str]]] = {
    "tcp": frozenset({"db"}),
    "tls": frozenset({"db"}) | _TLS_OPTIONS,
    "unix": frozenset({"db"}),
    "sentinel": frozenset({"db", "sentinel_username", "sentinel_password"}),
    "cluster": frozenset(),
    "tls cluster": _TLS_OPTIONS,
}
_ONLY_OURS: Final = frozenset({"rediss", "unix", "redis+sentinel", "redis+cluster", "rediss+cluster"})
_CLUSTERS: Final[frozenset[Form]] = frozenset({"cluster", "tls cluster"})
_ENCRYPTED: Final[frozenset[Form]] = frozenset({"tls", "tls cluster"})
_CERT_REQS: Final = {"none": ssl.CERT_NONE, "optional": ssl.CERT_OPTIONAL, "required": ssl.CERT_REQUIRED}
_HOST: Final = re.compile(r"(?:\[(?P<ipv6>[^\]]+)\]|(?P<name>[^:\[\]]+))(?::(?P<port>\d{1,5}))?")


class Host(NamedTuple):
    name: str
    port: int

    def __str__(self) -> str:
        return f"[{self.name}]:{self.port}" if ":" in self.name else f"{self.name}:{self.port}"


@dataclass(frozen=True, slots=True)
class RedisLocation:
    """A `redis.url`, read. Its `repr` leaves the credentials out."""

    form: Form
    hosts: tuple[Host, ...] = ()
    """The server; the sentinels; or nodes of the cluster. None for a unix socket."""
    path: str = ""
    """The unix socket."""
    service: str = ""
    """What the sentinels call the master."""
    db: int = 0
    username: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)
    options: Mapping[str, str] = field(default_factory=dict, repr=False)
    """What else the URL says: `ssl_…` for TLS, `sentinel_…` for the sentinels' own credentials."""

    @property
    def is_cluster(self) -> bool:
        return self.form in _CLUSTERS

    @property
    def tls(self) -> dict[str, Any]:
        """The TLS options as redis-py takes them, certificates required unless said otherwise; empty without TLS."""
        if self.form not in _ENCRYPTED:
            return {}
        texts = {key: value for key, value in self.options.items() if key in _TLS_OPTIONS}
        converted: dict[str, Any] = {"ssl_cert_reqs": _CERT_REQS[texts.pop("ssl_cert_reqs", "required")]}
        if "ssl_check_hostname" in texts:
            converted["ssl_check_hostname"] = texts.pop("ssl_check_hostname").lower() != "false"
        return converted | texts

    @property
    def sentinel_options(self) -> dict[str, Any]:
        """How to ask a sentinel: with its own credentials, and without repeating, for the next one knows as much."""
        own = {key.removeprefix("sentinel_"): text for key, text in self.options.items() if key.startswith("sentinel_")}
        return {"retry": None, "socket_connect_timeout": SENTINEL_SECONDS, "socket_timeout": SENTINEL_SECONDS, **own}


@dataclass(frozen=True, slots=True)
class BrokerForm:
    """What Celery is told to use a Redis as its broker."""

    url: str = field(repr=False)
    """For `broker_url`."""
    transport_options: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """To be merged into `broker_transport_options`."""
    use_ssl: Mapping[str, Any] | None = None
    """For `broker_use_ssl`. The URL says the same to kombu; Flower reads only this."""


def locate(redis_url: str) -> RedisLocation:
    """Read a `redis.url`. Raises `ConfigurationError`, whose text repeats nothing of the URL but option names."""
    parts = _split(redis_url)
    form = FORMS.get(parts.scheme)
    if form is None:
        raise _mistake(f"unknown form; write one of {', '.join(_EXAMPLES.values())}")
    userinfo, _, hosts = parts.netloc.rpartition("@")
    username, _, password = userinfo.partition(":")
    options = _options(parts.query, form)
    path, service, db = _path(parts.path, options.pop("db", None), form)
    return RedisLocation(
        form,
        hosts=_hosts(hosts, form),
        path=path,
        service=service,
        db=db,
        username=unquote(username) or None,
        password=unquote(password) or None,
        options=options,
    )


def broker_url(redis_url: str) -> BrokerForm:
    """Turn a `redis.url` into the broker's form. Raises `ConfigurationError`, also for a Redis Cluster."""
    location = locate(redis_url)
    match location.form:
        case "tcp":
            return BrokerForm(f"redis://{_authority(location)}/{location.db}")
        case "tls":
            return _tls_broker(location)
        case "unix":
            socket = f"redis+socket://{_userinfo(location)}{quote(location.path)}"
            return BrokerForm(f"{socket}?virtual_host={location.db}")
        case "sentinel":
            return _sentinel_broker(location)
        case "cluster" | "tls cluster":
            raise ConfigurationError([NO_CLUSTER])


def celery_broker(url: str) -> BrokerForm:
    """Read a `celery.broker_url`: what Celery understands stays as it stands, forms of ours are turned into Celery's.

    Raises `ConfigurationError`, also for a Redis Cluster.
    """
    scheme, separator, _ = url.partition("://")
    if not separator:
        raise ConfigurationError(["not a URL; write, for example, amqp://user:password@host//"])
    return broker_url(url) if scheme in _ONLY_OURS else BrokerForm(url)


def _tls_broker(location: RedisLocation) -> BrokerForm:
    options = {"ssl_cert_reqs": "required", **location.options}
    return BrokerForm(
        f"rediss://{_authority(location)}/{location.db}?{urlencode(options)}",
        use_ssl=location.tls,
    )


def _sentinel_broker(location: RedisLocation) -> BrokerForm:
    """Every sentinel with the credentials and the db, because kombu reads them of whichever it uses."""
    url = ";".join(f"sentinel://{_userinfo(location)}{host}/{location.db}" for host in location.hosts)
    return BrokerForm(url, {"master_name": location.service, "sentinel_kwargs": location.sentinel_options})


def _split(redis_url: str) -> SplitResult:
    try:
        parts = urlsplit(redis_url)
    except ValueError:
        raise _mistake("not a URL") from None
    if parts.fragment:
        raise _mistake("holds a #; write %23 if it belongs to the password")
    return parts


def _options(query: str, form: Form) -> dict[str, str]:
    options = dict(parse_qsl(query, keep_blank_values=True))
    unknown = sorted(options.keys() - _OPTIONS[form])
    if unknown:
        allowed = ", ".join(sorted(_OPTIONS[form])) or "none"
        raise _mistake(f"unknown option {', '.join(unknown)}; allowed: {allowed}")
    if options.get("ssl_cert_reqs", "required") not in _CERT_REQS:
        raise _mistake(f"ssl_cert_reqs must be one of {', '.join(_CERT_REQS)}")
    return options


def _path(path: str, db_option: str | None, form: Form) -> tuple[str, str, int]:
    """Socket path, service and db: which of them the URL's path tells depends on the form."""
    if form == "unix":
        if not path.startswith("/") or path == "/":
            raise _mistake(f"the socket's path is missing; write {_EXAMPLES[form]}")
        return unquote(path), "", _db(db_option or "", form)
    service, db = "", path.strip("/")
    if form == "sentinel":
        service, _, db = db.partition("/")
        if not service:
            raise _mistake(f"the service is missing; write {_EXAMPLES[form]}")
    return "", unquote(service), _db(db_option or db, form)


def _db(text: str, form: Form) -> int:
    if text and not text.isdecimal():
        raise _mistake(f"the database must be a number; write {_EXAMPLES[form]}")
    if form in _CLUSTERS and int(text or 0):
        raise _mistake("a Redis Cluster has no database but 0")
    return int(text or 0)


def _hosts(text: str, form: Form) -> tuple[Host, ...]:
    if form == "unix":
        return ()
    port = 26379 if form == "sentinel" else 6379
    texts = text.split(",") if form in {"sentinel", *_CLUSTERS} else [text]
    return tuple(_host(each, port, form) for each in texts)


def _host(text: str, port: int, form: Form) -> Host:
    match = _HOST.fullmatch(text)
    if match is None:
        raise _mistake(f"the host is missing or malformed; write {_EXAMPLES[form]}")
    return Host(unquote(match["ipv6"] or match["name"]), int(match["port"] or port))


def _authority(location: RedisLocation) -> str:
    return f"{_userinfo(location)}{location.hosts[0]}"


def _userinfo(location: RedisLocation) -> str:
    if location.username is None and location.password is None:
        return ""
    username, password = (quote(text or "", safe="") for text in (location.username, location.password))
    return f"{username}:{password}@"


def _mistake(text: str) -> ConfigurationError:
    return ConfigurationError([f"not a usable Redis URL: {text}"])
