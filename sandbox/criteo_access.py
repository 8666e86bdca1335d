"""Who may call Criteo, which version, and how often."""

from collections.abc import Callable, Iterable
from email.utils import formatdate
from typing import Final

from werkzeug import Request, Response
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from sandbox.base import Clock, Refusal, Route, Sleep, Vendor, bearer, json_answer
from sandbox.criteo_messages import envelope, refusal
from sandbox.criteo_switches import CriteoSwitches, Right
from sandbox.ratelimit import RateWindow

EXAMPLE_ADVERTISER: Final = "4711"
_PAGE: Final = "<!doctype html><title>Sorry</title><h1>Not now</h1>"


class CriteoAccess(Vendor):
    """The part of Criteo that knows callers; `guarded` puts it before an endpoint."""

    switches: CriteoSwitches

    def __init__(self, routes: Iterable[Route], switches: CriteoSwitches, *, clock: Clock, sleep: Sleep) -> None:
        access = (
            Route("token", "POST", "/oauth2/token", self._token),
            Route("advertisers", "GET", "/<version>/advertisers/me", self.guarded(None, self._my_advertisers)),
            Route("me", "GET", "/<version>/marketing-solutions/me", self.guarded(None, self._me)),
        )
        super().__init__((*access, *routes), clock=clock, sleep=sleep)
        self.switches = switches
        self._forget()

    def guarded(self, right: Right | None, answer: Callable[..., Response]) -> Callable[..., Response]:
        """What is looked at before an endpoint: version, token, rate, right and the size of the body."""

        def answer_if_allowed(request: Request, version: str, **arguments: str) -> Response:
            self._check_version(request, version)
            self._check_token(request)
            self._take_call(request, self.tokens.client_of(bearer(request) or ""))
            self._check_right(request, right)
            self._check_size(request)
            return answer(request, **arguments)

        return answer_if_allowed

    def check_advertisers(self, request: Request, advertisers: Iterable[str]) -> None:
        """Refuse ids that are none, and advertisers that did not consent."""
        consented = self.switches.advertisers
        for advertiser in advertisers:
            if not advertiser.isdecimal():
                raise refusal(request, 400, "invalid", f"{advertiser!r} is not an advertiser id")
            if consented is not None and advertiser not in consented:
                code, detail = "insufficient-advertiser-permissions", f"No consent of advertiser {advertiser}"
                raise refusal(request, 403, code, detail, type_="access-control")
            self._known_advertisers[advertiser] = None

    def _forget(self) -> None:
        self._windows: dict[str, RateWindow] = {}
        self._known_advertisers: dict[str, None] = {EXAMPLE_ADVERTISER: None}

    def _no_route(self, request: Request, error: HTTPException) -> Response:
        code = "method-not-allowed" if isinstance(error, MethodNotAllowed) else "not-found"
        return refusal(request, error.code or 404, code, f"{request.method} {request.path} does not exist").response

    def _finish(self, request: Request, response: Response) -> None:
        """Versioning policy: a version's end is announced."""
        self._tell_limit(request, response)
        ends_at = dict(self.switches.sunsets).get(request.path.split("/")[1])
        if ends_at is not None and self.switches.sunset_headers in {"both", "deprecation"}:
            response.headers["Deprecation"] = "true"
        if ends_at is not None and self.switches.sunset_headers in {"both", "sunset"}:
            response.headers["Sunset"] = formatdate(ends_at, usegmt=True)

    def _tell_limit(self, request: Request, response: Response) -> None:
        """Rate-limits page: every answer tells the limit; no Retry-After is documented."""
        limit, refused = self.switches.rate_limit, response.status_code == 429  # noqa: PLR2004 - Too Many Requests
        if limit is None:
            return
        window = self._window(self.tokens.client_of(bearer(request) or ""))
        if self.switches.rate_headers == "always" or (refused and self.switches.rate_headers == "refused"):
            response.headers["x-ratelimit-limit"] = str(limit)
            response.headers["x-ratelimit-remaining"] = str(window.remaining(limit))
            response.headers["x-ratelimit-reset"] = str(window.resets_at())
        if refused and self.switches.retry_after:
            response.headers["Retry-After"] = str(max(0, window.resets_at() - int(self._clock())))

    def _token(self, request: Request) -> Response:
        """OAuth client credentials in a form; errors in OAuth's own shape, not in the envelope."""
        if request.mimetype != "application/x-www-form-urlencoded":
            return _oauth_error(400, "invalid_request", "The body must be a form")
        client, secret = request.form.get("client_id"), request.form.get("client_secret")
        if request.form.get("grant_type") != "client_credentials":
            return _oauth_error(400, "unsupported_grant_type", "The grant type is not supported")
        if not client or not secret or client in self.switches.refused_clients:
            return _oauth_error(
                self.switches.invalid_client_status, "invalid_client", "The client authentication failed"
            )
        if self.switches.token_calls_counted:
            self._take_call(request, client)
        token = self.tokens.issue(client, self.switches.token_seconds)
        return json_answer(
            {
                "access_token": token,
                "token_type": "Bearer",
                "refresh_token": None,  # the official SDK fails without the member
                "expires_in": self.switches.token_seconds,
            }
        )

    def _check_version(self, request: Request, version: str) -> None:
        if version in self.switches.decommissioned:
            if self.switches.fall_forward:
                return
            raise self._gone(request, version)
        if version not in self.switches.versions:
            raise refusal(request, 404, "not-found", f"{request.path} does not exist")

    def _gone(self, request: Request, version: str) -> Refusal:
        if self.switches.gone_body == "problem":
            return refusal(request, 410, "version-decommissioned", f"Version {version} has ended")
        return Refusal(Response(_PAGE if self.switches.gone_body == "html" else None, 410, mimetype="text/html"))

    def _check_token(self, request: Request) -> None:
        token = bearer(request)
        if "Authorization" not in request.headers:
            raise refusal(request, 401, "authorization-token-missing", "No token", type_="authorization")
        standing = self.tokens.standing(token or "")
        if standing == "valid" or (standing == "unknown" and token and self.switches.accept_unknown_tokens):
            return
        code = "authorization-token-expired" if standing == "expired" else "authorization-token-invalid"
        raise refusal(request, 401, code, f"The token is {standing}", type_="authorization")

    def _take_call(self, request: Request, client: str) -> None:
        """Rate-limits page: a call over the limit is not executed."""
        limit = self.switches.rate_limit
        if limit is None or self._window(client).take(limit):
            return
        match self.switches.rate_limit_body:
            case "problem":
                raise refusal(request, 429, "too-many-requests", f"More than {limit} calls a minute", type_="quota")
            case "object":
                raise Refusal(json_answer({}, 429))
            case "html":
                raise Refusal(Response(_PAGE, 429, mimetype="text/html"))
            case "empty":
                raise Refusal(Response(status=429))

    def _window(self, client: str) -> RateWindow:
        return self._windows.setdefault(client, RateWindow(self._clock, self.switches.rate_window))

    def _check_right(self, request: Request, right: Right | None) -> None:
        if right is not None and right not in self.switches.rights:
            raise refusal(
                request,
                403,
                "insufficient-permissions",
                f"The app may not {right} audiences",
                type_="access-control",
            )

    def _check_size(self, request: Request) -> None:
        limit = self.switches.max_body_bytes
        if limit is not None and len(request.get_data()) > limit:
            raise Refusal(Response(status=413))

    def _my_advertisers(self, _request: Request) -> Response:
        advertisers = sorted(
            self._known_advertisers if self.switches.advertisers is None else self.switches.advertisers
        )
        rows = [
            {"type": "advertiser", "id": each, "attributes": {"advertiserName": f"Advertiser {each}"}}
            for each in advertisers
        ]
        return json_answer(envelope(rows))

    def _me(self, _request: Request) -> Response:
        attributes = {
            "applicationId": 1,
            "organizationId": 1,
            "name": "sandbox",
            "description": "A local stand-in",
            "criteoService": "MarketingSolutions",
        }
        return json_answer(envelope({"type": "Application", "attributes": attributes}))


def _oauth_error(status: int, error: str, description: str) -> Response:
    return json_answer({"error": error, "error_description": description, "error_uri": None}, status)
