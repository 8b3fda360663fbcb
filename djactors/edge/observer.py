"""What the listener and the Engine.IO server count, in the catalogue's metrics."""

from __future__ import annotations

from djactors.telemetry import Telemetry

TRANSPORTS = ("polling", "websocket")


class EdgeObserver:
    """Implements `ListenerTelemetry` and the Engine.IO server's."""

    def __init__(self, telemetry: Telemetry) -> None:
        self._telemetry = telemetry
        # Looked up once: there are thousands a second when a server comes back.
        self._sessions = {transport: telemetry.metrics.connections.labels(transport) for transport in TRANSPORTS}

    def connection_opened(self) -> None:
        """A TCP connection was accepted."""
        self._telemetry.metrics.tcp_connections.inc()

    def connection_closed(self) -> None:
        """A TCP connection has ended."""
        self._telemetry.metrics.tcp_connections.dec()

    def connection_refused(self, reason: str) -> None:
        """A TCP connection was over a cap."""
        self._telemetry.metrics.refusals.labels(f"connection_{reason}").inc()

    def accept_failed(self, reason: str) -> None:
        """The system would not hand over a connection."""
        self._telemetry.metrics.refusals.labels(f"accept_{reason}").inc()
        self._telemetry.log.warning("accept failed", reason=reason)

    def failed(self, error: BaseException, peer: str) -> None:
        """A connection raised; it has ended alone."""
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
