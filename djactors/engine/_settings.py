"""What all sessions of a server have in common: their times and their bounds, each with its reason."""

from dataclasses import dataclass
from typing import Final

from djactors.net import UNPROVEN_MESSAGE, ListenerLimits
from djactors.protocol import SessionSettings

UNPROVEN_PACKETS: Final = 16
"""Packets that one payload may have, and that may wait for a poll, before the session is proven: a CONNECT for each of
the eight namespaces that a client may join, or their answers, with some pings."""

PACKETS_PER_TURN: Final = 16
BYTES_PER_TURN: Final = 16 * 1024
"""Of one payload so many packets, or bytes if these are fewer packets, are acted upon before others get their turn. A
token to be checked takes up to 0.2 ms, and so many brackets 2. One packet is never divided; its own bounds are the
protocol's. A WebSocket's message of more bytes waits for its turn as well."""

# Times and sizes that are told to clients, or that they know: the reference server's.
_REFERENCE: Final = SessionSettings()


@dataclass(frozen=True, kw_only=True)
class EngineSettings:
    """What all sessions of a server have in common. Times in seconds, sizes in bytes.

    Those of djactors' settings that are meant for the engine have these defaults.
    """

    ping_interval: float = _REFERENCE.ping_interval
    ping_timeout: float = _REFERENCE.ping_timeout
    upgrade_timeout: float = _REFERENCE.upgrade_timeout
    max_payload: int = _REFERENCE.max_payload
    # The same until the session is proven (see `Session.prove`), if it is less: a CONNECT with the longest token fits.
    unproven_payload: int = UNPROVEN_MESSAGE
    # From the handshake to the first CONNECT; a stock client sends it at once. Times `admit_rate` it stays below
    # `max_sessions`, or clients that never connect could hold every session.
    connect_timeout: float = 20.0
    # Twice what a commit of a thousand commands brings one user; see the settings of the same names.
    outbox_packets: int = 4096
    outbox_bytes: int = ListenerLimits.max_buffered
    # Polling sessions have no connection between polls, so the listener's cap does not bound them.
    max_sessions: int = ListenerLimits.max_connections
    # A single connection can open them all, by handshakes that it never follows up.
    max_sessions_per_address: int = ListenerLimits.max_connections_per_address
    # Newcomers a second: each costs a quarter of a millisecond, with its handshake, token check and snapshot, and a
    # replay may come on top. The burst lets an office in at once; 5,000 clients are back within 10 s.
    admit_rate: float = 400.0
    admit_burst: int = 1000

    def protocol(self) -> SessionSettings:
        """Return the part that the protocol needs."""
        return SessionSettings(
            ping_interval=self.ping_interval,
            ping_timeout=self.ping_timeout,
            upgrade_timeout=self.upgrade_timeout,
            max_payload=self.max_payload,
        )
