"""Times and bounds of a client, each with its reason. Times are in seconds, sizes in bytes."""

from dataclasses import dataclass

from djactors.protocol import JsonLimits, Transport

CHOSEN_SERVER = JsonLimits(brackets=200_000, commas=1_000_000, long_digits=1_000_000)
"""A server that the program chose may send far more than a server takes from strangers: long lists, for one."""

BOTH = (Transport.WEBSOCKET, Transport.POLLING)


@dataclass(frozen=True)
class SocketSettings:
    """What a `Socket` may be told otherwise.

    Attributes:
        transports: what is tried, in this order. With WebSocket first, polling is the fallback where no WebSocket
            passes, and the client then begins with polling. A session that begins with polling is upgraded if WebSocket
            is here, too. One transport alone is used alone.
        connect_timeout: for an attempt, from the connection to the answer to CONNECT; 20 as in the stock client.
        upgrade_timeout: for the move of a session from polling to WebSocket. If it takes longer, polling goes on.
        send_timeout: for the bytes of one write. A peer that takes none for so long is gone.
        close_timeout: for leaving in good order, so that no peer holds up the end of the program.
        reconnect_delay, reconnect_delay_max: the wait before the second attempt, and the longest one, as in the stock
            client. Each wait is twice the one before.
        jitter: the part of each wait that is random, from 0 to 1. It is taken off after the longest wait was applied,
            so that clients that lost one server do not all come back in one moment.
        stable_after: a connection that lasted so long begins the waits anew. One that ends sooner counts as a failed
            attempt, since a server that accepts and hangs up would otherwise be asked without a pause.
        max_retry_after: the longest wait that a server's `Retry-After` can ask for.
        max_attempts: failures in a row after which the client gives up; None for never.
        max_refusals: refusals of CONNECT in a row after which the client gives up although `auth` gave something new.
        queue_items, queue_bytes: what may wait to be taken from the iterator. When either is reached, the client ends
            the connection, keeps what it has, and connects again once half has been taken.
        outbox_packets, outbox_bytes: what may wait to be sent. `emit` waits while there is no room.
        max_receive_bytes: the largest message or answer to a poll, and the largest attachments of a packet.
        json_limits: what the JSON of one packet of the server may hold.
    """

    transports: tuple[Transport, ...] = BOTH
    connect_timeout: float = 20.0
    upgrade_timeout: float = 10.0
    send_timeout: float = 10.0
    close_timeout: float = 1.0
    reconnect_delay: float = 1.0
    reconnect_delay_max: float = 5.0
    jitter: float = 0.5
    stable_after: float = 5.0
    max_retry_after: float = 300.0
    max_attempts: int | None = None
    max_refusals: int = 3
    queue_items: int = 1000
    queue_bytes: int = 4 * 2**20
    outbox_packets: int = 256
    outbox_bytes: int = 2**20
    max_receive_bytes: int = 4 * 2**20
    json_limits: JsonLimits = CHOSEN_SERVER

    def __post_init__(self) -> None:
        """Check what would otherwise fail far from here.

        Raises:
            ValueError: it names the setting.
        """
        if not self.transports or len(set(self.transports)) < len(self.transports):
            raise ValueError("transports: name polling, websocket or both, each once")
        if not all(isinstance(one, Transport) for one in self.transports):
            raise ValueError("transports: must be of djactors.protocol.Transport")
        if not 0 <= self.jitter <= 1:
            raise ValueError("jitter: must be from 0 to 1")
        for name in ("queue_items", "queue_bytes", "outbox_packets", "outbox_bytes", "max_receive_bytes"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: must be at least 1")
        for name in ("connect_timeout", "upgrade_timeout", "send_timeout"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name}: must be above 0 seconds")
        for name in ("reconnect_delay", "reconnect_delay_max", "stable_after", "max_retry_after", "close_timeout"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name}: must not be below 0 seconds")
