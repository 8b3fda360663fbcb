"""Who may be connected, and what was found of those who may not."""

from __future__ import annotations

import base64
from collections.abc import Callable
from datetime import datetime
from typing import Any

import msgspec
import trio

from tests.history.records import Barred, History
from tests.simulation.clocks import START


class Access:
    """What is known of people's tokens and accounts.

    Attributes:
        heedless: names of devices that let their token expire.
        gone: those who were erased, by tenant and id.
    """

    def __init__(
        self,
        history: History,
        find: Callable[[str, str, str], None],
        clock_was_right: Callable[[], bool],
        patience: float,
        heedless: list[str],
    ) -> None:
        self.heedless = frozenset(heedless)
        self.gone: set[tuple[int, int]] = set()
        self._history = history
        self._find = find
        self._clock_was_right = clock_was_right
        # Seconds after a token has expired, within which its session has ended.
        self._patience = patience
        # When somebody heard of the sign-out, by the virtual clock, and what it is of, by the server's.
        self._signed_out: dict[tuple[int, int], tuple[float, float]] = {}

    def find(self, who: str, text: str) -> None:
        """Somebody had access who should have had none, or the other way round."""
        self._find("isolation", who, text)

    def signed_out(self, tenant_id: int, user_id: int, at: str) -> None:
        """A sign-out was answered with this moment."""
        moment = datetime.fromisoformat(at).timestamp()
        self._signed_out[tenant_id, user_id] = trio.current_time(), moment

    def erased(self, tenant_id: int, user_id: int) -> None:
        """Nothing is left of somebody."""
        self.gone.add((tenant_id, user_id))

    def forget(self) -> None:
        """An older copy of the database was put back."""
        self._signed_out.clear()
        self.gone.clear()

    def let_in(self, device: str, tenant_id: int, user_id: int, token: str, asked_at: float) -> None:
        """A device was let in with a token, for which it had asked at this moment."""
        answered_at, moment = self._signed_out.get((tenant_id, user_id), (float("inf"), 0.0))
        if asked_at > answered_at and claims_of(token)["iat"] < moment:
            self.find(f"{device} (user {user_id})", "was let in with a token from before it was signed out")

    async def bar_when_expired(
        self, device: str, tenant_id: int, user_id: int, token: str, is_on: Callable[[], bool]
    ) -> None:
        """Wait until the session that a device has opened with a token must have ended, unless it ends before."""
        expires = claims_of(token)["exp"] - START.timestamp()
        await trio.sleep_until(expires + self._patience)
        if is_on() and self._clock_was_right():
            self._history.add(Barred(tenant_id, user_id, device))


def claims_of(token: str) -> dict[str, Any]:
    """What a token says."""
    payload = token.split(".")[1]
    claims: dict[str, Any] = msgspec.json.decode(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    return claims
