"""The commands that make copies of a database and put them back: `backup` and `restore`."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import ExitStack, suppress
from types import TracebackType
from typing import Any, Self

import click

from djactors.commands.common import config_option, database_option, fail, sentence_of, settings_of
from djactors.commands.manual import Manual
from djactors.operations.progress import Progress

NICENESS = 10
"""By how much a backup lets others go first, in the kernel's units of 19. With more, a busy machine would never come to
the end of it. Linux compares it with other processes of the same session only (sched(7), "The autogroup feature"), so a
copy also pauses by itself: `Pace` in `store/sqlite/copying.py`."""

MOST_KEPT = 10_000
"""The most copies that stay in a folder: one an hour for a year."""


@click.command(
    cls=Manual,
    examples=[
        (
            "djactors backup /var/backups/djactors/ --keep 30",
            "a copy that is named by its time, and the 30 newest stay.",
        ),
        ("djactors backup before-upgrade.db", "a copy with this name."),
    ],
    settings=["database"],
)
@click.argument("to", metavar="TO", type=click.Path())
@click.option(
    "--keep",
    type=click.IntRange(1, MOST_KEPT),
    metavar="N",
    help="How many copies stay in the folder TO.  [default: 14]",
)
@database_option
@config_option
def backup(to: str, keep: int | None, database: str | None, config: str | None) -> None:
    """Copy the database while a server may serve it, and check the copy.

    TO is a new file, or a folder, where copies are named by their time. A slash at its end says that it is a folder.
    """
    from djactors.operations import backing_up
    from djactors.store.engines import is_url
    from djactors.store.errors import StoreDamaged, StoreError

    place = settings_of(config, database=database).database
    if is_url(place):
        _check_dump(place, to)
        return
    with suppress(OSError):
        os.nice(NICENESS)
    try:
        with _Steps() as steps:
            made = backing_up.back_up(place, to, steps, keep=keep)
    except StoreDamaged as error:
        fail(f"{error}: find out where with `djactors check`, or name another file")
    except (StoreError, OSError) as error:
        fail(sentence_of(error))
    except KeyboardInterrupt:
        fail("interrupted: there is no copy, and no part of one; the same command begins anew")
    for older in made.removed:
        click.echo(f"removed {older}")
    if made.behind:
        click.echo(f"it lacks {', '.join(made.behind)}, which the next start of a server applies")
    if made.unnoted is not None:
        _unheard(made.unnoted)
    size = f"{made.size / 2**20:.1f} MiB"
    click.echo(f"copied to {made.copy} and checked: {size}, {_contents(made.tenants, made.changes)}")


@click.command(
    cls=Manual,
    examples=[
        (
            "djactors restore /var/backups/djactors/djactors-20260127T103000Z.db",
            "puts a copy back, if nothing is lost by that.",
        ),
        ("djactors restore before-upgrade.db --over-newer", "puts it back although the database has more."),
    ],
    exits={1: "something would or may be lost, or something is wrong, which one line on standard error says"},
    settings=["database"],
)
@click.argument("copy", metavar="FROM", type=click.Path())
@click.option("--over-newer", is_flag=True, help="Also where the database has, or may have, what the copy lacks.")
@database_option
@config_option
def restore(copy: str, database: str | None, config: str | None, *, over_newer: bool) -> None:
    """Check a copy, put it in the place of the database, and say what is lost.

    FROM is a copy that `djactors backup` has made. No server may have the database open. The database that was there
    stays, under another name.
    """
    from djactors.operations import restoring
    from djactors.store.engines import is_url
    from djactors.store.errors import DatabaseLocked, StoreDamaged, StoreError

    place = settings_of(config, database=database).database
    if is_url(place):
        _check_restored(place, copy)
        return
    try:
        with _Steps() as steps:
            done = restoring.restore(copy, place, steps, over_newer=over_newer)
    except restoring.NewerError as error:
        if error.difference.unknown is None:
            click.echo("this would be lost:")
            for line in restoring.lines_of(error.difference):
                click.echo(f"  {line}")
        fail(str(error))
    except DatabaseLocked as error:
        fail(str(error))
    except StoreDamaged as error:
        fail(f"{error}: restore another copy")
    except (StoreError, OSError) as error:
        fail(sentence_of(error))
    except KeyboardInterrupt:
        fail("interrupted: the database is as it was; the same command begins anew")
    lost = restoring.lines_of(done.difference)
    if lost:
        click.echo("this is lost:")
    for line in lost:
        click.echo(f"  {line}")
    if done.replaced is not None:
        click.echo(f"the database that was there is {done.replaced} now: remove it when nobody misses anything")
    if done.behind:
        click.echo(f"the copy lacks {', '.join(done.behind)}, which the next start of a server applies")
    click.echo(
        f"restored {done.database} from {copy} and checked it: {_contents(done.tenants, done.changes)}; start "
        "the server now"
    )


def _check_dump(url: str, to: str) -> None:
    """Say what makes a dump, or check one that was made."""
    from djactors.operations import postgresql_backups
    from djactors.store.engines import names_folder
    from djactors.store.errors import StoreError

    if names_folder(to) and not os.path.isdir(to):
        fail(f"{to} is a folder that is not there: pg_dump writes one file, so name that")
    try:
        if not os.path.exists(to):
            fail(
                "PostgreSQL is backed up by its own program, so there is no copy yet: run "
                f"`{postgresql_backups.command_to_dump(url, to)}`, and then `djactors backup` again, which checks that"
            )
        dump = postgresql_backups.check_dump(url, to)
    except (StoreError, OSError) as error:
        fail(sentence_of(error))
    try:
        postgresql_backups.note_dump(url, to)
    except StoreError as error:
        _unheard(sentence_of(error))
    click.echo(f"checked {to}, which is whole: {_contents(len(dump.ends), dump.rows.get('changes', 0))}")


def _check_restored(url: str, dump: str) -> None:
    """Say what restores a dump, or check a database that was restored."""
    from djactors.operations import postgresql_backups, restoring
    from djactors.operations.backing_up import Checking
    from djactors.store.errors import StoreError

    try:
        with ExitStack() as stack:
            progress = Progress(sys.stderr)
            stack.callback(progress.end)
            proved = postgresql_backups.check_restored(
                url, dump, lambda changes, total: progress.step(Checking(changes, total))
            )
    except postgresql_backups.AheadError as error:
        click.echo("this is in the database only:")
        for line in restoring.lines_of(restoring.Difference(error.losses)):
            click.echo(f"  {line}")
        fail(str(error))
    except (StoreError, OSError) as error:
        fail(sentence_of(error))
    except KeyboardInterrupt:
        fail("interrupted: the database was not checked to its end; the same command begins anew")
    click.echo(f"the database holds what {dump} holds: {_contents(proved.tenants, proved.changes)}, all checked")
    click.echo(
        "whoever was erased since the dump was made is back: run `djactors erase` again for each of the receipts"
    )


def _unheard(reason: str) -> None:
    """The copy is good, but an alert may say that there is none."""
    click.echo(f"the server does not hear of this copy: {reason}", err=True)


class _Steps:
    """Tells each step. Ctrl-C, and SIGTERM as from a service manager, end the work at the next one.

    So the work ends where it can tidy up behind itself. A second signal ends it at once.
    """

    def __init__(self) -> None:
        self._progress = Progress(sys.stderr)
        self._is_to_end = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        self._before = {number: signal.signal(number, self._ask) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._progress.end()

    def __call__(self, step: object) -> None:
        if self._is_to_end:
            raise KeyboardInterrupt
        self._progress.step(step)

    def _ask(self, *_: object) -> None:
        if self._is_to_end:
            raise KeyboardInterrupt
        self._is_to_end = True


def _contents(tenants: int, changes: int) -> str:
    """What a database holds, for people."""
    from djactors.operations.amounts import amount

    return f"{amount(tenants, 'tenant')}, {amount(changes, 'change')}"
