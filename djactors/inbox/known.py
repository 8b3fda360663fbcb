"""What the writer knows of the database without asking: rows that it has read or written before.

There is one writer to a database, so what it knows stays true from one transaction to the next. At a few microseconds
for each row that an event needs, asking again would be a good part of what an event costs. Should somebody else write
all the same, with an SQLite shell say, the store notices.

Rules:
  * Rows are changed in place while a transaction is under way. Whoever rolls back, wholly or to a savepoint, says
    `forget`, and everything is read anew; so it is when another connection has written.
  * Only what exists is known: an id that was not found is looked for again.
  * It is bounded: what grows over its bound is dropped as a whole, between two transactions.
"""

from __future__ import annotations

from djactors.inbox.rows import Tenant, User, UserDay

MAX_ROWS = 50_000
"""Rows of a kind: 10,000 connected users and as many again, their day and the day before; some 20 MB at most."""

MAX_DATES = 1000
"""Dates by time zone and minute: each zone of the world twice; looked up for every notification."""


class Known:
    """See the module for the rules.

    `highest` is the highest id of each kind of row, `latest_expiry` the latest `expires_at` of the newest expiry walk,
    `dates` the day that it is in a time zone in a minute.
    """

    __slots__ = ("dates", "days", "highest", "latest_expiry", "tenants", "users")

    def __init__(self) -> None:
        self.tenants: dict[int, Tenant] = {}
        self.users: dict[tuple[int, int], User] = {}
        self.highest: dict[str, int] = {}
        self.latest_expiry: str | None = None
        self.days: dict[tuple[int, int, str], UserDay] = {}
        self.dates: dict[tuple[str, str], str] = {}

    def forget(self) -> None:
        """Know nothing: what was changed has not been stored, or what is stored was changed by somebody else."""
        self.tenants.clear()
        self.users.clear()
        self.highest.clear()
        self.latest_expiry = None
        self.days.clear()

    def trim(self) -> None:
        """Drop what has grown over its bound. Between two transactions only."""
        for rows in (self.tenants, self.users, self.days):
            if len(rows) > MAX_ROWS:
                rows.clear()
        if len(self.dates) > MAX_DATES:
            self.dates.clear()
