"""Lets so many through in a turn of the loop, however many come at the same moment.

Some things are done in the order in which they came, a few in each turn, because nobody needs them at once, and
everybody would wait for the turn in which all of them happen:

- The ends of connections whose peers have gone. To end one with all that hangs on it (a session, a socket, perhaps an
  actor) takes some 60 µs, and thousands end together when a network or a proxy fails, or an attacker lets go of them.
- Handshakes of TLS, which cost as much as a hundred requests (`_tls_stream.py` says how many in a turn).
- Requests that were sent before the answer to the one before (pipelining), which browsers and proxies do not do.
- The first request of each connection. When a network or a proxy is back, a thousand clients come back at the same
  moment, and those who are connected already are to be served meanwhile. A client that comes back begins with GET,
  whatever its transport. A backend that opens a connection to post does not stand behind the thousand (`Entrance`).
"""

from typing import Final

import trio

AT_ONCE: Final = 32
"""Those who are let through in a turn of the loop, some 2 ms."""


class Turnstile:
    """Lets those who come through, in the order in which they came.

    It is a semaphore in the form that this needs. `trio.Semaphore` raises and catches an exception twice for each who
    waits, which was a twentieth of what a connect costs in a crowd.
    """

    __slots__ = ("_queue", "_room")

    def __init__(self, at_once: int = AT_ONCE) -> None:
        self._room = at_once
        self._queue = trio.lowlevel.ParkingLot()

    async def turn(self) -> None:
        """Wait for one's turn: the next one, unless many others have come as well."""
        if self._room:
            self._room -= 1
        else:
            # Whoever leaves hands over the room and does not give it back, so nobody who comes meanwhile takes it.
            await self._queue.park()
        try:
            await trio.lowlevel.checkpoint()
        finally:
            if not self._queue.unpark():
                self._room += 1


class Entrance:
    """For the first requests of connections: a turnstile for those that ask, with GET, and one for all others."""

    __slots__ = ("_asking", "_others")

    def __init__(self, at_once: int = AT_ONCE) -> None:
        self._asking, self._others = Turnstile(at_once), Turnstile(at_once)

    async def turn(self, received: bytes) -> None:
        """Wait for the turn of a request of which this has been received."""
        await (self._asking if received.startswith(b"GET ") else self._others).turn()
