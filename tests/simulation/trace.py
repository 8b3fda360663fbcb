"""Writes down all that happens in a simulated run, so that two runs can be compared."""

from __future__ import annotations

from hashlib import blake2b
from typing import Any

import msgspec
import trio

from tests.history import History


class Trace:
    """All that happened, one line each, and a digest of it by which two runs are compared."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def add(self, what: str) -> None:
        """Note a line, with its time."""
        self.lines.append(f"{trio.current_time():.6f} {what}")

    @property
    def digest(self) -> str:
        """Of all lines."""
        return blake2b("\n".join(self.lines).encode(), digest_size=8).hexdigest()


class TracedHistory(History):
    """A history that notes each record in the trace."""

    def __init__(self, trace: Trace) -> None:
        super().__init__()
        self._trace = trace

    def add(self, record: Any) -> None:
        """See `History.add`."""
        super().add(record)
        self._trace.add(msgspec.json.encode(record).decode())
