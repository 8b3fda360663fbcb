"""Echo servers for the official test suites: Socket.IO at `/socket.io/`, and Engine.IO alone at `/engine.io/`.

    python -m djactors.engine.example --port 3000

The suites are `docs/engine.io-protocol/v4-test-suite` (25 tests) and `docs/socket.io-protocol/v5-test-suite` (32 tests)
in the repository socketio/socket.io. They need the settings below, the namespaces `/` and `/custom`, and the handlers
here.
"""

import argparse
import sys
import traceback
from collections.abc import Callable
from dataclasses import replace
from math import inf
from secrets import token_urlsafe
from typing import Any

import trio

from djactors.engine import (
    EngineApplication,
    EngineServer,
    EngineSettings,
    EngineTelemetry,
    Namespace,
    OriginPolicy,
    Session,
    Socket,
    SocketServer,
    Uncounted,
)
from djactors.protocol import encode_message

# All but `connect_timeout` are from the suites' introductions. `connect_timeout` must outlast the longest idle test.
SUITE_SETTINGS = EngineSettings(ping_interval=0.3, ping_timeout=0.2, connect_timeout=1.0, max_payload=1_000_000)


class EngineEcho:
    """Sends each message of a session back: Engine.IO without Socket.IO."""

    # There is nothing to join, so a session must not be closed for having joined nothing.
    is_idle = False

    def __init__(self, session: Session) -> None:
        self._session = session
        # Nothing proves who a client of this protocol alone is, and the suite sends large messages.
        session.prove()

    def on_message(self, data: str | bytes) -> None:
        """Send the message back."""
        self._session.send([encode_message(data)])

    def on_close(self, reason: str) -> None:
        """Do nothing: there is nothing to clean up."""

    def on_tick(self, now: float) -> None:
        """Do nothing: there is no periodic work."""


def echo_namespace(name: str) -> Namespace:
    """A namespace that tells each client the `auth` that it sent, and sends its events back."""
    namespace = Namespace(name)

    @namespace.on_connect
    def connect(socket: Socket, auth: dict[str, Any]) -> None:
        socket.emit("auth", auth)

    @namespace.on("message")
    def message(socket: Socket, *args: Any) -> None:
        socket.emit("message-back", *args)

    @namespace.on("message-with-ack")
    async def message_with_ack(socket: Socket, *args: Any) -> tuple[Any, ...]:
        return args

    return namespace


def echo_servers(
    settings: EngineSettings = SUITE_SETTINGS,
    *,
    on_error: Callable[[BaseException, str], None],
    origins: OriginPolicy | None = None,
    random_token: Callable[[], str] = lambda: token_urlsafe(18),
    telemetry: EngineTelemetry | None = None,
) -> tuple[SocketServer, EngineServer]:
    """Both echo servers. The first serves the second's path as well, but the caller must run the second."""
    origins = origins or OriginPolicy()
    engine = EngineServer(
        replace(settings, connect_timeout=inf),
        EngineEcho,
        origins=origins,
        random_token=random_token,
        telemetry=telemetry or Uncounted(on_error),
    )
    server = SocketServer(
        echo_namespace("/"),
        echo_namespace("/custom"),
        on_error=on_error,
        settings=settings,
        origins=origins,
        beside=EngineApplication({"/engine.io/": engine}),
        random_token=random_token,
        telemetry=telemetry,
    )
    return server, engine


async def main(port: int) -> None:
    """Serve until cancelled."""
    server, engine = echo_servers(on_error=lambda error, peer: traceback.print_exception(error, file=sys.stderr))
    async with trio.open_nursery() as nursery:
        await nursery.start(engine.run)
        url = await nursery.start(server.serve, "127.0.0.1", port)
        print(f"listening on {url}", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one, which is printed")
    trio.run(main, parser.parse_args().port)
