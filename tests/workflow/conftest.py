"""A desk to record at, and the rooms behind the port."""

from tests.edge_api.conftest import house
from tests.recording.conftest import desk, migrated, path

__all__ = ["desk", "house", "migrated", "path"]
