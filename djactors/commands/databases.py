"""The commands that work on a database: `migrate`, `check` and `inbox`."""

from __future__ import annotations

import os
import sys

import click

from djactors.commands.common import (
    config_option,
    database_option,
    fail,
    person_options,
    sentence_of,
    settings_of,
    upgrade_backup_option,
)
from djactors.commands.manual import EVERY, Manual
from djactors.config import SettingError, load


@click.command(
    cls=Manual,
    examples=[
        ("djactors migrate --check", "says what is pending, and changes nothing."),
        ("djactors migrate --upgrade-backup /var/backups", "upgrades, with the copy in another folder."),
    ],
    exits={1: "the database is behind (--check), or something is wrong, which one line on standard error says"},
    settings=["database", "upgrade_backup"],
)
@upgrade_backup_option
@database_option
@config_option
@click.option("--check", is_flag=True, help="Only report; exit 1 if the database is behind.")
def migrate(database: str | None, config: str | None, check: bool, upgrade_backup: str | None) -> None:
    """Bring the database to the schema of this program.

    An SQLite file that has data is copied first. `djactors serve` does the same at its start. No server may run on an
    SQLite file meanwhile.
    """
    from djactors.inbox import schema
    from djactors.operations.progress import Progress
    from djactors.store.engines import engine_at, shown
    from djactors.store.errors import StoreError
    from djactors.upgrading import Upgrade, plan

    settings = settings_of(config, database=database, upgrade_backup=upgrade_backup)
    place = settings.database
    path = shown(place)
    progress = Progress(sys.stderr)
    try:
        if check:
            behind = schema.inspect(place)
            for name in behind:
                click.echo(f"pending {name}")
            if behind:
                fail(f"{path} is behind: run `djactors migrate --database {path}`")
            click.echo(f"{path} is up to date")
            return
        with engine_at(place).guard() as guard:
            planned = plan(place, settings.upgrade_backup)
            if planned is None:
                applied = schema.apply(place)
            else:
                for line in planned.lines():
                    click.echo(line)
                upgrade = Upgrade(place, planned)
                applied = upgrade.run(progress.step)
                progress.end()
                if upgrade.copied_to is not None:
                    click.echo(f"copied to {upgrade.copied_to}")
            guard.hold_database()
    except (StoreError, OSError) as error:
        progress.end()
        fail(sentence_of(error))
    except KeyboardInterrupt:
        progress.end()
        fail("interrupted: nothing is half done; the same command goes on")
    for name in applied:
        click.echo(f"applied {name}")
    click.echo(f"{path} is up to date")


@click.command(
    cls=Manual,
    examples=[
        ("djactors check", "checks what a server would be started with."),
        ("djactors check --config /etc/djactors.toml", "the same, with a file of settings."),
    ],
    exits={0: "all is well", 1: "something was found"},
    settings=[EVERY],
)
@database_option
@config_option
def check(database: str | None, config: str | None) -> None:
    """Check the configuration, the secret, the machine and the database.

    It prints one line for each finding, with what to do. A server may run meanwhile.
    """
    from djactors.operations import diagnosis
    from djactors.operations.progress import Progress

    try:
        settings = load({"database": database}, os.environ, config)
    except SettingError as error:
        fail(str(error))
    findings = 0
    progress = Progress(sys.stderr)
    for name, finding in diagnosis.diagnose(settings, config, report=progress.step):
        progress.end()
        click.echo(f"{'ok  ' if finding is None else 'FAIL'} {name}{'' if finding is None else f': {finding}'}")
        findings += finding is not None
    if findings:
        fail(f"{findings} finding{'s' if findings > 1 else ''}")


@click.command(
    cls=Manual,
    examples=[
        ("djactors inbox --tenant 1 --user 2", "prints the inbox of user 2 as it is."),
        ("djactors inbox --tenant 1 --user 2 --at 57", "prints it as it was after the change 57 of the tenant."),
    ],
    settings=["database"],
)
@person_options
@click.option(
    "--at",
    "seq",
    metavar="SEQ",
    type=click.IntRange(0, 2**53 - 1),
    help="Show the inbox as it was after this change.  [default: now]",
)
@database_option
@config_option
def inbox(tenant_id: int, user_id: int, seq: int | None, database: str | None, config: str | None) -> None:
    """Print a user's inbox and unread count, as they are now or as they were.

    It reads the database itself. A server may run meanwhile.
    """
    from djactors.inbox.history import OutOfReachError
    from djactors.operations import inbox as past
    from djactors.store.errors import MigrationError, StoreBroken

    try:
        found = past.read(settings_of(config, database=database).database, tenant_id, user_id, seq)
    except (OutOfReachError, MigrationError, StoreBroken, OSError) as error:
        fail(sentence_of(error))
    for line in past.lines(found):
        click.echo(line)
