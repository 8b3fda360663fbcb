"""Jobs, their watchers and their DJ numbers: all SQL on them except for the lists (`job_lists`)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from djactors.domain.jobs import NAMED_WATCHERS, Job
from djactors.domain.names import Named
from djactors.store.connection import Connection

COLUMNS = Job.__struct_fields__
"""The columns of a job have the same names as the fields of `Job`."""

SELECT_JOB = f"SELECT {', '.join(COLUMNS)} FROM jobs WHERE tenant_id = ? AND id = ?"
SELECT_DJ_ID = "SELECT id FROM jobs WHERE tenant_id = ? AND dj_id = ?"
# The primary key of job_watchers.
SELECT_WATCHERS = "SELECT user_id FROM job_watchers WHERE tenant_id = ? AND job_id = ? ORDER BY user_id"
# Both primary keys.
SELECT_WATCHER_NAMES = """SELECT w.user_id, u.name FROM job_watchers w
    JOIN users u ON u.tenant_id = w.tenant_id AND u.id = w.user_id
    WHERE w.tenant_id = ? AND w.job_id = ? ORDER BY w.user_id LIMIT ?"""
# The primary key of job_mutes.
SELECT_MUTES = "SELECT user_id FROM job_mutes WHERE tenant_id = ? AND job_id = ?"
SELECT_NUMBER = "SELECT last_number FROM job_numbers WHERE tenant_id = ? AND year = ?"

_UPSERT_JOB = f"""INSERT INTO jobs ({", ".join(COLUMNS)}) VALUES ({", ".join("?" * len(COLUMNS))})
    ON CONFLICT (tenant_id, id) DO UPDATE SET
    {", ".join(f"{name} = excluded.{name}" for name in COLUMNS if name not in ("tenant_id", "id"))}"""
_UPSERT_NUMBER = """INSERT INTO job_numbers (tenant_id, year, last_number) VALUES (?, ?, ?)
    ON CONFLICT (tenant_id, year) DO UPDATE SET last_number = excluded.last_number"""
_INSERT_WATCHER = """INSERT INTO job_watchers (tenant_id, job_id, user_id, created_at) VALUES (?, ?, ?, ?)
    ON CONFLICT (tenant_id, job_id, user_id) DO NOTHING"""

_DELETE_WATCHER = "DELETE FROM job_watchers WHERE tenant_id = ? AND job_id = ? AND user_id = ?"


def job_of(row: Iterable[Any]) -> Job:
    """Make a job from a row of `COLUMNS`."""
    return Job(**dict(zip(COLUMNS, row, strict=True)))


def watchers_of(connection: Connection, tenant_id: int, job_id: int) -> tuple[int, ...]:
    """The users who watch a job, in the order of their ids, as they are stored."""
    return tuple([row[0] for row in connection.execute(SELECT_WATCHERS, (tenant_id, job_id)).fetchall()])


def named_watchers_of(connection: Connection, tenant_id: int, job_id: int) -> tuple[Named, ...]:
    """The first of them, with their names."""
    rows = connection.execute(SELECT_WATCHER_NAMES, (tenant_id, job_id, NAMED_WATCHERS)).fetchall()
    return tuple([Named(*row) for row in rows])


class JobRows:
    """The jobs that one transaction has read or changed."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._jobs: dict[tuple[int, int], Job | None] = {}
        self._watchers: dict[tuple[int, int], tuple[int, ...]] = {}
        self._deaf: dict[tuple[int, int], set[int]] = {}
        self._numbers: dict[tuple[int, int], int] = {}
        self._dj_ids: set[tuple[int, str]] = set()
        self._dirty: dict[tuple[int, int], Job] = {}
        self._dirty_numbers: set[tuple[int, int]] = set()
        self._new_watchers: list[tuple[int, int, int]] = []
        self._gone_watchers: list[tuple[int, int, int]] = []

    def get(self, tenant_id: int, job_id: int) -> Job | None:
        """The job as it stands in this transaction."""
        key = tenant_id, job_id
        if key not in self._jobs:
            row = self._connection.execute(SELECT_JOB, key).fetchone()
            self._jobs[key] = None if row is None else job_of(row)
        return self._jobs[key]

    def take_in(
        self,
        wanted: Iterable[tuple[int, int]],
        jobs: Iterable[Iterable[Any]],
        watchers: Iterable[tuple[int, int, int]],
        mutes: Iterable[tuple[int, int, int]],
    ) -> list[Job]:
        """Take in what was looked up of all `wanted` jobs at once, before any of them was asked for. Returns those that
        there are.

        Args:
            wanted: tenants and ids.
            jobs: rows of `COLUMNS`.
            watchers: tenant, job and user, in the order of the users.
            mutes: the same of those who have muted a job.
        """
        watching: dict[tuple[int, int], list[int]] = {}
        for tenant_id, job_id, user_id in watchers:
            watching.setdefault((tenant_id, job_id), []).append(user_id)
        for key in wanted:
            self._jobs[key] = None
            self._watchers[key] = tuple(watching.get(key, ()))
            self._deaf[key] = set()
        for tenant_id, job_id, user_id in mutes:
            self._deaf[tenant_id, job_id].add(user_id)
        found = [job_of(row) for row in jobs]
        self._jobs.update({(job.tenant_id, job.id): job for job in found})
        return found

    def put(self, job: Job) -> Job | None:
        """Stage a job's new state. Returns the state before it, None for a new job. Any other was asked for before."""
        key = job.tenant_id, job.id
        before = self._jobs.get(key)
        if before is None:
            # A row of somebody who watches or mutes a job needs the job's own row.
            self._watchers[key] = ()
            self._deaf[key] = set()
        self._jobs[key] = self._dirty[key] = job
        if job.dj_id is not None:
            self._dj_ids.add((job.tenant_id, job.dj_id))
        return before

    def has_dj_id(self, tenant_id: int, number: str) -> bool:
        """Whether the tenant has a job with this DJ number."""
        if (tenant_id, number) in self._dj_ids:
            return True
        return self._connection.execute(SELECT_DJ_ID, (tenant_id, number)).fetchone() is not None

    def next_number(self, tenant_id: int, year: int) -> int:
        """The number of the tenant's next job in a year. There are no gaps, because a rollback gives the number
        back."""
        key = tenant_id, year
        last = self._numbers.get(key)
        if last is None:
            row = self._connection.execute(SELECT_NUMBER, key).fetchone()
            last = 0 if row is None else int(row[0])
        self._numbers[key] = last + 1
        self._dirty_numbers.add(key)
        return last + 1

    def watchers(self, tenant_id: int, job_id: int) -> tuple[int, ...]:
        """The users who watch a job in this transaction, in the order of their ids."""
        key = tenant_id, job_id
        if key not in self._watchers:
            self._watchers[key] = watchers_of(self._connection, *key)
        return self._watchers[key]

    def deaf(self, tenant_id: int, job_id: int) -> set[int]:
        """The users who have muted a job in this transaction. Whoever mutes changes this set."""
        key = tenant_id, job_id
        found = self._deaf.get(key)
        if found is None:
            found = self._deaf[key] = {row[0] for row in self._connection.execute(SELECT_MUTES, key).fetchall()}
        return found

    def watch(self, tenant_id: int, job_id: int, user_ids: tuple[int, ...]) -> None:
        """Stage new watchers."""
        now = set(self.watchers(tenant_id, job_id))
        new = [user_id for user_id in dict.fromkeys(user_ids) if user_id not in now]
        self._new_watchers.extend((tenant_id, job_id, user_id) for user_id in new)
        self._watchers[tenant_id, job_id] = tuple(sorted(now.union(new)))

    def unwatch(self, tenant_id: int, job_id: int, user_id: int) -> None:
        """Stage that a user watches a job no longer."""
        left = tuple(watcher for watcher in self.watchers(tenant_id, job_id) if watcher != user_id)
        self._watchers[tenant_id, job_id] = left
        row = (tenant_id, job_id, user_id)
        if row in self._new_watchers:
            self._new_watchers.remove(row)
        self._gone_watchers.append(row)

    def flush(self, now: str) -> None:
        """Write what is staged."""
        run = self._connection.executemany
        if self._dirty:
            run(_UPSERT_JOB, [msgspec.structs.astuple(job) for job in self._dirty.values()])
            self._dirty.clear()
        if self._dirty_numbers:
            run(_UPSERT_NUMBER, [(*key, self._numbers[key]) for key in sorted(self._dirty_numbers)])
            self._dirty_numbers.clear()
        if self._gone_watchers:
            run(_DELETE_WATCHER, self._gone_watchers)
            self._gone_watchers.clear()
        if self._new_watchers:
            run(_INSERT_WATCHER, [(*row, now) for row in self._new_watchers])
            self._new_watchers.clear()
