"""The devices of a chaos run over simulated clients, and what they do when their token runs out."""

from __future__ import annotations

from typing import Any

import trio

from tests.chaos import device as chaos
from tests.chaos.device import ACK_SECONDS, Device, SocketDevice
from tests.chaos.plan import DevicePlan
from tests.chaos.requests import Way
from tests.clients.driver import Occurrence, Unmet
from tests.history.records import History
from tests.simulation.stock import SimulatedClients

RENEW_SECONDS = 1.0
"""Between two attempts with a new token: the server's clock may be wrong for a while."""

EXPIRED = ("token_expired", "token_not_yet_valid", "token_invalid")
"""What a token is refused for that would be good if the server's clock were right."""


class _Renewing(SocketDevice):
    """Brings a new token where it is told that the one it has runs out, and where it has been refused for it."""

    def _hear(self, occurrence: Occurrence) -> None:
        if occurrence.what == "connect_error" and (occurrence["data"] or {}).get("code") in EXPIRED:
            self._nursery.start_soon(self._renew)
            return
        super()._hear(occurrence)

    def _heard(self, event: str, args: list[Any]) -> None:
        super()._heard(event, args)
        if event == "auth:expiring":
            self._nursery.start_soon(self._refresh)

    async def _refresh(self) -> None:
        if self._socket is not None:
            try:
                await self._socket.emit("auth:refresh", {"token": self._token}, ack=True, timeout=ACK_SECONDS)
            except Unmet:
                return

    async def _renew(self) -> None:
        raise NotImplementedError


class RenewingStock(_Renewing, chaos.StockDevice):
    """A stock client whose application listens for `connect_error`."""

    async def _renew(self) -> None:
        await trio.sleep(RENEW_SECONDS)
        if self._socket is not None:
            await self._socket.set_auth({"token": self._token, "tenantId": self.plan.tenant_id})
            await self._socket.connect()


class RenewingSince(_Renewing, chaos.SinceDevice):
    """One that makes a new client when the old one is not heard of."""

    async def _renew(self) -> None:
        await trio.lowlevel.checkpoint()


def make(
    plan: DevicePlan, lane: Way, history: History, nursery: trio.Nursery, js: SimulatedClients, python: SimulatedClients
) -> Device:
    """The device that a plan asks for."""
    if plan.kind == "recovery":
        return RenewingStock(plan, lane, history, nursery, js)  # type: ignore[arg-type]
    if plan.kind == "since":
        return RenewingSince(plan, lane, history, nursery, python)  # type: ignore[arg-type]
    return chaos.PollingDevice(plan, lane, history, nursery)
