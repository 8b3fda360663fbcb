"""A backend: posts its events in order, each under its key, until it is answered; sometimes once more after that."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import trio

from tests.chaos.plan import Publish
from tests.chaos.requests import Way, insist
from tests.history.records import Answered, History, Sent

MAX_WAITING = 100_000
"""Steps that may wait for one that is retried: a whole run's, so that a step never waits for a publisher."""


class Publisher:
    """Posts what it is given, one event at a time."""

    def __init__(self, tenant_id: int, lane: Way, history: History) -> None:
        self._tenant_id = tenant_id
        self._lane = lane
        self._history = history
        self._give, self._take = trio.open_memory_channel[Publish](MAX_WAITING)

    def give(self, publish: Publish) -> None:
        """Post this after everything before it."""
        self._give.send_nowait(publish)

    def close(self) -> None:
        """There is no more; `run` ends when all is acknowledged."""
        self._give.close()

    async def run(self) -> None:
        """Post until closed."""
        async for publish in self._take:
            for key, planned in publish.events:
                event = planned
                if publish.due_in is not None:
                    deadline = self._lane.now() + timedelta(seconds=publish.due_in)
                    event = {**planned, "deadline": deadline.isoformat()}
                await self.post(key, event)
                if publish.again:
                    await self._attempt(key, event)

    async def post(self, key: str, event: dict[str, Any]) -> Any:
        """Post one event; its answer."""
        self._history.add(Sent(self._tenant_id, key, event))
        return await self._attempt(key, event)

    async def _attempt(self, key: str, event: dict[str, Any]) -> Any:
        headers = {"idempotency-key": key}
        token = self._lane.token(role="service")
        answer = await insist(self._lane, "POST", "/api/events", token=token, body=event, headers=headers)
        self._history.add(Answered(self._tenant_id, key, answer.status, answer.json))
        return answer.json
