"""An installation that dice have filled, in which every table has rows, and empty places of both engines."""

from __future__ import annotations

import itertools
import random
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest

from djactors.domain.commands import MarkRead, MarkUnread
from djactors.domain.events import NotificationRequested
from djactors.domain.limits import Limits
from djactors.inbox import schema
from djactors.inbox.recorder import Recorder
from djactors.operations.handing_over import export
from djactors.store.postgresql.conninfo import Conninfo
from tests.engines import open_connection
from tests.inbox.anything import Anything
from tests.inbox.desk import Desk

BATCHES = 150


def fill(desk: Desk, seed: int = 6, batches: int = BATCHES) -> None:
    """Have dice use an installation for some weeks."""
    dice = random.Random(seed)
    desk.recorder = Recorder(lambda: desk.now, Limits(daily_limit=2), node="filler")

    def ids() -> list[int]:
        return [id_ for (id_,) in desk.rows("SELECT id FROM notifications ORDER BY id")]

    anything = Anything(dice, ids)
    for _ in range(batches):
        desk.record(*anything.batch(desk.now))
        desk.now += timedelta(hours=dice.choice((0, 0, 1, 5, 30)))
    told = desk.publish(
        NotificationRequested(tenant_id=1, user_id=1, notification_type="note", priority="CRITICAL", title="Last")
    )
    id_ = told["notifications"][0]["id"]
    desk.record(MarkRead(1, 1, id_), MarkUnread(1, 1, id_))
    # More than a day's limit, so that something is held back.
    for _ in range(4):
        desk.publish(
            NotificationRequested(tenant_id=1, user_id=2, notification_type="note", priority="LOW", title="Many")
        )


@pytest.fixture(scope="session")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file that nobody writes to."""
    path = tmp_path_factory.mktemp("filled") / "inbox.db"
    schema.apply(path)
    with open_connection(path) as connection:
        connection.execute("PRAGMA synchronous = OFF")
        fill(Desk(connection))
    return path


@pytest.fixture
def house(tmp_path: Path, filled: Path) -> Path:
    """The same, of the test's own."""
    path = tmp_path / "house.db"
    with closing(sqlite3.connect(filled)) as source, closing(sqlite3.connect(path)) as target:
        source.backup(target)
        target.execute("PRAGMA journal_mode = WAL")
    return path


@pytest.fixture
def folder(house: Path, tmp_path: Path) -> str:
    """Tenant 1 of the house."""
    export(house, str(tmp_path / "tenant"), 1, lambda _: None)
    return str(tmp_path / "tenant")


@pytest.fixture(params=["sqlite", "postgresql"])
def target(request: pytest.FixtureRequest, tmp_path: Path) -> str | Path:
    """An empty place of each engine."""
    place: str | Path = tmp_path / "target.db"
    if request.param == "postgresql":
        urls: Callable[[], str] = request.getfixturevalue("urls")
        place = urls()
    schema.apply(place)
    return place


@pytest.fixture
def urls(postgres_dsn: str, postgres_url: str) -> Iterator[Callable[[], str]]:
    """Makes URLs of empty schemas."""
    server, _, _ = postgres_url.rpartition("?")
    made = []
    with psycopg.connect(postgres_dsn, autocommit=True) as connection:

        def make() -> str:
            name = f"moving_{next(_NUMBERS)}"
            connection.execute(f"CREATE SCHEMA {name}".encode())
            made.append(name)
            return f"{server}?options=-csearch_path%3D{name}&application_name={name}"

        yield make
        for name in made:
            connection.execute(f"DROP SCHEMA {name} CASCADE".encode())


_NUMBERS = itertools.count(1)


@pytest.fixture
def url(urls: Callable[[], str]) -> str:
    """The URL of an empty schema, whose servers have a name of their own."""
    return urls()


def rows_of(place: str | Path) -> dict[str, list[tuple[object, ...]]]:
    """Everything that is stored, as it is stored."""
    with open_connection(place) as connection:
        if isinstance(place, str):
            names = "SELECT tablename FROM pg_tables WHERE schemaname = current_schema()"
        else:
            names = r"SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite\_%' ESCAPE '\'"
        return {
            name: sorted(connection.execute(f"SELECT * FROM {name}").fetchall(), key=repr)
            for (name,) in connection.execute(names).fetchall()
        }


def text_of(path: Path) -> list[str]:
    """A file as the statements that would make it anew. SQLite has jobs in the order in which they came, and dumps them
    so; a copy has them in the order of their key."""
    with closing(sqlite3.connect(path)) as connection:
        return sorted(connection.iterdump())


def query(url: str, statement: str) -> list[tuple[object, ...]]:
    with psycopg.connect(**Conninfo.of(url).parameters | {"application_name": "test"}, autocommit=True) as connection:
        return connection.execute(statement.encode()).fetchall()
