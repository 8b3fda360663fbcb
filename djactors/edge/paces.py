"""How fast each sender may go: one bucket for each person's commands, one for their reads, one for each backend.

Rules:
  * A person is (tenant, user). All their devices and tokens, sockets and HTTP requests draw from the same buckets, so
    that a second tab or a second token makes nobody faster.
  * What changes something is a command. Reads have a bucket of their own: a page that reloads in a loop does not keep
    its person from clicking. A CONNECT is a read, because the person's state is read for it.
  * A backend is the sender that the contract names: that of a tenant, or that of the installation. Its tokens and its
    machines draw from one bucket, whatever their addresses.
  * A sender who is over gets `TooManyRequests`, which says when to come back; nobody else is affected.
"""

from __future__ import annotations

from typing import TypeAlias

import trio

from djactors.config import Settings
from djactors.edge.auth import Identity, Member
from djactors.edge.errors import TooManyRequests
from djactors.net import TokenBuckets

_Person: TypeAlias = tuple[int, int]


class Paces:
    """The buckets of all senders of a server. The time is Trio's. See the module for the rules."""

    def __init__(self, settings: Settings) -> None:
        self._commands: TokenBuckets[_Person] = TokenBuckets(settings.emit_rate, settings.emit_burst)
        self._reads: TokenBuckets[_Person] = TokenBuckets(settings.read_rate, settings.read_burst)
        # By tenant; None is the installation's backend.
        self._backends: TokenBuckets[int | None] = TokenBuckets(settings.post_rate, settings.post_burst)

    def check_command(self, member: Member) -> None:
        """Count a command, or anything else that a person sends. Raises TooManyRequests."""
        _take(self._commands, (member.tenant_id, member.user_id))

    def check_read(self, member: Member) -> None:
        """Count a read. Raises TooManyRequests."""
        _take(self._reads, (member.tenant_id, member.user_id))

    def check(self, identity: Identity, *, reads: bool) -> None:
        """Count a request that somebody makes as a person: with a service's token it counts for the backend.

        Raises:
            Unauthorized: the token names no person.
            TooManyRequests: the person, or the backend, goes too fast.
        """
        member = identity.member()
        if identity.role == "service":
            self.check_backend(identity)
        elif reads:
            self.check_read(member)
        else:
            self.check_command(member)

    def check_backend(self, publisher: Identity, count: int = 1) -> None:
        """Count events that a service posts. Raises TooManyRequests."""
        wait = self._backends.take(publisher.tenant_id, trio.current_time(), count)
        if wait > 0:
            raise TooManyRequests(wait)


def _take(buckets: TokenBuckets[_Person], person: _Person) -> None:
    wait = buckets.take(person, trio.current_time())
    if wait > 0:
        raise TooManyRequests(wait)
