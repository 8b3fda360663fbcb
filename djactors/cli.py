"""The program `djactors`: all of its commands under one name."""

from __future__ import annotations

import click

from djactors import __version__
from djactors.commands import (
    backups,
    databases,
    describing,
    notifying,
    outbox,
    persons,
    probing,
    seeing,
    serving,
    tenants,
    tokens,
    watching,
)
from djactors.commands.ends import Program


@click.group(
    cls=Program,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="`djactors COMMAND --help` says what a command does, with examples, exit codes and its settings.",
)
@click.version_option(__version__, prog_name="djactors")
def main() -> None:
    """Real-time in-app notifications for DJ System.

    `djactors demo` shows what it is; `djactors serve` serves.
    """


for _command in (
    serving.serve,
    serving.demo,
    databases.migrate,
    tokens.token,
    databases.check,
    notifying.types,
    databases.inbox,
    tokens.sign_out,
    probing.probe,
    watching.watch,
    outbox.outbox,
    seeing.top,
    seeing.monitoring,
    backups.backup,
    backups.restore,
    tenants.export,
    tenants.import_,
    persons.erase,
    describing.openapi,
    describing.asyncapi,
    describing.completion,
):
    main.add_command(_command)


if __name__ == "__main__":
    main()
