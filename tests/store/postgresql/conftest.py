"""Connections and servants to a migrated database."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing

import psycopg
import pytest

from djactors.store.postgresql.connection import PostgresConnection
from djactors.store.postgresql.conninfo import Conninfo
from djactors.store.postgresql.servants import Reader, Writer
from djactors.store.postgresql.session import connect


@pytest.fixture
def connection(url: str) -> Iterator[PostgresConnection]:
    """A connection at the beginning of a transaction."""
    with closing(connect(Conninfo.of(url))) as connection:
        connection.begin("BEGIN")
        yield connection
        connection.roll_back()


@pytest.fixture
def other(url: str) -> Iterator[psycopg.Connection]:
    """Another client of the same database, which commits each statement."""
    with psycopg.connect(url, autocommit=True) as other:
        yield other


@pytest.fixture
def writing(url: str) -> Iterator[Callable[..., Writer]]:
    """Makes open writers."""
    with ExitStack() as opened:

        def make(**options: float) -> Writer:
            writer = Writer(Conninfo.of(url), lambda: 0.0, **options)
            writer.open()
            opened.callback(writer.close)
            return writer

        yield make


@pytest.fixture
def writer(writing: Callable[..., Writer]) -> Writer:
    """An open writer."""
    return writing()


@pytest.fixture
def reader(url: str) -> Iterator[Reader]:
    """An open reader."""
    reader = Reader(Conninfo.of(url))
    reader.open()
    yield reader
    reader.close()
