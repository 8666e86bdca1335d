"""The properties of StackAdapt's profiles: where they stand in a source event, and the mapping that names them there.

The vendor keeps one mapping per advertiser. Each one sent replaces it, and is applied later: a profile that comes
meanwhile is read by the mapping before, and loses what that does not name. So the mapping is always complete, and its
types are those of the configuration, whatever a batch holds. `isOptedIn`, the marketing status, is a part of it.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Final, Literal, NamedTuple

from pydantic import AfterValidator, BeforeValidator, Field

from worker.destinations.base import USER_ID, PropertyReading, Text
from worker.frozen import Frozen

PROVIDER: Final = "segment_io"
"""The only external provider that the vendor is known to take."""
RESERVED: Final = frozenset({USER_ID, "email", "audienceId", "audienceName", "action"})
"""Keys of a profile that are the relay's own."""
EXTERNAL_ID: Final = "external_id"
"""The vendor's field for the source's user id; nothing fills it unless a property is configured for it."""

Type = Literal["STRING", "NUMBER", "BOOLEAN", "DATE"]


def _free(name: str) -> str:
    if name in RESERVED:
        raise ValueError(f"must be none of {', '.join(sorted(RESERVED))}, which every profile has")
    if not name.strip():
        raise ValueError("must not be blank")
    return name


def _listed(path: object) -> object:
    if isinstance(path, str):
        return (path,)
    if not isinstance(path, list | tuple):
        raise ValueError("must be a path, or a list of paths in [ ]")  # noqa: TRY004 - pydantic tells of ValueErrors
    return path


class CustomProperty(Frozen):
    """A profile property beside the standard ones, or in the place of the standard one that has its name.

    Its value is the first that fits, of those at the paths. The vendor takes any text as a name.
    """

    name: Annotated[Text, AfterValidator(_free)]
    type: Type
    path: Annotated[tuple[Text, ...], BeforeValidator(_listed), Field(min_length=1)]
    personal: bool | None = None
    """Whether the vendor is told that it is personal; absent: as with the standard one of that name, else not."""


class _Standard(NamedTuple):
    name: str
    source: str
    type: Type = "STRING"
    personal: bool = True


_STANDARD: Final = (
    _Standard("first_name", "first_name"),
    _Standard("last_name", "last_name"),
    _Standard("phone", "phone"),
    _Standard("address", "street"),
    _Standard("city", "city", personal=False),
    _Standard("state", "state", personal=False),
    _Standard("country", "country", personal=False),
    _Standard("postal_code", "postal_code", personal=False),
    _Standard("timezone", "timezone", personal=False),
    _Standard("birth_date", "birthday", "DATE"),
)
_PERSONAL: Final = {each.name: each.personal for each in _STANDARD}


def readings(custom: Sequence[CustomProperty]) -> tuple[PropertyReading, ...]:
    """Where all properties stand; and the user id, which goes with every profile as Segment sends it, unmapped."""
    replaced = {each.name for each in custom}
    return (
        PropertyReading(USER_ID, "STRING", ("userId", "anonymousId")),
        *(
            PropertyReading(each.name, each.type, (f"traits.{each.source}", f"properties.{each.source}"))
            for each in _STANDARD
            if each.name not in replaced
        ),
        *(PropertyReading(each.name, each.type, each.path) for each in custom),
    )


def mappings(advertiser_id: str, *, opted_in: bool, custom: Sequence[CustomProperty]) -> Mapping[str, object]:
    """The variables of the request that sets the mapping of profiles and that of audiences."""
    common = {"advertiserId": advertiser_id, "mappableType": PROVIDER}
    replaced = {each.name for each in custom}
    fields = [
        _field("email", personal=True),
        *(_field(each.name, each.type, personal=each.personal) for each in _STANDARD if each.name not in replaced),
        *(_field(each.name, each.type, personal=_is_personal(each)) for each in custom),
    ]
    audience = [
        _field("audienceId", label="External Audience ID", to="external_id"),
        _field("audienceName", label="External Audience Name", to="name"),
    ]
    return {
        "profileMapping": {**common, "isOptedIn": opted_in, "mappingSchemaV2": fields},
        "audienceMapping": {**common, "mappingSchema": audience},
    }


def _is_personal(each: CustomProperty) -> bool:
    return _PERSONAL.get(each.name, False) if each.personal is None else each.personal


def _field(key: str, type_: Type = "STRING", *, personal: bool = False, label: str = "", to: str = "") -> object:
    return {
        "incomingKey": key,
        "destinationKey": to or key,
        "label": label or _label(key),
        "type": type_,
        "isPii": personal,
    }


def _label(name: str) -> str:
    """`loyalty_tier` is "Loyalty Tier" to people."""
    return " ".join(word[:1].upper() + word[1:] for word in name.split("_") if word) or name
