"""`import-mapping --write`: lines for one destination in a relay.toml, in which all else stays as it is."""

import json
from itertools import takewhile
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from cli.main import main
from tests.unit.test_mapping_directives import EMAIL
from worker.destinations.mapping import MappingSettings
from worker.settings import load

SEVERAL = """
[redis]
url = "redis://127.0.0.1:9/0"

# Our first shop.
[[destinations]]
name = "criteo"
kind = "criteo"
advertiser_id = "4711"  # the account of 2024
client_id = "id"
client_secret = "secret"
# hash_phones = true

# Often.
[destinations.batch]
max_age_seconds = 5


# The second one
# is Taboola's.
[[destinations]]
name = "taboola"
kind = "taboola"
account_id = "account"
client_id = "id"
client_secret = "secret"
# ttl_in_hours = 100
[destinations.batch]
max_age_seconds = 7
[[destinations]]
name = "last"
kind = "stackadapt"
advertiser_id = "2029"
api_token = '''
[token]'''

# The end."""
SHOP = """
[[destinations]]
name = "shop"
kind = "criteo"
advertiser_id = "1"
client_id = "i"
client_secret = "s"
""".lstrip()
INLINE = """
destinations = [{ name = "shop", kind = "criteo", advertiser_id = "1", client_id = "i", client_secret = "s" }]
""".lstrip()
LOOKS_LIKE_A_COMMENT = """
[[destinations]]
name = "shop"
kind = "criteo"
advertiser_id = "1"
client_id = "i"
client_secret = '''

# s'''
[destinations.batch]
""".lstrip()
FIELDS = {"email": EMAIL, "hash_emails": True}


def run(folder: Path, document: Any, *options: str) -> Result:
    path = folder / "mapping.json"
    path.write_text(json.dumps(document))
    return CliRunner().invoke(main, ["import-mapping", str(path), *options], catch_exceptions=False)


def write(folder: Path, destination: str, document: Any, before: str = SEVERAL) -> tuple[Result, str]:
    """What the command says, and what the configuration is then."""
    path = folder / "relay.toml"
    path.write_bytes(before.encode())
    result = run(folder, document, "--destination", destination, "--write", "--config", str(path))
    return result, path.read_bytes().decode()


def added(before: str, after: str) -> str:
    """What one text has more than the other, in one piece."""
    start = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(before, after, strict=False)))
    assert after.endswith(before[start:])
    return after[start : len(after) - (len(before) - start)]


IN_CRITEO = """\
client_secret = "secret"
# hash_phones = true
# no counterpart: colour: no field that is known of this destination
hash_emails = true

[destinations.mapping]
email = "traits.email"

# Often.
[destinations.batch]
"""
IN_TABOOLA = """\
# ttl_in_hours = 100

[destinations.mapping]
email = "traits.email"

[destinations.batch]
max_age_seconds = 7
[[destinations]]
"""
IN_THE_LAST = """\
[token]'''

# The end.
marketing_status = "opted_in"

[destinations.mapping]
email = "traits.email"
"""


@pytest.mark.parametrize(
    ("destination", "document", "expected"),
    [
        ("criteo", FIELDS | {"colour": "red"}, IN_CRITEO),
        ("taboola", {"user_email": EMAIL}, IN_TABOOLA),
        ("last", {"email": EMAIL, "marketing_status": "Opted-in"}, IN_THE_LAST),
    ],
)
def test_the_lines_are_written_into_the_table_of_the_destination(
    tmp_path: Path, destination: str, document: dict[str, Any], expected: str
) -> None:
    """Below its own keys, above its first table; a comment stays above what it is about."""
    result, after = write(tmp_path, destination, document)

    assert result.exit_code == (1 if "colour" in document else 0)
    assert expected in after
    assert "email" in added(SEVERAL, after)
    mappings = {each.name: each.mapping for each in load(tmp_path / "relay.toml").destinations}
    assert mappings.pop(destination).email == ("traits.email",)
    assert [*mappings.values()] == [MappingSettings(), MappingSettings()]


@pytest.mark.parametrize("document", [{"email": EMAIL, "marketing_status": "Opted-in"}, {"email": EMAIL}])
def test_what_is_there_is_not_written_again(tmp_path: Path, document: dict[str, Any]) -> None:
    _, once = write(tmp_path, "last", document)
    result, twice = write(tmp_path, "last", document, once)

    assert (result.exit_code, twice) == (0, once)
    assert "says it already; nothing was written" in result.stdout


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ("hash_emails = false\n", "relay.toml:8: hash_emails is there already; take it out first"),
        ('mapping.email = "traits.mail"\n', "relay.toml:8: mapping is there already; take it out first"),
        ('[destinations.mapping]\nphone = "traits.mail"\n', "relay.toml:8: mapping is there already; take it out"),
    ],
)
def test_what_somebody_wrote_is_not_replaced(tmp_path: Path, more: str, told: str) -> None:
    before = f"# One.\n{SHOP}{more}"

    result, after = write(tmp_path, "shop", FIELDS, before)

    assert (result.exit_code, after) == (2, before)
    assert told in result.stderr


@pytest.mark.parametrize(
    ("before", "told"),
    [
        ('destinations = [{ name = "shop", kind = "http", api_url = "http://a.b" }]', "has no destination of the kind"),
        (INLINE, "relay.toml:1: shop has no header [[destinations]] of its own; add the text by hand"),
        (LOOKS_LIKE_A_COMMENT, "the lines mean something else before line 7; add them by hand"),
    ],
)
def test_where_there_is_no_place_nothing_is_written(tmp_path: Path, before: str, told: str) -> None:
    result, after = write(tmp_path, "shop", {"email": EMAIL}, before)

    assert (result.exit_code, after) == (2, before)
    assert told in result.stderr


def test_the_file_keeps_its_mode_its_line_ends_its_byte_order_mark_and_its_link(tmp_path: Path) -> None:
    place, link = tmp_path / "place.toml", tmp_path / "relay.toml"
    place.write_bytes(SEVERAL.replace("\n", "\r\n").encode("utf-8-sig"))
    place.chmod(0o640)
    link.symlink_to(place)

    result = run(tmp_path, FIELDS, "--destination", "criteo", "--write", "--config", str(link))

    assert result.exit_code == 0
    assert (link.is_symlink(), place.stat().st_mode & 0o777) == (True, 0o640)
    assert b"hash_emails = true\r\n\r\n[destinations.mapping]\r\n" in place.read_bytes()
    assert place.read_text().startswith("\ufeff\n[redis]\n")
    assert {each.name for each in tmp_path.iterdir()} == {"place.toml", "relay.toml", "mapping.json"}


def test_without_it_a_comment_says_where_the_text_belongs(tmp_path: Path) -> None:
    path = tmp_path / "relay.toml"
    path.write_text(SEVERAL)

    result = run(tmp_path, FIELDS, "--destination", "criteo", "--config", str(path))

    assert path.read_text() == SEVERAL
    assert result.stdout.splitlines()[0] == (
        f"# for the destination criteo: {path}, from line 13 on; --write puts it there"
    )


def test_it_needs_a_destination(tmp_path: Path) -> None:
    assert run(tmp_path, FIELDS, "--kind", "criteo", "--write").exit_code == 2


@pytest.mark.parametrize("destination", ["criteo-shop", "taboola", "stackadapt"])
def test_the_example_takes_it(tmp_path: Path, destination: str) -> None:
    before = (Path(__file__).parents[2] / "relay.example.toml").read_text()

    result, after = write(tmp_path, destination, {"email": EMAIL, "user_email": EMAIL}, before)

    assert result.exit_code == 1  # one of the two is no field of it
    assert added(before, after).strip().endswith('[destinations.mapping]\nemail = "traits.email"')
    assert load(tmp_path / "relay.toml").destination(destination).mapping.email == ("traits.email",)
