"""The library: what a call returns and raises, and what Redis has when it returns."""

import asyncio
import doctest
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

import pytest
from redis import Redis

import producers
from producers import ConfigurationError, Published, Publisher, StoreFull, StoreUnavailable, publisher
from worker.contract import LaneKey, decode
from worker.settings import load

Open = Callable[..., Publisher]

DESTINATION = """
[[destinations]]
name = "shop"
kind = "criteo"
advertiser_id = "4711"
client_id = "id"
client_secret = "secret"
"""
SECOND = """
[[destinations]]
name = "phones"
kind = "criteo"
advertiser_id = "4712"
client_id = "id"
client_secret = "secret"
identifier_type = "phoneNumber"
"""


@pytest.fixture
def configured(tmp_path: Path, redis: Redis, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Writes a relay.toml into the working directory."""
    monkeypatch.chdir(tmp_path)

    def write(more: str = "", url: str = redis_url) -> Path:
        path = tmp_path / "relay.toml"
        path.write_text(f'[redis]\nurl = "{url}"\n{DESTINATION}{more}\n')
        return path

    return write


@pytest.fixture
def open_(configured: Callable[..., Path]) -> Iterator[Open]:
    opened: list[Publisher] = []

    def open_one(more: str = "", **options: Any) -> Publisher:
        opened.append(Publisher(configured(more), **options))
        return opened[-1]

    yield open_one
    for each in opened:
        each.close()


def event(who: str = "jane", **parts: Any) -> dict[str, Any]:
    properties = {"audience_key": "vip", "email": f"{who}@example.com"}
    tree = {"type": "track", "event": "Audience Entered", "messageId": f"m-{who}", "properties": properties}
    return tree | parts


def waiting(redis: Redis, destination: str = "shop") -> list[str]:
    """The emails of the changes in a lane, in their order."""
    lane = LaneKey(destination, "vip")
    values = cast("list[bytes]", redis.lrange(f"relay:{{{destination}}}:lane:{lane.member}", 0, -1))
    return [each.change.identifiers[0].value for each in decode(values)]


def test_the_example_of_the_documentation_works(configured: Callable[[str], Path]) -> None:
    configured("")
    examples = doctest.DocTestFinder(recurse=False).find(Publisher, "Publisher", module=publisher)

    results = [doctest.DocTestRunner().run(each) for each in examples]

    assert [(each.failed, each.attempted > 3) for each in results] == [(0, True)]


def test_when_a_call_returns_redis_has_the_changes(open_: Open, redis: Redis) -> None:
    published = open_().publish(event("jane"))

    assert waiting(redis) == ["jane@example.com"]
    assert published == Published(None, {"shop": 1})
    assert published.accepted


@pytest.mark.parametrize("form", [json.dumps, lambda tree: json.dumps(tree).encode(), lambda tree: tree])
def test_an_event_may_be_an_object_or_json(open_: Open, redis: Redis, form: Callable[[Any], Any]) -> None:
    assert open_().publish(form(event("jane"))).accepted
    assert waiting(redis) == ["jane@example.com"]


def test_many_events_are_published_in_their_order(open_: Open, redis: Redis) -> None:
    report = open_().publish_many(event(f"person{number}") for number in range(2_500))

    assert (report.read, report.accepted, report.changes["shop"]) == (2_500, 2_500, 2_500)
    assert waiting(redis) == [f"person{number}@example.com" for number in range(2_500)]


def test_an_event_that_cannot_be_used_is_an_outcome(open_: Open, redis: Redis) -> None:
    published = open_().publish({"type": "page"})

    assert (published.accepted, published.refused, published.changes) == (False, "type", {})
    assert waiting(redis) == []


def test_the_outcome_tells_of_repetitions_and_of_what_single_destinations_lack(open_: Open) -> None:
    shop = open_(SECOND)
    first, again = shop.publish(event()), shop.publish(event())

    assert first == Published(None, {"shop": 1}, {}, {"phones": ["identifier"]})
    assert again == Published(None, {"shop": 0}, {"shop": 1}, {"phones": ["identifier"]})


def test_the_repr_of_an_outcome_names_nobody(open_: Open) -> None:
    assert "jane" not in repr(open_().publish(event("jane")))


def test_threads_may_share_one(open_: Open, redis: Redis) -> None:
    shop = open_()
    names = [f"person{number}" for number in range(200)]

    with ThreadPoolExecutor(8) as pool:
        published = list(pool.map(shop.publish, map(event, names)))

    assert all(each.accepted for each in published)
    assert sorted(waiting(redis)) == sorted(f"{name}@example.com" for name in names)


def test_tasks_of_asyncio_publish_in_threads(open_: Open, redis: Redis) -> None:
    shop = open_()

    async def publish_some() -> list[Published]:
        return await asyncio.gather(*(asyncio.to_thread(shop.publish, event(f"person{n}")) for n in range(20)))

    assert all(each.accepted for each in asyncio.run(publish_some()))
    assert len(waiting(redis)) == 20


def test_the_configuration_may_be_a_path_settings_or_the_usual_one(
    configured: Callable[..., Path], redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = configured()
    monkeypatch.delenv("RELAY_CONFIG", raising=False)

    for number, config in enumerate((path, str(path), load(path), None)):
        with Publisher(config) as one:
            one.publish(event(f"person{number}"))

    assert len(waiting(redis)) == 4


def test_one_that_was_closed_opens_new_connections(open_: Open, redis: Redis) -> None:
    shop = open_()
    shop.publish(event("ada"))
    shop.close()
    shop.publish(event("bob"))

    assert waiting(redis) == ["ada@example.com", "bob@example.com"]


# ── Errors ───────────────────────────────────────────────────────────────────────────────────────


def test_a_configuration_that_cannot_be_used_is_told_when_it_is_read(configured: Callable[..., Path]) -> None:
    with pytest.raises(ConfigurationError) as raised:
        Publisher(configured("max_in_flight = 0"))

    assert "max_in_flight" in raised.value.mistakes[0]


def test_a_redis_that_is_away_is_an_error_after_the_repetitions(configured: Callable[..., Path]) -> None:
    path = configured(url="redis://127.0.0.1:9/0")

    with Publisher(path, waits=()) as shop, pytest.raises(StoreUnavailable) as raised:
        shop.publish(event("jane"))
    assert "jane" not in str(raised.value)


def test_a_destination_without_room_is_an_error_and_takes_the_event_when_it_has_some(open_: Open, redis: Redis) -> None:
    narrow, wide = open_("max_waiting = 1"), open_("max_waiting = 2")
    narrow.publish(event("ada"))

    with pytest.raises(StoreFull):
        narrow.publish(event("bob"))

    assert wide.publish(event("bob")).accepted
    assert waiting(redis) == ["ada@example.com", "bob@example.com"]


# ── What it brings along ─────────────────────────────────────────────────────────────────────────


def loaded_by(code: str) -> set[str]:
    """Which large libraries are loaded after it."""
    looked_for = "{'celery', 'kombu', 'httpx', 'starlette', 'uvicorn', 'click', 'rich', 'redis', 'pydantic'}"
    script = f"import sys\n{code}\nprint(*({looked_for} & sys.modules.keys()))"
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(answer.stdout.split())


def test_the_package_loads_nothing_before_it_is_used() -> None:
    assert loaded_by("import producers") == set()


def test_the_library_brings_neither_the_worker_nor_the_gateway_nor_the_commands() -> None:
    assert loaded_by("from producers import Publisher") == {"redis", "pydantic"}


def test_everything_that_the_package_offers_is_there_and_nothing_else() -> None:
    assert {name: getattr(producers, name).__name__ for name in producers.__all__} == {
        name: name for name in producers.__all__
    }
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        producers.Nothing  # noqa: B018 - what it raises is the point
