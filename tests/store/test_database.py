"""What `Database` promises, on each engine, on threads and inline alike."""

import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import outcome
import psycopg
import pytest
import trio
import trio.testing
from trio.testing import MockClock, wait_all_tasks_blocked

from djactors.store.connection import Connection
from djactors.store.database import Database
from djactors.store.engines import Place
from djactors.store.errors import StoreBusy, StoreClosed, StoreError
from djactors.store.threads import NOBODY, InlineRunner, ThreadFactory
from tests.store.writes import held, on_disk, put, putting, stored, written_at_once


async def test_a_write_returns_what_its_work_returned_and_is_there_for_everyone(place: Place, threads: ThreadFactory):
    async with await Database.open(place, threads=threads) as database:
        assert await database.write(putting("a")) == "a"
        assert await database.read(stored) == {"a"}
        assert on_disk(place) == {"a"}


async def test_each_write_is_a_commit_of_its_own(place: Place, threads: ThreadFactory):
    commits: list[float] = []
    async with await Database.open(place, threads=threads, on_commit=commits.append) as database:
        names = {f"n{number}" for number in range(20)}
        await written_at_once(database, threads, [putting(name) for name in names])
        assert await database.read(stored) == names
        # One more where the writer is held up by a write meanwhile.
        assert len(commits) == database.statistics().commits
        assert len(commits) in (20, 21)


async def test_one_bad_write_among_many_fails_alone(place: Place, threads: ThreadFactory):
    def bad(connection: Connection) -> None:
        put(connection, "bad")
        raise ValueError("mine alone")

    async with await Database.open(place, threads=threads) as database:
        await database.write(putting("old"))
        works: list[Callable[[Connection], Any]] = [putting(f"n{number}") for number in range(8)]
        works[3] = bad
        works[5] = putting("old")
        outcomes = await written_at_once(database, threads, works)
        assert [index for index, one in enumerate(outcomes) if isinstance(one, outcome.Error)] == [3, 5]
        with pytest.raises(ValueError, match="mine alone"):
            outcomes[3].unwrap()
        with pytest.raises((sqlite3.IntegrityError, psycopg.errors.UniqueViolation)):
            outcomes[5].unwrap()
        assert await database.read(stored) == {"old", "n0", "n1", "n2", "n4", "n6", "n7"}
        assert database.statistics().failed == 2
        assert database.statistics().last_error is None


@pytest.mark.parametrize(
    ("value", "error"),
    [
        (2**63, (OverflowError, psycopg.DataError)),
        ("\ud800", UnicodeEncodeError),
        (object(), (sqlite3.Error, psycopg.ProgrammingError)),
    ],
)
async def test_a_value_that_the_engine_cannot_take_fails_its_write_only(
    place: Place, threads: ThreadFactory, value: object, error: type[Exception] | tuple[type[Exception], ...]
):
    async with await Database.open(place, threads=threads) as database:
        outcomes = await written_at_once(
            database,
            threads,
            [putting("a"), lambda connection: connection.execute("SELECT ?", (value,)), putting("b")],
        )
        with pytest.raises(error):
            outcomes[1].unwrap()
        assert await database.read(stored) == {"a", "b"}


async def test_a_lone_write_that_fails_leaves_nothing(place: Place, threads: ThreadFactory):
    runs: list[int] = []

    def bad(connection: Connection) -> None:
        runs.append(1)
        put(connection, "bad")
        raise LookupError

    async with await Database.open(place, threads=threads) as database:
        with pytest.raises(LookupError):
            await database.write(bad)
        assert await database.read(stored) == set()
    assert runs == [1]


async def test_work_that_ends_its_transaction_is_found_out(place: Place, threads: ThreadFactory):
    async with await Database.open(place, threads=threads) as database:
        with pytest.raises(StoreError, match="ended the transaction"):
            await database.write(lambda connection: connection.execute("ROLLBACK"))
        assert await database.write(putting("a")) == "a"
        assert on_disk(place) == {"a"}


async def test_writes_are_made_in_the_order_in_which_they_were_asked_for(place: Place, threads: ThreadFactory):
    order: list[int] = []
    async with await Database.open(place, threads=threads) as database, trio.open_nursery() as nursery:
        asked: list[int] = []

        async def write(number: int) -> None:
            asked.append(number)
            await database.write(lambda _: order.append(number))

        for number in range(20):
            nursery.start_soon(write, number)
    assert order == asked


async def test_a_full_queue_refuses_at_once(place: Place, threads: ThreadFactory):
    async with await Database.open(place, threads=threads, write_queue=4) as database:
        outcomes = await written_at_once(database, threads, [putting(f"n{number}") for number in range(7)])
        refused = [one for one in outcomes if isinstance(one, outcome.Error)]
        assert len(refused) == 3
        for one in refused:
            with pytest.raises(StoreBusy, match="4 calls are waiting"):
                one.unwrap()
        assert len(await database.read(stored)) == 4


async def test_a_reader_cannot_write_and_that_is_its_own_fault(place: Place, threads: ThreadFactory):
    async with await Database.open(place, threads=threads) as database:
        with pytest.raises((sqlite3.OperationalError, psycopg.errors.ReadOnlySqlTransaction), match=r"read-?only"):
            await database.read(putting("a"))
        assert await database.read(stored) == set()
        assert not database.statistics().broken


async def test_a_read_that_raises_leaves_the_others_alone(place: Place, threads: ThreadFactory):
    async with await Database.open(place, threads=threads) as database:
        answers: list[object] = []

        async def read(number: int) -> None:
            try:
                answers.append(await database.read(lambda connection: 12 // number + len(stored(connection))))
            except ZeroDivisionError as error:
                answers.append(type(error))

        async with trio.open_nursery() as nursery:
            for number in range(4):
                nursery.start_soon(read, number)
        assert set(answers) == {ZeroDivisionError, 12, 6, 4}


async def test_a_snapshot_is_consistent_while_writes_go_on(place: Place, threads: ThreadFactory):
    names = ("one", "other")

    def move(connection: Connection) -> None:
        for name in names:
            connection.execute("UPDATE counters SET value = value + 1 WHERE name = ?", (name,))

    def both(connection: Connection) -> list[int]:
        query = "SELECT value FROM counters WHERE name = ?"
        return [connection.execute(query, (name,)).fetchone()[0] for name in names]

    async with await Database.open(place, threads=threads) as database:
        for name in names:
            await database.write(putting(name))
        seen: list[list[int]] = []

        async def write() -> None:
            for _ in range(20):
                await database.write(move)

        async def read() -> None:
            for _ in range(20):
                seen.append(await database.read(both))  # noqa: PERF401

        async with trio.open_nursery() as nursery:
            for task in (write, write, read, read, read):
                nursery.start_soon(task)
        assert all(first == second for first, second in seen)
        assert await database.read(both) == [41, 41]


async def test_closing_finishes_what_is_queued_and_empties_the_log(place: Place, threads: ThreadFactory):
    database = await Database.open(place, threads=threads)
    outcomes: list[outcome.Maybe[str]] = []

    async def write(name: str) -> None:
        outcomes.append(await outcome.acapture(database.write, putting(name)))

    async with trio.open_nursery() as nursery, held(database.write, threads):
        for number in range(6):
            nursery.start_soon(write, f"n{number}")
        if threads is InlineRunner:
            await trio.lowlevel.checkpoint()
        else:
            await wait_all_tasks_blocked()
        nursery.start_soon(database.close)
        await trio.lowlevel.checkpoint()
    acknowledged = {one.unwrap() for one in outcomes if isinstance(one, outcome.Value)}
    refused = [one for one in outcomes if isinstance(one, outcome.Error)]
    assert len(outcomes) == 6
    assert not (isinstance(place, Path) and place.with_name("inbox.db-wal").exists())
    assert on_disk(place) == acknowledged
    for one in refused:
        with pytest.raises(StoreClosed):
            one.unwrap()
    if threads is not InlineRunner:
        assert len(acknowledged) == 6


async def test_a_closed_database_refuses_and_closes_twice(place: Place, threads: ThreadFactory):
    async with await Database.open(place, threads=threads) as database:
        pass
    await database.close()
    for call in (database.write, database.read):
        with pytest.raises(StoreClosed):
            await call(stored)


async def test_closing_finishes_even_if_it_is_cancelled(place: Place, threads: ThreadFactory):
    with trio.CancelScope() as scope:
        database = await Database.open(place, threads=threads)
        scope.cancel()
        await database.close()
    assert not (isinstance(place, Path) and place.with_name("inbox.db-wal").exists())


def nowhere(place: Place) -> Place:
    """A database of the same engine that there is not."""
    return place.with_name("nowhere.db") if isinstance(place, Path) else str(place).replace("/postgres?", "/nowhere?")


async def test_no_thread_outlives_the_database(place: Place, threads: ThreadFactory):
    # A test of a loop that broke down may have left threads behind.
    others = set(threading.enumerate())
    async with await Database.open(place, threads=threads, readers=3) as database:
        await database.write(putting("a"))
        await database.read(stored)
    with pytest.raises(StoreError):
        await Database.open(nowhere(place), threads=threads)
    assert [
        thread.name
        for thread in set(threading.enumerate()) - others
        if thread.name.startswith(("djactors-writer", "djactors-reader"))
    ] == []


async def test_a_cancelled_write_is_wholly_done_or_not_at_all(place: Place, threads: ThreadFactory):
    async with await Database.open(place, threads=threads) as database:
        with trio.CancelScope() as scope:
            scope.cancel()
            await database.write(putting("cancelled"))
        assert scope.cancelled_caught
        await database.write(putting("next"))
        assert await database.read(stored) in ({"next"}, {"cancelled", "next"})


async def test_hooks_and_statistics_tell_what_was_done(place: Place, threads: ThreadFactory):
    ticks = iter(range(100))
    commits: list[float] = []
    async with await Database.open(
        place,
        threads=threads,
        on_commit=commits.append,
        timer=lambda: float(next(ticks)),
    ) as database:
        await database.write(putting("a"))
        assert commits == [1.0]
        statistics = database.statistics()
        assert (statistics.commits, statistics.failed) == (1, 0)
        assert (statistics.writes_queued, statistics.reads_queued) == (0, 0)


async def test_inline_the_whole_store_runs_under_a_virtual_clock(place: Place, autojump_clock: MockClock):
    async with await Database.open(place, threads=InlineRunner) as database:
        began = trio.current_time()
        for hour in range(24):
            await trio.sleep(3600)
            await database.write(putting(f"hour {hour}"))
            assert len(await database.read(stored)) == hour + 1
        assert trio.current_time() - began == 24 * 3600


async def test_who_gives_way_goes_on_when_the_write_under_way_is_done(place: Place, autojump_clock: MockClock):
    opened = trio.Event()
    done: list[str] = []

    class Held(InlineRunner):
        async def call(self, work: Any, turn: Any = NOBODY) -> Any:
            await opened.wait()
            return await super().call(work, turn)

    async with await Database.open(place, threads=Held) as database, trio.open_nursery() as nursery:

        async def write() -> None:
            await database.write(putting("a"))
            done.append("write")

        async def give_way() -> None:
            await database.give_way(1e6)
            done.append("way")

        nursery.start_soon(write)
        await wait_all_tasks_blocked()
        nursery.start_soon(give_way)
        await trio.sleep(60)
        assert done == []
        opened.set()
        await wait_all_tasks_blocked()
        assert sorted(done) == ["way", "write"]
        assert trio.current_time() == 60


async def test_who_gives_way_waits_no_longer_than_asked(place: Place, autojump_clock: MockClock):
    class Stuck(InlineRunner):
        async def call(self, work: Any, turn: Any = NOBODY) -> Any:
            await trio.sleep_forever()

    async with await Database.open(place, threads=Stuck) as database, trio.open_nursery() as nursery:
        nursery.start_soon(database.write, putting("a"))
        await wait_all_tasks_blocked()
        began = trio.current_time()
        await database.give_way(3)
        assert trio.current_time() - began == pytest.approx(3)
        nursery.cancel_scope.cancel()


async def test_who_gives_way_to_nobody_lets_others_run(place: Place, threads: ThreadFactory):
    async with await Database.open(place, threads=threads) as database:
        with trio.testing.assert_checkpoints():
            await database.give_way(60)
