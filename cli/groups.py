"""Commands under one name, told in the order of use."""

from typing import Final

import click

LONGEST_SENTENCE: Final = 200


class OrderedGroup(click.Group):
    """Lists its commands in the order they were added, each with its whole first sentence."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl(
                [(name, command.get_short_help_str(limit=LONGEST_SENTENCE)) for name, command in self.commands.items()]
            )
