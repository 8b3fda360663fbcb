"""Fixtures of the whole suite: one PostgreSQL for the session, started when the first test wants it."""

from tests.environment.fixtures import postgres_dsn as postgres_dsn  # noqa: PLC0414
