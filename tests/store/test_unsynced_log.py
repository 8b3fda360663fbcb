"""What an earlier process has left in the log without a sync is on the disk before anybody reads it."""

import sqlite3
from contextlib import closing
from pathlib import Path
from random import Random
from typing import Any

import pytest

from djactors.store.errors import MigrationError
from djactors.store.sqlite import durable, migrate
from djactors.store.sqlite.connection import SqliteConnection, connect
from djactors.store.sqlite.lock import DatabaseLock
from tests.simulation.disk import NEEDED, OK, Content, Disk, Operation, is_possible
from tests.store.writes import COUNTERS, IMPATIENT, put, stored

pytestmark = pytest.mark.skipif(not is_possible(), reason=NEEDED)

LOSSES = 30
"""Losses of power that are tried: each keeps something else of what was not synced."""


class Machine:
    """Processes on one disk, one after the other. A sync fails with the code that is set."""

    def __init__(self, registered: dict[str, Disk], folder: Path) -> None:
        self.contents: dict[str, Content] = {}
        self.code = OK
        self._registered = registered
        self._folder = folder
        self._lives = 0

    def boot(self) -> Path:
        """The database of the next process."""
        self._lives += 1
        self.disk = Disk(self._folder / str(self._lives), self.contents, self._answer)
        self._registered[str(self.disk.folder)] = self.disk
        return self.disk.folder / "inbox.db"

    def _answer(self, operation: Operation, name: str) -> int:
        return self.code if operation == "sync" else OK

    def kill(self) -> None:
        self.contents = self.disk.killed()

    def pull_the_plug(self, seed: int) -> None:
        self.contents = self.disk.unplugged(Random(seed))


def killed_before_its_sync(machine: Machine) -> None:
    """A server whose last commit is in the log and not on the disk."""
    path = machine.boot()
    migrate.apply(path, COUNTERS)
    with closing(connect(path, "rw", timeout=IMPATIENT)) as connection:
        connection.execute("PRAGMA synchronous = OFF")
        put(connection, "a")
        machine.kill()


def serve(path: Path) -> set[str]:
    """Start as a server does, and say what its clients are told of."""
    with DatabaseLock(path):
        assert migrate.inspect(path, COUNTERS) == []
        migrate.apply(path, COUNTERS)
        with closing(connect(path, "rw", timeout=IMPATIENT)) as connection:
            return stored(connection)


@pytest.mark.parametrize("seed", range(LOSSES))
def test_what_a_start_has_found_outlives_a_loss_of_power(
    registered: dict[str, Disk], tmp_path: Path, seed: int
) -> None:
    machine = Machine(registered, tmp_path)
    killed_before_its_sync(machine)
    assert serve(machine.boot()) == {"a"}
    machine.pull_the_plug(seed)
    assert serve(machine.boot()) == {"a"}


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (
            sqlite3.SQLITE_IOERR,
            "the disk does not take what .*inbox.db-wal holds .*: look at the disk, then start again",
        ),
        (sqlite3.SQLITE_FULL, "the disk does not take what .*inbox.db-wal holds .*: the disk is full: free some space"),
    ],
)
@pytest.mark.parametrize("seed", range(LOSSES))
def test_a_start_whose_sync_fails_serves_nothing_and_the_next_one_does_not_believe_a_sync_alone(
    registered: dict[str, Disk], tmp_path: Path, code: int, said: str, seed: int
) -> None:
    machine = Machine(registered, tmp_path)
    killed_before_its_sync(machine)
    machine.code = code
    with pytest.raises(MigrationError, match=said):
        serve(machine.boot())
    machine.code = OK
    machine.kill()
    assert serve(machine.boot()) == {"a"}
    machine.pull_the_plug(seed)
    assert serve(machine.boot()) == {"a"}


def test_the_log_keeps_its_bytes_and_its_time(path: Path) -> None:
    log = Path(f"{path}-wal")
    with closing(connect(path, "rw", timeout=IMPATIENT)) as connection:
        put(connection, "a")
        held, time = log.read_bytes(), log.stat().st_mtime_ns
        with DatabaseLock(path):
            migrate.apply(path, COUNTERS)
            assert (log.read_bytes(), log.stat().st_mtime_ns) == (held, time)


def test_a_log_to_which_somebody_else_is_writing_is_left_alone(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(migrate, "BUSY_TIMEOUT", IMPATIENT)
    touched: list[object] = []
    monkeypatch.setattr(durable, "write_again", touched.append)
    with closing(connect(path, "rw", timeout=IMPATIENT)) as shell:
        put(shell, "a")
        with DatabaseLock(path):
            shell.execute("BEGIN IMMEDIATE")
            migrate.inspect(path, COUNTERS)
            assert touched == []
            shell.execute("COMMIT")
            migrate.inspect(path, COUNTERS)
            assert len(touched) == 1


@pytest.mark.parametrize(
    ("code", "is_refused"), [(sqlite3.SQLITE_READONLY_DIRECTORY, False), (sqlite3.SQLITE_IOERR_SHMMAP, True)]
)
def test_a_start_goes_on_where_the_log_may_not_be_written_and_not_where_the_disk_fails(
    path: Path, monkeypatch: pytest.MonkeyPatch, code: int, is_refused: bool
) -> None:
    class Failing(SqliteConnection):
        def execute(self, sql: str, parameters: Any = ()) -> sqlite3.Cursor:
            if sql == "BEGIN IMMEDIATE":
                error = sqlite3.OperationalError("it fails")
                error.sqlite_errorcode = code
                raise error
            return super().execute(sql, parameters)

    with closing(connect(path, "rw", timeout=IMPATIENT)) as writing:
        put(writing, "a")
        monkeypatch.setattr(migrate, "connect", lambda place, *_, **__: sqlite3.connect(place, factory=Failing))
        with DatabaseLock(path):
            if is_refused:
                with pytest.raises(MigrationError, match="the disk fails: look at the system's log"):
                    migrate.inspect(path, COUNTERS)
            else:
                assert migrate.inspect(path, COUNTERS) == []
