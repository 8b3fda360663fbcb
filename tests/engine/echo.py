"""The example's echoes, watched: what each session was told, and what was counted."""

from collections.abc import Callable
from itertools import count

from djactors.engine import (
    EngineApplication,
    EngineServer,
    EngineSettings,
    OriginPolicy,
    Refusal,
    Session,
    SessionHandler,
)
from djactors.engine.example import SUITE_SETTINGS, echo_servers


class Watched:
    """A handler, and what its session told it."""

    def __init__(self, session: Session, handler: SessionHandler) -> None:
        self.session = session
        self._handler = handler
        self.closed: list[str] = []
        self.ticks = 0

    @property
    def is_idle(self) -> bool:
        return self._handler.is_idle

    def on_message(self, data: str | bytes) -> None:
        self._handler.on_message(data)

    def on_close(self, reason: str) -> None:
        self.closed.append(reason)
        self._handler.on_close(reason)

    def on_tick(self, now: float) -> None:
        self.ticks += 1
        self._handler.on_tick(now)


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

    def refused(self, refusal: Refusal) -> None:
        self.refusals.append(refusal.reason)

    def failed(self, error: BaseException, peer: str) -> None:
        self.errors.append(error)


class EchoApplication(EngineApplication):
    """Both echoes behind one port. `engine` is the one at `/engine.io/`, `socket` the one at `/socket.io/`."""

    def __init__(
        self,
        settings: EngineSettings = SUITE_SETTINGS,
        *,
        origins: OriginPolicy | None = None,
        random_token: Callable[[], str] | None = None,
    ) -> None:
        numbers = count(1)
        self.log = EngineLog()
        self.handlers: dict[str, Watched] = {}
        self.socket, self.engine = echo_servers(
            settings,
            on_error=self.log.failed,
            origins=origins,
            random_token=random_token or (lambda: f"sid{next(numbers)}"),
            telemetry=self.log,
        )
        self._engines = {"/engine.io/": self.engine, "/socket.io/": self.socket._engine}
        for engine in self._engines.values():
            self._watch(engine)
        super().__init__({"/engine.io/": self.engine, "/socket.io/": self.socket})

    def sessions(self, path: str) -> list[Session]:
        """The open sessions of the echo there."""
        return list(self._engines[path].sessions)

    def _watch(self, engine: EngineServer) -> None:
        make_handler = engine._make_handler

        def make(session: Session) -> Watched:
            self.handlers[session.sid] = watched = Watched(session, make_handler(session))
            return watched

        engine._make_handler = make
