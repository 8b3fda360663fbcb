"""From a change in the log to the packets that sockets get: encoded once, shared by all of them.

A change leaves in one of two forms: stamped with its offset as a last argument, which is what stock JS clients send
back when they reconnect, or plain, for clients that said `recovery: false`. Each form is made when the first socket
wants it.

Source: the contract's section "Offsets and recovery".
"""

from __future__ import annotations

from djactors.domain.commands import Change
from djactors.protocol import EncodedPacket, encode_event_json

NEW = "notification:new"
UNREAD_COUNT = "notification:unread-count"
CHANGES_RESET = "changes:reset"
AUTH_EXPIRING = "auth:expiring"


class ChangePackets:
    """One change and its packets."""

    __slots__ = ("_plain", "_stamped", "body", "name", "seq", "user_id")

    def __init__(self, change: Change) -> None:
        self.seq = change.seq
        self.user_id = change.user_id
        self.name = change.name
        self.body = change.body
        self._plain: EncodedPacket | None = None
        self._stamped: EncodedPacket | None = None

    def packet(self, epoch: str | None) -> EncodedPacket:
        """The packet stamped with an offset of this epoch, or plain where it is None."""
        if epoch is None:
            if self._plain is None:
                self._plain = encode_event_json(self.name, (self.body,))
            return self._plain
        if self._stamped is None:
            self._stamped = encode_event_json(self.name, (self.body, offset_json(epoch, self.seq)))
        return self._stamped


def offset(epoch: str, seq: int) -> str:
    """`EPOCH.SEQ`, opaque to clients."""
    return f"{epoch}.{seq}"


def offset_json(epoch: str, seq: int) -> bytes:
    """An offset as JSON text."""
    return b'"%b.%d"' % (epoch.encode(), seq)


def unlogged(name: str, body: bytes, epoch: str | None, seq: int) -> EncodedPacket:
    """A packet that is not in the log: it carries the last offset that its socket was given."""
    return encode_event_json(name, (body,) if epoch is None else (body, offset_json(epoch, seq)))


def unread_count(count: int, epoch: str | None, seq: int) -> EncodedPacket:
    """The badge."""
    return unlogged(UNREAD_COUNT, b'{"count":%d}' % count, epoch, seq)
