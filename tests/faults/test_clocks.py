"""Rows 8 and 39: the wall clock of the server's process jumps, as when somebody sets it, and no other clock does.

libfaketime is loaded into the server. It reads how far the clock is off from a file, at each look at the clock.
https://github.com/wolfcw/libfaketime
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self

import msgspec
import trio

from tests.clients.driver import stock_client
from tests.faults.backend import TENANT
from tests.serving import ServedProcess, make_token, serving

PATIENCE = 30
WEEKS = timedelta(days=40)
LONG = 400 * 24 * 3600
"""The life of tokens for a server that starts with a wrong clock, and cannot know better."""

ASSIGNEE, LATER = 2, 3
POLLING = "/socket.io/?EIO=4&transport=polling"


class Clock:
    """The wall clock of the servers that are started with its environment."""

    def __init__(self, folder: Path, library: Path) -> None:
        self._file = folder / "clock"
        self.set(timedelta())
        self.environment: Mapping[str, str] = {
            "LD_PRELOAD": str(library),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "DJACTORS_LOG_LEVEL": "info",
        }

    def set(self, ahead: timedelta) -> None:
        """Set the clock that much ahead of the right time; below zero it is behind."""
        other = self._file.with_name("next")
        other.write_text(f"{ahead.total_seconds():+.0f}\n")
        other.replace(self._file)


async def now(server: ServedProcess) -> datetime:
    """What the server takes for the time, from an answer's `Date`."""
    date = (await server.request("GET", "/healthz")).headers["date"]
    return datetime.strptime(date, "%a, %d %b %Y %H:%M:%S %Z").replace(tzinfo=UTC)


async def page(server: ServedProcess, user_id: int, ttl: int = 3600) -> Any:
    token = make_token(tenant_id=TENANT, user_id=user_id, ttl=ttl)
    answer = await server.request("GET", "/api/notifications?limit=100", token=token)
    assert answer.status == 200, answer.body
    return answer.json


async def create(server: ServedProcess, title: str, assignee: int, due: timedelta, ttl: int = 3600) -> None:
    """Create a job that is due so long after the right time."""
    deadline = (datetime.now(UTC) + due).isoformat()
    event = {"type": "job.created", "tenantId": TENANT, "title": title, "requesterId": 1, "assigneeId": assignee}
    answer = await server.publish({**event, "deadline": deadline}, token=make_token(role="service", ttl=ttl))
    assert answer.status == 201, answer.body


class Polling:
    """A client that polls, and so sees the heartbeats, in which the server looks at the end of its token."""

    def __init__(self, server: ServedProcess, sid: str) -> None:
        self._server = server
        self._path = f"{POLLING}&sid={sid}"

    @classmethod
    async def connect(cls, server: ServedProcess, token: str) -> Self:
        opened = await server.request("GET", POLLING)
        self = cls(server, msgspec.json.decode(opened.body[1:])["sid"])
        await self._post(f'40{{"token":"{token}","recovery":false}}')
        return self

    async def heartbeat(self) -> None:
        """Answer the next ping; until then nothing may be said of the token or of an end."""
        while True:
            answer = await self._server.request("GET", self._path)
            assert answer.status == 200, answer.body
            packets = answer.body.decode().split("\x1e")
            for packet in packets:
                assert not packet.startswith(("1", "41", "44", '42["auth:')), packet
            if "2" in packets:
                return await self._post("3")

    async def _post(self, packet: str) -> None:
        answer = await self._server.request("POST", self._path, body=packet.encode())
        assert answer.status == 200, answer.body


def told(server: ServedProcess) -> list[str]:
    return [msgspec.json.decode(line)["event"] for line in server.errors.read_text().splitlines() if line[:1] == "{"]


async def test_row_8_and_39_a_clock_that_jumps_by_weeks_and_back_expires_nothing_and_tells_each_alert_once(
    tmp_path: Path, faketime: Path
) -> None:
    clock = Clock(tmp_path, faketime)
    environment = {**clock.environment, "DJACTORS_PING_INTERVAL": "1", "DJACTORS_PING_TIMEOUT": "30"}
    async with serving(tmp_path, environment=environment) as server, stock_client("python") as clients:
        await create(server, "in ten days", LATER, timedelta(days=10))
        assert abs(await now(server) - datetime.now(UTC)) < timedelta(minutes=1)
        # A token of an hour, as everybody has one.
        auth = {"token": make_token(tenant_id=TENANT, user_id=ASSIGNEE), "recovery": False}
        polling = await Polling.connect(server, make_token(tenant_id=TENANT, user_id=LATER))
        assignee = await clients.connect(server.url, auth=auth, transports=["websocket"])
        seen = 0
        for ahead in (WEEKS, -WEEKS, timedelta()):
            clock.set(ahead)
            assert abs(await now(server) - datetime.now(UTC) - ahead) < timedelta(minutes=1), "so the clock says"
            # This one is due to be alerted; whoever sees to it sees to all that are due.
            await create(server, f"in twenty hours, {ahead}", ASSIGNEE, timedelta(hours=20))
            seen += 2
            with trio.fail_after(PATIENCE):
                while len(assignee.events("notification:new")) < seen:
                    await assignee.expect("event", name="notification:new")
            assert [item["type"] for item in (await page(server, LATER))["items"]] == ["job_assigned"]
            for _ in range(2):
                # The first ping may have been sent before the clock was set.
                await polling.heartbeat()
            stamps = [item["createdAt"] for item in (await page(server, ASSIGNEE))["items"]]
            assert all(abs(datetime.fromisoformat(at) - datetime.now(UTC)) < timedelta(minutes=5) for at in stamps)
        assert not [one for one in assignee.received if one.what == "disconnect"], "nobody was put out"
        assert not assignee.events("auth:expiring")
        assert sorted(args[0]["type"] for args in assignee.events("notification:new")) == [
            *["job_assigned"] * 3,
            *["sla_alert_24h"] * 3,
        ]
        assert await server.stop() == 0
    said = told(server)
    assert sum(event.startswith("the wall clock jumped") for event in said) == 1, "once for both jumps"
    assert "the wall clock agrees with the monotonic clock again" in said


async def test_row_39_a_start_with_a_clock_that_is_weeks_ahead_expires_nothing_and_alerts_nobody(
    tmp_path: Path, faketime: Path
) -> None:
    clock = Clock(tmp_path, faketime)
    async with serving(tmp_path, environment=clock.environment) as server:
        await create(server, "in ten days", LATER, timedelta(days=10), LONG)
        before = await page(server, LATER, LONG)
        assert await server.stop() == 0
    clock.set(WEEKS)
    async with serving(tmp_path, environment=clock.environment) as server:
        assert abs(await now(server) - datetime.now(UTC)) > timedelta(days=1)
        # A commit has the clock and retention look at what is due.
        await create(server, "another", ASSIGNEE, timedelta(days=100), LONG)
        assert (await page(server, LATER, LONG))["items"] == before["items"]
        assert await server.stop() == 0
    assert any(event.startswith("the newest stored time is long ago") for event in told(server))
    clock.set(timedelta())
    async with serving(tmp_path, environment=clock.environment) as server:
        assert (await page(server, LATER, LONG))["items"] == before["items"]
        await create(server, "in twenty hours", ASSIGNEE, timedelta(hours=20), LONG)
        with trio.fail_after(PATIENCE):
            while "sla_alert_24h" not in [item["type"] for item in (await page(server, ASSIGNEE, LONG))["items"]]:
                await trio.sleep(0.05)
        assert (await page(server, LATER, LONG))["items"] == before["items"]
        assert await server.stop() == 0
