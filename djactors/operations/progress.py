"""Tells how far a long command is: one line that changes on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TextIO

TERMINAL_SECONDS = 0.1
"""Between two changes of the line on a terminal: what changes faster cannot be read."""

LOG_SECONDS = 10.0
"""Between two lines elsewhere, so that the log of an hour has some hundreds."""

_CLEAR = "\r\x1b[K"


class Progress:
    """Writes steps to a stream.

    Args:
        stream: usually standard error, so that the result stands alone on standard output.
        monotonic: a clock in seconds.
    """

    def __init__(self, stream: TextIO, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._monotonic = monotonic
        self._is_terminal = stream.isatty()
        self._interval = TERMINAL_SECONDS if self._is_terminal else LOG_SECONDS
        self._next: float | None = None
        self._last = ""

    def step(self, step: object) -> None:
        """Tell a step, unless one was told a moment ago."""
        now = self._monotonic()
        if self._next is not None and now < self._next:
            return
        self._next = now + self._interval
        self._last = str(step)
        self._stream.write(f"{_CLEAR}{self._last}" if self._is_terminal else f"{self._last}\n")
        self._stream.flush()

    def end(self) -> None:
        """Leave the terminal with a line of its own for what comes next."""
        if self._is_terminal and self._last:
            self._stream.write(_CLEAR)
            self._stream.flush()
