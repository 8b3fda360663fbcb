"""A desk to record at, and the rooms behind the port."""

from tests.edge.conftest import house
from tests.inbox.conftest import desk

__all__ = ["desk", "house"]
