"""A fixed mix of Python, JSON and Redis that uses nothing of the relay: how fast this machine is just now.

To change it makes every stored baseline worthless.
"""

import time
from typing import Final

import msgspec
from redis import Redis

ITEMS: Final = 10_000
PIPELINED: Final = 1_000
_TEXT: Final = (
    b'{"type":"track","event":"Audience Entered","messageId":"%d","userId":"u-1",'
    b'"timestamp":"2026-11-21T10:00:00.000Z","properties":{"audience_key":"vip_buyers","vip_buyers":true},"context":{"traits":{"email":"user@example.com"},'
    b'"personas":{"computation_class":"audience","computation_key":"vip_buyers","computation_id":"aud_1"}}}'
)
_KEY: Final = "bench:calibration"


def calibrate(redis: Redis) -> float:
    """Items a second of a core, through all three."""
    started = core_seconds(redis)
    values = _json(_python())
    _redis(redis, values)
    return ITEMS / (core_seconds(redis) - started)


def core_seconds(redis: Redis) -> float:
    """What this process and its Redis have spent of a core so far. Whoever else is busy does not matter to it much."""
    server = redis.info("cpu")
    return time.process_time() + float(server["used_cpu_user"]) + float(server["used_cpu_sys"])


def _python() -> list[bytes]:
    """Calls, formatting, dictionaries and sorting."""
    newest: dict[str, tuple[int, int]] = {}
    for number in range(ITEMS):
        who = f"user{number * 7919 % ITEMS}@example.com"
        newest[who.strip().lower()] = max(newest.get(who, (0, 0)), (number, len(who)))
    ordered = sorted(newest.items(), key=lambda item: item[1])
    return [_TEXT % number for _, (number, _) in ordered]


def _json(texts: list[bytes]) -> list[bytes]:
    decode, encode = msgspec.json.Decoder().decode, msgspec.json.Encoder().encode
    return [encode(decode(text)["context"]) for text in texts]


def _redis(redis: Redis, values: list[bytes]) -> None:
    redis.delete(_KEY)
    for start in range(0, ITEMS, PIPELINED):
        pipeline = redis.pipeline(transaction=False)
        for value in values[start : start + PIPELINED]:
            pipeline.rpush(_KEY, value)
        pipeline.execute()
    redis.lrange(_KEY, 0, -1)
    redis.delete(_KEY)
