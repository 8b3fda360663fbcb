"""The composition root: puts the rooms together, starts them in order, stops them in reverse. Also the embedding API.

    DatabaseLock ─ migrate ─ Database ─ Inbox
    root supervisor, in start order:
        users      a supervisor; an actor for each connected user
        router     every command, one commit a batch
        clock      SLA alerts and daily summaries when they are due
        retention  expiry, purging, the file's space
        engine     Engine.IO sessions and their heartbeat
        listener   the port

Stopping is the reverse: stop accepting, let requests finish, close the sockets at a pace, finish the batch, close the
store.

To embed it in another Trio program:

    async with trio.open_nursery() as nursery:
        server = Server(load({"database": "inbox.db"}))
        await nursery.start(server.run)
        print(server.url)
        ...
        server.request_stop()
"""

from __future__ import annotations

import secrets
from base64 import urlsafe_b64encode
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import trio

from djactors.actors import retention, sla
from djactors.actors.pid import PidIssuer
from djactors.actors.retention import Keeping, Retention
from djactors.actors.router import Router
from djactors.actors.sla import Alarm, SlaClock
from djactors.actors.slices import Asking
from djactors.actors.users import Users
from djactors.config import Settings, check_keys
from djactors.domain.commands import Command, Outcome
from djactors.domain.limits import Limits
from djactors.edge.api import Api
from djactors.edge.application import Application
from djactors.edge.auth import authenticator
from djactors.edge.gateway import Gateway, Services
from djactors.edge.observer import EdgeObserver
from djactors.edge.routes import Routes
from djactors.edge.site import Site
from djactors.edge.survey import Survey
from djactors.engine.origins import OriginPolicy
from djactors.engine.server import EngineServer, EngineSettings
from djactors.inbox.inbox import Inbox
from djactors.kernel import (
    ActorRef,
    ChildCrashed,
    ChildQuarantined,
    ChildSpec,
    ChildStartFailed,
    ChildStatistics,
    Exhausted,
    RestartIntensityExceeded,
    Supervisor,
    SupervisorEscalated,
    SupervisorEvent,
)
from djactors.loop_lag import LoopLag
from djactors.net.listener import Listener, ListenerLimits
from djactors.store import migrate
from djactors.store.database import Database
from djactors.store.errors import StoreBroken
from djactors.store.lock import DatabaseLock
from djactors.store.threads import DedicatedThreads, ThreadFactory
from djactors.telemetry import Telemetry

TOKEN_BYTES = 18
"""144 bits: a session's name is its secret."""

STORE_CLOSE_SECONDS = 10.0
"""How long the store may take to finish and close when the server stops."""


class ServerFailed(Exception):  # noqa: N818 - what the person who started the program reads
    """The server had to stop; the message says why, in one line."""


class Server:
    """One djactors server. `run` it once in a nursery; see the module for how to embed it.

    Args:
        settings: see `djactors.config`.
        telemetry: where it logs and counts; by default errors go to standard error as JSON.
        now: the wall clock, as an aware time.
        random_bytes: a source of randomness that cannot be foreseen.
        threads: what runs the store's work.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        telemetry: Telemetry | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        random_bytes: Callable[[int], bytes] = secrets.token_bytes,
        threads: ThreadFactory = DedicatedThreads,
    ) -> None:
        check_keys(settings)
        self.settings = settings
        self.telemetry = Telemetry() if telemetry is None else telemetry
        self._now = now
        self._random_bytes = random_bytes
        self._threads = threads
        self._authenticator = authenticator(settings, lambda: now().timestamp())
        self._site = Site.load()
        self._stopping = trio.Event()
        self._stopped = trio.Event()
        self._failure: str | None = None
        self._starting = True
        self._listener: Listener | None = None
        self._lag = LoopLag()
        self._root: Supervisor | None = None
        self._users: Users | None = None

    @property
    def url(self) -> str:
        """Where the server listens, once `run` has started."""
        assert self._listener is not None
        assert self._listener.address is not None
        host, port = self._listener.address
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    def request_stop(self) -> None:
        """Stop in good order, within `drain_timeout` and a bounded moment more. Must be called on the Trio thread."""
        self._stopping.set()

    async def wait_stopped(self) -> None:
        """Wait until `run` has ended."""
        await self._stopped.wait()

    def statistics(self) -> ChildStatistics | None:
        """The live actor tree, once `run` has started."""
        return None if self._root is None else self._root.statistics()

    async def publish(self, commands: Sequence[Command]) -> list[Outcome]:
        """Carry out commands from inside the process, as if they had come over HTTP; durable when this returns.

        Raises:
            Refused: a command cannot be carried out as it stands.
            KernelError, StoreError: the server cannot take it now.
        """
        assert self._root is not None
        router: ActorRef[Command] = self._root.ref("router")
        timeout = self.settings.command_timeout
        return [await router.ask_nowait(command, timeout) for command in commands]

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Open the database, serve until `request_stop` or cancellation, close everything.

        Raises:
            DatabaseLocked, MigrationError, StoreError, OSError: the database cannot be served.
            ServerFailed: the port cannot be listened on, or it had to give up while running.
        """
        trio.lowlevel.add_instrument(self._lag)
        try:
            await self._run(task_status)
        finally:
            trio.lowlevel.remove_instrument(self._lag)
            self._stopped.set()
        if self._failure is not None:
            raise ServerFailed(self._failure)

    async def _run(self, task_status: trio.TaskStatus[None]) -> None:
        path = self.settings.database
        with DatabaseLock(path):
            applied = migrate.apply(path, now=self._now, token_bytes=self._random_bytes)
            if applied:
                self.telemetry.log.info("migrated", applied=applied)
            database = await Database.open(
                path,
                threads=self._threads,
                busy_timeout=self.settings.busy_timeout,
                on_commit=self._committed,
                on_broken=self._broke,
            )
            try:
                await self._serve(database, Inbox(database, self._now, self._limits()), task_status)
            finally:
                await database.close(STORE_CLOSE_SECONDS)

    async def _serve(self, database: Database, store: Inbox, task_status: trio.TaskStatus[None]) -> None:
        meta = await store.meta()
        pids = PidIssuer(meta.pid_key, self._random_bytes)
        users = Users(store, pids, self.settings, self.telemetry, lambda: router)
        router_spec = ChildSpec(
            "router",
            lambda: Router(
                store,
                users,
                self.telemetry,
                self.settings.commit_batch,
                self.settings.commit_delay,
                alarm.bring_forward,
            ),
            mailbox_capacity=self.settings.router_mailbox,
        )
        # The engine and the listener stay the same objects when they are restarted; they reach the router through root.
        root = Supervisor(
            "djactors",
            [
                ChildSpec("users", users.supervisor),
                router_spec,
                # One that keeps crashing is set aside alone: deadlines and purging can wait, people cannot.
                ChildSpec(
                    "clock",
                    lambda: SlaClock(alarm, Asking(router, self.telemetry), self._now),
                    mailbox_capacity=sla.MAILBOX,
                    when_exhausted=Exhausted.QUARANTINE,
                ),
                ChildSpec(
                    "retention",
                    lambda: Retention(
                        Asking(router, self.telemetry), store.reclaim_space, users, self._keeping(), self._now
                    ),
                    mailbox_capacity=retention.MAILBOX,
                    when_exhausted=Exhausted.QUARANTINE,
                ),
                ChildSpec("engine", lambda: engine),
                ChildSpec("listener", lambda: listener),
            ],
            on_event=self._observe,
        )
        router: ActorRef[Command] = root.ref("router")
        alarm = Alarm(root.ref("clock"))
        engine = self._engine(users, router)
        survey = Survey(root, users, database.statistics, self._lag, self.telemetry, self._now)
        listener = self._listen(engine, users, store, router, survey)
        self._root, self._users, self._listener = root, users, listener
        async with trio.open_nursery() as nursery:
            try:
                await nursery.start(self._supervise, root)
            except ChildStartFailed as error:
                self._failure = self._start_failure(error)
                return
            self._starting = False
            task_status.started()
            self.telemetry.log.info("listening", url=self.url, page=self._site.problem or "served")
            await self._stopping.wait()
            self.telemetry.log.info("stopping", connections=listener.connections)
            engine.stop_admitting()
            nursery.start_soon(engine.close_all, self.settings.drain_timeout / 2)
            await listener.drain(self.settings.drain_timeout)
            root.request_stop()
        self.telemetry.log.info("stopped")

    def _limits(self) -> Limits:
        settings = self.settings
        return Limits(settings.daily_limit, settings.critical_beyond_limit, settings.collapse_bursts)

    def _keeping(self) -> Keeping:
        settings = self.settings
        return Keeping(settings.history_days, settings.event_days, settings.suppression_days)

    async def _supervise(self, root: Supervisor, *, task_status: trio.TaskStatus[None]) -> None:
        try:
            await root.run(task_status=task_status)
        except RestartIntensityExceeded as error:
            self._give_up(str(error))

    def _start_failure(self, error: ChildStartFailed) -> str:
        cause = error.__cause__
        if isinstance(cause, OSError):
            place = f"{self.settings.host}:{self.settings.port}"
            return f"cannot listen on {place}: {cause.strerror}: choose another host or port"
        return str(error)

    def _engine(self, users: Users, router: ActorRef[Command]) -> EngineServer:
        settings = self.settings
        services = Services(
            authenticator=self._authenticator,
            users=users,
            router=router,
            settings=settings,
            telemetry=self.telemetry,
            random_token=self._random_token,
            now=lambda: self._now().timestamp(),
        )
        return EngineServer(
            EngineSettings(
                ping_interval=settings.ping_interval,
                ping_timeout=settings.ping_timeout,
                upgrade_timeout=settings.upgrade_timeout,
                connect_timeout=settings.connect_timeout,
                max_payload=settings.max_payload,
                outbox_packets=settings.outbox_packets,
                outbox_bytes=settings.outbox_bytes,
                max_sessions=settings.max_connections,
                max_sessions_per_address=settings.max_connections_per_address,
                admit_rate=settings.admit_rate,
                admit_burst=settings.admit_burst,
            ),
            lambda session: Gateway(session, services),
            origins=OriginPolicy(settings.allowed_origins),
            random_token=self._random_token,
            telemetry=EdgeObserver(self.telemetry),
        )

    def _listen(
        self, engine: EngineServer, users: Users, store: Inbox, router: ActorRef[Command], survey: Survey
    ) -> Listener:
        settings, observer = self.settings, EdgeObserver(self.telemetry)
        api = Api(
            authenticator=self._authenticator,
            router=router,
            users=users,
            store=store,
            settings=settings,
            telemetry=self.telemetry,
            ready=self._readiness,
            measure=self._measure,
            survey=survey,
        )
        return Listener(
            Application(engine, self._site, Routes(api), OriginPolicy(settings.allowed_origins), settings),
            host=settings.host,
            port=settings.port,
            listener_limits=ListenerLimits(
                max_connections=settings.max_connections,
                max_connections_per_address=settings.max_connections_per_address,
                max_buffered=settings.outbox_bytes,
            ),
            telemetry=observer,
            on_error=observer.failed,
        )

    def _random_token(self) -> str:
        return urlsafe_b64encode(self._random_bytes(TOKEN_BYTES)).decode()

    def _readiness(self) -> str | None:
        return "the server is stopping" if self._stopping.is_set() else None

    def _measure(self) -> None:
        """Bring the gauges that nobody keeps up to date: asked for when the metrics are read."""
        self.telemetry.metrics.loop_lag.set(self._lag.worst())
        root = self.statistics()
        if root is None:
            return
        depths: dict[str, int] = {}
        for child in root.children:
            nodes = child.children or (child,)
            kind = "user" if child.name == "users" else child.name
            depths[kind] = sum(node.mailbox.depth for node in nodes if node.mailbox is not None)
        for kind, depth in depths.items():
            self.telemetry.metrics.mailbox.labels(kind).set(depth)

    def _committed(self, seconds: float, items: int) -> None:
        self.telemetry.metrics.commit.observe(seconds)
        self.telemetry.metrics.commit_items.observe(items)

    def _broke(self, error: StoreBroken) -> None:
        self._give_up(f"the database failed, nothing more can be acknowledged: {error}")

    def _give_up(self, reason: str) -> None:
        if self._failure is None:
            self._failure = reason
            self.telemetry.log.critical("giving up", reason=reason)
        self._stopping.set()

    def _observe(self, event: SupervisorEvent) -> None:
        match event:
            case ChildCrashed(error=OSError()) if self._starting:
                pass  # it ends the start, which says so in one line
            case ChildCrashed(child=child, error=error, dropped=dropped):
                self.telemetry.metrics.restarts.labels(child).inc()
                if child == "router" and self._users is not None:
                    # It may have crashed between a commit and its telling.
                    self._users.reread()
                self.telemetry.log.error("child crashed", child=child, dropped=len(dropped), exc_info=error)
            case ChildQuarantined(child=child):
                self.telemetry.metrics.quarantines.labels(child).inc()
            case SupervisorEscalated(child=child):
                self.telemetry.log.critical("restart intensity exceeded", child=child)
