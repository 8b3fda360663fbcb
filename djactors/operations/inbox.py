"""What `djactors inbox` prints: a user's inbox and unread count, now or at an earlier change, to answer the user's
questions.

It only reads, so a running server is not disturbed. Titles come from outside, so they are escaped for the terminal.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from djactors.inbox import schema
from djactors.inbox.history import PastInbox, inbox_at
from djactors.store.connection import Connection
from djactors.store.engines import Place, engine_at, is_url, shown
from djactors.store.errors import StoreBroken


def read(path: str, tenant_id: int, user_id: int, seq: int | None) -> PastInbox:
    """The inbox after the change with that sequence number, or now if it is None.

    Raises:
        OutOfReachError: there is no such inbox, or the log does not reach back that far.
        MigrationError, StoreBroken: the file is not a database that this program can read.
    """
    with snapshot_of(path) as connection:
        return inbox_at(connection, tenant_id, user_id, seq)


@contextmanager
def snapshot_of(place: Place) -> Iterator[Connection]:
    """A database as it is now, which is not disturbed by that.

    Raises:
        MigrationError, StoreBroken: the place has no database that this program can read.
    """
    behind = schema.inspect(place)
    if behind:
        missing = not is_url(place) and not Path(place).exists()
        state = "does not exist" if missing else f"is behind by {', '.join(behind)}"
        mend = "name the file that the server uses" if missing else f"run `djactors migrate --database {shown(place)}`"
        raise StoreBroken(f"--database: {shown(place)} {state}: {mend}")
    with engine_at(place).reading() as connection:
        yield connection


def lines(inbox: PastInbox) -> Iterator[str]:
    """The inbox as text, newest first, one notification a line."""
    unseen = "unseen: no longer known" if inbox.unseen is None else f"{inbox.unseen} unseen"
    place = "now" if inbox.seq == inbox.newest else f"newest {inbox.newest}"
    yield (
        f"{_shown(inbox.user_name)} in {_shown(inbox.tenant_name)} at {inbox.seq} ({place}): "
        f"{inbox.unread} unread ({unseen}) of {len(inbox.items)}"
    )
    for item in inbox.items:
        state = "unread" if item.read_at is None else f"read {item.read_at}"
        if item.place is not None:
            state = f"{item.place}, {state}"
        yield f"{item.id}  {item.created_at}  {item.priority}  {item.type}  {_shown(item.title)}  ({state})"


def _shown(text: str) -> str:
    return text if text.isprintable() else repr(text)
