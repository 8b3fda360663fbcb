"""A desk with a fresh database, for each test."""

import pytest

from tests.engines import AnyConnection
from tests.inbox.desk import Desk


@pytest.fixture
def desk(connection: AnyConnection) -> Desk:
    return Desk(connection)
