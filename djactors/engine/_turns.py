"""Runs the handlers of one socket one at a time, in the order in which the events came.

    an event ──► Turn ──┬─► a plain function: at once, in the task that brought the event
                        └─► an `async` function: in a task of the socket, while later events wait for their turn

- The task ends when no turn waits any more. A socket whose handlers are all plain functions never has a task.
- Waiting turns are bounded by number (`MAX_WAITING`) and by the bytes that the client sent for them. The caller asks
  `has_room` before it gives a turn.
- `failed` gets the exception of a handler, which goes no further.
"""

from collections.abc import Awaitable, Callable, Sequence
from math import inf
from typing import Any, Final, TypeAlias

import trio

from djactors.engine._handlers import Call

MAX_WAITING: Final = 256
"""Events of one socket that may wait while another is being handled. There is room for the events that a client
gathered offline and sends at once, and for far more clicks than a person makes during a slow answer."""

Spawn: TypeAlias = Callable[[Callable[[], Awaitable[None]]], None]


class Expired(Exception):  # noqa: N818 - the handler's lateness, not a fault in the program
    """An async handler took longer than its turn may, and was cancelled."""


class Turn:
    """A handler that is due, its arguments, and the function that gets its result.

    `timeout` is the number of seconds that an async handler may take. `size` is the number of bytes that the client
    sent for this turn.
    """

    __slots__ = ("args", "call", "finish", "size", "timeout")

    def __init__(
        self, call: Call, args: Sequence[Any], finish: Callable[[Any], None], *, timeout: float = inf, size: int = 0
    ) -> None:
        self.call = call
        self.args = args
        self.finish = finish
        self.timeout = timeout
        self.size = size


class Turns:
    """The turns of one socket.

    Args:
        spawn: runs an async function in a task.
        failed: is called with the exception of a handler, or with `Expired`.
        goes_on: whether the client is still there; if not, no further turn is taken.
    """

    __slots__ = ("_failed", "_goes_on", "_scope", "_spawn", "_waiting", "_waiting_bytes")

    def __init__(self, spawn: Spawn, failed: Callable[[Exception], None], goes_on: Callable[[], bool]) -> None:
        self._spawn = spawn
        self._failed = failed
        self._goes_on = goes_on
        # The scope of the handler that runs in the task; None while there is no task.
        self._scope: trio.CancelScope | None = None
        # A list, because an empty list is small and there may be thousands of sockets.
        self._waiting: list[Turn] = []
        self._waiting_bytes = 0

    def has_room(self, size: int, max_bytes: int) -> bool:
        """Whether one more turn of `size` bytes may wait. If no turn waits yet, it always may."""
        return not self._waiting or (len(self._waiting) < MAX_WAITING and self._waiting_bytes + size <= max_bytes)

    def take(self, turn: Turn) -> None:
        """Call the handler: now, or once the turns before it are done."""
        if self._scope is not None:
            self._waiting.append(turn)
            self._waiting_bytes += turn.size
        elif turn.call.is_async:
            self._scope = trio.CancelScope()
            self._spawn(lambda: self._work(turn))
        else:
            self._do(turn)

    def stop(self, last: Turn | None) -> None:
        """Drop the turns that wait, cancel the handler that runs in the task, and then take the `last` turn, if any."""
        self._drop()
        if self._scope is not None:
            self._scope.cancel()
        if last is not None:
            self.take(last)

    def _drop(self) -> None:
        self._waiting.clear()
        self._waiting_bytes = 0

    async def _work(self, turn: Turn) -> None:
        """Take turns until none waits."""
        try:
            while self._scope is not None:
                await self._do_late(turn, self._scope)
                # `stop` is called a moment after the session has ended. Between the two, no further turn may begin.
                if self._waiting and (self._scope.cancel_called or self._goes_on()):
                    turn = self._waiting.pop(0)
                    self._waiting_bytes -= turn.size
                    self._scope = trio.CancelScope()
                else:
                    self._drop()
                    self._scope = None
        finally:
            if self._scope is not None:
                self._leave_work(self._scope)

    def _leave_work(self, scope: trio.CancelScope) -> None:
        """Leave the task, because the program cancels its server. Only the last turn that `stop` gave is then taken."""
        self._scope = None
        last = self._waiting[0] if scope.cancel_called and self._waiting else None
        self._drop()
        if last is not None:
            self.take(last)

    async def _do_late(self, turn: Turn, scope: trio.CancelScope) -> None:
        if scope.cancel_called:
            return
        if not turn.call.is_async:
            self._do(turn)
            return
        scope.deadline = trio.current_time() + turn.timeout
        try:
            with scope:
                turn.finish(await turn.call.handler(*turn.args))
        except* Exception as failures:  # noqa: BLE001 - the supervisor of handlers: the server goes on
            # `except*`, and a nursery of the handler, put even a single exception into a group.
            self._failed(failures.exceptions[0] if len(failures.exceptions) == 1 else failures)
        if scope.cancelled_caught and trio.current_time() >= scope.deadline:
            self._failed(Expired())

    def _do(self, turn: Turn) -> None:
        try:
            turn.finish(turn.call.handler(*turn.args))
        except Exception as error:  # noqa: BLE001 - the supervisor of handlers: the server goes on
            self._failed(error)
