"""Reads back what has arrived of a tenant that is being imported, and judges whether it is what was sent.

It is done in slices, each a short read, because a server does it beside everything else:

    each table, read back ── its checksum ── the marks of the log ── where the walks of expiry are to begin
"""

from __future__ import annotations

from collections.abc import Iterator

from djactors.inbox import log, tenancy, walks
from djactors.inbox.moving import ROWS_OF_A_LOOK, SELECT_EXPIRIES
from djactors.inbox.parcels import Columns, Digest, End, Manifest, ParcelError, file_of
from djactors.inbox.tenancy import PARTS, BrokenChainError, Part
from djactors.store.connection import Connection

# By the primary key.
SELECT_BEFORE = "SELECT coalesce(max(id), 1) FROM notifications WHERE id < ?"


class Arrival:
    """What has arrived of one tenant.

    Args:
        manifest: what was sent.
        columns: what its tables are like.

    Attributes:
        rows: how many rows were judged.
        walks: once it is judged, the ids at which walks of expiry are to begin.
    """

    def __init__(self, manifest: Manifest, columns: Columns) -> None:
        self.rows = 0
        self.walks: tuple[int, ...] = ()
        self._manifest = manifest
        self._columns = columns
        self._connection: Connection
        self._steps = self._judge()

    def judge_more(self, connection: Connection) -> bool:
        """Judge a slice in a snapshot of its own. Returns whether everything is judged, and right.

        Raises:
            ParcelError: it is not what was sent.
        """
        self._connection = connection
        return next(self._steps, None) is None

    def _judge(self) -> Iterator[int]:
        ids: list[int] = []
        for part in PARTS:
            yield from self._table(part, ids)
        yield from self._log()
        if ids and not self._connection.is_shared:
            yield from self._expiry(ids[0], ids[-1])

    def _table(self, part: Part, ids: list[int]) -> Iterator[int]:
        expected, digest, after = self._manifest.files[file_of(part)], Digest(), part.first
        names, tenant_id = self._columns.names(part), self._manifest.tenant_id
        # Not one look more: behind the last row it might go through all that others have.
        while digest.entry.rows < expected.rows:
            rows, after = tenancy.rows_behind(self._connection, part, names, tenant_id, after)
            if not rows:
                break
            digest.add(self._columns.lines_of(part, rows))
            self.rows += len(rows)
            if part.name == "notifications":
                ids[:] = [*ids[:1], *(row[names.index("id")] for row in (rows[0], rows[-1]))]
            yield self.rows
        if digest.entry != expected:
            raise ParcelError(f"{part.name}: what arrived is not what the manifest says: abandon it, and export again")

    def _log(self) -> Iterator[int]:
        tenant_id = self._manifest.tenant_id
        try:
            at = tenancy.beginning(self._connection, tenant_id)
            while (reached := tenancy.chained(self._connection, tenant_id, at)) != at:
                at = reached
                yield self.rows
        except BrokenChainError as error:
            raise ParcelError(f"{error}: abandon it, and export again") from None
        reach = log.reach_in_part(self._connection, tenant_id)
        if (End.of(reach.last), End.of(reach.oldest)) != (self._manifest.last, self._manifest.oldest):
            raise ParcelError("the log does not begin and end as the manifest says: abandon it, and export again")

    def _expiry(self, first: int, last: int) -> Iterator[int]:
        begins = walks.Begins(walks.MAX_WALKS)
        next_id = self._connection.execute(SELECT_BEFORE, (first,)).fetchone()[0]
        while next_id <= last + 1:
            rows = self._connection.execute(SELECT_EXPIRIES, (next_id, ROWS_OF_A_LOOK)).fetchall()
            begins.look(rows)
            if len(rows) < ROWS_OF_A_LOOK:
                break
            next_id = rows[-1][0] + 1
            yield self.rows
        self.walks = tuple(begins.found)
