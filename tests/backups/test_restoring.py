"""A copy takes the place of a database, and what is lost by that is said before it goes."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from djactors.domain.commands import SignOut
from djactors.domain.reserved import PROBE_TENANT
from djactors.inbox import schema
from djactors.operations.backing_up import NotBackedUpError
from djactors.operations.restoring import NewerError, NotRestoredError, Restored, lines_of, restore
from djactors.store.errors import DatabaseLocked, MigrationError, StoreDamaged, StoreError
from djactors.store.sqlite import copying
from djactors.store.sqlite.lock import DatabaseLock, missing_database
from tests.backups.conftest import (
    NOON,
    ONE_CHANGE,
    Clock,
    copy_of,
    execute,
    files,
    no_report,
    old_schema,
    probe,
    purge,
    tell,
)
from tests.engines import open_connection
from tests.inbox.desk import Desk
from tests.moving.conftest import text_of
from tests.operations.commands import run

REPLACED = "house.db.replaced-20260301T120000Z"
LATER = "2026-03-01T12:00:00.000000Z"


def put(copy: Path, house: Path, *, over_newer: bool = False) -> Restored:
    return restore(copy, house, no_report, over_newer=over_newer, now=lambda: NOON)


def test_the_copy_takes_the_place_and_the_old_file_stays(house: Path, copied: Path) -> None:
    before = text_of(house)
    tell(house, "lost")
    lost = text_of(house)
    done = put(copied, house, over_newer=True)
    assert text_of(house) == before
    assert done.replaced == house.with_name(REPLACED)
    assert text_of(done.replaced) == lost
    assert files(house.parent) == ["house.db", "house.db.lock", REPLACED]
    assert house.stat().st_mode & 0o777 == 0o600
    with closing(sqlite3.connect(house)) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    # It is the one that the next start expects.
    assert schema.apply(house) == []
    assert copied.exists()


def test_what_would_be_lost_is_said_and_nothing_is_done(house: Path, copied: Path) -> None:
    for number in range(3):
        tell(house, f"lost {number}")
    tell(house, "lost, too", tenant_id=77)
    before = text_of(house)
    with pytest.raises(NewerError, match=r"has what .* lacks, so it was left as it is") as refused:
        put(copied, house)
    said = lines_of(refused.value.difference)
    name = refused.value.difference.losses[0].name
    assert said == [
        f"tenant 1 ({name}): 3 changes, 3 notifications, from {LATER} to {LATER}",
        f"tenant 77 (Tenant 77): 1 change, 1 notification, from {LATER} to {LATER}",
    ]
    assert text_of(house) == before
    assert files(house.parent) == ["house.db", "house.db.copied", "house.db.lock"]


def test_what_a_probe_leaves_is_no_loss_and_is_shown_nowhere(house: Path, tmp_path: Path) -> None:
    without = copy_of(house, tmp_path / "without.db")
    probe(house)
    made = copy_of(house, tmp_path / "copy.db")
    assert (made.tenants, made.changes) == (without.tenants, without.changes)
    probe(house)
    for copy in (made.copy, without.copy):
        result = run("restore", str(copy), "--database", str(house))
        assert result.exit_code == 0, result.output
        assert "lost" not in result.stdout
        assert str(PROBE_TENANT) not in result.output
        assert f"{without.tenants} tenants, {without.changes} changes" in result.stdout
        probe(house)
    tell(house, "lost")
    with pytest.raises(NewerError) as refused:
        put(made.copy, house)
    assert [loss.tenant_id for loss in refused.value.difference.losses] == [1]


def test_many_tenants_are_summed_up_and_no_name_reaches_the_terminal_raw(house: Path, copied: Path) -> None:
    for tenant_id in range(100, 130):
        tell(house, "lost", tenant_id=tenant_id)
    with closing(sqlite3.connect(house)) as connection:
        connection.execute("UPDATE tenants SET name = char(27) || '[2J' WHERE id = 100")
        connection.commit()
    lines = lines_of(put(copied, house, over_newer=True).difference, most=3)
    assert len(lines) == 4
    assert lines[0].startswith(r"tenant 100 ('\x1b[2J'): 1 change")
    assert lines[-1] == "27 more tenants: 27 changes"


def test_a_sign_out_that_is_undone_is_said(house: Path, copied: Path) -> None:
    with open_connection(house) as connection:
        desk = Desk(connection)
        desk.now = NOON
        desk.do(SignOut(1, 1))
    with pytest.raises(NewerError) as refused:
        put(copied, house)
    [line] = lines_of(refused.value.difference)
    assert line == "1 sign-out or deactivation: these people are let in again, so repeat that"


def test_an_erasure_that_is_undone_is_said_with_the_command_that_repeats_it(house: Path, copied: Path) -> None:
    erase(house, 1, 2)
    refused = run("restore", str(copied), "--database", str(house))
    assert refused.exit_code == 1
    line = "1 erasure: this person is back with all that was erased, so run `djactors erase --tenant 1 --user 2` again"
    assert f"  {line}" in refused.stdout.splitlines()
    done = run("restore", str(copied), "--database", str(house), "--over-newer")
    assert f"  {line}" in done.stdout.splitlines()
    # The erasure has ended the person's tokens as well, which needs no second word.
    assert "sign-out" not in done.stdout


def test_many_erasures_are_all_named(house: Path, copied: Path) -> None:
    people = [(1, 2), (1, 3), (2, 1)]
    for tenant_id, user_id in people:
        erase(house, tenant_id, user_id)
    difference = put(copied, house, over_newer=True).difference
    assert difference.erased == tuple(people)
    assert lines_of(difference)[-1] == (
        "3 erasures: these people are back with all that was erased, so run `djactors erase` again for each: "
        "users 2, 3 of tenant 1; user 1 of tenant 2"
    )


def test_whoever_was_erased_before_the_copy_stays_erased(house: Path, tmp_path: Path) -> None:
    erase(house, 1, 2)
    copy = copy_of(house, tmp_path / "copy.db").copy
    assert put(copy, house).difference.erased == ()
    # Whoever is erased once more, by another name, may be in the copy by that name.
    erase(house, 1, 2, "--also-called", "Bo")
    assert put(copy, house, over_newer=True).difference.erased == ((1, 2),)


def test_whoever_came_after_the_copy_and_was_erased_is_not_back(house: Path, copied: Path) -> None:
    tell(house, "welcome", user_id=4711)
    erase(house, 1, 4711)
    difference = put(copied, house, over_newer=True).difference
    assert (difference.erased, difference.reopened) == ((), 1)


def erase(house: Path, tenant_id: int, user_id: int, *more: str) -> None:
    whose = ("--tenant", str(tenant_id), "--user", str(user_id))
    done = run("erase", *whose, *more, "--no-overwrite", "--yes", "--database", str(house))
    assert done.exit_code == 0, done.output


def test_a_copy_as_new_as_the_database_needs_no_word(house: Path, copied: Path) -> None:
    done = put(copied, house)
    assert lines_of(done.difference) == []
    assert put(copied, house).replaced == house.with_name(f"{REPLACED}-2")


def test_a_copy_that_is_newer_loses_nothing(house: Path, copied: Path, tmp_path: Path) -> None:
    tell(house, "newer")
    newer = copy_of(house, tmp_path / "newer.db").copy
    put(copied, house, over_newer=True)
    assert lines_of(put(newer, house).difference) == []


def test_where_the_two_have_parted_only_what_came_later_is_lost(house: Path, copied: Path, tmp_path: Path) -> None:
    tell(house, "one way")
    one = copy_of(house, tmp_path / "one.db").copy
    put(copied, house, over_newer=True)
    for number in range(4):
        tell(house, f"the other way {number}")
    with pytest.raises(NewerError) as refused:
        put(one, house)
    assert [loss.changes for loss in refused.value.difference.losses] == [4]


def test_of_a_log_that_was_purged_beyond_the_copy_the_rest_is_lost(house: Path, copied: Path) -> None:
    tell(house, "purged")
    tell(house, "lost")
    purge(house, keep=1)
    with pytest.raises(NewerError) as refused:
        put(copied, house)
    [loss] = refused.value.difference.losses
    assert (loss.changes, loss.notifications) == (2, 1)


def test_of_a_log_that_ends_before_the_copy_s_begins_all_may_be_lost(house: Path, copied: Path, tmp_path: Path) -> None:
    tell(house, "purged")
    tell(house, "kept")
    purge(house, keep=1)
    later = copy_of(house, tmp_path / "later.db").copy
    put(copied, house, over_newer=True)
    with pytest.raises(NewerError) as refused:
        put(later, house)
    [loss] = refused.value.difference.losses
    assert loss.changes > 0
    # Of an installation in which nothing has happened yet, nothing can be.
    empty = tmp_path / "empty.db"
    assert run("migrate", "--database", str(empty)).exit_code == 0
    assert lines_of(put(later, empty).difference) == []


def test_never_where_a_server_runs(house: Path, copied: Path) -> None:
    with DatabaseLock(house), pytest.raises(DatabaseLocked, match=f"is in use by process {os.getpid()}"):
        put(copied, house, over_newer=True)
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(house)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        # Not by another name either, nor after the file of the lock was removed.
        other = house.with_name("other.db")
        os.link(house, other)
        house.with_name("house.db.lock").unlink()
        for path in (house, other):
            with pytest.raises(DatabaseLocked):
                put(copied, path, over_newer=True)
        holder.kill()


HOLD = """
import sys
from djactors.store.sqlite.lock import DatabaseLock
with DatabaseLock(sys.argv[1]):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_database_that_is_gone_is_restored_and_what_its_log_held_stays(house: Path, copied: Path) -> None:
    with closing(sqlite3.connect(house)) as connection:
        connection.execute("UPDATE users SET name = 'only in the log'")
        connection.commit()
        with DatabaseLock(house):
            pass
        log = house.with_name("house.db-wal")
        kept = log.read_bytes()
        house.unlink()
    log.write_bytes(kept)
    done = put(copied, house)
    assert lines_of(done.difference) == [
        "what is lost cannot be told: the database is gone",
        "whoever was erased since the copy is back: run `djactors erase` again for each of the receipts",
    ]
    assert house.with_name(f"{REPLACED}-wal").read_bytes() == kept
    assert text_of(house) == text_of(copied)
    assert schema.apply(house) == []


def test_on_a_new_machine_there_is_nothing_to_lose(copied: Path, tmp_path: Path) -> None:
    folder = tmp_path / "new"
    folder.mkdir()
    done = put(copied, folder / "house.db")
    assert (done.replaced, lines_of(done.difference)) == (None, [])
    assert files(folder) == ["house.db", "house.db.lock"]
    assert text_of(folder / "house.db") == text_of(copied)


@pytest.mark.parametrize("state", ["text", "cut", "no page one", "empty", "never used"])
def test_what_cannot_be_read_is_replaced(house: Path, copied: Path, state: str) -> None:
    match state:
        case "text":
            house.write_text("Dear diary, " * 1000)
        case "cut":
            os.truncate(house, 5000)
        case "no page one":
            with house.open("r+b") as file:
                file.write(b"\0" * 4096)
        case "empty":
            with DatabaseLock(house):
                pass
            os.truncate(house, 0)
        case "never used":
            os.truncate(house, 0)
    content = house.read_bytes()
    if state in ("text", "cut", "no page one"):
        # Something may be in it that the copy lacks.
        with pytest.raises(NewerError, match=r"cannot be told .* so it was left as it is: .* say --over-newer"):
            put(copied, house)
        assert house.read_bytes() == content
        done = put(copied, house, over_newer=True)
    else:
        done = put(copied, house)
    lines = lines_of(done.difference)
    assert lines == [] if state == "never used" else lines[0].startswith("what is lost cannot be told: ")
    assert done.replaced is not None
    assert done.replaced.read_bytes() == content
    assert text_of(house) == text_of(copied)


def test_a_database_that_a_shell_holds_is_left_alone(
    house: Path, copied: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copying, "BUSY_TIMEOUT", 0.0)
    with closing(sqlite3.connect(house, isolation_level=None)) as shell:
        shell.execute("PRAGMA locking_mode = EXCLUSIVE")
        shell.execute("BEGIN EXCLUSIVE")
        with pytest.raises(NotRestoredError, match="is held by another program"):
            put(copied, house, over_newer=True)


def test_the_database_of_another_program_is_left_alone(copied: Path, tmp_path: Path) -> None:
    songs = tmp_path / "songs.db"
    with closing(sqlite3.connect(songs)) as connection:
        connection.execute("CREATE TABLE songs (id INTEGER PRIMARY KEY)")
    content = songs.read_bytes()
    with pytest.raises(NotRestoredError, match="of another program"):
        put(copied, songs, over_newer=True)
    assert songs.read_bytes() == content


@pytest.mark.parametrize("way", ["cut", "page", "text", "other", "mark", "newer", "empty"])
def test_a_copy_that_is_not_right_changes_nothing(house: Path, copied: Path, way: str) -> None:
    match way:
        case "cut":
            os.truncate(copied, copied.stat().st_size // 2 // 4096 * 4096)
        case "page":
            with copied.open("r+b") as file:
                file.seek(copied.stat().st_size // 2 // 4096 * 4096)
                file.write(b"\xde\xad" * 2048)
        case "text":
            copied.write_text("Dear diary, " * 1000)
        case "empty":
            os.truncate(copied, 0)
        case "other":
            copied.unlink()
            execute(copied, "CREATE TABLE songs (id INTEGER PRIMARY KEY)")
        case "mark":
            execute(
                copied,
                f"UPDATE changes SET mark = mark + 1 WHERE {ONE_CHANGE}",
            )
        case "newer":
            execute(copied, "INSERT INTO schema_migrations VALUES ('9999_later.sql', 'x', '2026')")
    before = text_of(house)
    with pytest.raises((NotBackedUpError, MigrationError, StoreDamaged, NewerError)) as refused:
        put(copied, house)
    assert str(copied) in str(refused.value)
    assert text_of(house) == before
    assert files(house.parent) == ["house.db", "house.db.copied", "house.db.lock"]


def test_a_copy_of_an_older_version_is_restored_and_brought_up_to_date_by_the_next_start(
    house: Path, tmp_path: Path
) -> None:
    old = tmp_path / "old.db"
    old_schema(old, applied=2)
    done = put(old, house, over_newer=True)
    assert done.behind == tuple(schema.names()[2:])
    assert schema.apply(house) == list(done.behind)


def test_a_copy_by_cp_is_restored_with_the_log_beside_it(house: Path, tmp_path: Path) -> None:
    with closing(sqlite3.connect(house)) as connection:
        connection.execute("UPDATE users SET name = 'only in the log'")
        connection.commit()
        for ending in ("", "-wal"):
            shutil.copy(f"{house}{ending}", tmp_path / f"cp.db{ending}")
    put(tmp_path / "cp.db", house)
    with closing(sqlite3.connect(house)) as connection:
        assert connection.execute("SELECT DISTINCT name FROM users").fetchall() == [("only in the log",)]


def test_a_copy_by_cp_on_a_medium_that_is_read_only_is_restored(
    house: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(sqlite3.connect(house)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    folder = tmp_path / "medium"
    folder.mkdir()
    shutil.copy(house, folder / "cp.db")
    monkeypatch.setattr(os, "access", lambda path, _: path != folder)
    put(folder / "cp.db", house)
    assert files(folder) == ["cp.db"]


def test_what_is_no_copy_is_refused(house: Path, copied: Path, tmp_path: Path) -> None:
    link = tmp_path / "link.db"
    link.symlink_to(house)
    for copy, reason in {
        house: "is the database itself",
        link: "is the database itself",
        tmp_path / "missing.db": "is not there, or no file",
        tmp_path: r"is a folder: .*its newest copy by name is link\.db",
        house.parent.with_name("nothing"): "is not there",
    }.items():
        with pytest.raises(NotRestoredError, match=reason):
            put(copy, house, over_newer=True)


class _Killed(BaseException):
    """Nothing that the program could catch."""


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Counts what changes names, and "kills" the process at the call whose number is the first item."""
    at = [-1, 0]

    def counted(real: object) -> object:
        def call(*arguments: object, **options: object) -> object:
            if at[0] == 0:
                raise _Killed
            at[0] -= 1
            at[1] += 1
            return real(*arguments, **options)  # type: ignore[operator]

        return call

    for name in ("link", "unlink", "rename"):
        monkeypatch.setattr(os, name, counted(getattr(os, name)))
    return at


def test_killed_at_any_change_of_a_name_nothing_is_lost_and_it_can_be_run_again(
    house: Path, copied: Path, tmp_path: Path, calls: list[int]
) -> None:
    """What is left is the old database, whole, or the new one, or one that a start misses."""
    with closing(sqlite3.connect(house)) as connection:
        connection.execute("UPDATE users SET name = 'only in the log'")
        connection.commit()
        for ending in ("", "-wal"):
            shutil.copy(f"{house}{ending}", tmp_path / f"killed.db{ending}")
    old, new = text_of(house), text_of(copied)
    seen = set()
    for number in range(100):
        folder = tmp_path / f"run {number}"
        folder.mkdir()
        path = folder / "house.db"
        for ending in ("", "-wal"):
            shutil.copy(tmp_path / f"killed.db{ending}", f"{path}{ending}")
        calls[0] = number
        try:
            put(copied, path, over_newer=True)
        except _Killed:
            calls[0] = -1
        else:
            calls[0] = -1
            break
        if missing_database(path) is None:
            text = _without_touching(path)
            assert text in (old, new)
            seen.add("old" if text == old else "new")
        else:
            with pytest.raises(MigrationError, match="is gone"):
                schema.apply(path)
            seen.add("gone")
            [replaced] = [each for each in folder.iterdir() if each.name == REPLACED]
            assert text_of(replaced) == old
        put(copied, path, over_newer=True)
        assert text_of(path) == new
    assert seen == {"old", "gone"}
    assert number > 5


def _without_touching(path: Path) -> list[str]:
    """A database as text, read from copies of its files, so that these stay as they are."""
    folder = path.parent / "look"
    folder.mkdir()
    for ending in ("", "-wal"):
        if os.path.exists(f"{path}{ending}"):
            shutil.copy(f"{path}{ending}", f"{folder / path.name}{ending}")
    return text_of(folder / path.name)


def test_without_links_the_files_are_renamed(
    house: Path, copied: Path, monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    before = text_of(house)
    done = put(copied, house)
    assert done.replaced is not None
    assert text_of(done.replaced) == before


def test_where_nothing_may_be_written_it_says_so(copied: Path) -> None:
    with pytest.raises((StoreError, OSError)) as refused:
        put(copied, Path("/proc/house.db"))
    assert "/proc" in str(refused.value)
