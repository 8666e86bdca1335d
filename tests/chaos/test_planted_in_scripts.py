"""Each of these defects of a script is found by the machine that holds lanes against their model."""

import pytest
from hypothesis.stateful import run_state_machine_as_test
from redis import Redis
from redis.exceptions import ResponseError

from tests.chaos.lane_machine import machine_for
from tests.chaos.planted import SEARCH, InScript
from worker.errors import RelayError

TRIM = "redis.call('LTRIM', lane_key(lane), 1, -1)\n"

DEFECTS = {
    "trim before send": InScript("extend.lua", "local ends =", TRIM + "local ends ="),
    "trim at the lease": InScript("lease.lua", "park(lane, ends)", TRIM + "park(lane, ends)"),
    "no token check in settle": InScript("settle.lua", "if not holds_lease(lane, ARGV[2]) then", "if false then"),
    "no token check in extend": InScript("extend.lua", "if not holds_lease(lane, ARGV[2]) then", "if false then"),
    "no token check in hold": InScript("hold.lua", "if not holds_lease(lane, ARGV[2]) then", "if false then"),
    "retry at the tail": InScript(
        "hold.lua",
        "redis.call('HDEL', LEASES, lane)",
        "redis.call('HDEL', LEASES, lane) redis.call('RPUSH', lane_key(lane), redis.call('LPOP', lane_key(lane)))",
    ),
    "since not recomputed after a partial trim": InScript(
        "prelude.lua",
        "local stamp = string.sub(redis.call('LINDEX', lane_key(lane), 0), 1, 13)",
        "local stamp = integer(now)",
    ),
    "depth not recomputed": InScript("prelude.lua", "redis.call('ZADD', DEPTH, depth, lane)", ""),
    "accepted counted on a repeated chunk": InScript(
        "append.lua",
        "if before then",
        "if before then redis.call('HINCRBY', COUNTERS, 'accepted', before)",
    ),
    "a chunk remembered for which there was no room": InScript(
        "append.lua",
        "local room, needed =",
        "redis.call('SET', chunk, '0', 'PX', ARGV[3]) local room, needed =",
    ),
    "a message id known for one window only": InScript(
        "append.lua", "is_known(current - 1, digest) or redis", "is_known(current - 2, digest) or redis"
    ),
    "append takes a lane out of its hold": InScript(
        "append.lua", "if not redis.call('ZSCORE', PARKED, lane) then", "if true then"
    ),
    "a hold by hand forgotten when the batch in hand is settled": InScript(
        "settle.lua", "if hold and not (hold.by_hand and lasts(hold, now)) then", "if hold then"
    ),
    "release before the vendor has settled": InScript(
        "release.lua", "if hold and (hold.settles or 0) > now then", "if false then"
    ),
    "what has to settle forgotten under a hold by hand": InScript(
        "prelude.lua", "hold.settles = math.max(hold.settles or 0, settles)", "hold.settles = hold.settles or 0"
    ),
    "release frees a lane that is leased": InScript("release.lua", "if not lease_of(lane) then", "if true then"),
    "a lost lease leaves no time to the vendor": InScript(
        "prelude.lua", "if lease.sent > 0 and lease.sent + settle_ms > now then", "if false then"
    ),
    "a request does not count as sent": InScript("extend.lua", "integer(now + tonumber(ARGV[4]))", "'0'"),
    "a lost lease is kept": InScript(
        "prelude.lua", "      redis.call('HDEL', LEASES, lane)\n      if lease.sent > 0", "      if lease.sent > 0"
    ),
    "max_in_flight ignored": InScript("lease.lua", "if redis.call('HLEN', LEASES) >= allowance(", "if 0 >= allowance("),
    "no single probe after a hold": InScript(
        "prelude.lua", "return lasts(hold, now) and 0 or 1", "return max_in_flight"
    ),
    "the youngest lane first": InScript(
        "lease.lua",
        "redis.call('ZRANGEBYSCORE', SINCE, '-inf', integer(now - tonumber(ARGV[5])), 'LIMIT', 0, 1)",
        "redis.call('ZREVRANGEBYSCORE', SINCE, integer(now - tonumber(ARGV[5])), '-inf', 'LIMIT', 0, 1)",
    ),
    "wake-ups not limited": InScript("wake.lua", "- redis.call('ZCARD', WAKEUPS)", ""),
    "wake-ups for nothing": InScript("wake.lua", "math.min(room, due, #ARGV - 6)", "math.min(room, #ARGV - 6)"),
    "a wake-up begun after its claim ran out": InScript(
        "begin.lua", "if not ends or tonumber(ends) <= now then", "if not ends then"
    ),
    "what is buried is not counted": InScript(
        "settle.lua", "redis.call('HINCRBY', COUNTERS, 'buried', #ARGV - first_letter + 1)", ""
    ),
    "replay at the tail": InScript(
        "replay.lua", "redis.call('LPUSH', key, values[i][1])", "redis.call('RPUSH', key, values[i][1])"
    ),
    "no token check in an erasure": InScript("erase.lua", "if not holds_lease(lane, ARGV[2]) then", "if false then"),
    "what is erased still counts as waiting": InScript(
        "erase.lua", "redis.call('HINCRBY', COUNTERS, 'waiting', -count)", ""
    ),
    "an erasure takes a lane that is leased": InScript("take.lua", "if lease_of(lane) then", "if false then"),
    "a lane taken for an erasure stays in the schedule": InScript("take.lua", "park(lane, ends)", ""),
    "a replay accepted again": InScript(
        "replay.lua",
        "redis.call('HINCRBY', COUNTERS, 'waiting', count)",
        "redis.call('HINCRBY', COUNTERS, 'waiting', count) redis.call('HINCRBY', COUNTERS, 'accepted', count)",
    ),
}


@pytest.mark.parametrize("defect", DEFECTS.values(), ids=DEFECTS)
def test_a_planted_defect_is_found(defect: InScript, redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    defect.plant(monkeypatch)

    with pytest.raises((AssertionError, RelayError, ResponseError)):
        run_state_machine_as_test(machine_for(redis), settings=SEARCH)
