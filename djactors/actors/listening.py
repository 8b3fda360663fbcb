"""Hears of other nodes' commits: by the database's notifications where they come, and by polling where they do not.

    connected ──► call ──► heard ──► alive          every minute the call is made again
                    └──► not heard ──► polling      behind a pooler that gives each transaction another connection,
    lost ─────────────────────────────► polling     LISTEN is without effect, and nobody says so

Rules:
  * That notifications come is proved: this node calls, by the connection that writes, and hears its own call. It is
    proved after each new connection and once a minute.
  * While they do not come, the database is polled. The log says so, and the metric `djactors_listening`.
  * With each new connection, after each dropped notification and once a minute all tenants are looked at, because
    something may have been lost.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import Protocol

import trio

from djactors.actors.follower import Follower
from djactors.inbox.nodes import announcement_of
from djactors.store.engine import Hearer, Listener
from djactors.store.errors import StoreError
from djactors.telemetry import Telemetry

POLL_SECONDS = 0.2
"""Between two polls. With ten nodes this is fifty small statements a second; a change is told 0.1 s late on average."""

PROOF_SECONDS = 60.0
"""Between two proofs: each is a commit. A connection that is dead without a word is noticed so late at most."""

CALL_SECONDS = 5.0
"""How long a call may be on its way: a hundred times what a busy database takes."""


class Caller(Protocol):
    """How to notify."""

    async def call(self, node: str, nonce: str) -> None:
        """Notify every node, and so the one that calls as well. Raises StoreError."""


class Listening:
    """A service, and the hearer of the database's listener; see the module for its rules.

    Args:
        node: the name of this node.
        listener: makes the database's listener for its hearer.
        caller: notifies.
        follower: is told what was heard, and polls.
        telemetry: counts and logs.
    """

    def __init__(
        self,
        node: str,
        listener: Callable[[Hearer], Listener],
        caller: Caller,
        follower: Follower,
        telemetry: Telemetry,
    ) -> None:
        self._node = node
        self._listener = listener(self)
        self._caller = caller
        self._follower = follower
        self._telemetry = telemetry
        self._calls = 0
        # What proves now that notifications come, and the nonce of the call that is waited for.
        self._connected = trio.Event()
        self._awaited = ""
        self._answered = trio.Event()
        self._dead = trio.Event()
        self._dead.set()
        self._why: str | None = ""

    def connected(self) -> None:
        """See `Hearer`."""
        self._follower.want_all()
        self._connected.set()

    def lost(self, reason: str) -> None:
        """See `Hearer`."""
        self._poll_because(f"the connection that listens was lost: {reason}")

    def heard(self, payloads: list[str]) -> None:
        """See `Hearer`."""
        for payload in payloads:
            announcement = announcement_of(payload)
            if not announcement.nonce:
                self._follower.heard(announcement)
            elif announcement.node == self._node and announcement.nonce == self._awaited:
                self._answered.set()

    def overflown(self) -> None:
        """See `Hearer`."""
        self._follower.want_all()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Listen, prove and poll until this is cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._listener.run)
            nursery.start_soon(self._prove)
            task_status.started()
            while True:
                await self._dead.wait()
                try:
                    await self._follower.poll()
                except StoreError as error:
                    self._telemetry.refusals.repeated("log not polled", type(error).__name__, error=str(error))
                await trio.sleep(POLL_SECONDS)

    async def _prove(self) -> None:
        """Prove that notifications come, after each new connection and once a minute."""
        given_up_at = -inf
        while True:
            with trio.move_on_after(PROOF_SECONDS):
                await self._connected.wait()
            self._connected = trio.Event()
            failure = await self._call()
            if failure is None:
                self._follower.want_all()
                self._live()
                continue
            self._poll_because(failure)
            # Not over and over: behind a pooler another connection hears no more.
            if trio.current_time() - given_up_at >= PROOF_SECONDS:
                given_up_at = trio.current_time()
                self._listener.reconnect()

    async def _call(self) -> str | None:
        """Call, and wait for the call; why it was not heard, in words, or None if it was."""
        self._calls += 1
        self._awaited, self._answered = str(self._calls), trio.Event()
        try:
            with trio.fail_after(CALL_SECONDS):
                await self._caller.call(self._node, self._awaited)
                await self._answered.wait()
        except trio.TooSlowError:
            return "the database's notifications do not come, as behind a pooler in transaction mode"
        except StoreError as error:
            return f"the database does not notify: {error}"
        return None

    def _live(self) -> None:
        if self._why is not None:
            self._why = None
            self._dead = trio.Event()
            self._telemetry.metrics.listening.set(1)
            self._telemetry.log.info("listening for other nodes")

    def _poll_because(self, why: str) -> None:
        if self._why is None or not self._why:
            self._telemetry.log.warning("polling for other nodes", reason=why, seconds=POLL_SECONDS)
        self._why = why
        self._telemetry.metrics.listening.set(0)
        self._dead.set()
