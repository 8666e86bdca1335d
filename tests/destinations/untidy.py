"""Source events with arbitrary JSON in every field, and bytes that are no JSON: the same ones for the same seed.

Each is built on a valid event, so that many of them get far: part of them stays as it is, of the rest some fields are
replaced, added or left out, and some are broken as text.
"""

import json
import random
from collections.abc import Callable, Iterator
from typing import Any, Final

Json = Any
Object = dict[str, Json]

PEOPLE: Final = 300
DEEPEST: Final = 4
"""Of what stands in a field; as text it may be deeper."""
AUDIENCES: Final = (
    "vip", "churn_risk", "VIP", "vip ", " vip", "vip*", "[a-z]", "0/vip", "a.b", "true", "null", "7", "1e5", "email",
    "audience_key", "O'Brien \"Bob\" \\ naïve 日本 😀 \n\t</x>", "\u0000", "\u200b", "\u2028", '{"$ne": 1}', "é",
    "e\u0301", "-1", "../../x?y=1#z", "a" * 300,
)  # fmt: skip
TEXTS: Final = (
    "", " ", "\t\n", "\u0000", "\u0007\u001b", "\u200b", "\ufeff", "\u2028\u2029", "\u202eabc", "\ud7ff\ue000",
    "\uffff", "\U0010ffff", '"', "\\", '\\\\"', "\\u0041", "'", "`", "${x}", "{{ email }}", "%s%n", "</script><!--",
    "]]>", "]}", "} { ) ( $x @y #z", "true", "false", "null", "NaN", "-Infinity", "0x1f", "1e400", "007", "1_000",
    "١٢٣", "½", "2026-11-21", "2026-02-30", "2026-11-21T10:00:00.000Z", "2026-11-21T25:61:61Z", "0001-01-01",
    "9999-12-31T23:59:60Z", "1990-06-15T23:00:00-12:00", "12/31/2024", "Audience Entered", "Audience Exited",
    "delete ", "Opted-in", "opted out", "😀👩‍👩‍👧", "İıſßẞ", "\u1e9b\u0323", "ﬁ", "日本語", "שלום", "a" * 5_000,
    "\\" * 500, '"' * 500, "\n" * 500,
)  # fmt: skip
EMAILS: Final = (
    " {0}@Example.COM ", "{0}@example.com.", "{0}@exam ple.com", "{0}@", "@{0}.com", "{0}", "{0}@@example.com",
    "{0}@example", "{0}@localhost", "{0}@[127.0.0.1]", "{0}@exämple.com", "{0}@EXÄMPLE.COM", "{0}@xn--exmple-cua.com",
    "jösé.{0}@example.com", "JO\u0301SE\u0301.{0}@example.com", "{0}+tag@example.com", '"{0}"@example.com',
    '"{0} x"@example.com', "{0}@example..com", ".{0}@example.com", "{0}.@example.com", "{0}@-example.com",
    "mailto:{0}@example.com", "<{0}@example.com>", "Jane <{0}@example.com>", "{0}@example.com,x@example.com",
    "{0}\u200b@example.com", "\u200b{0}@example.com\ufeff", "{0}@example.com\u0000", "{0}\n@example.com",
    "{0}@日本.jp", "{0}@example.c", "{0}@example.123", "{0}@a.{0}.com", "İ{0}@example.com", '\\{0}"@example.com',
    "{0}'@example.com", "{0}%40example.com", "{0}@example.com/../x", "{0}\uff20example.com",
    "{0}@" + "d" * 80 + ".com", "{0}" * 30 + "@example.com",
)  # fmt: skip
DEVICES: Final = (
    "EA7583CD-A667-48BC-B806-{0:0>12}", "ea7583cd-a667-48bc-b806-{0:0>12}", " EA7583CD-A667-48BC-B806-{0:0>12} ",
    "{{EA7583CD-A667-48BC-B806-{0:0>12}}}", "EA7583CDA66748BCB806{0:0>12}", "{0}", 'device "{0}" \\ \n',
    "00000000-0000-0000-0000-000000000000", "0" * 32,
)  # fmt: skip
PHONES: Final = (
    "+49 171 5550{0:0>3}", "0171/5550{0:0>3}", "+1 (555) 010-0{0:0>3}", "00491715550{0:0>3}", "{0}",
    "tel:+491715550{0:0>3}", "+49 171 5550{0:0>3} ext. 5", "+999 5550{0:0>3}",
)  # fmt: skip
ACCOUNTS: Final = ("my-account", "other-account", "third", "Other Account", "a/../b?c=1#d", "é", "@", "7")
NUMBERS: Final = (
    0, 1, -1, 49, 1234567, 2**31, 2**53 + 1, 2**63 - 1, 2**63, -(2**63) - 1, 2**64, 10**18, 10**25, 0.0, -0.0, 1.5,
    49.0, 1e308, 5e-324, 1e22, 1790000000, 1790000000000,
)  # fmt: skip
PLACES: Final[tuple[tuple[str, ...], ...]] = (
    ("type",), ("event",), ("messageId",), ("userId",), ("anonymousId",), ("timestamp",), ("sentAt",), ("properties",),
    ("traits",), ("context",), ("properties", "audience_key"), ("properties", "email"), ("properties", "ios_id"),
    ("properties", "android_id"), ("properties", "plan"), ("properties", "phone"), ("traits", "email"),
    ("traits", "ios_id"), ("traits", "plan"), ("traits", "score"), ("traits", "active"), ("traits", "since"),
    ("traits", "first_name"), ("traits", "street"), ("traits", "birthday"), ("traits", "phone"), ("traits", "status"),
    ("context", "traits"), ("context", "traits", "email"), ("context", "personas"),
    ("context", "personas", "computation_class"), ("context", "personas", "computation_key"),
    ("context", "personas", "computation_id"), ("context", "personas", "external_audience_id"),
    ("context", "personas", "audience_settings"), ("context", "personas", "audience_settings", "account_id"),
    ("context", "personas", "audience_settings", "ttl_in_hours"), ("traits", "marketing_status"), ("context", "device"),
)  # fmt: skip


def source_events(seed: int, count: int) -> Iterator[bytes]:
    """People enter and leave: so many events, in the order in which they come. Now and then one comes twice."""
    untidy = _Untidy(random.Random(seed))
    return untidy.events(untidy.membership, count)


def deletions(seed: int, count: int) -> Iterator[bytes]:
    """So many requests to forget one of the same people."""
    untidy = _Untidy(random.Random(seed))
    return untidy.events(untidy.deletion, count)


class _Untidy:
    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._breaks: tuple[Callable[[bytes], bytes], ...] = (
            self._truncated, self._with_bytes, self._with_surrogate, self._with_keys_twice, self._nested,
            self._huge_number, self._overlong, self._of_another_shape, self._not_a_number, self._with_mark,
        )  # fmt: skip
        self._plain: tuple[Callable[[], Json], ...] = (
            lambda: None, lambda: chance.random() < 0.5, lambda: chance.choice(NUMBERS),
            lambda: chance.choice(EMAILS).format(f"p{chance.randrange(PEOPLE)}"), lambda: chance.choice(AUDIENCES),
            self._text, self._text, self._text,
        )  # fmt: skip

    def membership(self, number: int) -> Object:
        """A tidy event, told in one of the ways that there are, about one of few people."""
        key, who = self._chance.choice(AUDIENCES[:2]), self._chance.randrange(PEOPLE)
        if self._chance.random() < 0.15:
            key = self._chance.choice(AUDIENCES)
        entered = self._chance.random() < 0.6
        personas: Object = {
            "computation_class": "audience",
            "computation_key": key,
            "computation_id": f"aud_{key}",
            "external_audience_id": str(1000 + AUDIENCES.index(key)),
        }
        if self._chance.random() < 0.05:
            personas["audience_settings"] = {"account_id": self._chance.choice(ACCOUNTS), "ttl_in_hours": 1440}
        about: Object = {key: entered, "plan": "pro", "score": 1.5, "active": True, "since": "2026-01-31"}
        event: Object = {
            "messageId": f"m-{number}",
            "userId": f"u-{who}",
            "timestamp": f"2026-11-{self._chance.randint(10, 20)}T10:00:{self._chance.randint(0, 59):02}.000Z",
            "context": {"personas": personas, "traits": {}},
        }
        if self._chance.random() < 0.5:
            name = "Audience Entered" if entered else "Audience Exited"
            event |= {"type": "track", "event": name, "properties": about | {"audience_key": key}}
            self._identify(event["properties"], event["context"]["traits"], who)
        else:
            event |= {"type": "identify", "traits": about}
            self._identify(event["traits"], event["traits"], who)
        return event

    def deletion(self, number: int) -> Object:
        """Somebody is to be forgotten, who may not be known, or only by a user id."""
        who = self._chance.randrange(PEOPLE)
        event: Object = {"type": "delete", "messageId": f"d-{number}", "userId": f"u-{who}", "traits": {}}
        if self._chance.random() < 0.8:
            self._identify(event["traits"], event["traits"], who)
        return event

    def events(self, valid: Callable[[int], Object], count: int) -> Iterator[bytes]:
        event = b""
        for number in range(count):
            if number == 0 or self._chance.random() > 0.02:
                event = self._untidied(valid(number))
            yield event

    def _untidied(self, event: Object) -> bytes:
        fate = self._chance.random()
        if fate < 0.6:
            for _ in range(self._chance.choice((1, 1, 2, 4))):
                self._disturb(event)
        text = json.dumps(event, ensure_ascii=self._chance.random() < 0.5).encode("utf-8", "surrogatepass")
        return self._chance.choice(self._breaks)(text) if fate > 0.92 else text

    def _identify(self, devices: Object, emails: Object, who: int) -> None:
        """An email, a device or a phone, or several of them, now and then untidy."""
        if self._chance.random() < 0.9:
            form = self._chance.choice(EMAILS) if self._chance.random() < 0.1 else "{0}@example.com"
            emails["email"] = form.format(f"p{who}")
        if self._chance.random() < 0.3:
            form = self._chance.choice(DEVICES) if self._chance.random() < 0.2 else DEVICES[0]
            devices[self._chance.choice(("ios_id", "android_id"))] = form.format(who)
        if self._chance.random() < 0.2:
            devices["phone"] = self._chance.choice(PHONES).format(who)

    # ── Fields ───────────────────────────────────────────────────────────────────────────────────

    def _disturb(self, event: Object) -> None:
        """One field is replaced or left out, or one is there that should not be."""
        *parents, name = self._chance.choice(PLACES)
        place = event
        for step in parents:
            inner = place.get(step)
            if not isinstance(inner, dict):
                inner = place[step] = {}
            place = inner
        fate = self._chance.random()
        if fate < 0.15:
            place.pop(name, None)
        elif fate < 0.2:
            place[self._text()] = self._anything()
        else:
            place[name] = self._unlike_others(name, self._anything())

    def _unlike_others(self, name: str, value: Json) -> Json:
        """No two events are taken for the same one."""
        if name == "messageId" and isinstance(value, str):
            return f"{value}{self._chance.random()}"
        return value

    def _anything(self, depth: int = 0) -> Json:
        fate = self._chance.random()
        if depth == DEEPEST or fate < 0.66:
            return self._chance.choice(self._plain)()
        if fate < 0.83:
            return [self._anything(depth + 1) for _ in range(self._chance.randrange(4))]
        return {self._key(): self._anything(depth + 1) for _ in range(self._chance.randrange(5))}

    def _key(self) -> str:
        """Often one that is read somewhere."""
        return self._chance.choice(PLACES)[-1] if self._chance.random() < 0.7 else self._text()

    def _text(self) -> str:
        if self._chance.random() < 0.6:
            return self._chance.choice(TEXTS)
        planes = ((0, 0x7F), (0x80, 0x7FF), (0x800, 0xD7FF), (0xE000, 0xFFFF), (0x10000, 0x10FFFF))
        return "".join(
            chr(self._chance.randint(*self._chance.choice(planes))) for _ in range(self._chance.randrange(12))
        )

    # ── Text ─────────────────────────────────────────────────────────────────────────────────────

    def _truncated(self, text: bytes) -> bytes:
        return text[: self._chance.randrange(len(text))]

    def _with_bytes(self, text: bytes) -> bytes:
        at = self._chance.randrange(len(text))
        return (
            text[:at]
            + self._chance.choice((b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\x00", b"\n", b"\x1b"))
            + text[at:]
        )

    def _with_surrogate(self, text: bytes) -> bytes:
        return text.replace(b"example", self._chance.choice((b"\\ud83d", b"\\udc00", b"\\ude00\\ud83d")), 1)

    def _with_keys_twice(self, text: bytes) -> bytes:
        first = json.dumps({self._key(): self._anything()}).encode()
        return first[:-1] + b", " + text[1:]

    def _nested(self, text: bytes) -> bytes:
        depth = self._chance.choice((50, 500, 5_000))
        opened, closed = self._chance.choice(((b"[", b"]"), (b'{"traits": ', b"}")))
        return text[:-1] + b', "properties": ' + opened * depth + b"1" + closed * depth + b"}"

    def _huge_number(self, text: bytes) -> bytes:
        number = self._chance.choice((b"9" * 400, b"1e999", b"-1e999", b"0." + b"3" * 400, b"1e-999", b"9" * 5_000))
        return text[:-1] + b', "traits": {"score": ' + number + b', "email": "p1@example.com", "vip": true}}'

    def _overlong(self, text: bytes) -> bytes:
        size = self._chance.choice((20_000, 33_000, 100_000))
        return text[:-1] + b', "userId": "' + b"x" * size + b'"}'

    def _of_another_shape(self, text: bytes) -> bytes:
        wrapped = b"[" + text + b"]"
        return self._chance.choice((b"", b" ", b"null", b"1", b'"x"', b"[]", b"{}", b"\x00", wrapped, text + text))

    def _not_a_number(self, text: bytes) -> bytes:
        return text.replace(b"1.5", self._chance.choice((b"NaN", b"Infinity", b"-Infinity", b"01", b"1.", b"+1")), 1)

    def _with_mark(self, text: bytes) -> bytes:
        return self._chance.choice((b"\xef\xbb\xbf", b"\xff\xfe", b"\r\n\t ")) + text
