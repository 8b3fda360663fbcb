"""One writing process per database."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from djactors.store.errors import DatabaseLocked
from djactors.store.sqlite.lock import DatabaseLock, is_as_noted, missing_database

HOLDER = """
import sys, time
from djactors.store.sqlite.lock import DatabaseLock, is_as_noted, missing_database
with DatabaseLock(sys.argv[1]):
    print("held", flush=True)
    sys.stdin.read()
"""


def holder(database: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(database)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_the_second_process_is_refused_and_told_who_holds_the_file(tmp_path: Path):
    database = tmp_path / "inbox.db"
    with holder(database) as process:
        with pytest.raises(DatabaseLocked, match=f"{database} is in use by process {process.pid}") as refused:
            DatabaseLock(database).acquire()
        assert refused.value.pid == process.pid
        process.communicate()
    with DatabaseLock(database) as lock:
        assert lock.held
    assert not lock.held


def test_a_killed_holder_leaves_the_database_free(tmp_path: Path):
    database = tmp_path / "inbox.db"
    with holder(database) as process:
        process.send_signal(signal.SIGKILL)
        process.wait()
        with DatabaseLock(database):
            assert (tmp_path / "inbox.db.lock").read_text() == f"{os.getpid()}\n"


def test_a_symbolic_link_is_the_same_database(tmp_path: Path):
    (tmp_path / "inbox.db").touch()
    link = tmp_path / "link.db"
    link.symlink_to(tmp_path / "inbox.db")
    with DatabaseLock(tmp_path / "inbox.db"), pytest.raises(DatabaseLocked):
        DatabaseLock(link).acquire()


def test_a_hard_link_is_the_same_database(tmp_path: Path):
    database, link = tmp_path / "inbox.db", tmp_path / "link.db"
    database.write_text("a database")
    link.hardlink_to(database)
    with holder(database) as process:
        with pytest.raises(DatabaseLocked, match=f"{link} is in use by process {process.pid}") as refused:
            DatabaseLock(link).acquire()
        assert refused.value.pid == process.pid
        process.communicate()
    with DatabaseLock(database), pytest.raises(DatabaseLocked, match=f"process {os.getpid()}"):
        # A second descriptor in this process would end SQLite's own locks when it is closed.
        DatabaseLock(link).acquire()
    with DatabaseLock(link):
        pass


def test_a_database_is_held_though_its_lock_file_is_gone(tmp_path: Path):
    database = tmp_path / "inbox.db"
    database.write_text("a database")
    with holder(database) as process:
        (tmp_path / "inbox.db.lock").unlink()
        with pytest.raises(DatabaseLocked, match=f"in use by process {process.pid}"):
            DatabaseLock(database).acquire()
        process.communicate()


def test_a_database_that_is_made_later_is_held_as_well(tmp_path: Path):
    database, link = tmp_path / "inbox.db", tmp_path / "link.db"
    with DatabaseLock(database) as lock:
        database.write_text("a database")
        link.hardlink_to(database)
        lock.hold_database()
        lock.hold_database()
        with pytest.raises(DatabaseLocked):
            DatabaseLock(link).acquire()
    lock.acquire()
    lock.release()
    with pytest.raises(RuntimeError, match="not held"):
        lock.hold_database()


def test_a_database_that_was_held_is_missed_when_it_is_gone_or_empty(tmp_path: Path):
    database = tmp_path / "inbox.db"
    assert missing_database(database) is None
    with DatabaseLock(database):
        assert missing_database(database) is None, "there was none yet"
    database.write_text("a database")
    with DatabaseLock(database):
        assert missing_database(database) is None
    database.write_text("")
    assert "is empty" in str(missing_database(database))
    database.unlink()
    for _ in range(2):
        assert f"it is gone, and {database}.lock notes" in str(missing_database(database))
        with DatabaseLock(database):
            pass
    (tmp_path / "inbox.db.lock").unlink()
    assert missing_database(database) is None
    (tmp_path / "inbox.db-wal").write_text("what was written last")
    assert f"it is gone, and {database}-wal holds" in str(missing_database(database))


def test_a_database_is_told_from_another_file_in_its_place(tmp_path: Path):
    database, copy = tmp_path / "inbox.db", tmp_path / "copy.db"
    database.write_text("a database")
    lock = DatabaseLock(database)
    with lock:
        assert is_as_noted(database) is None
        lock.note_state()
        assert is_as_noted(database)
    with lock:
        assert is_as_noted(database), "nobody has touched it since"
    copy.write_text("another one")
    copy.replace(database)
    assert is_as_noted(database) is False
    with lock:
        lock.note_state()
        assert is_as_noted(database)
        database.write_text("changed in place")
        assert is_as_noted(database) is False
    database.unlink()
    assert is_as_noted(database) is False
    lock.note_state()
    assert "is gone" in str(missing_database(database)), "a lock that is not held notes nothing"


def test_a_holder_that_has_not_written_its_pid_yet_is_another_process(tmp_path: Path):
    database = tmp_path / "inbox.db"
    with DatabaseLock(database) as lock:
        lock.path.write_text("")
        with pytest.raises(DatabaseLocked, match="another process") as refused:
            DatabaseLock(database).acquire()
    assert refused.value.pid is None


def test_the_lock_is_not_reentrant_and_releasing_twice_is_harmless(tmp_path: Path):
    lock = DatabaseLock(tmp_path / "inbox.db")
    lock.acquire()
    with pytest.raises(RuntimeError):
        lock.acquire()
    lock.release()
    lock.release()
    lock.acquire()
    lock.release()
