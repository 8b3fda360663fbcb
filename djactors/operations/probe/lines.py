"""A Socket.IO session through the door, by polling or by WebSocket, as a stock client has it.

trio-websocket carries the WebSocket. Its reader may crash beside its caller, and its closing may never return, so each
connection has a nursery of its own, a deadline on the handshake and on the closing, and is closed by force at the end.
"""

from __future__ import annotations

import secrets
import ssl
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any, Final, NoReturn, TypeVar

import trio
from trio_websocket import ConnectionClosed, ConnectionRejected, HandshakeError, WebSocketConnection, wrap_client_stream
from wsproto.utilities import ProtocolError as FrameError

from djactors.operations.probe.door import Answer, Door, NoAnswerError, NotTriedError
from djactors.operations.probe.report import WrongError
from djactors.protocol import (
    CLOSE,
    UNKNOWN_SID,
    ClientEngine,
    Closed,
    Connected,
    EncodedPacket,
    EventReceived,
    Handshake,
    Message,
    Packet,
    ProtocolError,
    Refused,
    Send,
    SocketClient,
    Transport,
    decode_packet,
    decode_payload,
)

PATH: Final = "/socket.io/?EIO=4&transport="

NEW: Final = "notification:new"
COUNT: Final = "notification:unread-count"

QUEUE: Final = 64
"""Messages that trio-websocket may hold: with a full queue it stops to answer pings."""

CLOSE_SECONDS: Final = 1.0
"""How long a WebSocket may take to close."""

T = TypeVar("T")
Said = Connected | Refused | EventReceived
Header = tuple[str, str]


class LostError(Exception):
    """The connection of a session has ended; the message says how."""


class Line:
    """A session over one transport.

    Args:
        door: the way to the server.
        client: the state of an older transport of the session, if it is upgraded.
    """

    transport: Transport

    def __init__(self, door: Door, client: tuple[ClientEngine, SocketClient] | None = None) -> None:
        self.door = door
        self.engine, self.sockets = client or (ClientEngine(self.transport), SocketClient())
        # The packets that wait to be taken by `more`, said with the session's opening.
        self._early: list[Said] = []

    @property
    def handshake(self) -> Handshake:
        """What the server said when it opened the session."""
        assert self.engine.handshake is not None
        return self.engine.handshake

    async def send(self, *packets: EncodedPacket) -> None:
        """Send packets. Raises LostError."""
        raise NotImplementedError

    async def receive(self, sent: trio.Event | None = None) -> Sequence[Packet]:
        """Wait for packets. Raises LostError."""
        raise NotImplementedError

    async def more(self, sent: trio.Event | None = None) -> list[Said]:
        """Wait for packets, answer pings, and return what the server says. Raises LostError."""
        if self._early:
            said, self._early = self._early, []
            return said
        return await self._take(await self.receive(sent))

    async def _take(self, packets: Sequence[Packet]) -> list[Said]:
        said: list[Said] = []
        try:
            for packet in packets:
                match self.engine.receive(packet, self.transport):
                    case Send(packet=reply):
                        await self.send(reply)
                    case Closed():
                        raise LostError("the server closed the session")
                    case Message(data=data):
                        told = self.sockets.receive(data)
                        if isinstance(told, Said):
                            said.append(told)
        except ProtocolError as error:
            raise LostError(f"no Socket.IO: {error}") from None
        return said

    async def join(self, token: str) -> None:
        """CONNECT, and wait for the reply and the unread count.

        Raises:
            WrongError: the token was refused, or no reply came.
            LostError: the session ended.
        """
        await self.send(self.sockets.connect(auth={"token": token, "recovery": False}))
        with trio.move_on_after(self.door.patience):
            while True:
                for one in await self.more():
                    if isinstance(one, Refused):
                        raise WrongError("connect_refused", f"{one.message} {one.data}", "a reply to CONNECT")
                    if isinstance(one, EventReceived) and one.name == COUNT:
                        return
        raise WrongError("not_delivered", "no reply to CONNECT in time", "the reply and the unread count")

    async def wait_for(self, title: str, sent: trio.Event | None = None) -> tuple[float, dict[str, Any]]:
        """Wait for a notification; return when it came, and the notification. Raises LostError."""
        while True:
            for one in await self.more(sent):
                if isinstance(one, EventReceived) and one.name == NEW:
                    notification = one.args[0] if one.args else None
                    if isinstance(notification, dict) and notification.get("title") == title:
                        return self.door.clock(), notification


class PollingLine(Line):
    """A session by polling."""

    transport = Transport.POLLING

    def __init__(self, door: Door, headers: Sequence[Header] = (), poll_seconds: float | None = None) -> None:
        super().__init__(door)
        self._headers = headers
        self._poll_seconds = poll_seconds
        self.last: Answer | None = None

    @property
    def path(self) -> str:
        """Where the session's requests go."""
        sid = "" if self.engine.handshake is None else f"&sid={self.handshake.sid}"
        return f"{PATH}polling&t={secrets.token_hex(4)}{sid}"

    async def open(self) -> None:
        """Open the session.

        Raises:
            WrongError: it was not opened.
        """
        try:
            answer = await self.door.request("GET", self.path, headers=self._headers)
            if answer.status != 200:
                raise NoAnswerError(answer.told())  # noqa: TRY301 - worded below, like no answer
            self._early = await self._take(decode_payload(answer.body))
        except (NoAnswerError, ProtocolError, LostError) as error:
            raise WrongError("polling_refused", str(error), "200 and the packet that opens a session") from None
        self.last = answer

    async def send(self, *packets: EncodedPacket) -> None:
        """Push packets."""
        body = b"\x1e".join(packet.text for packet in packets)
        answer = await self._request("POST", body, [*self._headers, ("Content-Type", "text/plain;charset=UTF-8")])
        if answer.body != b"ok":
            raise WrongError("polling_refused", answer.told(), "200 ok")

    async def receive(self, sent: trio.Event | None = None) -> Sequence[Packet]:
        """Poll."""
        answer = await self._request("GET", b"", list(self._headers), sent, self._poll_seconds)
        self.last = answer
        try:
            return decode_payload(answer.body)
        except ProtocolError as error:
            raise LostError(f"no Socket.IO: {error}") from None

    async def close(self) -> None:
        """Close the session, as well as it goes: otherwise the server waits for a ping's answer, or for a CONNECT."""
        if self.engine.handshake is not None:
            with suppress(NoAnswerError):
                await self.door.request("POST", self.path, body=CLOSE.text)

    async def _request(
        self,
        method: str,
        body: bytes,
        headers: list[Header],
        sent: trio.Event | None = None,
        patience: float | None = None,
    ) -> Answer:
        try:
            answer = await self.door.request(
                method, self.path, headers=headers, body=body, sent=sent, patience=patience
            )
        except NoAnswerError as error:
            raise LostError(str(error)) from None
        if answer.status == UNKNOWN_SID.status and UNKNOWN_SID.message.encode() in answer.body:
            raise WrongError("session_lost", answer.told(), "the session that was just opened")
        if answer.status == 403:
            raise ForbiddenError(answer.told())
        if answer.status != 200:
            raise LostError(answer.told())
        return answer


class ForbiddenError(LostError):
    """It was answered 403: the page's origin is refused, or the proxy refuses."""


class WebSocketLine(Line):
    """A session by WebSocket."""

    transport = Transport.WEBSOCKET

    def __init__(
        self, door: Door, connection: WebSocketConnection, client: tuple[ClientEngine, SocketClient] | None = None
    ) -> None:
        super().__init__(door, client)
        self.connection = connection

    async def open(self) -> None:
        """Wait for the packet that opens the session. Raises LostError."""
        with trio.move_on_after(self.door.patience):
            self._early = await self._take(await self.receive())
        if self.engine.handshake is None:
            raise LostError("the WebSocket is open, and no packet comes")

    async def send(self, *packets: EncodedPacket) -> None:
        """Send packets, one in a frame."""
        try:
            # A send that blocks has left half a frame, so nothing can be sent after it.
            with trio.fail_after(self.door.patience):
                for packet in packets:
                    await self.connection.send_message(packet.text.decode())
        except (ConnectionClosed, trio.TooSlowError) as error:
            raise LostError(_why(error)) from None

    async def receive(self, sent: trio.Event | None = None) -> Sequence[Packet]:
        """Wait for a frame."""
        if sent is not None:
            sent.set()
        try:
            return [decode_packet(await self.connection.get_message())]
        except ConnectionClosed as error:
            raise LostError(_why(error)) from None
        except ProtocolError as error:
            raise LostError(f"no Socket.IO: {error}") from None


def _why(error: Exception) -> str:
    reason = getattr(error, "reason", None)
    return (
        f"closed with {reason.code} {reason.reason or ''}".strip() if reason is not None else "the connection was cut"
    )


class NoWebSocketError(Exception):
    """None was opened; `status` is the answer's, or 0 without one."""

    def __init__(self, status: int, told: str) -> None:
        super().__init__(told)
        self.status = status


async def over_websocket(
    door: Door,
    use: Callable[[WebSocketConnection], Awaitable[T]],
    *,
    query: str = "",
    headers: Sequence[Header] = (),
) -> T:
    """Open a WebSocket, use it, and close it, whatever happens.

    Raises:
        NoWebSocketError: it was not opened.
        Exception: whatever `use` raises.
    """
    try:
        stream = await door.connect()
    except (NotTriedError, ssl.SSLError) as error:
        raise NoWebSocketError(0, f"no connection: {error}") from None
    fields = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
    target = f"{door.base}{PATH}websocket{query}"
    opened, done = False, False
    result: list[T] = []
    try:
        async with trio.open_nursery() as nursery:
            with trio.fail_after(door.patience):
                connection = await wrap_client_stream(
                    nursery,
                    stream,
                    door.host_header,
                    target,
                    extra_headers=[*fields, (b"user-agent", b"djactors-probe")],
                    message_queue_size=QUEUE,
                )
            opened = True
            result.append(await use(connection))
            done = True
            with trio.move_on_after(CLOSE_SECONDS):
                await connection.aclose()
            nursery.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        _raise_one(group, opened=opened, done=done)
    finally:
        with trio.CancelScope(shield=True):
            await trio.aclose_forcefully(stream)
    return result[0]


def _raise_one(group: BaseExceptionGroup[BaseException], *, opened: bool, done: bool) -> None:
    """Raise what matters of what came out of a nursery: the caller's own, or why there is no WebSocket."""
    errors = list(_leaves(group))
    ours = [error for error in errors if not isinstance(error, (HandshakeError, FrameError, trio.Cancelled))]
    if done and not any(isinstance(error, (KeyboardInterrupt, SystemExit)) for error in errors):
        return  # The reader's complaint about the end of a connection that is not needed any more.
    if not opened:
        _not_opened(errors)
    if ours:
        raise ours[0]
    if any(isinstance(error, (HandshakeError, FrameError)) for error in errors):
        raise LostError(f"no WebSocket any more: {errors[0]!r}")
    raise errors[0]


def _not_opened(errors: Sequence[BaseException]) -> NoReturn:
    for error in errors:
        if isinstance(error, ConnectionRejected):
            body = bytes(error.body or b"")[:300].decode(errors="replace")
            raise NoWebSocketError(error.status_code, f"{error.status_code} {body}".strip())
        if not isinstance(error, Exception):
            raise error
    if any(isinstance(error, trio.TooSlowError) for error in errors):
        raise NoWebSocketError(0, "no answer in time")
    raise NoWebSocketError(0, f"no WebSocket: {errors[0]!r}")


def _leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    return [
        leaf
        for error in group.exceptions
        for leaf in (_leaves(error) if isinstance(error, BaseExceptionGroup) else [error])
    ]
