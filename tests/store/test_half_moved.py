"""A file that has begun to take in its log is told from every other one that may lie in its place."""

import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from djactors.store.sqlite import migrate
from djactors.store.sqlite.half_moved import PROOF_PAGES, has_begun_to_take_in
from djactors.store.sqlite.lock import DatabaseLock, is_as_noted, is_half_moved
from tests.store.writes import COUNTERS

PAGE = 4096
ROWS = 100
"""Rows of a page each, so that the log has more pages than are looked at."""


def write(path: Path, text: str) -> bytes:
    """Write rows as one transaction each, and move the log into the file. Returns the log of before that."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        connection.execute("CREATE TABLE IF NOT EXISTS texts (id INTEGER PRIMARY KEY, text TEXT)")
        page = text * (PAGE // 2 // len(text))
        for number in range(ROWS):
            connection.execute("INSERT INTO texts (text) VALUES (?)", (page,))
            # The first rows change as well, so that the log has pages at both ends of the file, and lacks some between.
            if number < PROOF_PAGES:
                connection.execute("UPDATE texts SET text = ? WHERE id = ?", (page, 2 * number + 1))
        return Path(f"{path}-wal").read_bytes()


class Killed:
    """A server that was killed while it moved its log: the file before it, the log, and the file after it."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "inbox.db"
        self.wal = Path(f"{self.path}-wal")
        migrate.apply(self.path, COUNTERS)
        write(self.path, "an earlier text")
        self.before = self.path.read_bytes()
        self.log = write(self.path, "a text")
        self.after = self.path.read_bytes()
        numbers = range(1, len(self.after) // PAGE + 1)
        self.changed = [number for number in numbers if self.page(self.before, number) != self.page(self.after, number)]
        with DatabaseLock(self.path) as lock:
            self.path.write_bytes(self.before)
            lock.note_state()
            self.wal.write_bytes(self.log)
            lock.note_move()

    @staticmethod
    def page(file: bytes, number: int) -> bytes:
        return file[(number - 1) * PAGE : number * PAGE]

    def moved(self, pages: int) -> None:
        """Leave the file as it is when so many pages of the log have been moved."""
        with self.path.open("r+b") as file:
            for number in self.changed[:pages]:
                os.pwrite(file.fileno(), self.page(self.after, number), (number - 1) * PAGE)


@pytest.fixture
def killed(tmp_path: Path) -> Killed:
    return Killed(tmp_path)


@pytest.mark.parametrize("rest", [0, 1, 20])
def test_a_file_with_the_first_pages_of_its_log_is_the_one(killed: Killed, rest: int):
    assert len(killed.changed) > PROOF_PAGES + 20
    killed.moved(PROOF_PAGES + rest)
    assert is_as_noted(killed.path) is False
    assert is_half_moved(killed.path)
    assert migrate.apply(killed.path, COUNTERS) == []
    with closing(sqlite3.connect(killed.path)) as connection:
        assert connection.execute("SELECT count(*) FROM texts").fetchone() == (2 * ROWS,)
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


@pytest.mark.parametrize("pages", [0, 1, PROOF_PAGES - 1])
def test_fewer_pages_prove_nothing(killed: Killed, pages: int):
    killed.moved(pages)
    assert not is_half_moved(killed.path)


def test_an_older_copy_in_its_place_is_found_out(killed: Killed):
    killed.path.write_bytes(killed.before)
    assert is_as_noted(killed.path) is False, "it was written to"
    assert not is_half_moved(killed.path)


def test_a_file_that_went_another_way_is_found_out(killed: Killed, tmp_path: Path):
    other = tmp_path / "other.db"
    other.write_bytes(killed.before)
    write(other, "b text")
    assert other.stat().st_size == len(killed.after), "as many rows, on pages of the same numbers"
    assert Killed.page(other.read_bytes(), 1) == Killed.page(killed.after, 1), "even the counters are alike"
    shutil.copyfile(other, killed.path)
    assert not is_half_moved(killed.path)


def test_another_log_or_another_file_of_that_name_proves_nothing(killed: Killed, tmp_path: Path):
    killed.moved(PROOF_PAGES)
    killed.wal.write_bytes(killed.log)
    assert not is_half_moved(killed.path), "the log was written to after the move had begun"
    with DatabaseLock(killed.path) as lock:
        lock.note_move()
    assert is_half_moved(killed.path)
    shutil.copyfile(killed.path, tmp_path / "copy")
    (tmp_path / "copy").replace(killed.path)
    assert not is_half_moved(killed.path)


@pytest.mark.parametrize("log", [b"", b"no log", b"\0" * 100], ids=["empty", "short", "of something else"])
def test_what_is_no_log_proves_nothing(killed: Killed, log: bytes):
    killed.moved(PROOF_PAGES)
    killed.wal.write_bytes(log)
    assert not has_begun_to_take_in(str(killed.path), str(killed.wal))


def test_pages_that_no_transaction_committed_prove_nothing(killed: Killed):
    killed.moved(PROOF_PAGES)
    frame = 24 + PAGE
    assert has_begun_to_take_in(str(killed.path), str(killed.wal))
    # The first transaction alone has fewer pages than that; a piece of the second one adds none.
    killed.wal.write_bytes(killed.log[: 32 + 2 * frame])
    assert not has_begun_to_take_in(str(killed.path), str(killed.wal))


def test_the_note_of_a_move_goes_once_it_is_over(killed: Killed):
    with DatabaseLock(killed.path) as lock:
        lock.note_state()
    assert is_as_noted(killed.path)
    assert not is_half_moved(killed.path)


@pytest.mark.parametrize("left", [1, 2, 20])
def test_a_file_that_lacks_its_end_is_found_out(killed: Killed, left: int):
    killed.moved(PROOF_PAGES)
    assert is_half_moved(killed.path)
    # The first pages that prove it are all there, and so is what was changed; pages that the log lacks are gone.
    os.truncate(killed.path, len(killed.before) - left * PAGE)
    assert not is_half_moved(killed.path)


@pytest.mark.parametrize("at", [0, 1, ROWS // 2, ROWS - 1])
def test_a_log_that_sqlite_does_not_read_to_its_end_proves_nothing(killed: Killed, at: int):
    killed.moved(len(killed.changed) - 1)
    frames = (len(killed.log) - 32) // (24 + PAGE)
    damaged = bytearray(killed.log)
    damaged[32 + frames * at // ROWS * (24 + PAGE) + 24 + PAGE // 2] ^= 1
    state = killed.wal.stat()
    killed.wal.write_bytes(damaged)
    os.utime(killed.wal, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert not is_half_moved(killed.path)
