"""Counts in the metrics, and tells in the log, what the listener and the Engine.IO server report."""

from __future__ import annotations

from djactors.edge import refusals
from djactors.engine import Refusal
from djactors.net import RequestRefused
from djactors.telemetry import Telemetry

TRANSPORTS = ("polling", "websocket")

TOLD_OTHERWISE = (500, 503)
"""Statuses of the listener's own refusals of which there is an entry already: of what failed, and of the connection."""


class EdgeObserver:
    """Implements the telemetry protocols of the listener and of the Engine.IO server."""

    def __init__(self, telemetry: Telemetry) -> None:
        self._telemetry = telemetry
        self._connections, self._sessions = telemetry.metrics.tcp_connections, telemetry.metrics.connections
        for transport in TRANSPORTS:
            # Shown from the start.
            self._sessions.add(0, transport)

    def connection_opened(self) -> None:
        """A TCP connection was accepted."""
        self._connections.add(1)

    def connection_closed(self) -> None:
        """A TCP connection has ended."""
        self._connections.add(-1)

    def connection_refused(self, reason: str, peer: str) -> None:
        """A TCP connection was refused because there were too many."""
        refusals.connection_refused(self._telemetry, reason, peer)

    def request_refused(self, refused: RequestRefused, peer: str) -> None:
        """A request broke the rules of HTTP."""
        if refused.status not in TOLD_OTHERWISE:
            refusals.form_refused(self._telemetry, peer, refused.status, refused.code, refused.message)

    def no_room(self) -> None:
        """Somebody who has not proved who they are gave way, because all of them together hold too much."""
        self._telemetry.metrics.refusals.labels("unproven_bytes").inc()

    def proxy_refused(self, peer: str, problem: str) -> None:
        """A trusted proxy did not begin its connection as it must."""
        refusals.proxy_refused(self._telemetry, peer, problem)

    def handshake_failed(self, peer: str, problem: str) -> None:
        """A client did not come through the handshake of TLS."""
        refusals.handshake_failed(self._telemetry, peer, problem)

    def accept_failed(self, reason: str) -> None:
        """The system refused to hand over a connection."""
        self._telemetry.metrics.refusals.labels(f"accept_{reason}").inc()
        self._telemetry.refusals.repeated("accept failed", reason)

    def failed(self, error: BaseException, peer: str) -> None:
        """An exception ended a connection. Other connections are not affected."""
        self._telemetry.metrics.refusals.labels("connection_failed").inc()
        self._telemetry.refusals.failed("connection failed", error, peer)

    def session_opened(self, transport: str) -> None:
        """An Engine.IO session began."""
        self._sessions.add(1, transport)

    def session_upgraded(self) -> None:
        """A session went from polling to WebSocket."""
        self._sessions.add(-1, "polling")
        self._sessions.add(1, "websocket")

    def session_closed(self, transport: str, reason: str) -> None:
        """A session ended."""
        self._sessions.add(-1, transport)
        self._telemetry.metrics.session_ends.labels(str(reason)).inc()

    def refused(self, refusal: Refusal) -> None:
        """The Engine.IO server refused a request, a newcomer, or what a session was sent."""
        refusals.engine_refused(self._telemetry, refusal)
