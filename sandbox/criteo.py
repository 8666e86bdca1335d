"""Criteo: contact lists over the Marketing Solutions API, after its OpenAPI files and developer pages."""

from collections.abc import Callable, Collection, Mapping, Sequence
from itertools import count
from typing import Any, Final, TypeVar

from werkzeug import Request, Response

from sandbox.base import DEFAULT_CLOCK, DEFAULT_SLEEP, Clock, Refusal, Route, Sleep, json_answer
from sandbox.criteo_access import CriteoAccess, CriteoSwitches
from sandbox.criteo_identifiers import Sorted, sort
from sandbox.criteo_messages import (
    AmendmentAttributes,
    AmendmentBody,
    CreateBody,
    DeleteBody,
    NewSegment,
    Problem,
    SearchBody,
    SearchFilters,
    Segment,
    SegmentType,
    Update,
    UpdateBody,
    envelope,
    iso_ticks,
    problem,
    read,
    refusal,
    segment_json,
)
from sandbox.journal import Audience

__all__ = ["CriteoSandbox", "CriteoSwitches"]

MAX_IDENTIFIERS: Final = 50_000
"""Identifiers in one amendment (guide "audience segments", section on managing contact lists)."""
MAX_PAGE: Final = 100
"""Segments on one page of a search (OpenAPI)."""

ItemT = TypeVar("ItemT")


class CriteoSandbox(CriteoAccess):
    """`api_url` is where this is mounted: `{api_url}/oauth2/token` and `{api_url}/{version}/…`."""

    def __init__(
        self,
        switches: CriteoSwitches | None = None,
        *,
        clock: Clock = DEFAULT_CLOCK,
        sleep: Sleep = DEFAULT_SLEEP,
    ) -> None:
        super().__init__(self._segment_routes(), switches or CriteoSwitches(), clock=clock, sleep=sleep)

    def add_segment(
        self, advertiser: str, name: str, *, type_: SegmentType = "ContactList", read_only: bool = False
    ) -> str:
        """A segment that was there before; returns its id."""
        with self._lock:
            segment = self._new_segment(advertiser, name, None, type_)
            segment.read_only = read_only
            return str(segment.id)

    # ── What every stand-in has ──────────────────────────────────────────────────────────────────

    def _segment_routes(self) -> list[Route]:
        audiences = "/<version>/marketing-solutions/audience-segments"
        contact_list, legacy = (
            f"{audiences}/<segment_id>/contact-list",
            "/<version>/audiences/<segment_id>/contactlist",
        )
        amend, empty = self.guarded("manage", self._amend), self.guarded("manage", self._empty)
        return [
            Route("search", "POST", f"{audiences}/search", self.guarded("read", self._search)),
            Route("create", "POST", f"{audiences}/create", self.guarded("manage", self._create)),
            Route("update", "PATCH", audiences, self.guarded("manage", self._update)),
            Route("delete", "POST", f"{audiences}/delete", self.guarded("manage", self._delete)),
            Route("amend", "PATCH", contact_list, amend),
            Route("empty", "DELETE", contact_list, empty),
            Route("statistics", "GET", f"{contact_list}/statistics", self.guarded("read", self._statistics)),
            Route("amend", "PATCH", legacy, self._if_legacy(amend)),
            Route("empty", "DELETE", legacy, self._if_legacy(empty)),
        ]

    def _if_legacy(self, answer: Callable[..., Response]) -> Callable[..., Response]:
        def guarded(request: Request, **arguments: str) -> Response:
            if not self.switches.legacy_path:
                raise refusal(request, 404, "not-found", f"{request.path} does not exist")
            return answer(request, **arguments)

        return guarded

    def _forget(self) -> None:
        super()._forget()
        self._segments: dict[int, Segment] = {}
        self._ids = count(880_001)

    def _memberships(self) -> Mapping[Audience, Collection[str]]:
        lists = (segment for segment in self._segments.values() if segment.type == "ContactList")
        return {Audience(segment.advertiser, segment.name): segment.members for segment in lists}

    def _audiences(self, route: str, request: Request) -> Collection[Audience]:
        if route not in {"amend", "empty"}:
            return ()
        segment_id = request.path.split("/")[-2]
        with self._lock:
            segment = self._find(segment_id)
            return (Audience(segment.advertiser, segment.name) if segment else Audience("", segment_id),)

    # ── Segments ─────────────────────────────────────────────────────────────────────────────────

    def _search(self, request: Request) -> Response:
        limit = _page_number(request, "limit", 50, MAX_PAGE)
        offset = _page_number(request, "offset", 0, None)
        filters = read(request, SearchBody).data.attributes
        self.check_advertisers(request, filters.advertiser_ids or ())
        found = [segment for segment in self._segments.values() if _matches(segment, filters)]
        page = [segment_json(segment) for segment in found[offset : offset + limit]]
        meta = {"totalItems": len(found), "limit": limit, "offset": offset}
        return json_answer({"meta": meta} | envelope(page))

    def _create(self, request: Request) -> Response:
        wanted = [item.attributes for item in read(request, CreateBody).data]
        self.check_advertisers(request, (segment.advertiser_id for segment in wanted))
        return self._in_bulk(request, wanted, self._create_one)

    def _create_one(self, new: NewSegment) -> dict[str, Any]:
        self._check_name(new.advertiser_id, new.name)
        types = new.types()
        if len(types) != 1:
            raise _ItemRefused(
                "invalid", "Exactly one kind of segment must be given, such as contactList", "attributes/contactList"
            )
        return segment_json(self._new_segment(new.advertiser_id, new.name, new.description, types[0]))

    def _new_segment(self, advertiser: str, name: str, description: str | None, type_: SegmentType) -> Segment:
        now = self._clock()
        segment = Segment(next(self._ids), advertiser, name, description, type_, created_at=now, updated_at=now)
        self._segments[segment.id] = segment
        return segment

    def _update(self, request: Request) -> Response:
        return self._in_bulk(request, read(request, UpdateBody).data, self._update_one)

    def _update_one(self, update: Update) -> dict[str, Any]:
        segment = self._find_item(update.id)
        if update.attributes.name is not None and update.attributes.name != segment.name:
            self._check_name(segment.advertiser, update.attributes.name)
            segment.name = update.attributes.name
        if update.attributes.description is not None:
            segment.description = update.attributes.description.value
        segment.updated_at = self._clock()
        return segment_json(segment)

    def _delete(self, request: Request) -> Response:
        return self._in_bulk(request, [item.id for item in read(request, DeleteBody).data], self._delete_one)

    def _delete_one(self, segment_id: str) -> dict[str, Any]:
        segment = self._find_item(segment_id)
        del self._segments[segment.id]
        return {"id": str(segment.id), "type": "AudienceSegment"}

    def _check_name(self, advertiser: str, name: str) -> None:
        """Guide "audience segments": a name is unique per advertiser."""
        if not name.strip():
            raise _ItemRefused("name-must-not-be-empty", "A segment needs a name", "attributes/name")
        if any((other.advertiser, other.name) == (advertiser, name) for other in self._segments.values()):
            raise _ItemRefused("name-must-be-unique", f"Another segment is already called {name}", "attributes/name")

    def _in_bulk(self, request: Request, items: Sequence[ItemT], take: Callable[[ItemT], dict[str, Any]]) -> Response:
        """Each item by itself: what worked in `data`, what did not as problems, where the switch says."""
        done: list[dict[str, Any]] = []
        problems: list[Problem] = []
        for number, item in enumerate(items):
            try:
                done.append(take(item))
            except _ItemRefused as refused:
                source = {refused.member: f"/data/{number}/{refused.pointer}"}
                problems.append(problem(request, refused.code, refused.detail, source=source))
        return self._bulk_answer(done, problems)

    def _bulk_answer(self, done: list[dict[str, Any]], problems: list[Problem]) -> Response:
        match self.switches.bulk_failures:
            case "status_400" if problems and not done:
                return json_answer({"errors": problems, "warnings": []}, 400)
            case "warnings":
                return json_answer(envelope(done, warnings=problems))
            case _:
                return json_answer(envelope(done, errors=problems))

    def _find_item(self, segment_id: str) -> Segment:
        segment = self._find(segment_id)
        if segment is None or not self._consented(segment):
            raise _ItemRefused("segment-not-found", f"Segment {segment_id} was not found", "id")
        return segment

    def _find(self, segment_id: str) -> Segment | None:
        return self._segments.get(int(segment_id)) if segment_id.isdecimal() else None

    def _consented(self, segment: Segment) -> bool:
        return self.switches.advertisers is None or segment.advertiser in self.switches.advertisers

    # ── Contact lists ────────────────────────────────────────────────────────────────────────────

    def _amend(self, request: Request, segment_id: str) -> Response:
        """Add or remove identifiers. Invalid ones are counted and sampled; the call succeeds all the same."""
        amendment = read(request, AmendmentBody).data.attributes
        kind = self._check_amendment(request, amendment)
        segment = self._writable(request, segment_id)
        identifiers = sort(amendment.identifiers, kind)
        if self.switches.refuse_all_invalid and identifiers.invalid and not identifiers.valid:
            raise refusal(request, 400, "invalid", "No identifier is valid")
        self._apply(segment, amendment.operation, identifiers)
        return json_answer(envelope(self._summary(segment, amendment.operation, kind, identifiers)))

    def _check_amendment(self, request: Request, amendment: AmendmentAttributes) -> str:
        """The type of its identifiers, if there is nothing wrong with it as a whole."""
        number = len(amendment.identifiers)
        if number > MAX_IDENTIFIERS and self.switches.too_many_identifiers == "too_large":
            raise Refusal(Response(status=413))
        if number > MAX_IDENTIFIERS:
            raise refusal(request, 400, "invalid-range", f"{number} identifiers are more than {MAX_IDENTIFIERS}")
        if not number and self.switches.refuse_empty:
            raise refusal(request, 400, "required-field", "There are no identifiers")
        kind = amendment.identifier_type or self.switches.default_identifier_type
        if kind is None:
            raise refusal(request, 400, "required-field", "There is no identifierType")
        if kind == "gum" and amendment.gum_caller_id is None:
            raise refusal(request, 400, "required-field", "Identifiers of type gum need a gumCallerId")
        return kind

    def _apply(self, segment: Segment, operation: str, identifiers: Sorted) -> None:
        self._count(segment)
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
        attributes = {
            "contactListId": segment.id,  # an integer, unlike every other id (OpenAPI)
            "operation": operation,
            "requestDate": iso_ticks(self._clock()),
            "identifierType": kind,
            "nbValidIdentifiers": len(identifiers.valid),
            "nbInvalidIdentifiers": len(identifiers.invalid),
            "sampleInvalidIdentifiers": identifiers.invalid[: self.switches.sample_size],
        }
        return {"type": "ContactlistAmendment", "attributes": attributes}

    def _empty(self, request: Request, segment_id: str) -> Response:
        segment = self._writable(request, segment_id)
        self._count(segment)
        segment.members.clear()
        segment.updated_at = self._clock()
        return json_answer(envelope({"id": str(segment.id), "type": "AudienceContactlist"}))

    def _statistics(self, request: Request, segment_id: str) -> Response:
        segment = self._contact_list(request, segment_id)
        self._count(segment)
        counted = segment.counted_members
        matches = None if counted is None else int(counted * self.switches.matched_share)
        rate = None if not counted or matches is None else matches / counted * self.switches.match_rate_scale
        attributes = {"numberOfIdentifiers": counted, "numberOfMatches": matches, "matchRate": rate}
        return json_answer(envelope({"id": str(segment.id), "type": "ContactListStatistics", "attributes": attributes}))

    def _count(self, segment: Segment) -> None:
        """Processing is asynchronous: statistics lag behind the last amendment."""
        if segment.amended and self._clock() >= segment.updated_at + self.switches.statistics_delay_seconds:
            segment.counted_members = len(segment.members)

    def _contact_list(self, request: Request, segment_id: str) -> Segment:
        segment = self._find(segment_id)
        if segment is None:
            raise refusal(request, 404, "audience-invalid", f"Audience {segment_id} was not found")
        if not self._consented(segment):
            raise refusal(request, 403, "audience-invalid", f"Audience {segment_id} belongs to another advertiser")
        if segment.type != "ContactList":
            raise refusal(request, 400, "audience-invalid", f"Audience {segment_id} is not a contact list")
        return segment

    def _writable(self, request: Request, segment_id: str) -> Segment:
        segment = self._contact_list(request, segment_id)
        if segment.read_only:
            raise refusal(request, 400, "audience-invalid", f"Audience {segment_id} is read-only")
        return segment


class _ItemRefused(Exception):
    """`pointer` leads from the item to the member at fault."""

    def __init__(self, code: str, detail: str, pointer: str) -> None:
        super().__init__(code)
        self.code, self.detail, self.pointer = code, detail, pointer
        self.member = pointer.rpartition("/")[2]


def _matches(segment: Segment, filters: SearchFilters) -> bool:
    """Filters are AND-ed; one that is absent or null lets everything pass."""
    return (
        _allows(filters.advertiser_ids, segment.advertiser)
        and _allows(filters.audience_segment_ids, str(segment.id))
        and _allows(filters.audience_segment_types, segment.type)
    )


def _allows(wanted: Collection[str] | None, actual: str) -> bool:
    return wanted is None or actual in wanted


def _page_number(request: Request, name: str, default: int, most: int | None) -> int:
    text = request.args.get(name, str(default))
    if not text.isdecimal() or (most is not None and int(text) > most):
        raise refusal(request, 400, "invalid-range", f"{name}={text} is out of range")
    return int(text)
