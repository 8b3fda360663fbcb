"""How something of the server's code is replaced for a run: by a bound that is small, or by a deliberate bug."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def instead(owner: Any, name: str, replacement: Any) -> Iterator[None]:
    """Inside the block something of the server's code is something else."""
    original = getattr(owner, name)
    setattr(owner, name, replacement)
    try:
        yield
    finally:
        setattr(owner, name, original)
