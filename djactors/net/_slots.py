"""Which connections are open within the caps, whose address each one counts for, and which one gives way to a newcomer.

Rules:
  * A connection is proven once the application has called `Request.prove` on a request that came by it.
  * Until then it gives way, while the server waits for its client's next bytes, as soon as slots run short. A
    connection whose request is being answered, or that carries a WebSocket, never does: the application bounds those.
  * Out of all slots, the address with the most such connections loses the one that waited the longest, unless the
    newcomer's own address has as many. At the cap of an address, that address loses its own.
  * Behind a trusted proxy, a connection counts for the address that its latest request came from.
"""

from collections.abc import Collection
from typing import Protocol

from djactors.net._shares import AddressCounts, ProvenAddresses, host_of


class Guest(Protocol):
    """A connection, as far as its slot is concerned."""

    peer: str

    def drain(self) -> None:
        """Finish the request in hand and close."""

    def give_way(self) -> None:
        """Close at once: a newcomer takes the slot."""


class Waiting:
    """Unproven connections that wait for their clients, by host, each host's in the order in which they began to wait.

    Every operation takes constant time, however many there are.
    """

    __slots__ = ("_by_host", "_by_size")

    def __init__(self) -> None:
        self._by_host: dict[str, dict[Guest, None]] = {}
        # Hosts by the number of their connections; the last entry is never empty.
        self._by_size: list[dict[str, None]] = [{}]

    def add(self, guest: Guest) -> None:
        """The server waits for this client now."""
        host = host_of(guest.peer)
        guests = self._by_host.setdefault(host, {})
        if guest not in guests:
            guests[guest] = None
            self._resize(host, len(guests) - 1, len(guests))

    def discard(self, guest: Guest) -> None:
        """The server does not wait for this client any more. Its `peer` is the same as when it was added."""
        host = host_of(guest.peer)
        guests = self._by_host.get(host)
        if guests is None or guest not in guests:
            return
        del guests[guest]
        self._resize(host, len(guests) + 1, len(guests))
        if not guests:
            del self._by_host[host]

    def oldest(self, peer: str) -> Guest | None:
        """The connection of this address that has waited the longest."""
        guests = self._by_host.get(host_of(peer))
        return next(iter(guests)) if guests else None

    def victim(self, newcomer: str, *, is_proven: bool) -> Guest | None:
        """The connection that gives way to a newcomer from this address when all slots are taken."""
        own = self._by_host.get(host_of(newcomer), {})
        most = len(self._by_size) - 1
        if most == 0:
            return None
        if own and (len(own) == most or (not is_proven and len(own) >= most)):
            return next(iter(own))
        host = next(iter(self._by_size[most]))
        return next(iter(self._by_host[host]))

    def _resize(self, host: str, before: int, now: int) -> None:
        if before:
            del self._by_size[before][host]
        if now:
            if now == len(self._by_size):
                self._by_size.append({})
            self._by_size[now][host] = None
        while len(self._by_size) > 1 and not self._by_size[-1]:
            self._by_size.pop()


class Slots:
    """The connections within the caps. `max_total` may be lowered before the first one comes."""

    __slots__ = ("_max_per_address", "_open", "_per_address", "_proven", "max_total", "waiting")

    def __init__(self, max_total: int, max_per_address: int, proven: ProvenAddresses) -> None:
        self.max_total = max_total
        self.waiting = Waiting()
        self._max_per_address = max_per_address
        self._proven = proven
        self._open: dict[Guest, None] = {}
        self._per_address = AddressCounts()

    def __len__(self) -> int:
        return len(self._open)

    def __contains__(self, guest: Guest) -> bool:
        return guest in self._open

    @property
    def guests(self) -> Collection[Guest]:
        """The open connections, as a live view."""
        return self._open.keys()

    def excess(self, peer: str, now: float, *, counts_address: bool = True) -> tuple[str | None, Guest | None]:
        """Why there is no slot for a newcomer, if there is none, and else which connection must give way, if one must.

        The reason is `total` or `address`.
        """
        if counts_address and self._per_address[peer] >= self._max_per_address:
            victim = self.waiting.oldest(peer)
            return (None, victim) if victim is not None else ("address", None)
        if len(self._open) >= self.max_total:
            victim = self.waiting.victim(peer, is_proven=self._proven.has(peer, now))
            return (None, victim) if victim is not None else ("total", None)
        return None, None

    def add(self, guest: Guest) -> None:
        """A connection takes a slot."""
        self._open[guest] = None
        self._per_address.add(guest.peer)

    def remove(self, guest: Guest) -> bool:
        """A connection frees its slot; return whether it had one."""
        self.waiting.discard(guest)
        if guest not in self._open:
            return False
        del self._open[guest]
        self._per_address.remove(guest.peer)
        return True

    def proved(self, guest: Guest, now: float) -> None:
        """Somebody has proved, by this connection, who they are."""
        self.waiting.discard(guest)
        self._proven.add(guest.peer, now)

    def is_full_for(self, peer: str) -> bool:
        """Whether an address has all the connections that it may have."""
        return self._per_address[peer] >= self._max_per_address

    def readdress(self, guest: Guest, peer: str) -> None:
        """From now on a connection counts for another address."""
        if guest in self._open:
            self._per_address.remove(guest.peer)
            self._per_address.add(peer)
        guest.peer = peer
