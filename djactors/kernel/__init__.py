"""Actors and supervisors on Trio: a mailbox for each actor, typed refs, child specs and restarts as in OTP.

Everything public is exported here. A complete program::

    from collections import Counter

    import trio

    from djactors.kernel import Actor, ActorCrashed, ActorSpec, Supervisor


    class Votes(Actor[str, int]):
        \"\"\"Takes names and answers with how many votes each one has by then.\"\"\"

        def __init__(self, box: Counter[str]) -> None:
            self.box = box

        async def on_message(self, message: str) -> int:
            if not message:
                raise ValueError("a vote for nobody")
            self.box[message] += 1
            return self.box[message]


    async def main() -> None:
        box: Counter[str] = Counter()  # what is to outlive a crash is kept outside of the actor
        spec = ActorSpec("votes", lambda: Votes(box), mailbox_capacity=100)
        supervisor = Supervisor("example", [spec], on_event=lambda event: print(type(event).__name__))
        async with trio.open_nursery() as nursery:
            await nursery.start(supervisor.run)
            votes = supervisor.ref(spec)  # an ActorRef[str, int]
            await votes.tell("Ada")
            print("Ada", await votes.ask("Ada", timeout=1))
            try:
                await votes.ask("", timeout=1)
            except ActorCrashed as crash:
                print(crash)
            # The same ref leads to the actor's successor.
            print("Ada", await votes.ask("Ada", timeout=1))
            supervisor.request_stop()


    trio.run(main)

The life of a message: a sender tells or asks through an `ActorRef`; the message waits in the actor's bounded mailbox;
the actor handles messages one at a time, or in batches; the value that it returns answers the ask. When an actor
raises, its supervisor drops the message, makes a new actor after a pause, and gives up (or sets the actor aside) after
too many restarts. Nothing here knows what the messages are about.
"""

from djactors.kernel._actor import Actor, Service, StoppableService, Tree
from djactors.kernel._alarms import Alarms, Bucket, Reminder, Waiter
from djactors.kernel._errors import (
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
from djactors.kernel._events import (
    ChildCrashed,
    ChildQuarantined,
    ChildRestarting,
    ChildStarted,
    ChildStopped,
    SupervisorEscalated,
    SupervisorEvent,
    log_event,
)
from djactors.kernel._mailbox import Mailbox
from djactors.kernel._ref import ActorRef, Envelope
from djactors.kernel._spec import ActorSpec, AnySpec, Backoff, ChildSpec, Exhausted, Intensity, Restart, ServiceSpec
from djactors.kernel._statistics import ChildStatistics, Kind, MailboxStatistics, State, Tally
from djactors.kernel._supervisor import Supervisor

__all__ = [
    "Actor",
    "ActorCrashed",
    "ActorQuarantined",
    "ActorRef",
    "ActorSpec",
    "ActorStopped",
    "Alarms",
    "AnySpec",
    "AskTimeout",
    "AskUnanswered",
    "Backoff",
    "Bucket",
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
    "ServiceSpec",
    "State",
    "StoppableService",
    "Supervisor",
    "SupervisorEscalated",
    "SupervisorEvent",
    "SupervisorNotRunning",
    "Tally",
    "TooManyChildren",
    "Tree",
    "Waiter",
    "log_event",
]
