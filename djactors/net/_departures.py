"""The ends of connections whose peers have gone: so many in a turn of the loop, however many go at the same moment.

To end a connection with all that hangs on it (a session, a socket, perhaps an actor) takes some 60 µs, and thousands
end together when a network or a proxy fails, or an attacker lets go of what they hold. Nobody waits for these ends, but
everybody would wait for the turn in which they all happen.
"""

from typing import Final

import trio

AT_ONCE: Final = 32
"""Ends in a turn of the loop, some 2 ms."""


class Departures:
    """Lets those whose peers have gone go on, in the order in which they came."""

    __slots__ = ("_room",)

    def __init__(self) -> None:
        self._room = trio.Semaphore(AT_ONCE, max_value=AT_ONCE)

    async def turn(self) -> None:
        """Wait for one's turn: the next one, unless many others have gone as well."""
        async with self._room:
            # Whoever waits is let in by those who leave this, and waits here for the next turn.
            await trio.lowlevel.checkpoint()
