"""The console script `audience-relay`: one group, a command a module."""

from typing import Any

import click

from cli.audiences import audiences
from cli.check import check
from cli.dead_letters import dead_letters
from cli.demo import demo
from cli.failures import INTERRUPTED, told
from cli.forget import forget
from cli.groups import OrderedGroup
from cli.hold import hold, release
from cli.import_mapping import import_mapping
from cli.load import load
from cli.preview import preview
from cli.sandbox import sandbox
from cli.serve import serve
from cli.status import status
from cli.up import up
from worker import telemetry


class _Commands(OrderedGroup):
    """What a command raises ends as one message."""

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


for command in (
    demo,
    up,
    serve,
    load,
    preview,
    status,
    audiences,
    check,
    import_mapping,
    dead_letters,
    forget,
    hold,
    release,
    sandbox,
):
    main.add_command(command)
