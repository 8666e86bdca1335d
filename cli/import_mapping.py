"""`audience-relay import-mapping`: Segment's mapping JSON as a part of a relay.toml."""

import json
import sys
from codecs import BOM_UTF8
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO, Final

import click
import msgspec

from cli import options
from cli.imported import NoMapping, translate
from cli.imported_fields import KINDS, Imported
from cli.relay_toml import Place
from worker import settings

NOT_ALL: Final = 1
_BARE: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-")


@click.command("import-mapping")
@click.argument("file", type=options.InputFile())
@click.option("--destination", metavar="NAME", help="For this destination of the configuration.")
@click.option("--kind", type=click.Choice(KINDS), help="For a destination of this kind.")
@click.option("--write", is_flag=True, help="Put it into the configuration, in the table of the --destination.")
@options.config
@options.as_json
def import_mapping(
    file: BinaryIO, destination: str | None, kind: str | None, config: Path, *, write: bool, as_json: bool
) -> None:
    """Print what a mapping of Segment's is in a relay.toml, or write it there.

    FILE (`-`: standard input) holds the JSON of an action's mapping, of a subscription with its trigger, or of several
    subscriptions of one destination, as Segment's API gives them; those that are not enabled are left out.

    What has no counterpart is told on standard error and in comments, and never guessed. Blank text counts as absent
    here, and the first text decides for an email, where Segment would take the next. Look at the effect with `preview`.

    --write leaves all else in the file as it is, and changes nothing that the destination says already.

    Exits with 0 when everything has a counterpart, with 1 when something has none, and with 2 when it failed.
    """
    if (destination is None) == (kind is None):
        raise click.UsageError("name a --destination of the configuration, or its --kind")
    if write and destination is None:
        raise click.UsageError("--write needs a --destination")
    whose = kind or settings.load(config).destination(destination or "").kind
    if whose not in KINDS:
        raise click.UsageError(f"Segment has no destination of the kind {whose}; it has {', '.join(KINDS)}")
    found = translate(whose, _document(file))
    told = _put(found, config, destination) if write and destination else _text(found, config, destination, whose)
    if as_json:
        options.print_json({"keys": found.keys, "mapping": found.mapping, "remarks": found.remarks})
    else:
        click.echo(told)
    for remark in found.remarks:
        click.echo(f"no counterpart: {remark}", err=True)
    sys.exit(NOT_ALL if found.remarks else 0)


def written(found: Imported) -> Iterator[str]:
    """Lines for the table of a destination."""
    for remark in found.remarks:
        yield f"# no counterpart: {_in_one_line(remark)}"
    yield from _lines(found.keys)
    if found.mapping:
        yield from [""] if found.keys else []
        yield "[destinations.mapping]"
        yield from _lines(found.mapping)
    elif not found.keys and not found.remarks:
        yield "# nothing to write: the default says the same"


def _text(found: Imported, config: Path, destination: str | None, kind: str) -> str:
    """The lines, and where they belong."""
    where = f"a destination of the kind {kind}: below its own keys, above a table such as [destinations.batch]"
    if destination is not None:
        where = f"the destination {destination}: {Place.of(config, destination).described}; --write puts it there"
    needs_place = found.keys or found.mapping
    return "\n".join([*([f"# for {where}"] if needs_place else []), *written(found)])


def _put(found: Imported, config: Path, destination: str) -> str:
    """Write what the configuration does not say yet; returns what is told of that."""
    place = Place.of(config, destination)
    added = place.without_known(found.keys | ({"mapping": found.mapping} if found.mapping else {}))
    mapping = added.pop("mapping", {})
    if not added and not mapping:
        return f"{config} says it already; nothing was written"
    lines = [*written(replace(found, keys=added, mapping=mapping))]
    place.write(lines if added else ["", *lines], added | ({"mapping": mapping} if mapping else {}))
    return f"written for the destination {destination}: {place.described}"


def _document(file: BinaryIO) -> object:
    try:
        return msgspec.json.decode(file.read().removeprefix(BOM_UTF8))
    except (ValueError, RecursionError) as error:
        raise NoMapping(f"{file.name}: no JSON: {error}") from None


def _lines(table: Mapping[str, Any]) -> Iterator[str]:
    for key, value in table.items():
        if isinstance(value, list) and any(isinstance(each, dict) for each in value):
            yield f"{_key(key)} = ["
            yield from (f"    {_value(each)}," for each in value)
            yield "]"
        else:
            yield f"{_key(key)} = {_value(value)}"


def _value(value: Any) -> str:
    match value:
        case dict():
            return f"{{ {', '.join(f'{_key(key)} = {_value(each)}' for key, each in value.items())} }}"
        case list():
            return f"[{', '.join(map(_value, value))}]"
        case str():
            return _quoted(value)
        case _:
            return json.dumps(value)


def _key(key: str) -> str:
    return key if key and set(key) <= _BARE else _quoted(key)


def _quoted(text: str) -> str:
    """JSON's escapes are TOML's, but for a character that JSON leaves as it is."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _in_one_line(text: str) -> str:
    return " ".join("".join(each if each.isprintable() else " " for each in text).split())
