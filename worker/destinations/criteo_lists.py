"""Finds the contact list that has an audience's name, or creates it. Lists are noted, since each search reads all."""

from collections.abc import Generator
from typing import Final

from worker.destinations.base import Notes, Request, Response
from worker.destinations.criteo_answers import (
    CONFLICT,
    ContactList,
    checked,
    checked_without_people,
    contact_lists,
    passes,
    problems,
    total,
    words,
)
from worker.errors import NeedsPerson, Refused, TooLarge, TryLater

PAGE: Final = 100
SEARCHED: Final = "searched"
"""The note that all contact lists were noted once."""
READ_ONLY: Final = "read-only"
"""Noted in place of a list's id: it took no changes when it was last seen, and is looked at again before each use."""

Search = Generator[Request, Response, list[ContactList]]


def note_of(name: str) -> str:
    return f"list:{name}"


def forget(name: str, notes: Notes) -> None:
    """Let the next conversation look for the list again."""
    notes.pop(note_of(name), None)
    notes.pop(SEARCHED, None)


class ContactLists:
    """The contact lists of one advertiser; `segments` is the address of all its audience segments."""

    def __init__(self, segments: str, advertiser_id: str) -> None:
        self._segments = segments
        self._advertiser_id = advertiser_id

    def search(self, *, limit: int = PAGE, list_id: str | None = None) -> Search:
        """The first of them, or the one of that id."""
        return contact_lists(checked_without_people((yield self._search(limit, 0, list_id))))

    def all(self) -> Search:
        """Every one of them: there is no search by name. Ends at a page with nothing new."""
        found: dict[str, ContactList] = {}
        read = 0
        while True:
            answer = checked_without_people((yield self._search(PAGE, read)))
            page = contact_lists(answer)
            new = {each.id: each for each in page if each.id not in found}
            found.update(new)
            read += len(page)
            most = total(answer)
            if not new or (most is not None and read >= most):
                return list(found.values())

    def named(self, name: str, notes: Notes, *, create: bool) -> Generator[Request, Response, str | None]:
        """The id of the list of that name; None: there is none, and none was to be created."""
        note = note_of(name)
        known = notes.get(note)
        if known == READ_ONLY or (known is None and not (SEARCHED in notes and create)):
            yield from self._look_for(name, notes)
        if note not in notes and create:
            yield from self._create(name, notes)
        if notes.get(note) == READ_ONLY:
            raise read_only()
        return notes.get(note)

    def _search(self, limit: int, offset: int, list_id: str | None = None) -> Request:
        wanted = {"advertiserIds": [self._advertiser_id], "audienceSegmentTypes": ["ContactList"]}
        if list_id is not None:
            wanted["audienceSegmentIds"] = [list_id]
        body = {"data": {"type": "AudienceSegment", "attributes": wanted}}
        url = f"{self._segments}/search?limit={limit}&offset={offset}"
        return Request.json("POST", url, body, changes_nothing=True)

    def _look_for(self, name: str, notes: Notes) -> Generator[Request, Response, None]:
        """Note every list of the advertiser.

        Once that is done, a name that is not noted is new, or somebody else's: creating it tells.
        """
        notes.pop(note_of(name), None)
        found = yield from self.all()
        notes.update({note_of(each.name): READ_ONLY if each.read_only else each.id for each in found})
        notes[SEARCHED] = "yes"

    def _create(self, name: str, notes: Notes) -> Generator[Request, Response, None]:
        """Create the list, or find the one that somebody else has created meanwhile."""
        attributes = {"advertiserId": self._advertiser_id, "name": name, "description": name, "contactList": {}}
        body = {"data": [{"type": "AudienceSegment", "attributes": attributes}]}
        response = yield Request.json("POST", f"{self._segments}/create", body)
        taken = _says_name_is_taken(response)
        created = None if taken else _created(response)
        if created is not None:
            notes[note_of(name)] = created
            return
        yield from self._look_for(name, notes)
        if note_of(name) in notes:
            return
        if taken:
            raise _not_created("the name is taken, but by no contact list that Criteo shows")
        raise TryLater("contact list not created", "Criteo neither shows it nor says why", scope="lane")


def read_only() -> NeedsPerson:
    advice = "have Criteo make it writable, or rename it there, so that a new one is made"
    return NeedsPerson("contact list is read-only", advice, scope="lane")


def _says_name_is_taken(response: Response) -> bool:
    """As a warning or an error of a success, or with a status of failure: Criteo's pages and connectors differ."""
    codes = {each.get("code") for each in problems(response)}
    return "name-must-be-unique" in codes or (response.status == CONFLICT and not codes)


def _created(response: Response) -> str | None:
    """The id of the list that was created; None: the answer does not say whether one was.

    What Criteo refuses here is the audience's name; that concerns the lane alone, and none of its people.
    """
    try:
        created = contact_lists(checked(response))
    except (Refused, TooLarge) as refusal:
        raise _not_created(refusal.detail or refusal.reason) from None
    told = problems(response)
    if created or not told:
        return created[0].id if created else None
    raise TryLater("vendor error", words(told), scope="lane") if passes(told) else _not_created(words(told))


def _not_created(why: str) -> NeedsPerson:
    advice = "make a contact list by hand and configure its audience_id for this audience"
    return NeedsPerson("contact list not created", f"{why}; {advice}", scope="lane")
