"""Which texts are identifiers, and in what form."""

import hashlib
import sys
from typing import Any, get_args
from unicodedata import normalize

import email_validator
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from producers.identifiers import MAX_EMAIL, MAX_LENGTH, PLAIN, normalise, reader
from sandbox.crowd_people import Dice, make_person
from worker.contract import IdentifierType

TYPES: tuple[IdentifierType, ...] = get_args(IdentifierType)
SHA256 = "973dfe463ec85785f5f95af5ba3906eedb2d931c24e69824a89ea65dba4e813b"
MD5 = "55502f40dc8b7c769880b10874abc9d0"
IOS = "EA7583CD-A667-48BC-B806-42ECB2B48606"
ANDROID = "38400000-8cf0-11bd-b23e-10b96e40000d"


def email(text: str) -> str | None:
    return normalise("email", text)


# ── Emails ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("given_", "normalised"),
    [
        ("  Jane.DOE@Example.COM ", "jane.doe@example.com"),
        ("\ufeff\u200bjane@example.com\xa0\u2003\u2060", "jane@example.com"),
        ("jo\u0308se\u0301@example.com", "jösé@example.com"),
        ("JÖSÉ@EXÄMPLE.COM", "jösé@exämple.com"),
        ("\uf900@example.com", "\u8c48@example.com"),
        ("jösé+日本@exämple.com", "jösé+日本@exämple.com"),
        ("O'Neil+News_1@mail-2.example.co.uk", "o'neil+news_1@mail-2.example.co.uk"),
        ("!#$%&'*/=?^`{|}~.-@example.com", "!#$%&'*/=?^`{|}~.-@example.com"),
        ("jane@1.example.9", "jane@1.example.9"),
        ("jane@example。com", "jane@example.com"),
        ("क्षि@example.com", "क्षि@example.com"),
        ("😀@example.com", "😀@example.com"),
        ("x" * 242 + "@example.com", "x" * 242 + "@example.com"),
    ],
)
def test_an_email_is_trimmed_composed_and_lower_cased(given_: str, normalised: str) -> None:
    assert email(given_) == normalised


@pytest.mark.parametrize(
    "domain",
    ["gmail", "localhost", "test", "shop.test", "example.invalid", "printer.local", "x.onion", "1.in-addr.arpa"],
)
def test_where_mail_arrives_is_for_the_vendor_to_say(domain: str) -> None:
    assert email(f"jane@{domain.upper()}") == f"jane@{domain}"
    assert email(f"{{jane}}@{domain}") == f"{{jane}}@{domain}"


def test_an_address_in_unicode_and_in_punycode_is_one_and_written_in_unicode() -> None:
    """So that its hash is that of the address as people write it, which is what Segment hashes, too."""
    forms = ("jane@exämple.com", "jane@exa\u0308mple.com", "Jane@EXÄMPLE.com", "jane@xn--exmple-cua.com")

    assert {email(form) for form in forms} == {"jane@exämple.com"}
    assert {email(form) for form in ("j@例え.テスト", "j@xn--r8jz45g.XN--ZCKZAH")} == {"j@例え.テスト"}
    assert {email(form) for form in ("j@exämple.test", "j@xn--exmple-cua.test")} == {"j@exämple.test"}


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "jane",
        "@",
        "jane@",
        "@example.com",
        "a@b@c",
        "jane doe@example.com",
        "jane@exa\u2003mple.com",
        "ja\u200bne@example.com",
        "jane@exa\u200bmple.com",
        ".jane@example.com",
        "jane.@example.com",
        "jane..doe@example.com",
        "jane@example..com",
        "jane@example.com.",
        "jane@-example.com",
        "jane@exam_ple.com",
        "jane@ab--cd.com",
        "jane@xn--.com",
        "jane@😀.com",
        "jane\uff20example.com",
        "jane@" + "x" * 64 + ".com",
        "x" * 243 + "@example.com",
        "é" * 122 + "@example.com",
        "mailto:jane@example.com",
        "jane@example.com, joe@example.com",
    ],
)
def test_a_text_that_is_no_address_is_no_email(text: str) -> None:
    assert email(text) is None


@pytest.mark.parametrize(
    "text",
    [
        '"jane doe"@example.com',
        '"jane"@example.com',
        "jane(work)@example.com",
        "Jane Doe <jane@example.com>",
        "<jane@example.com>",
        "jane@[127.0.0.1]",
        "jane@[IPv6:::1]",
    ],
)
def test_forms_of_which_no_vendor_tells_how_it_hashes_them_are_refused(text: str) -> None:
    assert email(text) is None


@pytest.mark.parametrize("digest", [MD5, SHA256])
def test_a_hash_is_lower_cased_and_passed(digest: str) -> None:
    assert email(digest) == digest
    assert email(f" {digest.upper()}\n") == digest


@pytest.mark.parametrize(
    "text", [SHA256[:63], SHA256 + "0", SHA256[:40], SHA256[:63] + "g", SHA256[:30] + "  " + SHA256[:32]]
)
def test_what_is_as_long_as_no_known_hash_or_not_in_hex_is_none(text: str) -> None:
    assert email(text) is None


@pytest.mark.parametrize(
    "digest",
    [
        hashlib.md5(b"").hexdigest(),  # noqa: S324 - what others hash with
        hashlib.sha256(b"").hexdigest(),
        hashlib.sha256(hashlib.md5(b"").hexdigest().encode()).hexdigest(),  # noqa: S324 - the same
        "0" * 32,
        "0" * 64,
    ],
)
def test_the_hash_of_nothing_names_nobody(digest: str) -> None:
    assert email(digest) is None
    assert email(digest.upper()) is None
    assert normalise("phone", digest) is None


# ── The fast path and its referee ────────────────────────────────────────────────────────────────


def judged(address: str) -> str | None:
    """What email-validator says by itself, told that reserved domains are none."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(email_validator, "SPECIAL_USE_DOMAIN_NAMES", [])
        try:
            found = email_validator.validate_email(address, check_deliverability=False, globally_deliverable=False)
        except email_validator.EmailNotValidError:
            return None
        return found.normalized


def composed(text: str) -> str:
    return normalize("NFC", normalize("NFC", text).lower())


WORDS = st.text("abcdefgzABZ019_éßİςñ日本语אبक", min_size=1, max_size=12)
LABELS = st.text("abcxyzXYZ0189", min_size=1, max_size=14)
PLAUSIBLE = st.builds(
    "{}@{}".format,
    st.lists(WORDS, min_size=1, max_size=4).flatmap(
        lambda words: st.sampled_from(".+-'_").map(lambda by: by.join(words))
    ),
    st.builds(
        lambda labels, by, top: f"{by.join(labels)}.{top}",
        st.lists(LABELS, min_size=1, max_size=4),
        st.sampled_from(".-"),
        st.sampled_from(["com", "co.uk", "de", "invalid", "test", "example", "1", "xn--p1ai"]),
    ),
)
TRICKS = (
    "aZ9@@..--__++''\"\\()<>[]:;,% \t\n\0\u0308\u0338\u1161\u200b\u200d\u212aİ\u0131ßςΣ\u13a0\uab70ﬁⅷ٣אב"
    "。\uff0e\uff20\ufe6b😀\ud800\uf900"
)
ADVERSARIAL = st.builds("{}@{}".format, st.text(TRICKS, max_size=70), st.text(TRICKS + "xn--", max_size=70))
ADDRESSES = PLAUSIBLE | ADVERSARIAL | st.from_regex(PLAIN, fullmatch=True) | st.emails()


@settings(max_examples=400)
@given(ADDRESSES)
@example("a@" + "b" * 62)
@example("a" * 61 + "@xy")
@example("a@xn--a")
@example("a@ab--cd")
@example("_@a")
@example("é" * 60 + "@a.bc")
@example("\u212a@example.com")
def test_where_the_fast_path_accepts_the_referee_accepts_the_same(text: str) -> None:
    address = composed(text)

    if PLAIN.fullmatch(address):
        assert judged(address) == address
        assert email(text) == address


@settings(max_examples=400)
@given(ADDRESSES)
def test_an_email_is_what_the_referee_makes_of_the_composed_and_lower_cased_text(text: str) -> None:
    trimmed = text.strip("".join(space for space in TRICKS if space.isspace()) + "\u200b\u200d")

    assert email(trimmed) == (judged(composed(trimmed)) if len(trimmed) <= MAX_EMAIL else None)


def test_every_letter_of_the_fast_path_is_one_to_the_referee() -> None:
    """Letters that composing or lower-casing changes never come there. Set apart, so that none composes another."""
    letters = [chr(code) for code in range(sys.maxunicode + 1)]
    plain = [each for each in letters if composed(each) == each and PLAIN.fullmatch(f"{each}@x")]

    assert len(plain) > 100_000
    for start in range(0, len(plain), 24):
        address = "1".join(plain[start : start + 24]) + "@example.com"
        assert PLAIN.fullmatch(address)
        assert judged(address) == address


def test_the_fast_path_takes_ordinary_addresses() -> None:
    crowd = [make_person(number, Dice(number)).email for number in range(1_000)]
    addresses = [address for address in crowd if "@" in address]

    assert len(addresses) > 500
    addresses += ["jane+news_1@mail-2.example.co.uk", "o'neil-x.y@example.com", "zoë@example.com", "jane@gmail"]
    assert [address for address in addresses if not PLAIN.fullmatch(address)] == []


# ── Devices ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("text", [IOS, ANDROID, ANDROID.upper(), IOS.replace("-", ""), "ifa:0-1", f" {IOS}\u2003"])
def test_a_device_is_taken_as_given(text: str) -> None:
    assert normalise("device", text) == text


@pytest.mark.parametrize("zeros", ["00000000-0000-0000-0000-000000000000", "0" * 32, "0", "-", "0000-0000", " 0-0\n"])
def test_zeros_are_no_device(zeros: str) -> None:
    assert normalise("device", zeros) is None


@pytest.mark.parametrize("text", ["", "  ", "two words", "a\nb", "a\0", "\ud800", "a\u200bb", "x" * (MAX_LENGTH + 1)])
def test_what_is_blank_or_broken_or_too_long_is_no_device(text: str) -> None:
    assert normalise("device", text) is None


# ── Phones ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("text", "region"),
    [
        ("+33 1 40 40 22 90", None),
        (" +33-1.40.40.22.90\u200b", "US"),
        ("+33 (0)1 40 40 22 90", None),
        ("0033 1 40 40 22 90", None),
        ("0033140402290", "US"),
        ("01 40 40 22 90", "FR"),
        ("(01) 40 40 22 90", "FR"),
        ("33140402290", "FR"),
        ("33140402290", None),
        ("+33 1 40 40 22 90 ext. 5", None),
        ("+33" + "-" * 52 + "140402290", None),
        ("\uff0b\uff13\uff13140402290", None),
        ("011 33 1 40 40 22 90", "US"),
    ],
)
def test_a_phone_is_e164_without_its_plus(text: str, region: str | None) -> None:
    """The vector of Criteo's rule."""
    phone = normalise("phone", text, region=region)

    assert phone == "33140402290"
    assert hashlib.sha256(phone.encode()).hexdigest().startswith("fda66831d0cb0eb4bffb21bc795308d6")


def test_a_number_that_names_no_country_is_one_of_the_region() -> None:
    assert normalise("phone", "98765 43210", region="IN") == "919876543210"
    assert normalise("phone", "(202) 555-0123", region="US") == "12025550123"
    assert normalise("phone", "12025550123", region="US") == "12025550123"
    assert normalise("phone", "02 1234 5678", region="IT") == "390212345678"


@pytest.mark.parametrize(
    ("text", "region"),
    [
        ("01 40 40 22 90", None),
        ("0140402290", None),
        ("33 1 40 40 22 90", None),
        ("0140402290", "XX"),
        ("33140402290", "US"),
        ("+33 1 40 40 22", None),
        ("+1 000 000 0000", None),
        ("0000000000", "US"),
        ("123", "US"),
        ("555-0123", "US"),
        ("", "US"),
        ("+", "US"),
        ("jane", "US"),
        ("Jane 2025550123", "US"),
        ("order +33140402290", None),
        ("jane+33140402290@example.com", None),
        ("+33140402290 or +33140402291", None),
        ("\ud800+33140402290", None),
        ("+33" + "-" * 53 + "140402290", None),
        (MD5, "US"),
    ],
)
def test_what_is_no_valid_number_is_no_phone(text: str, region: str | None) -> None:
    assert normalise("phone", text, region=region) is None


def test_a_phone_that_is_hashed_already_is_lower_cased_and_passed() -> None:
    assert normalise("phone", f" {SHA256.upper()} ", region="US") == SHA256


# ── Opaque ids ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("type_", ["identity_link", "gum"])
def test_ids_of_others_are_trimmed_and_otherwise_as_given(type_: IdentifierType) -> None:
    assert normalise(type_, "\u200b XY1002-_=/+Ünï \n") == "XY1002-_=/+Ünï"
    assert normalise(type_, "x" * MAX_LENGTH) == "x" * MAX_LENGTH
    for text in ("", " \u200b", "two words", "a\tb", "a\xa0b", "a\0", "a\u2060b", "\ud800", "x" * (MAX_LENGTH + 1)):
        assert normalise(type_, text) is None


def test_a_user_id_is_any_text_as_given() -> None:
    for text in (" u-1 ", 'user "1"\n', "0", "😀", "a\0", "x" * MAX_LENGTH):
        assert normalise("user_id", text) == text
    for text in ("", " \u200b\n", "u\ud800", "x" * (MAX_LENGTH + 1)):
        assert normalise("user_id", text) is None


# ── Any text ─────────────────────────────────────────────────────────────────────────────────────


@settings(max_examples=500)
@given(st.sampled_from(TYPES), st.text(st.characters()) | st.text(TRICKS + "+(0123456789", max_size=80) | ADVERSARIAL)
def test_no_text_raises_and_a_form_stays_as_it_is_and_can_be_written(type_: IdentifierType, text: str) -> None:
    for region in (None, "US", "nowhere"):
        form = normalise(type_, text, region=region)
        if form is not None:
            assert form.encode()
            assert normalise(type_, form) == form


@pytest.mark.timeout(5)
@pytest.mark.parametrize("type_", TYPES)
@pytest.mark.parametrize(
    "text",
    [
        "x" * 100_000,
        " " * 100_000,
        "0" * 100_000,
        "a@" + "b." * 50_000,
        "a" + "\u0323\u0308" * 50_000 + "@example.com",
        '"' * 100_000 + "@example.com",
        "jane@xn--" + "9" * 100_000,
        "+" + "1 " * 50_000,
        "\ud800" * 100_000,
        "😀" * 100_000,
    ],
    ids=ascii,
)
def test_a_long_text_is_refused_at_once(type_: IdentifierType, text: str) -> None:
    assert normalise(type_, text, region="US") is None


# ── Values at several places ─────────────────────────────────────────────────────────────────────


def read(type_: IdentifierType, *values: object, region: str | None = None) -> tuple[list[str], list[str]]:
    """The identifiers and what was called lost."""
    lost: list[str] = []
    found = reader(type_, region=region)(iter(values), lost.append)
    assert {identifier.type for identifier in found} <= {type_}
    return [identifier.value for identifier in found], lost


def test_the_first_text_decides() -> None:
    assert read("email", None, " ", "A@x", "b@x") == (["a@x"], [])
    assert read("gum", None, "", "g1", "g2") == (["g1"], [])
    assert read("user_id", "\n", " u ", "v") == ([" u "], [])
    assert read("phone", None, "01 40 40 22 90", "+12025550123", region="FR") == (["33140402290"], [])


@pytest.mark.parametrize("type_", ["email", "phone", "identity_link", "gum"])
def test_a_later_text_does_not_stand_in_for_an_invalid_one(type_: IdentifierType) -> None:
    valid = {"email": "a@x", "phone": "+12025550123"}.get(type_, "id")

    assert read(type_, "not valid", valid) == ([], [type_])
    assert read(type_, valid, "not valid") == ([valid.removeprefix("+")], [])


def test_of_devices_all_distinct_ones_are_read() -> None:
    assert read("device", IOS, None, ANDROID, IOS, IOS.lower()) == ([IOS, ANDROID, IOS.lower()], [])
    assert read("device", "0", IOS, "", "0-0", 5) == ([IOS], ["device"])


@pytest.mark.parametrize("type_", TYPES)
def test_null_and_blank_text_are_absent(type_: IdentifierType) -> None:
    assert read(type_) == ([], [])
    assert read(type_, None, "", " \u200b\xa0\n") == ([], [])


@pytest.mark.parametrize("type_", TYPES)
@pytest.mark.parametrize(
    "value", [True, False, 1.5, [], {}, ["a@x"], {"email": "a@x"}, b"a@x", 10**5_000, -(10**30)], ids=type
)
def test_a_value_of_another_kind_decides_nothing_and_is_lost_if_nothing_follows(
    type_: IdentifierType, value: Any
) -> None:
    valid = {"email": "a@x", "phone": "+12025550123"}.get(type_, "id")

    assert read(type_, None, value, "") == ([], [type_])
    assert read(type_, value, valid) == ([valid.removeprefix("+")], ["device"] if type_ == "device" else [])


def test_phones_and_user_ids_may_be_integers() -> None:
    assert read("phone", 33140402290) == (["33140402290"], [])
    assert read("phone", 2025550123, region="US") == (["12025550123"], [])
    assert read("phone", 12) == ([], ["phone"])
    assert read("user_id", 0, "u-1") == (["0"], [])
    assert read("email", 5) == ([], ["email"])
    assert read("device", 5) == ([], ["device"])
