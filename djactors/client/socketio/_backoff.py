"""How long a client waits before it tries again."""

from collections.abc import Callable

from djactors.client.socketio._settings import SocketSettings


class Backoff:
    """Waits that double, each with a random part.

    Args:
        settings: for the first and the longest wait, and the random part.
        random: gives numbers from 0 to 1, as `random.random` does.
    """

    def __init__(self, settings: SocketSettings, random: Callable[[], float]) -> None:
        self._settings, self._random = settings, random
        self.failures = 0

    def reset(self) -> None:
        """A connection was good."""
        self.failures = 0

    def next(self, retry_after: float | None = None) -> float:
        """Count a failure, and return the seconds to wait; a server's wish is honoured, within bounds."""
        settings = self._settings
        # Beyond 2^30 a float has no room to double for ever.
        doubled = settings.reconnect_delay * 2.0 ** min(self.failures, 30)
        self.failures += 1
        wait = min(doubled, settings.reconnect_delay_max) * (1 - settings.jitter * self._random())
        if retry_after is None:
            return wait
        # The random part is added, or all who were told the same would come back together.
        return min(retry_after, settings.max_retry_after) + wait * settings.jitter
