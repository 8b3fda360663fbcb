"""The wall clock of a simulated run."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import trio

START = datetime(2026, 1, 27, 10, 30, tzinfo=UTC)


class WallClock:
    """The wall clock of all machines: it goes as the virtual one does, and is set."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> datetime:
        return START + timedelta(seconds=trio.current_time() + self.ahead)
