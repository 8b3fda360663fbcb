"""The answer to `GET /metrics`: all metrics, with those gauges brought up to date that nobody keeps so.

Rules:
  * Thousands of mailboxes are looked at a slice at a time, so that nobody waits for the count.
  * However often it is asked for, it is made once in `FRESH` seconds.
"""

from __future__ import annotations

from typing import Final

from djactors.actors import census
from djactors.actors.users import Users
from djactors.edge.shared import Shared
from djactors.kernel import Supervisor
from djactors.loop_lag import LoopLag
from djactors.telemetry import Telemetry

FRESH: Final = 0.5
"""The time in seconds for which one answer serves everybody: far less than the time between two visits of a
Prometheus."""


class Exposition:
    """Makes the answers.

    Args:
        root: the actor tree.
        users: the connected users.
        lag: the instrument of the event loop.
        telemetry: the metrics.
    """

    def __init__(self, root: Supervisor, users: Users, lag: LoopLag, telemetry: Telemetry) -> None:
        self._root = root
        self._users = users
        self._lag = lag
        self._metrics = telemetry.metrics
        self._shared: Shared[None, bytes] = Shared(self._make, FRESH)

    async def take(self) -> bytes:
        """All metrics in Prometheus' text format, at most `FRESH` seconds old."""
        return await self._shared.get(None)

    async def _make(self, _: None) -> bytes:
        metrics = self._metrics
        metrics.mailbox.labels("user").set(await census.waiting(self._users))
        # The users' supervisor is looked at by itself: it has thousands of children.
        for child in self._root.statistics(levels=1).children:
            if child.mailbox is not None:
                metrics.mailbox.labels(child.name).set(child.mailbox.depth)
        metrics.loop_lag.set(self._lag.worst())
        return metrics.exposition()
