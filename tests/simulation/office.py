"""What a tenant's admins and backends do to people: sign them out, give them roles, erase them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import trio

from tests.chaos.plan import Publish
from tests.chaos.publisher import MAX_WAITING, Publisher
from tests.chaos.requests import BETWEEN_TRIES, insist
from tests.history.records import Barred, History
from tests.simulation.access import Access
from tests.simulation.lanes import SimulatedLane
from tests.simulation.plan import Erase, Role, SignOut


class Office:
    """Does what it is given, one thing after the other, each until it is answered."""

    def __init__(
        self, tenant_id: int, lane: SimulatedLane, history: History, access: Access, losses: Callable[[], int]
    ) -> None:
        self._tenant_id = tenant_id
        self._lane = lane
        self._history = history
        self._access = access
        # How often an older copy was put back: what was done before may be undone.
        self._losses = losses
        self._publisher = Publisher(tenant_id, lane, history)
        self._give, self._take = trio.open_memory_channel[Publish | SignOut | Role | Erase](MAX_WAITING)
        self._keys = 0

    def give(self, action: Publish | SignOut | Role | Erase) -> None:
        """Do this after everything before it."""
        self._give.send_nowait(action)

    def close(self) -> None:
        """There is no more; `run` ends when all is answered."""
        self._give.close()

    async def run(self) -> None:
        """Until closed."""
        async for action in self._take:
            match action:
                case Publish():
                    for key, event in action.events:
                        await self._publisher.post(key, event)
                case SignOut():
                    await self._sign_out(action.user_id)
                case Role():
                    await self._give_role(action.user_id, action.role)
                case Erase():
                    await self._erase(action.user_id)

    async def _sign_out(self, user_id: int) -> None:
        answer = await self._post(f"/api/users/{user_id}/sign-out", {})
        self._history.add(Barred(self._tenant_id, user_id))
        self._access.signed_out(self._tenant_id, user_id, answer["signedOutAt"])

    async def _give_role(self, user_id: int, role: str) -> None:
        self._keys += 1
        event = {
            "type": "user.upserted",
            "tenantId": self._tenant_id,
            "userId": user_id,
            "name": f"User {user_id}",
            "role": role,
        }
        losses = self._losses()
        await self._publisher.post(f"role-{self._keys}", event)
        path = f"/api/admin/suppressions?userId={user_id}"
        expected = 200 if role == "admin" else 403
        # The token says that it is a user's; what the tenant says wins.
        status = await self._status(path, user_id)
        if status != expected and self._losses() == losses:
            self._access.find(f"user {user_id}", f"is {role} now, and was answered {status}, not {expected}")

    async def _status(self, path: str, user_id: int) -> int:
        while True:
            # A new token each time: the one of the second of a sign-out is worth nothing.
            token = self._lane.token(tenant_id=self._tenant_id, user_id=user_id)
            answer = await self._lane.ask("GET", path, token=token)
            if answer is not None and answer.status not in (429, 500, 503):
                return answer.status
            await trio.sleep(BETWEEN_TRIES)

    async def _erase(self, user_id: int) -> None:
        after = None
        losses = self._losses()
        while True:
            answer = await self._post(f"/api/users/{user_id}/erase", {} if after is None else {"after": after})
            after = answer.get("after")
            if after is None:
                break
        if self._losses() == losses and "error" not in answer:
            self._access.erased(self._tenant_id, user_id)

    async def _post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        token = self._lane.token(role="service")
        answer = await insist(self._lane, "POST", path, token=token, body={"tenantId": self._tenant_id, **body})
        return dict(answer.json)
