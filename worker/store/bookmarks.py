"""Bookmarks: where loads of files stopped.

They lie beside the changes, and are written after them, so that no bookmark tells of more than Redis has, whatever it
may have lost. What is in them is the producers' affair.
"""

from collections.abc import Iterable
from datetime import timedelta
from typing import Final, cast

from redis import Redis

from worker.store import keys
from worker.store.connection import translated

KEPT: Final = timedelta(days=30)


class Bookmarks:
    """The bookmarks of all files. Every method raises `StoreUnavailable` or `StoreFull`."""

    def __init__(self, client: Redis) -> None:
        self._client = client

    def of(self, path: str) -> dict[str, bytes]:
        """Those of the files that had this path, by their name."""
        with translated():
            found = cast("dict[bytes, bytes]", self._client.hgetall(keys.bookmarks(path)))
        return {name.decode(): value for name, value in found.items()}

    def put(self, path: str, name: str, value: bytes) -> None:
        """Put a bookmark in place of the one of that name. All of the path are then kept for 30 days more."""
        with translated(), self._client.pipeline(transaction=True) as pipe:
            pipe.hset(keys.bookmarks(path), name, value)
            pipe.expire(keys.bookmarks(path), KEPT)
            pipe.execute()

    def remove(self, places: Iterable[tuple[str, str]]) -> None:
        """Those of these paths and names, all at once."""
        with translated(), self._client.pipeline(transaction=True) as pipe:
            for path, name in places:
                pipe.hdel(keys.bookmarks(path), name)
            pipe.execute()

    def close(self) -> None:
        self._client.close()
