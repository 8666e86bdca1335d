"""`audience-relay hold` and `release`: stop flushing a destination or a lane by hand, and go on."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path

import click

from cli import options
from cli.access import expect_known, opened
from cli.durations import Duration, write
from cli.overview import hold_as_json
from worker import settings
from worker.contract import LaneKey
from worker.destinations import REGISTRY
from worker.outgoing import WORKING_SIZE
from worker.settings import Settings
from worker.store.lanes import Lanes
from worker.store.status import Hold
from worker.store.store import Store

_destination = click.argument("destination")
_audience = click.option("--audience", help="Only this lane: the audience as the vendor knows it (see `status`).")


@click.command()
@_destination
@_audience
@click.option("--for", "span", type=Duration(), help="For so long: 90s, 10m, 1h30m, 2d. Default: until released.")
@click.option("--reason", default="by hand", show_default=True, help="Shown by `status`.")
@options.config
@options.as_json
def hold(
    destination: str, audience: str | None, span: timedelta | None, reason: str, config: Path, *, as_json: bool
) -> None:
    """Flush nothing of a destination, or of a lane, for a while.

    Source events are taken all the same, and wait. Without --for the hold lasts until released.
    """
    relay = settings.load(config)
    with opened(relay) as store:
        expect_known(destination, relay, store)
        lanes = store.lanes(destination)
        for lane in _lanes(lanes, audience):
            lanes.hold_by_hand(lane, reason, round(span / timedelta(milliseconds=1)) if span else None)
        held = _current(lanes, audience)
    if as_json:
        options.print_json({"destination": destination, "audience": audience, "hold": hold_as_json(held)})
    else:
        click.echo(f"{_named(destination, audience)} is held {_until(span)}")


@click.command()
@_destination
@_audience
@click.option("--bury", is_flag=True, help="Let the lane's next attempt bury however many the vendor refuses.")
@options.config
@options.as_json
def release(destination: str, audience: str | None, config: Path, *, bury: bool, as_json: bool) -> None:
    """End the hold of a destination, or of a lane, whoever made it.

    For a destination, the hold of its credential ends, too, and the batch size that its vendor took is
    forgotten. Holds of its lanes stay. A lane whose last request had no answer is held until the vendor cannot
    apply that any more.
    """
    if bury and audience is None:
        raise click.UsageError("--bury is for one lane; name it with --audience")
    relay = settings.load(config)
    with opened(relay) as store:
        expect_known(destination, relay, store)
        if audience is None:
            released = _release_destination(destination, relay, store)
        else:
            released = _release_lanes(store.lanes(destination), audience, bury=bury)
    if as_json:
        options.print_json({"destination": destination, "audience": audience, **asdict(released)})
    else:
        click.echo("\n".join(released.told(_named(destination, audience))))


@dataclass(frozen=True, slots=True)
class Released:
    """What a release ended, and what it allows."""

    released: bool
    credential_released: bool = False
    working_size_forgotten: bool = False
    bury: bool = False
    settling: bool = False
    """Whether a lane stays held, because the vendor may still apply its last request."""

    def told(self, name: str) -> Iterator[str]:
        if self.released:
            yield f"{name} is released"
        if self.settling:
            yield f"{name}: it goes on when the vendor can no longer apply its last request; `status` shows when"
        if self.credential_released:
            yield f"{name}: its credential is released, for every destination that shares it"
        if not self.released and not self.credential_released:
            yield f"{name} was not held"
        if self.working_size_forgotten:
            yield f"{name}: the batch size that its vendor took is forgotten"
        if self.bury:
            yield f"{name}: the next attempt may bury however many are refused"


def _release_destination(destination: str, relay: Settings, store: Store) -> Released:
    lanes = store.lanes(destination)
    size = lanes.notes([WORKING_SIZE])
    lanes.keep_notes({WORKING_SIZE: None})
    return Released(lanes.release(None), _release_credential(destination, relay, store), bool(size))


def _release_lanes(lanes: Lanes, audience: str, *, bury: bool) -> Released:
    own = lanes.of_audience(audience)
    released = [lanes.release(lane, bury=bury) for lane in own]
    return Released(any(released), bury=bury, settling=any(lanes.hold_of(lane) is not None for lane in own))


def _release_credential(destination: str, relay: Settings, store: Store) -> bool:
    """Of a destination that only Redis knows, nobody knows the credential."""
    configured = next((each for each in relay.destinations if each.name == destination), None)
    if configured is None:
        return False
    credential = REGISTRY[configured.kind](configured).credential
    store.tokens(credential).forgive()
    return store.limits(credential).release()


def _lanes(lanes: Lanes, audience: str | None) -> Sequence[LaneKey | None]:
    """All of an audience; None stands for the whole destination."""
    return [None] if audience is None else lanes.of_audience(audience)


def _current(lanes: Lanes, audience: str | None) -> Hold | None:
    return lanes.status(0).hold if audience is None else lanes.hold_of(lanes.of_audience(audience)[0])


def _named(destination: str, audience: str | None) -> str:
    return destination if audience is None else f"{destination}, audience {audience}"


def _until(span: timedelta | None) -> str:
    return "until it is released" if span is None else f"for {write(span.total_seconds())}"
