"""Criteo's audience segments: searched, created, changed and deleted, several at once."""

from collections.abc import Callable, Collection, Iterable, Sequence
from itertools import count
from typing import Any, Final, TypeVar

from werkzeug import Request, Response

from sandbox.base import Clock, Route, Sleep, json_answer
from sandbox.criteo_access import EXAMPLE_ADVERTISER, CriteoAccess
from sandbox.criteo_messages import (
    CreateBody,
    DeleteBody,
    NewSegment,
    Problem,
    ProblemType,
    SearchBody,
    SearchFilters,
    Segment,
    SegmentType,
    Update,
    UpdateBody,
    envelope,
    problem,
    read,
    refusal,
    segment_json,
)
from sandbox.criteo_switches import CriteoSwitches

AUDIENCES: Final = "/<version>/marketing-solutions/audience-segments"
MAX_PAGE: Final = 100
"""Segments on one page of a search (OpenAPI)."""

ItemT = TypeVar("ItemT")


class CriteoSegments(CriteoAccess):
    """The part of Criteo that knows segments; what contact lists hold comes on top."""

    def __init__(self, routes: Iterable[Route], switches: CriteoSwitches, *, clock: Clock, sleep: Sleep) -> None:
        segments = (
            Route("search", "POST", f"{AUDIENCES}/search", self.guarded("read", self._search)),
            Route("create", "POST", f"{AUDIENCES}/create", self.guarded("manage", self._create)),
            Route("update", "PATCH", AUDIENCES, self.guarded("manage", self._update)),
            Route("delete", "POST", f"{AUDIENCES}/delete", self.guarded("manage", self._delete)),
        )
        super().__init__((*segments, *routes), switches, clock=clock, sleep=sleep)

    def add_segment(self, advertiser: str, name: str, *, type_: SegmentType = "ContactList") -> str:
        """A segment that was there before; returns its id."""
        with self._lock:
            return str(self._keep(next(self._ids), advertiser, name, None, type_).id)

    def segment_ids(self, name: str) -> list[str]:
        """The ids of all segments of that name, the oldest first."""
        with self._lock:
            return [str(segment.id) for segment in self._segments.values() if segment.name == name]

    def remove_segment(self, segment_id: str) -> None:
        """What somebody does who deletes it by hand."""
        with self._lock:
            del self._segments[int(segment_id)]

    def find(self, segment_id: str) -> Segment | None:
        return self._segments.get(int(segment_id)) if segment_id.isdecimal() else None

    def adopt(self, segment_id: str) -> Segment | None:
        """A contact list of that id, called by it; None: that can be no id."""
        if not segment_id.isdecimal():
            return None
        return self._keep(int(segment_id), EXAMPLE_ADVERTISER, segment_id, None, "ContactList")

    def consented(self, segment: Segment) -> bool:
        """Whether its advertiser gave this app access."""
        return self.switches.advertisers is None or segment.advertiser in self.switches.advertisers

    def notices(self, request: Request) -> list[Problem]:
        """The warnings of a success."""
        if not self.switches.deprecation_warnings:
            return []
        return [problem(request, "deprecated-field", "A field of this answer will go away", type_="deprecation")]

    def _forget(self) -> None:
        super()._forget()
        self._segments: dict[int, Segment] = {}
        self._ids = count(880_001)

    def _keep(self, id_: int, advertiser: str, name: str, description: str | None, type_: SegmentType) -> Segment:
        now = self._clock()
        segment = Segment(id_, advertiser, name, description, type_, created_at=now, updated_at=now)
        self._segments[segment.id] = segment
        return segment

    def _shown(self, segment: Segment) -> dict[str, Any]:
        return segment_json(segment, read_only=segment.name in self.switches.read_only)

    # ── Endpoints ────────────────────────────────────────────────────────────────────────────────

    def _search(self, request: Request) -> Response:
        limit = _page_number(request, "limit", 50, MAX_PAGE)
        offset = _page_number(request, "offset", 0, None)
        filters = read(request, SearchBody).data.attributes
        self.check_advertisers(request, filters.advertiser_ids or ())
        found = [segment for segment in self._segments.values() if _matches(segment, filters)]
        page = [self._shown(segment) for segment in found[offset : offset + limit]]
        meta = {"totalItems": len(found), "limit": limit, "offset": offset}
        return json_answer({"meta": meta} | envelope(page, warnings=self.notices(request)))

    def _create(self, request: Request) -> Response:
        wanted = [item.attributes for item in read(request, CreateBody).data]
        most = self.switches.max_segments_a_call
        if most is not None and len(wanted) > most:
            raise refusal(request, 400, "invalid-range", f"{len(wanted)} segments are more than {most}")
        self.check_advertisers(request, (segment.advertiser_id for segment in wanted))
        return self._in_bulk(request, wanted, self._create_one, told=self.switches.creations_told)

    def _create_one(self, new: NewSegment) -> dict[str, Any]:
        self._check_name(new.advertiser_id, new.name)
        types = new.types()
        if len(types) != 1:
            raise _ItemRefused(
                "invalid", "Exactly one kind of segment must be given, such as contactList", "attributes/contactList"
            )
        theirs = sum(segment.advertiser == new.advertiser_id for segment in self._segments.values())
        if self.switches.max_segments is not None and theirs >= self.switches.max_segments:
            detail = f"Advertiser {new.advertiser_id} has {theirs} segments already"
            raise _ItemRefused("too-many-segments", detail, "attributes/advertiserId", type_="quota")
        return self._shown(self._keep(next(self._ids), new.advertiser_id, new.name, new.description, types[0]))

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
        return self._shown(segment)

    def _delete(self, request: Request) -> Response:
        return self._in_bulk(request, [item.id for item in read(request, DeleteBody).data], self._delete_one)

    def _delete_one(self, segment_id: str) -> dict[str, Any]:
        segment = self._find_item(segment_id)
        del self._segments[segment.id]
        return {"id": str(segment.id), "type": "AudienceSegment"}

    def _check_name(self, advertiser: str, name: str) -> None:
        """Guide "audience segments": a name is unique per advertiser."""
        longest = self.switches.max_name_length
        if not name.strip():
            raise _ItemRefused("name-must-not-be-empty", "A segment needs a name", "attributes/name")
        if longest is not None and len(name) > longest:
            raise _ItemRefused("invalid-range", f"A name has at most {longest} characters", "attributes/name")
        if any((other.advertiser, other.name) == (advertiser, name) for other in self._segments.values()):
            raise _ItemRefused("name-must-be-unique", f"Another segment is already called {name}", "attributes/name")

    def _find_item(self, segment_id: str) -> Segment:
        segment = self.find(segment_id)
        if segment is None or not self.consented(segment):
            raise _ItemRefused("segment-not-found", f"Segment {segment_id} was not found", "id")
        return segment

    # ── Several at once ──────────────────────────────────────────────────────────────────────────

    def _in_bulk(
        self, request: Request, items: Sequence[ItemT], take: Callable[[ItemT], dict[str, Any]], *, told: bool = True
    ) -> Response:
        """Each item by itself: what worked in `data` if that is told, what did not as problems, where a switch says."""
        done: list[dict[str, Any]] = []
        failed: list[Problem] = []
        for number, item in enumerate(items):
            try:
                done.append(take(item))
            except _ItemRefused as refused:
                source = {refused.member: f"/data/{number}/{refused.pointer}"}
                failed.append(problem(request, refused.code, refused.detail, type_=refused.type, source=source))
        where = self.switches.bulk_failures
        if failed and not done and where in {"status_400", "status_409"}:
            return json_answer({"errors": failed, "warnings": []}, 409 if where == "status_409" else 400)
        return self._bulk_answer(request, done if told else [], failed)

    def _bulk_answer(self, request: Request, done: list[dict[str, Any]], failed: list[Problem]) -> Response:
        warnings = self.notices(request)
        match self.switches.bulk_failures:
            case "silent":
                answer = envelope(done, warnings=warnings)
            case "warnings":
                answer = envelope(done, warnings=[*failed, *warnings])
            case _:
                answer = envelope(done, errors=failed, warnings=warnings)
        if not done and self.switches.nothing_done == "null":
            answer["data"] = None
        if not done and self.switches.nothing_done == "missing":
            del answer["data"]
        return json_answer(answer)


class _ItemRefused(Exception):
    """`pointer` leads from the item to the member at fault."""

    def __init__(self, code: str, detail: str, pointer: str, *, type_: ProblemType = "validation") -> None:
        super().__init__(code)
        self.code, self.detail, self.pointer, self.type = code, detail, pointer, type_
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
