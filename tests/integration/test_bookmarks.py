"""Bookmarks of loads in a real Redis."""

from redis import Redis

from worker.store.bookmarks import KEPT, Bookmarks


def test_bookmarks_are_kept_by_path_and_name_for_a_month(redis: Redis) -> None:
    bookmarks = Bookmarks(redis)
    bookmarks.put("/data/events", "one", b"1")
    bookmarks.put("/data/events", "two", b"2")
    bookmarks.put("/data/events", "one", b"3")
    bookmarks.put("/data/\udcff", "one", b"4")  # a name that is no UTF-8

    assert bookmarks.of("/data/events") == {"one": b"3", "two": b"2"}
    assert bookmarks.of("/data/\udcff") == {"one": b"4"}
    assert bookmarks.of("/data") == {}
    assert {redis.ttl(key) for key in redis.scan_iter()} == {KEPT.total_seconds()}


def test_they_are_removed_at_once_and_leave_nothing(redis: Redis) -> None:
    bookmarks = Bookmarks(redis)
    bookmarks.put("a", "one", b"1")
    bookmarks.put("b", "two", b"2")

    bookmarks.remove([("a", "one"), ("b", "two"), ("c", "three")])
    bookmarks.remove([])

    assert redis.dbsize() == 0
