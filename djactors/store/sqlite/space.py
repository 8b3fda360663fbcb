"""Tells how much room an SQLite file takes, gives its free pages back to the file system, a few at a time, and writes
the whole file anew."""

import os
import shutil
from contextlib import suppress
from pathlib import Path

from djactors.store.connection import Connection
from djactors.store.room import Room

__all__ = ["overwrite", "reclaim", "reclaimable", "room"]

RECLAIMED_PAGES = 128
"""The pages that one commit gives back: half a MiB, which takes the writer a few milliseconds."""

FREE_PAGES_KEPT = 256
"""The free pages that stay in the file, 1 MiB, because the next notifications would make the file grow again."""

SELECT_FREE = "PRAGMA freelist_count"
RECLAIM_ONE = "PRAGMA incremental_vacuum(1)"


def room(connection: Connection, path: Path) -> Room:
    """How much room the file takes with its log, and how much is left for this user on its disk."""
    pages, free_pages, size = (
        int(connection.execute(f"PRAGMA {name}").fetchone()[0])
        for name in ("page_count", "freelist_count", "page_size")
    )
    log = 0
    with suppress(OSError):
        log = os.path.getsize(f"{path}-wal")
    free = None
    with suppress(OSError):
        free = shutil.disk_usage(path.parent).free
    return Room(pages * size + log, (pages - free_pages) * size, free)


def reclaimable(connection: Connection, keep: int = FREE_PAGES_KEPT) -> int:
    """Count the free pages that the file has beyond `keep`."""
    return max(0, int(connection.execute(SELECT_FREE).fetchone()[0]) - keep)


def reclaim(connection: Connection, pages: int = RECLAIMED_PAGES, keep: int = FREE_PAGES_KEPT) -> int:
    """Give up to `pages` free pages back to the file system, but keep `keep` of them. Returns how many are left to
    give.

    The pages are given back one at a time, because the sqlite3 module steps a pragma without columns only once.
    """
    free = reclaimable(connection, keep)
    for _ in range(min(pages, free)):
        connection.execute(RECLAIM_ONE)
    return max(0, free - pages)


def overwrite(connection: Connection) -> bool:
    """Write the whole file anew, so that nothing is left in it of what was deleted or changed, and empty its log.

    SQLite leaves old bytes in free pages, in the free space of others, and in the log. Whoever writes waits meanwhile:
    some 2 s for each 100 MiB. The disk needs room for two more copies of the file.

    Args:
        connection: the writer's, outside any transaction.

    Returns:
        Whether the log is empty; it is not if somebody has been reading from it for longer than the lock is waited for.
    """
    # Elsewhere what is sorted stays in memory; here that would be the whole database.
    connection.execute("PRAGMA temp_store = FILE")
    try:
        connection.execute("VACUUM")
    finally:
        connection.execute("PRAGMA temp_store = MEMORY")
    busy, _, _ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    return not busy
