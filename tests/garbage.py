"""What only the garbage collector can free. It hardly ever looks at the old objects of a server."""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

ROOMS = tuple(f"djactors.{room}." for room in ("kernel", "net", "engine", "edge", "actors", "inbox", "store"))
"""Of the server alone. The protocol's classes serve the test's own end of the connections as well."""


@contextmanager
def garbage() -> Iterator[Counter[str]]:
    """Counts, by class, the objects of the server that became unreachable in the block and that nobody freed."""
    found: Counter[str] = Counter()
    gc.collect()
    gc.disable()
    try:
        yield found
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        for item in gc.garbage:
            kind = type(item)
            if kind.__module__.startswith(ROOMS):
                found[f"{kind.__module__}.{kind.__qualname__}"] += 1
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()
