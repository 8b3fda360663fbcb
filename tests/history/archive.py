"""What was purged from a database while somebody looked, so that a whole run can be judged by a log that was cut."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.history.ledger import SELECT_LOG, SELECT_NOTIFICATIONS, Entry, StoredNotification, entry_of
from tests.history.tables import Tables, reading

SELECT_OLDEST = "SELECT id, oldest_seq, oldest_mark FROM tenants"

NOBODY = -1
"""The user of a change that nobody sees."""


class Archive:
    """What was purged from a database while somebody looked: `look` before each purge.

    With it a ledger is whole. What an older copy of the database has lost may be in it as well: only what leads to the
    beginning of the log that is still there counts.
    """

    def __init__(self) -> None:
        self.entries: dict[tuple[int, int], Entry] = {}
        self.notifications: dict[int, StoredNotification] = {}
        self.erased: set[tuple[int, int]] = set()

    def look(self, place: Path | str) -> None:
        """Note all that is there. What was noted last of a number, or of an id, is what was purged under it."""
        with reading(place) as connection:
            self.note(connection)

    def note(self, connection: Tables) -> None:
        """As `look`. Within the transaction that purges, what it has written itself is there as well."""
        for row in connection.execute(SELECT_LOG):
            entry = entry_of(row)
            self.entries[entry.tenant_id, entry.seq] = entry
        for row in connection.execute(SELECT_NOTIFICATIONS):
            self.notifications[row[0]] = StoredNotification(*row)
        self._end(connection)

    def _end(self, connection: Tables) -> None:
        """An erasure purges the log with its own last change, which nobody can look at before. It tells nothing."""
        for tenant_id, seq, mark in connection.execute(SELECT_OLDEST).fetchall():
            noted = self.entries.get((tenant_id, seq))
            if seq and (noted is None or noted.mark != mark):
                self.entries[tenant_id, seq] = _ended(tenant_id, seq, mark)

    def copy(self) -> Archive:
        """What is noted up to now, on its own."""
        archive = Archive()
        archive.entries, archive.notifications = dict(self.entries), dict(self.notifications)
        archive.erased = set(self.erased)
        return archive

    def complete(
        self,
        connection: Tables,
        entries: list[Entry],
        notifications: list[StoredNotification],
        oldest: dict[int, int],
    ) -> tuple[list[Entry], list[StoredNotification]]:
        """The whole log, and all rows that it tells of."""
        self._end(connection)
        known = {(entry.tenant_id, entry.seq): entry for entry in entries}
        for key, entry in self.entries.items():
            if key not in known and entry.seq <= oldest.get(entry.tenant_id, 0):
                known[key] = entry
        for tenant_id in {tenant_id for tenant_id, _ in self.erased}:
            # Of two erasures in one commit nobody has ever seen the change with which the first one ended the log.
            for seq in range(1, oldest.get(tenant_id, 0)):
                known.setdefault((tenant_id, seq), _ended(tenant_id, seq, 0))
        rows = {row.id: row for row in notifications}
        for id_, row in self.notifications.items():
            brought = known.get((row.tenant_id, row.seq))
            is_of_this_past = brought is not None and (brought.event, brought.data.get("id")) == (
                "notification:new",
                id_,
            )
            if id_ not in rows and is_of_this_past:
                rows[id_] = row
        return [known[key] for key in sorted(known)], list(rows.values())


def _ended(tenant_id: int, seq: int, mark: int) -> Entry:
    """The change with which an erasure ends a log."""
    data: dict[str, Any] = {"notificationIds": []}
    return Entry(tenant_id, seq, NOBODY, "notification:deleted", data, mark)
