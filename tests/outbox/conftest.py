"""An application's own database, of each kind, and a server that is in this process."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest

from djactors.outbox import Outbox
from tests.outbox.recording import Server

Connect = Callable[[], Any]


@pytest.fixture(params=["sqlite", "postgresql"])
def engine(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def connect(request: pytest.FixtureRequest, engine: str, tmp_path: Path) -> Iterator[Connect]:
    """Opens a connection to the application's database, as the driver opens it where nothing else is said."""
    opened: list[Any] = []
    if engine == "sqlite":

        def open_one(**options: Any) -> Any:
            opened.append(sqlite3.connect(tmp_path / "app.db", **options))
            return opened[-1]
    else:
        url: str = request.getfixturevalue("postgres_url")

        def open_one(**options: Any) -> Any:
            opened.append(psycopg.connect(url, **options))
            return opened[-1]

    yield open_one
    for connection in opened:
        connection.close()


@pytest.fixture
def outbox(connect: Connect) -> Outbox:
    """An outbox whose table is there, beside a table of the application's."""
    made = Outbox()
    with closing(connect()) as connection:
        made.create(connection)
        connection.execute("CREATE TABLE jobs (id INTEGER PRIMARY KEY)")
        connection.commit()
    return made


@pytest.fixture
def server() -> Server:
    return Server()
