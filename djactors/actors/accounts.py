"""What tenants say of users beyond their tokens, kept in memory for those who ask often, with the store behind it.

Rules:
  * Whoever is asked for and not known is read from the store, once for all who wait.
  * What a commit says is known before its sender is answered, and a read that began before the commit never undoes it.
  * It is bounded. Who was asked for longest ago is forgotten, and read again when somebody asks.
  * Where other nodes write as well, whoever was read is known for a moment only.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from math import inf

import trio

from djactors.domain.accounts import Account

MAX_ACCOUNTS = 20_000
"""Users who are kept: those who are connected twice over, at 10,000; about 4 MB, as most say nothing."""

KNOWN_FOR = 0.9
"""Seconds for which an account is known where other nodes write as well: a sign-out, a role or a deactivation by one of
them holds here within a second. For those who are connected the follower learns it sooner."""

Key = tuple[int, int]
"""A tenant's id and a user's."""


class Accounts:
    """See the module for the rules.

    Args:
        read: the store's.
        known_for: seconds for which an account is known that was read.
    """

    def __init__(self, read: Callable[[int, int], Awaitable[Account]], known_for: float = inf) -> None:
        self._read = read
        self._known_for = known_for
        self._read_at: dict[Key, float] = {}
        self._known: OrderedDict[Key, Account] = OrderedDict()
        # Who is being read. What is here is what a commit has said meanwhile.
        self._reading: dict[Key, trio.Event] = {}
        self._meanwhile: dict[Key, Account | None] = {}

    def get(self, key: Key) -> Account | None:
        """What is known without asking; None if that is nothing."""
        if self._known_for < inf and trio.current_time() - self._read_at.get(key, -inf) > self._known_for:
            self._known.pop(key, None)
            self._read_at.pop(key, None)
        return self._known.get(key)

    async def look_up(self, key: Key) -> Account:
        """What is true.

        Raises:
            StoreError: it cannot be read.
        """
        while True:
            account = self.get(key)
            if account is not None:
                self._known.move_to_end(key)
                return account
            under_way = self._reading.get(key)
            if under_way is None:
                return await self._look(key)
            await under_way.wait()

    def changed(self, accounts: Mapping[Key, Account]) -> None:
        """Take in what a commit says."""
        for key, account in accounts.items():
            if key in self._meanwhile:
                self._meanwhile[key] = account
            if key in self._known:
                self._known[key] = account

    def forget(self) -> None:
        """Know nothing: somebody else has written to the database, or it is not known whether a commit happened."""
        self._known.clear()
        self._read_at.clear()
        for event in self._reading.values():
            event.set()
        # Those reads may have begun before: whoever waits for them reads anew.
        self._reading.clear()
        self._meanwhile.clear()

    async def _look(self, key: Key) -> Account:
        event = self._reading[key] = trio.Event()
        self._meanwhile[key] = None
        # Before the read: whatever is said from now on may not be in it.
        read_at = trio.current_time()
        try:
            account = await self._read(*key)
            if self._reading.get(key) is not event:
                return await self.look_up(key)
            account = self._meanwhile[key] or account
            self._known[key] = account
            if self._known_for < inf:
                self._read_at[key] = read_at
            if len(self._known) > MAX_ACCOUNTS:
                oldest, _ = self._known.popitem(last=False)
                self._read_at.pop(oldest, None)
            return account
        finally:
            if self._reading.get(key) is event:
                del self._reading[key], self._meanwhile[key]
            event.set()
