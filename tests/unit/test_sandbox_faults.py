"""What a fault script does to the answers of a vendor."""

from typing import Any

import pytest
from werkzeug.test import Client, TestResponse

from sandbox.taboola import TaboolaSandbox

FORM = {"grant_type": "client_credentials", "client_id": "app", "client_secret": "secret"}
NOW = 1_795_262_400.0


class Caller:
    """Somebody with a token, at a vendor that sleeps only on paper."""

    def __init__(self) -> None:
        self.slept: list[float] = []
        self.existed_while_asleep: list[bool] = []
        self.sandbox = TaboolaSandbox(clock=lambda: NOW, sleep=self._sleep)
        self.http = Client(self.sandbox)
        self.token = ""
        self.sign_in()

    def sign_in(self) -> TestResponse:
        response = self.http.post("/backstage/oauth/token", data=FORM)
        self.token = (response.json or {}).get("access_token", "")
        return response

    def create(self, name: str = "vip") -> TestResponse:
        headers = {"Authorization": f"Bearer {self.token}"}
        path = "/backstage/api/1.0/acme/audience_onboarding/create"
        return self.http.post(path, json={"audience_name": name}, headers=headers)

    def suffer(self, *rules: dict[str, Any], seed: int = 0) -> None:
        self.sandbox.script_faults({"seed": seed, "rules": rules})

    def exists(self, name: str = "vip") -> bool:
        return name in self.sandbox.members()

    def _sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.existed_while_asleep.append(self.exists())


@pytest.fixture
def caller() -> Caller:
    return Caller()


# ── Which requests ───────────────────────────────────────────────────────────────────────────────

TEAPOT = {"kind": "status", "status": 418}


def test_a_rule_lets_some_pass_and_then_fires_some_times(caller: Caller) -> None:
    caller.suffer({"after": 1, "times": 2, "fault": TEAPOT})

    assert [caller.create().status_code for _ in range(5)] == [200, 418, 418, 200, 200]


def test_a_rule_fires_for_ever_unless_told_otherwise(caller: Caller) -> None:
    caller.suffer({"fault": TEAPOT})

    assert {caller.create().status_code for _ in range(5)} == {418}


@pytest.mark.parametrize(
    ("match", "statuses"),
    [
        ({}, [418, 418]),
        ({"route": "create"}, [418, 200]),
        ({"route": "token|amend"}, [200, 418]),
        ({"method": "GET"}, [200, 200]),
        ({"method": "GET|POST", "route": "create|token"}, [418, 418]),
    ],
)
def test_a_rule_looks_only_at_what_fits(caller: Caller, match: dict[str, str], statuses: list[int]) -> None:
    caller.suffer({"match": match, "fault": TEAPOT})

    assert [caller.create().status_code, caller.sign_in().status_code] == statuses


def test_the_first_rule_that_fires_decides(caller: Caller) -> None:
    caller.suffer({"times": 1, "fault": TEAPOT}, {"times": 1, "fault": {"kind": "status", "status": 500}})

    assert [caller.create().status_code for _ in range(3)] == [418, 500, 200]


def test_chances_repeat_with_the_seed(caller: Caller) -> None:
    def statuses(seed: int) -> list[int]:
        caller.suffer({"probability": 0.5, "fault": TEAPOT}, seed=seed)
        return [caller.create().status_code for _ in range(40)]

    assert statuses(1) == statuses(1) != statuses(2)
    assert set(statuses(1)) == {200, 418}


def test_a_script_shows_how_often_its_rules_fired(caller: Caller) -> None:
    caller.suffer({"match": {"route": "create"}, "after": 1, "fault": TEAPOT}, seed=7)
    for _ in range(3):
        caller.create()

    assert caller.sandbox.faults.summary() == {
        "seed": 7,
        "rules": [
            {
                "match": {"method": None, "route": "create"},
                "after": 1,
                "times": None,
                "probability": 1.0,
                "fault": {"kind": "status", "status": 418, "html": None, "text": None, "headers": {}}
                | {"reset_in_seconds": None},
                "matched": 3,
                "fired": 2,
            }
        ],
    }


# ── What happens ─────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("more", "mimetype", "body"),
    [
        ({"json": {"errors": []}}, "application/json", b'{"errors":[]}'),
        ({"json": None}, "application/json", b"null"),
        ({"html": "<h1>Away</h1>"}, "text/html", b"<h1>Away</h1>"),
        ({"text": "away"}, "text/plain", b"away"),
        ({}, "text/plain", b""),
    ],
)
def test_a_status_comes_with_any_body_and_processes_nothing(
    caller: Caller, more: dict[str, Any], mimetype: str, body: bytes
) -> None:
    caller.suffer({"fault": {"kind": "status", "status": 503} | more})
    response = caller.create()

    assert (response.status_code, response.mimetype, response.data) == (503, mimetype, body)
    assert not caller.exists()


def test_a_429_can_tell_when_to_come_back(caller: Caller) -> None:
    fault = {"kind": "status", "status": 429, "headers": {"Retry-After": "7"}, "reset_in_seconds": 30}
    caller.suffer({"fault": fault})
    headers = caller.create().headers

    assert headers["Retry-After"] == "7"
    assert headers["x-ratelimit-remaining"] == "0"
    assert headers["x-ratelimit-reset"] == str(int(NOW) + 30)


def test_a_page_can_come_in_place_of_the_answer(caller: Caller) -> None:
    caller.suffer({"fault": {"kind": "html_200"}})
    response = caller.create()

    assert (response.status_code, response.mimetype) == (200, "text/html")
    assert not caller.exists()


@pytest.mark.parametrize(("kind", "processed"), [("reset_before", False), ("reset_after", True)])
def test_without_a_socket_a_reset_is_an_exception(caller: Caller, *, kind: str, processed: bool) -> None:
    caller.suffer({"fault": {"kind": kind}})

    with pytest.raises(ConnectionResetError):
        caller.create()
    assert caller.exists() is processed
    assert caller.sandbox.requests()["routes"]["POST create"] == {"reset": 1}


@pytest.mark.parametrize("after", [False, True])
def test_a_slow_request_is_processed_before_or_after_the_wait(caller: Caller, *, after: bool) -> None:
    caller.suffer({"fault": {"kind": "slow", "seconds": 30, "after": after}})

    assert caller.create().status_code == 200
    assert caller.slept == [30]
    assert caller.existed_while_asleep == [after]


def test_a_dripping_answer_is_whole_in_the_end(caller: Caller) -> None:
    expected = caller.create().data
    caller.suffer({"fault": {"kind": "drip", "seconds": 0.5}})
    response = caller.create()

    assert response.data == expected
    assert response.content_length == len(expected)
    assert caller.slept == [0.5] * len(expected)


@pytest.mark.parametrize("hang_up", [False, True])
def test_a_truncated_answer_was_processed(caller: Caller, *, hang_up: bool) -> None:
    whole = caller.create("other").data
    caller.suffer({"fault": {"kind": "truncate", "keep": 0.25, "hang_up": hang_up}})
    response = caller.create()

    assert len(response.data) == len(whole) * 25 // 100
    assert (response.content_length == len(response.data)) is not hang_up
    assert caller.exists()


@pytest.mark.parametrize("kind", ["revoke_tokens", "expire_tokens"])
def test_tokens_known_so_far_can_end(caller: Caller, kind: str) -> None:
    caller.suffer({"times": 1, "fault": {"kind": kind}})

    assert [caller.create().status_code for _ in range(2)] == [401, 401]

    caller.sign_in()

    assert caller.create().status_code == 200


# ── Scripts ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        (b"{", "truncated"),
        (b'{"rule": []}', "rule"),
        (b'{"rules": [{}]}', "fault"),
        (b'{"rules": [{"fault": {"kind": "explode"}}]}', "explode"),
        (b'{"rules": [{"fault": {"kind": "status"}}]}', "status"),
        (b'{"rules": [{"fault": {"kind": "slow", "seconds": -1}}]}', "seconds"),
        (b'{"rules": [{"fault": {"kind": "drip", "colour": "red"}}]}', "colour"),
        (b'{"rules": [{"probability": 2, "fault": {"kind": "drip"}}]}', "probability"),
        (b'{"rules": [{"match": {"route": "create|search"}, "fault": {"kind": "drip"}}]}', "no such route: search"),
    ],
)
def test_a_bad_script_is_refused_with_the_reason_and_changes_nothing(
    caller: Caller, script: bytes, reason: str
) -> None:
    caller.suffer({"fault": TEAPOT})

    with pytest.raises(ValueError, match=reason):
        caller.sandbox.script_faults(script)
    assert caller.create().status_code == 418


def test_no_script_means_no_faults(caller: Caller) -> None:
    caller.suffer({"fault": TEAPOT})
    caller.sandbox.script_faults(None)

    assert caller.create().status_code == 200
