"""relay.toml becomes frozen values, or a list of all its mistakes."""

import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import BaseModel, SecretStr, ValidationError

from worker.destinations import REGISTRY
from worker.destinations.criteo import CriteoSettings
from worker.destinations.mapping import MappingSettings, When
from worker.errors import ConfigurationError
from worker.settings import GatewaySettings, default_path, load

EXAMPLE = Path(__file__).parents[2] / "relay.example.toml"

CRITEO = """
[[destinations]]
name = "criteo-shop"
kind = "criteo"
advertiser_id = "4711"
client_id = "id"
client_secret = "secret"
"""
TABOOLA = """
[[destinations]]
name = "taboola"
kind = "taboola"
account_id = "account"
client_id = "id"
client_secret = "secret"
"""
STACKADAPT = """
[[destinations]]
name = "stackadapt"
kind = "stackadapt"
api_token = "token"
advertiser_id = "2029"
"""

Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Writes a relay.toml into a folder that is the working directory, too."""
    monkeypatch.chdir(tmp_path)

    def written(text: str) -> Path:
        path = Path("relay.toml")
        path.write_text(text)
        return path

    return written


def mistakes(path: Path) -> list[str]:
    with pytest.raises(ConfigurationError) as raised:
        load(path)
    return raised.value.mistakes


# ── What is read ─────────────────────────────────────────────────────────────────────────────────


def test_the_example_has_every_kind_and_needs_nothing_from_outside() -> None:
    settings = load(EXAMPLE)

    assert {destination.kind for destination in settings.destinations} == set(REGISTRY)
    assert settings.redis.url is None
    assert all(destination.api_url.startswith("http://127.0.0.1:8900/") for destination in settings.destinations)


def test_the_example_tells_of_every_key() -> None:
    words = set(EXAMPLE.read_text().replace("#", " ").split())
    models: list[type[BaseModel]] = [GatewaySettings, *(kind.Settings for kind in REGISTRY.values())]
    models += [MappingSettings, When]

    for model in models:
        keys = {field.alias or name for name, field in model.model_fields.items()}
        assert keys - {"batch", "mapping"} <= words, model


def test_the_example_shows_the_defaults_of_a_mapping_and_examples_that_can_be_used() -> None:
    _, _, shown = EXAMPLE.read_text().partition("# [destinations.mapping]\n")
    mapping, _, _ = shown.partition("\n\n")
    defaults, _, examples = mapping.partition("# Examples")
    kept = "".join(f"{line.removeprefix('# ')}\n" for line in examples.splitlines() if "=" in line or line[-1] in "]},")

    assert MappingSettings.model_validate(tomllib.loads(defaults.replace("# ", ""))) == MappingSettings()
    assert len(MappingSettings.model_validate(tomllib.loads(kept)).when) == 2


def test_a_destination_has_the_settings_of_its_kind(write: Write) -> None:
    settings = load(write(CRITEO + TABOOLA))

    criteo = settings.destination("criteo-shop")
    assert isinstance(criteo, CriteoSettings)
    assert criteo.client_secret.get_secret_value() == "secret"
    assert criteo.batch.max_changes == 50_000
    assert [destination.name for destination in settings.destinations] == ["criteo-shop", "taboola"]


def test_an_unknown_destination_names_the_known_ones(write: Write) -> None:
    settings = load(write(CRITEO + TABOOLA))

    with pytest.raises(ConfigurationError, match='"nobody"; there are: criteo-shop, taboola'):
        settings.destination("nobody")


def test_sections_may_be_absent(write: Write) -> None:
    settings = load(write(CRITEO))

    assert settings.redis.url is None
    assert settings.celery.broker_url is None
    assert (settings.gateway.host, settings.gateway.port, settings.gateway.write_keys) == ("127.0.0.1", 8080, ())


def test_settings_cannot_be_changed(write: Write) -> None:
    settings = load(write(CRITEO))

    with pytest.raises(ValidationError):
        settings.folder = Path("elsewhere")  # type: ignore[misc]


def test_the_folder_is_that_of_the_file(write: Write, tmp_path: Path) -> None:
    assert load(write(CRITEO)).folder == tmp_path.resolve()


def test_the_path_comes_from_the_environment_else_it_is_relay_toml(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RELAY_CONFIG", raising=False)
    assert default_path() == Path("relay.toml")

    monkeypatch.setenv("RELAY_CONFIG", "/etc/relay.toml")
    assert default_path() == Path("/etc/relay.toml")


def test_no_repr_shows_a_secret(write: Write) -> None:
    text = '[redis]\nurl = "redis://u:hush-1@h/0"\n[celery]\nbroker_url = "amqp://u:hush-2@h"\n'
    text += '[gateway]\nwrite_keys = ["hush-3"]\nwebhook_secret = "hush-4"\n'

    settings = load(write(text + CRITEO.replace('"secret"', '"hush-5"')))

    assert settings.gateway.write_keys == (SecretStr("hush-3"),)
    assert "hush" not in repr(settings)


# ── References ───────────────────────────────────────────────────────────────────────────────────


def test_any_string_may_come_from_the_environment(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEY", "from-env")
    monkeypatch.setenv("PORT", "9000")

    gateway = load(write('[gateway]\nwrite_keys = ["plain", "env:KEY"]\nport = "env:PORT"\n' + CRITEO)).gateway

    assert [key.get_secret_value() for key in gateway.write_keys] == ["plain", "from-env"]
    assert gateway.port == 9000


def test_a_byte_order_mark_is_no_part_of_a_file(write: Write) -> None:
    Path("secret").write_text("\ufeffs3cret\n")
    path = write("\ufeff" + CRITEO.strip().replace('"secret"', '"file:secret"'))

    (criteo,) = load(path).destinations

    assert isinstance(criteo, CriteoSettings)
    assert criteo.client_secret.get_secret_value() == "s3cret"
    assert mistakes(write("\ufeffa = 1\nb =\n")) == ["relay.toml:2: not TOML: Invalid value"]


@pytest.mark.parametrize("content", ["from-file", "from-file\n", "from-file\r\n"])
def test_any_string_may_come_from_a_file_beside_the_configuration(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str
) -> None:
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "criteo").write_bytes(content.encode())
    path = write(CRITEO.replace('"secret"', '"file:secrets/criteo"')).resolve()
    monkeypatch.chdir("/")

    criteo = load(path).destination("criteo-shop")

    assert isinstance(criteo, CriteoSettings)
    assert criteo.client_secret.get_secret_value() == "from-file"


def test_a_reference_without_a_value_is_one_mistake_that_says_where_it_looked(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("UNSET", raising=False)
    monkeypatch.setenv("EMPTY", "")
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    keys = '"env:UNSET", "env:EMPTY", "file:missing", "file:empty", "file:binary"'
    folder = tmp_path.resolve()

    found = mistakes(write(f'[gateway]\nport = "env:UNSET"\nwrite_keys = [{keys}]\n{CRITEO}'))

    assert found == [
        "relay.toml:2: gateway.port: environment variable UNSET is not set",
        "relay.toml:3: gateway.write_keys[0]: environment variable UNSET is not set",
        "relay.toml:3: gateway.write_keys[1]: environment variable EMPTY is empty",
        f"relay.toml:3: gateway.write_keys[2]: file {folder}/missing cannot be read: No such file or directory",
        f"relay.toml:3: gateway.write_keys[3]: file {folder}/empty is empty",
        f"relay.toml:3: gateway.write_keys[4]: file {folder}/binary is not UTF-8 text",
    ]


# ── Mistakes ─────────────────────────────────────────────────────────────────────────────────────


def test_an_unknown_key_is_named_with_its_line_and_what_is_allowed(write: Write) -> None:
    text = TABOOLA.replace("account_id", "acount_id")

    missing, unknown = mistakes(write(text))

    assert missing == 'relay.toml:2: destinations[0] "taboola": missing key "account_id"'
    assert unknown.startswith(
        'relay.toml:5: destinations[0] "taboola": unknown key "acount_id"; did you mean "account_id"? allowed: name, '
    )
    assert "audience_identifier" in unknown


@pytest.mark.parametrize(
    ("addition", "line", "mistake"),
    [
        ("max_in_flight = 0", 8, "max_in_flight: must be greater than or equal to 1"),
        ("max_in_flight = 'many'", 8, "max_in_flight: must be a valid integer, unable to parse string as an integer"),
        ("shards = 65", 8, "shards: must be less than or equal to 64"),
        ("shards = 2\nidentifier_type = 'madid'", 2, "shards: a change of this destination may carry several"),
        ("hash_emails = []", 8, "hash_emails: must be a valid boolean"),
        ("audiences = 'vip'", 8, "audiences: must be a list in [ ]"),
        ("audiences = ['']", 8, "audiences[0]: must not be empty"),
        ("audiences = [\n'a',\n1]", 10, "audiences[1]: must be a string; put it in quotes"),
        ("api_url = 'criteo'", 8, "api_url: must begin with http:// or https://"),
        ("api_version = 'new'", 8, r"api_version: must match pattern '^\d{4}-\d{2}$'"),
        ("batch = 1", 8, "batch: must be a table"),
        ("\n[destinations.batch]\nmax_changes = 50001", 10, "batch.max_changes: must be less than or equal to 50000"),
        ("batch.max_chages = 1", 8, 'batch: unknown key "max_chages"; did you mean "max_changes"? allowed: '),
    ],
)
def test_a_wrong_value_is_named_with_its_line_and_its_bound(
    write: Write, addition: str, line: int, mistake: str
) -> None:
    (found,) = mistakes(write(CRITEO + addition))

    assert found.startswith(f'relay.toml:{line}: destinations[0] "criteo-shop": {mistake}')


def test_only_who_has_one_identifier_a_change_may_have_shards(write: Write) -> None:
    assert load(write(CRITEO + "shards = 4")).destination("criteo-shop").shards == 4

    (mistake,) = mistakes(write(TABOOLA + "shards = 4"))

    assert mistake == (
        'relay.toml:2: destinations[0] "taboola": shards: a change of this destination may carry several identifiers; '
        "only 1 is possible"
    )


def test_all_mistakes_come_at_once_and_in_the_order_of_their_lines(write: Write) -> None:
    text = (
        f'[redis]\nurl = "http://h"\n[gatway]\n{TABOOLA}ttl_in_hours = 0\n{CRITEO}kin = 1\n[celery]\nbroker_url = 1\n'
    )

    found = mistakes(write(text))

    lines = [int(each.split(":")[1]) for each in found]
    assert lines == sorted(lines)
    assert [each.split(": ", 2)[1] for each in found] == [
        "redis.url",
        'unknown key "gatway"; did you mean "gateway"? allowed',
        'destinations[0] "taboola"',
        'destinations[1] "criteo-shop"',
        "celery.broker_url",
    ]


@pytest.mark.parametrize(
    ("text", "mistake"),
    [
        ("", "relay.toml:1: no destination; write at least one [[destinations]]"),
        ("destinations = []", "relay.toml:1: no destination; write at least one [[destinations]]"),
        (
            "\n[destinations]\nname = 'x'",
            "relay.toml:2: destinations: must be an array of tables; write [[destinations]]",
        ),
        ("destinations = ['x']", "relay.toml:1: destinations[0]: must be a table; write [[destinations]]"),
        ("a = 1\nb =\n", "relay.toml:2: not TOML: Invalid value"),
    ],
)
def test_a_file_without_usable_destinations_says_what_to_write(write: Write, text: str, mistake: str) -> None:
    assert mistakes(write(text)) == [mistake]


def test_a_missing_file_says_what_to_copy(tmp_path: Path) -> None:
    (found,) = mistakes(tmp_path / "relay.toml")

    assert "not found; copy relay.example.toml" in found


def test_a_file_that_cannot_be_read_is_a_mistake(tmp_path: Path) -> None:
    (tmp_path / "binary.toml").write_bytes(b"\xff")

    assert mistakes(tmp_path / "binary.toml") == [f"{tmp_path}/binary.toml: not UTF-8 text"]
    assert mistakes(tmp_path) == [f"{tmp_path}: cannot be read: Is a directory"]


def test_an_unknown_kind_lists_the_kinds(write: Write) -> None:
    (unknown,) = mistakes(write(CRITEO.replace('"criteo"', '"critoe"')))
    (missing,) = mistakes(write(CRITEO.replace("kind =", "sort =")))

    allowed = f"allowed: {', '.join(REGISTRY)}"
    assert unknown == (f'relay.toml:4: destinations[0] "criteo-shop": kind: unknown; did you mean "criteo"? {allowed}')
    assert missing == f'relay.toml:2: destinations[0] "criteo-shop": missing key "kind"; {allowed}'


def test_a_kind_that_is_no_text_is_unknown(write: Write) -> None:
    (found,) = mistakes(write(CRITEO.replace('"criteo"', "[1]")))

    assert "kind: unknown" in found


def test_a_rule_over_several_keys_has_the_line_of_the_table(write: Write) -> None:
    (found,) = mistakes(write(TABOOLA + 'audience_identifier = "audience_name"\n'))

    assert found.startswith('relay.toml:2: destinations[0] "taboola": audience_identifier = "audience_name" needs ')


def test_no_mistake_repeats_a_value_that_might_be_secret(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HUSH", "hush-1")
    hidden = CRITEO.replace('"criteo-shop"', '"env:HUSH"').replace('"4711"', '"env:HUSH"')
    text = '[redis]\nurl = "http://u:hush-2@h"\n[celery]\nbroker_url = "hush-3"\n'
    text += '[gateway]\nport = "env:HUSH"\nwrite_keys = "hush-4"\nwebhook_secret = ["hush-5"]\n'

    found = mistakes(write(text + hidden + hidden + hidden.replace('"criteo"', '"env:HUSH"')))

    assert len(found) == 10
    assert "hush" not in "\n".join(found)


def test_an_error_of_the_configuration_does_not_carry_its_cause(write: Write) -> None:
    """The errors of pydantic and of the interpreter hold values; a traceback must not show them."""
    with pytest.raises(ConfigurationError) as raised:
        load(write(CRITEO + "max_in_flight = 'hush'"))

    assert raised.value.__cause__ is None
    assert raised.value.__context__ is None


# ── What may not be configured ───────────────────────────────────────────────────────────────────


def test_names_are_unique(write: Write) -> None:
    text = CRITEO + CRITEO.replace("4711", "4712")

    assert mistakes(write(text)) == [
        'relay.toml:10: destinations[1] "criteo-shop": name: taken by destinations[0] in line 3'
    ]


def second(table: str, addition: str = "") -> str:
    """The same destination once more, under another name."""
    return table.replace('name = "', 'name = "second-') + addition


def test_two_destinations_may_not_write_the_same_audience(write: Write) -> None:
    text = CRITEO + 'audiences = ["vip-*"]\n' + second(CRITEO, 'audiences = ["std-*", "*-buyers"]\n')

    (found,) = mistakes(write(text))

    place, _, reason = found.partition(": may not stand beside destinations[0]: ")
    assert place == 'relay.toml:10: destinations[1] "second-criteo-shop"'
    assert reason == "both can write the same audience of one account or advertiser; let only one of them"


@pytest.mark.parametrize(
    "other",
    [
        second(CRITEO, 'audiences = ["std-*"]'),
        second(CRITEO).replace("4711", "4712"),
        second(CRITEO, 'api_url = "https://elsewhere.example"'),
        TABOOLA,
    ],
    ids=["other audiences", "other advertiser", "other API", "other kind"],
)
def test_two_destinations_may_differ_in_audience_target_or_kind(write: Write, other: str) -> None:
    settings = load(write(CRITEO + 'audiences = ["vip-*"]\n' + other))

    assert len(settings.destinations) == 2


def test_listed_audience_names_decide_whether_two_write_the_same_audience(write: Write) -> None:
    named = TABOOLA + 'audience_identifier = "audience_name"\n'

    apart = load(write(named + 'audience_names = {a = "A"}\n' + second(named, 'audience_names = {a = "B"}\n')))
    (found,) = mistakes(write(named + 'audience_names = {a = "A"}\n' + second(named, 'audience_names = {b = "A"}\n')))

    assert len(apart.destinations) == 2
    assert "both can write the same audience" in found


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (
            'audiences = ["vip"]',
            'audiences = ["gold"]\naudience_identifier = "audience_name"\naudience_names = {gold = "vip"}',
        ),
        (
            'audiences = ["a*"]\naudience_identifier = "external_audience_id"',
            'audiences = ["b*"]\naudience_identifier = "external_audience_id"',
        ),
    ],
    ids=["a key and a listed name", "ids that events bring"],
)
def test_what_counts_is_how_the_vendor_names_the_audience(write: Write, one: str, other: str) -> None:
    (found,) = mistakes(write(TABOOLA + one + "\n" + second(TABOOLA, other + "\n")))

    assert "both can write the same audience" in found


def test_names_are_compared_whatever_else_is_wrong(write: Write) -> None:
    found = mistakes(write(CRITEO + CRITEO.replace("4711", "4712").replace('kind = "criteo"', 'kind = "criteoo"')))

    assert any("taken by destinations[0]" in each for each in found)
    assert any("unknown" in each for each in found)


def test_stackadapt_destinations_of_one_advertiser_share_properties_and_marketing_status(write: Write) -> None:
    one = STACKADAPT + 'audiences = ["a*"]\n'
    other = second(STACKADAPT, 'audiences = ["b*"]\n')
    plan = 'properties = [{ name = "plan", type = "STRING", path = "traits.plan" }]\n'

    alike = load(write(one + plan + other + plan))
    (found,) = mistakes(write(one + plan + other))
    (also,) = mistakes(write(one + other + 'marketing_status = "opted_in"\n'))
    elsewhere = load(write(one + plan + other.replace("2029", "2030")))

    assert len(alike.destinations) == len(elsewhere.destinations) == 2
    assert found.endswith(
        "same advertiser, so properties and marketing_status must be equal too; StackAdapt keeps one of each"
    )
    assert also.startswith('relay.toml:9: destinations[1] "second-stackadapt": may not stand beside destinations[0]')


def test_a_redis_cluster_may_keep_the_lanes_but_not_be_the_broker(write: Write) -> None:
    lanes = '[redis]\nurl = "redis+cluster://h:7000"\n'

    (found,) = mistakes(write(lanes + CRITEO))
    (also,) = mistakes(write(lanes + '[celery]\nbroker_url = "redis+cluster://h:7000"\n' + CRITEO))
    settings = load(write(lanes + '[celery]\nbroker_url = "amqp://h"\n' + CRITEO))

    assert found.startswith("relay.toml:2: redis.url: a Redis Cluster cannot be the broker")
    assert also.startswith("relay.toml:4: celery.broker_url: a Redis Cluster cannot be the broker")
    assert settings.celery.broker_url == "amqp://h"


# ── Producers ────────────────────────────────────────────────────────────────────────────────────


def test_reading_settings_brings_neither_redis_nor_celery_nor_httpx() -> None:
    code = "import sys, worker.settings; print({'redis', 'celery', 'kombu', 'httpx'} & set(sys.modules))"

    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert answer.stdout.strip() == "set()"
