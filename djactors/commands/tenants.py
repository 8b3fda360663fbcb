"""The commands that hand data over: `export`, of the installation, a tenant or a person, and `import`."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click

from djactors.commands.common import config_option, database_option, fail, server_options, settings_of, trusting
from djactors.commands.manual import SIGNING, TOKEN, Manual
from djactors.config import SettingError
from djactors.domain.ids import MAX_ID


@click.command(
    cls=Manual,
    examples=[
        ("djactors export --to postgresql://djactors@db/djactors", "moves from SQLite to PostgreSQL."),
        ("djactors export --json tenant-1 --tenant 1", "writes a tenant, for `djactors import`."),
        ("djactors export --json person --tenant 1 --user 2", "writes what is held about a person."),
    ],
    settings=["database"],
)
@click.option(
    "--to",
    "target",
    metavar="PLACE",
    type=click.Path(),
    help="The new SQLite file, or the URL of an empty PostgreSQL database.",
)
@click.option("--json", "folder", metavar="DIR", type=click.Path(), help="The new folder for a tenant or a person.")
@click.option("--tenant", "tenant_id", type=click.IntRange(1, MAX_ID), help="Which tenant; --json needs it.")
@click.option(
    "--user",
    "user_id",
    type=click.IntRange(1, MAX_ID),
    help="With --json, only what is held about this person.  [default: the whole tenant]",
)
@database_option
@config_option
def export(
    target: str | None,
    folder: str | None,
    tenant_id: int | None,
    user_id: int | None,
    database: str | None,
    config: str | None,
) -> None:
    """Carry the installation to another database, or write a tenant or a person's data into a folder.

    With --to, the whole installation goes to a new database, of either kind, and each row is verified. No server may
    run meanwhile. With --json, a tenant, or what is held about a person, goes into a new folder. A server may run
    meanwhile.
    """
    if (target is None) == (folder is None):
        raise click.UsageError("name one target: --to PLACE for the whole installation, or --json DIR for a tenant")
    source = settings_of(config, database=database).database
    if folder is None:
        assert target is not None
        if tenant_id is not None or user_id is not None:
            raise click.UsageError("--tenant and --user go with --json: --to carries the whole installation")
        _carry(source, target)
    elif tenant_id is None:
        raise click.UsageError("--json needs --tenant")
    elif user_id is None:
        _hand_over(source, folder, tenant_id)
    else:
        _give_out(source, folder, tenant_id, user_id)


@contextmanager
def _progress(option: str, nothing: str, again: str = "begins anew") -> Iterator[Callable[[object], None]]:
    """What a command tells its steps. If the command fails or is interrupted, its last words are told here.

    Args:
        option: names the path that an error of the system is about.
        nothing: says what an interrupted command leaves, which is mostly nothing.
        again: says what the same command does then.
    """
    from djactors.operations.asking import NotDoneError
    from djactors.operations.folders import FolderError
    from djactors.operations.progress import Progress
    from djactors.store.errors import StoreError

    progress = Progress(sys.stderr)
    try:
        with _ends_as_by_ctrl_c():
            yield progress.step
    except (SettingError, StoreError, FolderError, NotDoneError, OSError) as error:
        progress.end()
        fail(_sentence_of(error, option))
    except KeyboardInterrupt:
        progress.end()
        fail(f"interrupted: {nothing}; the same command {again}")
    progress.end()


@contextmanager
def _ends_as_by_ctrl_c() -> Iterator[None]:
    """Have SIGTERM, and a terminal that is closed, end the work as Ctrl-C does: what is written in part is a tenant's
    or a person's data, and must not stay where nobody looks for it."""

    def end(*_: object) -> None:
        raise KeyboardInterrupt

    # Only the main thread may say what a signal does.
    numbers = (signal.SIGTERM, signal.SIGHUP) if threading.current_thread() is threading.main_thread() else ()
    before = {number: signal.getsignal(number) for number in numbers}
    try:
        for number, handler in before.items():
            # Whoever has it ignored, as nohup does, wants the work to go on.
            if handler is not signal.SIG_IGN:
                signal.signal(number, end)
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _carry(source: str, target: str) -> None:
    from djactors.operations import moving

    with _progress("--database", "nothing was carried") as step:
        moved = moving.move(source, target, step)
    if moved.left_behind:
        click.echo(f"left behind, because it is not djactors' own: {', '.join(moved.left_behind)}")
    click.echo(
        f"carried and verified {moved.rows} rows of {moved.tables} tables from {moved.source} to {moved.target}, "
        "every row equal; start the servers with the new place now"
    )


def _hand_over(source: str, folder: str, tenant_id: int) -> None:
    from djactors.operations import handing_over

    with _progress("--json", "nothing was written") as step:
        manifest = handing_over.export(source, folder, tenant_id, step)
    rows = manifest.rows
    click.echo(
        f"wrote {rows} rows of {len(manifest.files)} tables of tenant {tenant_id} to {folder}, up to change "
        f"{manifest.last.seq}; `djactors import {folder}` brings them into another installation"
    )


def _give_out(source: str, folder: str, tenant_id: int, user_id: int) -> None:
    from djactors.operations import giving_out

    with _progress("--json", "nothing was written") as step:
        files = giving_out.export(source, folder, tenant_id, user_id, step)
    rows = sum(entry.rows for entry in files.values())
    click.echo(
        f"wrote {rows} entries about user {user_id} of tenant {tenant_id} to {folder}: begin with {giving_out.READ_ME}"
    )


@click.command(
    "import",
    cls=Manual,
    examples=[
        ("djactors import tenant-1", "brings the tenant into ./djactors.db."),
        ("djactors import tenant-1 --url http://127.0.0.1:3000", "through the running server."),
        ("djactors import tenant-1 --database postgresql://djactors@db/djactors", "the same on PostgreSQL."),
    ],
    settings=["database", *SIGNING],
    variables=TOKEN,
)
@click.argument("folder", metavar="DIR", type=click.Path())
@server_options
@click.option("--abandon", is_flag=True, help="Remove what has arrived of an import that was not finished.")
@database_option
@config_option
def import_(
    folder: str,
    url: str | None,
    token: str | None,
    ca: str | None,
    abandon: bool,
    database: str | None,
    config: str | None,
) -> None:
    """Bring a tenant from a folder into an installation that does not have it.

    DIR is a folder that `djactors export --json` has written. With --url the running server takes the tenant in.
    Without, it goes into a database on which no server runs.
    """
    from djactors.operations import sending_in
    from djactors.operations.bringing_in import bring_in
    from djactors.store.errors import DatabaseLocked

    settings = settings_of(config, database=database)
    server = None if url is None else sending_in.Server(settings, url, token, ssl_context=trusting(ca))
    if abandon:
        with _progress("DIR", "a part of the tenant is left", "does the rest") as step:
            if server is not None:
                manifest = sending_in.abandon(server, folder, step)
            else:
                manifest = sending_in.abandon_directly(settings.database, folder, step)
        click.echo(f"removed what had arrived of tenant {manifest.tenant_id}")
        return
    if server is not None:
        kept = "nobody is served with what has arrived of the tenant, which --abandon removes"
        with _progress("DIR", kept, "goes on where this one stopped") as step:
            manifest = sending_in.send_in(server, folder, step)
        end = "the server serves it now"
    else:
        with _progress("DIR", "nothing was imported") as step:
            try:
                manifest = bring_in(settings.database, folder, step)
            except DatabaseLocked as error:
                raise DatabaseLocked(f"{error}; or import through the server with --url", error.pid) from None
        end = "start the server now"
    click.echo(
        f"imported and verified {manifest.rows} rows of tenant {manifest.tenant_id}, up to change {manifest.last.seq}; "
        f"offsets of clients hold here, {end}"
    )


def _sentence_of(error: Exception, option: str) -> str:
    if isinstance(error, OSError) and error.filename is not None:
        return f"{option}: {error.filename}: {error.strerror}: check the path, the rights and the room on the disk"
    return str(error)
