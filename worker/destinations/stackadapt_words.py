"""What StackAdapt's words order. It has no codes, documents no wording, and few were ever seen; so words decide.

The patterns are narrow, and tried in the order of `_ORDERS`. What is said of one person's data ("first_name is too
long") must fit none: it would hold or halve what is well.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from worker.destinations.base import scrub
from worker.errors import DeliveryError, NeedsPerson, Throttled, TooLarge, TryLater


def joined(messages: Iterable[str]) -> str:
    """All that was said, each thing once; a thousand profiles may have a thousand errors, so not all of it."""
    return "; ".join(dict.fromkeys(messages))[:_ENOUGH]


def order_of(words: str) -> DeliveryError | None:
    """None: the words are about nothing but content, or say nothing that is known."""
    return next((order(scrub(words)) for pattern, order in _ORDERS if pattern.search(words)), None)


def not_writable(words: str) -> NeedsPerson:
    advice = "check advertiser_id, and that api_token has the scope WRITE for it"
    return NeedsPerson("advertiser not writable", f"{words}; {advice}")


def not_understood(words: str) -> NeedsPerson:
    advice = "StackAdapt does not understand the relay; its API has changed: look for a newer audience-relay"
    return NeedsPerson("request not understood", f"{words}; {advice}")


def is_about_document(words: str) -> bool:
    """In the wording of graphql-js, and of graphql-ruby, which may stand behind it."""
    return _DOCUMENT.search(words) is not None


def is_about_form(words: str) -> bool:
    """Of a list as a whole, which is the same whomever it holds."""
    return _FORM.search(words) is not None


def is_about_content(words: str) -> bool:
    return _CONTENT.search(words) is not None


def is_about_absence(words: str) -> bool:
    """That there is nobody to be deleted."""
    return _ABSENCE.search(words) is not None


def _pattern(*alternatives: str) -> re.Pattern[str]:
    return re.compile("|".join(alternatives), re.IGNORECASE)


_ENOUGH: Final = 2_000
_DOCUMENT: Final = _pattern(
    r"cannot query field|unknown (argument|type|operation|directive|fragment)|(syntax|parse) error|subfields",
    r"unexpected (parameter|token|name)|must provide (a |an )?(query|operation|document)|sent invalid json",
    r"invalid value|cannot represent|\bof (required )?type\b|expected (value of )?type|not defined by",
    r"doesn't (exist on type|accept argument)|\bmismatch on variable|graphql (validation|parse) failed|\bcomplexity\b",
)
_FORM: Final = _pattern(r"\bjson\b|must be an? (array|list|string)")
_CONTENT: Final = _pattern(r"\b(profiles?|emails?|property|properties|rows?)\b")
_ABSENCE: Final = _pattern(
    r"not (be )?found|not exist|doesn't exist|could ?n[o']t find",
    r"\b(no|unknown) (such |matching )?(profile|user|person|record|email|external)",
)
_EXPIRED: Final = _pattern(r"\btoken\b.*\bexpired|\bexpired\b.*\btoken")
_THROTTLED: Final = _pattern(
    r"throttl|rate[\s_-]?limit|too many requests|\bquota\b|\bper (second|minute|hour|day)\b",
    r"\b(hourly|daily|monthly) limit",
)
_UNKNOWN: Final = _pattern(
    r"unauthenticated|not authenticated|authentication (is )?(required|failed)",
    r"(invalid|unknown|revoked|bad) (\w+ )?(token|credentials)|token (is|was|has been) (invalid|unknown|revoked)",
)
_FORBIDDEN: Final = _pattern(
    r"\bpermissions?\b|\bforbidden\b|\b(un|not )authori[sz]ed\b|\baccess (is )?denied\b|\bread[\s-]only\b",
    r"\b(no|not have|missing|lacks?|insufficient|needs?|requires?|without)\b.*\b(access|scopes?|privileges?|rights?)\b",
    r"\bscopes?\b.*\b(missing|required|needed)\b|\bnot permitted\b|\b(you|token|key)\b.*\bnot allowed\b",
    r"\badvertiser\b.*\b(not found|unknown|invalid|not exist|doesn't exist|not belong|not accessible|inaccessible)\b",
    r"\b(no such|unknown|invalid|find) (an? |the )?advertiser\b",
)
_PASSING: Final = _pattern(
    r"internal (server )?error|unexpected error|something went wrong|unavailable|overloaded|bad gateway|upstream",
    r"time(d |-)?out|try again|temporar",
)
_MANY: Final = r"\b(profiles|records|rows|items|entries|elements|emails|ids|request|payload|body|batch|bytes)\b"
_TOO_LARGE: Final = _pattern(
    rf"too many {_MANY}",
    rf"{_MANY}.*\b(too (many|large|long|big)|exceed\w*|more than|at most|maximum)\b",
    rf"\b(exceed\w*|more than|at most|maximum|limit)\b.*{_MANY}",
)

_ORDERS: Final[Sequence[tuple[re.Pattern[str], Callable[[str], DeliveryError]]]] = (
    (_EXPIRED, lambda _: NeedsPerson("token expired", "ask StackAdapt for a new API token and set api_token")),
    (_THROTTLED, lambda words: Throttled("rate limited", words, scope="credential")),
    (_UNKNOWN, lambda words: NeedsPerson("credentials refused", f"{words}; check api_token")),
    (_FORBIDDEN, not_writable),
    (_PASSING, lambda words: TryLater("vendor error", words)),
    (_TOO_LARGE, lambda words: TooLarge("request too large", words)),
)
