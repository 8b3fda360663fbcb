"""What the writer knows of the database without a query: rows that it has read or written before.

A query takes a few microseconds for each row, so asking again would be a good part of what an event costs.

Rules:
  * Rows are kept by tenant, so that those of one tenant can be dropped when another node wrote there.
  * Only rows that exist are known. A collection that grows over its bound is dropped as a whole, between two
    transactions.
"""

from __future__ import annotations

from djactors.inbox.rows import Tenant, User, UserDay

MAX_ROWS = 50_000
"""The most rows of one kind: enough for 10,000 connected users and as many others. They take some 20 MB at most."""

MAX_TENANTS_OF_ROLES = 500
"""The most tenants of which it is known who has a role: at most 1,000 people of each role, 8 KB."""

MAX_DATES = 1000
"""The most dates by time zone and minute, which are looked up for every notification: each zone of the world twice."""


class Known:
    """The rows that are known.

    `highest` is the highest id of each kind of row, `latest_expiry` the latest `expires_at` of the newest expiry walk,
    `importing` the tenants that are being imported, None where that is not known, and `dates` the date by time zone and
    minute. `roles` are the people of a role, by tenant and role, where they were asked for. A database that several
    nodes share needs none of the first three. Whoever adds a user or a day says so by `keep_user` and `keep_day`, and
    by `add_to_role` if the user is new. Whoever changes a role, or (de)activates somebody, drops the roles of the
    tenant.
    """

    __slots__ = (
        "_days_of",
        "_users_of",
        "dates",
        "days",
        "highest",
        "importing",
        "latest_expiry",
        "roles",
        "tenants",
        "users",
    )

    def __init__(self) -> None:
        self.tenants: dict[int, Tenant] = {}
        self.users: dict[tuple[int, int], User] = {}
        self.highest: dict[str, int] = {}
        self.latest_expiry: str | None = None
        self.importing: set[int] | None = None
        self.days: dict[tuple[int, int, str], UserDay] = {}
        self.dates: dict[tuple[str, str], str] = {}
        self.roles: dict[int, dict[str, tuple[int, ...]]] = {}
        self._users_of: dict[int, list[tuple[int, int]]] = {}
        self._days_of: dict[int, list[tuple[int, int, str]]] = {}

    def keep_user(self, user: User) -> None:
        """Know a user from now on."""
        key = user.tenant_id, user.id
        self.users[key] = user
        self._users_of.setdefault(user.tenant_id, []).append(key)

    def keep_day(self, day: UserDay) -> None:
        """Know a user's day from now on."""
        key = day.tenant_id, day.user_id, day.day
        self.days[key] = day
        self._days_of.setdefault(day.tenant_id, []).append(key)

    def add_to_role(self, user: User, most: int) -> None:
        """Know a new user among the people of a role, if these are known: at most so many, those with the lowest
        ids."""
        people = self.roles.get(user.tenant_id, {}).get(user.role)
        if people is not None:
            self.roles[user.tenant_id][user.role] = tuple(sorted([*people, user.id])[:most])

    def forget(self) -> None:
        """Forget everything, because changes were not stored, or because somebody else has changed what is stored."""
        self.tenants.clear()
        self.highest.clear()
        self.importing = None
        self.latest_expiry = None
        self.roles.clear()
        self._forget_users()
        self._forget_days()

    def forget_tenant(self, tenant_id: int) -> None:
        """Forget what is known of one tenant, because another node has written there."""
        self.tenants.pop(tenant_id, None)
        self.roles.pop(tenant_id, None)
        for user in self._users_of.pop(tenant_id, ()):
            self.users.pop(user, None)
        for day in self._days_of.pop(tenant_id, ()):
            self.days.pop(day, None)

    def trim(self) -> None:
        """Drop each collection that has grown over its bound. Call this only between two transactions."""
        if len(self.tenants) > MAX_ROWS:
            self.tenants.clear()
        if len(self.users) > MAX_ROWS:
            self._forget_users()
        if len(self.days) > MAX_ROWS:
            self._forget_days()
        if len(self.dates) > MAX_DATES:
            self.dates.clear()
        if len(self.roles) > MAX_TENANTS_OF_ROLES:
            self.roles.clear()

    def _forget_users(self) -> None:
        self.users.clear()
        self._users_of.clear()

    def _forget_days(self) -> None:
        self.days.clear()
        self._days_of.clear()
