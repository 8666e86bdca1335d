"""Made-up people: how they can be reached, and how untidily that is written down."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final, TypeVar

T = TypeVar("T")


class Dice:
    """Chance from a seed. Uses `random()` alone, the one method that gives the same on every version of Python."""

    def __init__(self, seed: int) -> None:
        self.roll = random.Random(seed).random  # noqa: S311 - repeatable, and no secret

    def below(self, limit: int) -> int:
        return int(self.roll() * limit)

    def pick(self, choices: Sequence[T]) -> T:
        return choices[int(self.roll() * len(choices))]

    def happens(self, chance: float) -> bool:
        return self.roll() < chance

    def hexadecimal(self, digits: int) -> str:
        """At most 13 digits: so many are in one `random()`."""
        return f"{self.below(16**digits):0{digits}x}"


@dataclass(frozen=True, slots=True)
class Person:
    """`email` is tidy: trimmed and lower-case, or the SHA-256 of such a one; empty: it is not known."""

    number: int
    email: str
    ios: tuple[str, ...]
    android: tuple[str, ...]
    traits: Mapping[str, Any]


def make_person(number: int, dice: Dice) -> Person:
    """One in a hundred is known by a hash only. Of the first two thousand twenty have an address that cannot exist.

    Not more, however many there are: vendors name few of those they refuse, and to find the others takes requests.
    """
    first, last = dice.pick(FIRST_NAMES), dice.pick(LAST_NAMES)
    email = f"{first}.{last}.{number}@{dice.pick(DOMAINS)}".lower()
    phones, tablets = _devices(dice), _devices(dice)
    if number % 100 == 13 and number < 2_000:  # noqa: PLR2004 - told above
        email, phones, tablets = f"{first}.{number}@example".lower(), (), ()
    elif number % 100 == 29:  # noqa: PLR2004 - told above
        email = sha256(email.encode()).hexdigest()
    elif dice.happens(0.15):
        email, phones = "", phones or (_device(dice),)
    elif dice.happens(0.3):
        phones, tablets = (), ()
    return Person(number, email, phones, tablets, _traits(first, last, dice))


def untidy(email: str, dice: Dice) -> str:
    """The email as people and forms write it. Hashes stay as they are."""
    if "@" not in email or dice.happens(0.6):
        return email
    written = dice.pick((email, email.upper(), email.title()))
    return (
        dice.pick(("", " ", "\t", "\N{NO-BREAK SPACE}")) + written + dice.pick(("", "  ", "\N{NO-BREAK SPACE}", "\r\n"))
    )


FIRST_NAMES: Final = ("Ada", "Bo", "Chidi", "Dana", "Eun-ji", "Farid", "Greta", "Hye", "Ines", "Zoë", "Søren", "Yara")
LAST_NAMES: Final = ("Abel", "Brook", "Costa", "Dietz", "Endo", "Falk", "Garcia", "Holm", "Ito", "Kaya", "Núñez")
DOMAINS: Final = ("example.com", "example.org", "example.net", "mail.example.com")

_STREETS: Final = ('1 "Quoted" Road', "2 Back\\slash Lane", "3 Two\nLines Street", "4 Plain Street", "5 Emoji Way 🏡")
_PLACES: Final = (
    {"city": "Oslo", "country": "NO", "postal_code": "0150", "timezone": "Europe/Oslo"},
    {"city": "São Paulo", "state": "SP", "country": "BR", "postal_code": "01000-000"},
    {"city": "Sendai", "country": "JP", "timezone": "Asia/Tokyo"},
    {"city": "Springfield", "state": "IL", "country": "US", "postal_code": "62701"},
)
_PLANS: Final = ("free", "pro", 'pro "plus"', "日本")


def _devices(dice: Dice) -> tuple[str, ...]:
    return tuple([_device(dice) for _ in range(dice.pick((0, 0, 1, 1, 1, 2)))])


def _device(dice: Dice) -> str:
    """An advertising id; Apple writes them in upper case, and vendors compare them as given."""
    text = "-".join([dice.hexadecimal(digits) for digits in (8, 4, 4, 4, 12)])
    return text.upper() if dice.happens(0.5) else text


def _traits(first: str, last: str, dice: Dice) -> dict[str, Any]:
    traits: dict[str, Any] = {"first_name": first, "last_name": f"{last} 🎈" if dice.happens(0.02) else last}
    if dice.happens(0.5):
        traits |= dice.pick(_PLACES)
        traits["street"] = dice.pick(_STREETS)
    if dice.happens(0.3):
        traits["phone"] = f"+1 555 01{dice.below(100):02}"
        traits["birthday"] = f"{1940 + dice.below(65)}-{1 + dice.below(12):02}-{1 + dice.below(28):02}"
    if dice.happens(0.4):
        traits["plan"] = dice.pick(_PLANS)
        traits["points"] = dice.below(10_000)
        traits["loyal"] = dice.happens(0.5)
    return traits
