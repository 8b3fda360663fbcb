"""A21: `/readyz` says no, with the reason, while nothing can be written, and yes again by itself."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest
import trio

from djactors.edge.readiness import FRESH, FULL_SECONDS, HEAL_SECONDS, PROBE_SECONDS, Readiness
from djactors.inbox import schema
from djactors.kernel import MailboxStatistics
from djactors.store.database import Database, Statistics
from djactors.store.errors import StoreUnavailable
from djactors.store.threads import InlineRunner
from djactors.telemetry import Telemetry
from tests.serving import ServedProcess, service_token, serving

EVENT = {"type": "job.assigned", "tenantId": 1, "jobId": 5, "assigneeId": 7}
IDLE = MailboxStatistics(depth=0, capacity=10, high_water=0, received=0, refused=0, waiting_senders=0)
PATIENCE = 30


@asynccontextmanager
async def open_database(folder: Path) -> AsyncIterator[Database]:
    path = folder / "inbox.db"
    schema.apply(path)
    async with await Database.open(path, threads=InlineRunner, busy_timeout=0.01) as database:
        yield database


def judge(database: object, router: MailboxStatistics = IDLE) -> Readiness:
    return Readiness(lambda: False, database, lambda: router, Telemetry())  # type: ignore[arg-type]


async def test_a21_a_locked_database_is_not_ready_though_nobody_writes_and_heals(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    async with open_database(tmp_path) as database:
        readiness = judge(database)
        assert await readiness.reason() is None
        with closing(sqlite3.connect(database.engine.name, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            await trio.sleep(FRESH)
            reason = await readiness.reason()
            assert reason is not None
            assert reason.startswith("the database is locked by another process")
            assert str(tmp_path) not in reason
            other.execute("ROLLBACK")
        await trio.sleep(FRESH)
        assert await readiness.reason() is None


async def test_a21_a_failed_write_counts_though_the_probe_still_finds_room(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """A disk that is all but full: a page fits, an event does not."""

    def large(connection: sqlite3.Connection) -> None:
        connection.execute("PRAGMA max_page_count = 1")
        connection.execute("CREATE TABLE more (x)")

    def small(connection: sqlite3.Connection) -> None:
        connection.execute("UPDATE meta SET created_at = created_at")

    async with open_database(tmp_path) as database:
        readiness = judge(database)
        assert await readiness.reason() is None
        with pytest.raises(StoreUnavailable):
            await database.write(large)
        # At once, though the answer before was given a moment ago.
        assert (await readiness.reason() or "").startswith("the disk is full")
        await trio.sleep(FRESH)
        assert (await readiness.reason() or "").startswith("the disk is full")
        # Somebody's write that is committed proves more than time does.
        await database.write(small)
        await trio.sleep(FRESH)
        assert await readiness.reason() is None
        with pytest.raises(StoreUnavailable):
            await database.write(large)
        assert await readiness.reason() is not None
        await trio.sleep(HEAL_SECONDS + FRESH)
        assert await readiness.reason() is None


class Hanging:
    """A store whose disk does not answer."""

    def statistics(self) -> Statistics:
        return Statistics(0, 0, 0, 0, 1, 1, None, None, False)

    async def probe(self) -> None:
        await trio.sleep_forever()


async def test_a21_a_disk_that_does_not_answer_is_not_ready_in_bounded_time(
    autojump_clock: trio.testing.MockClock,
) -> None:
    began = trio.current_time()
    assert "not taken a write" in (await judge(Hanging()).reason() or "")
    assert trio.current_time() - began == pytest.approx(PROBE_SECONDS)


async def test_a21_however_often_it_is_asked_there_is_one_write_in_a_while(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    async with open_database(tmp_path) as database:
        readiness = judge(database)
        for _ in range(100):
            assert await readiness.reason() is None
        assert database.statistics().commits == 1
        await trio.sleep(FRESH)
        assert await readiness.reason() is None
        assert database.statistics().commits == 2


async def test_a21_a_queue_that_is_full_for_long_is_not_ready(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    def mailbox(depth: int, refused: int) -> MailboxStatistics:
        return MailboxStatistics(depth, 10, 10, 0, refused, 0)

    async with open_database(tmp_path) as database:
        seen = mailbox(10, 0)
        readiness = Readiness(lambda: False, database, lambda: seen, Telemetry())
        assert await readiness.reason() is None  # a burst
        await trio.sleep(FULL_SECONDS)
        # A batch has just been taken, but others were refused meanwhile.
        seen = mailbox(6, 99)
        assert await readiness.reason() == "the queue of commands has been full for 5 s"
        seen = mailbox(0, 99)
        await trio.sleep(FRESH)
        assert await readiness.reason() is None
        # Full again, but only now.
        seen = mailbox(10, 99)
        await trio.sleep(FULL_SECONDS)
        assert await readiness.reason() is None


async def status(server: ServedProcess) -> int:
    return (await server.request("GET", "/readyz")).status


async def until(server: ServedProcess, wanted: int) -> None:
    with trio.fail_after(PATIENCE):
        while await status(server) != wanted:
            pass


async def test_a21_djactors_serve_tells_that_its_database_is_locked_and_heals(tmp_path: Path) -> None:
    async with serving(tmp_path, environment={"DJACTORS_BUSY_TIMEOUT": "0.2"}) as server:
        assert await status(server) == 200
        with closing(sqlite3.connect(server.database, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            await until(server, 503)
            assert b"locked by another process" in (await server.request("GET", "/readyz")).body
            assert b"djactors_ready 0.0" in (await server.request("GET", "/metrics")).body
            assert (await server.request("GET", "/healthz")).status == 200
            other.execute("ROLLBACK")
        await until(server, 200)
        answer = await server.request("POST", "/api/events", token=service_token(), body=EVENT)
        assert answer.status == 201
        assert await server.stop() == 0
    log = server.errors.read_text()
    assert log.count('"not ready"') == 1
    assert log.count('"ready again"') == 1
