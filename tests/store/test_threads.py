"""What only threads can show: what runs while the event loop goes on, and what a killed process leaves."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from djactors.store.connection import Connection
from djactors.store.database import Database
from djactors.store.engines import Place
from djactors.store.errors import StoreBroken, StoreUnavailable
from djactors.store.sqlite.connections import (
    CHECKPOINT_PAGES,
    LEAST_CHECKPOINT_PAGES,
    MOVE_SECONDS,
    WAL_AUTOCHECKPOINT,
    Backlog,
    Writer,
)
from djactors.store.threads import Call, DedicatedThreads
from tests.store.writes import IMPATIENT, held, on_disk, put, putting, stored

PAGE = 4096

# Seconds of a move on a disk that takes no time.
QUICK = 0.0


async def test_a_cancelled_write_that_still_waits_is_dropped(place: Place):
    async with await Database.open(place) as database, trio.open_nursery() as nursery:
        scope = trio.CancelScope()

        async def write() -> None:
            with scope:
                await database.write(putting("cancelled"))

        async with held(database.write, DedicatedThreads):
            nursery.start_soon(write)
            await wait_all_tasks_blocked()
            assert database.statistics().writes_queued == 1
            scope.cancel()
            await wait_all_tasks_blocked()
            assert scope.cancelled_caught
        await database.write(putting("next"))
        assert await database.read(stored) == {"next"}


async def test_a_cancelled_write_that_runs_is_committed_and_its_caller_leaves_at_once(place: Place):
    started, release = threading.Event(), threading.Event()

    def slow(connection: Connection) -> None:
        started.set()
        release.wait()
        put(connection, "slow")

    async with await Database.open(place) as database:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(database.write, slow)
            await trio.to_thread.run_sync(started.wait)
            nursery.cancel_scope.cancel()
        release.set()
        await database.write(putting("next"))
        assert await database.read(stored) == {"slow", "next"}


async def test_a_read_keeps_its_snapshot_and_never_holds_up_a_write(place: Place):
    looked, release = threading.Event(), threading.Event()

    def twice(connection: Connection) -> list[set[str]]:
        first = stored(connection)
        looked.set()
        release.wait()
        return [first, stored(connection)]

    async with await Database.open(place) as database:
        await database.write(putting("before"))
        answer: list[set[str]] = []

        async def read() -> None:
            answer.extend(await database.read(twice))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            await trio.to_thread.run_sync(looked.wait)
            await database.write(putting("during"))
            assert await database.read(stored) == {"before", "during"}
            release.set()
        assert answer == [{"before"}, {"before"}]


async def test_work_that_would_end_its_thread_breaks_the_store_and_nobody_waits_for_ever(place: Place):
    def leave(_: Connection) -> None:
        sys.exit(3)

    broken: list[StoreBroken] = []
    async with await Database.open(place, on_broken=broken.append) as database:
        with pytest.raises(StoreBroken, match="SystemExit"):
            await database.write(leave)
        with pytest.raises(StoreBroken, match="SystemExit"):
            await database.write(putting("a"))
    assert len(broken) == 1
    assert on_disk(place) == set()


async def test_closing_gives_a_thread_that_hangs_up(place: Place):
    started, release = threading.Event(), threading.Event()
    # A test of a loop that broke down may have left threads behind.
    others = set(threading.enumerate())

    def hang(_: Connection) -> None:
        started.set()
        release.wait()

    database = await Database.open(place)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(database.write, hang)
        await trio.to_thread.run_sync(started.wait)
        with pytest.raises(StoreUnavailable, match=r"djactors-writer did not finish within 0.01 s"):
            await database.close(timeout=0.01)
        release.set()
    for thread in set(threading.enumerate()) - others:
        if thread.name == "djactors-writer":
            thread.join()


async def test_under_a_virtual_clock_the_threads_are_still_waited_for(place: Place, autojump_clock: MockClock):
    async with await Database.open(place) as database:
        assert await database.write(putting("a")) == "a"
        assert await database.read(stored) == {"a"}
    assert not (isinstance(place, Path) and place.with_name("inbox.db-wal").exists())


def test_threads_that_outlive_their_event_loop_do_not_mind(place: Place):
    databases: list[Database] = []
    started, release = threading.Event(), threading.Event()

    def slow(connection: Connection) -> None:
        started.set()
        release.wait()
        put(connection, "unheard")

    async def leave_open() -> None:
        databases.append(await Database.open(place))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(databases[0].write, slow)
            await trio.to_thread.run_sync(started.wait)
            nursery.cancel_scope.cancel()

    trio.run(leave_open)
    release.set()
    trio.run(databases[0].close)
    assert on_disk(place) == {"unheard"}


ACKNOWLEDGED = """
import sys, trio
from djactors.store.database import Database
async def main():
    database = await Database.open(sys.argv[1])
    async def write(task):
        for number in range(10_000):
            name = f"{task}.{number}"
            await database.write(lambda connection: connection.execute("INSERT INTO counters VALUES (?, 1)", (name,)))
            print(name, flush=True)
    async with trio.open_nursery() as nursery:
        for task in range(8):
            nursery.start_soon(write, task)
trio.run(main)
"""


def test_what_was_acknowledged_survives_a_kill(place: Place):
    with subprocess.Popen(
        [sys.executable, "-c", ACKNOWLEDGED, str(place)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        acknowledged = {process.stdout.readline().strip() for _ in range(200)}
        os.kill(process.pid, signal.SIGKILL)
        acknowledged |= {line.strip() for line in process.stdout if line.endswith("\n")}
    found = on_disk(place)
    assert acknowledged <= found
    # Beyond that at most one write of each task, in flight or not printed yet.
    assert len(found - acknowledged) <= 8


def test_an_idle_writer_moves_the_log_into_the_database(path: Path):
    writer = Writer(path, IMPATIENT, time.perf_counter)
    writer.open()
    try:
        before = path.stat().st_mtime_ns
        assert writer.run([Call(putting("a"))]).items == 1
        assert path.stat().st_mtime_ns == before
        assert writer.idle() is None
        assert path.stat().st_mtime_ns > before
    finally:
        assert writer.close() is None


def test_a_large_log_is_moved_behind_a_batch_and_not_in_the_middle_of_one(path: Path):
    def many(connection: Connection) -> None:
        first = connection.total_changes
        connection.executemany("INSERT INTO counters VALUES (?, 1)", [(f"{first}.{n}" * 80,) for n in range(1000)])

    # By its clock the disk takes no time.
    writer = Writer(path, IMPATIENT, lambda: 0.0)
    writer.open()
    log = path.with_name(path.name + "-wal")
    moved = 0
    try:
        for _ in range(60):
            before = path.stat().st_mtime_ns
            assert writer.run([Call(many)]).items == 1
            assert path.stat().st_mtime_ns == before
            assert writer.after() is None
            moved += path.stat().st_mtime_ns > before
        # It is written from its beginning again, and was not moved for every little that was in it.
        assert moved > 1
        assert CHECKPOINT_PAGES * PAGE / 2 < log.stat().st_size < WAL_AUTOCHECKPOINT * PAGE
    finally:
        assert writer.close() is None


def test_the_size_of_the_log_is_guessed_from_what_the_rows_before_took():
    backlog = Backlog()
    # Four rows to a page.
    backlog.moved(2000, 500, QUICK)
    learnt = 4 * CHECKPOINT_PAGES
    assert not backlog.is_due(2000 + learnt - 1)
    assert backlog.is_due(2000 + learnt)
    # Two pages to a row.
    backlog.moved(20_000, 36_000, QUICK)
    learnt = CHECKPOINT_PAGES // 2
    assert not backlog.is_due(20_000 + learnt - 1)
    assert backlog.is_due(20_000 + learnt)
    # It failed: the same again.
    backlog.moved(30_000, -1, QUICK)
    assert not backlog.is_due(30_000 + learnt - 1)
    assert backlog.is_due(30_000 + learnt)
    # A reader had kept the log from being reused.
    backlog.moved(40_000, 10_000_000, QUICK)
    assert not backlog.is_due(40_000 + CHECKPOINT_PAGES // 4 - 1)
    # Nothing was written since: nothing is learnt.
    backlog.moved(40_000, 0, QUICK)
    assert backlog.is_due(40_000 + CHECKPOINT_PAGES // 4)


def test_the_log_is_moved_sooner_where_moving_it_takes_long():
    backlog = Backlog()
    written = 0

    def due_after(pages: int, seconds: float) -> int:
        """One page to a row: pages at which it is due after as many were moved within some seconds."""
        nonlocal written
        written += pages
        backlog.moved(written, pages, seconds)
        return next(rows for rows in range(10_000) if backlog.is_due(written + rows))

    assert due_after(CHECKPOINT_PAGES, MOVE_SECONDS * 2) == CHECKPOINT_PAGES // 2
    assert due_after(CHECKPOINT_PAGES // 2, MOVE_SECONDS) == CHECKPOINT_PAGES // 2
    assert due_after(CHECKPOINT_PAGES // 2, MOVE_SECONDS * 2) == LEAST_CHECKPOINT_PAGES
    # A slow disk gets no more syncs than that.
    assert due_after(LEAST_CHECKPOINT_PAGES, 1.0) == LEAST_CHECKPOINT_PAGES
    # A few pages say nothing of how long many take.
    assert due_after(10, QUICK) == LEAST_CHECKPOINT_PAGES
    assert due_after(LEAST_CHECKPOINT_PAGES, QUICK) == CHECKPOINT_PAGES // 2
    assert due_after(CHECKPOINT_PAGES // 2, QUICK) == CHECKPOINT_PAGES
    assert due_after(CHECKPOINT_PAGES, QUICK) == CHECKPOINT_PAGES


def test_the_log_is_still_moved_after_more_rows_than_sqlite_counts():
    backlog = Backlog()
    backlog.moved(2**31 - 1000, 4 * CHECKPOINT_PAGES, QUICK)
    first = CHECKPOINT_PAGES * 4
    assert not backlog.is_due(2**31 - 1)
    assert not backlog.is_due(-(2**31))
    assert backlog.is_due(-(2**31) - 1000 + first)
