"""An ASGI application asked in process, without a port: requests one after another, or several at once."""

import asyncio
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self

import httpx
from starlette.applications import Starlette


class Client:
    """A loop of its own in which the application lives from `with` to its end."""

    def __init__(self, application: Starlette, headers: Mapping[str, str] | None = None) -> None:
        self._application = application
        self._headers = headers
        self._runner = asyncio.Runner()
        self._lifespan = application.router.lifespan_context(application)

    def __enter__(self) -> Self:
        self._runner.run(self._enter())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, place: TracebackType | None
    ) -> None:
        self._runner.run(self._exit())
        self._runner.close()

    def get(self, path: str) -> httpx.Response:
        return self._runner.run(self._client.get(path))

    def post(self, path: str, **parts: Any) -> httpx.Response:
        return self._runner.run(self._client.post(path, **parts))

    def request(self, method: str, path: str, **parts: Any) -> httpx.Response:
        return self._runner.run(self._client.request(method, path, **parts))

    def post_at_once(self, path: str, bodies: Sequence[Any]) -> list[httpx.Response]:
        """Requests that are all on their way before any is answered."""
        return self._runner.run(self._post_at_once(path, bodies))

    async def _post_at_once(self, path: str, bodies: Sequence[Any]) -> list[httpx.Response]:
        return await asyncio.gather(*(self._client.post(path, json=body) for body in bodies))

    async def _enter(self) -> None:
        await self._lifespan.__aenter__()
        transport = httpx.ASGITransport(self._application)
        self._client = httpx.AsyncClient(transport=transport, base_url="http://gateway", headers=self._headers)

    async def _exit(self) -> None:
        await self._client.aclose()
        await self._lifespan.__aexit__(None, None, None)
