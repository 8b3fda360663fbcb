"""Bells: how a thread wakes the one task that waits for it, without waking a task of Trio's in between.

A bell is an eventfd (eventfd(2)). The task waits until it can be read, and the thread writes to it. Only Linux has
bells.

Rules:
  * A bell belongs to one call from `take` to `silence` or `leave`, and is used again after that.
  * A task may leave at the moment at which the thread rings. Both look under one lock, so either the thread does not
    ring, or whoever leaves learns that it has.
"""

from __future__ import annotations

import os
import threading
from typing import Generic, Protocol, TypeVar

import trio

BELLS = 4
"""How many there are at most, since each is a descriptor. The router, retention and the clock are who write at a time;
who finds none is woken by a hop."""

R = TypeVar("R")


class Rung(Protocol[R]):
    """A call as the bells see it."""

    bell: int | None
    report: R | None
    """What the thread has said; None until it has rung."""
    task: trio.lowlevel.Task | None
    """Who waits; None: nobody any more."""


class Bells(Generic[R]):
    """The bells of an executor. Everything but `ring` is used on the Trio thread."""

    def __init__(self, most: int = BELLS) -> None:
        self._free: list[int] = []
        self._more = most if hasattr(os, "eventfd") else 0
        self._closed = False
        self._lock = threading.Lock()

    def take(self) -> int | None:
        """A bell for one call; None if there is none."""
        if self._free:
            return self._free.pop()
        if not self._more:
            return None
        try:
            bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        except OSError:
            # Descriptors have run out, and the call can do without.
            return None
        self._more -= 1
        return bell

    def give_back(self, bell: int) -> None:
        """The bell is silent, and nobody will ring it."""
        if self._closed:
            os.close(bell)
        else:
            self._free.append(bell)

    def ring(self, call: Rung[R], report: R) -> bool:
        """Wake whoever waits for the call; false if nobody does. Used on the thread."""
        with self._lock:
            if call.bell is None or call.task is None:
                return False
            call.report = report
            os.eventfd_write(call.bell, 1)
            return True

    def silence(self, bell: int) -> None:
        """The bell was heard."""
        os.eventfd_read(bell)
        self.give_back(bell)

    def leave(self, call: Rung[R], bell: int) -> R | None:
        """Nobody waits for the call any more. Returns what the thread has said if it has rung all the same."""
        with self._lock:
            call.task = None
            report = call.report
        if report is None:
            self.give_back(bell)
        else:
            self.silence(bell)
        return report

    def close(self) -> None:
        """Close the bells, and those that are still in use once they are given back."""
        self._closed = True
        while self._free:
            os.close(self._free.pop())
