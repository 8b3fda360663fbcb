"""A client on a gateway: what stands in for its Engine.IO session records what it is sent."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import trio
import trio.testing

from djactors.edge.gateway import Gateway, Services
from djactors.protocol import EncodedPacket, ProtocolError
from tests.description import contract
from tests.edge.rooms import Rooms


class FakeSession:
    """What a gateway uses of a `Session`: once closed nothing is sent, and the handler hears of the end soon."""

    def __init__(self) -> None:
        self.owner: tuple[int, int] | None = None
        self.proven = False
        self.peer = "192.0.2.1"
        self.transport = "websocket"
        self.reason: str | None = None
        self.sent: list[str] = []
        self.handler: Gateway

    def prove(self, owner: tuple[int, int] | None = None) -> None:
        self.owner = owner or self.owner
        self.proven = True

    def send(self, packets: Sequence[EncodedPacket]) -> None:
        if self.reason is None:
            for packet in packets:
                assert packet.attachments == ()
                self.sent.append(packet.text.decode())

    def when_drained(self, callback: Callable[[], None]) -> None:
        if self.reason is None:
            callback()

    def close(self, reason: str) -> None:
        if self.reason is None:
            self.reason = reason
            # A task and not run_sync_soon, which a clock that jumps may overtake.
            trio.lowlevel.spawn_system_task(self._tell_handler, reason)

    async def _tell_handler(self, reason: str) -> None:
        self.handler.on_close(reason)


class Client:
    """One browser tab. What it has been sent is taken by `take`."""

    def __init__(self, house: Rooms, services: Services | None = None) -> None:
        self.session = FakeSession()
        self.gateway = Gateway(self.session, services or house.services)  # type: ignore[arg-type]
        self.session.handler = self.gateway
        self._next_ack = 0
        self._asked: dict[int, str] = {}

    @property
    def gone(self) -> bool:
        """Whether the connection has ended."""
        return self.session.reason is not None

    async def send(self, text: str) -> None:
        """Send a Socket.IO packet, as the session would hand it over, and let all that follows from it happen."""
        try:
            self.gateway.on_message(text)
        except ProtocolError:
            self.session.close("violation")
        await settle()

    async def connect(self, *, namespace: str = "", **auth: Any) -> list[Any]:
        await self.send(f"0{namespace}{msgspec.json.encode(auth).decode()}")
        return self.take()

    async def emit(self, name: str, *args: Any, ack: bool = True) -> list[Any]:
        """Emit; returns all that came back."""
        number = str(self._next_ack) if ack else ""
        if ack:
            self._asked[self._next_ack] = name
        self._next_ack += ack
        await self.send(f"2{number}{msgspec.json.encode([name, *args]).decode()}")
        return self.take()

    async def ask(self, name: str, *args: Any) -> Any:
        """Emit with an ack, and return what the ack said."""
        [answer] = [packet for packet in await self.emit(name, *args) if packet[0] == "ack"]
        return answer[2]

    def take(self) -> list[Any]:
        """What came since: ("connect", {…}), ("connect_error", {…}), ("ack", id, {…}) or ("event", name, …)."""
        sent, self.session.sent = self.session.sent, []
        packets = [read(text) for text in sent]
        for packet in packets:
            if packet[0] == "event":
                contract.check_event(packet[1], packet[2:])
            elif packet[0] == "ack" and packet[1] in self._asked:
                contract.check_ack(self._asked.pop(packet[1]), packet[2])
        return packets

    async def events(self, name: str) -> list[Any]:
        await settle()
        return [packet[2] for packet in self.take() if packet[:2] == ("event", name)]


async def settle() -> None:
    """Let the router, the store and the actors finish."""
    await trio.testing.wait_all_tasks_blocked()


def read(text: str) -> tuple[Any, ...]:
    assert text[0] == "4", "an Engine.IO message"
    kind, rest = text[1], text[2:]
    if kind in "04":
        namespace = ""
        if rest.startswith("/"):
            namespace, _, rest = rest.partition(",")
        return ({"0": "connect", "4": "connect_error"}[kind] + namespace, msgspec.json.decode(rest))
    if kind == "2":
        return ("event", *msgspec.json.decode(rest))
    assert kind == "3", text
    number, _, answer = rest.partition("[")
    return ("ack", int(number), *msgspec.json.decode("[" + answer))
