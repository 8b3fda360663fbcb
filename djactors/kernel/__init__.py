"""The actor kernel: mailboxes, actors, refs and supervisors on Trio. It knows no notification.

class Greeter(Actor[str]):
    async def on_message(self, message: str) -> str:
        return f"Hello, {message}"

async with trio.open_nursery() as nursery:
    supervisor = Supervisor("example", [ChildSpec("greeter", Greeter)])
    await nursery.start(supervisor.run)
    print(await supervisor.ref("greeter").ask("world", timeout=1))
    supervisor.request_stop()
"""

from djactors.kernel.actor import Actor, Service, StoppableService
from djactors.kernel.alarms import Alarms, Reminder
from djactors.kernel.envelope import Envelope
from djactors.kernel.errors import (
    ActorCrashed,
    ActorQuarantined,
    ActorStopped,
    AskTimeout,
    AskUnanswered,
    ChildExists,
    ChildStartFailed,
    KernelError,
    MailboxClosed,
    MailboxFull,
    NoSuchChild,
    RestartIntensityExceeded,
    SupervisorNotRunning,
    TooManyChildren,
)
from djactors.kernel.events import (
    ChildCrashed,
    ChildQuarantined,
    ChildRestarting,
    ChildStarted,
    ChildStopped,
    SupervisorEscalated,
    SupervisorEvent,
)
from djactors.kernel.mailbox import Mailbox
from djactors.kernel.ref import ActorRef
from djactors.kernel.spec import Backoff, ChildSpec, Exhausted, Intensity, Restart
from djactors.kernel.statistics import ChildStatistics, Kind, MailboxStatistics, State, Tally
from djactors.kernel.supervisor import Supervisor

__all__ = [
    "Actor",
    "ActorCrashed",
    "ActorQuarantined",
    "ActorRef",
    "ActorStopped",
    "Alarms",
    "AskTimeout",
    "AskUnanswered",
    "Backoff",
    "ChildCrashed",
    "ChildExists",
    "ChildQuarantined",
    "ChildRestarting",
    "ChildSpec",
    "ChildStartFailed",
    "ChildStarted",
    "ChildStatistics",
    "ChildStopped",
    "Envelope",
    "Exhausted",
    "Intensity",
    "KernelError",
    "Kind",
    "Mailbox",
    "MailboxClosed",
    "MailboxFull",
    "MailboxStatistics",
    "NoSuchChild",
    "Reminder",
    "Restart",
    "RestartIntensityExceeded",
    "Service",
    "State",
    "StoppableService",
    "Supervisor",
    "SupervisorEscalated",
    "SupervisorEvent",
    "SupervisorNotRunning",
    "Tally",
    "TooManyChildren",
]
