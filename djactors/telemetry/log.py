"""Log entries: what one is, what it may hold, and what it looks like.

    log.warning("request refused", came=…) ──► an entry, a dict of plain values ──► a line of JSON, or readable text

Rules:
  * An entry holds the ids of tenants, users and events, and never a token, a secret, a title or a message. A crash is
    told without the values of variables, because tokens and keys are among them.
  * Outside a terminal an entry is one line of JSON, whatever its fields hold. On a terminal, what comes from outside
    cannot control the terminal.
  * An entry is complete and bounded once it is made. It refers to no frame and to nothing that may still change, so it
    can wait, and be rendered by another thread (see `log_thread`).
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from traceback import TracebackException
from typing import Any, Final, Protocol, TextIO, TypeAlias

import structlog
from structlog.tracebacks import ExceptionDictTransformer
from structlog.typing import EventDict, ExcInfo, FilteringBoundLogger

Entry: TypeAlias = dict[str, Any]
"""The fields of an entry, in order: texts, numbers, truth values, None, and lists and dicts of these."""

MAX_TEXT: Final = 2_000
"""The most characters of one text in an entry: more than any message of ours has, and a screenful of a stranger's."""

MAX_ITEMS: Final = 100
"""The most items of a list or dict in an entry: a traceback with its causes fits."""

MAX_DEPTH: Final = 10
"""How deep lists and dicts may nest in an entry: a group of exceptions inside a group fits."""

TRACEBACK_BYTES: Final = 16 * 1024
"""What a traceback that is yet to become text counts for: 50 calls with their lines."""

VALUE_BYTES: Final = 64
"""What any value takes in memory, beside the characters of a text."""


class Form(Protocol):
    """What entries look like."""

    def crash(self, exc_info: ExcInfo) -> Any:
        """An exception as the entry keeps it, made at once: its frames refer to whatever was under way."""

    def render(self, entry: Entry) -> str:
        """The entry as it is written, without a line break at the end."""


def form_of(log_format: str, stream: TextIO | None) -> Form:
    """JSON, or readable text: for `console`, and for `auto` on a terminal."""
    readable = log_format == "console" or (log_format == "auto" and stream is not None and stream.isatty())
    return _Text() if readable else _Json()


def make_logger(log_format: str, level: str, stream: TextIO | None = None) -> FilteringBoundLogger:
    """A logger that writes to `stream`, by default standard error, at once: for a stream that never blocks.

    For all others see `LogThread`.

    An entry that cannot be written, because the reader is gone or the disk is full, is dropped.
    """
    stream = sys.stderr if stream is None else stream
    form = form_of(log_format, stream)

    def write(entry: Entry) -> None:
        # ValueError: the stream was closed. AttributeError: the process has no standard error.
        with suppress(OSError, ValueError, AttributeError):
            stream.write(f"{form.render(entry)}\n")
            stream.flush()

    return logger_to(write, level, form)


def logger_to(take: Callable[[Entry], None], level: str, form: Form) -> FilteringBoundLogger:
    """A logger that gives each entry of this level, or of a more severe one, to `take`; it must not raise."""
    logger = structlog.wrap_logger(
        _Taker(take),
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.ExceptionRenderer(form.crash),
            _as_one,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        context_class=dict,
    )
    # Bound once, because the lazy logger would put itself together anew for every entry, even for those that it drops.
    bound: FilteringBoundLogger = logger.bind()
    return bound


def bounded(value: Any, depth: int = MAX_DEPTH) -> Any:
    """A value of an entry, made plain and kept within the bounds; what has no form of its own is shown by `repr`."""
    if isinstance(value, str):
        return value if len(value) <= MAX_TEXT else f"{value[:MAX_TEXT]}…"
    if value is None or isinstance(value, (bool, int, float, TracebackException)):
        return value
    if depth and isinstance(value, Mapping):
        return {str(key)[:MAX_TEXT]: bounded(one, depth - 1) for key, one in _some(value.items())}
    if depth and isinstance(value, (list, tuple, set, frozenset)):
        return [bounded(one, depth - 1) for one in _some(value)]
    return bounded(repr(value))


def size_of(value: Any) -> int:
    """About how many bytes a bounded value takes while it waits."""
    if isinstance(value, str):
        return VALUE_BYTES + len(value)
    if isinstance(value, dict):
        return VALUE_BYTES + sum(VALUE_BYTES + len(key) + size_of(one) for key, one in value.items())
    if isinstance(value, list):
        return VALUE_BYTES + sum(map(size_of, value))
    return TRACEBACK_BYTES if isinstance(value, TracebackException) else VALUE_BYTES


class _Json:
    """One line of JSON for each entry."""

    def __init__(self) -> None:
        self._crash = ExceptionDictTransformer(show_locals=False)
        self._render = structlog.processors.JSONRenderer()

    def crash(self, exc_info: ExcInfo) -> Any:
        return self._crash(exc_info)

    def render(self, entry: Entry) -> str:
        return str(self._render(None, "", entry))


class _Text:
    """Text for people, in colours."""

    def __init__(self) -> None:
        self._render = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)

    def crash(self, exc_info: ExcInfo) -> Any:
        # The lines of source files are read when it is rendered.
        return TracebackException(*exc_info, lookup_lines=False, compact=True)

    def render(self, entry: Entry) -> str:
        return self._render(None, "", {key: _readable(value) for key, value in entry.items()})


def _readable(value: Any) -> Any:
    """Escape texts from outside, so that they cannot control the terminal."""
    if isinstance(value, TracebackException):
        return "".join(value.format()).rstrip()
    return repr(value) if isinstance(value, str) and not value.isprintable() else value


class _Taker:
    """What structlog takes for the logger behind it: one call for an entry of whatever level."""

    def __init__(self, take: Callable[[Entry], None]) -> None:
        self.debug = self.info = self.warning = self.error = self.critical = take


def _as_one(_: object, __: str, entry: EventDict) -> tuple[tuple[Entry], Mapping[str, Any]]:
    """Give the whole entry as one argument."""
    return (bounded(entry),), {}


def _some(values: Iterable[Any]) -> list[Any]:
    return [value for value, _ in zip(values, range(MAX_ITEMS), strict=False)]
