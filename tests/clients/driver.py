"""Drives stock Socket.IO clients in a child process, one process for any number of sockets.

    async with stock_client("js") as clients:
        ada = await clients.connect(url, auth={"token": token}, transports=["websocket"])
        count = await ada.expect("event", name="notification:unread-count")
        answer = await ada.emit("notification:read", {"notificationId": 1}, ack=True)

Rules: the clients are the published packages, driven through their public interface; only the faults (`kill_transport`,
`stall`) reach beneath it. Every wait is bounded and in real time, for a child process knows no virtual clock. A wait
that fails shows all that the socket has received. An occurrence answers one `expect` only.
"""

import base64
import json
import os
import sys
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, Literal

import trio

from djactors.web.node import NODE

HERE = Path(__file__).parent
Kind = Literal["js", "python"]
COMMANDS: dict[Kind, list[str]] = {
    "js": [str(NODE), str(HERE / "client.mjs")],
    "python": [sys.executable, "-W", "ignore", str(HERE / "python_client.py")],
}

PATIENCE = 10.0
"""Seconds that an expectation waits unless told otherwise: far above what is slow, far below a test's end."""

STDERR_LINES = 50
"""How much of the child's own complaints a failure shows."""

RECEIVE_SIZE = 1 << 16

ANSWERS = frozenset({"ack", "state"})
"""Occurrences that answer a command of ours, and are awaited there."""


class Unmet(AssertionError):
    """What was expected of the client did not occur in time; the message shows what did."""


@dataclass(frozen=True, slots=True)
class Occurrence:
    """One thing that happened at a client; `client.mjs` lists them with their fields."""

    what: str
    fields: dict[str, Any]

    def __getitem__(self, name: str) -> Any:
        return self.fields[name]

    @property
    def args(self) -> list[Any]:
        """The arguments of an event or an ack."""
        return list(self.fields["args"])

    def matches(self, what: str, fields: dict[str, Any]) -> bool:
        """Whether it is of this kind and has these values."""
        return self.what == what and all(
            name in self.fields and self.fields[name] == value for name, value in fields.items()
        )

    def __str__(self) -> str:
        return f"{self.what} {json.dumps(self.fields, default=_to_line)}"


class StockSocket:
    """One client's socket. Made by `StockClients.open` and `StockClients.connect`."""

    __slots__ = ("_acks", "_clients", "_heard", "_news", "_untaken", "name", "received")

    def __init__(self, clients: "StockClients", name: str, heard: Callable[[Occurrence], None] | None = None) -> None:
        self.name = name
        self.received: list[Occurrence] = []
        """All that has occurred, oldest first; with a listener only the answers to commands."""
        self._heard = heard
        self._clients = clients
        self._untaken: list[Occurrence] = []
        self._news = trio.Event()
        self._acks = count()

    async def expect(self, what: str, *, timeout: float = PATIENCE, **fields: Any) -> Occurrence:
        """The first such occurrence that no earlier call was given, waiting `timeout` seconds for it.

        It may lie in the past, and others that are not asked for may lie before it. Raises `Unmet`.
        """
        with trio.move_on_after(timeout):
            while True:
                for index, occurrence in enumerate(self._untaken):
                    if occurrence.matches(what, fields):
                        return self._untaken.pop(index)
                if self._clients.ended:
                    break
                await self._news.wait()
        wanted = str(Occurrence(what, fields))
        raise Unmet(f"{self.name}: no {wanted} within {timeout} s; received:\n{self._history()}")

    def events(self, name: str) -> list[list[Any]]:
        """The arguments of every event of this name so far, those taken by `expect` too."""
        return [occurrence.args for occurrence in self.received if occurrence.matches("event", {"name": name})]

    async def emit(self, name: str, *args: Any, ack: bool = False, timeout: float = PATIENCE) -> list[Any]:
        """Emit an event; with `ack`, wait for the server's answer and return its arguments.

        Raises `Unmet` when no answer came within `timeout` seconds.
        """
        if not ack:
            await self._do("emit", name=name, args=args)
            return []
        ack_id = next(self._acks)
        await self._do("emit", name=name, args=args, ack=ack_id, timeout=timeout * 1000)
        # The client's own deadline comes first: it is the one that says so.
        answer = await self.expect("ack", id=ack_id, timeout=timeout + PATIENCE)
        if "error" in answer.fields:
            raise Unmet(f"{self.name}: {name} was not acknowledged within {timeout} s; received:\n{self._history()}")
        return answer.args

    async def disconnect(self) -> None:
        """Leave for good: the client says so to the server and does not reconnect."""
        await self._do("disconnect")

    async def connect(self) -> None:
        """Connect again after `disconnect` or a refusal."""
        await self._do("connect")

    async def set_auth(self, auth: dict[str, Any]) -> None:
        """What the next connection presents."""
        await self._do("set_auth", auth=auth)

    async def kill_transport(self, how: Literal["close", "reset"] = "reset") -> None:
        """Lose the connection.

        ``close``: the Engine.IO client closes; ``reset``: TCP ends beneath it, with RST in JS and FIN in Python. The JS
        client then reconnects by itself either way, the Python client after ``reset`` only.
        """
        await self._do("kill_transport", how=how)

    async def stall(self) -> None:
        """Read nothing more from the network while the connection stays open: a slow or dead peer. JS only."""
        await self._do("stall")

    async def unstall(self) -> None:
        """Read again."""
        await self._do("unstall")

    async def state(self) -> dict[str, Any]:
        """What the client says of itself now: ``id``, ``connected``, ``transport``; in JS ``recovered``, ``active``."""
        await self._do("state")
        return (await self.expect("state")).fields

    async def _do(self, command: str, **fields: Any) -> None:
        await self._clients._send({"do": command, "socket": self.name, **fields})

    def _receive(self, occurrence: Occurrence) -> None:
        if self._heard is not None and occurrence.what not in ANSWERS:
            self._heard(occurrence)
            return
        self.received.append(occurrence)
        self._untaken.append(occurrence)
        self._wake()

    def _wake(self) -> None:
        self._news.set()
        self._news = trio.Event()

    def _history(self) -> str:
        lines = [f"  {occurrence}" for occurrence in self.received] or ["  nothing"]
        if self._clients.ended:
            lines.append("  the client process has ended")
        return "\n".join([*lines, *(f"  stderr: {line}" for line in self._clients.complaints)])


@dataclass(slots=True, eq=False)
class StockClients:
    """The child process. Made by `stock_client`."""

    kind: Kind
    process: trio.Process
    sockets: dict[str, StockSocket] = field(default_factory=dict)
    complaints: deque[str] = field(default_factory=lambda: deque(maxlen=STDERR_LINES))
    ended: bool = False
    _sending: trio.Lock = field(default_factory=trio.Lock)

    async def open(self, url: str, *, heard: Callable[[Occurrence], None] | None = None, **options: Any) -> StockSocket:
        """A new client that is connecting to `url`.

        `heard` is told of everything that occurs, at once, and then nothing is kept for `expect`: for runs that are too
        long to remember.

        Options are the JS client's (``auth``, ``transports``, ``path``, ``reconnection``, ``reconnectionDelay`` in ms,
        ``extraHeaders``, ``autoConnect`` …) under its names; the Python client understands those and refuses the rest.
        In JS ``localAddress`` is the address that the connections come from, as Node's agents take it.
        """
        socket = StockSocket(self, f"{self.kind}-{len(self.sockets) + 1}", heard)
        self.sockets[socket.name] = socket
        await socket._do("open", url=url, options={name: value for name, value in options.items() if value is not None})
        return socket

    async def connect(self, url: str, **options: Any) -> StockSocket:
        """As `open`, and wait until it is connected. Its ``connect`` is taken. Raises `Unmet`."""
        socket = await self.open(url, **options)
        await socket.expect("connect")
        return socket

    async def _send(self, command: dict[str, Any]) -> None:
        assert self.process.stdin is not None
        async with self._sending:
            await self.process.stdin.send_all(json.dumps(command, default=_to_line).encode() + b"\n")

    async def _read_occurrences(self) -> None:
        assert self.process.stdout is not None
        async for line in _lines(self.process.stdout):
            fields = json.loads(line, object_hook=_from_line)
            name, what = fields.pop("socket"), fields.pop("what")
            self.sockets[name]._receive(Occurrence(what, fields))
        self.ended = True
        for socket in self.sockets.values():
            socket._wake()

    async def _read_complaints(self) -> None:
        assert self.process.stderr is not None
        async for line in _lines(self.process.stderr):
            self.complaints.append(line.decode(errors="replace"))


@asynccontextmanager
async def stock_client(kind: Kind, environment: Mapping[str, str] | None = None) -> AsyncIterator[StockClients]:
    """Run a process of stock clients, ``js`` or ``python``; it is killed on leaving, its connections with it.

    `environment` is added to this process's.
    """
    failure: Exception | None = None
    async with trio.open_nursery() as nursery:
        pipes = {"stdin": -1, "stdout": -1, "stderr": -1}
        variables = {**os.environ, **(environment or {})}
        run = partial(trio.run_process, COMMANDS[kind], **pipes, env=variables, check=False, deliver_cancel=_kill)
        clients = StockClients(kind, await nursery.start(run))
        nursery.start_soon(clients._read_occurrences)
        nursery.start_soon(clients._read_complaints)
        try:
            yield clients
        except Exception as error:
            failure = error  # raised outside the nursery, which would wrap it into a group
        nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure


async def _kill(process: trio.Process) -> None:
    process.kill()


async def _lines(stream: trio.abc.ReceiveStream) -> AsyncIterator[bytes]:
    rest = b""
    while data := await stream.receive_some(RECEIVE_SIZE):
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            yield line


def _to_line(value: Any) -> dict[str, str]:
    return {"$bytes": base64.b64encode(value).decode()}


def _from_line(value: dict[str, Any]) -> Any:
    return base64.b64decode(value["$bytes"]) if value.keys() == {"$bytes"} else value
