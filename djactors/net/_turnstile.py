"""Lets so many through in a turn of the loop, however many come at the same moment.

Some things are done in the order in which they came, a few in each turn, because nobody needs them at once, and
everybody would wait for the turn in which all of them happen:

- The ends of connections whose peers have gone. To end one with all that hangs on it (a session, a socket, perhaps an
  actor) takes some 60 µs, and thousands end together when a network or a proxy fails, or an attacker lets go of them.
- Handshakes of TLS, which cost as much as a hundred requests (`_tls_stream.py` says how many in a turn).
- Requests that were sent before the answer to the one before (pipelining), which browsers and proxies do not do.
- What newcomers do: to be accepted, the first request of each connection, and in `djactors.engine` what is sent before
  anybody has proved who they are. When a network or a proxy is back, a thousand clients come back at the same moment,
  and those who are connected already are to be served meanwhile (`Crowd`). A client that comes back begins with GET,
  whatever its transport. A backend that opens a connection to post does not stand behind the thousand (`Entrance`).
"""

from typing import Final

import trio

AT_ONCE: Final = 32
"""Those who are let through in a turn of the loop, some 2 ms."""

FEW_NEWCOMERS: Final = 4
"""Newcomers who go one step on in a turn of the loop while others have something to do. A step takes 50 to 200 µs, and
what others do takes several turns. With 1 in a turn there are so many turns that others wait longer again."""

MANY_NEWCOMERS: Final = 16
"""The same while nobody else has anything to do. In turns of 4 a crowd that connects takes a seventh more of the
processor than in turns of 16 (most of it for threads that hand the interpreter to each other), and 64 gain nothing."""

_MAKES_WAY: Final = 256
"""Turns for which a crowd makes way, up to three of them in a turn of the loop: some 50 ms. Where somebody wants
something twenty times a second, it does so all the time. Only turns in which newcomers come are counted, so the first
few hundred of a crowd that comes an hour later go slowly as well; that spares a look at the clock with each request."""


class Pace:
    """How many are let through in a turn: always as many.

    Attributes:
        at_once: that number.
    """

    __slots__ = ("at_once",)

    def __init__(self, at_once: int) -> None:
        self.at_once = at_once

    def turned(self) -> None:
        """A turn is over in which somebody came."""


class Crowd(Pace):
    """How many newcomers go one step on in a turn: a few while others have something to do, and many otherwise."""

    __slots__ = ("_turns",)

    def __init__(self) -> None:
        super().__init__(MANY_NEWCOMERS)
        self._turns = 0

    def make_way(self) -> None:
        """Somebody who is no newcomer wants something, and is not to stand behind the crowd for a while."""
        self.at_once, self._turns = FEW_NEWCOMERS, _MAKES_WAY

    def turned(self) -> None:
        """See `Pace`."""
        if self._turns:
            self._turns -= 1
            if not self._turns:
                self.at_once = MANY_NEWCOMERS


class Turnstile:
    """Lets those who come through, in the order in which they came.

    As long as there is room in this turn of the loop, whoever comes passes at once. Who has to wait is let through by
    the turns that follow. (With a semaphore each gave up their own turn at each turnstile, which was a tenth of what a
    connect costs in a crowd.) How many have passed is forgotten in the course of a turn and not between two, so a
    single turn may have up to twice as many.
    """

    __slots__ = ("_is_counting", "_pace", "_queue", "_room")

    def __init__(self, pace: Pace | int = AT_ONCE) -> None:
        self._pace = Pace(pace) if isinstance(pace, int) else pace
        self._is_counting = False
        self._room = 0
        self._queue = trio.lowlevel.ParkingLot()

    async def turn(self) -> None:
        """Wait for one's turn: this one, unless many others have come as well."""
        if not self._is_counting:
            self._is_counting, self._room = True, self._pace.at_once
            trio.lowlevel.current_trio_token().run_sync_soon(self._renew)
        if not self._room:
            await self._queue.park()
            return
        self._room -= 1

    def _renew(self) -> None:
        """The turn is over."""
        self._pace.turned()
        at_once = self._pace.at_once
        passed = len(self._queue.unpark(count=at_once))
        self._room = at_once - passed
        self._is_counting = passed > 0
        if passed:
            trio.lowlevel.current_trio_token().run_sync_soon(self._renew)


class Entrance:
    """For the first requests of connections: a turnstile for those that ask, with GET, and one for all others."""

    __slots__ = ("_asking", "_others", "crowd")

    def __init__(self, crowd: Crowd | None = None) -> None:
        self.crowd = Crowd() if crowd is None else crowd
        self._asking, self._others = Turnstile(self.crowd), Turnstile(self.crowd)

    async def turn(self, received: bytes) -> None:
        """Wait for the turn of a request of which this has been received."""
        await (self._asking if received.startswith(b"GET ") else self._others).turn()
