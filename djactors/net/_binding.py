"""Sockets that listen on every address that a host name stands for, all of them on one port.

`localhost` is two addresses on most machines, `127.0.0.1` and `::1`. A browser may try either address first, so a
server that listens on one of them alone answers some clients late and others never.
"""

import errno
import socket
from contextlib import ExitStack
from typing import Any, Final, TypeAlias

import trio

# How many connections may wait to be accepted. Linux clips the number to its own maximum.
BACKLOG: Final = 1024

_ATTEMPTS: Final = 8
"""How often a free port is picked anew because it is taken on another address. One port in some thousand is taken."""

# A name may stand for addresses that this machine does not have, for instance IPv6 ones while IPv6 is switched off.
_ABSENT: Final = frozenset({errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL})

_Address: TypeAlias = tuple[socket.AddressFamily, tuple[Any, ...]]


async def bind(host: str, port: int) -> list[socket.socket]:
    """Sockets that listen on every address of `host` that this machine has, in the order in which they were found.

    Several hosts are separated by commas. `::` alone takes IPv4 as well.

    With port 0, the system picks a port that is free on the first address, and the other addresses take the same port.

    Raises:
        OSError: the name cannot be resolved, the machine has none of its addresses, the port is taken on one of them,
            or, with port 0, no port was free on all of them.
    """
    addresses: list[_Address] = []
    for name in host.split(","):
        found = await trio.socket.getaddrinfo(
            name.strip(), port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE | socket.AI_NUMERICSERV
        )
        addresses += [(family, address) for family, _, _, _, address in found]
    addresses = list(dict.fromkeys(addresses))
    attempts = 1 if port or len(addresses) == 1 else _ATTEMPTS
    for attempt in range(1, attempts + 1):
        try:
            return _bind_all(addresses, port)
        except OSError as error:
            if error.errno != errno.EADDRINUSE or attempt == attempts:
                raise
    raise AssertionError("the last attempt returns or raises")


def _bind_all(addresses: list[_Address], port: int) -> list[socket.socket]:
    sockets: list[socket.socket] = []
    absent: list[OSError] = []
    with ExitStack() as to_close:
        for family, (host, _, *rest) in addresses:
            try:
                listening = _listen(family, (host, port, *rest), alone=len(addresses) == 1)
            except OSError as error:
                if error.errno not in _ABSENT:
                    raise
                absent.append(error)
            else:
                sockets.append(to_close.enter_context(listening))
                port = listening.getsockname()[1]
        to_close.pop_all()
    if not sockets:
        raise absent[0]
    return sockets


def _listen(family: socket.AddressFamily, address: tuple[Any, ...], *, alone: bool) -> socket.socket:
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setblocking(False)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6 and not alone:
            # Otherwise a socket on `::` would take the port on IPv4 as well, where another socket listens.
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listening.bind(address)
        listening.listen(BACKLOG)
    except BaseException:
        listening.close()
        raise
    return listening
