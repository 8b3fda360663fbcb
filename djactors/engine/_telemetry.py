"""What an engine tells of its work to whoever counts and logs."""

from collections.abc import Callable
from typing import Protocol

from djactors.engine._refusals import Refusal


class EngineTelemetry(Protocol):
    """Counts for the engine. The calls are synchronous and must neither wait nor raise."""

    def session_opened(self, transport: str) -> None:
        """A session was opened on `polling` or `websocket`."""

    def session_upgraded(self) -> None:
        """A session went from polling to WebSocket."""

    def session_closed(self, transport: str, reason: str) -> None:
        """A session ended; `transport` carried it at the end, and `reason` is a fixed word."""

    def refused(self, refusal: Refusal) -> None:
        """A client was refused something. It can be so again at once, as often as it likes."""

    def failed(self, error: BaseException, peer: str) -> None:
        """A handler's `on_close` or a `tick` raised. `peer` may be empty."""


class Uncounted:
    """An `EngineTelemetry` that counts nothing. `on_error` gets each exception and the peer's address."""

    def __init__(self, on_error: Callable[[BaseException, str], None]) -> None:
        self.failed = on_error

    def session_opened(self, transport: str) -> None:
        """Do nothing."""

    def session_upgraded(self) -> None:
        """Do nothing."""

    def session_closed(self, transport: str, reason: str) -> None:
        """Do nothing."""

    def refused(self, refusal: Refusal) -> None:
        """Do nothing."""
