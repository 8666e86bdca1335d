"""What a configuration says of source events: which ones count, and where each part of a change stands in them.

The defaults are the reading of Segment's events that all destinations share.
"""

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Annotated, Any, Final, Literal, TypeVar

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    StrictBool,
    StringConstraints,
    ValidationError,
)
from pydantic_core import InitErrorDetails, PydanticCustomError

from worker.contract import IdentifierType
from worker.frozen import Frozen
from worker.paths import fault

EventType = Literal["track", "identify"]
Direction = Literal["enter", "leave"]
Pattern = Annotated[str, StringConstraints(min_length=1)]

_EXACT: Final = 2**53
"""Below it every whole number in a float is meant."""


def text_of(value: object) -> str | None:
    """A text, number or truth value as JSON's other readers write it: a postal code of 94105.0 is 94105.

    None: something else, which has no text.
    """
    match value:
        case str():
            return value
        case bool():
            return "true" if value else "false"
        case float() if math.isfinite(value) and value.is_integer() and abs(value) < _EXACT:
            return str(int(value))
        case int() | float():
            return str(value)
        case _:
            return None


# ── Forms of values ──────────────────────────────────────────────────────────────────────────────


def _listed(value: object) -> object:
    """One thing may stand without its brackets."""
    return value if isinstance(value, list | tuple) else (value,)


def _path(value: object, *, may_name_audience: bool = False) -> str:
    if not isinstance(value, str):
        raise ValueError("must be a path in quotes, or a list of paths in [ ]")  # noqa: TRY004 - what pydantic tells of
    if advice := fault(value, may_name_audience=may_name_audience):
        raise ValueError(advice)
    return value


def _texts(value: object) -> tuple[str, ...]:
    every = [text_of(each) for each in (value if isinstance(value, list | tuple) else [value])]
    texts = tuple(each for each in every if each is not None)
    if not texts or len(texts) < len(every):
        raise ValueError("must be a text, a number, true or false, or a list of these")
    return texts


def _led_to_by_paths(equals: Mapping[str, Any]) -> Mapping[str, Any]:
    details = [
        InitErrorDetails(type=PydanticCustomError("path", "{advice}", {"advice": advice}), loc=(path,), input=None)
        for path in equals
        if (advice := fault(path))
    ]
    if details:
        raise ValidationError.from_exception_data("equals", details)
    return equals


def _not_blank(text: str) -> str:
    if not text.strip():
        raise ValueError("must not be blank")
    return text


class AudienceConstant(Frozen):
    """An audience key that no event has to name."""

    value: Annotated[str, AfterValidator(_not_blank)]


class EnteredConstant(Frozen):
    """The direction, whatever an event says."""

    value: StrictBool


_Constant = TypeVar("_Constant", bound=Frozen)


def _place(value: object, constant: type[_Constant], *, may_name_audience: bool = False) -> str | _Constant:
    if isinstance(value, dict | constant):
        return constant.model_validate(value)
    return _path(value, may_name_audience=may_name_audience)


def _constants_last(places: tuple[Any, ...]) -> tuple[Any, ...]:
    if any(isinstance(each, Frozen) for each in places[:-1]):
        raise ValueError("nothing after a { value = … } would ever be read; put it last")
    return places


def _place_of(constant: type[_Constant], **options: bool) -> PlainValidator:
    validate: Callable[[object], object] = partial(_place, constant=constant, **options)
    return PlainValidator(validate)


PathText = Annotated[str, PlainValidator(_path)]
Paths = Annotated[tuple[PathText, ...], BeforeValidator(_listed), Field(min_length=1)]
AudiencePlaces = Annotated[
    tuple[Annotated[str | AudienceConstant, _place_of(AudienceConstant)], ...],
    BeforeValidator(_listed),
    Field(min_length=1),
    AfterValidator(_constants_last),
]
EnteredPlaces = Annotated[
    tuple[Annotated[str | EnteredConstant, _place_of(EnteredConstant, may_name_audience=True)], ...],
    BeforeValidator(_listed),
    AfterValidator(_constants_last),
]
Texts = Annotated[tuple[str, ...], PlainValidator(_texts)]
Patterns = Annotated[tuple[Pattern, ...], BeforeValidator(_listed), Field(min_length=1)]


# ── What an operator writes ──────────────────────────────────────────────────────────────────────


class When(Frozen):
    """Source events that have all of this. Null and blank text count as absent."""

    model_config = ConfigDict(populate_by_name=True)

    type: Annotated[tuple[EventType, ...], BeforeValidator(_listed), Field(min_length=1)] = ("track", "identify")
    event: Patterns = ()
    """Shell patterns of names; none: any name, and none at all."""
    class_: Patterns = Field(default=(), alias="class")
    """Shell patterns of `context.personas.computation_class`; none: an audience's, a journey step's, or absent."""
    equals: Annotated[Mapping[str, Texts], AfterValidator(_led_to_by_paths)] = Field(default_factory=dict)
    """What stands at a path, compared as text; of several texts any one."""
    exists: Paths = ()
    missing: Paths = ()


_EVENTS: Final[dict[str, Direction]] = {
    "Audience Entered": "enter",
    "Audience Exited": "leave",
    "new": "enter",
    "updated": "enter",
    "deleted": "leave",
}


USUAL_USER_ID: Final = ("userId", "anonymousId")


class MappingSettings(Frozen):
    """Where things stand in source events. Of several places the first that has something usable counts.

    What is written for a key takes the place of its default. Of identifiers the first that is there counts, and of
    devices all.
    """

    when: Annotated[tuple[When, ...], BeforeValidator(_listed), Field(min_length=1)] = (When(),)
    """A source event counts when one of these fits."""
    audience: AudiencePlaces = ("properties.audience_key", "context.personas.computation_key")
    """The audience key: text that is not blank."""
    audience_id: Paths | None = None
    """What names the audience at the vendor, at kinds that take that from the event; None: in the usual place."""
    entered: EnteredPlaces = ("properties.$audience", "traits.$audience")
    """True or false; as text, too, where the path does not end in the audience key."""
    events: Mapping[str, Direction] = Field(default=_EVENTS)
    """What names of events say, where `entered` finds nothing. The last three are a warehouse's, of rows."""
    email: Paths = ("traits.email", "properties.email", "context.traits.email")
    device: Paths = ("properties.ios_id", "properties.android_id", "traits.ios_id", "traits.android_id")
    phone: Paths = ("traits.phone", "properties.phone", "context.traits.phone")
    identity_link: Paths = ("traits.identity_link", "properties.identity_link", "context.traits.identity_link")
    gum: Paths = ("traits.gum", "properties.gum", "context.traits.gum")
    timestamp: Paths = ("timestamp",)
    user_id: Paths = USUAL_USER_ID

    def identifier_paths(self, type_: IdentifierType) -> tuple[str, ...]:
        """Where identifiers of one type stand."""
        paths: tuple[str, ...] = getattr(self, type_)
        return paths
