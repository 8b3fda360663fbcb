"""Tells systemd how the server does, and that it lives: the protocol of sd_notify(3).

Rules:

- Nothing here waits: the messages are datagrams, and one that nobody takes is dropped.
- Without a service manager everything is a no-op, so that nobody has to ask.
- The watchdog hears from the server as long as the loop turns and the store's writer answers. A writer that says that
  the disk is full, or that the database is locked, answers: a restart would mend neither and would end the reads, which
  go on. One that does not answer at all is what a restart is for. systemd then kills the process and starts it again.

The variables are taken out of the environment, so that no child process speaks for the server.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from typing import Final

import trio

READY: Final = "READY=1"
STOPPING: Final = "STOPPING=1"
WATCHDOG: Final = "WATCHDOG=1"

PATIENCE_USEC: Final = 60_000_000
"""How long systemd waits for the next word of a start that takes long: a minute. The words come about once a second."""

_VARIABLES: Final = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")


class ServiceManager:
    """Who started the process, if that was somebody who wants to know.

    Args:
        address: of the socket that takes the messages, a path or `@NAME` for an abstract one; empty for nobody.
        watchdog: the seconds after which the process is killed if nothing is heard; None for no watchdog.
        monotonic_usec: the machine's monotonic clock in microseconds.
    """

    def __init__(
        self,
        address: str = "",
        watchdog: float | None = None,
        monotonic_usec: Callable[[], int] = lambda: time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000,
    ) -> None:
        self.watchdog = watchdog
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        self._monotonic_usec = monotonic_usec
        self._socket = None if not address else socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        if self._socket is not None:
            self._socket.setblocking(False)

    @classmethod
    def from_environment(cls, environment: MutableMapping[str, str]) -> ServiceManager:
        """The service manager that the environment names, if any."""
        address, microseconds, pid = (environment.pop(name, "") for name in _VARIABLES)
        if not address.startswith(("/", "@")):
            return cls()
        is_ours = pid in ("", str(os.getpid()))
        period = int(microseconds) / 1e6 if is_ours and microseconds.isascii() and microseconds.isdigit() else 0.0
        return cls(address, period or None)

    def tell(self, *states: str) -> None:
        """Send these states, such as `READY` or `STATUS=…`. It neither waits nor raises."""
        if self._socket is not None:
            with suppress(OSError):
                self._socket.sendto("\n".join(states).encode(), self._address)

    def ready(self, status: str) -> None:
        """The server serves, at first or again after a reload."""
        self.tell(READY, _status(status))

    def starting(self, doing: str) -> None:
        """The start takes long, because of what is `doing`: the service manager shall wait on."""
        self.tell(f"EXTEND_TIMEOUT_USEC={PATIENCE_USEC}", _status(doing))

    def reloading(self) -> None:
        """The server reads its files again; `ready` follows."""
        self.tell("RELOADING=1", f"MONOTONIC_USEC={self._monotonic_usec()}", _status("reading its files again"))

    def stopping(self) -> None:
        """The server ends."""
        self.tell(STOPPING, _status("letting clients go"))

    async def keep_alive(self, alive: Callable[[], Awaitable[bool]]) -> None:
        """Speak to the watchdog at half of its time, each time that `alive` says so, until this is cancelled."""
        if self.watchdog is None:
            return
        while True:
            with trio.move_on_after(self.watchdog / 2) as pause:
                if await alive():
                    self.tell(WATCHDOG)
                await trio.sleep_forever()
            assert pause.cancelled_caught

    def close(self) -> None:
        """Say nothing more."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def _status(text: str) -> str:
    return f"STATUS={' '.join(text.split())}"
