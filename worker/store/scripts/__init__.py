"""The Lua scripts, each behind one typed method of the store."""

from importlib.resources import files

from redis import Redis
from redis.commands.core import Script

_PRELUDE = "prelude.lua"


def script(client: Redis, name: str) -> Script:
    """A script of a destination; `prelude.lua` stands before it."""
    return client.register_script(_text(_PRELUDE) + _text(f"{name}.lua"))


def credential_script(client: Redis, name: str) -> Script:
    """A script of a credential, which stands alone."""
    return client.register_script(_text(f"{name}.lua"))


def _text(name: str) -> str:
    return files(__name__).joinpath(name).read_text(encoding="utf-8")
