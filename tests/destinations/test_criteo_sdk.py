"""Criteo's own Python SDK against the stand-in, on a real port: what it sends is taken, what it is told it can read.

It checks the type of everything that it sends and receives, and knows the release candidate 2027-01.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, NamedTuple

import pytest
from criteo_api_marketingsolutions_v2027_01 import models
from criteo_api_marketingsolutions_v2027_01.api.advertiser_api import AdvertiserApi
from criteo_api_marketingsolutions_v2027_01.api.audience_api import AudienceApi
from criteo_api_marketingsolutions_v2027_01.api.gateway_api import GatewayApi
from criteo_api_marketingsolutions_v2027_01.api_client_builder import ApiClientBuilder
from criteo_api_marketingsolutions_v2027_01.exceptions import (
    ApiException,
    ForbiddenException,
    NotFoundException,
    ServiceException,
    UnauthorizedException,
)

from sandbox.app import Sandbox
from sandbox.criteo import CriteoSandbox, CriteoSwitches
from sandbox.server import serve
from tests.conftest import Clock
from tests.destinations.conftest import enters, leaves
from tests.destinations.criteo_bench import criteo
from worker.store.store import Store

pytestmark = pytest.mark.filterwarnings("ignore:datetime.datetime.utcnow:DeprecationWarning")  # the SDK calls it

NOON = 1_795_262_400.0


class Vendor(NamedTuple):
    """The stand-in, and the SDK that was told where it is. The SDK has no types of its own."""

    sandbox: Sandbox
    client: Any

    @property
    def criteo(self) -> CriteoSandbox:
        return self.sandbox.criteo

    @property
    def audiences(self) -> Any:
        return AudienceApi(self.client)

    def members(self, name: str = "vip") -> set[str]:
        return set(self.criteo.members()[name])


@pytest.fixture
def vendor() -> Iterator[Vendor]:
    with connected(Sandbox(clock=lambda: NOON)) as vendor:
        yield vendor


@contextmanager
def connected(sandbox: Sandbox) -> Iterator[Vendor]:
    with serve(sandbox) as server:
        client = ApiClientBuilder.WithClientCredentials("relay", "s+e/c&ret", f"{server.url}/criteo")
        yield Vendor(sandbox, client)
        client.rest_client.pool_manager.clear()


def create(vendor: Vendor, *names: str) -> Any:
    wanted = [
        models.AudienceSegmentCreateEntityV1Resource(
            type="AudienceSegment",
            attributes=models.AudienceSegmentCreateEntityV1(
                advertiser_id="4711", name=name, description=f"about {name}", contact_list={}
            ),
        )
        for name in names
    ]
    return vendor.audiences.create_audience_segments(models.AudienceSegmentBulkCreateInputV1(data=wanted))


def search(vendor: Vendor, *, limit: int = 100, offset: int = 0, **filters: list[str]) -> Any:
    wanted = models.AudienceSegmentSearchEntityV1Resource(
        type="AudienceSegment", attributes=models.AudienceSegmentSearchEntityV1(**filters)
    )
    body = models.AudienceSegmentSearchInputV1(data=wanted)
    return vendor.audiences.search_audience_segments(body, limit=limit, offset=offset)


def amend(vendor: Vendor, list_id: str, operation: str, *identifiers: str, **more: Any) -> Any:
    attributes = models.ContactlistAmendmentAttributes(
        operation=operation, identifiers=list(identifiers), **{"identifier_type": "email"} | more
    )
    amendment = models.ContactlistAmendment(type="ContactlistAmendment", attributes=attributes)
    body = models.ContactlistAmendmentRequest(data=amendment)
    return vendor.audiences.update_contact_list_by_audience_segment(list_id, contactlist_amendment_request=body)


# ── Segments ─────────────────────────────────────────────────────────────────────────────────────


def test_a_list_is_created_and_a_taken_name_is_a_warning(vendor: Vendor) -> None:
    created, again = create(vendor, "vip"), create(vendor, "vip", "new")

    assert isinstance(created, models.AudienceSegmentEntityV1ListResponse)
    (segment,) = created.data
    assert isinstance(segment, models.AudienceSegmentEntityV1Resource)
    assert isinstance(segment.attributes, models.AudienceSegmentEntityV1)
    assert segment.attributes.advertiser_id == "4711"
    assert segment.attributes.description == "about vip"
    assert segment.attributes.contact_list.is_read_only is False
    assert segment.attributes.created_at == datetime(2026, 11, 21, 12, tzinfo=UTC)
    assert [each.attributes.name for each in again.data] == ["new"]
    assert isinstance(again.warnings[0], models.CommonProblem)
    assert again.warnings[0].code == "name-must-be-unique"
    assert set(vendor.criteo.members()) == {"vip", "new"}


@pytest.mark.parametrize("switches", [{"nothing_done": "null"}, {"nothing_done": "missing"}, {"creations_told": False}])
def test_a_creation_that_holds_nothing_can_be_read(vendor: Vendor, switches: dict[str, Any]) -> None:
    vendor.criteo.switches = CriteoSwitches(**switches)
    vendor.criteo.add_segment("4711", "vip")

    assert not create(vendor, "vip").get("data")


@pytest.mark.parametrize(("where", "status"), [("status_400", 400), ("status_409", 409)])
def test_a_taken_name_may_be_a_failure(vendor: Vendor, where: Any, status: int) -> None:
    vendor.criteo.switches = CriteoSwitches(bulk_failures=where)
    create(vendor, "vip")

    with pytest.raises(ApiException, match="name-must-be-unique") as raised:
        create(vendor, "vip")
    assert raised.value.status == status


def test_a_search_comes_in_pages(vendor: Vendor) -> None:
    ids = [vendor.criteo.add_segment("4711", f"list {number}") for number in range(137)]
    vendor.criteo.add_segment("4711", "another", type_="Lookalike")
    vendor.criteo.add_segment("4712", "theirs")
    pages = [
        search(vendor, offset=offset, advertiser_ids=["4711"], audience_segment_types=["ContactList"])
        for offset in (0, 100, 200)
    ]

    assert all(
        isinstance(each, models.AudienceSegmentEntityV1AudienceSegmentSearchMetadataV1ListResponse) for each in pages
    )
    assert [len(page.data) for page in pages] == [100, 37, 0]
    assert {page.meta.total_items for page in pages} == {137}
    assert [segment.id for page in pages for segment in page.data] == ids
    assert [segment.id for segment in search(vendor, audience_segment_ids=ids[:1]).data] == ids[:1]


def test_a_segment_is_renamed_and_deleted(vendor: Vendor) -> None:
    list_id = create(vendor, "vip").data[0].id
    amend(vendor, list_id, "add", "ada@example.com")
    change = models.AudienceSegmentUpdateEntityV1(name="new", description=models.NillableString(value="said otherwise"))
    updates = [models.AudienceSegmentUpdateEntityV1Resource(id=list_id, type="AudienceSegment", attributes=change)]
    updated = vendor.audiences.update_audience_segments(models.AudienceSegmentBulkUpdateInputV1(data=updates))

    assert updated.data[0].attributes.name == "new"
    assert updated.data[0].attributes.description == "said otherwise"
    assert vendor.criteo.members() == {"new": {"ada@example.com": True}}

    deletions = [
        models.AudienceSegmentDeleteEntityV1Resource(id=each, type="AudienceSegment") for each in (list_id, "1")
    ]
    deleted = vendor.audiences.delete_audience_segments(models.AudienceSegmentBulkDeleteInputV1(data=deletions))

    assert isinstance(deleted, models.AudienceSegmentIdEntityV1ListResponse)
    assert [each.id for each in deleted.data] == [list_id]
    assert [each.code for each in deleted.warnings] == ["segment-not-found"]
    assert vendor.criteo.members() == {}


# ── Contact lists ────────────────────────────────────────────────────────────────────────────────


def test_people_are_added_and_removed(vendor: Vendor) -> None:
    list_id = create(vendor, "vip").data[0].id
    added = amend(vendor, list_id, "add", "ada@example.com", "bob@example.com", "jkl@gmail")

    assert isinstance(added, models.ModifyAudienceResponse)
    assert isinstance(added.data.attributes, models.ContactlistOperationAttributes)
    attributes = added.data.attributes
    assert attributes.contact_list_id == int(list_id)
    assert attributes.request_date == datetime(2026, 11, 21, 12, tzinfo=UTC)
    assert (attributes.nb_valid_identifiers, attributes.nb_invalid_identifiers) == (2, 1)
    assert attributes.sample_invalid_identifiers == ["jkl@gmail"]
    assert added.errors == added.warnings == []
    assert vendor.members() == {"ada@example.com", "bob@example.com"}

    removed = amend(vendor, list_id, "remove", "ada@example.com")

    assert removed.data.attributes.operation == "remove"
    assert vendor.members() == {"bob@example.com"}


@pytest.mark.parametrize(
    ("more", "identifier"),
    [
        ({"identifier_type": "madid"}, "3f097372-f01e-4b64-984c-395ae5828ee6"),
        ({"identifier_type": "identityLink"}, "XY1000aa"),
        ({"identifier_type": "gum", "gum_caller_id": 7}, "k-AbC"),
        ({"identifier_type": "phoneNumber"}, "33140402290"),
    ],
)
def test_every_type_of_identifier_is_taken(vendor: Vendor, more: dict[str, Any], identifier: str) -> None:
    list_id = vendor.criteo.add_segment("4711", "vip")
    answer = amend(vendor, list_id, "add", identifier, **more)

    assert answer.data.attributes.identifier_type == more["identifier_type"]
    assert vendor.members() == {identifier}


def test_the_warnings_of_an_amendment_can_be_read(vendor: Vendor) -> None:
    """Those of a contact list must have more members than others."""
    vendor.criteo.switches = CriteoSwitches(deprecation_warnings=True, sample_size=None)
    list_id = vendor.criteo.add_segment("4711", "vip")
    answer = amend(vendor, list_id, "add", "jkl@gmail")

    assert isinstance(answer.warnings[0], models.AudienceWarning)
    assert answer.data.attributes.sample_invalid_identifiers is None


def test_a_read_only_list_may_be_told_in_a_success(vendor: Vendor) -> None:
    vendor.criteo.switches = CriteoSwitches(read_only=frozenset({"vip"}), read_only_list=200)
    answer = amend(vendor, vendor.criteo.add_segment("4711", "vip"), "add", "ada@example.com")

    assert isinstance(answer.errors[0], models.AudienceError)
    assert vendor.members() == set()


def test_statistics_are_numbers_or_null(vendor: Vendor) -> None:
    list_id = vendor.criteo.add_segment("4711", "vip")

    def statistics() -> Any:
        return vendor.audiences.get_audience_segment_contact_list_statistics(list_id)

    before = statistics()
    amend(vendor, list_id, "add", "ada@example.com", "bob@example.com")
    after = statistics()

    assert isinstance(after, models.ContactListStatisticsEntityV1Response)
    numbers = [
        (
            each.data.attributes.number_of_identifiers,
            each.data.attributes.number_of_matches,
            each.data.attributes.match_rate,
        )
        for each in (before, after)
    ]
    assert numbers == [(None, None, None), (2, 1, 50.0)]


def test_a_list_is_emptied_and_stays(vendor: Vendor) -> None:
    list_id = vendor.criteo.add_segment("4711", "vip")
    amend(vendor, list_id, "add", "ada@example.com")
    emptied = vendor.audiences.delete_contact_list_by_audience_segment(list_id)

    assert isinstance(emptied, models.DeleteAudienceContactListResponse)
    assert emptied.data.id == list_id
    assert vendor.criteo.members() == {"vip": {}}


# ── Who one is, and failures ─────────────────────────────────────────────────────────────────────


def test_the_advertisers_and_the_application_are_told(vendor: Vendor) -> None:
    vendor.criteo.switches = CriteoSwitches(advertisers=frozenset({"4711", "4712"}))
    advertisers = AdvertiserApi(vendor.client).list_advertisers()
    application = GatewayApi(vendor.client).get_current_application()

    assert [each.id for each in advertisers.data] == ["4711", "4712"]
    assert application.data.attributes.criteo_service == "MarketingSolutions"


def test_one_token_serves_until_it_is_refused(vendor: Vendor) -> None:
    search(vendor)
    search(vendor)

    assert vendor.criteo.requests()["routes"]["POST token"] == {"200": 1}

    vendor.criteo.tokens.revoke_all()
    with pytest.raises(UnauthorizedException, match="authorization-token-invalid"):
        search(vendor)


@pytest.mark.parametrize(("status", "kind"), [(400, ApiException), (401, UnauthorizedException)])
def test_refused_credentials_are_a_failure(vendor: Vendor, status: Any, kind: type[Exception]) -> None:
    vendor.criteo.switches = CriteoSwitches(refused_clients=frozenset({"relay"}), invalid_client_status=status)

    with pytest.raises(kind, match="invalid_client"):
        search(vendor)


@pytest.mark.parametrize(
    ("switches", "kind", "status", "said"),
    [
        ({}, NotFoundException, 404, "audience-invalid"),
        ({"unknown_list": 403}, ForbiddenException, 403, "audience-invalid"),
        ({"rights": frozenset()}, ForbiddenException, 403, "insufficient-permissions"),
        ({"rate_limit": 0}, ApiException, 429, "too-many-requests"),
        ({"rate_limit": 0, "rate_limit_body": "empty"}, ApiException, 429, "429"),
        ({"decommissioned": frozenset({"2027-01"})}, ApiException, 410, "version-decommissioned"),
        ({"versions": frozenset()}, NotFoundException, 404, "not-found"),
    ],
)
def test_failures_have_the_status_that_the_sdk_knows(
    vendor: Vendor, switches: dict[str, Any], kind: type[ApiException], status: int, said: str
) -> None:
    vendor.criteo.switches = CriteoSwitches(**switches)

    with pytest.raises(kind, match=said) as raised:
        amend(vendor, "1", "add", "ada@example.com")
    assert raised.value.status == status


def test_an_outage_is_a_failure_of_the_service(vendor: Vendor) -> None:
    vendor.criteo.script_faults({"rules": [{"fault": {"kind": "status", "status": 503, "html": "<h1>Away</h1>"}}]})

    with pytest.raises(ServiceException):
        search(vendor)


# ── The relay and the SDK see the same ───────────────────────────────────────────────────────────


def test_the_sdk_finds_what_the_relay_has_delivered(store: Store, clock: Clock) -> None:
    bench = criteo(store, clock)
    bench.append([enters("ada"), enters("bob"), enters("eve"), leaves("bob")])
    bench.flush()
    with connected(bench.sandbox) as vendor:
        (segment,) = search(vendor, advertiser_ids=["4711"]).data
        statistics = vendor.audiences.get_audience_segment_contact_list_statistics(segment.id)
        amend(vendor, segment.id, "remove", "ada@example.com")

    assert segment.attributes.name == "vip"
    assert statistics.data.attributes.number_of_identifiers == 2
    assert bench.members() == {"eve@example.com"}
