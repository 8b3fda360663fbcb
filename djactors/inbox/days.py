"""How much the daily limit held back from each user on each day: all SQL on `user_days`, and a transaction's rows.

How many notifications a user got on a day is in the user's own row (`UnitOfWork.today`).
"""

from __future__ import annotations

from djactors.inbox.known import Known
from djactors.inbox.rows import SERVED, UserDay
from djactors.store.connection import Connection

SELECT_DAY = """SELECT held, summary_id, summary_at, summary_due FROM user_days
    WHERE tenant_id = ? AND user_id = ? AND day = ?"""
SELECT_DUE = f"""SELECT tenant_id, user_id, day FROM user_days WHERE summary_due <= ? AND {SERVED}
    ORDER BY summary_due, tenant_id, user_id, day LIMIT ?"""
SELECT_NEXT_DUE = f"""SELECT summary_due FROM user_days WHERE summary_due IS NOT NULL AND {SERVED}
    ORDER BY summary_due LIMIT 1"""

_UPSERT_DAY = """INSERT INTO user_days (tenant_id, user_id, day, held, summary_id, summary_at, summary_due)
    VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (tenant_id, user_id, day) DO UPDATE SET held = excluded.held,
    summary_id = excluded.summary_id, summary_at = excluded.summary_at,
    summary_due = excluded.summary_due"""


class DayRows:
    """The days that one transaction has read or changed."""

    def __init__(self, connection: Connection, known: Known) -> None:
        self._connection = connection
        self._known = known
        self._dirty: dict[tuple[int, int, str], UserDay] = {}

    def get(self, tenant_id: int, user_id: int, day: str) -> UserDay:
        """The day as it stands in this transaction. All its numbers are zero if nothing was held back yet."""
        key = tenant_id, user_id, day
        found = self._known.days.get(key)
        if found is None:
            row = self._connection.execute(SELECT_DAY, key).fetchone()
            found = UserDay(*key) if row is None else UserDay(*key, *row)
            self._known.keep_day(found)
        return found

    def put(self, day: UserDay) -> None:
        """Stage a day's new state."""
        self._dirty[day.tenant_id, day.user_id, day.day] = day

    def due(self, now: str, limit: int) -> list[tuple[int, int, str]]:
        """The days whose summary is due, at most `limit` of them: tenant, user and day. Flush what is staged first."""
        return self._connection.execute(SELECT_DUE, (now, limit)).fetchall()

    def next_due(self) -> str | None:
        """The moment when the next summary is due, None if there is none. Flush what is staged first."""
        row = self._connection.execute(SELECT_NEXT_DUE).fetchone()
        return None if row is None else row[0]

    def flush(self) -> None:
        """Write what is staged."""
        if self._dirty:
            rows = [
                (d.tenant_id, d.user_id, d.day, d.held, d.summary_id, d.summary_at, d.summary_due)
                for d in self._dirty.values()
            ]
            self._connection.insert(_UPSERT_DAY, rows)
            self._dirty.clear()
