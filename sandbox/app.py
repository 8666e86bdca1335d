"""All stand-ins as one WSGI callable, each below its name, beside `/_sandbox`, where they are looked into.

================================== ===========================================================================
`GET    /_sandbox/members/{vendor}`  `{audience: {identifier: true}}` as that vendor would hold it now
`GET    /_sandbox/requests/{vendor}` answers per route and status, the most in flight at once per audience,
                                     and what else the vendor counted
`PUT    /_sandbox/faults/{vendor}`   sets a fault script (see `sandbox.faults`); a bad one is a 400
`GET    /_sandbox/faults/{vendor}`   the script, with how often each rule matched and fired
`DELETE /_sandbox/faults/{vendor}`   no faults any more
`POST   /_sandbox/reset`             every vendor as new
================================== ===========================================================================
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Final
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from werkzeug import Request, Response
from werkzeug.exceptions import HTTPException, NotFound
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.routing import Map, Rule

from sandbox.base import DEFAULT_CLOCK, DEFAULT_SLEEP, Clock, Sleep, Vendor, json_answer
from sandbox.criteo import CriteoSandbox, CriteoSwitches
from sandbox.stackadapt import StackAdaptSandbox, StackAdaptSwitches
from sandbox.taboola import TaboolaSandbox, TaboolaSwitches
from sandbox.webhook import WebhookSandbox, WebhookSwitches


class Sandbox:
    """The `api_url`s are `/criteo`, `/taboola`, `/stackadapt/graphql` and `/http/members` of where it is served."""

    def __init__(
        self,
        *,
        criteo: CriteoSwitches | None = None,
        taboola: TaboolaSwitches | None = None,
        stackadapt: StackAdaptSwitches | None = None,
        http: WebhookSwitches | None = None,
        clock: Clock = DEFAULT_CLOCK,
        sleep: Sleep = DEFAULT_SLEEP,
    ) -> None:
        self.criteo = CriteoSandbox(criteo, clock=clock, sleep=sleep)
        self.taboola = TaboolaSandbox(taboola, clock=clock, sleep=sleep)
        self.stackadapt = StackAdaptSandbox(stackadapt, clock=clock, sleep=sleep)
        self.http = WebhookSandbox(http, clock=clock, sleep=sleep)
        self.vendors: Mapping[str, Vendor] = {
            "criteo": self.criteo,
            "taboola": self.taboola,
            "stackadapt": self.stackadapt,
            "http": self.http,
        }
        mounts: dict[str, WSGIApplication] = {f"/{name}": vendor for name, vendor in self.vendors.items()}
        self._app: WSGIApplication = DispatcherMiddleware(_Control(self.vendors), mounts)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        return self._app(environ, start_response)


class _Control:
    """`/_sandbox`."""

    def __init__(self, vendors: Mapping[str, Vendor]) -> None:
        self._vendors = vendors

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        request = Request(environ)
        try:
            answer, arguments = _ROUTES.bind_to_environ(environ).match()
            response: Response = answer(self, request, **arguments)
        except HTTPException as error:
            response = json_answer({"error": error.description}, error.code or 500)
        return response(environ, start_response)

    def members(self, _request: Request, vendor: str) -> Response:
        return json_answer(self._vendor(vendor).members())

    def requests(self, _request: Request, vendor: str) -> Response:
        return json_answer(self._vendor(vendor).requests())

    def faults(self, _request: Request, vendor: str) -> Response:
        return json_answer(self._vendor(vendor).faults.summary())

    def set_faults(self, request: Request, vendor: str) -> Response:
        try:
            self._vendor(vendor).script_faults(request.get_data())
        except ValueError as reason:
            return json_answer({"error": str(reason)}, 400)
        return self.faults(request, vendor)

    def clear_faults(self, _request: Request, vendor: str) -> Response:
        self._vendor(vendor).script_faults(None)
        return Response(status=204)

    def reset(self, _request: Request) -> Response:
        for vendor in self._vendors.values():
            vendor.reset()
        return Response(status=204)

    def _vendor(self, name: str) -> Vendor:
        if name not in self._vendors:
            raise NotFound(f"no such vendor: {name} (there are: {', '.join(self._vendors)})")
        return self._vendors[name]


def _rule(method: str, path: str, answer: Callable[..., Response]) -> Rule:
    return Rule(f"/_sandbox{path}", endpoint=answer, methods=[method])


_ROUTES: Final = Map(
    [
        _rule("GET", "/members/<vendor>", _Control.members),
        _rule("GET", "/requests/<vendor>", _Control.requests),
        _rule("PUT", "/faults/<vendor>", _Control.set_faults),
        _rule("GET", "/faults/<vendor>", _Control.faults),
        _rule("DELETE", "/faults/<vendor>", _Control.clear_faults),
        _rule("POST", "/reset", _Control.reset),
    ]
)
