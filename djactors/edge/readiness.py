"""Whether the server can take what it is sent: the answer to `GET /readyz`.

A load balancer asks, and sends nobody here while the answer is no. So the answer must be true while nobody else writes,
too: each is found by a write of its own.

Rules:
  * The answer comes within `PROBE_SECONDS` and a moment, whatever the disk does.
  * Anybody may ask as often as they like: there is at most one write in `FRESH` seconds.
  * After a write of somebody else has failed, the probe alone does not prove that all is well: it writes one page, and
    an event writes ten. Then the answer is no for `HEAL_SECONDS`, or until somebody's write is committed.
  * The log has an entry when the answer changes, with the reason.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

import trio

from djactors.edge.shared import Shared
from djactors.kernel import MailboxStatistics
from djactors.store.database import Statistics
from djactors.store.errors import StoreBusy, StoreClosed, StoreError
from djactors.telemetry import Telemetry

FRESH: Final = 0.5
"""The time in seconds for which one answer serves everybody: balancers ask once in some seconds."""

PROBE_SECONDS: Final = 0.8
"""How long the probe may take: a hundred times a good commit, and less than the second that Kubernetes waits."""

HEAL_SECONDS: Final = 3.0
"""How long a failed write counts: with a disk that is all but full, the answer does not change with each question."""

FULL_SECONDS: Final = 5.0
"""How long a queue may be full before the answer is no: bursts are over sooner, and their senders try again."""


class Probed(Protocol):
    """The store, as the probe sees it."""

    async def probe(self) -> None:
        """Commit something that changes nothing.

        Raises:
            StoreError: it could not be committed.
        """

    def statistics(self) -> Statistics:
        """What was done and what waits."""


class _Queue:
    """Whether a queue has been full for long. It is full at a look if it is, or if it is half full and refused somebody
    since the look before: a queue that is emptied by batches is seldom met at its bound."""

    def __init__(self) -> None:
        self._refused = 0
        self._since: float | None = None

    def full_for(self, depth: int, capacity: int, refused: int, now: float) -> float:
        """For how many seconds it has been full at each look."""
        grown, self._refused = refused > self._refused, refused
        if depth < capacity and not (grown and depth >= capacity / 2):
            self._since = None
            return 0.0
        if self._since is None:
            self._since = now
        return now - self._since


class Readiness:
    """Finds the answer.

    Args:
        stopping: whether the server is about to end.
        store: what is probed.
        router: the router's mailbox.
        telemetry: whose log is told when the answer changes.
    """

    def __init__(
        self,
        stopping: Callable[[], bool],
        store: Probed,
        router: Callable[[], MailboxStatistics],
        telemetry: Telemetry,
    ) -> None:
        self._stopping = stopping
        self._store = store
        self._router = router
        self._log = telemetry.log
        self._gauge = telemetry.metrics.ready
        self._shared: Shared[None, str | None] = Shared(self._judge, FRESH)
        self._queues = {"commands": _Queue(), "writes": _Queue(), "reads": _Queue()}
        self._probes = 0
        # Writes of others that were committed before the last look.
        self._commits = 0
        # The last failure of a probe, which the next probe can disprove.
        self._of_probe: StoreError | None = None
        # The last failure of another write that was seen, and until when it counts.
        self._failing: StoreError | None = None
        self._failing_until = 0.0
        self._told: str | None = None

    async def reason(self) -> str | None:
        """Why the server is not ready, in words for everybody; None if it is. At most `FRESH` seconds old."""
        if self._stopping():
            return "the server is stopping"
        if self._store.statistics().failing is not None and self._told is None:
            self._shared.forget()
        return await self._shared.get(None)

    async def _judge(self, _: None) -> str | None:
        reason = self._full() or await self._unwritable()
        self._gauge.set(reason is None)
        if reason != self._told:
            if reason is None:
                self._log.info("ready again")
            else:
                self._log.warning("not ready", reason=reason)
            self._told = reason
        return reason

    def _full(self) -> str | None:
        now, router, store = trio.current_time(), self._router(), self._store.statistics()
        depths = (
            ("commands", router.depth, router.capacity, router.refused),
            ("writes", store.writes_queued, store.write_capacity, 0),
            ("reads", store.reads_queued, store.read_capacity, 0),
        )
        # All are looked at, so that each knows since when it is full.
        full = [
            f"the queue of {name} has been full for {seconds:.0f} s"
            for name, depth, capacity, refused in depths
            if (seconds := self._queues[name].full_for(depth, capacity, refused, now)) >= FULL_SECONDS
        ]
        return full[0] if full else None

    async def _unwritable(self) -> str | None:
        now, before = trio.current_time(), self._store.statistics()
        others = before.commits - self._probes
        grown, self._commits = others > self._commits, others
        if before.failing is not None:
            if before.failing is not self._of_probe:
                self._failing, self._failing_until = before.failing, now + HEAL_SECONDS
        elif grown:
            # Somebody's write was committed since the last look, and none has failed after it.
            self._failing = None
        try:
            with trio.fail_after(PROBE_SECONDS):
                await self._store.probe()
        except trio.TooSlowError:
            return f"the database has not taken a write within {PROBE_SECONDS} s"
        except (StoreBusy, StoreClosed) as error:
            return str(error)
        except StoreError as error:
            self._of_probe = self._store.statistics().failing
            return _plain(error)
        self._probes += 1
        if self._failing is not None and trio.current_time() < self._failing_until:
            return _plain(self._failing)
        self._failing = None
        return None


def _plain(error: StoreError) -> str:
    """What an error says, without the path that it begins with: it is nobody's business outside."""
    where, colon, what = str(error).partition(": ")
    return what if colon and "/" in where else str(error)
