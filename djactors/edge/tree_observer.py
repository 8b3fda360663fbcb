"""Tells the operator about the actor tree: crashes, actors that were set aside, and the end.

The user actors are looked after by `Users`, which disconnects their sockets as well.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from djactors.actors.users import Users
from djactors.kernel import (
    ChildCrashed,
    ChildQuarantined,
    SupervisorEscalated,
    SupervisorEvent,
)
from djactors.telemetry import Telemetry

CONSEQUENCES: Mapping[str, str] = {
    "clock": "SLA alerts and daily summaries are late",
    "retention": "nothing expires or is purged, and the database grows",
    "room": "nobody is told that the disk will be full",
    "presence": "nobody is told who comes and goes",
    "registration": "other nodes do not list this one",
}
"""What people notice while an actor is set aside."""


class TreeObserver:
    """Logs and counts what the root supervisor reports.

    Args:
        telemetry: where it logs and counts.
        users: have the log reread where the router crashed.
        look: has the clock look for what is due; called where the router crashed.
    """

    def __init__(self, telemetry: Telemetry, users: Users, look: Callable[[], None]) -> None:
        self._telemetry = telemetry
        self._users = users
        self._look = look
        # While the server starts, an error of the operating system ends the start, which says so in one line.
        self.starting = True

    def observe(self, event: SupervisorEvent) -> None:
        """Take a report of the supervisor; must not block."""
        match event:
            case ChildCrashed(error=OSError()) if self.starting:
                pass
            case ChildCrashed(child=child, error=error, dropped=dropped):
                self._telemetry.metrics.restarts.labels(child).inc()
                if child == "router":
                    # It may have crashed between a commit and its telling: of changes, and of a moment that the clock
                    # would otherwise sleep through.
                    self._users.reread()
                    self._look()
                self._telemetry.log.error("child crashed", child=child, dropped=len(dropped), exc_info=error)
            case ChildQuarantined(child=child, seconds=seconds, dropped=dropped):
                self._telemetry.metrics.quarantines.labels(child).inc()
                self._telemetry.log.error(
                    "child set aside",
                    child=child,
                    seconds=seconds,
                    dropped=len(dropped),
                    consequence=CONSEQUENCES.get(child, "what it does is not done"),
                    mend=f"it starts again by itself in {seconds:g} s; if it is set aside again, mend what the entries "
                    f"'child crashed' of {child} before this one name, and restart the server",
                )
            case SupervisorEscalated(child=child):
                self._telemetry.log.critical("restart intensity exceeded", child=child)
