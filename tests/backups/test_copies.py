"""A copy is of one moment, whole, checked and on its owner's account; or it is not there."""

from __future__ import annotations

import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from djactors.domain.reserved import PROBE_TENANT
from djactors.inbox import schema
from djactors.operations.backing_up import Checking, Copying, NotBackedUpError, back_up
from djactors.store.errors import MigrationError, StoreDamaged, StoreError, StoreUnavailable
from djactors.store.sqlite import copying
from djactors.store.sqlite.copying import Pace
from djactors.store.sqlite.lock import DatabaseLock
from tests.backups.conftest import (
    AT_ONCE,
    ONE_CHANGE,
    Clock,
    copy_of,
    execute,
    files,
    no_report,
    old_schema,
    purge,
    tell,
)
from tests.moving.conftest import rows_of, text_of

OTHERS = "CREATE TABLE songs (id INTEGER PRIMARY KEY)"


def test_a_copy_has_all_that_was_there_and_stands_alone(house: Path, tmp_path: Path) -> None:
    steps: list[object] = []
    made = copy_of(house, tmp_path / "copy.db", steps.append)
    assert text_of(made.copy) == text_of(house)
    assert files(tmp_path) == ["copy.db", "var"]
    assert made.copy.stat().st_mode & 0o777 == 0o600
    assert made.size == made.copy.stat().st_size
    owners = [tenant_id for tenant_id, *_ in rows_of(house)["changes"] if tenant_id != PROBE_TENANT]
    assert (made.tenants, made.changes, made.behind) == (2, len(owners), ())
    assert [type(step) for step in steps] == sorted([type(step) for step in steps], key=[Copying, Checking].index)
    assert "(100 %)" in str(steps[-1])
    with closing(sqlite3.connect(made.copy)) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("delete",)
        assert connection.execute("PRAGMA auto_vacuum").fetchone() == (2,)


def test_what_only_the_log_has_is_in_the_copy_and_stays_in_the_log(house: Path, tmp_path: Path) -> None:
    killed = tmp_path / "killed"
    with closing(sqlite3.connect(house)) as connection:
        connection.execute("UPDATE users SET name = 'only in the log'")
        connection.commit()
        shutil.copytree(house.parent, killed)
    (killed / "house.db-shm").unlink()
    before = (killed / "house.db-wal").read_bytes()
    made = copy_of(killed / "house.db", tmp_path / "copy.db")
    assert {row[2] for row in rows_of(made.copy)["users"]} == {"only in the log"}
    assert (killed / "house.db-wal").read_bytes() == before


def test_a_copy_is_of_one_moment_and_keeps_nobody_from_writing(house: Path, tmp_path: Path) -> None:
    before = text_of(house)
    steps = 0
    with closing(sqlite3.connect(house, timeout=0, isolation_level=None)) as writer:

        def write(_: object) -> None:
            nonlocal steps
            steps += 1
            writer.execute("UPDATE users SET name = ?", (f"written beside {steps}",))
            writer.execute("PRAGMA wal_checkpoint(PASSIVE)")

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(copying, "PAGES_OF_A_STEP", 4)
            made = copy_of(house, tmp_path / "copy.db", write)
    assert steps > 10
    assert text_of(made.copy) == before
    assert f"written beside {steps}" in "".join(text_of(house))


def test_the_holder_of_the_lock_may_copy(house: Path, tmp_path: Path) -> None:
    with DatabaseLock(house) as lock:
        copy_of(house, tmp_path / "copy.db")
        assert lock.held
        with pytest.raises(StoreError):
            DatabaseLock(house).acquire()


def test_it_pauses_in_proportion_to_its_work_until_the_log_is_large(
    house: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    now = [0.0]

    def monotonic() -> float:
        now[0] += 0.125
        return now[0]

    monkeypatch.setattr(copying, "PAGES_OF_A_STEP", 16)
    pace = Pace(rests=2, sleep=pauses.append, monotonic=monotonic)
    back_up(house, tmp_path / "one.db", no_report, pace=pace)
    assert len(pauses) > 3
    assert set(pauses) == {0.25}
    pauses.clear()
    monkeypatch.setattr(copying, "HURRIED_LOG", -1)
    back_up(house, tmp_path / "two.db", no_report, pace=pace)
    assert pauses == []


def test_it_is_given_up_where_the_log_grows_too_large(
    house: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copying, "LARGEST_LOG", -1)
    with pytest.raises(StoreUnavailable, match=r"house\.db-wal has grown by .* copy it when less is written"):
        copy_of(house, tmp_path / "copy.db")
    assert files(tmp_path) == ["var"]


@pytest.mark.parametrize("kind", [Copying, Checking])
def test_interrupted_it_leaves_nothing_and_can_be_run_again(house: Path, tmp_path: Path, kind: type) -> None:
    def interrupt(step: object) -> None:
        if isinstance(step, kind):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        copy_of(house, tmp_path / "copy.db", interrupt)
    assert files(tmp_path) == ["var"]
    copy_of(house, tmp_path / "copy.db")


def test_what_a_killed_command_left_is_written_anew(house: Path, tmp_path: Path) -> None:
    (tmp_path / "copy.db.partial").write_bytes(b"half of it" * 100_000)
    (tmp_path / "copy.db.partial").chmod(0o644)
    (tmp_path / "copy.db.partial-journal").write_bytes(b"half of it")
    made = copy_of(house, tmp_path / "copy.db")
    assert text_of(made.copy) == text_of(house)
    assert made.copy.stat().st_mode & 0o777 == 0o600
    assert files(tmp_path) == ["copy.db", "var"]


def test_two_at_a_time_do_not_meet(house: Path, tmp_path: Path) -> None:
    refusals = []

    def second(_: object) -> None:
        with pytest.raises(StoreUnavailable, match="is being written by another process") as refused:
            copy_of(house, tmp_path / "copy.db")
        refusals.append(refused.value)

    copy_of(house, tmp_path / "copy.db", second)
    assert refusals
    assert text_of(tmp_path / "copy.db") == text_of(house)


def test_a_folder_keeps_the_newest_and_no_file_of_others(house: Path, tmp_path: Path, clock: Clock) -> None:
    folder = tmp_path / "copies"
    folder.mkdir()
    others = [
        *("house-20260101T000000Z.db.txt", "house.db", "other-20260101T000000Z.db", "house-20260101T000000Z.db"),
        *("house-20260102T000000Z.db", "house-20260103T000000Z.db"),
    ]
    for name in others[:-2]:
        (folder / name).write_text("not a copy of this database")
    (folder / others[-2]).mkdir()
    # Another installation whose database has the same name.
    schema.apply(folder / others[-1])
    execute(folder / others[-1], "PRAGMA journal_mode = DELETE")
    removed: list[str] = []
    for _ in range(4):
        made = back_up(house, folder, no_report, keep=3, now=clock, pace=AT_ONCE)
        removed += [path.name for path in made.removed]
        clock.go_on(days=1)
    names = [f"house-2026030{day}T120000Z.db" for day in (1, 2, 3, 4)]
    assert files(folder) == sorted([*others, *names[1:]])
    assert removed == names[:1]


def test_a_clock_that_was_set_back_removes_no_copy_that_was_just_made(
    house: Path, tmp_path: Path, clock: Clock
) -> None:
    for days in (0, 1, -30):
        clock.go_on(days=days)
        made = back_up(house, tmp_path, no_report, keep=1, now=clock, pace=AT_ONCE)
        assert files(tmp_path) == sorted([made.copy.name, "var"])


def test_a_copy_that_fails_removes_no_older_one(house: Path, tmp_path: Path, clock: Clock) -> None:
    back_up(house, tmp_path, no_report, keep=1, now=clock, pace=AT_ONCE)
    before = files(tmp_path)
    clock.go_on(days=1)
    execute(house, "UPDATE changes SET data = '{}' WHERE data IS NOT NULL")
    with pytest.raises(NotBackedUpError, match=r"the log in .* is damaged: change .* is not as it was written"):
        back_up(house, tmp_path, no_report, keep=1, now=clock, pace=AT_ONCE)
    assert files(tmp_path) == before


def test_nothing_is_written_over(house: Path, tmp_path: Path, clock: Clock) -> None:
    link = tmp_path / "link.db"
    link.symlink_to(tmp_path / "nowhere.db")
    (tmp_path / "there.db").write_text("mine")
    back_up(house, tmp_path, no_report, now=clock, pace=AT_ONCE)
    for ending in copying.COMPANIONS:
        Path(f"{house}{ending}").unlink(missing_ok=True)
    for to, reason in {
        tmp_path / "there.db": "exists already: name a new file, or a folder",
        link: "exists already",
        tmp_path: "exists already",
        house: "is the database itself",
        Path(f"{house}-wal"): "belongs to the database itself",
        Path(f"{house}.lock"): "belongs to the database itself",
        tmp_path / "no folder" / "copy.db": "is not there: make the folder",
    }.items():
        with pytest.raises(NotBackedUpError, match=reason):
            back_up(house, to, no_report, now=clock, pace=AT_ONCE)
    with pytest.raises(NotBackedUpError, match=r"--keep: .* is no folder"):
        back_up(house, tmp_path / "new.db", no_report, keep=3)
    os.link(house, tmp_path / "hard link.db")
    with pytest.raises(NotBackedUpError, match="is the database itself"):
        copy_of(house, tmp_path / "hard link.db")
    assert (tmp_path / "there.db").read_text() == "mine"
    assert not (tmp_path / "nowhere.db").exists()


def test_a_link_in_the_way_of_the_part_is_not_followed(house: Path, tmp_path: Path) -> None:
    (tmp_path / "victim").write_text("mine")
    (tmp_path / "copy.db.partial").symlink_to(tmp_path / "victim")
    with pytest.raises(StoreUnavailable, match=r"copy\.db\.partial"):
        copy_of(house, tmp_path / "copy.db")
    assert (tmp_path / "victim").read_text() == "mine"


def test_an_older_schema_is_copied_and_named(tmp_path: Path) -> None:
    old = tmp_path / "old.db"
    old_schema(old, applied=2)
    made = copy_of(old, tmp_path / "copy.db")
    assert made.behind == tuple(schema.names()[2:])
    assert schema.inspect(made.copy) == list(made.behind)


def test_what_is_no_installation_is_refused_before_it_is_copied(house: Path, tmp_path: Path) -> None:
    text, others, empty, newer = (tmp_path / name for name in ("text.db", "others.db", "empty.db", "newer.db"))
    text.write_text("Dear diary, " * 1000)
    execute(others, OTHERS)
    empty.touch()
    shutil.copy(house, newer)
    execute(newer, "INSERT INTO schema_migrations VALUES ('9999_later.sql', 'x', '2026-01-01T00:00:00.000000Z')")
    before = files(tmp_path)
    for path, kind, reason in (
        (text, StoreDamaged, "is damaged, or no database"),
        (others, MigrationError, "of another program"),
        (empty, NotBackedUpError, "holds no installation"),
        (newer, MigrationError, "newer than this program"),
        (tmp_path / "missing.db", NotBackedUpError, "is not there"),
        (tmp_path, NotBackedUpError, "is not there"),
    ):
        with pytest.raises(kind, match=reason):
            copy_of(path, tmp_path / "copy.db")
    assert [name for name in files(tmp_path) if not name.endswith(("-wal", "-shm"))] == before


@pytest.mark.parametrize("harm", ["a page", "cut", "cut in a page"])
def test_a_damaged_database_gives_no_copy_that_passes_for_one(house: Path, tmp_path: Path, harm: str) -> None:
    size = house.stat().st_size
    with house.open("r+b") as file:
        if harm == "a page":
            file.seek(size // 2 // 4096 * 4096)
            file.write(b"\xde\xad" * 2048)
        else:
            file.truncate(size // 2 // 4096 * 4096 + (100 if harm == "cut in a page" else 0))
    with pytest.raises((NotBackedUpError, StoreDamaged), match="damaged"):
        copy_of(house, tmp_path / "copy.db")
    assert files(tmp_path) == ["var"]


@pytest.mark.parametrize(
    "harm",
    [
        f"UPDATE changes SET mark = mark + 1 WHERE {ONE_CHANGE}",
        f"DELETE FROM changes WHERE {ONE_CHANGE}",
        f"UPDATE changes SET kind = 'sung' WHERE {ONE_CHANGE}",
        "UPDATE notifications SET title = 'Another' WHERE id = (SELECT max(notification_id) FROM changes)",
        "DELETE FROM notifications WHERE id = (SELECT max(notification_id) FROM changes)",
        "UPDATE tenants SET oldest_mark = 7 WHERE id = 1",
        "DELETE FROM tenants WHERE id = 1",
    ],
)
def test_a_log_that_somebody_has_changed_gives_no_copy(house: Path, tmp_path: Path, harm: str) -> None:
    execute(house, harm)
    with pytest.raises(NotBackedUpError, match=r"the log in .* is damaged|point nowhere"):
        copy_of(house, tmp_path / "copy.db")
    assert files(tmp_path) == ["var"]


def test_a_log_whose_beginning_was_purged_is_proved(house: Path, tmp_path: Path) -> None:
    purge(house, keep=9)
    copy_of(house, tmp_path / "copy.db")


def test_what_is_written_between_two_copies_is_in_the_later_one(house: Path, tmp_path: Path) -> None:
    one = copy_of(house, tmp_path / "one.db")
    tell(house, "between")
    two = copy_of(house, tmp_path / "two.db")
    assert two.changes == one.changes + 1


@pytest.mark.parametrize("room", ["none", "too little for the server"])
def test_without_room_nothing_is_begun(house: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: str) -> None:
    free = 1000 if room == "none" else house.stat().st_size + 1_000_000
    monkeypatch.setattr(shutil, "disk_usage", lambda _: _Usage(free))
    with pytest.raises(NotBackedUpError, match=r"are free, and the copy needs .* free some space"):
        copy_of(house, tmp_path / "copy.db")
    assert files(tmp_path) == ["var"]


class _Usage:
    def __init__(self, free: int) -> None:
        self.free = free
