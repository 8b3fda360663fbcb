"""Gives the free pages of an SQLite file back to the file system, a few at a time."""

from djactors.store.connection import Connection

__all__ = ["reclaim", "reclaimable"]

RECLAIMED_PAGES = 128
"""The pages that one commit gives back: half a MiB, which takes the writer a few milliseconds."""

FREE_PAGES_KEPT = 256
"""The free pages that stay in the file, 1 MiB, because the next notifications would make the file grow again."""

SELECT_FREE = "PRAGMA freelist_count"
RECLAIM_ONE = "PRAGMA incremental_vacuum(1)"


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
