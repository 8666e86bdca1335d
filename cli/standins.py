"""A vendor's stand-in in this process: it answers a destination's requests without a network, and notes them."""

from typing import Final

from werkzeug.test import Client

from cli.sandbox import API_PATHS
from sandbox.app import Sandbox
from sandbox.criteo import CriteoSwitches
from sandbox.taboola import TaboolaSwitches
from worker.destinations.base import DestinationSettings, Request, Response
from worker.destinations.criteo import CriteoSettings

TOKEN: Final = "made-up"  # noqa: S105 - the stand-ins take any
NOTHING: Final = Response(200, b"{}", {"content-type": "application/json"})
"""The answer of a vendor that has no stand-in."""


class StandIn:
    """Called with the requests of one destination. As a new vendor, it has no audience yet, and takes everything."""

    def __init__(self, settings: DestinationSettings) -> None:
        self.requests: list[Request] = []
        self._api_url = settings.api_url
        self._path = API_PATHS.get(settings.kind)
        self._client = Client(_lenient(settings))

    def __call__(self, request: Request) -> Response:
        self.requests.append(request)
        if self._path is None or not request.url.startswith(self._api_url):
            return NOTHING
        answer = self._client.open(
            self._path + request.url.removeprefix(self._api_url),
            method=request.method,
            data=request.content,
            headers={**request.headers, "authorization": f"Bearer {TOKEN}"},
        )
        return Response(answer.status_code, answer.get_data(), {name.lower(): value for name, value in answer.headers})


def _lenient(settings: DestinationSettings) -> Sandbox:
    """Knows every token, and what is configured, and sets no limits."""
    versions = frozenset({settings.api_version}) if isinstance(settings, CriteoSettings) else frozenset[str]()
    criteo = CriteoSwitches(
        accept_unknown_tokens=True,
        accept_unknown_lists=True,
        rate_limit=None,
        versions=versions,
        decommissioned=frozenset(),
        sunsets=(),
    )
    return Sandbox(criteo=criteo, taboola=TaboolaSwitches(accept_unknown_tokens=True, accept_unknown_audiences=True))
