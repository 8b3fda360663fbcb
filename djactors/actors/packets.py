"""From a change in the log to the packets that sockets get: encoded once, shared by all of them.

A change leaves in one of two forms: stamped with its offset as a last argument, which is what stock JS clients send
back when they reconnect, or plain, for clients that said `recovery: false`. Each form is made when the first socket
wants it.

Source: the contract's section "Offsets and recovery".
"""

from __future__ import annotations

from djactors.domain.commands import Change
from djactors.domain.marks import Offset
from djactors.protocol import EncodedPacket, encode_event_json

NEW = "notification:new"
UNREAD_COUNT = "notification:unread-count"
CHANGES_RESET = "changes:reset"
AUTH_EXPIRING = "auth:expiring"


class ChangePackets:
    """One change and its packets; `at` is the point in the log right after it."""

    __slots__ = ("_plain", "_stamped", "at", "body", "name", "seq", "user_id")

    def __init__(self, change: Change) -> None:
        self.at = change.offset
        self.seq = change.seq
        self.user_id = change.user_id
        self.name = change.name
        self.body = change.body
        self._plain: EncodedPacket | None = None
        self._stamped: EncodedPacket | None = None

    def packet(self, *, stamped: bool) -> EncodedPacket:
        """The packet, stamped with its offset or plain."""
        if not stamped:
            if self._plain is None:
                self._plain = encode_event_json(self.name, (self.body,))
            return self._plain
        if self._stamped is None:
            self._stamped = encode_event_json(self.name, (self.body, _json(self.at)))
        return self._stamped


def _json(offset: Offset) -> bytes:
    return b'"%b"' % str(offset).encode()


def unlogged(name: str, body: bytes, told: Offset, *, stamped: bool) -> EncodedPacket:
    """A packet that is not in the log: it carries the last offset that its socket was told."""
    return encode_event_json(name, (body, _json(told)) if stamped else (body,))


def unread_count(count: int, told: Offset, *, stamped: bool) -> EncodedPacket:
    """The badge."""
    return unlogged(UNREAD_COUNT, b'{"count":%d}' % count, told, stamped=stamped)
