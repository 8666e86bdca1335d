"""StackAdapt: profiles and external audiences over GraphQL, executed against the vendor's own schema.

What surrounds the execution follows GraphQL Yoga, which the vendor's answers point to.
"""

import secrets
from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import cache, lru_cache
from importlib.resources import files
from typing import Any, Final, NamedTuple
from wsgiref.types import StartResponse, WSGIEnvironment

import msgspec
from graphql import (
    DocumentNode,
    ExecutionResult,
    FieldNode,
    GraphQLError,
    GraphQLSchema,
    OperationDefinitionNode,
    build_schema,
    execute_sync,
    parse,
    validate,
    value_from_ast_untyped,
)
from werkzeug import Request, Response
from werkzeug.exceptions import HTTPException

from sandbox.base import DEFAULT_CLOCK, DEFAULT_SLEEP, Clock, Refusal, Route, Sleep, Vendor, bearer, json_answer
from sandbox.journal import Audience
from sandbox.ratelimit import RateWindow
from sandbox.stackadapt_access import Advertisers, Forbidden, StackAdaptSwitches
from sandbox.stackadapt_mutations import Mutations
from sandbox.stackadapt_queries import Queries
from sandbox.stackadapt_store import Profile, ProfileStore

__all__ = ["StackAdaptSandbox", "StackAdaptSwitches"]

JSON: Final = "application/json"
GRAPHQL_JSON: Final = "application/graphql-response+json"


class Operation(NamedTuple):
    """The body of a request."""

    query: str
    variables: dict[str, Any]
    name: str | None


class StackAdaptSandbox(Vendor):
    """`api_url` is `/graphql` below where this is mounted."""

    def __init__(
        self,
        switches: StackAdaptSwitches | None = None,
        *,
        clock: Clock = DEFAULT_CLOCK,
        sleep: Sleep = DEFAULT_SLEEP,
    ) -> None:
        super().__init__([Route("graphql", "POST", "/graphql", self._graphql)], clock=clock, sleep=sleep)
        self.switches = switches or StackAdaptSwitches()
        self._forget()

    def profiles(self, advertiser: str) -> dict[str, Profile]:
        """What is kept of people, by email."""
        with self._lock:
            self._store.apply_due()
            return dict(self._store.profiles.get(advertiser, {}))

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        self.tokens.adopt(bearer(Request(environ)) or "")  # before a fault revokes the tokens known so far
        return super().__call__(environ, start_response)

    # ── What every stand-in has ──────────────────────────────────────────────────────────────────

    def _forget(self) -> None:
        self._windows: dict[str, RateWindow] = {}
        self._store = ProfileStore(lambda: self.switches, self._clock, self.counted)
        advertisers = Advertisers(lambda: self.switches)
        mutations = Mutations(self._store, advertisers, lambda: self.switches, self._clock)
        self._root = {**Queries(self._store, advertisers, lambda: self.switches).fields, **mutations.fields}

    def _memberships(self) -> Mapping[Audience, Collection[str]]:
        self._store.apply_due()
        return self._store.memberships()

    def _audiences(self, _route: str, request: Request) -> Collection[Audience]:
        try:
            operation = _operation(request)
        except Refusal:
            return ()
        document = _checked(operation.query)
        key = "audienceName" if self.switches.membership_key == "name" else "audienceId"
        named = _named_audiences(document, operation.variables, key) if isinstance(document, DocumentNode) else ()
        return set(named)

    def _no_route(self, request: Request, error: HTTPException) -> Response:
        """An HTML page."""
        return error.get_response(request.environ)

    # ── One request ──────────────────────────────────────────────────────────────────────────────

    def _graphql(self, request: Request) -> Response:
        """What is wrong with the body is told before the token is looked at, as was observed."""
        self._check_size(request)
        operation = _operation(request)
        self._check_token(request)
        self._take_call(bearer(request) or "")
        mimetype = _accepted(request)
        self._store.apply_due()
        result = self._execute(operation)
        self._store.apply_due()
        return self._answer_of(result, mimetype)

    def _execute(self, operation: Operation) -> ExecutionResult:
        document = _checked(operation.query)
        if not isinstance(document, DocumentNode):
            return ExecutionResult(data=None, errors=document)
        return execute_sync(
            _schema(),
            document,
            root_value=self._root,
            variable_values=operation.variables,
            operation_name=operation.name,
        )

    def _answer_of(self, result: ExecutionResult, mimetype: str) -> Response:
        if self.switches.forbidden_as == "status_403" and any(
            isinstance(error.original_error, Forbidden) for error in result.errors or ()
        ):
            return json_answer(result.formatted, 403, mimetype)
        early = {"by_accept": 200 if mimetype == JSON else 400, "status_200": 200, "status_400": 400}
        return _answer(result, mimetype, early[self.switches.early_errors])

    def _check_size(self, request: Request) -> None:
        limit = self.switches.max_body_bytes
        if limit is not None and len(request.get_data()) > limit:
            page = "<html><head><title>413 Request Entity Too Large</title></head></html>"
            raise Refusal(Response(page, 413, mimetype="text/html"))

    def _check_token(self, request: Request) -> None:
        token = bearer(request)
        if not token:
            raise _unauthenticated("Authentication is required.")
        standing = self.tokens.standing(token)
        if token in self.switches.refused_tokens or standing == "revoked":
            raise _unauthenticated("The access token is invalid.")
        if token in self.switches.expired_tokens or standing == "expired":
            raise Refusal(json_answer({"errors": [{"message": "The access token expired"}], "data": None}))

    def _take_call(self, token: str) -> None:
        limit = self.switches.rate_limit
        window = self._windows.setdefault(token, RateWindow(self._clock))
        if limit is None or window.take(limit):
            return
        refusal = _refusal(429 if self.switches.throttled_as == "status_429" else 200, "Request was throttled.")
        if self.switches.retry_after:
            refusal.response.headers["Retry-After"] = str(max(1, int(window.resets_at() - self._clock())))
        raise refusal


# ── Bodies and answers ───────────────────────────────────────────────────────────────────────────


def _operation(request: Request) -> Operation:
    """The body, or a refusal in Yoga's words."""
    if request.mimetype != JSON:
        raise Refusal(Response(status=415))
    try:
        body = msgspec.json.decode(request.get_data())
    except msgspec.DecodeError as malformed:
        raise _refusal(400, "POST body sent invalid JSON.") from malformed
    if not isinstance(body, dict):
        raise _refusal(400, "Batching is not supported.")
    for key in body:
        if key not in {"query", "variables", "operationName", "extensions"}:
            raise _refusal(400, f'Unexpected parameter "{key}" in the request body.')
    query, variables = body.get("query"), body.get("variables") or {}
    if not isinstance(query, str) or not query:
        raise _refusal(400, "Must provide query string.")
    if not isinstance(variables, dict):
        raise _refusal(400, "Variables must be an object.")
    return Operation(query, variables, body.get("operationName"))


def _refusal(status: int, message: str) -> Refusal:
    return Refusal(json_answer({"errors": [{"message": message}]}, status))


def _unauthenticated(message: str) -> Refusal:
    error = {"message": message, "extensions": {"traceId": secrets.token_hex(16)}}
    return Refusal(json_answer({"errors": [error]}, 401))


def _accepted(request: Request) -> str:
    """The kind of JSON to answer with; whoever takes anything gets the newer one, as Yoga does."""
    for wanted in request.headers.get("Accept", "*/*").split(","):
        mimetype = wanted.partition(";")[0].strip()
        if mimetype in {"*/*", "application/*", GRAPHQL_JSON}:
            return GRAPHQL_JSON
        if mimetype == JSON:
            return JSON
    raise Refusal(Response(status=406))


def _answer(result: ExecutionResult, mimetype: str, early: int) -> Response:
    """Errors before the execution come without `data`, with the status `early`.

    Their wording is that of graphql-js, which quotes with `"`.
    """
    if result.data is None and result.errors and not any(error.path for error in result.errors):
        errors = [error.formatted | {"message": error.message.replace("'", '"')} for error in result.errors]
        return json_answer({"errors": errors}, early, mimetype)
    return json_answer(result.formatted, 200, mimetype)


# ── GraphQL ──────────────────────────────────────────────────────────────────────────────────────


@cache
def _schema() -> GraphQLSchema:
    return build_schema(files("sandbox").joinpath("stackadapt.graphql").read_text(encoding="utf-8"))


@lru_cache(maxsize=64)
def _checked(query: str) -> DocumentNode | list[GraphQLError]:
    """The document, or what is wrong with it. The same few documents come again and again."""
    try:
        document = parse(query)
    except GraphQLError as error:
        return [error]
    return validate(_schema(), document) or document


def _named_audiences(document: DocumentNode, variables: Mapping[str, Any], key: str) -> Iterator[Audience]:
    """The audiences of the rows that a document would upsert."""
    for given in _upserts(document, variables):
        for row in _rows(given.get("profiles")):
            if isinstance(row, dict) and key in row:
                yield Audience(str(given.get("advertiserId")), str(row[key]))


def _upserts(document: DocumentNode, variables: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for definition in document.definitions:
        if isinstance(definition, OperationDefinitionNode):
            for node in definition.selection_set.selections:
                if isinstance(node, FieldNode) and node.name.value == "upsertProfiles":
                    for argument in node.arguments or ():
                        yield value_from_ast_untyped(argument.value, dict(variables)) or {}


def _rows(profiles: object) -> list[Any]:
    if isinstance(profiles, str):
        try:
            profiles = msgspec.json.decode(profiles)
        except msgspec.DecodeError:
            return []
    return profiles if isinstance(profiles, list) else []
