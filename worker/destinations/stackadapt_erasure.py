"""Deleting profiles at StackAdapt, by email and, where it is mapped, by external id.

The vendor works later on what it takes, so a profile that was sent shortly before may come after its own deletion.
A compliance request (`erase_as_compliance_request`) has the vendor refuse that one; and any later one, for good.
"""

from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Final, NamedTuple

from worker.destinations.base import Request, Response
from worker.destinations.stackadapt_graphql import UserError, ask, data_of, order_of, place_of, user_errors, words_of
from worker.destinations.stackadapt_mapping import PROVIDER
from worker.destinations.stackadapt_words import is_about_absence
from worker.errors import NeedsPerson, Refused

MOST_AT_ONCE: Final = 100
"""Emails in one call (schema text); of external ids nothing is said."""


class Deletion(NamedTuple):
    """One way to delete: the mutation's field, the list in its input that holds whom, and the input."""

    field: str
    whom: str
    document: str
    input: Callable[[Sequence[str]], Mapping[str, object]]


def by_email(advertiser_id: str, *, for_good: bool) -> Deletion:
    """`for_good`: the vendor never takes them again."""
    common = {"advertiserId": advertiser_id, "isComplianceRequest": for_good}
    return Deletion("deleteRawProfiles", "emails", _BY_EMAIL, lambda emails: {**common, "emails": emails})


def by_external_id(advertiser_id: str) -> Deletion:
    """Without a `syncId`: if the vendor takes one for a repetition, the same person could not be deleted twice."""
    common = {"advertiserIds": [advertiser_id], "externalProvider": PROVIDER}
    return Deletion(
        "deleteProfilesWithExternalIds", "externalIds", _BY_EXTERNAL_ID, lambda ids: {**common, "externalIds": ids}
    )


def delete(api_url: str, deletion: Deletion, values: Sequence[str]) -> Generator[Request, Response, int]:
    """Delete all of them. Returns of how many that was asked: the vendor does not tell whom it knew."""
    for start in range(0, len(values), MOST_AT_ONCE):
        yield from _delete(api_url, deletion, values[start : start + MOST_AT_ONCE])
    return len(values)


_BY_EMAIL: Final = """\
mutation DeleteByEmail($input: DeleteRawProfilesInput!) {
  deleteRawProfiles(input: $input) { userErrors { message path } }
}
"""
_BY_EXTERNAL_ID: Final = """\
mutation DeleteByExternalId($input: DeleteProfilesWithExternalIdsInput!) {
  deleteProfilesWithExternalIds(input: $input) { userErrors { message path } }
}
"""


def _delete(api_url: str, deletion: Deletion, values: Sequence[str]) -> Generator[Request, Response, None]:
    """Somebody whom the vendor does not know is no error; but did the call then delete the others? So they go again."""
    absent = _absent((yield ask(api_url, deletion.document, {"input": deletion.input(values)})), deletion)
    if not absent or len(values) == 1:
        return
    named = {place_of(error, deletion.whom) for error in absent}
    rest = [value for place, value in enumerate(values) if place not in named]
    middle = len(values) // 2
    for part in [rest] if len(rest) < len(values) else [values[:middle], values[middle:]]:
        if part:
            yield from _delete(api_url, deletion, part)


def _absent(response: Response, deletion: Deletion) -> Sequence[UserError]:
    """The errors, if all say that there is nobody to delete. Raises what any other orders."""
    try:
        errors = user_errors(data_of(response), deletion.field)
    except Refused as refusal:
        errors = [UserError(refusal.detail, ())]
    others = [each for each in errors if not _is_absence(each, deletion)]
    if others:
        raise order_of(others) or NeedsPerson("erasure refused", words_of(others), scope="lane")
    return errors


def _is_absence(error: UserError, deletion: Deletion) -> bool:
    about_them = deletion.whom in error.path or "advertiser" not in error.words.lower()
    return about_them and is_about_absence(error.words)
