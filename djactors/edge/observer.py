"""Counts in the metrics what the listener and the Engine.IO server report."""

from __future__ import annotations

from djactors.telemetry import Telemetry

TRANSPORTS = ("polling", "websocket")


class EdgeObserver:
    """Implements the telemetry protocols of the listener and of the Engine.IO server."""

    def __init__(self, telemetry: Telemetry) -> None:
        self._telemetry = telemetry
        # Looked up once, because thousands of sessions a second open after a restart.
        self._sessions = {transport: telemetry.metrics.connections.labels(transport) for transport in TRANSPORTS}

    def connection_opened(self) -> None:
        """A TCP connection was accepted."""
        self._telemetry.metrics.tcp_connections.inc()

    def connection_closed(self) -> None:
        """A TCP connection has ended."""
        self._telemetry.metrics.tcp_connections.dec()

    def connection_refused(self, reason: str) -> None:
        """A TCP connection was refused because there were too many."""
        self._telemetry.metrics.refusals.labels(f"connection_{reason}").inc()

    def proxy_refused(self, peer: str, problem: str) -> None:
        """A trusted proxy did not begin its connection as it must."""
        self._telemetry.metrics.refusals.labels("connection_proxy_header").inc()
        self._telemetry.log.warning(
            "proxy refused",
            peer=peer,
            problem=problem,
            mend="let the proxy send version 2 (haproxy: send-proxy-v2), or set DJACTORS_PROXY_PROTOCOL=false",
        )

    def accept_failed(self, reason: str) -> None:
        """The system refused to hand over a connection."""
        self._telemetry.metrics.refusals.labels(f"accept_{reason}").inc()
        self._telemetry.log.warning("accept failed", reason=reason)

    def failed(self, error: BaseException, peer: str) -> None:
        """An exception ended a connection. Other connections are not affected."""
        self._telemetry.metrics.refusals.labels("connection_failed").inc()
        self._telemetry.log.error("connection failed", peer=peer, exc_info=error)

    def session_opened(self, transport: str) -> None:
        """An Engine.IO session began."""
        self._sessions[transport].inc()

    def session_upgraded(self) -> None:
        """A session went from polling to WebSocket."""
        self._sessions["polling"].dec()
        self._sessions["websocket"].inc()

    def session_closed(self, transport: str, reason: str) -> None:
        """A session ended."""
        self._sessions[transport].dec()
        self._telemetry.metrics.session_ends.labels(str(reason)).inc()

    def refused(self, reason: str) -> None:
        """A request to the Engine.IO path was refused."""
        self._telemetry.metrics.refusals.labels(f"engine_{reason}").inc()
