"""How a process that delivers is told to end."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any


@contextmanager
def stopped_by_signals() -> Iterator[threading.Event]:
    """An event that SIGTERM and Ctrl-C set, for `Runner`. A second signal does what it did before, which ends most
    programs at once. Only the main thread may have signals.
    """
    stop = threading.Event()
    before: dict[int, Callable[[int, FrameType | None], Any] | int | None] = {}

    def put_back() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def tell(number: int, frame: FrameType | None) -> None:
        put_back()
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        before[number] = signal.signal(number, tell)
    try:
        yield stop
    finally:
        put_back()
