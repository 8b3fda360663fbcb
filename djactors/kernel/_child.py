"""One child of a supervisor, from its first start to its end: all of it in one task.

    STARTING → RUNNING ─ crash, or end of a permanent child ─→ BACKING_OFF ─→ STARTING …
                  │                                       └──→ QUARANTINED ─→ STARTING …
                  └─ asked to stop, or idle ─→ STOPPING ─→ STOPPED

The task of an idle actor rests in its mailbox (see `_feed.py`) and needs no other task and no timer: the pause before a
restart and the bound on a stop are deadlines of scopes in this same task.

Only `Exception` is a crash. `Cancelled` and other `BaseException`s pass through, also out of a group that mixes both:
hence `except*`.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import trio

from djactors.kernel._actor import Actor, Service, StoppableService, Tree
from djactors.kernel._alarms import Alarms
from djactors.kernel._crash import described, unwrapped
from djactors.kernel._events import (
    ChildCrashed,
    ChildQuarantined,
    ChildRestarting,
    ChildStarted,
    ChildStopped,
    SupervisorEvent,
)
from djactors.kernel._feed import Fed, Feed
from djactors.kernel._latch import Latch
from djactors.kernel._ref import ActorRef, Address, Envelope
from djactors.kernel._spec import ActorSpec, AnySpec, Exhausted, Restart
from djactors.kernel._statistics import ChildStatistics, Kind, State, Tally


@dataclass(frozen=True, slots=True)
class Parent:
    """What a child is given of its supervisor.

    Attributes:
        name: the supervisor's.
        rng: where the jitter of pauses comes from.
        alarms: the deadlines of the children and of those who ask them.
        report: passes an event on; never raises.
        escalate: gives up everything, because this child is exhausted.
        forget: frees the child's name, if it is one to be forgotten.
    """

    name: str
    rng: random.Random
    alarms: Alarms
    report: Callable[[SupervisorEvent], None]
    escalate: Callable[["Child", Exception | None], None]
    forget: Callable[["Child"], None]


class Child:
    """The record of one child and the code of its task.

    Args:
        spec: how to run it.
        parent: its supervisor.
        dynamic: whether it came after the supervisor's start, and so is forgotten when it ends.
        must_start: whether a failing first start ends it, with `start_error`, instead of leading to a restart.
    """

    __slots__ = (
        "_address",
        "_earlier_restarts",
        "_feed",
        "_instance",
        "_kind",
        "_last_error",
        "_on_probation",
        "_parent",
        "_pause",
        "_restart_times",
        "_running_since",
        "_scope",
        "_tally",
        "dynamic",
        "launched",
        "must_start",
        "ref",
        "settled",
        "spec",
        "start_error",
        "state",
    )

    def __init__(self, spec: AnySpec, parent: Parent, *, dynamic: bool, must_start: bool) -> None:
        self.spec = spec
        self.dynamic = dynamic
        self.must_start = must_start
        # A service has an address, too, which takes no message from the beginning.
        capacity = spec.mailbox_capacity if isinstance(spec, ActorSpec) else 1
        self._address = Address(spec.name, capacity, parent.alarms)
        if not isinstance(spec, ActorSpec):
            self._address.refuse()
        self.ref: ActorRef[Any, Any] = ActorRef(self._address)
        self.state = State.STARTING
        # Whether there is a task for it.
        self.launched = False
        # Set when it is known whether the first start succeeded.
        self.settled = Latch()
        self.start_error: Exception | None = None
        self._parent = parent
        # Around everything the child does; its deadline is set when a stop begins.
        self._scope = trio.CancelScope()
        # Around the pause before a restart.
        self._pause: trio.CancelScope | None = None
        self._instance: Actor[Any, Any] | Service | None = None
        self._feed: Feed | None = None
        self._kind = Kind.ACTOR if isinstance(spec, ActorSpec) else Kind.SERVICE
        self._running_since: float | None = None
        self._restart_times: list[float] = []
        # Restarts in a row: what the length of the next pause depends on.
        self._earlier_restarts = 0
        # Back from quarantine and not yet up for a whole period.
        self._on_probation = False
        self._tally = Tally()
        self._last_error: str | None = None

    # For the supervisor

    @property
    def name(self) -> str:
        """The name in the spec."""
        return self.spec.name

    def is_stopping(self) -> bool:
        """Whether it has been asked to stop, or gone idle."""
        return self.state in (State.STOPPING, State.STOPPED)

    @property
    def is_actor(self) -> bool:
        """Whether it has a mailbox."""
        return self._kind is Kind.ACTOR

    async def run(self) -> None:
        """The child's task. Returns when the child is gone for good; raises nothing but what is not an `Exception`."""
        try:
            with self._scope:
                while await self._live():
                    self._tally += Tally(restarts=1)
        except* Exception as group:  # noqa: BLE001 - supervision
            # A handler crashed while it was being cancelled, and the scope has taken the Cancelled out of the group.
            self._note_crash(unwrapped(group))
        finally:
            self.end()

    def request_stop(self) -> None:
        """Begin an orderly stop: no new messages; what is queued is handled, then `on_stop`, within `stop_timeout`."""
        if self.is_stopping():
            return
        self._begin_stop()
        if self._pause is not None:
            self._pause.cancel()
        elif self._instance is None or isinstance(self._instance, Actor):
            # Its mailbox is closed now, which ends an actor's loop; whoever has no instance looks at the state.
            return
        elif isinstance(self._instance, StoppableService):
            try:
                self._instance.request_stop()
            except Exception as error:  # noqa: BLE001 - supervision
                self._note_crash(error)
                self._scope.cancel()
        else:
            self._scope.cancel()

    def cancel(self) -> None:
        """Stop at once, whatever the child is doing."""
        if self.state is not State.STOPPED:
            self._begin_stop()
            self._scope.cancel()

    def end(self) -> None:
        """Close the books: nobody waits for this child any longer. Does nothing the second time."""
        if self.state is State.STOPPED:
            return
        self._address.refuse()
        dropped = self._drop_in_hand() + self._drop_queue()
        self.state = State.STOPPED
        self._address.end()
        self.settled.set()
        self._parent.forget(self)
        if not self.launched:
            return
        timed_out = self._scope.cancelled_caught and trio.current_time() >= self._scope.deadline
        self._parent.report(ChildStopped(self._parent.name, self.name, dropped, timed_out))

    def statistics(self, levels: int | None = None) -> ChildStatistics:
        """A snapshot of the child and what is below it: so many levels of it, or all."""
        below = self._instance.statistics(levels) if isinstance(self._instance, Tree) else None
        return ChildStatistics(
            name=self.name,
            kind=self._kind,
            state=self.state,
            tally=self._tally if below is None else self._tally + below.tally,
            mailbox=self._address.mailbox.statistics() if self.is_actor else None,
            last_error=self._last_error,
            children=() if below is None else below.children,
        )

    def hand_over_tally(self) -> Tally:
        """The counts since the last time this was called; the child keeps none of them."""
        tally, self._tally = self._tally, Tally()
        return tally

    # One life, from factory to end or crash

    async def _live(self) -> bool:
        """Make an instance and run it to its end, then pause if it is to be replaced; whether it is."""
        if self.is_stopping():
            # Messages that were accepted before the first start are still owed a handler.
            if not self._address.mailbox:
                return False
        else:
            self.state = State.STARTING
        self._running_since = None
        try:
            if isinstance(self.spec, ActorSpec):
                self._instance = actor = self.spec.factory()
                await self._run_actor(actor)
            else:
                self._instance = service = self.spec.factory()
                if not self.is_stopping():
                    await self._run_service(service)
            pause = self._pause_before_restart(None) if self._is_to_be_replaced() else None
        except* Exception as group:  # noqa: BLE001 - supervision
            pause = self._after_crash(unwrapped(group))
        finally:
            self._retire_instance()
        if pause is None or self.is_stopping():
            return False
        with trio.CancelScope() as self._pause:
            await trio.sleep(pause)
        self._pause = None
        if self.is_stopping():
            return False
        if self.state is State.QUARANTINED and self.is_actor:
            self._address.release()
        return True

    async def _run_actor(self, actor: Actor[Any, Any]) -> None:
        actor.ref = self.ref
        with trio.CancelScope(deadline=trio.current_time() + self.spec.start_timeout) as scope:
            await actor.on_start()
        if scope.cancelled_caught:
            raise trio.TooSlowError(f"{self.name} had not started after {self.spec.start_timeout} s")
        self._started()
        self._feed = Feed(actor, self._address)
        if await self._feed.run() is Fed.IDLE:
            # Nothing can have come between the actor's word and this: there was no checkpoint.
            self._begin_stop()
            self._parent.forget(self)
        await actor.on_stop()

    async def _run_service(self, service: Service) -> None:
        self._kind = Kind.SUPERVISOR if isinstance(service, Tree) else Kind.SERVICE
        with trio.CancelScope(deadline=trio.current_time() + self.spec.start_timeout) as scope:
            await service.run(task_status=_Started(self, scope))
        if scope.cancelled_caught:
            raise trio.TooSlowError(f"{self.name} had not started after {self.spec.start_timeout} s")
        # A service that is over before it said that it had started has done its work all the same.
        self._started()

    def _started(self) -> None:
        if self._running_since is not None:
            return
        self._running_since = trio.current_time()
        if self.state is State.STARTING:
            self.state = State.RUNNING
        self.must_start = False
        self.settled.set()
        self._parent.report(ChildStarted(self._parent.name, self.name))

    # What comes after a life

    def _is_to_be_replaced(self) -> bool:
        return not self.is_stopping() and self.spec.restart is Restart.PERMANENT

    def _after_crash(self, error: Exception) -> float | None:
        """Seconds to pause before the restart, or None if there is none."""
        self._note_crash(error)
        if self.must_start:
            self.start_error = error
            return None
        if self.is_stopping() or self.spec.restart is Restart.TEMPORARY:
            return None
        return self._pause_before_restart(error)

    def _pause_before_restart(self, error: Exception | None) -> float | None:
        """Seconds to pause, after a crash or the end of a permanent child; None if this goes up instead."""
        # Whoever waits for the first start need not wait for the second.
        self.settled.set()
        now = trio.current_time()
        spec = self.spec
        if self._running_since is not None and now - self._running_since >= spec.intensity.period:
            self._earlier_restarts = 0
            self._on_probation = False
        if not spec.intensity.admits(self._restart_times, now) or self._on_probation:
            if spec.when_exhausted is Exhausted.ESCALATE:
                self._parent.escalate(self, error)
                return None
            return self._enter_quarantine()
        pause = spec.backoff.delay(self._earlier_restarts, self._parent.rng)
        self._earlier_restarts += 1
        self.state = State.BACKING_OFF
        self._parent.report(ChildRestarting(self._parent.name, self.name, pause))
        return pause

    def _enter_quarantine(self) -> float:
        self.state = State.QUARANTINED
        self._on_probation = True
        self._earlier_restarts = 0
        self._restart_times.clear()
        if self.is_actor:
            self._address.quarantine()
        dropped = self._drop_queue()
        seconds = self.spec.quarantine_seconds
        self._parent.report(ChildQuarantined(self._parent.name, self.name, seconds, dropped))
        return seconds

    def _retire_instance(self) -> None:
        if self._feed is not None:
            self._feed.end()
        if isinstance(self._instance, Tree):
            # What happened below must not vanish from the sums with the instance.
            self._tally += self._instance.statistics().total()
        self._instance = None

    def _note_crash(self, error: Exception) -> None:
        dropped = self._address.give_up(self._take_in_hand(), crash=error)
        self._last_error = described(error)
        self._tally += Tally(crashes=1, dropped=len(dropped))
        self._parent.report(ChildCrashed(self._parent.name, self.name, error, dropped))

    def _drop_in_hand(self) -> tuple[Any, ...]:
        dropped = self._address.give_up(self._take_in_hand())
        self._tally += Tally(dropped=len(dropped))
        return dropped

    def _take_in_hand(self) -> Sequence[Envelope[Any, Any]]:
        return () if self._feed is None else self._feed.take_in_hand()

    def _drop_queue(self) -> tuple[Any, ...]:
        dropped = self._address.give_up(self._address.mailbox.drain())
        self._tally += Tally(dropped=len(dropped))
        return dropped

    def _begin_stop(self) -> None:
        self.state = State.STOPPING
        self._address.refuse()
        self._scope.deadline = trio.current_time() + self.spec.stop_timeout


class _Started:
    """What a service calls to say that it is ready: there is no more deadline then."""

    def __init__(self, child: Child, scope: trio.CancelScope) -> None:
        self._child = child
        self._scope = scope

    def started(self, value: None = None) -> None:
        self._scope.deadline = float("inf")
        self._child._started()
