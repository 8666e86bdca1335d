"""The console script `audience-relay`: one group, a command a module."""

from typing import Any, Final

import click

from cli.check import check
from cli.demo import demo
from cli.failures import INTERRUPTED, told
from cli.hold import hold, release
from cli.load import load
from cli.sandbox import sandbox
from cli.status import status
from cli.up import up
from worker import telemetry

LONGEST_SENTENCE: Final = 200


class _Commands(click.Group):
    """In the order of use, each with its whole first sentence; what a command raises ends as one message."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl(
                [(name, command.get_short_help_str(limit=LONGEST_SENTENCE)) for name, command in self.commands.items()]
            )

    def invoke(self, ctx: click.Context) -> Any:
        try:
            with told():
                return super().invoke(ctx)
        except KeyboardInterrupt:
            ctx.exit(INTERRUPTED)


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit codes: 0 all is well, 1 the result is not what it should be, 2 the command failed.",
)
@click.version_option(package_name="audience-relay", message="%(prog)s %(version)s")
def main() -> None:
    """Keeps audiences at Criteo, Taboola and StackAdapt equal to the newest membership events.

    To see it work: `audience-relay demo`. To try it with events of your own, on one machine:
    `audience-relay sandbox` in one terminal, `audience-relay up` in another, then `audience-relay
    load events.ndjson` and `audience-relay status --watch`.
    """
    telemetry.configure()


for command in (demo, up, load, status, check, hold, release, sandbox):
    main.add_command(command)
