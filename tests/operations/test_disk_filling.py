"""`djactors check` finds whatever a server with the same settings warns of: a disk or a limit that fills up."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest

from djactors.domain.room import left, outlook
from djactors.domain.times import utc_text
from djactors.inbox import room, schema
from djactors.operations import diagnosis
from djactors.store.engines import engine_at, is_url
from tests.operations.commands import findings, run

NAME = "disk growth"
MIB = 2**20

Note = Callable[[int], None]


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, own_folder: Path) -> str:
    """An installation on either engine."""
    where = "new.db" if request.param == "sqlite" else str(request.getfixturevalue("postgres_url"))
    schema.apply(where)
    return where


def note(place: str, size: int) -> None:
    """Have it noted that the database had this size three days ago."""
    at = utc_text(datetime.now(UTC) - timedelta(days=3))
    insert = f"INSERT INTO database_sizes (day, noted_at, bytes) VALUES ('{at[:10]}', '{at}', {size})"
    if is_url(place):
        with psycopg.connect(place) as connection:
            connection.execute(insert.encode())
    else:
        with closing(sqlite3.connect(place)) as file, file:
            file.execute(insert)


def concern(place: str, limit: int) -> str | None:
    """What a server warns of."""
    engine = engine_at(place)
    with engine.reading() as connection:
        there, (sizes, _) = engine.room(connection), room.record(connection)
    return outlook(sizes, there.filled, left(there.taken, there.free, limit), datetime.now(UTC)).concern


def found(place: str, limit: int) -> dict[str, str]:
    done = run("check", "--database", place, environment={"DJACTORS_DATABASE_LIMIT": str(limit)})
    # The PostgreSQL server of the tests keeps nothing over a power failure.
    return {what: why for what, why in findings(done).items() if what != "durability"}


@pytest.mark.parametrize("size", [None, 0, 10**12], ids=["growth unknown", "grows", "shrinks"])
@pytest.mark.parametrize("limit", [0, 1, 100_000, MIB, 150 * MIB, 2**50])
def test_check_finds_what_the_server_warns_of(place: str, limit: int, size: int | None) -> None:
    if size is not None:
        note(place, size)
    warning, finding = concern(place, limit), found(place, limit)
    assert list(finding) == ([] if warning is None else [NAME])
    if warning is not None:
        assert finding[NAME].startswith(f"{warning}: ")
        assert "of DJACTORS_DATABASE_LIMIT are left: raise it if the disk or the plan allows more" in finding[NAME]
        assert ("it grew by" in finding[NAME]) is (size == 0)
    assert (warning is None) is (limit in (0, 2**50))


def test_a_limit_that_is_used_up_leaves_nothing(place: str) -> None:
    assert "is nearly full: 0 KiB of DJACTORS_DATABASE_LIMIT are left: " in found(place, 100_000)[NAME]


def test_a_disk_that_is_nearly_full_is_one_finding(own_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    schema.apply("new.db")
    monkeypatch.setattr(diagnosis.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 100 * MIB})())
    assert list(found("new.db", 0)) == ["free space"]
    assert list(found("new.db", 50 * MIB)) == ["free space", NAME]
