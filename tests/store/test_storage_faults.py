"""Full disks, foreign locks, lying disks, files that are taken away: nothing is acknowledged that was not stored."""

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import outcome
import pytest
import trio
from outcome import Outcome

from djactors.store.database import Database
from djactors.store.errors import StoreBroken, StoreDamaged, StoreUnavailable
from djactors.store.sqlite.failures import storage_failure
from djactors.store.threads import ThreadFactory
from tests.store.writes import IMPATIENT, on_disk, put, putting, stored, written_at_once


async def test_a_commit_is_synced_and_keys_are_checked(path: Path, threads: ThreadFactory):
    async with await Database.open(path, threads=threads) as database:
        for pragma, value in {"synchronous": 2, "foreign_keys": 1, "journal_mode": "wal", "mmap_size": 0}.items():
            query = f"PRAGMA {pragma}"
            assert await database.write(lambda connection, query=query: connection.execute(query).fetchone()) == (
                value,
            )


async def test_a_full_disk_fails_the_whole_write_and_heals(path: Path, threads: ThreadFactory):
    def limit_to(pages: int) -> Callable[[sqlite3.Connection], Any]:
        return lambda connection: connection.execute(f"PRAGMA max_page_count = {pages}").fetchone()

    def two(connection: sqlite3.Connection) -> None:
        put(connection, "small")
        put(connection, "large" * 100_000)

    broken: list[StoreBroken] = []
    async with await Database.open(path, threads=threads, on_broken=broken.append) as database:
        await database.write(putting("before"))
        # Never below what the file has: this is "not one page more".
        await database.write(limit_to(1))
        with pytest.raises(StoreUnavailable, match="the disk is full"):
            await database.write(two)
        assert await database.read(stored) == {"before"}
        assert isinstance(database.statistics().last_error, StoreUnavailable)
        await database.write(limit_to(1_000_000))
        await database.write(putting("after"))
        assert await database.read(stored) == {"before", "after"}
    assert broken == []


async def test_a_lock_of_another_process_is_waited_for_in_bounded_time(path: Path, threads: ThreadFactory):
    async with await Database.open(path, threads=threads, busy_timeout=IMPATIENT) as database:
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(StoreUnavailable, match="locked by another process"):
                await database.write(putting("a"))
            assert await database.read(stored) == set()
            other.execute("ROLLBACK")
        assert await database.write(putting("b")) == "b"
    assert on_disk(path) == {"b"}


async def test_a_lock_of_another_process_is_told_at_the_start(path: Path, threads: ThreadFactory):
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreUnavailable):
            await Database.open(path, threads=threads, busy_timeout=IMPATIENT)


def unlink_database(path: Path) -> None:
    path.unlink()


def unlink_log(path: Path) -> None:
    path.with_name(path.name + "-wal").unlink()


def replace_database(path: Path) -> None:
    shutil.copy(path, path.with_name("copy.db"))
    path.with_name("copy.db").replace(path)


@pytest.mark.parametrize("damage", [unlink_database, unlink_log, replace_database])
async def test_a_file_that_was_taken_away_is_never_acknowledged_into(
    path: Path, threads: ThreadFactory, damage: Callable[[Path], None]
):
    broken: list[StoreBroken] = []
    async with await Database.open(path, threads=threads, on_broken=broken.append) as database:
        await database.write(putting("a"))
        damage(path)
        with pytest.raises(StoreBroken, match=r"inbox.db: the database or its log (is gone|was replaced)"):
            await database.write(putting("b"))
        for call in (database.write, database.read):
            with pytest.raises(StoreBroken, match=r"inbox.db: the database or its log"):
                await call(stored)
        assert database.statistics().broken
    assert len(broken) == 1


def sqlite_error(name: str) -> sqlite3.OperationalError:
    """An error as SQLite would raise it."""
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorname = name
    error.sqlite_errorcode = getattr(sqlite3, name)
    return error


@pytest.mark.parametrize("name", ["SQLITE_IOERR_FSYNC", "SQLITE_NOTADB", "SQLITE_READONLY"])
async def test_a_disk_that_lies_breaks_the_store_for_good(path: Path, threads: ThreadFactory, name: str):
    def fail(connection: sqlite3.Connection) -> None:
        raise sqlite_error(name)

    broken: list[StoreBroken] = []
    async with await Database.open(path, threads=threads, on_broken=broken.append) as database:
        await database.write(putting("before"))
        outcomes = await written_at_once(database, threads, [fail, fail, fail])
        errors = []
        for one in outcomes:
            with pytest.raises(StoreBroken, match=name) as raised:
                one.unwrap()
            errors.append(raised.value)
        assert len({id(error) for error in errors}) == 3, "each waiter gets an exception of its own"
        with pytest.raises(StoreBroken, match=name):
            await database.write(putting("late"))
    assert len(broken) == 1
    assert on_disk(path) == {"before"}


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("SQLITE_BUSY_SNAPSHOT", StoreUnavailable),
        ("SQLITE_FULL", StoreUnavailable),
        ("SQLITE_CANTOPEN", StoreUnavailable),
        ("SQLITE_IOERR_NOMEM", StoreUnavailable),
        ("SQLITE_IOERR_WRITE", StoreBroken),
        ("SQLITE_CORRUPT_INDEX", StoreDamaged),
        ("SQLITE_READONLY_DBMOVED", StoreBroken),
        ("SQLITE_CONSTRAINT_UNIQUE", type(None)),
        ("SQLITE_ERROR", type(None)),
    ],
)
def test_errors_are_sorted_by_what_to_do_about_them(name: str, kind: type):
    assert type(storage_failure(sqlite_error(name))) is kind


def spoil(path: Path, table: str) -> None:
    with closing(sqlite3.connect(path)) as connection:
        (root,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (table,)).fetchone()
    with path.open("r+b") as file:
        file.seek((root - 1) * 4096)
        file.write(b"\xff" * 4096)


async def test_a_damaged_page_fails_what_needs_it_and_nothing_else(path: Path, threads: ThreadFactory):
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE sound (x)")
    spoil(path, "counters")

    def sound(connection: sqlite3.Connection) -> int:
        return int(connection.execute("SELECT count(*) FROM sound").fetchone()[0])

    def write_sound(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO sound VALUES (1)")

    damaged: list[StoreDamaged] = []
    outcomes: list[Outcome[Any]] = []
    async with await Database.open(path, threads=threads, on_damaged=damaged.append) as database:

        async def read(work: Callable[[sqlite3.Connection], Any]) -> None:
            outcomes.append(await outcome.acapture(database.read, work))

        async with trio.open_nursery() as nursery:
            for number in range(12):
                nursery.start_soon(read, stored if number % 3 == 0 else sound)
        failed = [one for one in outcomes if isinstance(one, outcome.Error)]
        assert len(failed) == 4
        for one in failed:
            with pytest.raises(StoreDamaged, match="find out where with `djactors check`, and restore a backup"):
                one.unwrap()
        with pytest.raises(StoreDamaged):
            await database.write(putting("a"))
        assert database.statistics().failing is None, "the next write may need other pages"
        await database.write(write_sound)
        assert await database.read(sound) == 1
        assert not database.statistics().broken
    assert damaged


async def test_a_database_that_is_gone_is_not_taken_for_damaged(path: Path, threads: ThreadFactory):
    spoil(path, "counters")
    async with await Database.open(path, threads=threads) as database:
        path.unlink()
        with pytest.raises(StoreBroken, match="is gone"):
            await database.write(putting("a"))


async def test_a_missing_database_is_not_made_anew(tmp_path: Path, threads: ThreadFactory):
    with pytest.raises(StoreBroken, match="there is no such database"):
        await Database.open(tmp_path / "inbox.db", threads=threads)
    assert list(tmp_path.iterdir()) == []


async def test_a_file_that_was_never_migrated_is_refused(tmp_path: Path, threads: ThreadFactory):
    (tmp_path / "empty.db").touch()
    with pytest.raises(StoreBroken, match="run the migrations"):
        await Database.open(tmp_path / "empty.db", threads=threads)
    (tmp_path / "letter.db").write_text("Dear reader, " * 1000)
    with pytest.raises(StoreBroken, match="not a database"):
        await Database.open(tmp_path / "letter.db", threads=threads)
