"""The command about what is held of one person: `erase`."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click

from djactors.commands.common import (
    config_option,
    database_option,
    fail,
    person_options,
    sentence_of,
    server_options,
    settings_of,
    trusting,
)
from djactors.commands.manual import SIGNING, TOKEN, Manual
from djactors.config import SettingError, load_rules


@click.command(
    cls=Manual,
    examples=[
        (
            "djactors erase --tenant 1 --user 2 --url http://127.0.0.1:3000 --receipt receipt.json",
            "through the server.",
        ),
        (
            'djactors erase --tenant 1 --user 2 --also-called "Ann E." --yes',
            "in the database, by another name as well, without asking back.",
        ),
    ],
    exits={1: "it was not confirmed, or something is wrong, which one line on standard error says"},
    settings=["database", *SIGNING],
    variables=TOKEN,
)
@person_options
@click.option(
    "--also-called", "names", metavar="NAME", multiple=True, help="Another name to take out of all texts; repeatable."
)
@server_options
@click.option(
    "--receipt", metavar="FILE", type=click.Path(), help="Write the receipt there as well; the file must not exist."
)
@click.option(
    "--backups-kept",
    "backup_days",
    metavar="DAYS",
    type=click.IntRange(0, 36_500),
    help="For how many days backups are kept; the receipt then says until when they hold the person.",
)
@click.option("--no-overwrite", is_flag=True, help="Do not write the SQLite file anew: old bytes stay in it for now.")
@click.confirmation_option(prompt="A person who is erased cannot be brought back. Go on?")
@database_option
@config_option
def erase(
    tenant_id: int,
    user_id: int,
    names: tuple[str, ...],
    url: str | None,
    token: str | None,
    ca: str | None,
    receipt: str | None,
    backup_days: int | None,
    no_overwrite: bool,
    database: str | None,
    config: str | None,
) -> None:
    """Erase what is held about a person, and print a receipt as JSON.

    With --url the server does it. Without, it is done in the database, which no server may have open if it is an SQLite
    file. It cannot be undone.
    """
    import msgspec

    from djactors.domain.erasure import MAX_NAMES
    from djactors.domain.lengths import NAME
    from djactors.operations import erasing
    from djactors.operations.asking import NotDoneError
    from djactors.operations.progress import Progress
    from djactors.store.errors import DatabaseLocked, MigrationError, StoreError

    if len(names) > MAX_NAMES or not all(1 <= len(name) <= NAME for name in names):
        raise click.UsageError(f"--also-called: at most {MAX_NAMES} names, of 1 to {NAME} characters each")
    settings = settings_of(config, database=database)
    plan = erasing.Plan(tenant_id, user_id, names, not no_overwrite, backup_days)
    context = trusting(ca)
    progress = Progress(sys.stderr)
    with _receipt_at(receipt) as keep:
        try:
            if url is not None:
                done = erasing.through_server(settings, url, token, plan, progress.step, context)
            else:
                done = erasing.directly(settings.database, plan, progress.step, load_rules(settings))
        except DatabaseLocked as error:
            progress.end()
            fail(f"{error}; or erase through the server with --url")
        except (SettingError, NotDoneError, MigrationError, StoreError, OSError) as error:
            progress.end()
            fail(sentence_of(error))
        except KeyboardInterrupt:
            progress.end()
            fail("interrupted: the person is erased in part; the same command does the rest")
        progress.end()
        text = msgspec.json.format(msgspec.json.encode(done), indent=2)
        try:
            # First, since standard output may fail: no second run tells the same.
            keep(text + b"\n")
        except OSError as error:
            click.echo(text)
            fail(f"the person is erased, but --receipt: {receipt} cannot be written: {error.strerror}: keep the above")
        click.echo(text)


@contextmanager
def _receipt_at(path: str | None) -> Iterator[Callable[[bytes], object]]:
    """What keeps the receipt. Whether it can be kept is found out before anything is erased: no second run tells the
    same. Without a receipt, nothing is left but after kill -9, when the empty file is for the next run."""
    if path is None:
        yield lambda _: None
        return
    try:
        file = os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600), "wb", 0)
    except OSError as error:
        why = "is a link" if error.errno == errno.ELOOP else f"cannot be written: {error.strerror}"
        fail(f"--receipt: {path} {why}: name a new file; nobody was erased")
    with file:
        if os.fstat(file.fileno()).st_size > 0 or not os.path.isfile(path):
            fail(f"--receipt: {path} exists already: name a new file")
        try:
            yield file.write
        finally:
            if os.fstat(file.fileno()).st_size == 0:
                os.unlink(path)
