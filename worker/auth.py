"""Who we are at a vendor: OAuth client credentials with one token for the whole fleet, or a fixed token."""

from collections.abc import Generator
from datetime import timedelta
from typing import Final, Protocol

import httpx

from worker.destinations.base import Credential, Response, expect_success
from worker.errors import NeedsPerson, NotYet, Refused, Throttled, TooLarge, TryLater
from worker.markup import elements, is_page
from worker.store.tokens import Grant

UNAUTHORIZED: Final = 401
FORBIDDEN: Final = 403
PERMANENT: Final = {
    "invalid_client",
    "invalid_grant",
    "unauthorized_client",
    "unsupported_grant_type",
    "invalid_scope",
}
"""OAuth errors that another try cannot mend (RFC 6749, section 5.2)."""
_ADVICE: Final = "the token endpoint refused the credentials; check client_id and client_secret"
_ASTRAY: Final = "the token endpoint forbids the request; check api_url, and whether a proxy stands in the way"


class TokenSource(Protocol):
    """Where tokens are shared; `worker.store.tokens.Tokens`, or a source for one who must not share."""

    def get(self, *, failed: str = "") -> Grant: ...
    def keep(self, renewal: str, token: str, lives: timedelta) -> None: ...
    def refuse(self, renewal: str, reason: str) -> None: ...
    def abandon(self, renewal: str) -> None: ...


class FixedToken(httpx.Auth):
    """A token that the vendor issued by hand, or none, and what else a request must show."""

    def __init__(self, credential: Credential) -> None:
        token = credential.secret.get_secret_value()
        self._headers = {name: value.get_secret_value() for name, value in credential.headers.items()}
        self._headers |= {"authorization": f"Bearer {token}"} if token else {}

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        request.headers.update(self._headers)
        yield request


class ClientCredentials(httpx.Auth):
    """Sends each request with the fleet's token; renews it before it ends, and once when it is refused.

    Raises `NeedsPerson` for refused credentials, `NotYet` while another worker renews, `TryLater` when the
    token endpoint fails. A request that is refused with a new token, too, is answered with that 401.
    """

    def __init__(self, credential: Credential, tokens: TokenSource) -> None:
        self._credential = credential
        self._tokens = tokens

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        token = yield from self._token()
        response = yield _bearing(request, token)
        if response.status_code == UNAUTHORIZED:
            token = yield from self._token(failed=token)
            yield _bearing(request, token)

    def _token(self, failed: str = "") -> Generator[httpx.Request, httpx.Response, str]:
        grant = self._tokens.get(failed=failed)
        if grant.act == "use":
            return grant.token
        if grant.act == "wait":
            raise NotYet("another worker renews the token")
        if grant.act == "refused":
            raise NeedsPerson("credentials refused", grant.reason)
        try:
            response = yield self._request()
            answer = Response(response.status_code, response.read(), dict(response.headers))
            token, lives = _read(answer)
        except NeedsPerson as refusal:
            self._tokens.refuse(grant.renewal, refusal.detail)
            raise
        except BaseException:
            self._tokens.abandon(grant.renewal)
            raise
        self._tokens.keep(grant.renewal, token, lives)
        return token

    def _request(self) -> httpx.Request:
        if self._credential.token_url is None:
            raise TypeError("client credentials need a token_url")
        form = {
            "grant_type": "client_credentials",
            "client_id": self._credential.client_id,
            "client_secret": self._credential.secret.get_secret_value(),
        }
        return httpx.Request("POST", self._credential.token_url, data=form, headers={"accept": "application/json"})


def _read(response: Response) -> tuple[str, timedelta]:
    """The token and its life. Raises what the answer orders instead: it concerns all who use the credential."""
    if response.status in {400, UNAUTHORIZED} and _is_for_good(response):
        raise NeedsPerson("credentials refused", _ADVICE)
    if response.status == FORBIDDEN:
        raise NeedsPerson("forbidden", _ASTRAY)
    try:
        expect_success(response)
        answer = response.json()
    except Throttled:
        raise
    except TryLater as passing:
        raise _trouble(passing.detail, passing.retry_after) from None
    except (Refused, TooLarge) as unexpected:
        raise _trouble(unexpected.detail) from None
    token = answer.get("access_token")
    if not isinstance(token, str) or not token:
        raise _trouble("no access_token in the answer")
    return token, timedelta(seconds=_seconds(answer.get("expires_in")))


def _is_for_good(response: Response) -> bool:
    """Whether it is the credentials: Taboola says so in XML, too. A page with a 400 comes from something in between."""
    told = response.json_or_empty().get("error") or elements(response.content).get("error")
    if told is not None:
        return str(told) in PERMANENT
    return response.status == UNAUTHORIZED or not is_page(response.content)


def _trouble(detail: str, retry_after: float | None = None) -> TryLater:
    return TryLater("no token", f"the token endpoint failed: {detail}", scope="credential", retry_after=retry_after)


def _bearing(request: httpx.Request, token: str) -> httpx.Request:
    request.headers["authorization"] = f"Bearer {token}"
    return request


def _seconds(expires_in: object) -> float:
    """A number, or one as text (Criteo's SDK takes both); five minutes when the vendor does not say."""
    try:
        return max(0.0, float(str(expires_in)))
    except ValueError:
        return 300.0
