"""The devices of a chaos run over simulated clients, and what they do when their token runs out."""

from __future__ import annotations

from typing import Any

import trio

from tests.chaos import device as chaos
from tests.chaos.device import ACK_SECONDS, Device, SocketDevice
from tests.chaos.plan import DevicePlan, Order
from tests.clients.driver import Occurrence, Unmet
from tests.history.records import Commanded, History
from tests.simulation.access import Access
from tests.simulation.lanes import SimulatedLane
from tests.simulation.stock import SimulatedClients, SimulatedSocketClient

RENEW_SECONDS = 1.0
"""Between two attempts with a new token: the server's clock may be wrong for a while."""

EXPIRED = ("token_expired", "token_not_yet_valid", "token_invalid", "token_revoked")
"""What a token is refused for that would be good if the server's clock were right, or if nobody was signed out."""


class Renewing(SocketDevice):
    """Brings a new token where it is told that the one it has runs out, and where it has been refused for it. One that
    is heedless does the latter only."""

    access: Access
    _sessions = 0

    def _hear(self, occurrence: Occurrence) -> None:
        if occurrence.what == "connect_error" and (occurrence["data"] or {}).get("code") in EXPIRED:
            self._nursery.start_soon(self._renew)
            return
        super()._hear(occurrence)
        if occurrence.what == "connect":
            self._let_in()

    def _let_in(self) -> None:
        socket: Any = self._socket
        if not isinstance(socket, SimulatedSocketClient):
            return  # It is connected before `open` has returned.
        self._sessions += 1
        mine, plan, token = self._sessions, self.plan, socket.token
        whose = plan.name, plan.tenant_id, plan.user_id, token
        self.access.let_in(*whose, socket.asked_at)
        if plan.name in self.access.heedless:
            is_on = lambda: self._sessions == mine  # noqa: E731
            self._nursery.start_soon(self.access.bar_when_expired, *whose, is_on)

    def _heard(self, event: str, args: list[Any]) -> None:
        super()._heard(event, args)
        if event == "auth:expiring" and self.plan.name not in self.access.heedless:
            self._nursery.start_soon(self._refresh)

    async def _refresh(self) -> None:
        if self._socket is not None:
            try:
                await self._socket.emit("auth:refresh", {"token": self._token}, ack=True, timeout=ACK_SECONDS)
            except Unmet:
                return

    async def _renew(self) -> None:
        raise NotImplementedError

    async def last_word(self, notification_id: int, patience: float) -> bool:
        """Read the last notification by its socket until that is answered: whether it was, in so many seconds."""
        with trio.move_on_after(patience):
            while True:
                after = self.offset
                answer = await self._by_socket(Order(self.plan.name, "read", "socket", 0.0), notification_id)
                if answer is not None and answer.get("ok"):
                    said = answer["count"], None, after, answer.get("unseen")
                    self._history.add(Commanded(self.plan.name, "read", notification_id, *said))
                    return True
                await trio.sleep(RENEW_SECONDS)
        return False


class RenewingStock(Renewing, chaos.StockDevice):
    """A stock client whose application listens for `connect_error`."""

    async def _renew(self) -> None:
        await trio.sleep(RENEW_SECONDS)
        if self._socket is not None:
            await self._socket.set_auth({"token": self._token, "tenantId": self.plan.tenant_id})
            await self._socket.connect()


class RenewingSince(Renewing, chaos.SinceDevice):
    """One that makes a new client when the old one is not heard of."""

    async def _renew(self) -> None:
        await trio.lowlevel.checkpoint()


def make(plan: DevicePlan, lane: SimulatedLane, history: History, nursery: trio.Nursery, access: Access) -> Device:
    """The device that a plan asks for."""
    if plan.kind == "polling":
        return chaos.PollingDevice(plan, lane, history, nursery)
    js, python = (SimulatedClients(kind, nursery, lane.requester) for kind in ("js", "python"))
    device: RenewingStock | RenewingSince
    if plan.kind == "recovery":
        device = RenewingStock(plan, lane, history, nursery, js)  # type: ignore[arg-type]
    else:
        device = RenewingSince(plan, lane, history, nursery, python)  # type: ignore[arg-type]
    device.access = access
    return device
