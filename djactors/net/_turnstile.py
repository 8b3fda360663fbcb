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

    As long as there is room in this turn of the loop, whoever comes passes at once. Who has to wait is let through by
    the turns that follow. (With a semaphore each gave up their own turn at each turnstile, which was a tenth of what a
    connect costs in a crowd.) How many have passed is forgotten in the course of a turn and not between two, so a
    single turn may have up to twice as many.
    """

    __slots__ = ("_at_once", "_queue", "_room")

    def __init__(self, at_once: int = AT_ONCE) -> None:
        self._at_once = at_once
        self._room = at_once
        self._queue = trio.lowlevel.ParkingLot()

    async def turn(self) -> None:
        """Wait for one's turn: this one, unless many others have come as well."""
        if not self._room:
            await self._queue.park()
            return
        if self._room == self._at_once:
            trio.lowlevel.current_trio_token().run_sync_soon(self._renew)
        self._room -= 1

    def _renew(self) -> None:
        """The turn is over."""
        self._room = self._at_once
        passed = len(self._queue.unpark(count=self._at_once))
        if passed:
            trio.lowlevel.current_trio_token().run_sync_soon(self._renew)
            self._room -= passed


class Entrance:
    """For the first requests of connections: a turnstile for those that ask, with GET, and one for all others."""

    __slots__ = ("_asking", "_others")

    def __init__(self, at_once: int = AT_ONCE) -> None:
        self._asking, self._others = Turnstile(at_once), Turnstile(at_once)

    async def turn(self, received: bytes) -> None:
        """Wait for the turn of a request of which this has been received."""
        await (self._asking if received.startswith(b"GET ") else self._others).turn()
