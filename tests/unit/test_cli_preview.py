"""What `preview` shows, for one source event and for a file, and that it touches nothing."""

import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner, Result

from cli.main import main

NOWHERE = "http://127.0.0.1:9"
"""Where nobody listens: a request or a command to Redis would fail."""
CONFIGURATION = f"""
[redis]
url = "redis://127.0.0.1:9/0"

[[destinations]]
name = "criteo"
kind = "criteo"
audiences = ["vip", "lapsed"]
api_url = "{NOWHERE}/criteo"
advertiser_id = "4711"
client_id = "relay"
client_secret = "criteo-s3cret"

[[destinations]]
name = "taboola"
kind = "taboola"
audiences = ["vip", "lapsed"]
api_url = "{NOWHERE}/taboola"
account_id = "my-account"
client_id = "relay"
client_secret = "taboola-s3cret"

[[destinations]]
name = "stackadapt"
kind = "stackadapt"
audiences = ["vip"]
api_url = "{NOWHERE}/stackadapt/graphql"
advertiser_id = "2029"
api_token = "stackadapt-s3cret"
properties = [{{ name = "seats", type = "NUMBER", path = "traits.seats" }}]
[destinations.batch]
max_changes = 2
"""
HOOK = """
[[destinations]]
name = "hook"
kind = "http"
api_url = "env:HOOK"
headers = { X-Api-Key = "file:key" }
body = { key = "file:key", list = "$audience", operation = "$operation", members = "$members" }
"""


def event(who: str, *, entered: bool = True, audience: str = "vip", second: int = 0, **traits: Any) -> dict[str, Any]:
    return {
        "type": "identify",
        "messageId": f"{who} {audience} {entered}",
        "timestamp": f"2026-01-01T00:00:{second:02}Z",
        "traits": {"email": f"{who}@example.com", audience: entered} | traits,
        "context": {"personas": {"computation_class": "audience", "computation_key": audience}},
    }


class Desk:
    """A folder with a configuration, and the command."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        (folder / "relay.toml").write_text(CONFIGURATION)

    def write(self, *events: Any) -> str:
        path = self._folder / "events.ndjson"
        path.write_text("".join(f"{each if isinstance(each, str) else json.dumps(each)}\n" for each in events))
        return str(path)

    def run(self, *arguments: str, stdin: str = "") -> Result:
        command = ["preview", *arguments, "--config", str(self._folder / "relay.toml")]
        return CliRunner().invoke(main, command, input=stdin, catch_exceptions=False)

    def json(self, *events: Any, options: Sequence[str] = ()) -> Any:
        return json.loads(self.run(self.write(*events), "--json", *options).stdout)

    def lane(self, destination: str, *events: Any) -> Any:
        """What becomes of the one lane of a destination."""
        (lane,) = self.json(*events, options=["--destination", destination])["destinations"][0]["lanes"]
        return lane

    def map(self, mapping: str) -> None:
        """The last destination, of StackAdapt, gets a mapping."""
        (self._folder / "relay.toml").write_text(f"{CONFIGURATION}[destinations.mapping]\n{mapping}\n")

    def files(self) -> set[str]:
        return {path.name for path in self._folder.rglob("*")}


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_the_newest_of_each_person_is_sent_in_the_requests_of_a_flush(desk: Desk) -> None:
    lane = desk.lane("criteo", event("ada"), event("bob"), event("ada", entered=False, second=1))

    segments = f"{NOWHERE}/criteo/2026-07/marketing-solutions/audience-segments"
    assert (lane["audience"], lane["enters"], lane["leaves"], lane["folded"]) == ("vip", 2, 1, 1)
    assert [(each["method"], each["url"]) for each in lane["requests"]] == [
        ("POST", f"{segments}/search?limit=100&offset=0"),
        ("POST", f"{segments}/create"),
        ("PATCH", f"{segments}/880001/contact-list"),
        ("PATCH", f"{segments}/880001/contact-list"),
    ]
    assert [each["body"]["data"]["attributes"]["operation"] for each in lane["requests"][2:]] == ["remove", "add"]
    assert lane["requests"][2]["body"]["data"]["attributes"]["identifiers"] == ["ada@example.com"]
    assert lane["requests"][3]["body"]["data"]["attributes"]["identifiers"] == ["bob@example.com"]
    assert lane["requests"][3]["headers"] == {
        "authorization": "Bearer •••",
        "content-type": "application/json",
        "accept": "application/json",
    }


def test_nothing_is_touched(desk: Desk) -> None:
    path = desk.write(event("ada"))
    before = desk.files()

    result = desk.run(path)

    assert result.exit_code == 0
    assert "Nothing was sent." in result.stdout
    assert desk.files() == before


@pytest.mark.parametrize("options", [[], ["--json"], ["--full"]])
def test_secrets_are_masked_and_emails_are_not(desk: Desk, options: list[str]) -> None:
    result = desk.run(desk.write(event("ada")), *options)

    assert result.stdout.count("ada@example.com") >= 2
    assert "Bearer •••" in result.stdout
    assert "s3cret" not in result.output
    assert "made-up" not in result.output


@pytest.mark.parametrize("mark", ["", "\ufeff"], ids=["plain", "byte order mark"])
def test_what_a_reference_brings_into_a_url_or_a_template_is_masked(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mark: str
) -> None:
    monkeypatch.setenv("HOOK", f"{NOWHERE}/hooks/s3cret/")
    (tmp_path / "key").write_text(f"{mark}s3cret-key\n")
    (tmp_path / "relay.toml").write_text(mark + HOOK)

    text = desk.run("--event", json.dumps(event("ada"))).stdout
    (lane,) = desk.json(event("ada"))["destinations"][0]["lanes"]

    assert "s3cret" not in text
    assert "ada@example.com" in text
    (request,) = lane["requests"]
    assert request["url"] == "•••/"
    assert (request["body"]["key"], request["body"]["list"]) == ("•••", "vip")
    assert request["headers"]["X-Api-Key"] == "•••"


def test_the_request_for_a_token_is_told_once_a_destination_where_there_is_one(desk: Desk) -> None:
    text = desk.run(desk.write(event("ada"), event("bob", audience="lapsed"))).stdout

    assert text.count(f"token: POST {NOWHERE}/criteo/oauth2/token (client_credentials, secret masked)") == 1
    assert text.count("token: POST") == 2
    urls = [each["token_request"] for each in desk.json(event("ada"))["destinations"]]
    assert urls[1:] == [{"method": "POST", "url": f"{NOWHERE}/taboola/backstage/oauth/token"}, None]


def test_who_leaves_is_removed_from_an_audience_that_is_there(desk: Desk) -> None:
    criteo = desk.lane("criteo", event("ada", entered=False))
    taboola = desk.lane("taboola", event("ada", entered=False))

    assert [each["url"].rpartition("/")[2] for each in criteo["requests"]] == [
        "search?limit=100&offset=0",
        "contact-list",
    ]
    assert criteo["requests"][1]["body"]["data"]["attributes"]["operation"] == "remove"
    assert [each["url"].rpartition("/")[2] for each in taboola["requests"]] == ["my_audiences", "audience_onboarding"]


def test_a_lane_with_more_than_a_batch_holds_is_sent_in_several(desk: Desk) -> None:
    lane = desk.lane("stackadapt", *(event(who) for who in "abcde"))

    sent = [json.loads(each["body"]["variables"]["profiles"]["profiles"]) for each in _upserts(lane)]
    assert lane["batches"] == 3
    assert [[each["email"][0] for each in profiles] for profiles in sent] == [["a", "b"], ["c", "d"], ["e"]]


def _upserts(lane: Any) -> list[Any]:
    return [each for each in lane["requests"] if "profiles" in each["body"]["variables"]]


def test_each_refused_source_event_is_told_with_its_line_and_the_reason(desk: Desk) -> None:
    path = desk.write(event("ada"), {"type": "page"}, "no JSON", event("bob", audience="unknown"), {"type": "page"})

    result = desk.run(path)

    assert result.exit_code == 1
    assert result.stdout.splitlines()[:4] == [
        "5 source events read, 1 taken, 4 refused",
        "  type (none of track, identify and delete): lines 2, 5",
        "  json (no JSON object in UTF-8, or a broken CSV row): line 3",
        "  unrouted (no destination takes its audience): line 4",
    ]
    found = json.loads(desk.run(path, "--json").stdout)
    assert found["refused"] == {"type": 2, "json": 1, "unrouted": 1}
    assert found["refused_lines"] == {"type": [2, 5], "json": [3], "unrouted": [4]}


def test_the_effect_of_a_mapping_is_shown(desk: Desk) -> None:
    desk.map('audience = { value = "vip" }\nemail = "properties.mail"\nwhen = { event = ["new", "deleted"] }')
    row = {"type": "track", "event": "deleted", "properties": {"mail": "Ada@example.com"}}

    lane = desk.lane("stackadapt", row)
    told = desk.json(row, event("bob"))

    profiles = json.loads(lane["requests"][1]["body"]["variables"]["profiles"]["profiles"])
    assert [(each["email"], each["action"]) for each in profiles] == [("ada@example.com", "exit")]
    assert {each["name"]: len(each["lanes"]) for each in told["destinations"]} == {
        "criteo": 1,
        "taboola": 1,
        "stackadapt": 1,
    }
    assert told["refused"] == {}
    assert desk.json({**row, "event": "updated"})["refused"] == {"audience": 1}


def test_what_a_destination_does_not_get_is_told_there(desk: Desk) -> None:
    events = [event("ada", seats="many"), event("bob", seats=3)]

    found = {each["name"]: each["left_out"] for each in desk.json(*events)["destinations"]}

    assert found == {"criteo": {}, "taboola": {}, "stackadapt": {"property seats": 1}}
    assert "left out of source events that are taken: property seats 1" in desk.run(desk.write(*events)).stdout


def test_a_message_that_comes_twice_counts_once(desk: Desk) -> None:
    found = desk.json(event("ada"), event("ada"), event("bob"), options=["--destination", "criteo"])

    (criteo,) = found["destinations"]
    assert (criteo["duplicates"], criteo["lanes"][0]["enters"]) == (1, 2)


def test_of_many_people_the_first_are_shown_and_with_full_all(desk: Desk) -> None:
    path = desk.write(*(event(f"p{number}") for number in range(10)))

    text = desk.run(path, "--destination", "criteo").stdout
    full = desk.run(path, "--destination", "criteo", "--full").stdout

    assert '"identifiers": ["p0@example.com", "p1@example.com", "p2@example.com", … and 7 more]' in text
    assert "p9@example.com" not in text
    assert "p9@example.com" in full
    assert "more]" not in full


def test_only_so_many_source_events_are_looked_at(desk: Desk) -> None:
    path = desk.write(event("ada"), event("bob"), event("cleo"))

    some, every = (desk.run(path, "--destination", "criteo", "--limit", limit) for limit in ("2", "3"))

    assert some.stdout.startswith("2 source events read, 2 taken, 0 refused\n")
    assert some.stderr == "only the first 2 source events were looked at; --limit N takes more\n"
    assert every.stderr == ""


def test_one_source_event_may_be_given_by_itself_and_a_file_as_standard_input(desk: Desk) -> None:
    one = json.dumps(event("ada"))

    assert desk.run("--event", one).stdout == desk.run("-", stdin=one).stdout
    assert "ada@example.com" in desk.run("--event", one).stdout


@pytest.mark.parametrize("arguments", [[], ["-", "--event", "{}"]])
def test_it_is_either_a_file_or_an_event(desk: Desk, arguments: list[str]) -> None:
    result = desk.run(*arguments)

    assert result.exit_code == 2
    assert "name a FILE (`-` is standard input) or give one --event" in result.stderr


def test_what_is_missing_is_told_and_ends_with_2(desk: Desk) -> None:
    assert desk.run("missing.ndjson").exit_code == 2
    unknown = desk.run("--event", "{}", "--destination", "nobody")
    assert unknown.exit_code == 2
    assert unknown.stderr == 'no destination is named "nobody"; there are: criteo, taboola, stackadapt\n'


def test_a_table_is_read_by_the_same_options_as_by_load(desk: Desk) -> None:
    table = "mail;note\nada@example.com;x\n"
    form = ("--format", "csv", "--delimiter", ";", "--map", "mail=email", "--map", "note=")
    constants = ("--set", "audience=vip", "--set", "entered=1")

    result = desk.run("-", "--json", *form, *constants, stdin=table)
    without = desk.run("-", "--json", *form[:4], *constants, stdin=table)
    no_table = desk.run(desk.write(event("ada")), "--map", "mail=email")

    assert result.exit_code == 0
    assert [lane["enters"] for each in json.loads(result.stdout)["destinations"] for lane in each["lanes"]] == [1, 1, 1]
    assert (without.exit_code, "say where each belongs with --map" in without.stderr) == (2, True)
    assert (no_table.exit_code, "are for CSV" in no_table.stderr) == (2, True)


def test_a_closed_standard_input_is_told(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cli.options.sys", SimpleNamespace(stdin=None))

    result = desk.run("-")

    assert (result.exit_code, "standard input is closed" in result.stderr) == (2, True)


def test_a_destination_that_gets_nothing_is_shown_without_requests(desk: Desk) -> None:
    result = desk.run("--event", json.dumps(event("ada", audience="lapsed")), "--destination", "stackadapt")

    assert result.exit_code == 0
    assert "stackadapt (stackadapt)\n  nothing to send\n" in result.stdout


def test_for_persons_to_be_forgotten_what_is_sent_beside_removals_is_shown(desk: Desk) -> None:
    deletion = {"type": "delete", "userId": "u-1", "traits": {"email": "ada@example.com"}}

    criteo, _, stackadapt = desk.json(deletion)["destinations"]

    assert criteo["erasures"] == {"persons": 1, "stopped": None, "requests": []}
    assert stackadapt["lanes"] == []
    assert stackadapt["erasures"]["requests"][0]["body"]["variables"]["input"]["emails"] == ["ada@example.com"]
    assert "1 person to forget: removed from every audience" in desk.run("--event", json.dumps(deletion)).stdout


def test_what_the_stand_in_refuses_is_told_and_ends_with_1(desk: Desk) -> None:
    wrong = CONFIGURATION.replace("my-account", "No Account")
    (Path(desk.write()).parent / "relay.toml").write_text(wrong)

    result = desk.run("--event", json.dumps(event("ada")), "--destination", "taboola")

    assert result.exit_code == 1
    assert "the stand-in takes no more: unknown account" in result.stdout
