"""Writes the log from a thread of its own, so that nobody who logs ever waits for whoever reads the log.

    any thread ── take() ──► queue ──► the thread: renders, writes to standard error
                        └──► full: the entry is dropped and counted

The reader may stall: a pipe is full, a terminal was stopped. Only the thread waits then.

Rules:
  * The queue is bounded by entries and by bytes. A part of it is kept for errors, so that a flood of others leaves room
    for them.
  * A loss is told in the log itself as soon as the reader takes lines again, and `dropped` counts all of them. Lines
    that could not be written, because the reader is gone or the disk is full, are lost as well.
  * The thread starts with the first entry, and ends when there was nothing to write for a while. When the process ends,
    the thread is given `FLUSH_SECONDS` to write what waits, and is then left behind.
  * Nothing here raises, and nothing waits but the thread.
"""

from __future__ import annotations

import atexit
import os
import queue
import select
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final, Protocol, TextIO

import structlog

from djactors.telemetry.log import Entry, form_of, logger_to, size_of

MAX_ENTRIES: Final = 4096
"""Entries that may wait: ten seconds of people who connect as fast as they are let in."""

MAX_BYTES: Final = 4 * 1024 * 1024
"""Bytes of the entries that may wait: those of `MAX_ENTRIES`, each with as much as an entry usually has."""

KEPT_FOR_ERRORS: Final = 1 / 4
"""The part of both bounds that only errors may use: what went wrong is what a reader who comes back looks for."""

FLUSH_SECONDS: Final = 2.0
"""How long the end of the process waits for the log: a reader that lives takes the whole queue in less."""

IDLE_SECONDS: Final = 10.0
"""How long the thread waits for another entry before it ends. Starting it again takes a tenth of a millisecond."""

AT_ONCE: Final = 64
"""Entries that are written in one go: each write of its own would fetch the interpreter from the event loop again."""

TELL_SECONDS: Final = 1.0
"""How often a loss is told while entries keep being lost: a reader who is merely slow is not to read of little else."""

_URGENT: Final = frozenset({"error", "critical"})


class Output(Protocol):
    """Where the lines go. A write may block for as long as it likes."""

    def write(self, text: str) -> None:
        """Write all of it.

        Raises:
            OSError, ValueError: nobody can read it.
        """


class LogThread:
    """A logger whose entries are written by a thread. It can be used on every thread, and in finalizers.

    Args:
        log_format: `json`, `console`, or `auto`, which is console on a terminal.
        level: the least severe entries that are logged.
        stream: where to; standard error by default, and nowhere if the process has none.
        timer: seconds of a clock that never goes back.

    Attributes:
        logger: a structlog logger.
        dropped: how many lines were lost so far.
    """

    def __init__(
        self,
        log_format: str,
        level: str,
        stream: TextIO | None = None,
        *,
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        stream = sys.stderr if stream is None else stream
        self._form = form_of(log_format, stream)
        self._output = _output_of(stream)
        self._timer = timer
        # It may be used where it is just being used, by a finalizer in the middle of it. None ends the thread.
        self._queue: queue.SimpleQueue[tuple[Entry | str, int] | None] = queue.SimpleQueue()
        # Held for a few counts only, and can be taken again by the thread that has it, for the same reason.
        self._lock = threading.RLock()
        self._thread: threading.Thread | None = None
        # What waits, or is being written.
        self._entries = 0
        self._bytes = 0
        self._untold = 0
        self._told_at = -TELL_SECONDS
        self._stamp = structlog.processors.TimeStamper(fmt="iso", utc=True)
        self.dropped = 0
        self.logger = logger_to(self.take, level, self._form)

    def take(self, entry: Entry) -> None:
        """Have an entry written, or drop it."""
        self._put(entry, size_of(entry), urgent=entry.get("level") in _URGENT)

    def say(self, line: str) -> None:
        """Have a line written as it is: the last words of a command."""
        self._put(line, size_of(line), urgent=True)

    def close(self, seconds: float = FLUSH_SECONDS) -> bool:
        """Write what waits, for at most so many seconds; return whether all of it was. The log can be used on.

        If the reader took nothing for so long, the end of the process does not wait for it once more.
        """
        with self._lock:
            thread = self._thread
        if thread is not None:
            self._queue.put(None)
            thread.join(seconds)
            if thread.is_alive():
                atexit.unregister(self.close)
        return not self._entries

    def _put(self, item: Entry | str, size: int, *, urgent: bool) -> None:
        if self._output is None:
            return
        share = 1.0 if urgent else 1 - KEPT_FOR_ERRORS
        with self._lock:
            if self._entries + 1 > MAX_ENTRIES * share or self._bytes + size > MAX_BYTES * share:
                self._lose(1)
                return
            self._entries += 1
            self._bytes += size
            self._queue.put((item, size))
            if self._thread is None:
                self._start()

    def _start(self) -> None:
        thread = threading.Thread(target=self._work, name="djactors-log", daemon=True)
        # There may be no more threads to be had, or the interpreter is about to end: the next entry tries again.
        with suppress(RuntimeError):
            thread.start()
            self._thread = thread
            atexit.register(self.close)

    def _lose(self, lines: int) -> None:
        self.dropped += lines
        self._untold += lines

    # On the thread

    def _work(self) -> None:
        assert self._output is not None
        while batch := self._next():
            self._write(self._output, batch)
            if self._untold and (self._queue.empty() or self._timer() - self._told_at >= TELL_SECONDS):
                self._tell(self._output)

    def _next(self) -> list[tuple[Entry | str, int]]:
        """What is to be written next; nothing if the thread is to end."""
        batch: list[tuple[Entry | str, int]] = []
        while len(batch) < AT_ONCE:
            try:
                item = self._queue.get(block=not batch, timeout=IDLE_SECONDS)
            except queue.Empty:
                if batch or self._retire():
                    break
                continue
            if item is not None:
                batch.append(item)
            elif not batch and self._retire():
                break
            else:
                # Its turn comes once what waits is written.
                self._queue.put(None)
                if batch:
                    break
        return batch

    def _retire(self) -> bool:
        """End the thread, unless something has come meanwhile."""
        with self._lock:
            if self._entries:
                return False
            self._thread = None
            atexit.unregister(self.close)
            return True

    def _write(self, output: Output, batch: list[tuple[Entry | str, int]]) -> None:
        lost = 0
        try:
            output.write("".join(f"{self._line(item)}\n" for item, _ in batch))
        except Exception:  # noqa: BLE001 - the supervisor of this thread: whatever is wrong with these, the log goes on
            lost = len(batch)
        with self._lock:
            self._entries -= len(batch)
            self._bytes -= sum(size for _, size in batch)
            self._lose(lost)

    def _line(self, item: Entry | str) -> str:
        return item if isinstance(item, str) else self._form.render(item)

    def _tell(self, output: Output) -> None:
        """Say how much was lost. The lock is not held meanwhile: this may block."""
        lines = self._untold
        words = "1 log line was" if lines == 1 else f"{lines} log lines were"
        entry: Entry = {"event": f"{words} dropped while nobody read the log", "level": "warning", "lines": lines}
        with suppress(OSError, ValueError):
            output.write(f"{self._form.render(dict(self._stamp(None, '', entry)))}\n")
            self._told_at = self._timer()
            with self._lock:
                self._untold -= lines


class _Descriptor:
    """Standard error by its descriptor.

    Not by `sys.stderr`: a thread that is stuck in there when the process ends holds a lock which the interpreter waits
    for.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def write(self, text: str) -> None:
        data = memoryview(text.encode(errors="backslashreplace"))
        while data:
            try:
                data = data[os.write(self._descriptor, data) :]
            except BlockingIOError:
                # Another process that has the same pipe or terminal made it one that does not block.
                waiting = select.poll()
                waiting.register(self._descriptor, select.POLLOUT)
                waiting.poll()


class _Stream:
    """Any other stream. If a file is meant by it, only the stream knows whether its descriptor is still the file's."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()


_STANDARD_ERROR: Final = 2


def _output_of(stream: TextIO | None) -> Output | None:
    if stream is None:
        return None
    try:
        descriptor = stream.fileno()
    except (OSError, ValueError, AttributeError):
        return _Stream(stream)
    return _Descriptor(descriptor) if descriptor == _STANDARD_ERROR else _Stream(stream)
