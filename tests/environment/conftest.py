"""Fixtures of the tests in this package."""

from tests.environment.fixtures import postgres_dsn as postgres_dsn  # noqa: PLC0414
