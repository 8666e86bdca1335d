"""Deleting profiles at StackAdapt."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from sandbox.app import Sandbox
from sandbox.stackadapt_access import StackAdaptSwitches
from tests.conftest import Clock
from tests.destinations.conftest import enters
from tests.destinations.stackadapt_talk import answer, carry, destination, named, settings_of, stackadapt, talk
from worker.batching import fold
from worker.contract import Change, Identifier, LaneKey
from worker.destinations.base import Person, Request
from worker.destinations.stackadapt import StackAdapt
from worker.errors import DeliveryError, NeedsPerson, Throttled, TryLater
from worker.store.store import Store

EXTERNAL_ID = {"name": "external_id", "type": "STRING", "path": "userId"}


def person(email: str = "", user_id: str = "", device: str = "") -> Person:
    handles = (("email", email), ("user_id", user_id), ("device", device))
    return Person(tuple(Identifier(type_, value) for type_, value in handles if value))  # type: ignore[arg-type]  # the types stand above


def with_profiles(sandbox: Sandbox, people: Sequence[Change], **settings: Any) -> StackAdapt:
    """The stand-in holds the people, who are all in one audience."""
    made = destination(**settings)
    talk(made.converse(fold(LaneKey("stack", "vip"), "b1", people, made.vendor_form), {}), sandbox)
    return made


def test_profiles_are_deleted_by_email_in_calls_that_the_vendor_takes() -> None:
    sandbox = Sandbox()
    made = with_profiles(sandbox, [enters(f"p{n}") for n in range(251)])
    requests: list[Request] = []

    done = talk(made.erase([person(f"p{n}@example.com") for n in range(250)]), sandbox, requests)

    assert done == {"profiles_by_email": 250, "profiles_by_external_id": 0}
    assert len(requests) == 3
    assert len({json.loads(request.content)["query"] for request in requests}) == 1
    assert sandbox.stackadapt.members() == {"vip": {"p250@example.com": True}}
    assert set(sandbox.stackadapt.profiles("2029")) == {"p250@example.com"}


@pytest.mark.parametrize(
    ("path", "deleted"), [("userId", 1), (["traits.user_id", "anonymousId"], 1), ("traits.crm_id", 0)]
)
def test_profiles_are_deleted_by_user_id_where_that_is_the_external_id(path: object, deleted: int) -> None:
    """Another system's id that looks the same might be another person's."""
    sandbox = Sandbox()
    people = [named("ada", external_id="u-1"), named("bob", external_id="u-2")]
    made = with_profiles(sandbox, people, properties=[EXTERNAL_ID | {"path": path}])

    done = talk(made.erase([person(user_id="u-1")]), sandbox)

    assert done == {"profiles_by_email": 0, "profiles_by_external_id": deleted}
    assert len(sandbox.stackadapt.profiles("2029")) == 2 - deleted


def test_nothing_is_asked_for_whom_the_vendor_cannot_hold() -> None:
    requests: list[Request] = []
    nobody = [person(user_id="u-1", device="EA7583CD-A667-48BC-B806-42ECB2B48606"), person("0" * 64)]

    done = talk(destination().erase(nobody), Sandbox(), requests)

    assert done == {"profiles_by_email": 0, "profiles_by_external_id": 0}
    assert requests == []


@pytest.mark.parametrize(("compliance", "members"), [(False, {"ada@example.com"}), (True, set())])
def test_a_compliance_request_is_made_only_when_configured(
    store: Store, clock: Clock, members: set[str], *, compliance: bool
) -> None:
    bench = stackadapt(store, clock, erase_as_compliance_request=compliance)
    talk(bench.edges.destination.erase([person("ada@example.com")]), bench.sandbox)
    bench.append([enters("ada")])
    bench.flush()

    assert bench.members() == members


@pytest.mark.parametrize("told", ["ignored", "named", "unnamed"])
def test_who_is_unknown_to_the_vendor_keeps_nobody_else_from_being_deleted(told: Any) -> None:
    sandbox = Sandbox(stackadapt=StackAdaptSwitches(unknown_profiles=told))
    made = with_profiles(sandbox, [enters(f"p{n}") for n in range(9)], properties=[EXTERNAL_ID])

    done = talk(made.erase([person(f"p{n}@example.com", f"u-{n}") for n in range(0, 12, 2)]), sandbox)

    assert done == {"profiles_by_email": 6, "profiles_by_external_id": 6}
    assert set(sandbox.stackadapt.profiles("2029")) == {f"p{n}@example.com" for n in (1, 3, 5, 7)}


def erased(error: Mapping[str, Any] | None = None, errors: object = None) -> Any:
    """What the erasure of one person makes of an answer."""
    data = None if error is None else {"deleteRawProfiles": {"userErrors": [error]}}
    body = {"data": data} | ({"errors": errors} if errors else {})
    try:
        return carry(destination().erase([person("ada@example.com")]), lambda _: answer(body))
    except DeliveryError as order:
        return order


@pytest.mark.parametrize(
    "message",
    [
        "Profile not found",
        "ada@example.com does not exist",
        "Profile doesn't exist",
        "Couldn't find Profile",
        "No profile matches",
        "Unknown email",
    ],
)
def test_whoever_is_not_there_is_erased(message: str) -> None:
    done = {"profiles_by_email": 1, "profiles_by_external_id": 0}

    assert erased({"message": message, "path": ["input", "emails", "0"]}) == done
    assert erased({"message": message, "path": None}) == done
    assert erased({"message": message, "path": ["input", "emails", "7"]}) == done


def test_an_absence_may_be_an_error_of_the_request() -> None:
    assert erased(errors=[{"message": "Profile not found"}]) == {"profiles_by_email": 1, "profiles_by_external_id": 0}


@pytest.mark.parametrize(
    ("message", "order", "scope"),
    [
        ("Advertiser not found", NeedsPerson, "destination"),
        ("Not authorized", NeedsPerson, "destination"),
        ("Request was throttled", Throttled, "credential"),
        ("Something went wrong", TryLater, "destination"),
        ("Compliance team must approve", NeedsPerson, "lane"),
    ],
)
def test_any_other_error_ends_the_erasure(message: str, order: type[DeliveryError], scope: str) -> None:
    found = erased({"message": message})

    assert type(found) is order
    assert getattr(found, "scope", None) == scope


def test_a_hashed_email_or_a_device_never_reaches_the_vendor() -> None:
    made = destination()
    handles = [Identifier("email", "0" * 64), Identifier("device", "x"), Identifier("phone", "+1")]
    kept = [Identifier("email", "ada@example.com"), Identifier("user_id", "u-1")]

    assert [made.aliases(each) for each in handles] == [(), (), ()]
    assert [made.aliases(each) for each in kept] == [(each,) for each in kept]
    assert settings_of().reading().keeps_user_ids
    assert not settings_of().reading().erases_by_user_id


@pytest.mark.parametrize(
    ("path", "user_id", "maps"),
    [
        ("traits.userId", ["userId", "anonymousId"], True),
        ("userId", "userId", True),
        ("traits.crm_id", "traits.crm_id", True),
        ("traits.userId", "traits.crm_id", False),
        ("traits.crm_id", ["userId", "anonymousId"], False),
    ],
)
def test_external_ids_are_user_ids_where_both_are_read_at_the_same_place(
    path: str, user_id: object, maps: object
) -> None:
    external_id = {"name": "external_id", "type": "STRING", "path": path}
    settings = settings_of(properties=[external_id], mapping={"user_id": user_id})

    assert settings.reading().erases_by_user_id is maps
