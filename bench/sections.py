"""The parts of the page: which figures stand beside which, and what is said of them."""

from typing import Final, Literal, NamedTuple


class Chart(NamedTuple):
    """Figures of one unit. `mark`: where a goal is, on a chart of bars."""

    kind: Literal["dots", "bars", "lines"]
    figures: tuple[str, ...]
    mark: float | None = None


class Section(NamedTuple):
    name: str
    title: str
    words: str
    charts: tuple[Chart, ...]


def _chart(kind: Literal["dots", "bars", "lines"], figures: str, mark: float | None = None) -> Chart:
    return Chart(kind, tuple(figures.split()), mark)


LOAD: Final = Section(
    "load",
    "Load",
    "Source events as JSON text are parsed, validated, routed and appended to lanes in Redis, by one process. Beside "
    "it: how fast the same events become tasks of celery-batches, and what reading their JSON alone, or pushing values "
    "of that size alone, would take.",
    (
        _chart(
            "dots",
            "load.criteo load.taboola load.stackadapt load.all peers.batches.produce "
            "limits.json.stdlib limits.json.msgspec limits.redis",
        ),
    ),
)

DRAIN: Final = Section(
    "drain",
    "Drain",
    "Changes that wait in a lane are leased, folded and delivered to a sink that answers at once, by one worker "
    "process. Segment's onBatch is given events that are parsed already, and vendors that answer inside its process: "
    "it reads no queue and opens no connection.",
    (
        _chart(
            "dots",
            "drain.criteo peers.segment.criteo drain.taboola peers.segment.taboola drain.stackadapt "
            "peers.segment.stackadapt peers.batches.consume peers.plain.consume limits.sha256",
        ),
    ),
)

END_TO_END: Final = Section(
    "end_to_end",
    "End to end",
    "From the start of “audience-relay load” on an NDJSON file until the vendor holds every membership; workers "
    "run beside it. Loader, Redis, workers and the sink share the machine's cores, so that more workers gain little.",
    (
        _chart(
            "dots",
            "end_to_end.1 end_to_end.2 end_to_end.4 end_to_end.load peers.batches.end_to_end peers.plain.end_to_end",
        ),
    ),
)

DELAY: Final = Section(
    "delay",
    "Delay",
    "A batch is due max_age_seconds after its oldest change was appended. This is how much later the first byte of its "
    "first request arrives, at a steady 1,000 events a second.",
    (_chart("bars", "delay.p50 delay.p99 delay.max delay.loaded.p50 delay.loaded.p99 delay.loaded.max", 300),),
)

GATEWAY: Final = Section(
    "gateway",
    "Gateway",
    "Source events over HTTP, to one process; a request is answered when Redis has its changes. The load generator "
    "runs on the same cores.",
    (
        _chart("dots", "gateway.single gateway.batch"),
        _chart("bars", "gateway.single.p50 gateway.single.p99 gateway.batch.p50 gateway.batch.p99"),
    ),
)

LANES: Final = Section(
    "lanes",
    "Lanes",
    "What a change costs when the work is spread over more and more lanes. Each lane's batch is a conversation of "
    "its own with the vendor, so what HTTP costs is put aside, and told beside it. And what a worker costs that has "
    "nothing to do.",
    (
        _chart(
            "dots",
            "lanes.1 lanes.1.whole lanes.100 lanes.100.whole lanes.10000 lanes.10000.whole "
            "lanes.100000 lanes.100000.whole",
        ),
        _chart("bars", "lanes.idle.0 lanes.idle.100000", 1),
    ),
)

MEMORY: Final = Section(
    "memory",
    "Memory",
    "What a waiting change takes in Redis; and what a load and a worker hold while millions of changes pass through.",
    (
        _chart("bars", "memory.change memory.window memory.redis", 160),
        _chart("lines", "memory.load memory.worker"),
    ),
)

SECTIONS: Final = (LOAD, DRAIN, END_TO_END, DELAY, GATEWAY, LANES, MEMORY)
