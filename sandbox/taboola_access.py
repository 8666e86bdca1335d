"""Who may call Taboola, for which account, and how often."""

import re
from collections.abc import Callable, Iterable
from typing import Any, Final

from werkzeug import Request, Response
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from sandbox.base import Clock, Refusal, Route, Sleep, Vendor, bearer, json_answer
from sandbox.ratelimit import RateWindow
from sandbox.taboola_messages import BAD_REQUEST, Trouble, credentials_error, error, forbidden, listed
from sandbox.taboola_switches import TaboolaSwitches

__all__ = ["API", "EXAMPLE_ACCOUNT", "TaboolaAccess", "TaboolaSwitches"]

API: Final = "/backstage/api/1.0"
EXAMPLE_ACCOUNT: Final = "my-account"
EXAMPLE_ACCOUNTS: Final = (EXAMPLE_ACCOUNT, "example-account")

_ACCOUNT: Final = re.compile(r"(?!\d+$)[a-z0-9-]+")
"""Alphabetic ids; the number that an account has, too, is none."""


class TaboolaAccess(Vendor):
    """The part of Taboola that knows callers; `guarded` puts it before an endpoint."""

    def __init__(self, routes: Iterable[Route], switches: TaboolaSwitches, *, clock: Clock, sleep: Sleep) -> None:
        access = (
            Route("token", "POST", "/backstage/oauth/token", self._token),
            Route("token_details", "GET", f"{API}/token-details", self.guarded(self._token_details)),
            Route("account", "GET", f"{API}/users/current/account", self.guarded(self._own_account)),
            Route("accounts", "GET", f"{API}/users/current/allowed-accounts", self.guarded(self._allowed_accounts)),
        )
        super().__init__((*access, *routes), clock=clock, sleep=sleep, strict_slashes=False)
        self.switches = switches
        self._forget()

    def guarded(self, answer: Callable[..., Response]) -> Callable[..., Response]:
        """What is looked at before an endpoint: token, rate, size of the body and account."""

        def answer_if_allowed(request: Request, **arguments: str) -> Response:
            self._check_token(request)
            self._take_call(self.tokens.client_of(bearer(request) or ""))
            self._check_size(request)
            self._check_account(arguments.get("account"))
            return answer(request, **arguments)

        return answer_if_allowed

    def _forget(self) -> None:
        self._windows: dict[str, RateWindow] = {}
        self._known_accounts: dict[str, None] = dict.fromkeys(EXAMPLE_ACCOUNTS)

    def _no_route(self, _request: Request, error_: HTTPException) -> Response:
        message = "Method not allowed" if isinstance(error_, MethodNotAllowed) else "Resource not found"
        return error(error_.code or 404, message).response

    def _finish(self, request: Request, response: Response) -> None:
        """Errors are XML unless JSON is asked for (page "client credentials flow")."""
        accepted = "json" if "application/json" in request.headers.get("Accept", "") else "xml"
        form = accepted if self.switches.errors_in == "accepted" else self.switches.errors_in
        if form == "xml" and isinstance(response, Trouble):
            response.turn_to_xml()

    def _token(self, request: Request) -> Response:
        """Client credentials, in a form or in the query."""
        if request.path.endswith("/"):
            page = "<html><head><title>Error 403</title></head><body>Invalid CSRF token or session</body></html>"
            return Response(page, 403, mimetype="text/html")
        client, secret = request.values.get("client_id"), request.values.get("client_secret")
        if request.values.get("grant_type") != "client_credentials":
            exception, name = "UnsupportedGrantTypeException", "unsupported_grant_type"
            raise credentials_error(400, exception, name, "Unsupported grant type")
        if not client or not secret or client in self.switches.refused_clients:
            exception, name = "BadClientCredentialsException", "invalid_client"
            raise credentials_error(400, exception, name, "Bad client credentials")
        revoke_others = self.switches.new_token_revokes_old
        token = self.tokens.issue(client, self.switches.token_seconds, revoke_others=revoke_others)
        return json_answer({"access_token": token, "token_type": "bearer", "expires_in": self.switches.token_seconds})

    def _check_token(self, request: Request) -> None:
        token = bearer(request)
        standing = self.tokens.standing(token or "")
        if standing == "valid" or (standing == "unknown" and token and self.switches.accept_unknown_tokens):
            return
        description = "Full authentication is required to access this resource"
        raise credentials_error(401, "UnauthorizedException", "unauthorized", description)

    def _take_call(self, client: str) -> None:
        limit = self.switches.rate_limit
        window = self._windows.setdefault(client, RateWindow(self._clock))
        if limit is None or window.take(limit):
            return
        refusal = error(429, "Too many requests")
        if self.switches.retry_after:
            refusal.response.headers["Retry-After"] = str(max(1, int(window.resets_at() - self._clock())))
        raise refusal

    def _check_size(self, request: Request) -> None:
        limit = self.switches.max_body_bytes
        if limit is not None and len(request.get_data()) > limit:
            raise Refusal(Response(status=413))

    def _check_account(self, account: str | None) -> None:
        """Account ids are alphabetic; an unknown one was seen as 400, one of somebody else's as 403."""
        if account is None:
            return
        foreign = self.switches.accounts is not None and account not in self.switches.accounts
        if not _ACCOUNT.fullmatch(account) or (foreign and self.switches.foreign_account == "unknown"):
            raise error(400, "Unknown publisher", code=BAD_REQUEST)
        if foreign:
            raise forbidden()
        self._known_accounts[account] = None

    def _token_details(self, request: Request) -> Response:
        return json_answer(
            {
                "username": "sandbox",
                "account_id": self._accounts()[0],
                "full_name": "Sandbox",
                "user_id": 1,
                "permissions": [],
                "expires_in": self.tokens.seconds_left(bearer(request) or ""),
            }
        )

    def _own_account(self, _request: Request) -> Response:
        return json_answer(account_json(1, self._accounts()[0]))

    def _allowed_accounts(self, _request: Request) -> Response:
        if not self.switches.lists_accounts:
            raise forbidden()
        return listed([account_json(number, each) for number, each in enumerate(self._accounts(), start=1)])

    def _accounts(self) -> list[str]:
        return sorted(self._known_accounts if self.switches.accounts is None else self.switches.accounts)


def account_json(number: int, account: str) -> dict[str, Any]:
    return {
        "id": number,
        "name": account,
        "account_id": account,
        "type": "PARTNER",
        "partner_types": ["ADVERTISER"],
        "campaign_types": ["PAID"],
        "currency": "USD",
        "time_zone_name": "US/Eastern",
    }
