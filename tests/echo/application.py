"""Echoes by Engine.IO at `/engine.io/` and by Socket.IO at `/socket.io/`, as the official suites want it."""

from collections.abc import Callable
from dataclasses import replace
from itertools import count
from math import inf

from djactors.engine import EngineServer, EngineSettings, OriginPolicy, Session
from djactors.net import ByteStream, Request, Response
from djactors.protocol import ConnectRequested, EncodedPacket, EventReceived, SocketSession

# The first two are from the suites' introductions. The timeout of the CONNECT must outlast their longest idle test.
SUITE_SETTINGS = EngineSettings(ping_interval=0.3, ping_timeout=0.2, connect_timeout=1.0, max_payload=1_000_000)


class EngineEcho:
    """Sends each message back."""

    is_idle = False

    def __init__(self, session: Session) -> None:
        self.session = session
        self.closed: list[str] = []
        self.ticks = 0

    def on_message(self, data: str | bytes) -> None:
        if isinstance(data, bytes):
            self.session.send([BinaryMessage(data)])
        else:
            self.session.send([EncodedPacket(b"4" + data.encode())])

    def on_close(self, reason: str) -> None:
        self.closed.append(reason)

    def on_tick(self, now: float) -> None:
        self.ticks += 1


class BinaryMessage(EncodedPacket):
    """Bytes alone: Socket.IO always has a text in front of them, so the product has no packet for it."""

    __slots__ = ()

    def __init__(self, data: bytes) -> None:
        super().__init__(b"", (data,))

    @property
    def frame(self) -> bytes:
        return super().frame[2:]  # without the empty text frame

    @property
    def payload(self) -> bytes:
        return super().payload[1:]  # without the separator behind the empty text

    @property
    def packet_count(self) -> int:
        return 1


class SocketEcho:
    """Lets everybody into two namespaces and answers `message` and `message-with-ack`."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.protocol = SocketSession()
        self.closed: list[str] = []
        self.ticks = 0

    @property
    def is_idle(self) -> bool:
        return self.protocol.is_idle

    def on_message(self, data: str | bytes) -> None:
        protocol = self.protocol
        match protocol.receive(data):
            case ConnectRequested("/" | "/custom" as namespace, auth):
                accepted = protocol.accept(namespace, "public")
                self.session.send([accepted, protocol.emit("auth", auth, namespace=namespace)])
            case ConnectRequested(namespace, _):
                self.session.send([protocol.refuse(namespace, "Invalid namespace")])
            case EventReceived(namespace, "message", args):
                self.session.send([protocol.emit("message-back", *args, namespace=namespace)])
            case EventReceived(namespace, "message-with-ack", args, int(ack_id)):
                self.session.send([protocol.ack(namespace, ack_id, *args)])

    def on_close(self, reason: str) -> None:
        self.closed.append(reason)

    def on_tick(self, now: float) -> None:
        self.ticks += 1


class EngineLog:
    """Remembers what an engine tells."""

    def __init__(self) -> None:
        self.opened: list[str] = []
        self.upgrades = 0
        self.closed: list[tuple[str, str]] = []
        self.refusals: list[str] = []
        self.errors: list[BaseException] = []

    def session_opened(self, transport: str) -> None:
        self.opened.append(str(transport))

    def session_upgraded(self) -> None:
        self.upgrades += 1

    def session_closed(self, transport: str, reason: str) -> None:
        self.closed.append((str(transport), reason))

    def refused(self, reason: str) -> None:
        self.refusals.append(reason)

    def failed(self, error: BaseException, peer: str) -> None:
        self.errors.append(error)


class EchoApplication:
    """Both echoes behind one port. `engine` is the first, `socket` the second."""

    def __init__(
        self,
        settings: EngineSettings = SUITE_SETTINGS,
        *,
        origins: OriginPolicy | None = None,
        random_token: Callable[[], str] | None = None,
    ) -> None:
        numbers = count(1)
        self.log = EngineLog()
        self.handlers: dict[str, EngineEcho | SocketEcho] = {}
        token = random_token or (lambda: f"sid{next(numbers)}")
        origins = origins or OriginPolicy()

        def serve(settings: EngineSettings, handler: type[EngineEcho] | type[SocketEcho]) -> EngineServer:
            def make_handler(session: Session) -> EngineEcho | SocketEcho:
                self.handlers[session.sid] = made = handler(session)
                return made

            return EngineServer(settings, make_handler, origins=origins, random_token=token, telemetry=self.log)

        self.engine = serve(replace(settings, connect_timeout=inf), EngineEcho)
        self.socket = serve(settings, SocketEcho)
        self._servers = {"/engine.io/": self.engine, "/socket.io/": self.socket}
        self._max_payload = settings.max_payload

    def body_limit(self, request: Request) -> int:
        return self._max_payload

    async def handle(self, request: Request) -> Response:
        server = self._servers.get(request.path)
        return Response(404) if server is None else await server.handle(request)

    async def upgrade(self, request: Request, stream: ByteStream, leftover: bytes) -> Response | None:
        server = self._servers.get(request.path)
        return Response(404) if server is None else await server.upgrade(request, stream, leftover)

    def refusal(self, status: int, code: str, message: str) -> Response:
        return Response(status, message.encode(), "text/plain")
