"""The way of one event through the code: every function that it passes, from its bytes to the client's hands.

Not a measurement of time. The more files and folders an event passes, the more a reader has to open to follow it, so
the figures are kept visible: calls of the project's functions (a coroutine that goes on counts as a call), different
functions and files among them, and crossings from one folder of the project to another.

Server and clients share one process, so that the profiler sees the loop's thread and the store's. The clients are
sockets and nothing of the project's. What is traced is the first event of its kind, which fills every cache on its way.

Three things make the same event give the same figures each time:
  * `loop_lag.py` and `watchdog.py` are left out. Trio calls the one at every turn of the loop, whatever the turn is
    about, and a thread of its own the other; how often is for the kernel's timing to say.
  * The loop and the store's thread run at the same time. So the calls of the store's thread are put together, at the
    place where the event was handed to it.
  * A comprehension is a part of the function that it stands in. Before Python 3.12 it is a call of its own.
"""

import secrets
import sys
import tempfile
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import click
import msgspec
import trio
import trio.testing

import djactors
from bench.load.user import SOCKET_IO, UPGRADE, frame
from djactors.app import Server
from djactors.config import load
from djactors.operations.tokens import sign

HOME = Path(djactors.__file__).parent
TENANT, ASSIGNEE, REQUESTER = 1, 2, 3
LEFT_OUT = (HOME / "loop_lag.py", HOME / "watchdog.py", HOME / "edge" / "recent.py")
"""The files whose functions are called by the clock and not by the event, as is what they call."""

_LEFT_OUT_NAMES = frozenset(map(str, LEFT_OUT))

COMPREHENSIONS = frozenset({"<listcomp>", "<setcomp>", "<dictcomp>"})
"""The names of calls that Python 3.12 no longer makes."""

PATIENCE = 10.0
"""Seconds for any answer."""

SETTLED = 0.05
"""Seconds without a task that runs, after which nothing of an event is under way any more."""

JOB = {
    "type": "job.created", "tenantId": TENANT, "title": "Banner", "requesterId": REQUESTER, "assigneeId": ASSIGNEE
}  # fmt: skip

UPSERTED = {"type": "user.upserted", "tenantId": TENANT, "userId": REQUESTER, "name": "Ann", "role": "user"}


class Trace:
    """The calls of the project's functions on all threads."""

    def __init__(self) -> None:
        self._calls: list[tuple[int, CodeType]] = []
        self._on = False
        self._ours: dict[CodeType, bool] = {}

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Profile this thread and those that it starts from now on; nothing is kept yet."""
        threading.setprofile(self._note)
        sys.setprofile(self._note)
        try:
            yield
        finally:
            sys.setprofile(None)
            threading.setprofile(None)  # type: ignore[arg-type]  # typeshed does not know that None takes it away

    def start(self) -> None:
        """Keep what is called from now on."""
        self._on = True

    def stop(self) -> list[CodeType]:
        """Keep no more. Returns what was called, the calls of another thread together where the first of them came."""
        self._on = False
        calls, self._calls = self._calls, []
        began: dict[int, int] = {}
        for place, (thread, _) in enumerate(calls):
            if thread != threading.get_ident():
                began.setdefault(thread, place)
        order = sorted(range(len(calls)), key=lambda place: began.get(calls[place][0], place))
        return [calls[place][1] for place in order]

    def _note(self, frame: FrameType, event: str, _: Any) -> None:
        if not self._on or event != "call":
            return
        code = frame.f_code
        ours = self._ours.get(code)
        if ours is None:
            path = Path(code.co_filename)
            ours = path.is_relative_to(HOME) and path not in LEFT_OUT and code.co_name not in COMPREHENSIONS
            self._ours[code] = ours
        if ours and not _is_the_clocks(frame.f_back):
            self._calls.append((threading.get_ident(), code))


def _is_the_clocks(frame: FrameType | None) -> bool:
    """Whether a function that is left out is on its way to this frame."""
    while frame is not None:
        if frame.f_code.co_filename in _LEFT_OUT_NAMES:
            return True
        frame = frame.f_back
    return False


class Client:
    """A socket to the server, over which bytes are written and something is waited for."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._got = b""

    @classmethod
    async def open(cls, server: Server) -> "Client":
        host, port = server.url.removeprefix("http://").split(":")
        return cls(await trio.open_tcp_stream(host, int(port)))

    async def send(self, data: bytes) -> None:
        await self._stream.send_all(data)

    async def wait_for(self, *wanted: bytes) -> None:
        """Read until each of these has come, and forget what came."""
        with trio.fail_after(PATIENCE):
            while not all(each in self._got for each in wanted):
                self._got += await self._stream.receive_some(65536)
        self._got = b""

    async def post(self, path: str, token: str, body: dict[str, Any]) -> None:
        content = msgspec.json.encode(body)
        head = f"POST {path} HTTP/1.1\r\nHost: way\r\nAuthorization: Bearer {token}\r\n"
        await self.send(
            f"{head}Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n".encode() + content
        )

    async def emit(self, text: str) -> None:
        """A Socket.IO packet as one masked text frame; the mask is zero."""
        await self.send(frame(0x81, text.encode()))


async def _walk(trace: Trace) -> dict[str, list[CodeType]]:
    """Serve, connect the assignee, and trace one event after the other."""
    found: dict[str, list[CodeType]] = {}
    with tempfile.TemporaryDirectory(prefix="djactors-way-") as folder:
        settings = load({"database": f"{folder}/way.db", "port": 0, "jwt_secret": secrets.token_hex(32)})
        service = sign(settings, tenant_id=TENANT, user_id=None, role="service", name=None, ttl=600)
        anybody = sign(settings, tenant_id=None, user_id=None, role="service", name=None, ttl=600)
        user = sign(settings, tenant_id=TENANT, user_id=ASSIGNEE, role="user", name="Bob", ttl=600)

        async def traced(name: str, act: Callable[[], Awaitable[None]]) -> None:
            # The router takes one after the other: once this is answered, nothing from before is under way.
            await operator.post("/api/events", anybody, UPSERTED)
            await operator.wait_for(b'"eventId"')
            await trio.testing.wait_all_tasks_blocked(SETTLED)
            trace.start()
            await act()
            # The store's thread tidies up behind its answer.
            await trio.testing.wait_all_tasks_blocked(SETTLED)
            found[name] = trace.stop()

        async with trio.open_nursery() as nursery:
            server = Server(settings)
            await nursery.start(server.run)
            operator, backend, person = [await Client.open(server) for _ in range(3)]
            await person.send(UPGRADE.format(path=SOCKET_IO, host="way").encode())
            await person.wait_for(b'"sid"')
            await person.emit("40" + msgspec.json.encode({"token": user}).decode())
            await person.wait_for(b"notification:unread-count")

            async def created() -> None:
                await backend.post("/api/events", service, JOB)
                await person.wait_for(b"notification:new", b"notification:unread-count", b"job:updated")
                await backend.wait_for(b'"eventId"')

            async def read() -> None:
                await person.emit('421["notification:read",{"notificationId":1}]')
                await person.wait_for(b"431[", b"notification:unread-count")

            await traced("job.created", created)
            await traced("notification:read", read)
            server.request_stop()
    return found


def _place(code: CodeType) -> tuple[str, str]:
    """The folder and the file of a function, inside the package."""
    path = Path(code.co_filename).relative_to(HOME)
    return str(path.parent), str(path)


def figures(calls: list[CodeType]) -> dict[str, int]:
    """Calls, functions, files, and crossings from folder to folder."""
    folders = [_place(code)[0] for code in calls]
    return {
        "calls": len(calls),
        "functions": len(set(calls)),
        "files": len({_place(code)[1] for code in calls}),
        "crossings": sum(a != b for a, b in pairwise(folders)),
    }


def walk() -> dict[str, list[CodeType]]:
    """The calls of one `job.created` that is posted, and of one `notification:read` and back."""
    trace = Trace()
    with trace.watching():
        return trio.run(_walk, trace)


@click.command()
@click.option("--each", is_flag=True, help="Print every call, not only the files in the order in which they are met.")
def way(*, each: bool) -> None:
    """The way of one event through the code, in files and functions."""
    for name, calls in walk().items():
        click.echo(f"{name}: " + ", ".join(f"{count} {what}" for what, count in figures(calls).items()))
        last = None
        for code in calls if each else dict.fromkeys(calls):
            folder, file = _place(code)
            click.echo(
                f"  {file if folder != last or each else ' ' * len(folder) + file[len(folder) :]}  {code.co_qualname}"
            )
            last = folder
        click.echo()
