"""The library: what a call returns and raises, and what Redis has when it returns."""

import asyncio
import doctest
import json
import socket
import subprocess
import sys
from codecs import BOM_UTF8
from collections import ChainMap, UserDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from threading import Thread
from types import MappingProxyType
from typing import Any, cast

import pytest
from redis import Redis

import producers
from producers import ConfigurationError, Published, Publisher, StoreFull, StoreUnavailable, publisher
from tests.conftest import wait_until
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


@pytest.mark.parametrize("wrapped", [MappingProxyType, UserDict, ChainMap])
def test_an_event_may_be_any_mapping_also_inside(
    open_: Open, redis: Redis, wrapped: Callable[[Any], Mapping[str, Any]]
) -> None:
    whole = event("jane")

    published = open_().publish(wrapped({**whole, "properties": wrapped(whole["properties"])}))

    assert published.accepted
    assert waiting(redis) == ["jane@example.com"]


def test_what_is_no_value_of_json_is_refused(open_: Open) -> None:
    assert open_().publish(event(when=object())).refused == "json"


def test_json_may_begin_with_a_byte_order_mark(open_: Open) -> None:
    text = json.dumps(event())

    assert open_().publish(f"\ufeff{text}").accepted
    assert open_().publish(BOM_UTF8 + text.encode()).accepted


@pytest.mark.parametrize("one", [event(), json.dumps(event()), json.dumps(event()).encode(), UserDict(event())])
def test_one_event_in_place_of_many_is_a_mistake_of_the_caller(open_: Open, one: Any) -> None:
    with pytest.raises(TypeError, match="use publish for one"):
        open_().publish_many(one)


def test_what_came_before_an_iterator_failed_is_published(open_: Open, redis: Redis) -> None:
    def failing() -> Iterator[dict[str, Any]]:
        yield event("ada")
        yield event("bob")
        raise LookupError("of the iterator")

    with pytest.raises(LookupError, match="of the iterator"):
        open_().publish_many(failing())

    assert waiting(redis) == ["ada@example.com", "bob@example.com"]


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


def test_closing_it_gives_its_connections_back(open_: Open, redis: Redis) -> None:
    shop, before = open_(), len(redis.client_list())
    shop.publish(event("ada"))
    assert len(redis.client_list()) == before + 1

    shop.close()

    wait_until(lambda: len(redis.client_list()) == before)


def test_a_process_that_was_forked_spoils_nothing_of_the_one_before(open_: Open, redis: Redis) -> None:
    shop = open_()
    shop.publish(event("ada"))
    forked = get_context("fork").Process(target=lambda: shop.publish_many(event(f"forked{n}") for n in range(50)))

    forked.start()
    for number in range(50):
        shop.publish(event(f"here{number}"))
    forked.join(10)

    assert forked.exitcode == 0
    names = ["ada", *(f"{who}{number}" for who in ("forked", "here") for number in range(50))]
    assert sorted(waiting(redis)) == sorted(f"{name}@example.com" for name in names)


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


@pytest.mark.parametrize("waits", [(), (0.01, 0.02, 0.03)])
def test_a_redis_that_is_away_is_asked_again_as_told(configured: Callable[..., Path], waits: Sequence[float]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closing:
        asked: list[int] = []
        thread = Thread(target=close_each, args=(closing, asked), daemon=True)
        thread.start()
        path = configured(url=f"redis://127.0.0.1:{closing.getsockname()[1]}/0")
        with Publisher(path, waits=waits) as shop, pytest.raises(StoreUnavailable):
            shop.publish(event("jane"))
        closing.shutdown(socket.SHUT_RDWR)
        thread.join()

    assert len(asked) == 1 + len(waits)


def close_each(server: socket.socket, asked: list[int]) -> None:
    """Accept connections and close them, until the server is shut down."""
    while True:
        try:
            connection, address = server.accept()
        except OSError:
            return
        connection.close()
        asked.append(address[1])


def test_a_user_of_redis_who_may_not_do_all_is_a_mistake_of_the_configuration(
    configured: Callable[..., Path], redis: Redis, redis_url: str
) -> None:
    redis.acl_setuser("reader", enabled=True, nopass=True, categories=["+@read", "+@connection"], commands=["+info"])
    path = configured(url=redis_url.replace("unix://", "unix://reader:any@"))
    try:
        with Publisher(path, waits=()) as shop, pytest.raises(ConfigurationError, match="may not do all"):
            shop.publish(event("jane"))
    finally:
        redis.acl_deluser("reader")


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
