"""How far a long command is, on a terminal and in a log."""

from __future__ import annotations

import io

from djactors.operations.progress import LOG_SECONDS, TERMINAL_SECONDS, Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def told(stream: io.StringIO, seconds: float) -> str:
    now = [100.0]
    progress = Progress(stream, lambda: now[0])
    for number in range(4):
        progress.step(f"step {number}")
        now[0] += seconds
    progress.end()
    return stream.getvalue()


def test_a_terminal_has_one_line_that_is_gone_at_the_end() -> None:
    assert told(Terminal(), TERMINAL_SECONDS / 2) == "\r\x1b[Kstep 0\r\x1b[Kstep 2\r\x1b[K"


def test_a_log_has_a_line_now_and_then() -> None:
    assert told(io.StringIO(), LOG_SECONDS / 3 + 0.1) == "step 0\nstep 3\n"
    assert told(io.StringIO(), 0) == "step 0\n"
