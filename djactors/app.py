"""The embedding API, and the life of a server: opens what it stands on, starts its tree, and stops it in good order.

    guard ─ migrate ─ Database ─ Inbox ─ the tree (see `composition`)

Stopping is the reverse: stop accepting, let requests finish, close the sockets at a pace, finish the batch, close the
store.

To embed it in another Trio program:

    async with trio.open_nursery() as nursery:
        server = Server(load({"database": "inbox.db"}))
        await nursery.start(server.run)
        print(server.url)
        published = await server.publish(event)
        ...
        server.request_stop()
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Iterable
from datetime import datetime

import trio

from djactors.actors.command_ref import CommandRef, PublishAll
from djactors.actors.neighbours import Neighbours, name_of_node
from djactors.composition import Parts, Tree, compose
from djactors.config import Settings, check_keys, check_proxies, load_rules
from djactors.domain.commands import Publish, Published
from djactors.domain.errors import Refused
from djactors.domain.events import TYPES, DomainEvent, check_event
from djactors.domain.limits import Limits
from djactors.domain.notification_rules import BUILT_IN_RULES
from djactors.domain.notification_types import NotificationType
from djactors.domain.times import WALL_CLOCK, from_text
from djactors.edge.auth import authenticator
from djactors.edge.errors import STATUS
from djactors.edge.observer import EdgeObserver
from djactors.edge.site import Site
from djactors.edge.table import describe
from djactors.edge.tls_files import load_tls
from djactors.engine import OriginPolicy
from djactors.inbox.inbox import Inbox
from djactors.kernel import (
    ChildStartFailed,
    ChildStatistics,
    RestartIntensityExceeded,
    Supervisor,
)
from djactors.loop_lag import LoopLag
from djactors.net import (
    MACHINE_NETWORK,
    Network,
    ProvenAddresses,
    UnixNetwork,
    UnprovenBytes,
    descriptor_shortage,
)
from djactors.steady_clock import MONOTONIC, SteadyClock
from djactors.store.database import Database
from djactors.store.engines import engine_at
from djactors.store.errors import StoreBroken, StoreDamaged, StoreError, StoreUnavailable
from djactors.store.threads import DedicatedThreads, ThreadFactory
from djactors.telemetry import Telemetry
from djactors.upgrading import LongStart, bring_up_to_date
from djactors.watchdog import Watchdog


class ServerFailed(Exception):  # noqa: N818 - what the person who started the program reads
    """The server had to stop; the message says why, in one line."""


class ServerNotStarted(RuntimeError):  # noqa: N818 - what the person who embeds it reads
    """The server was asked for something that there is only once `run` has started it."""

    def __init__(self) -> None:
        super().__init__("the server has not started: `await nursery.start(server.run)` first")


class Server:
    """One djactors server. `run` it once in a nursery; see the module for how to embed it.

    Args:
        settings: see `djactors.config`.
        telemetry: where it logs and counts; by default errors go to standard error as JSON.
        now: the wall clock, as an aware time. One that is given goes as Trio's clock does, and where it jumps from that
            by minutes, times go on without the jump for a while (`steady_clock`).
        random_bytes: a source of randomness that cannot be foreseen.
        threads: what runs the store's work.
        timer: seconds of real time, to tell how long turns of the loop and commits took. May be asked from any thread.
        rng: what spreads pauses before restarts; guards no secret.
        network: where connections come from, instead of the sockets that the settings name.
        starting: told in words, about once a second, what a start does that takes long, such as an upgrade.
        types: notification types of the program's own, and what differs in those that come with djactors; the file of
            the setting `notification_types_file` is laid over them.

    Attributes:
        rules: who is notified of what, as all of this says.

    Raises:
        SettingError: a setting or a notification type is wrong; the message names it and the mend.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        telemetry: Telemetry | None = None,
        now: Callable[[], datetime] = WALL_CLOCK,
        random_bytes: Callable[[int], bytes] = os.urandom,
        threads: ThreadFactory = DedicatedThreads,
        timer: Callable[[], float] = time.perf_counter,
        rng: random.Random | None = None,
        network: Network | None = None,
        starting: Callable[[str], None] = lambda _: None,
        types: Iterable[NotificationType] = (),
    ) -> None:
        check_keys(settings)
        check_proxies(settings)
        self.rules = load_rules(settings, types)
        self.settings = settings
        self.telemetry = Telemetry() if telemetry is None else telemetry
        self._long_start = LongStart(self.telemetry.log.info, starting)
        self._now = now
        self._random_bytes = random_bytes
        self._threads = threads
        self._timer = timer
        self._rng = rng
        if rng is not None:
            self.telemetry.traces.draw(rng)
        self._stopping = trio.Event()
        self._stopped = trio.Event()
        self._failure: str | None = None
        observer = EdgeObserver(self.telemetry)
        # Like the site, they are made before the loop runs.
        describe()
        self._parts = Parts(
            settings=settings,
            telemetry=self.telemetry,
            now=now,
            random_bytes=random_bytes,
            rng=rng,
            network=_network_of(settings) if network is None else network,
            authenticator=authenticator(settings, now),
            site=Site.load(),
            lag=LoopLag(timer),
            observer=observer,
            origins=OriginPolicy(settings.allowed_origins),
            unproven=UnprovenBytes(limit=settings.unproven_bytes, on_refused=observer.no_room),
            proven=ProvenAddresses(),
            tls=load_tls(settings),
        )
        self._tree: Tree | None = None
        self._database: Database | None = None
        self._reloads: list[trio.Event] = []

    @property
    def url(self) -> str:
        """Where the server listens: the first place, if there are several. A Unix socket is `unix:PATH`.

        Raises:
            ServerNotStarted: `run` has not started it yet.
        """
        address = None if self._tree is None else self._tree.listener.address
        if address is None:
            raise ServerNotStarted
        place = _place(address)
        return place if place.startswith("unix:") else f"{'http' if self._parts.tls is None else 'https'}://{place}"

    async def answers_writes(self) -> bool:
        """Whether the store's writer answers a write, be it by saying that it cannot be done now.

        It waits for the answer as long as it takes; the caller bounds that.
        """
        if self._database is None:
            return False
        try:
            await self._database.probe()
        except StoreUnavailable:
            return True
        except StoreError:
            return False
        return True

    def request_stop(self) -> None:
        """Stop in good order, within `drain_timeout` and a bounded moment more. Must be called on the Trio thread."""
        self._stopping.set()

    def reload(self) -> None:
        """Read the files of keys and of TLS again. A wrong one changes nothing. Must be called on the Trio thread."""
        watched = () if self._tree is None else self._tree.watched
        if not watched:
            self.telemetry.log.info("nothing to reload", reason="the settings name no file of keys and no certificate")
        self._reloads += [each.reload() for each in watched]

    async def reloaded(self) -> None:
        """Wait until the files have been read that `reload` was told to read."""
        while self._reloads:
            await self._reloads.pop().wait()

    async def wait_stopped(self) -> None:
        """Wait until `run` has ended."""
        await self._stopped.wait()

    def statistics(self) -> ChildStatistics | None:
        """The live actor tree, once `run` has started."""
        return None if self._tree is None else self._tree.root.statistics()

    async def publish(self, event: DomainEvent, *, traceparent: str | None = None) -> Published:
        """Record one event, as a service's post would, and tell whom it concerns; durable when this returns.

        With an `id` a retry is harmless: the same event gets the first answer again. If this is cancelled, the event
        may still be recorded. `traceparent` (W3C Trace Context) is what your program calls this in its traces.

        Raises:
            Refused: the event cannot be recorded as it stands; nothing of it was.
            KernelError, StoreError: the server cannot take it now; it may have been recorded if `AskTimeout` or
                `StoreBroken` is raised, so try again with the same `id`.
            ServerNotStarted: `run` has not started it yet.
        """
        commands, traces = self._commands(), self.telemetry.traces
        trace = traces.begin(traceparent)
        traces.asked(traces.follow(trace, "publish"))
        try:
            published = await commands.ask_nowait(_asked(event, trace.text), self.settings.command_timeout)
        except BaseException as error:
            trace.end(STATUS[error.code] if isinstance(error, Refused) else 500)
            raise
        trace.end(200)
        return published

    async def publish_all(self, events: Iterable[DomainEvent]) -> list[Published | Exception]:
        """Record several events together, in one commit unless they write more than one may: quicker than one by one.

        All of them are durable when this returns. A comment on a job that a thousand people watch writes as much as a
        thousand other events.

        Args:
            events: at most `commit_batch` of them.

        Returns:
            What became of each event, in order. An exception says why that one was not recorded, `Refused` if it cannot
            be as it stands, any other if it met with a fault of the server; the others are recorded all the same.

        Raises:
            ValueError: there are more events than `commit_batch`; none was recorded.
            KernelError, StoreError, ServerNotStarted: as `publish`, for all events.
        """
        asked: list[Publish | Refused] = []
        for event in events:
            try:
                asked.append(_asked(event))
            except Refused as refused:
                asked.append(refused)
        if len(asked) > self.settings.commit_batch:
            raise ValueError(
                f"{len(asked)} events are more than one commit takes: publish at most {self.settings.commit_batch} "
                "at a time, or raise the setting commit_batch"
            )
        router = self._commands()
        commands = tuple(each for each in asked if isinstance(each, Publish))
        if not commands:
            return [each for each in asked if isinstance(each, Refused)]
        outcomes = iter(await router.ask_nowait(PublishAll(commands), self.settings.command_timeout))
        return [each if isinstance(each, Refused) else next(outcomes) for each in asked]

    def _commands(self) -> CommandRef:
        if self._tree is None:
            raise ServerNotStarted
        # What the program publishes does not stand behind a crowd that connects.
        self._tree.engine.crowd.make_way()
        return self._tree.router

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Open the database, serve until `request_stop` or cancellation, close everything.

        Raises:
            DatabaseLocked, MigrationError, StoreError, OSError: the database cannot be served.
            UpgradeStopped: `request_stop` was called while an older database was upgraded; the next start goes on.
            ServerFailed: the port cannot be listened on, or it had to give up while running.
        """
        trio.lowlevel.add_instrument(self._parts.lag)
        try:
            with Watchdog(self._parts.lag, self.telemetry, timer=self._timer).watching():
                await self._run(task_status)
        finally:
            trio.lowlevel.remove_instrument(self._parts.lag)
            self._stopped.set()
        if self._failure is not None:
            raise ServerFailed(self._failure)

    async def _run(self, task_status: trio.TaskStatus[None]) -> None:
        place = self.settings.database
        with engine_at(place).guard() as guard:
            applied = await bring_up_to_date(
                self.settings,
                self.telemetry,
                self._long_start,
                self._stopping.is_set,
                now=self._now,
                token_bytes=self._random_bytes,
            )
            guard.hold_database()
            if applied:
                self.telemetry.log.info("migrated", applied=applied)
            database = await Database.open(
                place,
                threads=self._threads,
                busy_timeout=self.settings.busy_timeout,
                on_commit=self.telemetry.metrics.commit.observe,
                on_broken=self._broke,
                on_damaged=self._damaged,
                timer=self._timer,
            )
            self._database = database
            guard.note_state()
            database.when_log_moves(guard.note_move, guard.note_state)
            settings = self.settings
            limits = Limits(
                daily_limit=settings.daily_limit,
                critical_beyond_limit=settings.critical_beyond_limit,
                collapse_bursts=settings.collapse_bursts,
            )
            clock = SteadyClock(self._now, self._monotonic(), self.telemetry.log.warning)
            self._parts.authenticator.keep_time(clock.seconds)
            try:
                is_shared = database.engine.is_shared
                node = name_of_node(settings.node, self._random_bytes) if is_shared else ""
                store = Inbox(database, clock, limits, node=node, rules=self.rules)
                neighbours = Neighbours(node, database, store, self.telemetry, self.rules.digest) if is_shared else None
                if is_shared:
                    self.telemetry.log.info("sharing the database", node=node)
                if self.rules.digest != BUILT_IN_RULES.digest:
                    self.telemetry.log.info("own notification types", table=self.rules.digest)
                await self._serve(database, store, neighbours, clock, task_status)
            finally:
                await database.close()

    def _monotonic(self) -> Callable[[], float]:
        """The clock beside the wall clock that nobody sets: the machine's, or Trio's beside one that was given."""
        return MONOTONIC if self._now is WALL_CLOCK else trio.lowlevel.current_clock().current_time

    async def _serve(
        self,
        database: Database,
        store: Inbox,
        neighbours: Neighbours | None,
        clock: SteadyClock,
        task_status: trio.TaskStatus[None],
    ) -> None:
        telemetry = self.telemetry
        meta = await store.meta()
        if await store.fold_names(self._long_start.report) > 1:
            telemetry.log.info("names folded", reason="the database is from before, or was folded by other rules")
        last_seen = await store.last_seen()
        clock.begin(None if last_seen is None else from_text(last_seen))
        tree = self._tree = compose(
            self._parts,
            database,
            store,
            neighbours,
            clock,
            meta.pid_key,
            is_stopping=self._stopping.is_set,
            url=lambda: self.url,
        )
        async with trio.open_nursery() as nursery:
            nursery.start_soon(telemetry.refusals.run)
            try:
                await self._serve_until_told(tree, task_status)
            finally:
                nursery.cancel_scope.cancel()
        if not tree.observer.starting:
            telemetry.log.info("stopped")

    async def _serve_until_told(self, tree: Tree, task_status: trio.TaskStatus[None]) -> None:
        settings, telemetry, engine, listener = self.settings, self.telemetry, tree.engine, tree.listener
        async with trio.open_nursery() as nursery:
            try:
                await nursery.start(self._supervise, tree.root)
            except ChildStartFailed as error:
                self._failure = self._start_failure(error)
                return
            tree.observer.starting = False
            task_status.started()
            places = [_place(address) for address in listener.addresses]
            self._warn_of_shortage()
            telemetry.log.info("listening", url=self.url, addresses=places, page=self._parts.site.problem or "served")
            await self._stopping.wait()
            telemetry.log.info("stopping", connections=listener.connections)
            engine.stop_admitting()
            nursery.start_soon(engine.close_all, settings.drain_timeout / 2)
            await listener.drain(settings.drain_timeout)
            tree.root.request_stop()

    def _warn_of_shortage(self) -> None:
        shortage = descriptor_shortage(self.settings.max_connections)
        if shortage is not None:
            self.telemetry.log.warning(
                "fewer connections than configured", reason=f"{shortage}, or lower DJACTORS_MAX_CONNECTIONS"
            )

    async def _supervise(self, root: Supervisor, *, task_status: trio.TaskStatus[None]) -> None:
        try:
            await root.run(task_status=task_status)
        except RestartIntensityExceeded as error:
            self._give_up(str(error))

    def _start_failure(self, error: ChildStartFailed) -> str:
        cause = error.__cause__
        if isinstance(cause, OSError):
            settings = self.settings
            if settings.unix_socket:
                return f"cannot listen on {settings.unix_socket}: {cause.strerror}: free the path"
            return f"cannot listen on {settings.host}:{settings.port}: {cause.strerror}: choose another host or port"
        return str(error)

    def _broke(self, error: StoreBroken) -> None:
        self._give_up(f"the database failed, nothing more can be acknowledged: {error}")

    def _damaged(self, error: StoreDamaged) -> None:
        self.telemetry.refusals.repeated("damaged database", type(error).__name__, error=str(error))

    def _give_up(self, reason: str) -> None:
        if self._failure is None:
            self._failure = reason
            self.telemetry.log.critical("giving up", reason=reason)
        self._stopping.set()


def _asked(event: DomainEvent, trace: str | None = None) -> Publish:
    """The command to record an event. The writer checks the event; here it is only seen to be one of some tenant,
    because the router goes by that.

    Raises:
        Refused: `invalid`; it is no event at all.
    """
    if type(event) not in TYPES or not isinstance(event.tenant_id, int | str):
        event = check_event(event)
    return Publish(event, event.id, trace=trace)


def _network_of(settings: Settings) -> Network:
    if settings.unix_socket:
        return UnixNetwork(settings.unix_socket, int(settings.unix_socket_mode, 8))
    return MACHINE_NETWORK


def _place(address: tuple[str, int]) -> str:
    """An address as it stands in a URL."""
    host, port = address
    if host.startswith("unix:"):
        return host
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
