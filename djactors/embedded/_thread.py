"""A server in a thread of its own, and how other threads have it do something.

    caller's thread ── submit() ──► TrioToken.run_sync_soon ──► a task in the server's thread
                    ◄── Future ◄──────────────────────────────── its result or exception

Rules:
  * A future is always resolved: by the task, or, whatever ends the thread, by the thread's last act.
  * Nothing that another thread does can raise inside of `run_sync_soon`, because that would end Trio.
  * Signals are the host's: in a thread Trio takes none.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from typing import Any, Final, TypeVar

import trio

from djactors.app import Server
from djactors.embedded._errors import PortalBusy, PortalError, PortalForked, PortalStopped, PortalTimeout

MAX_CALLS: Final = 1024
"""Calls that may wait for the server at the same time, of all threads and tasks together: about as many as one commit
takes. More of them would only wait longer, so they are refused."""

STOP_SECONDS: Final = 10.0
"""How long a server may take to stop, beyond its `drain_timeout`, before it is cancelled."""

CANCEL_SECONDS: Final = 5.0
"""How long a server that was cancelled may take to end."""

TRIO_IS_GONE: Final = (trio.RunFinishedError, OSError)
"""What a token says whose run has ended. One that ended by an error of Trio itself has closed the token's socket, and
did not note that it has ended."""

T = TypeVar("T")


class ServerThread:
    """One server's life in a thread. It is started once.

    Args:
        make_server: makes the server; what it raises, `start` raises.

    Attributes:
        failure: what ended the server, if it was not `stop`.
        has_served: whether it was started with success.
    """

    def __init__(self, make_server: Callable[[], Server]) -> None:
        self._make_server = make_server
        self._server: Server | None = None
        self._pid: int | None = None
        self._lock = threading.Lock()
        self._pending: set[Future[Any]] = set()
        self._begun = self._is_running = self._is_to_stop = False
        self._thread: threading.Thread | None = None
        # What the server's thread sets before any other thread may use it.
        self._token: trio.lowlevel.TrioToken | None = None
        self._life: trio.CancelScope | None = None
        self._calls: trio.Nursery | None = None
        self._settled = threading.Event()
        self.failure: BaseException | None = None
        self.has_served = False

    @property
    def is_running(self) -> bool:
        """Whether the server takes calls."""
        return self._is_running and not self._is_forked

    @property
    def _is_forked(self) -> bool:
        return self._pid is not None and os.getpid() != self._pid

    @property
    def server(self) -> Server:
        """The server.

        Raises:
            PortalForked, PortalStopped: there is none here.
        """
        self._check_process()
        if self._server is None:
            raise PortalStopped(self._why_not()) from self.failure
        return self._server

    def start(self, timeout: float) -> None:
        """Start the thread, and return once the server serves.

        Raises:
            PortalTimeout: that took longer than `timeout` seconds; the server is stopped.
            PortalStopped: `stop` was called meanwhile.
            PortalForked, PortalError: it was started before.
            Exception: what kept the server from starting.
        """
        self._check_process()
        with self._lock:
            if self._begun:
                raise PortalError("the portal was started already: make another one")
            self._begun = True
        self._pid = os.getpid()
        self._server = self._make_server()
        # A daemon, so that a program that forgets to stop it can end; see `Portal.start` for how it is stopped then.
        self._thread = threading.Thread(target=self._run, name="djactors", daemon=True)
        self._thread.start()
        is_settled = False
        try:
            is_settled = self._settled.wait(timeout)
        finally:
            # After Ctrl-C as well.
            if not is_settled:
                self.stop()
        if not is_settled:
            raise PortalTimeout(
                f"the server did not start within {timeout:g} s: give the portal a longer start_timeout; an upgrade of "
                "the database that was interrupted goes on at the next start"
            )
        if not self._is_running:
            self._thread.join(CANCEL_SECONDS)
            raise self.failure or PortalStopped(self._why_not())

    def stop(self) -> None:
        """Have the server stop once all calls are answered, and return when its thread has ended.

        In a forked child it does nothing.

        Raises:
            PortalTimeout: it did not end, even when it was cancelled.
            PortalError: it is called in the server's own thread.
        """
        thread, server = self._thread, self._server
        if self._is_forked or thread is None or server is None:
            return
        if thread is threading.current_thread():
            raise PortalError("the portal cannot be stopped from the server's own thread")
        self._is_to_stop = True
        self._tell(self._begin_to_stop)
        thread.join(server.settings.command_timeout + server.settings.drain_timeout + STOP_SECONDS)
        if thread.is_alive():
            self._tell(self._cancel)
            thread.join(CANCEL_SECONDS)
        if thread.is_alive():
            raise PortalTimeout("the server did not stop in time: its thread is left behind")

    def submit(self, call: Callable[..., Awaitable[T]], *args: object) -> Future[T]:
        """Have an async function called in the server's thread; the future has what becomes of it.

        Raises:
            PortalStopped, PortalBusy, PortalForked, PortalError: it will not be called.
        """
        self._check_process()
        if self._thread is threading.current_thread():
            raise PortalError("the portal is called in the server's own thread: await the Server's method there")
        future: Future[T] = Future()
        with self._lock:
            if not self._is_running or self._token is None:
                raise PortalStopped(self._why_not()) from self.failure
            if len(self._pending) >= MAX_CALLS:
                raise PortalBusy(
                    f"{MAX_CALLS} calls wait for the server already: call again later, or publish many events by one "
                    "publish_all"
                )
            self._pending.add(future)
        try:
            self._token.run_sync_soon(self._begin, future, partial(call, *args))
        except TRIO_IS_GONE:
            self._pending.discard(future)
            raise PortalStopped(self._why_not()) from self.failure
        return future

    def _check_process(self) -> None:
        # Before any lock: the lock may have been held by a thread that stayed behind.
        if self._pid is not None and self._is_forked:
            raise PortalForked(self._pid)

    def _why_not(self) -> str:
        if self.failure is not None:
            return f"the server has stopped: {self.failure}"
        if not self._begun:
            return "the portal was not started: use it in a `with`, or call `start`"
        if self._is_to_stop or self._settled.is_set():
            return "the portal was stopped"
        return "the portal has not started yet"

    def _tell(self, order: Callable[[], object]) -> None:
        """Have something done in the server's thread soon, if there is still somebody to do it."""
        token = self._token
        if token is not None:
            with suppress(*TRIO_IS_GONE):
                token.run_sync_soon(order)

    def _cancel(self) -> None:
        if self._life is not None:
            self._life.cancel()

    # In the server's thread

    def _run(self) -> None:
        try:
            trio.run(self._serve)
        except BaseException as error:  # noqa: BLE001 - whatever it is, callers are told of it
            self._fail(error)
        finally:
            with self._lock:
                self._is_running = False
                left, self._pending = self._pending, set()
            self._settled.set()
            for future in left:
                _resolve(future, PortalStopped(self._why_not()))

    async def _serve(self) -> None:
        server = self._server
        assert server is not None
        async with trio.open_nursery() as calls:
            with trio.CancelScope() as self._life:
                self._token, self._calls = trio.lowlevel.current_trio_token(), calls
                if self._is_to_stop:
                    self._begin_to_stop()
                try:
                    await server.run(task_status=_Started(self._note_started))
                except Exception as error:  # noqa: BLE001 - it is raised where the program waits for the server
                    self._fail(error)
            with self._lock:
                self._is_running = False
            calls.cancel_scope.cancel()

    def _note_started(self) -> None:
        with self._lock:
            self._is_running = not self._is_to_stop
        self.has_served = True
        self._settled.set()

    def _begin_to_stop(self) -> None:
        with self._lock:
            self._is_running = False
        self._stop_when_all_is_answered()

    def _stop_when_all_is_answered(self) -> None:
        assert self._server is not None
        if self._is_to_stop and not self._pending:
            self._server.request_stop()

    def _forget(self, future: Future[Any]) -> None:
        self._pending.discard(future)
        self._stop_when_all_is_answered()

    def _fail(self, error: BaseException) -> None:
        if self.failure is None:
            self.failure = error

    def _begin(self, future: Future[Any], call: Callable[[], Awaitable[Any]]) -> None:
        if not future.set_running_or_notify_cancel():
            self._forget(future)
            return
        assert self._calls is not None
        try:
            self._calls.start_soon(self._carry_out, future, call)
        except RuntimeError:
            # The nursery is closed: the server has just stopped.
            self._forget(future)
            _resolve(future, PortalStopped(self._why_not()))

    async def _carry_out(self, future: Future[Any], call: Callable[[], Awaitable[Any]]) -> None:
        try:
            result = await call()
        except Exception as error:  # noqa: BLE001 - the caller's, as if the caller had awaited the call
            _resolve(future, error)
        except BaseException as end:
            # Cancelled, or whatever else ends the server, even Trio itself, which then closes this coroutine.
            if not isinstance(end, trio.Cancelled | GeneratorExit):
                self._fail(end)
            _resolve(future, PortalStopped(self._why_not()))
            raise
        else:
            future.set_result(result)
        finally:
            self._forget(future)


class _Started:
    """What `Server.run` tells that it serves."""

    def __init__(self, note: Callable[[], None]) -> None:
        self._note = note

    def started(self, value: object = None) -> None:
        """See `trio.TaskStatus`."""
        self._note()


def _resolve(future: Future[Any], error: BaseException) -> None:
    """Have a future fail, unless it was resolved or cancelled already."""
    if not future.done():
        if not future.running() and not future.set_running_or_notify_cancel():
            return
        future.set_exception(error)
