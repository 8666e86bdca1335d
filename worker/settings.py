"""relay.toml, read once at the entry point into frozen values.

Whoever mends the file learns of every mistake at once, each with its line, its place, and what is allowed.
"""

import os
import tomllib
from collections.abc import Callable
from itertools import combinations, product
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, Field, ValidationError

from worker.destinations import REGISTRY
from worker.destinations.base import DestinationSettings, Secret, Text
from worker.errors import ConfigurationError
from worker.frozen import Frozen
from worker.mistakes import Mistakes, choices
from worker.patterns import overlap
from worker.store.location import NO_CLUSTER, celery_broker, locate
from worker.toml_lines import Place, TomlLines, syntax_error

_Model = TypeVar("_Model", bound=Frozen)


def _readable_by(read: Callable[[str], object]) -> AfterValidator:
    """A text that this function can read."""

    def validate(text: str) -> str:
        try:
            read(text)
        except ConfigurationError as error:
            raise ValueError(str(error)) from None
        return text

    return AfterValidator(validate)


class RedisSettings(Frozen):
    url: Annotated[str, _readable_by(locate)] | None = Field(default=None, repr=False)
    """Absent: an embedded server for one machine, in `.relay/` under `Settings.folder`."""


class CelerySettings(Frozen):
    broker_url: Annotated[str, _readable_by(celery_broker)] | None = Field(default=None, repr=False)
    """Absent: `redis.url`, turned into the broker's form."""


class GatewaySettings(Frozen):
    host: Text = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8080
    workers: Annotated[int, Field(ge=1)] = 1
    """How many processes take requests."""
    write_keys: tuple[Secret, ...] = ()
    """Who knows one of them may send source events; without any, the HTTP API refuses everything."""
    webhook_secret: Secret | None = None
    """Signs what comes to the webhook; without it, the webhook refuses everything."""
    max_event_bytes: Annotated[int, Field(ge=1024)] = 32 * 1024
    max_batch_bytes: Annotated[int, Field(ge=1024)] = 500 * 1024
    """Both of the body as it is when it is no longer compressed."""
    body_seconds: Annotated[float, Field(gt=0)] = 10.0
    """How long a body may take to come."""


class Settings(Frozen):
    """A whole relay.toml."""

    folder: Path
    """Where the file lies."""
    redis: RedisSettings = RedisSettings()
    celery: CelerySettings = CelerySettings()
    gateway: GatewaySettings = GatewaySettings()
    destinations: tuple[DestinationSettings, ...]

    def destination(self, name: str) -> DestinationSettings:
        """The destination of that name. Raises `ConfigurationError` when there is none."""
        for destination in self.destinations:
            if destination.name == name:
                return destination
        known = ", ".join(destination.name for destination in self.destinations)
        raise ConfigurationError([f'no destination is named "{name}"; there are: {known}'])


def default_path() -> Path:
    """`$RELAY_CONFIG`, else `relay.toml` in the working directory."""
    return Path(os.environ.get("RELAY_CONFIG") or "relay.toml")


def load(path: Path) -> Settings:
    """Read a relay.toml and what its `env:` and `file:` references name.

    Raises `ConfigurationError` with all mistakes, in the order of their lines.
    """
    return read(_text(path), path)


def read(text: str, path: Path) -> Settings:
    """As `load` does, what that file could hold."""
    document = _document(path, text)
    mistakes = Mistakes(path, TomlLines(text), document)
    folder = path.resolve().parent
    resolved = _resolve(document, (), folder, mistakes)
    file = _model(_File, resolved, (), mistakes)
    destinations = _destinations(resolved.get("destinations"), mistakes)
    _check_broker(file, mistakes)
    _check_names(resolved.get("destinations"), mistakes)
    _check_pairs(destinations, mistakes)
    if mistakes or file is None:
        raise ConfigurationError(list(mistakes))
    return Settings(
        folder=folder,
        redis=file.redis,
        celery=file.celery,
        gateway=file.gateway,
        destinations=tuple(destinations.values()),
    )


# ── The file ─────────────────────────────────────────────────────────────────────────────────────


class _File(Frozen):
    """The sections, and destinations of which nothing is known before their kind."""

    redis: RedisSettings = RedisSettings()
    celery: CelerySettings = CelerySettings()
    gateway: GatewaySettings = GatewaySettings()
    destinations: Any = ()


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        advice = "copy relay.example.toml, or name another file with --config or $RELAY_CONFIG"
        raise ConfigurationError([f"{path}: not found; {advice}"]) from None
    except UnicodeDecodeError:
        raise ConfigurationError([f"{path}: not UTF-8 text"]) from None
    except OSError as error:
        raise ConfigurationError([f"{path}: cannot be read: {error.strerror}"]) from None


def _document(path: Path, text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        line, reason = syntax_error(error, text)
        raise ConfigurationError([f"{path}:{line}: not TOML: {reason}"]) from None


def _model(model: type[_Model], table: Any, place: Place, mistakes: Mistakes) -> _Model | None:
    try:
        return model.model_validate(table)
    except ValidationError as error:
        mistakes.add_invalid(place, model, error)
        return None


# ── References ───────────────────────────────────────────────────────────────────────────────────


def _resolve(value: Any, place: Place, folder: Path, mistakes: Mistakes) -> Any:
    """The value, with what they name in place of all `env:NAME` and `file:PATH` in it."""
    match value:
        case dict():
            return {key: _resolve(each, (*place, key), folder, mistakes) for key, each in value.items()}
        case list():
            return [_resolve(each, (*place, at), folder, mistakes) for at, each in enumerate(value)]
        case str() if value.startswith(("env:", "file:")):
            return _referred(value, place, folder, mistakes)
        case _:
            return value


def _referred(reference: str, place: Place, folder: Path, mistakes: Mistakes) -> str:
    try:
        return named_by(reference, folder)
    except LookupError as error:
        mistakes.add_unresolved(place, str(error.args[0]))
        return reference


def named_by(reference: str, folder: Path) -> str:
    """What an `env:NAME` or `file:PATH` (relative to the folder) names. Raises `LookupError` with the reason."""
    scheme, _, name = reference.partition(":")
    return _variable(name) if scheme == "env" else _content(folder / name)


def _variable(name: str) -> str:
    if name not in os.environ:
        raise LookupError(f"environment variable {name} is not set")
    if not os.environ[name]:
        raise LookupError(f"environment variable {name} is empty")
    return os.environ[name]


def _content(path: Path) -> str:
    """What a file holds, without a byte order mark before it and the newline at its end."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise LookupError(f"file {path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise LookupError(f"file {path} is not UTF-8 text") from None
    text = text.removesuffix("\n").removesuffix("\r")
    if not text:
        raise LookupError(f"file {path} is empty")
    return text


# ── Destinations ─────────────────────────────────────────────────────────────────────────────────

_Destinations = dict[int, DestinationSettings]
"""Those without a mistake, by their place in the file."""


def _destinations(tables: Any, mistakes: Mistakes) -> _Destinations:
    if not tables:
        mistakes.add((), "no destination; write at least one [[destinations]]")
        return {}
    if not isinstance(tables, list):
        mistakes.add(("destinations",), "must be an array of tables; write [[destinations]]")
        return {}
    built = {at: _destination(table, ("destinations", at), mistakes) for at, table in enumerate(tables)}
    return {at: destination for at, destination in built.items() if destination is not None}


def _destination(table: Any, place: Place, mistakes: Mistakes) -> DestinationSettings | None:
    if not isinstance(table, dict):
        mistakes.add(place, "must be a table; write [[destinations]]")
        return None
    kind = table.get("kind")
    if kind is None:
        mistakes.add(place, f'missing key "kind"; {choices("", REGISTRY)}')
        return None
    if kind not in list(REGISTRY):
        mistakes.add((*place, "kind"), f"unknown; {choices(kind, REGISTRY)}")
        return None
    return _model(REGISTRY[kind].Settings, table, place, mistakes)


# ── What may not be configured ───────────────────────────────────────────────────────────────────


def _check_broker(file: _File | None, mistakes: Mistakes) -> None:
    if file is None or file.celery.broker_url is not None or file.redis.url is None:
        return
    if locate(file.redis.url).is_cluster:
        mistakes.add(("redis", "url"), NO_CLUSTER)


def _check_names(tables: Any, mistakes: Mistakes) -> None:
    """Of all tables, whatever else is wrong with them."""
    first_of: dict[str, int] = {}
    for at, table in enumerate(tables if isinstance(tables, list) else []):
        name = table.get("name") if isinstance(table, dict) else None
        if isinstance(name, str) and first_of.setdefault(name, at) != at:
            line = mistakes.line(("destinations", first_of[name], "name"))
            mistakes.add(("destinations", at, "name"), f"taken by destinations[{first_of[name]}] in line {line}")


def _check_pairs(destinations: _Destinations, mistakes: Mistakes) -> None:
    for (first, one), (second, other) in combinations(destinations.items(), 2):
        reason = _same_audience(one, other) or other.conflicts_with(one)
        if reason is not None:
            mistakes.add(("destinations", second), f"may not stand beside destinations[{first}]: {reason}")


def _same_audience(one: DestinationSettings, other: DestinationSettings) -> str | None:
    """How both can write the same vendor audience, where each would undo what the other does."""
    if one.kind != other.kind or one.target() != other.target():
        return None
    if any(overlap(*pair) for pair in product(one.writes(), other.writes())):
        return "both can write the same audience of one account or advertiser; let only one of them"
    return None
