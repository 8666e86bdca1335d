"""Who may call Criteo, which version, and how often."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from email.utils import formatdate
from typing import Final, Literal

from werkzeug import Request, Response
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from sandbox.base import Clock, Refusal, Route, Sleep, Vendor, bearer, json_answer
from sandbox.criteo_identifiers import IdentifierType
from sandbox.criteo_messages import envelope, refusal
from sandbox.ratelimit import RateWindow, WindowKind

EXAMPLE_ADVERTISER: Final = "4711"

Right = Literal["read", "manage"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CriteoSwitches:
    """What may differ from one app to the next, and what Criteo leaves open, each with its likely value."""

    refused_clients: frozenset[str] = frozenset()
    """Client ids whose token requests fail."""
    invalid_client_status: Literal[400, 401] = 401
    token_seconds: int = 900
    accept_unknown_tokens: bool = False
    """Whether a token that was not issued here is taken."""
    advertisers: frozenset[str] | None = None
    """Those that consented; None: every one."""
    rights: frozenset[Right] = frozenset({"read", "manage"})
    """The app's rights in the domain of audiences."""
    versions: frozenset[str] = frozenset({"2026-01", "2026-07", "2027-01"})
    decommissioned: frozenset[str] = frozenset({"2023-10", "2024-07", "2025-01", "2025-04", "2025-07", "2025-10"})
    sunsets: tuple[tuple[str, float], ...] = (("2026-01", 1_801_008_000.0),)
    """Versions in their deprecation window with the time of their end, announced in headers (2027-01-27)."""
    legacy_path: bool = False
    """Whether `/{version}/audiences/{id}/contactlist` still answers."""
    rate_limit: int | None = 250
    """Calls a minute of one client id; None: as many as it likes."""
    rate_window: WindowKind = "fixed"
    token_calls_counted: bool = False
    rate_limit_body: Literal["problem", "empty"] = "problem"
    bulk_failures: Literal["warnings", "errors", "status_400"] = "warnings"
    """Where failed items of create, update and delete are told; status 400 only when all items failed."""
    too_many_identifiers: Literal["validation", "too_large"] = "validation"
    """Whether too long an amendment is a 400 with a problem, or a 413 without a body."""
    max_body_bytes: int | None = None
    refuse_empty: bool = True
    refuse_all_invalid: bool = False
    sample_size: int = 10
    default_identifier_type: IdentifierType | None = "email"
    """What an amendment without a type means; None: it is refused."""
    statistics_delay_seconds: float = 0.0
    """How long after an amendment statistics know of it."""
    matched_share: float = 0.5
    match_rate_scale: Literal[1, 100] = 100


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
        """Rate-limits page: every answer tells the limit. Versioning policy: a version's end is announced."""
        limit = self.switches.rate_limit
        if limit is not None:
            window = self._window(self.tokens.client_of(bearer(request) or ""))
            response.headers["x-ratelimit-limit"] = str(limit)
            response.headers["x-ratelimit-remaining"] = str(window.remaining(limit))
            response.headers["x-ratelimit-reset"] = str(window.resets_at())
        ends_at = dict(self.switches.sunsets).get(request.path.split("/")[1])
        if ends_at is not None:
            response.headers["Deprecation"] = "true"
            response.headers["Sunset"] = formatdate(ends_at, usegmt=True)

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
            raise refusal(request, 410, "version-decommissioned", f"Version {version} has ended")
        if version not in self.switches.versions:
            raise refusal(request, 404, "not-found", f"{request.path} does not exist")

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
        """Rate-limits page: a call over the limit is not executed; no Retry-After is documented."""
        limit = self.switches.rate_limit
        if limit is None or self._window(client).take(limit):
            return
        if self.switches.rate_limit_body == "empty":
            raise Refusal(Response(status=429))
        raise refusal(request, 429, "too-many-requests", f"More than {limit} calls a minute", type_="quota")

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
