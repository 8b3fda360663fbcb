"""A Socket.IO server for programs that handle their clients with functions: it joins `EngineServer` and `Namespace`."""

from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from secrets import token_urlsafe
from typing import Any, Final

import trio

from djactors.engine._application import EngineApplication
from djactors.engine._namespace import Members, Namespace, members_of
from djactors.engine._origins import OriginPolicy
from djactors.engine._polling import error_response
from djactors.engine._server import BUSY, EngineServer
from djactors.engine._session import DRAINED, Session
from djactors.engine._settings import EngineSettings
from djactors.engine._socket import ClientHandler, Socket
from djactors.engine._telemetry import EngineTelemetry, Uncounted
from djactors.net import Application, ByteStream, Limits, Listener, ListenerLimits, Request, Response

PATH: Final = "/socket.io/"
"""The path that stock clients ask for."""

TOKEN_BYTES: Final = 18
"""Random bytes of a sid. 144 bits cannot be guessed, and a session's sid is its secret."""


class _Host:
    """The `Host` that all sockets of a server share."""

    def __init__(
        self,
        members: dict[str, Members],
        settings: EngineSettings,
        random_token: Callable[[], str],
        on_error: Callable[[BaseException, str], None],
    ) -> None:
        self._members = members
        self.settings = settings
        self.new_sid = random_token
        self._on_error = on_error
        # The nursery in which async handlers run; None until the server is first run.
        self.nursery: trio.Nursery | None = None

    def handlers(self, namespace: str) -> Members | None:
        return self._members.get(namespace)

    def has_joined(self, socket: Socket) -> None:
        self._members[socket.namespace].sockets.add(socket)

    def is_gone(self, socket: Socket) -> None:
        self._members[socket.namespace].sockets.discard(socket)

    def spawn(self, task: Callable[[], Awaitable[None]]) -> None:
        assert self.nursery is not None
        self.nursery.start_soon(task)

    def report(self, error: BaseException, peer: str) -> None:
        with suppress(Exception):  # a log that fails must not end the server
            self._on_error(error, peer)


class _Listening:
    """Passes the listener's address to the caller that started `serve`."""

    def __init__(self, listener: Listener, task_status: trio.TaskStatus[str]) -> None:
        self._listener = listener
        self._task_status = task_status

    def started(self, value: None = None) -> None:
        assert self._listener.address is not None
        name, port = self._listener.address
        self._task_status.started(f"http://[{name}]:{port}" if ":" in name else f"http://{name}:{port}")


class SocketServer:
    """Serves namespaces. `djactors.engine` has an example and the rules for handlers.

    Args:
        namespaces: the namespaces that clients may join. A CONNECT to any other is refused. Two namespaces of one name
            raise `ValueError`.
        on_error: is called with an exception of a handler and the peer's address; in `serve`, also with the errors of a
            connection. It must not block.
        settings: times and bounds.
        origins: which web pages may connect; by default those of the server's own host.
        path: the path of the server.
        beside: an application for all other paths.
        random_token: returns a fresh secret of at least 128 bits, safe in a URL.
        telemetry: gets the counts.
        may_use: whether a request that names a session's sid may use the session; see `EngineServer`.
    """

    def __init__(
        self,
        *namespaces: Namespace,
        on_error: Callable[[BaseException, str], None],
        settings: EngineSettings | None = None,
        origins: OriginPolicy | None = None,
        path: str = PATH,
        beside: Application | None = None,
        random_token: Callable[[], str] = lambda: token_urlsafe(TOKEN_BYTES),
        telemetry: EngineTelemetry | None = None,
        may_use: Callable[[Session, Request], bool] = lambda session, request: True,
    ) -> None:
        members = {namespace.name: members_of(namespace) for namespace in namespaces}
        if len(members) < len(namespaces):
            raise ValueError("two namespaces have the same name")
        self._settings = settings or EngineSettings()
        self._path = path
        self._beside = beside
        self._host = host = _Host(members, self._settings, random_token, on_error)
        self._engine = EngineServer(
            self._settings,
            lambda session: ClientHandler(session, host),
            origins=origins or OriginPolicy(),
            random_token=random_token,
            telemetry=telemetry or Uncounted(host.report),
            may_use=may_use,
        )
        self._listener: Listener | None = None
        # Whether `run` is running.
        self._is_open = False

    # Running

    async def serve(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        limits: Limits | None = None,
        listener_limits: ListenerLimits | None = None,
        task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Listen and serve until cancelled or drained. `started` gives the address, such as `http://127.0.0.1:3000`.

        Cancelling this closes everything at once; `drain` does so gently. `port=0` picks a free port.

        Raises:
            OSError: the address cannot be bound.
        """
        listener = Listener(
            EngineApplication({self._path: self}, self._beside),
            host=host,
            port=port,
            limits=limits,
            listener_limits=listener_limits or ListenerLimits(max_buffered=self._settings.outbox_bytes),
            unproven=self._engine.unproven,
            crowd=self._engine.crowd,
            on_error=self._host.report,
        )
        failure: OSError | None = None
        async with trio.open_nursery() as nursery:
            await nursery.start(self.run)
            self._listener = listener
            try:
                await listener.run(task_status=_Listening(listener, task_status))
            except OSError as error:
                failure = error  # raised below, where no nursery puts it into a group
            finally:
                self._listener = None
            nursery.cancel_scope.cancel()
        if failure is not None:
            raise failure

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve the timers of all sessions and run the async handlers until cancelled, for a listener of your own.

        Put the server behind your listener with `EngineApplication`. Cancelling this ends all sessions and cancels all
        handlers. It still calls the `on_disconnect` handlers, which are cancelled at their first checkpoint. Before and
        after this runs, requests get a 503.
        """
        async with trio.open_nursery() as nursery:
            self._host.nursery = nursery
            self._is_open = True
            try:
                await self._engine.run(task_status=task_status)
            finally:
                self._is_open = False
                self._engine.end_all(DRAINED)

    async def drain(self, seconds: float) -> None:
        """Stop for good: admit nobody, and close all sessions evenly over at most half of `seconds`.

        Then `serve` returns. Stock clients reconnect to any server that is then reachable. This takes at most `seconds`
        and about two seconds more. If this is cancelled, the remaining sessions stay open.
        """
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._engine.close_all, seconds / 2)
            if self._listener is not None:
                await self._listener.drain(seconds)

    # Called by `EngineApplication`; see `EngineServer`

    def body_limit(self, request: Request) -> int | Response:
        """Return how many bytes the body of a request may have, or its refusal."""
        return self._engine.body_limit(request) if self._is_open else error_response(BUSY, ())

    def refusal(self, status: int, message: str, request: Request) -> Response:
        """Word an error of HTTP itself."""
        return self._engine.refusal(status, message, request)

    async def handle(self, request: Request) -> Response:
        """Answer a request whose body has been read."""
        if not self._is_open:
            return error_response(BUSY, ())
        return await self._engine.handle(request)

    def upgrade(self, request: Request, stream: ByteStream, leftover: bytes) -> Coroutine[Any, Any, Response | None]:
        """Carry a WebSocket until it ends, or refuse it."""
        if not self._is_open:
            return self.handle(request)
        return self._engine.upgrade(request, stream, leftover)
