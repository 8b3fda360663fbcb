"""A migrated database of the test's own, as the tests of nodes have it."""

from tests.nodes.conftest import path as path  # noqa: PLC0414
