"""The connected users of one target: comes, stays, leaves."""

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping
from time import perf_counter, time

import jwt
import msgspec

from bench.load.arrivals import Arrivals
from bench.load.commands import Target
from bench.load.user import SOCKET_IO, User

TENANT = 1
"""Of the load, unless its target says another."""

BACKEND = 1_000_000
"""The user in whose name the load acts; nobody of those who are notified."""

TOKEN_SECONDS = 24 * 3600
CONNECT_SECONDS = 60.0
"""How long a user waits for the CONNECT reply and the first unread count."""

ADDRESS_USERS = 9_000
"""Users that come from one source address: servers bound them, and ports run short at some 28,000."""


def token(target: Target, **claims: object) -> str:
    """A token that the target takes."""
    claims = {"tenantId": target.tenant, "userId": BACKEND, "exp": int(time()) + TOKEN_SECONDS} | claims
    return jwt.encode(claims, target.secret, algorithm="HS256")


class Crowd:
    """Users by number. What comes to them goes to `arrivals`."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self.arrivals = Arrivals()
        self.users: dict[int, User] = {}
        self._tokens: dict[int, str] = {}

    def make_tokens(self, numbers: Iterable[int]) -> None:
        """Sign what these users will show, before anything is measured."""
        for number in numbers:
            if number not in self._tokens:
                self._tokens[number] = token(self._target, role="user", userId=number)

    async def connect(
        self,
        numbers: Iterable[int],
        *,
        at_once: int,
        recovery: bool,
        states: Mapping[int, Mapping[str, str]] | None = None,
    ) -> tuple[list[float], Counter[str]]:
        """Connect users and wait until each has its unread count; seconds from each one's start, and the failures.

        `states` is what returning users add to their handshake: pid and offset.
        """
        waiting = iter(list(numbers))
        seconds: list[float] = []
        failures: Counter[str] = Counter()

        async def keep_connecting() -> None:
            for number in waiting:
                began = perf_counter()
                try:
                    async with asyncio.timeout(CONNECT_SECONDS):
                        user = await self._open(number, recovery, (states or {}).get(number, {}))
                        seconds.append(await user.connected - began)
                except (OSError, TimeoutError) as error:
                    failures[f"{type(error).__name__}: {error}"] += 1
                else:
                    self.users[number] = user

        await asyncio.gather(*(keep_connecting() for _ in range(at_once)))
        await self._counted()
        return seconds, failures

    async def _open(self, number: int, recovery: bool, state: Mapping[str, str]) -> User:
        target = self._target
        address = f"{target.host}:{target.port}"
        if target.dialect == "plain":
            user = User(address, None, self.arrivals, f"/sub/{number}")
        else:
            auth = {"token": self._tokens[number], "tenantId": target.tenant, "recovery": recovery, **state}
            user = User(address, msgspec.json.encode(auth), self.arrivals, SOCKET_IO)
        source = number // ADDRESS_USERS
        local = (f"127.0.0.{1 + source}", 0) if source else None
        await asyncio.get_running_loop().create_connection(lambda: user, target.host, target.port, local_addr=local)
        return user

    async def _counted(self) -> None:
        """The first unread count comes after the CONNECT reply; what it costs is a part of connecting."""
        last = perf_counter() + CONNECT_SECONDS
        if self._target.dialect == "socket.io":
            for user in self.users.values():
                # Polled, which spares a check at each frame.
                while user.unread_packet is None and perf_counter() < last:  # noqa: ASYNC110
                    await asyncio.sleep(0.002)

    def leave(self) -> None:
        """Everybody goes."""
        for user in self.users.values():
            user.close()
        self.users.clear()
