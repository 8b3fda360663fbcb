"""The program `djactors`: all of its commands under one name.

A command's module is imported when the command is called, or when the help of all is asked for. So a shell that
completes words waits for none of the others, and Ctrl-C has its one line from early on.
"""

from __future__ import annotations

import click

from djactors import __version__
from djactors.commands.ends import Program

COMMANDS = {
    "serve": "serving:serve",
    "demo": "serving:demo",
    "migrate": "databases:migrate",
    "token": "tokens:token",
    "check": "databases:check",
    "types": "notifying:types",
    "inbox": "databases:inbox",
    "sign-out": "tokens:sign_out",
    "probe": "probing:probe",
    "watch": "watching:watch",
    "outbox": "outbox:outbox",
    "top": "seeing:top",
    "monitoring": "seeing:monitoring",
    "backup": "backups:backup",
    "restore": "backups:restore",
    "export": "tenants:export",
    "import": "tenants:import_",
    "erase": "persons:erase",
    "openapi": "describing:openapi",
    "asyncapi": "describing:asyncapi",
    "completion": "describing:completion",
}
"""Where each command is: its module in `djactors.commands`, and its name there."""


@click.group(
    cls=Program,
    places={name: f"djactors.commands.{place}" for name, place in COMMANDS.items()},
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="`djactors COMMAND --help` says what a command does, with examples, exit codes and its settings.",
)
@click.version_option(__version__, prog_name="djactors")
def main() -> None:
    """Real-time in-app notifications for DJ System.

    `djactors demo` shows what it is; `djactors serve` serves.
    """


if __name__ == "__main__":
    main()
