"""An Engine.IO server for any Trio program: sessions, transports, heartbeat, admission, origins."""

from djactors.engine._origins import OriginPolicy
from djactors.engine._server import EngineServer, EngineTelemetry
from djactors.engine._session import EngineSettings, Session, SessionHandler
from djactors.engine._socket_handler import BaseSocket, SocketHandler

__all__ = [
    "BaseSocket",
    "EngineServer",
    "EngineSettings",
    "EngineTelemetry",
    "OriginPolicy",
    "Session",
    "SessionHandler",
    "SocketHandler",
]
