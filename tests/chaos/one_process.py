"""Flushes that break off at any step: a relay in one process, on a test clock, with a real Redis and a stand-in.

Each Redis command and each request of a flush is a step. At one of them the worker may be killed, suspended while
another worker goes on, or find Redis or the vendor at fault. A request may be applied later than its sender knows.
"""

import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import product
from typing import Any, Final, Literal, NamedTuple, get_args

import httpx
from hypothesis import strategies as st
from redis import Redis
from redis.exceptions import ConnectionError as RedisAway
from structlog.testing import capture_logs

from sandbox.app import Sandbox
from tests.conftest import Clock
from tests.destinations.conftest import SETTINGS, InProcess
from worker.contract import Change, Identifier, LaneKey
from worker.delivery import DEADLINE, GatedTransport
from worker.destinations.criteo import CriteoSettings
from worker.edges import Edges, open_edges
from worker.errors import StoreError
from worker.flush import flush_next
from worker.store.status import COUNTERS
from worker.store.store import Store

Step = Literal["command", "request"]
AtCommand = Literal["killed before", "killed after", "lost before", "lost after", "suspended"]
AtRequest = Literal[
    "killed before", "killed after", "killed, applied late", "lost before", "lost after", "applied late", "suspended",
    "cut off", "HTTP 500", "HTTP 413", "HTTP 429", "tokens revoked",
]  # fmt: skip

SETTLE: Final = 20
DEADLINE_SECONDS: Final = DEADLINE.total_seconds()
NAME: Final = "shop"
AUDIENCES: Final = ("vip", "churn")
PEOPLE: Final = "abcd"
ROUNDS: Final = 100
"""After so many flushes with pauses everything has to be delivered."""


class Trouble(NamedTuple):
    """What goes wrong with one flush, at which of its commands or requests.

    `seconds`: how long it is suspended, or how late the vendor applies the request.
    """

    step: Step
    at: int
    kind: AtCommand | AtRequest | Literal["none"]
    seconds: float


class Append(NamedTuple):
    """People enter or leave one audience."""

    audience: str
    moves: Sequence[tuple[str, bool]]


class Flush(NamedTuple):
    """After a wait."""

    wait: float
    trouble: Trouble


Act = Append | Flush

LATE: Final = (0.5, 19, 25, DEADLINE_SECONDS + SETTLE - 1)
"""Seconds after which the vendor may apply a request: in the deadline, and in the time that it is given after."""
SUSPENDED: Final = (0.5, 31, 45)
"""Seconds: shorter than a lease, longer, and so long that somebody else may go on with the lane."""
MOST: Final[Mapping[Step, int]] = {"request": 8, "command": 28}
"""At least as many as the longest flush of these has."""

NONE: Final = Trouble("command", 0, "none", 0)
WARM_UP: Final[Sequence[Act]] = [Append("vip", [("a", True), ("b", True)]), Flush(61, NONE)]
"""With a list that is there already, the first requests are those that change it."""
BEFORE: Final[Sequence[Act]] = [
    Append("vip", [("a", False), ("b", False), ("c", True), ("d", True)]),
    Append("vip", [("a", True)]),
]
AFTER: Final[Sequence[Act]] = [Append("vip", [("c", False)]), *(Flush(wait, NONE) for wait in (1, 10, 10, 10, 10))]


def troubles() -> Iterator[Trouble]:
    """Every trouble at every step."""
    for at, kind in product(range(MOST["request"]), get_args(AtRequest)):
        for seconds in {"suspended": SUSPENDED, "applied late": LATE, "killed, applied late": LATE}.get(kind, (0,)):
            yield Trouble("request", at, kind, seconds)
    for at, kind in product(range(MOST["command"]), get_args(AtCommand)):
        for seconds in SUSPENDED if kind == "suspended" else (0,):
            yield Trouble("command", at, kind, seconds)


def scenes() -> Iterator[Sequence[Act]]:
    """Of each trouble: some leave and enter, one of them a batch later; and one while nobody knows the outcome."""
    for trouble, start in product(troubles(), ([], WARM_UP)):
        yield [*start, *BEFORE, Flush(61, trouble), *AFTER]


_appends = st.builds(
    Append,
    st.sampled_from(AUDIENCES),
    st.lists(st.tuples(st.sampled_from(PEOPLE), st.booleans()), min_size=1, max_size=5),
)
_flushes = st.builds(Flush, st.sampled_from([1, 21, 61]), st.sampled_from(list(troubles())))
plans: Final = st.lists(_appends | _flushes, min_size=1, max_size=12)
"""Any number of troubles, one after another."""


class Stage:
    """Where plans are carried out, one after another, each as if it were the first."""

    def __init__(self, redis: Redis) -> None:
        self.redis = redis
        self.clock = Clock()
        self.sandbox = Sandbox(clock=lambda: self.clock() / 1000)
        self.steps_of_longest: Counter[Step] = Counter()
        """How many steps of each sort the longest flush so far had."""

    def check(self, plan: Sequence[Act]) -> None:
        """Fails unless in the end the vendor holds what was said last of everybody, and all is accounted for."""
        self.redis.flushall()
        self.sandbox.criteo.reset()
        relay = Relay(self)
        with capture_logs():
            for act in plan:
                relay.do(act)
            relay.drain()
        counters = relay.counters()

        assert relay.sent_in_doubt == []
        assert relay.members() == relay.said
        assert counters["waiting"] == counters["buried"] == 0
        assert counters["accepted"] == relay.accepted == sum(counters[name] for name in COUNTERS[1:])


class Killed(BaseException):
    """The worker is no more. Whatever it tries from then on raises this, too."""


class Relay:
    """One destination with two workers, of whom one has the trouble."""

    def __init__(self, stage: Stage) -> None:
        self.clock = stage.clock
        self.said: dict[str, set[str]] = {}
        self.accepted = 0
        self._vendor = Vendor(stage)
        self._steps = Steps(self, stage.steps_of_longest)
        self._other = self._worker(stage.redis, self._vendor)
        self._breaking = self._worker(
            BreakingRedis(stage.redis, self._steps), BreakingTransport(self._vendor, self._steps)
        )
        self._moves = 0

    def do(self, act: Act) -> None:
        if isinstance(act, Append):
            self.append(act)
        else:
            self.advance(act.wait)
            self.flush(act.trouble)

    def append(self, append: Append) -> None:
        """Later changes tell of later times, so it makes no difference how they are cut into batches."""
        changes = []
        for who, entered in append.moves:
            self._moves += 1
            changes.append(Change(entered, self._moves, (Identifier("email", _email(who)),)))
            said = self.said.setdefault(append.audience, set())
            (said.add if entered else said.discard)(_email(who))
        self._other.lanes.append(LaneKey(NAME, append.audience), changes, f"chunk {self._moves}")
        self.accepted += len(changes)

    def advance(self, seconds: float) -> None:
        """The vendor applies what is late when its time comes."""
        self.clock.advance(seconds=seconds)
        self._vendor.apply_due()

    def flush(self, trouble: Trouble) -> None:
        self._steps.begin(trouble)
        with suppress(Killed, StoreError):
            flush_next(self._breaking)

    def go_on_without(self, seconds: float) -> None:
        """One worker is suspended; meanwhile everybody changes sides, and another worker tells of it."""
        for audience in self.said:
            self.append(Append(audience, [(who, _email(who) not in self.said[audience]) for who in PEOPLE]))
        self.advance(seconds)
        for _ in AUDIENCES:
            flush_next(self._other)

    def drain(self) -> None:
        for _ in range(ROUNDS):
            self.advance(61)
            flush_next(self._other)
            if not self.counters()["waiting"]:
                return

    @property
    def sent_in_doubt(self) -> list[str]:
        return self._vendor.sent_in_doubt

    def late(self, request: httpx.Request, seconds: float) -> None:
        """The vendor will apply the request: within the deadline and the time that it is given after."""
        self._vendor.pending.append((self.clock() + round(seconds * 1000), request))

    def revoke_tokens(self) -> None:
        self._vendor.sandbox.criteo.tokens.revoke_all()

    def members(self) -> dict[str, set[str]]:
        """Of each audience that was ever told of."""
        held = self._vendor.sandbox.criteo.members()
        return {audience: set(held.get(audience, ())) for audience in self.said}

    def counters(self) -> dict[str, int]:
        return dict(self._other.lanes.status(10).counters)

    def _worker(self, redis: Redis, vendor: httpx.BaseTransport) -> Edges:
        values = {"name": NAME, "kind": "criteo", "settle_seconds": SETTLE, "batch": {"max_changes": 4}}
        settings = CriteoSettings.model_validate(values | SETTINGS["criteo"])
        client = httpx.Client(transport=GatedTransport(vendor))
        edges = open_edges(settings, Store(redis, now_ms=self.clock), client, pause=self.advance)
        return replace(edges, chance=lambda: 0.5)


class Vendor(httpx.BaseTransport):
    """The stand-in, which may apply a request late. Nothing may be sent for its list before that is over."""

    def __init__(self, stage: Stage) -> None:
        self.sandbox = stage.sandbox
        self.pending: list[tuple[int, httpx.Request]] = []
        self.sent_in_doubt: list[str] = []
        self._clock = stage.clock
        self._inner = InProcess(stage.sandbox)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        if any(late.method == "PATCH" and late.url == request.url for _, late in self.pending):
            self.sent_in_doubt.append(request.url.path)
        return self._inner.handle_request(request)

    def apply_due(self) -> None:
        due = [request for at, request in self.pending if at <= self._clock()]
        self.pending = [(at, request) for at, request in self.pending if at > self._clock()]
        for request in due:
            self._inner.handle_request(request)


class Steps:
    """Counts the steps of a flush, and has the trouble happen at the right one."""

    def __init__(self, relay: Relay, longest: Counter[Step]) -> None:
        self._relay = relay
        self._longest = longest
        self.begin(NONE)

    def begin(self, trouble: Trouble) -> None:
        """A flush, with its trouble."""
        self._trouble = trouble
        self._counts: Counter[Step] = Counter()
        self._dead = False

    def command(self, run: Callable[[], Any]) -> Any:
        """One Redis command."""
        if isinstance(sys.exception(), GeneratorExit):
            return None if self._dead else run()  # a generator that is closed late may raise nothing
        kind = self._next("command")
        match kind:
            case "killed before":
                self._die()
            case "lost before":
                raise RedisAway("the connection broke")
            case "suspended":
                self._relay.go_on_without(self._trouble.seconds)
        outcome = run()
        match kind:
            case "killed after":
                self._die()
            case "lost after":
                raise RedisAway("the connection broke")
        return outcome

    def request(self, request: httpx.Request, send: Callable[[], httpx.Response]) -> httpx.Response:
        """One request. A worker may be suspended after, not between the last look at its lease and the sending."""
        kind = self._next("request")
        match kind:
            case "killed before":
                self._die()
            case "killed, applied late":
                self._relay.late(request, self._trouble.seconds)
                self._die()
            case "lost before":
                raise httpx.ReadError("reset", request=request)
            case "applied late":
                self._relay.late(request, self._trouble.seconds)
                self._relay.advance(DEADLINE_SECONDS)
                raise httpx.ReadTimeout("timeout", request=request)
            case "HTTP 500" | "HTTP 429" as answer:
                return httpx.Response(int(answer[-3:]), headers={"retry-after": "5"}, request=request)
            case "HTTP 413" if request.content.count(b"@") > 1:
                return httpx.Response(413, request=request)
            case "tokens revoked":
                self._relay.revoke_tokens()
        return self._answered(kind, request, send())

    def _answered(self, kind: str, request: httpx.Request, response: httpx.Response) -> httpx.Response:
        match kind:
            case "killed after":
                self._die()
            case "lost after":
                raise httpx.ReadError("reset", request=request)
            case "cut off":
                return httpx.Response(response.status_code, content=response.read()[:-3], request=request)
            case "suspended":
                self._relay.go_on_without(self._trouble.seconds)
        return response

    def _next(self, step: Step) -> str:
        if self._dead:
            raise Killed
        happens = self._trouble.step == step and self._trouble.at == self._counts[step]
        self._counts[step] += 1
        self._longest[step] = max(self._longest[step], self._counts[step])
        return self._trouble.kind if happens else "none"

    def _die(self) -> None:
        self._dead = True
        raise Killed


class BreakingRedis(Redis):
    """The same server, through a client whose every command is a step."""

    def __init__(self, redis: Redis, steps: Steps) -> None:
        super().__init__(connection_pool=redis.connection_pool)
        self._steps = steps

    def execute_command(self, *args: Any, **options: Any) -> Any:
        def run() -> Any:
            return super(BreakingRedis, self).execute_command(*args, **options)  # type: ignore[no-untyped-call]

        return self._steps.command(run)


class BreakingTransport(httpx.BaseTransport):
    """The same vendor, through a client whose every request is a step."""

    def __init__(self, vendor: Vendor, steps: Steps) -> None:
        self._vendor = vendor
        self._steps = steps

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        return self._steps.request(request, lambda: self._vendor.handle_request(request))


def _email(who: str) -> str:
    return f"{who}@example.com"
