"""A backend that posts numbered events and puts down what it was answered, for the history checker to judge."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h11
import trio

from tests.history import History, Ledger, judge, report
from tests.history.records import Answered, Sent
from tests.serving import ServedProcess, service_token

TENANT, USER = 1, 7
ENVIRONMENT = {"DJACTORS_DAILY_LIMIT": "1000"}
"""All go to one user, who is to get every one."""

ACCEPTED = (200, 201)
GONE = (OSError, trio.BrokenResourceError, h11.RemoteProtocolError)
"""What a client sees of a server that ends."""

PATIENCE = 120
"""Seconds for an answer. Some servers are frozen meanwhile, until something else has happened on a busy machine."""


class Backend:
    """Posts to whichever server it is given."""

    def __init__(self) -> None:
        self.history = History()
        self.sent: dict[str, dict[str, Any]] = {}
        self.acknowledged: dict[str, Any] = {}
        self._token = service_token()

    async def post(self, server: ServedProcess, text: str = "") -> int | None:
        """Post the next event; the status, None where the server was gone."""
        key = f"key-{len(self.sent)}"
        event = {
            "type": "notification.requested",
            "tenantId": TENANT,
            "userId": USER,
            "notificationType": "numbered",
            "priority": "LOW",
            "title": f"number {len(self.sent)}",
            **({"message": text} if text else {}),
        }
        self.sent[key] = event
        self.history.add(Sent(TENANT, key, event))
        return await self._attempt(server, key)

    async def _attempt(self, server: ServedProcess, key: str) -> int | None:
        headers = {"idempotency-key": key}
        try:
            answer = await server.publish(self.sent[key], token=self._token, headers=headers, patience=PATIENCE)
        except GONE:
            return None
        self.history.add(Answered(TENANT, key, answer.status, answer.json))
        if answer.status in ACCEPTED:
            self.acknowledged[key] = answer.json
        return answer.status

    async def post_until(self, server: ServedProcess, *statuses: int | None, most: int = 1000) -> int | None:
        """Post on until an answer is one of these; the answer."""
        for _ in range(most):
            status = await self.post(server)
            if status in statuses:
                return status
        raise AssertionError(f"{most} posts, and none was answered {statuses}")

    async def post_again(self, server: ServedProcess) -> None:
        """Post everything once more, as a backend does that was not answered. What was acknowledged gets its answer."""
        for key in self.sent:
            known = self.acknowledged.get(key)
            status = await self._attempt(server, key)
            assert status in ((200,) if known is not None else ACCEPTED), (key, status)
            assert known is None or self.acknowledged[key] == known, key

    def judge(self, database: Path | str) -> None:
        """Hold a database that nobody serves against what was answered."""
        findings = judge(self.history, Ledger.read(database))
        assert not findings, report(findings)
