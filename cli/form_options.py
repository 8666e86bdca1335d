"""The options that say in which form source events stand in files; a command gets them as one `form`."""

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, Final

import click

from producers.columns import Columns
from producers.form import Form, Format

TABS: Final = frozenset({"tab", "\\t"})


def form_options(command: Callable[..., None]) -> Callable[..., None]:
    @click.option("--format", "format_", type=click.Choice(["ndjson", "csv"]), help="By default, by the name.")
    @click.option("--delimiter", callback=_delimiter, help="Of CSV: one character, or `tab`; by default a comma.")
    @click.option(
        "--map",
        "mapped",
        multiple=True,
        metavar="COLUMN=PATH",
        callback=_mapped,
        help="Where a column belongs, such as plan=traits.plan; COLUMN= leaves it out; repeatable.",
    )
    @click.option(
        "--set",
        "constants",
        multiple=True,
        metavar="PATH=VALUE",
        callback=_constants,
        help="What every row has, such as audience=vip; repeatable.",
    )
    @wraps(command)
    def with_form(
        *args: Any,
        format_: Format | None,
        delimiter: str | None,
        mapped: dict[str, str],
        constants: dict[str, str],
        **options: Any,
    ) -> None:
        command(*args, form=Form(format_, delimiter, Columns(mapped, constants)), **options)

    return with_form


def expect_table(form: Form, paths: Sequence[str]) -> None:
    """Raise `click.UsageError` for options of tables where there is none."""
    if (form.delimiter or form.columns != Columns()) and not any(map(form.is_table, paths)):
        raise click.UsageError("--delimiter, --map and --set are for CSV; is `--format csv` missing?")


def _delimiter(_context: click.Context, _parameter: click.Parameter, value: str | None) -> str | None:
    found = "\t" if value in TABS else value
    if found is not None and (len(found) != 1 or found in '"\r\n\0'):
        raise click.BadParameter("a delimiter is one character, or `tab`")
    return found


def _mapped(_context: click.Context, _parameter: click.Parameter, values: Sequence[str]) -> dict[str, str]:
    """A column's name may have a "=" in it, a path has none."""
    return _by_name(values, str.rpartition)


def _constants(_context: click.Context, _parameter: click.Parameter, values: Sequence[str]) -> dict[str, str]:
    return _by_name(values, str.partition)


def _by_name(values: Sequence[str], part: Callable[[str, str], tuple[str, str, str]]) -> dict[str, str]:
    found: dict[str, str] = {}
    for value in values:
        name, equals, rest = part(value, "=")
        name = name.strip()
        if not equals:
            raise click.BadParameter(f'there is no "=" in "{value}"')
        if name in found:
            raise click.BadParameter(f'"{name}" is there twice')
        found[name] = rest.strip()
    return found
