"""How much each address has of something that is capped: connections at the listener, sessions at the engine.

Sessions need a count of their own: one that polls has no connection between its polls, so a single connection can open
any number of them.
"""

from __future__ import annotations

import socket


class AddressCounts:
    """Counts by address; an IPv6 host owns a whole /64 (RFC 6177), and a mapped IPv4 address is that address."""

    __slots__ = ("_counts",)

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}

    def __getitem__(self, peer: str) -> int:
        return self._counts.get(host_of(peer), 0)

    def add(self, peer: str) -> None:
        """Count one more."""
        host = host_of(peer)
        self._counts[host] = self._counts.get(host, 0) + 1

    def remove(self, peer: str) -> None:
        """Count one that was added no longer."""
        host = host_of(peer)
        self._counts[host] -= 1
        if not self._counts[host]:
            del self._counts[host]


def host_of(peer: str) -> str:
    """What counts as one address: an IPv6 host owns a whole /64 (RFC 6177)."""
    if ":" not in peer:
        return peer
    packed = socket.inet_pton(socket.AF_INET6, peer.partition("%")[0])
    if packed.startswith(b"\0" * 10 + b"\xff\xff"):
        return socket.inet_ntoa(packed[12:])
    return packed[:8].hex()
