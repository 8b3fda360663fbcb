"""A supervisor starts children in order, restarts each on its own (OTP's `one_for_one`), and stops them in reverse.

Rules:

- The children given at construction start one after the other: each is up before the next begins. If a permanent child
  fails its very first start, the children before it are stopped again and `run` raises `ChildStartFailed`.
- Dynamic children come and go while the supervisor runs. They stop before the others and all at the same time, since
  there may be thousands of them; the others stop one by one, last started first. So a stop takes at most the longest
  `stop_timeout` of a dynamic child, plus the `stop_timeout`s of all the others.
- `request_stop` ends a supervisor in that order. Cancelling `run` cancels every child at once; no `on_stop` is called.
  In both cases everybody who waits for an answer gets an error.
- A child that exceeds its restart intensity either goes into quarantine alone or stops the supervisor, whose `run`
  then raises `RestartIntensityExceeded`. A supervisor is a service, so the supervisor above sees this as a crash.
- `ref` gives the refs of the first children even before `run`; messages then wait for the start.
"""

import contextvars
import random
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Final, TypeVar, overload

import trio
from outcome import Value
from trio.lowlevel import Abort, RaiseCancelT

from djactors.kernel._actor import Tree
from djactors.kernel._alarms import Alarms
from djactors.kernel._child import Child, Parent
from djactors.kernel._crash import described
from djactors.kernel._errors import (
    ChildExists,
    ChildStartFailed,
    KernelError,
    NoSuchChild,
    RestartIntensityExceeded,
    SupervisorNotRunning,
    TooManyChildren,
)
from djactors.kernel._events import SupervisorEscalated, SupervisorEvent, log_event, logger
from djactors.kernel._ref import ActorRef
from djactors.kernel._spec import ActorSpec, AnySpec, Restart, ServiceSpec
from djactors.kernel._statistics import ChildStatistics, Kind, State, Tally

M = TypeVar("M")
R = TypeVar("R")

SPARE_TASKS: Final = 16
"""Tasks without work that wait for a child which keeps none. Even while a crowd connects, hardly more users have
something to do at the same moment, each for some tenths of a millisecond."""

_SPARE_TASK: Final = "spare task"

DEFAULT_MAX_CHILDREN = 10_000
"""Dynamic children of one supervisor. An idle actor takes a few KiB, so this many take a few dozen MiB."""


class Supervisor(Tree):
    """Runs children by their specs. Its `run` can be called once; a restart needs a new supervisor.

    Args:
        name: the name in events, statistics and task names.
        children: what to start first, in this order.
        max_children: how many dynamic children there may be at a time.
        on_event: the observer, which is called with each event at the moment of the event. It must not block. By
            default, `log_event` logs trouble.
        rng: the source of the jitter in pauses.
    """

    def __init__(
        self,
        name: str,
        children: Sequence[AnySpec] = (),
        *,
        max_children: int = DEFAULT_MAX_CHILDREN,
        on_event: Callable[[SupervisorEvent], None] = log_event,
        rng: random.Random | None = None,
    ) -> None:
        self.name = name
        self._alarms = Alarms()
        self._timekeeping = trio.CancelScope()
        self._max_children = max_children
        self._on_event = on_event
        self._state = State.STOPPED
        self._nursery: trio.Nursery | None = None
        # Tasks that are lent to children who keep none, and wait for the next one.
        self._spare: list[trio.lowlevel.Task] = []
        # The tasks of children start in this context, and not in the context of the request that first needed a child.
        self._context = contextvars.copy_context()
        self._ending = trio.Event()
        self._failure: KernelError | None = None
        self._children: dict[str, Child] = {}
        self._dynamic_count = 0
        self._forgotten = Tally()
        self._parent = Parent(
            name,
            rng if rng is not None else random.Random(),  # noqa: S311 - spreads pauses, guards no secret
            self._alarms,
            self._report,
            self._escalate,
            self._forget,
            self._relaunch,
        )
        for spec in children:
            must_start = spec.restart is Restart.PERMANENT
            self._add(spec, spec.name, (), dynamic=False, must_start=must_start)

    def __contains__(self, name: str) -> bool:
        return name in self._children

    def ref(self, spec: ActorSpec[M, R]) -> ActorRef[M, R]:
        """The ref of the actor that was made from this very spec. The ref has the actor's types.

        Raises:
            NoSuchChild: no child was made from this spec, or the child is gone.
        """
        child = self._child(spec.name)
        if child.spec is not spec:
            raise NoSuchChild(f"{self.name}/{spec.name} was made from another spec of that name")
        return child.ref

    def child_statistics(self, name: str) -> ChildStatistics:
        """A snapshot of one child.

        Raises:
            NoSuchChild: there is no child of that name.
        """
        return self._child(name).statistics()

    # Dynamic children

    @overload
    def spawn_child(
        self, spec: ActorSpec[M, R], *, name: str | None = None, arguments: tuple[Any, ...] = ()
    ) -> ActorRef[M, R]: ...
    @overload
    def spawn_child(self, spec: ServiceSpec) -> None: ...
    def spawn_child(
        self, spec: ActorSpec[M, R] | ServiceSpec, *, name: str | None = None, arguments: tuple[Any, ...] = ()
    ) -> ActorRef[M, R] | None:
        """Add a child without waiting for its start. Messages to a new actor wait until it has started.

        If the first start fails, the child is restarted as after any crash.

        Args:
            spec: how to run the child.
            name: in place of the spec's, for actors of which there are thousands, with one spec for all of them.
                `Supervisor.ref` does not find these.
            arguments: what the spec's factory is called with, at each start.

        Returns:
            The ref of an actor; None for a service.

        Raises:
            ChildExists: the name is taken.
            TooManyChildren: there are `max_children` dynamic children.
            SupervisorNotRunning: the supervisor has not been started, or is stopping.
        """
        child = self._spawn(spec, spec.name if name is None else name, arguments, must_start=False)
        return child.ref if child.is_actor else None

    @overload
    async def start_child(self, spec: ActorSpec[M, R]) -> ActorRef[M, R]: ...
    @overload
    async def start_child(self, spec: ServiceSpec) -> None: ...
    async def start_child(self, spec: ActorSpec[M, R] | ServiceSpec) -> ActorRef[M, R] | None:
        """Add a child and wait until it is up. If this call is cancelled, the child is cancelled, too.

        Returns:
            The ref of an actor; None for a service.

        Raises:
            ChildStartFailed: the first start failed. The child has been removed again.
            ChildExists, TooManyChildren, SupervisorNotRunning: as `spawn_child`.
        """
        child = self._spawn(spec, spec.name, (), must_start=True)
        try:
            await child.settled.wait()
        except trio.Cancelled:
            child.cancel()
            raise
        if child.start_error is not None:
            raise self._start_failure(child)
        return child.ref if child.is_actor else None

    async def stop_child(self, name: str) -> None:
        """Stop a child in good order and wait until it is gone. If this call is cancelled, the stop goes on.

        A child must not call this for itself: it would wait for its own end until `stop_timeout` cancels it.

        Raises:
            NoSuchChild: there is no child of that name.
        """
        child = self._child(name)
        child.request_stop()
        await child.ref.wait_stopped()

    # The supervisor itself

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Start the children, then watch over them until `request_stop`, escalation or cancellation.

        Raises:
            ChildStartFailed: a permanent child failed its first start.
            RestartIntensityExceeded: a child was exhausted, and its spec says `Exhausted.ESCALATE`.
        """
        if self._nursery is not None:
            raise RuntimeError(f"the supervisor {self.name} has been run already")
        self._context = contextvars.copy_context()
        self._state = State.STARTING
        try:
            async with trio.open_nursery() as self._nursery:
                self._nursery.start_soon(self._keep_time)
                await self._start_children()
                if not self._ending.is_set():
                    self._state = State.RUNNING
                    task_status.started()
                    await self._ending.wait()
                self._state = State.STOPPING
                await self._stop_children()
                while self._spare:
                    trio.lowlevel.reschedule(self._spare.pop(), Value(None))
                self._timekeeping.cancel()
        finally:
            self._state = State.STOPPED
            # End the children that were never launched, too: somebody may have told or asked them.
            for child in list(self._children.values()):
                child.end()
        if self._failure is not None:
            raise self._failure

    def request_stop(self) -> None:
        """Make `run` stop the children in order and return. Does not wait."""
        self._ending.set()

    def statistics(self, levels: int | None = None) -> ChildStatistics:
        """A snapshot of the tree, down to `levels` levels below this node; None means all levels.

        A limit keeps the snapshot cheap if there may be thousands of children. The tally of the supervisor itself
        counts the children that it has forgotten.
        """
        below = None if levels is None else levels - 1
        return ChildStatistics(
            name=self.name,
            kind=Kind.SUPERVISOR,
            state=self._state,
            tally=self._forgotten,
            children=() if levels == 0 else tuple(child.statistics(below) for child in self._children.values()),
        )

    async def _keep_time(self) -> None:
        with self._timekeeping:
            await self._alarms.run()

    async def _start_children(self) -> None:
        for child in list(self._children.values()):
            if self._ending.is_set():
                return
            self._launch(child)
            await child.settled.wait()
            if child.start_error is not None:
                self._failure = self._start_failure(child)
                self._ending.set()

    async def _stop_children(self) -> None:
        last_first = list(reversed(self._children.values()))
        dynamic = [child for child in last_first if child.dynamic]
        for child in dynamic:
            child.request_stop()
        for child in dynamic:
            await child.ref.wait_stopped()
        for child in last_first:
            if child.dynamic or not child.launched:
                continue
            child.request_stop()
            await child.ref.wait_stopped()

    def _add(self, spec: AnySpec, name: str, arguments: tuple[Any, ...], *, dynamic: bool, must_start: bool) -> Child:
        if name in self._children:
            raise ChildExists(f"{self.name}/{name} exists already")
        child = self._children[name] = Child(
            spec, self._parent, name=name, arguments=arguments, dynamic=dynamic, must_start=must_start
        )
        return child

    def _spawn(self, spec: AnySpec, name: str, arguments: tuple[Any, ...], *, must_start: bool) -> Child:
        if self._state not in (State.STARTING, State.RUNNING) or self._ending.is_set():
            raise SupervisorNotRunning(f"{self.name} takes no children: it is {self._state}")
        if self._dynamic_count >= self._max_children:
            raise TooManyChildren(f"{self.name} has {self._max_children} dynamic children already")
        child = self._add(spec, name, arguments, dynamic=True, must_start=must_start)
        self._dynamic_count += 1
        self._launch(child)
        return child

    def _launch(self, child: Child) -> None:
        assert self._nursery is not None
        child.launched = True
        if child.keeps_task:
            run = child.run
        elif self._spare:
            task = self._spare.pop()
            # What the one before has set in its context is for nobody else.
            task.name, task.context = child.name, self._context.copy()
            trio.lowlevel.reschedule(task, Value(child))
            return
        else:
            run = partial(self._lend_task, child)
        launch = partial(self._nursery.start_soon, run, name=child.name)
        # In a copy, since no context is entered twice: an instrument of Trio may wake another child meanwhile.
        self._context.copy().run(launch)

    async def _lend_task(self, child: Child | None) -> None:
        """Be the task of one child after another, of those that keep none. To make a task and to end it costs more than
        most of them have to do.
        """
        while child is not None:
            await child.run()
            if self._state is not State.RUNNING or len(self._spare) >= SPARE_TASKS:
                return
            # Whoever waits here keeps no child alive.
            child = None
            child = await self._next_child()

    @trio.lowlevel.enable_ki_protection
    async def _next_child(self) -> Child | None:
        task = trio.lowlevel.current_task()
        task.name = _SPARE_TASK
        self._spare.append(task)

        def leave(_: RaiseCancelT) -> Abort:
            self._spare.remove(task)
            return Abort.SUCCEEDED

        child: Child | None = await trio.lowlevel.wait_task_rescheduled(leave)
        return child

    def _child(self, name: str) -> Child:
        try:
            return self._children[name]
        except KeyError:
            raise NoSuchChild(f"{self.name} has no child {name}") from None

    def _start_failure(self, child: Child) -> ChildStartFailed:
        assert child.start_error is not None
        failure = ChildStartFailed(f"{self.name}/{child.name} did not start: {described(child.start_error)}")
        failure.__cause__ = child.start_error
        return failure

    # What children call, through `Parent`

    def _report(self, event: SupervisorEvent) -> None:
        """Tell the observer; never raises."""
        try:
            self._on_event(event)
        except Exception:  # noqa: BLE001 - supervision
            logger.exception("the observer of %s raised over %s", self.name, type(event).__name__)

    def _escalate(self, child: Child, error: Exception | None) -> None:
        """Stop all children, after which `run` raises."""
        if self._failure is None:
            intensity = child.spec.intensity
            self._failure = RestartIntensityExceeded(
                f"{self.name}/{child.name} needed more than {intensity.max_restarts} restarts in {intensity.period} s"
            )
            self._failure.__cause__ = error
        self._ending.set()
        self._report(SupervisorEscalated(self.name, child.name))

    def _relaunch(self, child: Child) -> None:
        """Start another task for a child that rests without one."""
        # A nursery that is closed says so. Then `run` has been cancelled, and is about to end the child.
        with suppress(RuntimeError):
            self._launch(child)

    def _forget(self, child: Child) -> None:
        """Free the name of a dynamic child that is gone or going, and keep its counts."""
        if not child.dynamic:
            return
        self._forgotten += child.hand_over_tally()
        if self._children.get(child.name) is child:
            del self._children[child.name]
            self._dynamic_count -= 1
