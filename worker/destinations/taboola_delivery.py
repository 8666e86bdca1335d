"""The conversation with Taboola about one batch: find the audience, remove and add users, and read a refusal."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Final

import msgspec

from worker.contract import LaneKey
from worker.destinations.base import NOTICE, Entry, FoldedBatch, Notes
from worker.destinations.taboola_account import Account, Asking, Operation
from worker.destinations.taboola_answers import Audience, named, whole
from worker.destinations.taboola_complaints import FORBIDDEN, Complaint
from worker.destinations.taboola_terms import Shown, Wanted, notice
from worker.errors import NeedsPerson, TryLater

_NOT_USABLE: Final = "audience not usable"


def note_keys(lane: LaneKey) -> tuple[str, str, str]:
    """The audience's id; and where the audience is not as wanted, what it is like, and the words about it."""
    return (f"audience:{lane.audience}", f"shown:{lane.audience}", f"{NOTICE}{lane.audience}")


class Delivery(ABC):
    """One batch for one audience of an account."""

    def __init__(self, account: Account, audience: str, batch: FoldedBatch, notes: Notes, wanted: Wanted) -> None:
        """`audience` is its name or its id, as the configuration has it; `wanted` what it is created with, unless
        events state something else.
        """
        self._account = account
        self._audience = audience
        self._batch = batch
        self._notes = notes
        self._wanted = wanted

    def run(self) -> Asking[None]:
        audience_id = yield from self._audience_id()
        if audience_id is None:
            return  # nobody is in an audience that does not exist
        for operation, entries in _steps(self._batch):
            complaint = yield from self._account.amend(operation, audience_id, entries, self._wanted.source)
            if complaint is not None:
                yield from self._weigh(complaint, audience_id)
                return

    def _weigh(self, complaint: Complaint, audience_id: int) -> Asking[None]:
        """Whom a refusal is about. Returns only where nothing is left to do.

        Before one person alone is refused in words that blame no field, the account and the audience are looked at.
        """
        if self._is_about_audience(complaint, audience_id):
            yield from self._reconsider(complaint, audience_id)
            return
        alone = len(self._batch.entries) == 1
        if alone and complaint.is_vague:
            try:
                listed = yield from self._account.audiences()
            except NeedsPerson as order:
                raise NeedsPerson(order.reason, order.detail, scope="lane") from None
            if not any(each.id == audience_id and each.onboarded for each in listed):
                yield from self._reconsider(complaint, audience_id)
                return
        raise complaint.order(alone=alone)

    def _is_about_audience(self, complaint: Complaint, audience_id: int) -> bool:
        return complaint.blames_audience(audience_id)

    @abstractmethod
    def _audience_id(self) -> Asking[int | None]:
        """The audience's id; None: there is none, and nobody to add."""

    @abstractmethod
    def _reconsider(self, complaint: Complaint, audience_id: int) -> Asking[None]:
        """Taboola takes no users for this audience. Returns only where nothing is left to do."""


def _steps(batch: FoldedBatch) -> Iterator[tuple[Operation, tuple[Entry, ...]]]:
    yield "REMOVE", batch.removes
    yield "ADD", batch.adds


class DeliveryByName(Delivery):
    """Notes the id of the audience, and finds or creates it where none is noted. Removes alone create nothing."""

    def _audience_id(self) -> Asking[int | None]:
        noted, shown, _ = note_keys(self._batch.lane)
        known = self._notes.get(noted)
        if known is None:
            return (yield from self._found())
        if shown in self._notes and self._batch.adds:
            self._judge(int(known), msgspec.json.decode(self._notes[shown], type=Shown))
        return int(known)

    def _found(self) -> Asking[int | None]:
        if self._batch.adds:
            return self._note((yield from self._create()))
        audience = named((yield from self._account.audiences()), self._audience, self._account.id)
        return None if audience is None else self._note(audience)

    def _reconsider(self, complaint: Complaint, audience_id: int) -> Asking[None]:
        """It may be too young: a new one takes up to an hour (page "create"). Nobody is refused for that.

        The id is kept while Taboola lists it. Else the name decides: creating it again leads to the same audience
        where it only was not listed yet, and to a new one where somebody has deleted it.
        """
        try:
            listed = yield from self._account.audiences()
        except NeedsPerson:
            raise self._wait(audience_id, complaint) from None
        audience = next((each for each in listed if each.id == audience_id), None)
        if audience is not None and not audience.onboarded:
            detail = f"Taboola's audience {audience_id} was not made by onboarding and takes no users; use another name"
            raise NeedsPerson(_NOT_USABLE, detail, scope="lane")
        audience = audience or named(listed, self._audience, self._account.id)
        if audience is None and self._batch.adds:
            audience = yield from self._create()
        if audience is None:
            self._forget()
            return
        raise self._wait(self._note(audience), complaint)

    def _create(self) -> Asking[Audience]:
        return (yield from self._account.create(self._audience, self._wanted.stated_in(self._batch)))

    def _wait(self, audience_id: int, complaint: Complaint) -> TryLater:
        hour = "a new one takes up to an hour; if it lasts longer, ask Taboola about it"
        return TryLater(
            _NOT_USABLE, f"Taboola takes no users for audience {audience_id} ({complaint.said}): {hour}", scope="lane"
        )

    def _note(self, audience: Audience) -> int:
        noted, _, _ = note_keys(self._batch.lane)
        self._notes[noted] = str(audience.id)
        self._judge(audience.id, audience.shown)
        return audience.id

    def _judge(self, audience_id: int, shown: Shown) -> None:
        """Tell somebody if the audience is not as wanted; else take back what was told."""
        _, shown_note, notice_note = note_keys(self._batch.lane)
        words = notice(audience_id, self._wanted.stated_in(self._batch), shown)
        if words is None:
            self._notes.pop(shown_note, None)
            self._notes.pop(notice_note, None)
        else:
            self._notes[shown_note] = msgspec.json.encode(shown).decode()
            self._notes[notice_note] = words

    def _forget(self) -> None:
        for note in note_keys(self._batch.lane):
            self._notes.pop(note, None)


class DeliveryById(Delivery):
    """The event named the audience by its id: nothing is searched, created or noted."""

    def _audience_id(self) -> Asking[int | None]:
        yield from ()
        audience_id = whole(self._audience)
        if audience_id is None:
            detail = "its name is no audience id: it was filled under another audience_identifier; set that again"
            raise NeedsPerson(_NOT_USABLE, detail, scope="lane")
        return audience_id

    def _is_about_audience(self, complaint: Complaint, audience_id: int) -> bool:
        """Where the account may be read, what is forbidden is this audience."""
        return super()._is_about_audience(complaint, audience_id) or complaint.status == FORBIDDEN

    def _reconsider(self, complaint: Complaint, audience_id: int) -> Asking[None]:
        if complaint.status == FORBIDDEN:
            yield from self._account.audiences()
        advice = "check that it is one of the account, made by onboarding; a new one takes up to an hour"
        raise NeedsPerson(
            _NOT_USABLE, f"Taboola takes no users for audience {audience_id} ({complaint.said}): {advice}", scope="lane"
        )
