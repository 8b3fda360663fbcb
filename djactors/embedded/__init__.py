"""A server inside of a program that does not use Trio: it runs in a thread of its own.

A complete program, for asyncio::

    import asyncio
    import secrets

    import djactors
    from djactors.domain.events import NotificationRequested


    async def main() -> None:
        settings = {"database": "embedded.db", "port": 0, "jwt_secret": secrets.token_hex(32)}
        async with djactors.portal(settings) as portal:
            news = NotificationRequested(
                tenant_id=1, user_id=2, notification_type="welcome", priority="LOW", title="Good morning"
            )
            print((await portal.publish(news)).answer.decode())


    if __name__ == "__main__":
        asyncio.run(main())

Without asyncio it is `with`, and without `await`; any thread may call it. What is to be known:

- **One process.** An SQLite file has one server, so the portal is started in one process only: in that of
  `gunicorn --workers 1 --threads 8`, by `post_fork` and never before a fork, because threads do not survive one. A
  child that was forked later gets `PortalForked`. If you want several processes, run `djactors serve` beside them, and
  use `djactors.Client`.
- **Reloaders.** Flask's and Django's development servers run your program twice. The second start is refused, and names
  the process that has the database. Start the portal only where `WERKZEUG_RUN_MAIN` (Flask) or `RUN_MAIN` (Django) is
  `true` in the environment, or switch the reloader off.
- **Errors.** What keeps the server from starting is raised at the `with` or by `start`. If it has to give up later,
  each call that waits and each later call raises `PortalStopped`, and so does the end of the `with`.
- **Bounds.** `MAX_CALLS` calls wait at once, others raise `PortalBusy`. A call ends within the setting
  `command_timeout` and a few seconds. The end waits for the calls, and for `drain_timeout` for people's connections.
- **Signals** stay yours. A portal that nobody stops is stopped when the interpreter ends.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from djactors.config import Settings
from djactors.domain.notification_types import NotificationType
from djactors.embedded._errors import PortalBusy, PortalError, PortalForked, PortalStopped, PortalTimeout
from djactors.embedded._portal import ANSWER_SECONDS, START_SECONDS, AsyncPortal, Portal
from djactors.embedded._thread import MAX_CALLS
from djactors.telemetry import Telemetry

__all__ = [
    "ANSWER_SECONDS",
    "MAX_CALLS",
    "START_SECONDS",
    "AsyncPortal",
    "Portal",
    "PortalBusy",
    "PortalError",
    "PortalForked",
    "PortalStopped",
    "PortalTimeout",
    "portal",
]


def portal(
    settings: Settings | Mapping[str, Any] | None = None,
    *,
    telemetry: Telemetry | None = None,
    types: Iterable[NotificationType] = (),
    start_timeout: float = START_SECONDS,
) -> Portal:
    """A server that will run in a thread of this process. See `Portal`."""
    return Portal(settings, telemetry=telemetry, types=types, start_timeout=start_timeout)
