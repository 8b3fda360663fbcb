"""The checks of a person's way: connect, post an event, receive the notification, by each transport; and keep quiet."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Any, Final

import trio
from trio_websocket import WebSocketConnection

from djactors.domain.reserved import PROBE_TENANT, PROBE_USER
from djactors.operations.probe.door import Door, NoAnswerError
from djactors.operations.probe.lines import (
    ForbiddenError,
    Line,
    LostError,
    NoWebSocketError,
    PollingLine,
    WebSocketLine,
    over_websocket,
)
from djactors.operations.probe.report import Report, WrongError
from djactors.protocol import ProtocolError, Send, Transport

LATE: Final = 2.0
"""Seconds after its event was posted within which a notification must come: a hundred times what it takes."""

SPREAD: Final = 1.0
"""Seconds between the first and the last byte of an answer to a poll. The server sends it at once."""

SKEW: Final = 10.0
"""Seconds by which clocks may differ. At 60 tokens are refused, and the Date of an answer is exact to one second."""

MISSING: Final = b"send `Authorization"
"""How the server words that a request came without a token."""

TYPE: Final = "djactors_probe"

_OPEN: Final = "101 and an Engine.IO session"


class Visit:
    """One probe's way through the door, with what its checks share.

    Args:
        door: the way to the server.
        token: of the reserved user, with the role service.
        report: where measurements go.
        wall: Unix time.
    """

    def __init__(self, door: Door, token: str, report: Report, wall: Callable[[], float] = time.time) -> None:
        self.door, self.token, self.report, self.wall = door, token, report, wall
        self.made: list[int] = []
        # Origins that are refused: a preflight of these says nothing new.
        self.refused: set[str] = set()
        self.created: tuple[str, float] | None = None

    @property
    def bearer(self) -> list[tuple[str, str]]:
        """The headers of a backend's request."""
        return [("Authorization", f"Bearer {self.token}"), ("Content-Type", "application/json")]

    async def check_token(self) -> str:
        """Ask for something that needs the token."""
        answer = await self.door.request("GET", "/api/notifications/unread-count", headers=self.bearer)
        if answer.status == 200:
            return f"user {PROBE_USER} of tenant {PROBE_TENANT}"
        finding = "authorization_lost" if MISSING in answer.body else "token_refused"
        raise WrongError(finding, answer.told(), "200 and a count")

    async def post(self, title: str) -> tuple[float, float]:
        """Post an event that notifies the probe's user; return when it was sent and when it was answered."""
        event = {
            "type": "notification.requested",
            "tenantId": PROBE_TENANT,
            "userId": PROBE_USER,
            "notificationType": TYPE,
            "priority": "LOW",
            "title": title,
        }
        started = self.door.clock()
        try:
            answer = await self.door.request(
                "POST", "/api/events", headers=self.bearer, body=json.dumps(event).encode()
            )
            if answer.status != 201:
                raise NoAnswerError(answer.told())  # noqa: TRY301 - worded below, like no answer
            self.made += [int(one["id"]) for one in json.loads(answer.body)["notifications"]]
        except (NoAnswerError, ValueError, KeyError, TypeError) as error:
            raise WrongError("post_refused", str(error), "201 and the notification's id") from None
        return started, answer.last_at

    async def deliver(self, line: Line, name: str) -> str:
        """Post an event, and see that its notification comes by this line."""
        title = f"djactors probe {secrets.token_hex(8)}"
        came: list[tuple[float, dict[str, Any]]] = []
        failed: list[Exception] = []
        parked = trio.Event()

        async def wait() -> None:
            try:
                with trio.move_on_after(self.door.patience):
                    came.append(await line.wait_for(title, parked))
            except (WrongError, LostError) as error:
                failed.append(error)
            finally:
                parked.set()

        posted: list[tuple[float, float]] = []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            await parked.wait()
            try:
                posted.append(await self.post(title))
            except WrongError as error:
                failed.insert(0, error)
                nursery.cancel_scope.cancel()
        if failed:
            raise (
                failed[0]
                if isinstance(failed[0], WrongError)
                else WrongError("not_delivered", str(failed[0]), "the notification of the event that was posted")
            )
        [(started, answered)] = posted
        if not came:
            raise WrongError("not_delivered", "nothing", "the notification of the event that was posted")
        [(arrived, notification)] = came
        self.created = str(notification.get("createdAt")), self.wall()
        told = (
            f"post → answer {self.report.measure('post_answer', name, answered - started)}, "
            f"post → client {self.report.measure('post_client', name, arrived - started)}"
        )
        if arrived - started > LATE:
            raise WrongError("delivered_late", told, f"the notification within {LATE:g} s")
        if isinstance(line, PollingLine) and line.last is not None:
            spread = line.last.last_at - line.last.first_at
            if spread > SPREAD:
                raise WrongError(
                    "delivered_in_pieces", f"the last byte {spread:.1f} s after the first", "an answer in one piece"
                )
        return told

    async def polling(self) -> str:
        """Connect by polling, and receive."""
        line, other, started = PollingLine(self.door), PollingLine(self.door), self.door.clock()
        try:
            await line.open()
            await self._join(line, "polling", started)
            await other.open()
            if other.handshake.sid == line.handshake.sid:
                raise WrongError("polling_cached", "one answer to two requests", "a session of its own for each")
            return await self._delivered(line, "polling", started)
        finally:
            await line.close()
            await other.close()

    async def websocket(self) -> str:
        """Connect by WebSocket, and receive."""
        started = self.door.clock()

        async def use(connection: WebSocketConnection) -> str:
            line = WebSocketLine(self.door, connection)
            await line.open()
            await self._join(line, "websocket", started)
            return await self._delivered(line, "websocket", started)

        try:
            return await over_websocket(self.door, use)
        except NoWebSocketError as error:
            raise WrongError("websocket_not_passed", str(error), _OPEN) from None
        except LostError as error:
            raise WrongError("websocket_not_passed", f"opened, and then: {error}", _OPEN) from None

    async def upgrade(self) -> str:
        """Upgrade a polling session to WebSocket, and receive."""
        started = self.door.clock()
        old = PollingLine(self.door)
        await old.open()
        await self._joined(old)

        async def use(connection: WebSocketConnection) -> str:
            line = WebSocketLine(self.door, connection, (old.engine, old.sockets))
            await self._switch(old, line)
            self.report.measure("connect", "upgrade", self.door.clock() - started)
            return await self.deliver(line, "upgrade")

        try:
            return await over_websocket(self.door, use, query=f"&sid={old.handshake.sid}")
        except (NoWebSocketError, LostError) as error:
            expected = "the answer to the probe, and the session's packets by WebSocket"
            raise WrongError("upgrade_failed", str(error), expected) from None
        finally:
            if old.engine.transport is Transport.POLLING:
                await old.close()

    async def _switch(self, old: PollingLine, line: WebSocketLine) -> None:
        """Move a session to a WebSocket, while a poll waits, which the server has to answer. Raises LostError."""
        failed: list[Exception] = []

        async def poll() -> None:
            try:
                await old.more()
            except (WrongError, LostError) as error:
                failed.append(error)

        reply = None
        async with trio.open_nursery() as nursery:
            nursery.cancel_scope.deadline = trio.current_time() + self.door.patience
            nursery.start_soon(poll)
            try:
                await line.send(old.engine.begin_upgrade())
                [packet] = await line.receive()
                reply = old.engine.receive(packet, Transport.WEBSOCKET)
            except (LostError, ProtocolError) as error:
                failed.append(LostError(str(error)))
                nursery.cancel_scope.cancel()
        if failed:
            raise failed[0]
        if nursery.cancel_scope.cancelled_caught or not isinstance(reply, Send):
            raise LostError("no answer to the probe or to the poll in time")
        await line.send(reply.packet)

    async def _join(self, line: Line, name: str, started: float) -> None:
        await self._joined(line)
        self.report.measure("connect", name, self.door.clock() - started)

    async def _joined(self, line: Line) -> None:
        try:
            await line.join(self.token)
        except ForbiddenError as error:
            raise WrongError("polling_refused", str(error), "200, as there is no Origin") from None
        except LostError as error:
            finding = "polling_refused" if isinstance(line, PollingLine) else "websocket_not_passed"
            raise WrongError(finding, str(error), "the reply to CONNECT") from None

    async def _delivered(self, line: Line, name: str, started: float) -> str:
        connect = self.report.seconds["connect"][name]
        return f"connect {connect * 1000:.0f} ms, {await self.deliver(line, name)}"

    async def server_clock(self) -> str:
        """Compare the server's clock, as its notification tells it, with this machine's."""
        if self.created is None:
            return "not seen, as no notification came"
        text, here = self.created
        try:
            skew = datetime.fromisoformat(text).timestamp() - here
        except ValueError:
            raise WrongError("clock_skew", f"createdAt {text}", "a time in RFC 3339") from None
        return judge_skew(skew, "the server's clock")

    async def tidy(self) -> str:
        """Delete what was made."""
        for number in self.made:
            answer = await self.door.request("DELETE", f"/api/notifications/{number}", headers=self.bearer)
            if answer.status != 200:
                raise WrongError("delete_refused", answer.told(), "200")
        return f"{len(self.made)} notifications"

    async def idle(self, seconds: float) -> str:
        """Keep a quiet WebSocket and a poll open for some seconds."""
        cut: list[WrongError] = []

        async def hold(line: Line, name: str) -> None:
            started = self.door.clock()
            interval = line.handshake.ping_interval / 1000
            try:
                with trio.move_on_after(seconds):
                    while True:
                        await line.more()
            except (LostError, WrongError) as error:
                why = error.came if isinstance(error, WrongError) else str(error)
                came = f"{name} cut after {self.door.clock() - started:.1f} s ({why})"
                cut.append(WrongError("idle_cut", came, f"quiet until the server's ping, every {interval:g} s"))

        async def by_websocket() -> None:
            async def use(connection: WebSocketConnection) -> None:
                line = WebSocketLine(self.door, connection)
                await line.open()
                await line.join(self.token)
                await hold(line, "WebSocket")

            await over_websocket(self.door, use)

        async def by_polling() -> None:
            line = PollingLine(self.door, poll_seconds=seconds + self.door.patience)
            try:
                await line.open()
                await line.join(self.token)
                await hold(line, "poll")
            finally:
                await line.close()

        async def attempt(what: Callable[[], Awaitable[None]]) -> None:
            try:
                await what()
            except (NoWebSocketError, LostError, WrongError) as error:
                cut.append(WrongError("idle_cut", f"not connected: {error}", "a quiet connection"))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(attempt, by_websocket)
            nursery.start_soon(attempt, by_polling)
        if cut:
            raise cut[0]
        return f"quiet for {seconds:g} s"


def judge_skew(skew: float, whose: str) -> str:
    """Say by how much a clock differs. Raises WrongError, where it is too much."""
    if abs(skew) > SKEW:
        told = f"{whose} is {abs(skew):.0f} s {'ahead' if skew > 0 else 'behind'}"
        raise WrongError("clock_skew", told, f"at most {SKEW:g} s, as tokens are refused beyond 60")
    return f"{skew:+.1f} s"


async def forbidden_by_websocket(door: Door, headers: Sequence[tuple[str, str]]) -> str | None:
    """Whether a WebSocket with these headers is refused with 403, and with what words.

    Raises:
        NoWebSocketError: it failed in another way.
    """
    try:
        await over_websocket(door, _leave, headers=headers)
    except NoWebSocketError as error:
        if error.status == 403:
            return str(error)
        raise
    return None


async def _leave(connection: WebSocketConnection) -> None:
    """Do nothing with a WebSocket: it was to be opened, and no more."""
    await trio.lowlevel.checkpoint()


async def sends_binary(door: Door, data: bytes) -> bool:
    """Whether a session takes a binary packet that is not due; False if it ends, as it must."""

    async def use(connection: WebSocketConnection) -> bool:
        line = WebSocketLine(door, connection)
        await line.open()
        try:
            await connection.send_message(data)
            with trio.move_on_after(door.patience):
                while True:
                    await line.more()
        except (LostError, OSError):
            return False
        return True

    return await over_websocket(door, use)
