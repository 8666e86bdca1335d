"""Each of these defects of a function is found by the suite it belongs to."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from redis import Redis

from tests.chaos import fold_model, one_process
from tests.chaos.planted import SEARCH, InFunction, InScript, Planted
from worker import delivery, flush, holds, isolation
from worker.batching import account, fold, halves
from worker.contract import Change
from worker.errors import RelayError
from worker.store.lanes import Lanes

IN_FOLDING = {
    "fold by arrival only": InFunction(
        fold,
        "sorted(range(len(changes)), key=[change.occurred_at for change in changes].__getitem__)",
        "range(len(changes))",
    ),
    "the first of those of one time": InFunction(
        fold,
        "key=[change.occurred_at for change in changes].__getitem__",
        "key=lambda position: (changes[position].occurred_at, -position)",
    ),
    "every identifier of every change": InFunction(fold, "if newest[each] == position", "if True"),
    "adds and removes exchanged": InFunction(fold, "(adds if change.entered", "(adds if not change.entered"),
    "identifiers compared as they came": InFunction(
        fold, "_distinct(change.identifiers, vendor_form)", "change.identifiers"
    ),
    "a half without its removes": InFunction(halves, "removes=batch.removes[middle:]", "removes=()"),
}

TRIM = 'self._client.ltrim(f"{self._root}:lane:{lease.lane.member}", 1, -1)'

IN_FLUSHING: dict[str, Planted] = {
    "trimmed before it is sent": InFunction(Lanes.read, "    waiting = decode", f"    {TRIM}\n    waiting = decode"),
    "one more trimmed than was read": InFunction(account, "taken=len(waiting)", "taken=len(waiting) + 1"),
    "sent without a look at the lease": InFunction(
        flush._flush_or_hold,  # noqa: SLF001 - this is where the defect belongs
        "edges.lanes.extend(each, edges.schedule)",
        "pass",
    ),
    "a lost lease used all the same": InFunction(
        Lanes._owned,  # noqa: SLF001 - as above
        "if not self._run(name, *args):",
        "if self._run(name, *args) is None:",
    ),
    "an unknown outcome given no time": InFunction(
        holds._settle_ms,  # noqa: SLF001 - as above
        "edges.schedule.settle_ms if order.outcome_unknown else 0",
        "0",
    ),
    "a timeout taken for a known outcome": InFunction(
        delivery._in_doubt,  # noqa: SLF001 - as above
        "not request.changes_nothing",
        "False",
    ),
    "half of a batch that was too large": InFunction(
        isolation._halved,  # noqa: SLF001 - as above
        "yield from halves(each)",
        "yield halves(each)[0]",
    ),
    "a killed worker's request given no time": InScript(
        "prelude.lua", "if lease.sent > 0 and lease.sent + settle_ms > now then", "if false then"
    ),
    "no token check in settle": InScript("settle.lua", "if not holds_lease(lane, ARGV[2]) then", "if false then"),
    "retry at the tail": InScript(
        "hold.lua",
        "redis.call('HDEL', LEASES, lane)",
        "redis.call('HDEL', LEASES, lane) redis.call('RPUSH', lane_key(lane), redis.call('LPOP', lane_key(lane)))",
    ),
}


@pytest.mark.parametrize("defect", IN_FOLDING.values(), ids=IN_FOLDING)
def test_a_defect_of_folding_is_found(defect: InFunction, monkeypatch: pytest.MonkeyPatch) -> None:
    defect.plant(monkeypatch)

    @SEARCH
    @given(fold_model.streams, fold_model.attempts)
    def check(stream: Sequence[Change], plan: Sequence[fold_model.Attempt]) -> None:
        fold_model.check(stream, plan)

    with pytest.raises(AssertionError):
        check()


@pytest.mark.parametrize("defect", IN_FLUSHING.values(), ids=IN_FLUSHING)
def test_a_defect_of_flushing_is_found(defect: Planted, redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    defect.plant(monkeypatch)

    stage = one_process.Stage(redis)

    with pytest.raises((AssertionError, RelayError)):  # noqa: PT012 - whichever scene finds it
        for scene in one_process.scenes():
            stage.check(scene)
