"""Row 32, as a whole: an upgrade from every frozen schema that is killed at each write goes on, and nothing is lost."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from djactors.store.migrations import Schema
from djactors.store.sqlite import migrate
from tests.simulation.disk import NEEDED, OK, Content, Disk, Operation, is_possible
from tests.upgrades import older

pytestmark = pytest.mark.skipif(not is_possible(), reason=NEEDED)

FILE = "inbox.db"
WRITES_OF_A_MIGRATION = 10
"""There are more: a header and a page for each frame, and what is moved into the file at the end."""
PLUG_PULLED_EVERY = 4
"""Writes at whose fourth the machine loses its power as well."""


def upgrade(path: Path) -> list[str]:
    return migrate.apply(path, Schema(older.MIGRATIONS), now=lambda: older.AT)


@pytest.mark.parametrize("number", older.OUTDATED)
def test_row_32_killed_at_each_write_of_an_upgrade(registered: dict[str, Disk], tmp_path: Path, number: int) -> None:
    older.make(tmp_path / FILE, number)
    before = older.read(tmp_path / FILE)
    left: list[dict[str, Content]] = []

    def note(operation: Operation, name: str) -> int:
        # A sync changes nothing of what the next process finds.
        if operation != "sync":
            left.append(disk.killed())
        return OK

    disk = Disk(tmp_path / "first", {FILE: Content.of((tmp_path / FILE).read_bytes())}, note)
    registered[str(disk.folder)] = disk
    assert len(upgrade(disk.folder / FILE)) == len(older.MIGRATIONS) - number
    disk.dead = True
    older.require_all(before, disk.folder / FILE)
    assert len(left) > WRITES_OF_A_MIGRATION
    for at, found in enumerate(left):
        go_on(registered, tmp_path / f"killed {at}", found, before)
        if at % PLUG_PULLED_EVERY == 0:
            torn = {name: Content.of(content.after_power_loss(Random(at))) for name, content in sorted(found.items())}
            go_on(registered, tmp_path / f"unplugged {at}", torn, before)


def go_on(registered: dict[str, Disk], folder: Path, found: dict[str, Content], before: older.Rows) -> None:
    again = Disk(folder, found, lambda *_: OK)
    registered[str(folder)] = again
    upgrade(folder / FILE)
    older.require_all(before, folder / FILE)
