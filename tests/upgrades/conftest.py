"""What the tests of upgrades share with those of other faults."""

from tests.faults.conftest import tracing

__all__ = ["tracing"]
