"""The cases, the exceptions among them, and the forms in which both sides are compared."""

import hashlib
import re
import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

import msgspec

HERE: Final = Path(__file__).parent
KINDS: Final = ("criteo", "taboola", "stackadapt")

Effects = dict[str, dict[str, bool]]
"""By audience and identifier, as the vendor knows both: whether one is in or out in the end."""
Members = dict[str, set[str]]
"""By audience that has any, its members."""
Profiles = dict[str, dict[str, Any]]
"""By email, the properties that StackAdapt keeps: those that a mapping names, without nulls."""


class Case(msgspec.Struct, frozen=True):
    """What went in, and what Segment sent for it. `replies` are those of the vendor that were out of the ordinary."""

    name: str
    settings: dict[str, Any]
    sent: list[dict[str, Any]]
    op: str | None = None
    audience_settings: dict[str, Any] | None = None
    mapping: dict[str, Any] = {}
    input: dict[str, Any] = {}
    scopes: list[str] = []
    events: list[dict[str, Any]] = []
    replies: list[dict[str, Any]] = []
    succeeded: bool = True

    @property
    def kind(self) -> str:
        return self.name.partition("-")[0]


class Instead(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An exception: why the relay ends elsewhere than Segment, and where. Without `enters` nobody enters."""

    reason: str
    enters: dict[str, list[str]] = {}
    leaves: dict[str, list[str]] = {}
    profiles: dict[str, dict[str, Any]] = {}
    settings: dict[str, Any] = {}
    """Settings of ours that say what Segment's cannot, or say otherwise."""
    held: str | None = None
    """The reason of the hold that remains: somebody has to act."""
    creates: list[dict[str, Any]] = []
    """The audiences that are created."""
    erases: bool = False
    """The case asks to forget somebody."""

    @property
    def effects(self) -> Effects:
        moves = [(self.enters, True), (self.leaves, False)]
        found: Effects = {}
        for audiences, entered in moves:
            for audience, people in audiences.items():
                found.setdefault(audience, {}).update(dict.fromkeys(map(_spelled_out, people), entered))
        return found


@cache
def cases() -> Mapping[str, Case]:
    """All cases by name, in the order of the files."""
    found = [
        case for kind in KINDS for case in msgspec.json.decode((HERE / f"{kind}.json").read_bytes(), type=list[Case])
    ]
    return {case.name: case for case in found}


@cache
def exceptions() -> Mapping[str, Instead]:
    """By the name of the case."""
    return msgspec.convert(tomllib.loads((HERE / "exceptions.toml").read_text(encoding="utf-8")), dict[str, Instead])


def after(effects: Effects, before: Members) -> Members:
    """The members that the effects lead to."""
    held = {audience: set(people) for audience, people in before.items()}
    for audience, moves in effects.items():
        people = held.setdefault(audience, set())
        people |= {who for who, entered in moves.items() if entered}
        people -= {who for who, entered in moves.items() if not entered}
    return with_members(held)


def with_members(held: Mapping[str, set[str]]) -> Members:
    """Without the audiences that have none: whether a vendor keeps those makes no difference."""
    return {audience: people for audience, people in held.items() if people}


def _spelled_out(who: str) -> str:
    """`sha256(text)` stands for the hash."""
    hashed = re.fullmatch(r"sha256\((.*)\)", who)
    return hashlib.sha256(hashed[1].encode()).hexdigest() if hashed else who
