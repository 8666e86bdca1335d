"""`audience-relay hold` and `release`: stop flushing a destination or a lane by hand, and go on."""

from datetime import timedelta
from pathlib import Path

import click

from cli import options
from cli.access import opened
from cli.durations import Duration, write
from cli.overview import hold_as_json
from worker import settings
from worker.contract import LaneKey
from worker.errors import ConfigurationError
from worker.settings import Settings
from worker.store.lanes import Hold, Lanes
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
        lanes = _lanes(destination, relay, store)
        lane = _lane(destination, audience)
        lanes.hold_by_hand(lane, reason, round(span / timedelta(milliseconds=1)) if span else None)
        held = _current(lanes, lane)
    if as_json:
        options.print_json({"destination": destination, "audience": audience, "hold": hold_as_json(held)})
    else:
        click.echo(f"{_named(destination, audience)} is held {_until(span)}")


@click.command()
@_destination
@_audience
@options.config
@options.as_json
def release(destination: str, audience: str | None, config: Path, *, as_json: bool) -> None:
    """End the hold of a destination, or of a lane, whoever made it."""
    relay = settings.load(config)
    with opened(relay) as store:
        released = _lanes(destination, relay, store).release(_lane(destination, audience))
    if as_json:
        options.print_json({"destination": destination, "audience": audience, "released": released})
    else:
        click.echo(f"{_named(destination, audience)} {'is released' if released else 'was not held'}")


def _lanes(destination: str, relay: Settings, store: Store) -> Lanes:
    """The lanes of a destination that the configuration or Redis knows. Raises `ConfigurationError`."""
    known = [each.name for each in relay.destinations]
    known += sorted(store.destinations() - set(known))
    if destination not in known:
        raise ConfigurationError([f'no destination is named "{destination}"; there are: {", ".join(known)}'])
    return store.lanes(destination)


def _lane(destination: str, audience: str | None) -> LaneKey | None:
    return None if audience is None else LaneKey(destination, audience)


def _current(lanes: Lanes, lane: LaneKey | None) -> Hold | None:
    status = lanes.status(1000)
    if lane is None:
        return status.hold
    return next((each.hold for each in status.lanes if each.lane == lane), None)


def _named(destination: str, audience: str | None) -> str:
    return destination if audience is None else f"{destination}, audience {audience}"


def _until(span: timedelta | None) -> str:
    return "until it is released" if span is None else f"for {write(span.total_seconds())}"
