"""Sockets that were opened before the process was: what a service manager passes on (socket activation).

By systemd's protocol they are the descriptors from 3 on. `LISTEN_FDS` says how many there are, `LISTEN_PID` whom they
are for, and `LISTEN_FDNAMES` what they are called. Source: sd_listen_fds(3).

The sockets stay open as long as the process lives, so that whoever connects during a restart of the listener waits
instead of being refused; the service manager keeps them open between two processes.
"""

import os
import socket
from collections.abc import MutableMapping, Sequence
from typing import Final

from djactors.net._network import Door, SocketDoor

_FIRST: Final = 3
_NAMES: Final = ("LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES")


class InheritedRefused(Exception):  # noqa: N818 - a verdict on what was passed on
    """What was passed on cannot be listened on; the message says what it is and the mend."""


class InheritedNetwork:
    """Listens on sockets that listen already, whatever host and port a listener is given."""

    def __init__(self, sockets: Sequence[socket.socket]) -> None:
        self._sockets = tuple(sockets)

    async def listen(self, host: str, port: int) -> Sequence[Door]:
        """See `Network.listen`."""
        return [SocketDoor(listening.dup()) for listening in self._sockets]


def inherited_network(environment: MutableMapping[str, str], first: int = _FIRST) -> InheritedNetwork | None:
    """The sockets that this process was given, or None. The variables are removed, so that no child believes them.

    Raises:
        InheritedRefused: one of them is no socket that listens for streams.
    """
    count, pid, names = (environment.pop(name, "") for name in _NAMES)
    if pid != str(os.getpid()) or not count.isascii() or not count.isdigit() or int(count) == 0:
        return None
    called = names.split(":")
    sockets: list[socket.socket] = []
    for number in range(int(count)):
        name = called[number] if number < len(called) else ""
        try:
            os.set_inheritable(first + number, False)
            found = socket.socket(fileno=first + number)
        except OSError as error:
            raise InheritedRefused(_told(first + number, name, f"is no socket ({error.strerror})")) from None
        sockets.append(found)
        if found.type != socket.SOCK_STREAM or not found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            for each in sockets:
                each.close()
            raise InheritedRefused(_told(first + number, name, "does not listen for streams"))
        found.setblocking(False)
    return InheritedNetwork(sockets)


def _told(descriptor: int, name: str, problem: str) -> str:
    called = f" ({name[:60]!r})" if name else ""
    return (
        f"LISTEN_FDS: the descriptor {descriptor}{called} {problem}: use ListenStream= in the socket unit, without "
        "Accept=yes"
    )
