"""What the interpreter and other libraries would write to standard error themselves, put into the log instead.

Standard error can block, and most of this would be written on the event loop: warnings, what is logged by `logging`,
errors that nobody can catch because they were raised in a finalizer, and the traceback at the end of a program that
failed. It is for a process that is all ours, such as `djactors serve`. A program that embeds a server decides for
itself where its libraries log.
"""

from __future__ import annotations

import logging
import sys
import threading
import warnings
from types import TracebackType
from typing import TextIO

from structlog.typing import FilteringBoundLogger


def log_everything(log: FilteringBoundLogger) -> None:
    """From now on, and for good, everything of this process goes into this log."""
    root = logging.getLogger()
    root.handlers[:] = [_ToLog(log)]
    root.setLevel(log.get_effective_level())

    def show_warning(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        log.warning("warning", category=category.__name__, text=str(message), place=f"{filename}:{lineno}")

    def note_unraisable(unraisable: sys.UnraisableHookArgs) -> None:
        # Only its type is told: the object may show anything of itself, and must not be kept.
        log.error("error ignored", source=type(unraisable.object).__name__, exc_info=unraisable.exc_value)

    def note_end_of_thread(end: threading.ExceptHookArgs) -> None:
        name = None if end.thread is None else end.thread.name
        log.error("thread failed", thread=name, exc_info=end.exc_value)

    def note_end(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        log.critical("the program failed", exc_info=error)

    warnings.showwarning = show_warning
    sys.unraisablehook = note_unraisable
    threading.excepthook = note_end_of_thread
    sys.excepthook = note_end


class _ToLog(logging.Handler):
    """Makes an entry of each record of the standard library's `logging`."""

    def __init__(self, log: FilteringBoundLogger) -> None:
        super().__init__()
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        """Log it, whatever it holds."""
        try:
            text = record.getMessage()
        except Exception:  # noqa: BLE001 - a message that does not fit its arguments is somebody else's mistake
            text = str(record.msg)
        self._log.log(_level_of(record.levelno), text, logger=record.name, exc_info=record.exc_info)


def _level_of(number: int) -> int:
    """The level of ours that a number stands for; libraries have levels between."""
    return max(logging.DEBUG, min(logging.CRITICAL, number // 10 * 10))
