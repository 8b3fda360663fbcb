"""Fixtures over the test environment; `tests/conftest.py` imports them by name."""

from collections.abc import Iterator

import pytest

from bench.postgres import running_postgres


@pytest.fixture(scope="session")
def postgres_dsn() -> Iterator[str]:
    """The DSN of one PostgreSQL server for the whole session. Make a database or schema of your own in it."""
    with running_postgres() as dsn:
        yield dsn
