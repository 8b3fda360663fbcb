"""The simulated disk keeps what was synced, and of the rest what the dice say."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from random import Random

import pytest

from tests.simulation.disk import NEEDED, OK, SECTOR, Content, Disk, Fault, is_possible

pytestmark = pytest.mark.skipif(not is_possible(), reason=NEEDED)

COUNT = "SELECT count(*) FROM kept"


def make(
    registered: dict[str, Disk], folder: Path, contents: dict[str, Content], before: Fault = lambda *_: OK
) -> Disk:
    disk = Disk(folder, contents, before)
    registered[str(folder)] = disk
    return disk


def connect(disk: Disk, synchronous: str = "FULL") -> sqlite3.Connection:
    connection = sqlite3.connect(disk.folder / "inbox.db", isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute(f"PRAGMA synchronous = {synchronous}")
    connection.execute("CREATE TABLE IF NOT EXISTS kept (number INTEGER)")
    return connection


def count(registered: dict[str, Disk], folder: Path, contents: dict[str, Content]) -> int:
    disk = make(registered, folder, contents)
    with closing(sqlite3.connect(disk.folder / "inbox.db")) as connection:
        return int(connection.execute(COUNT).fetchone()[0])


def test_what_was_committed_with_a_sync_outlives_any_loss_of_power(registered: dict[str, Disk], tmp_path: Path) -> None:
    disk = make(registered, tmp_path / "first", {})
    with closing(connect(disk)) as connection:
        for number in range(20):
            connection.execute("INSERT INTO kept VALUES (?)", (number,))
            assert count(registered, tmp_path / f"{number}", disk.unplugged(Random(number))) == number + 1


def test_what_was_not_synced_outlives_a_kill_and_may_be_lost_with_the_power(
    registered: dict[str, Disk], tmp_path: Path
) -> None:
    disk = make(registered, tmp_path / "first", {})
    with closing(connect(disk, "OFF")) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        for number in range(20):
            connection.execute("INSERT INTO kept VALUES (?)", (number,))
        killed = disk.killed()
        assert count(registered, tmp_path / "killed", killed) == 20
        # Still not synced for the process that comes then.
        after = make(registered, tmp_path / "after", killed)
        left = set()
        for seed in range(30):
            try:
                left.add(count(registered, tmp_path / f"unplugged {seed}", after.unplugged(Random(seed))))
            except sqlite3.DatabaseError:
                left.add(-1)
        assert len(left) > 1


def test_a_write_is_kept_or_lost_or_torn_at_a_sector() -> None:
    content = Content.of(b"a" * 4 * SECTOR)
    content.write(0, b"b" * 4 * SECTOR)
    seen = {content.after_power_loss(Random(seed)) for seed in range(200)}
    assert {b"a" * 4 * SECTOR, b"b" * 4 * SECTOR} < seen
    assert all(len(set(each[begin : begin + SECTOR])) == 1 for each in seen for begin in range(0, 4 * SECTOR, SECTOR))


def test_after_a_sync_that_failed_a_later_one_does_not_bring_the_data_to_the_disk() -> None:
    content = Content.of(b"a" * SECTOR)
    content.write(0, b"b" * SECTOR)
    content.fail_to_sync()
    content.sync()
    assert bytes(content.now) == b"b" * SECTOR
    assert b"a" * SECTOR in {content.after_power_loss(Random(seed)) for seed in range(50)}
    content.write(0, b"c" * SECTOR)
    content.sync()
    assert {content.after_power_loss(Random(seed)) for seed in range(50)} == {b"c" * SECTOR}


@pytest.mark.parametrize(
    ("operation", "code", "said"),
    [("sync", sqlite3.SQLITE_IOERR, "disk I/O error"), ("write", sqlite3.SQLITE_FULL, "database or disk is full")],
)
def test_an_operation_fails_with_the_error_that_is_asked_for(
    registered: dict[str, Disk], tmp_path: Path, operation: str, code: int, said: str
) -> None:
    failing = False
    disk = make(registered, tmp_path / "first", {}, lambda its, _: code if failing and its == operation else OK)
    with closing(connect(disk)) as connection:
        failing = True
        with pytest.raises(sqlite3.OperationalError, match=said):
            connection.execute("INSERT INTO kept VALUES (1)")
        failing = False


def test_files_in_other_folders_are_left_alone(registered: dict[str, Disk], tmp_path: Path) -> None:
    disk = make(registered, tmp_path / "first", {})
    (tmp_path / "other").mkdir()
    with closing(sqlite3.connect(tmp_path / "other" / "inbox.db")) as connection:
        connection.execute("CREATE TABLE kept (number INTEGER)")
    assert disk.contents == {}
