"""One GraphQL request to StackAdapt, and what its answer orders.

A document is constant; values travel as variables, never inside it. An answer is looked at in this order: status,
JSON, `errors`, `data`, and the `userErrors` of each field: a 200 is no success before all of them.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, NamedTuple

from worker.contract import Identifier
from worker.destinations import stackadapt_words
from worker.destinations.base import Receipt, Request, Response, expect_success, scrub
from worker.destinations.stackadapt_words import joined, not_understood, not_writable
from worker.errors import DeliveryError, NeedsPerson, Refused, Throttled, TryLater


def ask(api_url: str, document: str, variables: Mapping[str, object], *, changes_nothing: bool = False) -> Request:
    """The vendor answers other keys than these two with a 400."""
    body = {"query": document, "variables": variables}
    return Request.json("POST", api_url, body, changes_nothing=changes_nothing)


class UserError(NamedTuple):
    """What a field says is wrong with its input. `path` is in single steps, without brackets and dots."""

    words: str
    path: tuple[str, ...]


def data_of(response: Response) -> Mapping[str, Any]:
    """`data` of an answer without `errors`. Raises what the answer orders instead."""
    if words := joined(_messages(response.json_or_empty().get("errors"))):
        _raise_for(words, response)
    if response.status in _NO_SUCH_PLACE:
        raise NeedsPerson("not found", f"HTTP {response.status}: check api_url; StackAdapt's ends in /graphql")
    expect_success(response)
    data = response.json().get("data")
    if not isinstance(data, dict):
        raise TryLater("malformed answer", "no data and no errors")
    return data


def user_errors(data: Mapping[str, Any], field: str) -> Sequence[UserError]:
    """What a field did not take. Raises `TryLater` when the field was not answered at all."""
    payload = data.get(field)
    if not isinstance(payload, dict):
        raise TryLater("malformed answer", f"no answer to {field}")
    errors = payload.get("userErrors") or []
    return [UserError(_message(each), _steps(each)) for each in (errors if isinstance(errors, list) else [errors])]


def receipt_of(data: Mapping[str, Any], sent: Sequence[Identifier]) -> Receipt:
    """Each error belongs to the profile whose place its path tells; one without a place concerns them all."""
    refused: dict[Identifier, str] = {}
    of_all: list[UserError] = []
    for error in user_errors(data, "upsertProfiles"):
        place = place_of(error, "profiles")
        if place is None or place >= len(sent):
            of_all.append(error)
        else:
            refused.setdefault(sent[place], scrub(error.words))
    if of_all:
        raise order_of(of_all) or Refused("profiles refused", words_of(of_all))
    return Receipt(refused)


def place_of(error: UserError, within: str) -> int | None:
    """The number after the name of the list; or the first step, where the path begins inside the list."""
    path = error.path
    inside = path[path.index(within) + 1 :] if within in path else [each for each in path if each != "input"]
    return int(inside[0]) if inside and _PLACE.fullmatch(inside[0]) else None


def order_of(errors: Sequence[UserError]) -> DeliveryError | None:
    """What errors order that concern the request as a whole. None: they are about its content."""
    words = joined(each.words for each in errors)
    steps = {step for each in errors for step in each.path}
    if "advertiserId" in steps:
        return not_writable(scrub(words))
    if steps & _NOBODY_CONFIGURES or stackadapt_words.is_about_form(words):
        return not_understood(scrub(words))
    return stackadapt_words.order_of(words)


def words_of(errors: Sequence[UserError]) -> str:
    """Fit for status and logs."""
    return scrub(joined(each.words for each in errors))


_NO_SUCH_PLACE: Final = {404, 405, 406, 415}
_NOBODY_CONFIGURES: Final = {"externalProvider", "mappableType", "syncId"}
_PLACE: Final = re.compile(r"\d{1,9}", re.ASCII)


def _raise_for(words: str, response: Response) -> None:
    """`errors` concern the request as a whole; its content only when they say so. Nobody is buried for any other."""
    if response.status >= 500 or response.status in {413, 429}:  # noqa: PLR2004 - the classes of HTTP
        expect_success(response)
    if stackadapt_words.is_about_document(words):
        raise not_understood(scrub(words))
    order = stackadapt_words.order_of(words)
    if isinstance(order, Throttled):
        expect_success(replace(response, status=429))  # which reads when to come back
    if order is not None:
        raise order
    if response.status in {401, 403, *_NO_SUCH_PLACE}:
        return
    if stackadapt_words.is_about_content(words):
        raise Refused("GraphQL errors", scrub(words))
    if response.status >= 400:  # noqa: PLR2004 - the classes of HTTP
        raise not_understood(scrub(words))
    raise TryLater("vendor error", scrub(words))


def _messages(errors: object) -> Iterable[str]:
    """With the code, where there is one: `FORBIDDEN` is as good as its words."""
    for each in errors if isinstance(errors, list) else [errors] if errors else []:
        extensions = each.get("extensions") if isinstance(each, dict) else None
        code = extensions.get("code") if isinstance(extensions, dict) else None
        yield f"{_message(each)} ({str(code).replace('_', ' ').lower()})" if code else _message(each)


def _message(error: object) -> str:
    return str(error.get("message") or "no reason given") if isinstance(error, dict) else str(error)


def _steps(error: object) -> tuple[str, ...]:
    """Of `["input", "profiles[1].email"]` and its like: input, profiles, 1, email."""
    path = error.get("path") if isinstance(error, dict) else None
    steps = path if isinstance(path, list) else [path or ""]
    return tuple(re.findall(r"[^.\[\]/]+", ".".join(str(step) for step in steps)))
