"""Whenever the program that delivers ends, each event is recorded once, byte for byte, and in order."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
from math import inf
from typing import Any

import psycopg
import pytest
from msgspec import structs

from djactors.domain.events import NotificationRequested
from djactors.outbox import Delivered, Outbox
from tests.outbox.recording import Server

TITLES = ["a", "b", "c"]
EVENT = NotificationRequested(tenant_id=1, user_id=2, notification_type="news", priority="LOW", title="a")


class Killed(BaseException):
    """The end of the process, which no handler sees."""


class Process:
    """Counts what a process does to the world outside, and ends it before or after one of its steps.

    Whatever the process tries from then on does nothing.
    """

    def __init__(self) -> None:
        self._last = inf
        self._taken = 0

    def begin(self, last: float = inf) -> None:
        """Begin a new process, which ends after so many steps."""
        self._last, self._taken = last, 0

    @property
    def is_over(self) -> bool:
        return self._taken > self._last

    def step(self, act: Callable[[], Any] = lambda: None) -> Any:
        """Take a step. Each can be the last one in two ways: before it is done, and after."""
        self._taken += 1
        if self.is_over:
            raise Killed
        done = act()
        self._taken += 1
        if self.is_over:
            raise Killed
        return done


# The drivers make their cursors themselves.
process = Process()


class SqliteCursor(sqlite3.Cursor):
    def execute(self, *args: Any) -> Any:
        return process.step(lambda: super(SqliteCursor, self).execute(*args))

    def executemany(self, *args: Any) -> Any:
        return process.step(lambda: super(SqliteCursor, self).executemany(*args))


class SqliteConnection(sqlite3.Connection):
    def cursor(self, *args: Any, **more: Any) -> Any:
        return super().cursor(SqliteCursor)

    def commit(self) -> None:
        process.step(super().commit)

    def rollback(self) -> None:
        process.step(super().rollback)


class PostgresCursor(psycopg.Cursor[Any]):
    def execute(self, *args: Any, **more: Any) -> Any:
        return process.step(lambda: super(PostgresCursor, self).execute(*args, **more))

    def executemany(self, *args: Any, **more: Any) -> Any:
        return process.step(lambda: super(PostgresCursor, self).executemany(*args, **more))


class PostgresConnection(psycopg.Connection[Any]):
    def commit(self) -> None:
        process.step(super().commit)

    def rollback(self) -> None:
        process.step(super().rollback)


def mortal(connection: Any) -> Any:
    """A connection of the same database whose steps are counted."""
    if isinstance(connection, sqlite3.Connection):
        [(_, _, path)] = connection.execute("PRAGMA database_list").fetchall()
        return sqlite3.connect(path, factory=SqliteConnection)
    parameters = {**connection.info.get_parameters(), "password": connection.info.password}
    opened = PostgresConnection.connect(**parameters)
    opened.cursor_factory = PostgresCursor
    return opened


def test_a_runner_that_is_killed_anywhere_leaves_each_event_to_be_recorded_once(
    connect: Callable[[], Any], outbox: Outbox
) -> None:
    last = -1
    is_over = True
    while is_over:
        last += 1
        server = Server()
        with closing(connect()) as connection:
            for title in TITLES:
                outbox.add(connection, structs.replace(EVENT, title=title))
            connection.commit()
            with closing(mortal(connection)) as own:
                process.begin(last)
                server.before = server.after = process.step
                with suppress(Killed):
                    assert outbox.deliver(own, server) == Delivered(sent=3)
                is_over = process.is_over
                process.begin()
            # PostgreSQL lets go of the lock once it has seen that the process is gone.
            while outbox.deliver(connection, server).is_elsewhere:
                pass
            assert outbox.waiting(connection).count == 0
        assert server.titles == TITLES, f"killed after {last} steps"
        assert all(request == server.requests[0] for request in server.requests)
    assert last > 10, "there were steps to be killed at"


@pytest.mark.parametrize("last", range(7))
def test_a_program_that_is_killed_in_its_transaction_has_published_nothing(
    connect: Callable[[], Any], outbox: Outbox, last: int
) -> None:
    server = Server()
    with closing(connect()) as connection:
        with closing(mortal(connection)) as own:
            process.begin(last)
            with suppress(Killed):
                own.cursor().execute("INSERT INTO jobs (id) VALUES (1)")
                outbox.add(own, EVENT)
                own.commit()
            process.begin()
        outbox.deliver(connection, server)
        [(jobs,)] = connection.execute("SELECT count(*) FROM jobs").fetchall()
    assert len(server.recorded) == jobs == (1 if last >= 5 else 0)
