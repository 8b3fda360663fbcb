"""The counters of the last two minutes, one look a second, so that the observer's charts begin with what has been.

Rules: `LoopLag` has the counters read at the first turn of each second, before anything is done in that turn. So no
task wakes an idle server up, and what happens after a silence is not spread over the silence. Seconds without a turn
are left out, because nothing happened in them.
"""

from __future__ import annotations

from collections import deque
from typing import Final

import msgspec

from djactors.telemetry import Metrics, distribution, total

SPAN: Final = 120
"""The time in seconds that is remembered: what the charts show. Some 50 KB."""


class Past(msgspec.Struct, rename="camel"):
    """The counters as they were `ago` seconds before the answer; see `survey.Counters`. `delivery` has the counts of
    the histogram of the same name."""

    ago: float
    events: int
    deliveries: int
    delivery: list[int]


class RecentCounters:
    """Remembers up to `SPAN` looks at the counters of `metrics`."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        # The time of each look, and then the events, the deliveries and their counts by duration.
        self._looks: deque[tuple[float, int, int, list[int]]] = deque(maxlen=SPAN)

    def look(self, now: float) -> None:
        """Remember the counters. `now` is in seconds of whatever clock `past` is given."""
        metrics = self._metrics
        delivery = distribution(metrics.delivery)
        self._looks.append((now, total(metrics.events, outcome="recorded"), delivery.count, delivery.counts))

    def past(self, now: float) -> list[Past]:
        """What was remembered in the last `SPAN` seconds, oldest first."""
        return [
            Past(now - at, events, deliveries, delivery)
            for at, events, deliveries, delivery in self._looks
            if now - at <= SPAN
        ]
