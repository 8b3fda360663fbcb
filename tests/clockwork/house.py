"""A router with a store behind it, a clock and retention beside it, under a virtual clock: as `app` builds them."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any

import trio
from trio.testing import wait_all_tasks_blocked

from djactors.actors import retention, sla
from djactors.actors.command_ref import CommandRef, command_ref
from djactors.actors.pid import PidIssuer
from djactors.actors.retention import Keeping, Retention
from djactors.actors.router import Router
from djactors.actors.sla import Alarm, SlaClock
from djactors.actors.slices import Asking
from djactors.actors.users import Users
from djactors.config import Settings
from djactors.domain.commands import Command, Publish, Recorded
from djactors.domain.events import DomainEvent
from djactors.domain.limits import Limits
from djactors.inbox.inbox import Inbox
from djactors.kernel import ActorSpec, AnySpec, Exhausted, ServiceSpec, Supervisor
from djactors.steady_clock import SteadyClock
from djactors.store.database import Database
from djactors.store.engines import Place
from djactors.store.errors import StoreUnavailable
from djactors.store.threads import InlineRunner
from djactors.telemetry import Telemetry, make_logger
from tests.clockwork.desk import MORNING


class WallClock:
    """The wall clock of a test: it goes as the virtual one does, and can be set."""

    def __init__(self) -> None:
        self.start = MORNING
        self._began = trio.current_time()

    def __call__(self) -> datetime:
        return self.start + timedelta(seconds=trio.current_time() - self._began)

    def jump(self, distance: timedelta) -> None:
        self.start += distance

    async def sleep_until(self, moment: datetime) -> None:
        await trio.sleep((moment - self()).total_seconds())


class Ledger:
    """The store as the router sees it: notes each commit, and fails while it is told to."""

    def __init__(self, store: Inbox, now: Callable[[], datetime]) -> None:
        self.store = store
        self.now = now
        self.failing = False
        self.commits: list[tuple[datetime, tuple[str, ...]]] = []

    async def record(self, commands: Sequence[Command], is_awaited: Callable[[], bool]) -> Recorded:
        self.commits.append((self.now(), tuple(type(command).__name__ for command in commands)))
        if self.failing:
            raise StoreUnavailable("the disk is full")
        return await self.store.record(commands, is_awaited)

    def asked(self, name: str) -> list[datetime]:
        """When a command of this kind was in a commit."""
        return [moment for moment, names in self.commits if name in names]


class House:
    def __init__(self, ledger: Ledger, router: CommandRef, root: Supervisor, now: WallClock) -> None:
        self.ledger = ledger
        self.router = router
        self.root = root
        self.now = now

    async def publish(self, *events: DomainEvent) -> None:
        """Publish events, in one commit if there are few, and wait until everybody has dealt with them."""
        outcomes: list[Any] = []
        for event in events:
            self.router.request_nowait(Publish(event), outcomes.append)
        await wait_all_tasks_blocked()
        assert len(outcomes) == len(events)
        assert not [outcome for outcome in outcomes if isinstance(outcome, Exception)]


@asynccontextmanager
async def running(
    path: Place,
    now: WallClock,
    *,
    limits: Limits | None = None,
    longest_sleep: float = sla.LONGEST_SLEEP,
    keeping: Keeping | None = None,
    clock: SteadyClock | None = None,
    has_looked: bool = True,
) -> AsyncIterator[House]:
    """The house, stopped in good order at the end of the block.

    With `keeping` it has retention. With a `clock` this one stands between the wall clock and the rest. `has_looked`:
    the clock has had its first look when the block begins. Time passes only where a test says so: no commit waits for
    company.
    """
    settings = Settings(commit_delay=0)
    telemetry = Telemetry(make_logger("json", "critical"))
    async with await Database.open(path, threads=InlineRunner) as database:
        believed = now if clock is None else clock
        store = Inbox(database, believed, limits)
        ledger = Ledger(store, now)
        users = Users(store, PidIssuer(b"k" * 32, bytes), settings, telemetry, lambda: router)
        router_spec = ActorSpec(
            "router",
            lambda: Router(ledger, users, telemetry, settings.commit_batch, settings.commit_delay, alarm.bring_forward),
            mailbox_capacity=settings.router_mailbox,
        )
        clock_spec = ActorSpec(
            "clock",
            lambda: SlaClock(
                alarm,
                Asking(router, telemetry),
                believed,
                longest_sleep,
                sla.always if clock is None else clock.may_fall_due,
            ),
            mailbox_capacity=sla.MAILBOX,
            when_exhausted=Exhausted.QUARANTINE,
        )
        children: list[AnySpec] = [
            ServiceSpec("users", users.supervisor),
            ServiceSpec("announcer", lambda: users.announcer),
            router_spec,
            clock_spec,
        ]
        if keeping is not None:
            children.append(
                ActorSpec(
                    "retention",
                    lambda: Retention(
                        Asking(router, telemetry),
                        store.stale_import,
                        store.reclaim_space,
                        users,
                        keeping,
                        believed,
                        sla.always if clock is None else clock.is_settled,
                    ),
                    mailbox_capacity=retention.MAILBOX,
                )
            )
        root = Supervisor("root", children)
        router = command_ref(root.ref(router_spec))
        alarm = Alarm(root.ref(clock_spec))
        async with trio.open_nursery() as nursery:
            await nursery.start(root.run)
            if has_looked:
                await trio.sleep(sla.FIRST_LOOK + 0.001)
            yield House(ledger, router, root, now)
            root.request_stop()
