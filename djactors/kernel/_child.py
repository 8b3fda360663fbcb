"""One child of a supervisor, from its first start to its end. The child has one task for all of this.

    STARTING → RUNNING ─ crash, or end of a permanent child ─→ BACKING_OFF ─→ STARTING …
                  │                                       └──→ QUARANTINED ─→ STARTING …
                  └─ asked to stop, or idle ─→ STOPPING ─→ STOPPED

The task of an idle actor rests in its mailbox (see `_feed.py`) and needs no other task and no timer. Each life has a
scope in this task, whose deadline bounds the stop, and so has each pause before a restart. The deadline of a start is
an alarm (see `_alarms.py`), because a scope of its own was a twentieth of what it costs to connect a user. An actor
whose spec says so has no task at all while it rests. The mailbox then has the supervisor find another task, in which
the same life goes on.

Only an `Exception` is a crash. `Cancelled` and other `BaseException`s pass through, even if they come in one group with
a crash: this is why the code says `except*`.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf
from typing import Any

import trio

from djactors.kernel._actor import Actor, Service, StoppableService, Tree
from djactors.kernel._alarms import Alarms, Bucket
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
from djactors.kernel._spec import ActorSpec, AnySpec, Exhausted, Restart, ServiceSpec
from djactors.kernel._statistics import ChildStatistics, Kind, State, Tally

_NOTHING = Tally()
"""The counts of a child that nothing has happened to."""


@dataclass(frozen=True, slots=True)
class Parent:
    """The part of its supervisor that a child uses.

    Attributes:
        name: the supervisor's name.
        rng: the source of the jitter in pauses.
        alarms: the deadlines of the children and of the asks to them.
        report: passes an event on; never raises.
        escalate: stops all children, because this child is exhausted.
        forget: frees the name of a dynamic child.
        launch: starts a task for a child that rests without one.
    """

    name: str
    rng: random.Random
    alarms: Alarms
    report: Callable[[SupervisorEvent], None]
    escalate: Callable[["Child", Exception | None], None]
    forget: Callable[["Child"], None]
    launch: Callable[["Child"], None]


class Child:
    """The record of one child and the code of its task.

    Args:
        spec: how to run the child.
        parent: the child's supervisor.
        name: the spec's, or what stands for it.
        arguments: what the spec's factory is called with.
        dynamic: whether the child was added after the supervisor's start; such a child is forgotten when it ends.
        must_start: whether a first start that fails ends the child, with `start_error`, instead of restarting it.
    """

    __slots__ = (
        "_address",
        "_alarm",
        "_arguments",
        "_earlier_restarts",
        "_feed",
        "_instance",
        "_is_too_slow",
        "_kind",
        "_last_error",
        "_on_probation",
        "_parent",
        "_restart_times",
        "_rests",
        "_running_since",
        "_scope",
        "_tally",
        "dynamic",
        "launched",
        "must_start",
        "name",
        "ref",
        "settled",
        "spec",
        "start_error",
        "state",
    )

    def __init__(
        self,
        spec: AnySpec,
        parent: Parent,
        *,
        name: str,
        arguments: tuple[Any, ...],
        dynamic: bool,
        must_start: bool,
    ) -> None:
        self.spec = spec
        self.name = name
        self._arguments = arguments
        self.dynamic = dynamic
        self.must_start = must_start
        # A service has an address, too, but that address refuses every message.
        capacity = spec.mailbox_capacity if isinstance(spec, ActorSpec) else 1
        self._address = Address(name, capacity, parent.alarms)
        if not isinstance(spec, ActorSpec):
            self._address.refuse()
        self.ref: ActorRef[Any, Any] = ActorRef(self._address)
        self.state = State.STARTING
        # Whether the child's task has been started.
        self.launched = False
        # Set when it is known whether the first start succeeded.
        self.settled = Latch()
        self.start_error: Exception | None = None
        self._parent = parent
        # This scope is around a life, or around the pause before the next one; its deadline is set when a stop begins.
        # None while there is no task, because the actor rests.
        self._scope: trio.CancelScope | None = trio.CancelScope()
        self._rests = False
        # Where the deadline of the start that is under way is kept, and whether it has come.
        self._alarm: Bucket | None = None
        self._is_too_slow = False
        self._instance: Actor[Any, Any] | Service | None = None
        self._feed: Feed | None = None
        self._kind = Kind.ACTOR if isinstance(spec, ActorSpec) else Kind.SERVICE
        self._running_since: float | None = None
        self._restart_times: list[float] = []
        # Restarts in a row, on which the length of the next pause depends.
        self._earlier_restarts = 0
        # Whether the child is back from quarantine and has not yet run for a whole period.
        self._on_probation = False
        self._tally = _NOTHING
        self._last_error: str | None = None

    # For the supervisor

    def is_stopping(self) -> bool:
        """Whether the child has been asked to stop, or has gone idle."""
        return self.state in (State.STOPPING, State.STOPPED)

    @property
    def keeps_task(self) -> bool:
        """Whether the child keeps its task while it rests; see `ActorSpec`."""
        return not isinstance(self.spec, ActorSpec) or self.spec.keeps_task

    @property
    def is_actor(self) -> bool:
        """Whether the child has a mailbox."""
        return self._kind is Kind.ACTOR

    async def run(self) -> None:
        """Be the child's task. Returns when the child is gone for good, or rests without a task; never raises an
        `Exception`.
        """
        try:
            while (pause := await self._live()) is not None:
                self._scope = trio.CancelScope()
                with self._scope:
                    await trio.sleep(pause)
                if self.is_stopping():
                    break
                if self.state is State.QUARANTINED and self.is_actor:
                    self._address.release()
                self._scope = trio.CancelScope()
                self._tally += Tally(restarts=1)
        finally:
            if self._rests:
                self._scope = None
                self._address.mailbox.leave_word(self._wake)
            else:
                self.end()

    def _wake(self) -> None:
        """The actor rests without a task, and there is something to do."""
        self._rests = False
        self._scope = trio.CancelScope()
        self._parent.launch(self)

    def request_stop(self) -> None:
        """Begin an orderly stop: no new messages; what is queued is handled, then `on_stop`, within `stop_timeout`."""
        if self.is_stopping():
            return
        is_pausing = self.state in (State.BACKING_OFF, State.QUARANTINED)
        self._begin_stop()
        if is_pausing:
            self._cancel_task()
        elif self._instance is None or isinstance(self._instance, Actor):
            # The mailbox is closed now, which ends an actor's loop. A child without an instance looks at the state.
            return
        elif isinstance(self._instance, StoppableService):
            try:
                self._instance.request_stop()
            except Exception as error:  # noqa: BLE001 - supervision
                self._note_crash(error)
                self._cancel_task()
        else:
            self._cancel_task()

    def cancel(self) -> None:
        """Stop at once, whatever the child is doing."""
        if self.state is not State.STOPPED:
            self._begin_stop()
            self._cancel_task()

    def _cancel_task(self) -> None:
        assert self._scope is not None, "a stop that has begun has woken who rests"
        self._scope.cancel()

    def end(self) -> None:
        """Fail the messages that are left, and wake everybody who waits for this child's end. Idempotent."""
        if self.state is State.STOPPED:
            return
        if self._instance is not None:
            # The supervisor is cancelled while the actor rests, and there is no task that ends with it.
            self._address.mailbox.take_word_back()
            self._retire_instance()
        self._address.refuse()
        dropped = self._drop_in_hand() + self._drop_queue()
        self.state = State.STOPPED
        self._address.end()
        self.settled.set()
        self._parent.forget(self)
        if not self.launched:
            return
        scope = self._scope
        timed_out = scope is not None and scope.cancelled_caught and trio.current_time() >= scope.deadline
        self._parent.report(ChildStopped(self._parent.name, self.name, dropped, timed_out))

    def statistics(self, levels: int | None = None) -> ChildStatistics:
        """A snapshot of the child and the nodes below it, down to `levels` levels; None means all levels."""
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
        """Return the counts since the last call, and start counting from zero."""
        tally, self._tally = self._tally, _NOTHING
        return tally

    # One life, from factory to end or crash

    async def _live(self) -> float | None:
        """Make an instance, unless one has rested, and run it to its end. Seconds to pause before there is another one;
        None if there is none.
        """
        if self._instance is None:
            if self.is_stopping():
                # Messages that were accepted before the first start must still be handled.
                if not self._address.mailbox:
                    return None
            else:
                self.state = State.STARTING
            self._running_since = None
        assert self._scope is not None
        try:
            # A handler may crash while it is being cancelled: the scope takes the Cancelled out of the group.
            with self._scope:
                if isinstance(self.spec, ActorSpec):
                    await self._run_actor(self.spec)
                else:
                    await self._run_service(self.spec)
            self._require_in_time(self._scope.cancelled_caught)
            pause = self._pause_before_restart(None) if self._is_to_be_replaced() else None
        except* Exception as group:  # noqa: BLE001 - supervision
            pause = self._after_crash(unwrapped(group))
        finally:
            self._clear_alarm()
            self._is_too_slow = False
            if not self._rests:
                self._retire_instance()
        return None if self.is_stopping() else pause

    async def _run_actor(self, spec: ActorSpec[Any, Any]) -> None:
        if self._instance is None:
            self._instance = actor = spec.factory(*self._arguments)
            actor.ref = self.ref
            self._set_alarm()
            await actor.on_start()
            self._require_in_time()
            self.started()
            self._feed = Feed(actor, self._address, keeps_task=spec.keeps_task)
        else:
            # It has rested, and may have been cancelled since it was woken.
            await trio.lowlevel.checkpoint_if_cancelled()
        assert self._feed is not None
        end = await self._feed.run()
        if end is Fed.RESTING:
            self._rests = True
            return
        if end is Fed.IDLE:
            # No message can have come since `on_idle` returned True, because there was no checkpoint.
            self._begin_stop()
            self._parent.forget(self)
        assert isinstance(self._instance, Actor)
        await self._instance.on_stop()

    async def _run_service(self, spec: ServiceSpec) -> None:
        self._instance = service = spec.factory()
        if self.is_stopping():
            return
        self._kind = Kind.SUPERVISOR if isinstance(service, Tree) else Kind.SERVICE
        self._set_alarm()
        await service.run(task_status=self)
        self._require_in_time()
        # A service may return without having called `started()`: it has done its work all the same.
        self.started()

    # The start, which has a deadline. A child is the `task_status` of its own service.

    def started(self, value: None = None) -> None:
        """The instance is up, and has no deadline any more. Idempotent."""
        self._clear_alarm()
        if self._running_since is not None:
            return
        self._running_since = trio.current_time()
        if self.state is State.STARTING:
            self.state = State.RUNNING
        self.must_start = False
        self.settled.set()
        self._parent.report(ChildStarted(self._parent.name, self.name))

    def expire(self) -> None:
        """The start takes too long: end the life. See `Alarms`."""
        self._is_too_slow = True
        self._cancel_task()

    def _set_alarm(self) -> None:
        if self.spec.start_timeout != inf:
            self._alarm = self._parent.alarms.set(self, self.spec.start_timeout)

    def _clear_alarm(self) -> None:
        if self._alarm is not None:
            self._alarm.pop(self, None)
            self._alarm = None

    def _require_in_time(self, is_cut_off: bool = False) -> None:
        """Raise if the start took too long, unless there was one all the same and the life went on to its own end."""
        if self._is_too_slow and (is_cut_off or self._running_since is None):
            raise trio.TooSlowError(f"{self.name} had not started after {self.spec.start_timeout} s")

    # After a life: pause, quarantine or end

    def _is_to_be_replaced(self) -> bool:
        return not (self._rests or self.is_stopping()) and self.spec.restart is Restart.PERMANENT

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
        """Seconds to pause after a crash or the end of a permanent child; None if the supervisor gives up instead."""
        # Tasks that wait for the first start need not wait for the second.
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
            # The counts of the nodes below must not vanish from the sums together with the instance.
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
        # This wakes an actor that rests.
        self._address.refuse()
        assert self._scope is not None
        self._scope.deadline = trio.current_time() + self.spec.stop_timeout
