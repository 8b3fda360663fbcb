"""One writing process per database."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from djactors.store.errors import DatabaseLocked
from djactors.store.lock import DatabaseLock

HOLDER = """
import sys, time
from djactors.store.lock import DatabaseLock
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
