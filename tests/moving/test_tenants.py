"""A tenant is handed over as JSON, and brought into another database, of either engine, as it was."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from djactors.inbox import schema, tenancy
from djactors.operations.bringing_in import bring_in
from djactors.operations.handing_over import export
from tests.moving.conftest import rows_of


def silent(_: object) -> None:
    """Nobody looks."""


def of_tenant(place: str | Path, tenant_id: int) -> dict[str, list[tuple[object, ...]]]:
    with_id = {part.name: place for part in tenancy.PARTS}
    return {name: rows for name, rows in rows_of(place).items() if name in with_id}


def test_every_table_is_handed_over_or_left_out_for_a_reason(house: Path) -> None:
    parts = {part.name for part in tenancy.PARTS}
    assert parts & tenancy.LEFT_OUT.keys() == set()
    assert parts | tenancy.LEFT_OUT.keys() == rows_of(house).keys()


def test_there_and_back(house: Path, tmp_path: Path) -> None:
    manifest = export(house, str(tmp_path / "one"), 1, silent)
    print(manifest)
    other = tmp_path / "other.db"
    schema.apply(other)
    bring_in(other, str(tmp_path / "one"), silent)
    again = export(other, str(tmp_path / "two"), 1, silent)
    assert again.files == manifest.files
