"""The answer to `GET /metrics`: all metrics, with those gauges brought up to date that nobody keeps so; and who may
have it.

Rules:
  * Thousands of mailboxes are looked at a slice at a time, so that nobody waits for the count.
  * However often it is asked for, the mailboxes are looked at once in `FRESH` seconds. Counters are never stale.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import Final

import trio

from djactors.actors import census
from djactors.actors.users import Users
from djactors.edge.shared import Shared
from djactors.kernel import Supervisor
from djactors.loop_lag import LoopLag
from djactors.net import UNIX_PEER, UnprovenBytes
from djactors.telemetry import Telemetry

FRESH: Final = 0.5
"""The time in seconds for which one count of the mailboxes serves everybody: far less than the time between two visits
of a Prometheus."""


class Exposition:
    """Makes the answers.

    Args:
        root: the actor tree.
        users: the connected users.
        lag: the instrument of the event loop.
        unproven: the budget of bytes of clients that have not proved who they are.
        telemetry: the metrics.
    """

    def __init__(
        self, root: Supervisor, users: Users, lag: LoopLag, unproven: UnprovenBytes, telemetry: Telemetry
    ) -> None:
        self._root = root
        self._lag = lag
        self._unproven = unproven
        self._metrics = telemetry.metrics
        self._waiting: Shared[None, int] = Shared(lambda _: census.waiting(users), FRESH)

    async def take(self) -> bytes:
        """All metrics in Prometheus' text format."""
        metrics = self._metrics
        metrics.mailbox.labels("user").set(await self._waiting.get(None))
        # The users' supervisor is looked at by itself: it has thousands of children.
        for child in self._root.statistics(levels=1).children:
            if child.mailbox is not None:
                metrics.mailbox.labels(child.name).set(child.mailbox.depth)
        metrics.loop_lag.set(self._lag.worst())
        metrics.tasks.set(trio.lowlevel.current_statistics().tasks_living)
        metrics.unproven_bytes.set(self._unproven.held)
        return metrics.exposition()


class MetricsReaders:
    """Who may read the metrics: networks, and with the word `unix` whoever comes by a Unix socket."""

    def __init__(self, addresses: Sequence[str]) -> None:
        self._unix = UNIX_PEER in addresses
        self._networks = [ipaddress.ip_network(text) for text in addresses if text != UNIX_PEER]

    def include(self, peer: str) -> bool:
        """Whether somebody at this address may."""
        if peer == UNIX_PEER:
            return self._unix
        try:
            address = ipaddress.ip_address(peer)
        except ValueError:
            return False
        # A socket that listens on both kinds of address tells of IPv4 ones in the form of IPv6.
        address = getattr(address, "ipv4_mapped", None) or address
        return any(address in network for network in self._networks)
