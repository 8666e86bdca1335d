"""The Lua scripts, each behind one typed method of the store."""

from collections.abc import Sequence
from importlib.resources import files
from typing import Any

from redis import Redis
from redis.client import Pipeline
from redis.cluster import ClusterPipeline
from redis.commands.core import Script

_PRELUDE = "prelude.lua"


def script(client: Redis, name: str) -> Script:
    """A script of a destination; `prelude.lua` stands before it."""
    return client.register_script(_text(_PRELUDE) + _text(f"{name}.lua"))


def lone_script(client: Redis, name: str) -> Script:
    """A script that stands alone: of a credential, or of a single key."""
    return client.register_script(_text(f"{name}.lua"))


def in_pipeline(
    pipeline: Pipeline | ClusterPipeline, script: Script, keys: Sequence[str], args: Sequence[str | bytes | float]
) -> None:
    """Put a script into a pipeline, also of a cluster. It will answer `NoScriptError` where Redis does not know it.

    redis-py would ask beforehand, with a round trip of its own, and in a cluster's pipeline take no script at all.
    """
    queue: Any = pipeline  # redis-py leaves its methods untyped
    # Without a node redis-py would ask the cluster where in the command the keys stand.
    at = {"target_nodes": queue.get_node_from_key(keys[0])} if isinstance(pipeline, ClusterPipeline) else {}
    queue.execute_command("EVALSHA", script.sha, len(keys), *keys, *args, **at)


def _text(name: str) -> str:
    return files(__name__).joinpath(name).read_text(encoding="utf-8")
