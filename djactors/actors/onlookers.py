"""Tells sockets that asked for it who of their tenant comes and goes: `people:presence { userId, connected }`.

Rules:
  * Somebody is connected while a socket of theirs is answered. Whoever looks reads the state from `GET /api/people`
    after the ack of `people:watch`, and is told from then on what becomes different.
  * What changes is gathered for `PACE` seconds. Somebody who is back by then, as after the reload of a page, has not
    been away. If more people come and go at a time than can be told, those who are told later are told their newest
    state.
  * This is told to those who look and is in no log: like the badge it carries the offset that its socket was told last.
  * Nothing here waits for a socket, and nobody is told of another tenant.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from typing import Final

import trio

from djactors.actors.deliveries import Outgoing, encoded
from djactors.actors.presence import Presence, Socket
from djactors.domain.errors import Code, Refused
from djactors.domain.marks import Offset
from djactors.domain.packets import PRESENCE

PACE: Final = 1.0
"""Seconds between two looks: a page that is loaded again has its socket back within one, and to people this is now."""

MAX_ONLOOKERS: Final = 1000
"""Sockets of one tenant that may look: a page looks only while somebody chooses a person."""

CHANGES_AT_ONCE: Final = 64
"""People of a tenant whose changes are told in one look. With as many onlookers as may be, that is 64,000 packets of
40 bytes a second, of which each is made once for all."""

SENT_PER_TURN: Final = 64
"""Writes to sockets after which other tasks have a turn: each carries up to 64 packets and takes up to 50 µs."""


class Onlookers:
    """A service, and the register of those who look; see the module for its rules.

    Args:
        connected: whether a user of a tenant is connected now.
        told: up to which offset a user's socket was told everything; None if it can be told nothing.
    """

    def __init__(
        self, connected: Callable[[int, int], bool], told: Callable[[int, int, Socket], Offset | None]
    ) -> None:
        self._connected = connected
        self._told = told
        self._looking: dict[int, dict[Socket, int]] = {}
        # By tenant and user, whether the user was connected when the onlookers were told last.
        self._changed: dict[int, dict[int, bool]] = {}
        self._noted = trio.Event()

    def look(self, tenant_id: int, user_id: int, socket: Socket) -> None:
        """Have a user's socket told from now on. Asking again changes nothing.

        Raises:
            Refused: `unavailable`; too many of the tenant look already.
        """
        looking = self._looking.setdefault(tenant_id, {})
        if len(looking) >= MAX_ONLOOKERS and socket not in looking:
            raise Refused(
                Code.UNAVAILABLE,
                f"{MAX_ONLOOKERS} sockets of the tenant watch people, and no more may: ask GET /api/people instead",
            )
        looking[socket] = user_id

    def leave(self, tenant_id: int, socket: Socket) -> None:
        """Have a socket told no longer. Harmless for one that does not look."""
        looking = self._looking.get(tenant_id)
        if looking is None:
            return
        looking.pop(socket, None)
        if not looking:
            del self._looking[tenant_id]
            self._changed.pop(tenant_id, None)

    def note(self, presence: Presence) -> None:
        """Somebody's first socket has come, or the last one has gone."""
        if presence.tenant_id in self._looking:
            changed = self._changed.setdefault(presence.tenant_id, {})
            changed.setdefault(presence.user_id, not presence.sockets)
            self._noted.set()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Tell the onlookers until this is cancelled."""
        task_status.started()
        while True:
            await self._noted.wait()
            await trio.sleep(PACE)
            for tenant_id in list(self._changed):
                await self._tell(tenant_id)
            if not self._changed:
                self._noted = trio.Event()

    async def _tell(self, tenant_id: int) -> None:
        changed = self._changed.get(tenant_id, {})
        news: list[bytes] = []
        for user_id in list(islice(changed, CHANGES_AT_ONCE)):
            was, now = changed.pop(user_id), self._connected(tenant_id, user_id)
            if was != now:
                news.append(b'{"userId":%d,"connected":%b}' % (user_id, b"true" if now else b"false"))
        if not changed:
            self._changed.pop(tenant_id, None)
        if not news:
            return
        packets: dict[Offset, list[Outgoing]] = {}
        for place, (socket, user_id) in enumerate(list(self._looking.get(tenant_id, {}).items()), start=1):
            told = self._told(tenant_id, user_id, socket)
            if told is not None:
                if told not in packets:
                    packets[told] = [Outgoing(PRESENCE, body, told) for body in news]
                socket.send(encoded(packets[told], stamped=socket.recovery))
            if place % SENT_PER_TURN == 0:
                await trio.lowlevel.checkpoint()
