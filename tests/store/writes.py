"""Rows to write, and ways to have many writes wait at once.

The rows are counters: any table would do.
"""

import hashlib
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import outcome
import trio
from trio.testing import wait_all_tasks_blocked

from djactors.store.connection import Connection
from djactors.store.database import Database
from djactors.store.engines import Place, engine_at
from djactors.store.migrations import Migration, Schema
from djactors.store.threads import InlineRunner, ThreadFactory

SQL = "CREATE TABLE counters (name VARCHAR(50) NOT NULL PRIMARY KEY, value BIGINT NOT NULL);"
COUNTERS = Schema([Migration(1, "0001_counters.sql", SQL, hashlib.sha256(SQL.encode()).hexdigest())])

# Seconds to wait for a lock: long enough to be tried, short enough for a test.
IMPATIENT = 0.01


def put(connection: Connection, name: str) -> str:
    connection.execute("INSERT INTO counters (name, value) VALUES (?, 1)", (name,))
    return name


def putting(name: str) -> Callable[[Connection], str]:
    return lambda connection: put(connection, name)


def stored(connection: Connection) -> set[str]:
    return {name for (name,) in connection.execute("SELECT name FROM counters WHERE value = 1")}


def on_disk(place: Place) -> set[str]:
    """What another program finds there."""
    with engine_at(place).reading() as connection:
        return stored(connection)


Ask = Callable[[Callable[[Connection], Any]], Awaitable[Any]]
"""`Database.write`, or `Database.read` of one with a single reader."""


@asynccontextmanager
async def held(ask: Ask, threads: ThreadFactory) -> AsyncIterator[None]:
    """Keep the writer or the reader busy, so that what is asked inside is queued. Inline, the calls of one tick are
    anyway.
    """
    if threads is InlineRunner:
        yield
        return
    started, release = threading.Event(), threading.Event()

    def hold(_: Connection) -> None:
        started.set()
        release.wait()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask, hold)
        try:
            await trio.to_thread.run_sync(started.wait)
            yield
        finally:
            release.set()


async def written_at_once(
    database: Database, threads: ThreadFactory, works: list[Callable[[Connection], Any]]
) -> list[outcome.Maybe[Any]]:
    """Ask for all while the writer is busy; what came of each."""
    return await asked_at_once(database.write, threads, works)


async def asked_at_once(
    ask: Ask, threads: ThreadFactory, works: Sequence[Callable[[Connection], Any]]
) -> list[outcome.Maybe[Any]]:
    """Ask for all while whoever answers is busy; what came of each."""
    outcomes: list[outcome.Maybe[Any]] = [outcome.Value(None)] * len(works)

    async def note(index: int) -> None:
        outcomes[index] = await outcome.acapture(ask, works[index])

    async with trio.open_nursery() as nursery, held(ask, threads):
        for index in range(len(works)):
            nursery.start_soon(note, index)
        await wait_all_tasks_blocked()
    return outcomes
