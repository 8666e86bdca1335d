"""Criteo: contact lists over the Marketing Solutions API, after its OpenAPI files and developer pages."""

from collections.abc import Callable, Collection, Mapping
from typing import Any, Final

from werkzeug import Request, Response

from sandbox.base import DEFAULT_CLOCK, DEFAULT_SLEEP, Clock, Refusal, Route, Sleep, json_answer
from sandbox.criteo_identifiers import Sorted, sort
from sandbox.criteo_messages import (
    AmendmentAttributes,
    AmendmentBody,
    Problem,
    Segment,
    envelope,
    iso_ticks,
    problem,
    read,
    refusal,
)
from sandbox.criteo_segments import AUDIENCES, CriteoSegments
from sandbox.criteo_statistics import count, statistics
from sandbox.criteo_switches import CriteoSwitches, IdentifierType
from sandbox.journal import Audience

__all__ = ["CriteoSandbox", "CriteoSwitches"]

MAX_IDENTIFIERS: Final = 50_000
"""Identifiers in one amendment (guide "audience segments", section on managing contact lists)."""


class CriteoSandbox(CriteoSegments):
    """`api_url` is where this is mounted: `{api_url}/oauth2/token` and `{api_url}/{version}/…`."""

    def __init__(
        self,
        switches: CriteoSwitches | None = None,
        *,
        clock: Clock = DEFAULT_CLOCK,
        sleep: Sleep = DEFAULT_SLEEP,
    ) -> None:
        contact_list, legacy = f"{AUDIENCES}/<segment_id>/contact-list", "/<version>/audiences/<segment_id>/contactlist"
        amend, empty = self.guarded("manage", self._amend), self.guarded("manage", self._empty)
        routes = (
            Route("amend", "PATCH", contact_list, amend),
            Route("empty", "DELETE", contact_list, empty),
            Route("statistics", "GET", f"{contact_list}/statistics", self.guarded("read", self._statistics)),
            Route("amend", "PATCH", legacy, self._if_legacy(amend)),
            Route("empty", "DELETE", legacy, self._if_legacy(empty)),
        )
        super().__init__(routes, switches or CriteoSwitches(), clock=clock, sleep=sleep)

    def _if_legacy(self, answer: Callable[..., Response]) -> Callable[..., Response]:
        def guarded(request: Request, **arguments: str) -> Response:
            if not self.switches.legacy_path:
                raise refusal(request, 404, "not-found", f"{request.path} does not exist")
            return answer(request, **arguments)

        return guarded

    def _memberships(self) -> Mapping[Audience, Collection[str]]:
        lists = (segment for segment in self._segments.values() if segment.type == "ContactList")
        return {Audience(segment.advertiser, segment.name): segment.members for segment in lists}

    def _audiences(self, route: str, request: Request) -> Collection[Audience]:
        if route not in {"amend", "empty"}:
            return ()
        segment_id = request.path.split("/")[-2]
        with self._lock:
            segment = self.find(segment_id)
            return (Audience(segment.advertiser, segment.name) if segment else Audience("", segment_id),)

    # ── Endpoints ────────────────────────────────────────────────────────────────────────────────

    def _amend(self, request: Request, segment_id: str) -> Response:
        """Add or remove identifiers. Invalid ones are counted and sampled; the call succeeds all the same."""
        amendment = read(request, AmendmentBody).data.attributes
        kind = self._check_amendment(request, amendment)
        nothing = {"type": "ContactlistAmendment", "attributes": {"operation": amendment.operation}}
        segment = self._writable(request, segment_id, nothing)
        identifiers = sort(amendment.identifiers, kind, self.switches)
        self._check_room(request, segment, amendment.operation, kind, identifiers)
        self._apply(segment, amendment.operation, identifiers)
        segment.identifier_type = segment.identifier_type or kind
        summary = self._summary(segment, amendment.operation, kind, identifiers)
        return json_answer(envelope(summary, warnings=self.notices(request)))

    def _empty(self, request: Request, segment_id: str) -> Response:
        emptied = {"id": segment_id, "type": "AudienceContactlist"}
        segment = self._writable(request, segment_id, emptied)
        count(segment, self._clock(), self.switches)
        segment.members.clear()
        segment.updated_at = self._clock()
        return json_answer(envelope(emptied))

    def _statistics(self, request: Request, segment_id: str) -> Response:
        segment = self._contact_list(request, segment_id)
        count(segment, self._clock(), self.switches)
        attributes = statistics(segment, self.switches)
        return json_answer(envelope({"id": str(segment.id), "type": "ContactListStatistics", "attributes": attributes}))

    # ── Amendments ───────────────────────────────────────────────────────────────────────────────

    def _check_amendment(self, request: Request, amendment: AmendmentAttributes) -> IdentifierType:
        """The type of its identifiers, if there is nothing wrong with it as a whole."""
        number = len(amendment.identifiers)
        if number > MAX_IDENTIFIERS:
            raise self._too_many(request, number)
        if not number and self.switches.refuse_empty:
            raise refusal(request, 400, "required-field", "There are no identifiers")
        kind = amendment.identifier_type or self.switches.default_identifier_type
        if kind is None:
            raise refusal(request, 400, "required-field", "There is no identifierType")
        if kind == "gum" and amendment.gum_caller_id is None:
            raise refusal(request, 400, "required-field", "Identifiers of type gum need a gumCallerId")
        return kind

    def _too_many(self, request: Request, number: int) -> Refusal:
        if self.switches.too_many_identifiers == "too_large":
            return Refusal(Response(status=413))
        status = 400 if self.switches.too_many_identifiers == "validation" else 413
        return refusal(request, status, "invalid-range", f"{number} identifiers are more than {MAX_IDENTIFIERS}")

    def _check_room(
        self, request: Request, segment: Segment, operation: str, kind: IdentifierType, identifiers: Sorted
    ) -> None:
        """What a list may refuse beside single identifiers, where a switch says so."""
        if self.switches.refuse_all_invalid and identifiers.invalid and not identifiers.valid:
            raise refusal(request, 400, "invalid", "No identifier is valid")
        if self.switches.one_type_a_list and segment.identifier_type not in {None, kind}:
            raise refusal(request, 400, "invalid", f"The audience holds identifiers of type {segment.identifier_type}")
        most = self.switches.max_members
        if most is not None and operation == "add" and len(segment.members.keys() | set(identifiers.valid)) > most:
            raise refusal(request, 400, "audience-full", f"The audience holds {most} identifiers", type_="quota")

    def _apply(self, segment: Segment, operation: str, identifiers: Sorted) -> None:
        count(segment, self._clock(), self.switches)
        if operation == "add":
            segment.members.update(dict.fromkeys(identifiers.valid))
        else:
            for identifier in identifiers.valid:
                segment.members.pop(identifier, None)
        segment.updated_at = self._clock()
        segment.amended = True
        self.counted["valid"] += len(identifiers.valid)
        self.counted["invalid"] += len(identifiers.invalid)

    def _summary(self, segment: Segment, operation: str, kind: str, identifiers: Sorted) -> dict[str, Any]:
        size = self.switches.sample_size
        attributes = {
            "contactListId": segment.id,  # an integer, unlike every other id (OpenAPI)
            "operation": operation,
            "requestDate": iso_ticks(self._clock()),
            "identifierType": kind,
            "nbValidIdentifiers": len(identifiers.valid),
            "nbInvalidIdentifiers": len(identifiers.invalid),
            "sampleInvalidIdentifiers": None if size is None else identifiers.invalid[:size],
        }
        return {"type": "ContactlistAmendment", "attributes": attributes}

    # ── Which list ───────────────────────────────────────────────────────────────────────────────

    def _contact_list(self, request: Request, segment_id: str) -> Segment:
        segment, switches = self.find(segment_id), self.switches
        if segment is None and switches.accept_unknown_lists:
            segment = self.adopt(segment_id)
        if segment is None:
            raise self._refused_list(request, switches.unknown_list, f"Audience {segment_id} was not found")
        if not self.consented(segment):
            detail = f"Audience {segment_id} belongs to another advertiser"
            raise self._refused_list(request, switches.foreign_list, detail)
        if segment.type != "ContactList":
            raise self._refused_list(request, switches.wrong_type, f"Audience {segment_id} is not a contact list")
        return segment

    def _writable(self, request: Request, segment_id: str, nothing: Mapping[str, Any]) -> Segment:
        """The list, if it can be changed; `nothing` is the `data` of an answer that tells in a 200 that it cannot."""
        segment = self._contact_list(request, segment_id)
        if segment.name in self.switches.read_only:
            detail = f"Audience {segment_id} is read-only"
            raise self._refused_list(request, self.switches.read_only_list, detail, nothing)
        return segment

    def _refused_list(
        self, request: Request, status: int, detail: str, data: Mapping[str, Any] | None = None
    ) -> Refusal:
        told: Problem = problem(request, self.switches.list_code, detail, type_=self.switches.list_problem)
        body = envelope(data, errors=[told]) if status == 200 else {"errors": [told], "warnings": []}  # noqa: PLR2004 - OK
        return Refusal(json_answer(body, status))
