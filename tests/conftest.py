"""Fixtures of the whole suite, each made when the first test wants it."""

from tests.environment.fixtures import path_with_node as path_with_node  # noqa: PLC0414
from tests.environment.fixtures import postgres as postgres  # noqa: PLC0414
from tests.environment.fixtures import postgres_dsn as postgres_dsn  # noqa: PLC0414
from tests.environment.fixtures import postgres_url as postgres_url  # noqa: PLC0414
