"""The two sides of a portal: one blocks, the other is awaited under asyncio."""

from __future__ import annotations

import asyncio
import atexit
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from types import TracebackType
from typing import Any, Final, Self, TypeVar

from djactors.app import Server
from djactors.config import Settings, load
from djactors.domain.commands import Published
from djactors.domain.events import DomainEvent
from djactors.domain.notification_types import NotificationType
from djactors.embedded._errors import PortalError, PortalStopped, PortalTimeout
from djactors.embedded._thread import ServerThread
from djactors.kernel import KernelError
from djactors.store.errors import StoreError
from djactors.telemetry import Telemetry

START_SECONDS: Final = 60.0
"""How long a server may take to start. An upgrade of a large database takes longer, and is better done by
`djactors migrate` before."""

ANSWER_SECONDS: Final = 5.0
"""How long a call waits beyond the server's `command_timeout`, in which the server answers by itself. A server that is
held up for longer cannot be told from one that hangs."""

T = TypeVar("T")


class Portal:
    """A server in a thread of this process, and the way to it. Any thread may call it.

    Use it in a `with`, or in an `async with` under asyncio, which gives the `AsyncPortal`; or call `start` and `stop`.

    Args:
        settings: as for `Server`, or names and values as `djactors.config.load` takes them, beside the environment.
        telemetry: where the server logs and counts; by default errors go to standard error as JSON.
        types: notification types of the program's own, as for `Server`.
        start_timeout: seconds in which the server must serve.

    Raises:
        SettingError: a setting is wrong; the message names it and the mend.
    """

    def __init__(
        self,
        settings: Settings | Mapping[str, Any] | None = None,
        *,
        telemetry: Telemetry | None = None,
        types: Iterable[NotificationType] = (),
        start_timeout: float = START_SECONDS,
    ) -> None:
        self.settings = settings if isinstance(settings, Settings) else load(settings or {})
        own_types = tuple(types)
        self._thread = ServerThread(lambda: Server(self.settings, telemetry=telemetry, types=own_types))
        self._start_timeout = start_timeout
        self.asynchronous = AsyncPortal(self)

    @property
    def url(self) -> str:
        """Where the server listens: the first place, if there are several."""
        return self._thread.server.url

    @property
    def is_running(self) -> bool:
        """Whether the server takes events."""
        return self._thread.is_running

    @property
    def failure(self) -> BaseException | None:
        """Why the server had to stop, if it had to."""
        return self._thread.failure

    def start(self) -> Self:
        """Start the server, and return once it serves. Start it after a fork, never before.

        A portal that is not stopped is stopped when the interpreter ends. A portal is started once.

        Raises:
            DatabaseLocked: another server has the database; the message names its process.
            SettingError, MigrationError, StoreError, ServerFailed, OSError: as `Server.run`.
            PortalTimeout: it did not start in time.
        """
        # Before the start, because a program may end while its server starts.
        atexit.register(self._stop_at_exit)
        try:
            self._thread.start(self._start_timeout)
        except BaseException:
            atexit.unregister(self._stop_at_exit)
            raise
        return self

    def stop(self) -> None:
        """Stop the server once all calls are answered. In a forked child it does nothing.

        Raises:
            PortalStopped: the server had stopped before, as it had to give up; its exception is the cause.
            PortalTimeout: it does not stop.
        """
        atexit.unregister(self._stop_at_exit)
        self._thread.stop()
        failure = self._thread.failure
        # What kept it from starting was raised by `start`.
        if failure is not None and self._thread.has_served:
            raise PortalStopped(f"the server has stopped: {failure}") from failure

    def publish(self, event: DomainEvent, *, traceparent: str | None = None) -> Published:
        """Record one event and tell whom it concerns; it is durable when this returns. It blocks for a few ms.

        Events that several threads publish at the same time are committed together.

        Raises:
            Refused: the event cannot be recorded as it stands.
            KernelError, StoreError: the server cannot take it now; see `Server.publish`.
            PortalError: the server is not there, or does not answer; its kinds say more.
        """
        return self._wait(self._submit(event, traceparent), 1)

    def publish_all(self, events: Iterable[DomainEvent]) -> list[Published | Exception]:
        """Record any number of events, as many in one commit as it takes, and return what became of each, in order.

        An exception stands for an event that was not recorded, as `Server.publish_all` has it. Once the server cannot
        take a part of them, it is not asked to take the rest, which has the same exception.

        Raises:
            PortalError: as `publish`. A part of the events may have been recorded.
        """
        listed = list(events)
        return self._wait(self._submit_all(listed), self._commits(listed))

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.stop()
        except PortalError as trouble:
            if error is None:
                raise
            # What the program itself met with comes first; it may be a consequence.
            if not isinstance(error, PortalError):
                error.add_note(f"djactors: {trouble}")

    async def __aenter__(self) -> AsyncPortal:
        starting = _in_a_thread(self.start)
        try:
            await asyncio.shield(starting)
        except asyncio.CancelledError:
            # The thread that starts it cannot be cancelled: what it started is stopped.
            with suppress(Exception):
                await starting
                await _in_a_thread(self.stop)
            raise
        return self.asynchronous

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.shield(_in_a_thread(self.__exit__, kind, error, trace))

    def _stop_at_exit(self) -> None:
        # At the end of a program nobody takes an exception; the log has said why.
        with suppress(PortalError):
            self.stop()

    def _submit(self, event: DomainEvent, traceparent: str | None) -> Future[Published]:
        async def publish() -> Published:
            return await self._thread.server.publish(event, traceparent=traceparent)

        return self._thread.submit(publish)

    def _submit_all(self, events: Sequence[DomainEvent]) -> Future[list[Published | Exception]]:
        return self._thread.submit(_publish_all, self._thread.server, events, self.settings.commit_batch)

    def _commits(self, events: Sequence[DomainEvent]) -> int:
        return max(1, -(-len(events) // self.settings.commit_batch))

    def _seconds(self, commits: int) -> float:
        return commits * self.settings.command_timeout + ANSWER_SECONDS

    def _wait(self, future: Future[T], commits: int) -> T:
        try:
            return future.result(self._seconds(commits))
        except TimeoutError:
            if future.done():
                # The server's own, or an answer of the last moment.
                return future.result()
            future.cancel()
            raise self._late(commits) from None

    async def _await(self, future: Future[T], commits: int) -> T:
        waiting = asyncio.wrap_future(future)
        try:
            await asyncio.wait({waiting}, timeout=self._seconds(commits))
            if not waiting.done():
                raise self._late(commits)
            return waiting.result()
        finally:
            # Whoever gave up is told nothing any more, and nobody complains that an exception was not looked at.
            waiting.cancel()

    def _late(self, commits: int) -> PortalTimeout:
        return PortalTimeout(
            f"no answer within {self._seconds(commits):g} s: what was published may have been recorded, so repeat it "
            "with the same id"
        )


class AsyncPortal:
    """The same server for asyncio: nothing here blocks the loop. Any loop and any task may call it.

    A call that is cancelled may have recorded its events.
    """

    def __init__(self, portal: Portal) -> None:
        self._portal = portal

    @property
    def url(self) -> str:
        """See `Portal.url`."""
        return self._portal.url

    @property
    def is_running(self) -> bool:
        """See `Portal.is_running`."""
        return self._portal.is_running

    @property
    def failure(self) -> BaseException | None:
        """See `Portal.failure`."""
        return self._portal.failure

    async def publish(self, event: DomainEvent, *, traceparent: str | None = None) -> Published:
        """See `Portal.publish`."""
        return await self._portal._await(self._portal._submit(event, traceparent), 1)

    async def publish_all(self, events: Iterable[DomainEvent]) -> list[Published | Exception]:
        """See `Portal.publish_all`."""
        listed = list(events)
        return await self._portal._await(self._portal._submit_all(listed), self._portal._commits(listed))


async def _publish_all(server: Server, events: Sequence[DomainEvent], at_once: int) -> list[Published | Exception]:
    outcomes: list[Published | Exception] = []
    for place in range(0, len(events), at_once):
        try:
            outcomes += await server.publish_all(events[place : place + at_once])
        except (KernelError, StoreError) as error:
            return outcomes + [error] * (len(events) - place)
    return outcomes


def _in_a_thread(function: Callable[..., T], *args: Any) -> asyncio.Future[T]:
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        raise PortalError("no asyncio loop runs here: a Trio program runs djactors.app.Server in its nursery") from None
    return loop.run_in_executor(None, function, *args)
