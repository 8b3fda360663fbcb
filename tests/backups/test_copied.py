"""A server hears of what moment the newest copy of its file is, and of none that is a copy of another file."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from djactors.config import Settings
from djactors.operations.backing_up import NotBackedUpError, back_up
from djactors.operations.diagnosis import diagnose
from djactors.operations.restoring import restore
from tests.backups.conftest import AT_ONCE, NOON, Clock, copied_at, copy_of, execute, files, no_report


async def test_the_newest_copy_is_known(house: Path, tmp_path: Path, clock: Clock) -> None:
    assert await copied_at(house) is None
    for _ in range(2):
        made = back_up(house, tmp_path / f"{clock.now:%d}.db", no_report, now=clock, pace=AT_ONCE)
        assert made.unnoted is None
        assert await copied_at(house) == clock.now.timestamp()
        clock.go_on(days=1)
    assert "house.db.copied" in files(house.parent)
    assert "last backup (2026-03-02T12:00:00.000000Z)" in dict(diagnose(Settings(database=str(house))))


def test_a_server_of_another_user_may_read_the_note(house: Path, copied: Path) -> None:
    note = house.with_name("house.db.copied")
    assert note.stat().st_mode & 0o777 == 0o644
    assert (note.stat().st_uid, note.stat().st_gid) == (house.stat().st_uid, house.stat().st_gid)


async def test_by_a_link_the_note_is_beside_the_file(house: Path, tmp_path: Path) -> None:
    link = tmp_path / "link.db"
    link.symlink_to(house)
    copy_of(link, tmp_path / "copy.db")
    assert "link.db.copied" not in files(tmp_path)
    assert await copied_at(house) is not None


async def test_a_note_says_nothing_of_another_installation(house: Path, copied: Path) -> None:
    assert await copied_at(house) is not None
    execute(house, "UPDATE meta SET created_at = '2020-01-01T00:00:00.000000Z'")
    assert await copied_at(house) is None


async def test_a_restore_takes_the_note_away(house: Path, copied: Path) -> None:
    restore(copied, house, no_report)
    assert await copied_at(house) is None


@pytest.mark.parametrize("content", [b"", b"{", b'{"at": "noon"}', bytes(100_000)])
async def test_a_note_that_cannot_be_read_says_nothing(house: Path, copied: Path, content: bytes) -> None:
    house.with_name("house.db.copied").write_bytes(content)
    assert await copied_at(house) is None
    copy_of(house, copied.with_name("another.db"))
    assert await copied_at(house) is not None


def test_a_copy_is_good_where_the_note_cannot_be_written(house: Path, tmp_path: Path) -> None:
    house.with_name("house.db.copied.partial").mkdir()
    made = copy_of(house, tmp_path / "copy.db")
    assert made.unnoted == f"{house}.copied: Is a directory"
    assert made.copy.exists()


async def test_a_copy_that_failed_leaves_the_note_as_it_was(house: Path, copied: Path, tmp_path: Path) -> None:
    before = await copied_at(house)
    execute(house, "UPDATE changes SET mark = mark + 1 WHERE tenant_id = 1")
    with pytest.raises(NotBackedUpError):
        copy_of(house, tmp_path / "another.db")
    assert await copied_at(house) == before


async def test_a_name_that_is_no_text_is_noted(house: Path, tmp_path: Path, clock: Clock) -> None:
    name = os.fsdecode(b"caf\xe9.db")
    made = back_up(house, tmp_path / name, no_report, now=clock, pace=AT_ONCE)
    assert made.unnoted is None
    assert await copied_at(house) == NOON.timestamp()


def test_the_note_is_no_name_for_a_copy(house: Path) -> None:
    with pytest.raises(NotBackedUpError, match="belongs to the database itself"):
        copy_of(house, house.with_name("house.db.copied"))
