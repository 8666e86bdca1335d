"""The fields of Segment's mappings, as what a relay.toml says of a destination."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from pydantic import ValidationError

from producers.mapping_directives import Inexpressible, paths, places
from producers.mapping_fql import CLASS
from worker.destinations.mapping import MappingSettings, text_of
from worker.destinations.stackadapt_mapping import CustomProperty, readings

Tree = Mapping[str, Any]

STATUSES: Final = {"Opted-in": "opted_in", "Indeterminate": "indeterminate"}
EXTERNAL_ID: Final = "context.personas.external_audience_id"
COMPUTATION_ID: Final = "context.personas.computation_id"
DEFAULTS: Final = MappingSettings().model_dump()
_NUMBERS: Final = frozenset({"birth_day", "birth_month", "birth_year"})


@dataclass(slots=True)
class Imported:
    """What the destination's table gets, and that of its mapping; and what has no counterpart there."""

    keys: dict[str, Any] = field(default_factory=dict)
    mapping: dict[str, Any] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)

    def remark(self, name: str, text: object) -> None:
        self.remarks.append(f"{name}: {text}")

    def map(self, key: str, value: Sequence[Any]) -> None:
        """What the default says already needs no words."""
        if value and tuple(value) != DEFAULTS[key]:
            self.mapping[key] = value[0] if len(value) == 1 else list(value)


Take = Callable[[Any, Tree, Imported], None]
"""Takes a field's value, of the mapping that is given, too. Raises `Inexpressible`."""


def ignored(_value: Any, _mapping: Tree, _found: Imported) -> None:
    """Says nothing of who is where."""


def _mapped(key: str, value: Any, _mapping: Tree, found: Imported) -> None:
    found.map(key, paths(value))


def _device(value: Any, _mapping: Tree, found: Imported) -> None:
    where = paths(value)
    found.map("device", where)
    if len(where) > 1:
        found.remark(
            "device_id", f"Segment takes the first of {', '.join(where)}; here each of them counts that is there"
        )


def _audience(value: Any, _mapping: Tree, found: Imported) -> None:
    where = places(value)
    if any(isinstance(each, dict) and not str(each["value"]).strip() for each in where):
        raise Inexpressible("a blank constant names no audience")
    found.map("audience", [{"value": text_of(each["value"])} if isinstance(each, dict) else each for each in where])


def _entered(value: Any, _mapping: Tree, found: Imported) -> None:
    """Segment looks the audience key up in this object."""
    found.map("entered", [f"{path}.$audience" for path in paths(value)])


def _class(value: Any, _mapping: Tree, _found: Imported) -> None:
    if paths(value) != [CLASS]:
        raise Inexpressible(f"the class is read at {CLASS} alone")


def _audience_id(usual: str, identifier: str | None, value: Any, _mapping: Tree, found: Imported) -> None:
    where = paths(value)
    if where not in ([], [usual]):
        found.mapping["audience_id"] = where
        found.keys |= {"audience_identifier": identifier} if identifier else {}


def _hash_emails(value: Any, _mapping: Tree, found: Imported) -> None:
    match places(value):
        case [{"value": bool(hashed)}]:
            found.keys["hash_emails"] = hashed
        case [_, *_]:
            raise Inexpressible("hash_emails is true or false for everybody")


def _marketing_status(value: Any, _mapping: Tree, found: Imported) -> None:
    match places(value):
        case [{"value": str(status)}] if status in STATUSES:
            found.keys["marketing_status"] = STATUSES[status]
        case [str(), *_]:
            found.keys["marketing_status_paths"] = paths(value)
            raise Inexpressible("StackAdapt has one for everybody; say in marketing_status which, others are left out")
        case [_, *_]:
            raise Inexpressible(f"must be one of {', '.join(STATUSES)}")


def _standard_traits(value: Any, _mapping: Tree, found: Imported) -> None:
    usual = {each.name: each for each in readings(())}
    for name, directive in _entries(value):
        try:
            where = paths(directive)
        except Inexpressible as reason:
            found.remark(f"standard_traits.{name}", reason)
            continue
        type_ = usual[name].type if name in usual else "NUMBER" if name in _NUMBERS else "STRING"
        if where and not (name in usual and usual[name].paths == tuple(where)):
            _add_property(f"standard_traits.{name}", {"name": name, "type": type_, "path": where}, found)


def _custom_traits(value: Any, mapping: Tree, found: Imported) -> None:
    """Segment's first mode knows no types."""
    if mapping.get("custom_properties_mode") == "v2":
        return
    for name, directive in _entries(value):
        try:
            where = ", ".join(paths(directive))
        except Inexpressible as reason:
            found.remark(f"custom_traits.{name}", reason)
        else:
            found.remark(f"custom_traits.{name}", f"Segment guesses its type; add it to properties, path {where}")


def _custom_user_properties(value: Any, mapping: Tree, found: Imported) -> None:
    if mapping.get("custom_properties_mode") != "v2" or value is None:
        return
    if not isinstance(value, list):
        raise Inexpressible("a directive in place of a list has no counterpart")
    for each in value:
        name = f"custom_user_properties.{each.get('name') if isinstance(each, dict) else each}"
        try:
            where = paths(each.get("value")) if isinstance(each, dict) else []
            _add_property(name, {"name": each["name"], "type": each["type"], "path": where}, found)
        except (Inexpressible, KeyError, TypeError) as reason:
            found.remark(name, reason if isinstance(reason, Inexpressible) else "has no name, type and value")


def _entries(value: Any) -> list[tuple[str, Any]]:
    if not isinstance(value, dict | None) or any(name.startswith("@") for name in value or ()):
        raise Inexpressible("a directive in place of an object of fields has no counterpart")
    return list((value or {}).items())


def _add_property(name: str, table: dict[str, Any], found: Imported) -> None:
    properties = found.keys.setdefault("properties", [])
    try:
        CustomProperty.model_validate(table)
    except ValidationError as error:
        words = error.errors(include_url=False, include_input=False)[0]["msg"].removeprefix("Value error, ")
        found.remark(name, words.replace("Input should", "must"))
        return
    if any(each["name"] == table["name"] for each in properties):
        found.remark(name, "there is another of that name")
        return
    properties.append(table)


_DELIVERY: Final[dict[str, Take]] = dict.fromkeys(
    ("enable_batching", "batch_size", "batch_keys", "batch_bytes", "max_batch_size"), ignored
)
FIELDS: Final[Mapping[str, Mapping[str, Take]]] = {
    "criteo": _DELIVERY
    | {
        "audience_key": _audience,
        "email": partial(_mapped, "email"),
        "event": ignored,  # Segment's code does not read it
        "hash_emails": _hash_emails,
    },
    "taboola": _DELIVERY
    | {
        "segment_computation_key": _audience,
        "external_audience_id": partial(_audience_id, EXTERNAL_ID, "external_audience_id"),
        "segment_computation_action": _class,
        "traits_or_props": _entered,
        "user_email": partial(_mapped, "email"),
        "device_id": _device,
    },
    "stackadapt": _DELIVERY
    | {
        "segment_computation_key": _audience,
        "segment_computation_id": partial(_audience_id, COMPUTATION_ID, None),
        "segment_computation_class": _class,
        "traits_or_props": _entered,
        "email": partial(_mapped, "email"),
        "user_id": partial(_mapped, "user_id"),
        "event_type": ignored,  # Segment's code does not read it
        "marketing_status": _marketing_status,
        "standard_traits": _standard_traits,
        "custom_properties_mode": ignored,  # read with what it is about
        "custom_traits": _custom_traits,
        "custom_user_properties": _custom_user_properties,
    },
}
KINDS: Final = tuple(FIELDS)
