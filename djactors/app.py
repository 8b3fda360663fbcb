"""The composition root: puts the rooms together, starts them in order, stops them in reverse. Also the embedding API.

    guard ─ migrate ─ Database ─ Inbox
    root supervisor, in start order:
        users      a supervisor; an actor for each connected user
        router     every command, one commit a batch
        follower   what other nodes wrote, where the database is shared
        listening  hears of it, or polls
        clock      SLA alerts and daily summaries when they are due
        retention  expiry, purging, the file's space
        room       how long the disk lasts
        presence   who comes and goes, for those who look
        engine     Engine.IO sessions and their heartbeat
        listener   the port
        registration  tells other nodes that this one is there

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

import random
import secrets
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterable
from datetime import datetime
from math import inf

import trio

from djactors.actors import retention, room, sla
from djactors.actors.accounts import KNOWN_FOR
from djactors.actors.command_ref import CommandRef, PublishAll, command_ref
from djactors.actors.neighbours import Neighbours, name_of_node
from djactors.actors.pid import PidIssuer
from djactors.actors.retention import Keeping, Retention
from djactors.actors.room import Horizon, RoomWatch
from djactors.actors.router import Router
from djactors.actors.sla import Alarm, SlaClock
from djactors.actors.slices import Asking
from djactors.actors.users import Users
from djactors.config import Settings, check_keys, check_proxies
from djactors.domain.commands import Publish, Published
from djactors.domain.errors import Refused
from djactors.domain.events import DomainEvent
from djactors.domain.limits import Limits
from djactors.domain.times import WALL_CLOCK, from_text
from djactors.edge.api import Api
from djactors.edge.auth import Unauthorized, authenticator, bearer_of
from djactors.edge.errors import STATUS
from djactors.edge.exposition import Exposition
from djactors.edge.gateway import Gateway, Services
from djactors.edge.key_file import KeyFile
from djactors.edge.keys import file_of
from djactors.edge.observer import EdgeObserver
from djactors.edge.paces import Paces
from djactors.edge.readiness import Readiness
from djactors.edge.routes import Application, Routes
from djactors.edge.site import Site
from djactors.edge.survey import Survey
from djactors.edge.tls_files import TlsFiles, load_tls
from djactors.edge.tree_observer import TreeObserver
from djactors.engine import EngineServer, EngineSettings, OriginPolicy
from djactors.inbox.inbox import Inbox
from djactors.kernel import (
    ActorSpec,
    ChildStartFailed,
    ChildStatistics,
    Exhausted,
    RestartIntensityExceeded,
    ServiceSpec,
    Supervisor,
)
from djactors.loop_lag import LoopLag
from djactors.net import (
    MACHINE_NETWORK,
    Listener,
    ListenerLimits,
    Network,
    ProvenAddresses,
    Request,
    TrustedProxies,
    UnixNetwork,
    UnprovenBytes,
    descriptor_shortage,
)
from djactors.net import Limits as HttpLimits
from djactors.steady_clock import MONOTONIC, SteadyClock
from djactors.store.database import Database
from djactors.store.engines import engine_at
from djactors.store.errors import StoreBroken, StoreDamaged, StoreError, StoreUnavailable
from djactors.store.threads import DedicatedThreads, ThreadFactory
from djactors.telemetry import Telemetry
from djactors.upgrading import LongStart, bring_up_to_date
from djactors.watchdog import Watchdog

TOKEN_BYTES = 18
"""144 bits: a session's name is its secret."""


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
    """

    def __init__(
        self,
        settings: Settings,
        *,
        telemetry: Telemetry | None = None,
        now: Callable[[], datetime] = WALL_CLOCK,
        random_bytes: Callable[[int], bytes] = secrets.token_bytes,
        threads: ThreadFactory = DedicatedThreads,
        timer: Callable[[], float] = time.perf_counter,
        rng: random.Random | None = None,
        network: Network | None = None,
        starting: Callable[[str], None] = lambda _: None,
    ) -> None:
        check_keys(settings)
        check_proxies(settings)
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
        self._network = _network_of(settings) if network is None else network
        self._authenticator = authenticator(settings, now)
        self._site = Site.load()
        self._stopping = trio.Event()
        self._stopped = trio.Event()
        self._failure: str | None = None
        self._listener: Listener | None = None
        self._lag = LoopLag(timer)
        self._observer = EdgeObserver(self.telemetry)
        self._origins = OriginPolicy(settings.allowed_origins)
        self._unproven = UnprovenBytes(limit=settings.unproven_bytes, on_refused=self._observer.no_room)
        # When many come, those go first who have been here with a good token.
        self._proven = ProvenAddresses()
        self._root: Supervisor | None = None
        self._router: CommandRef | None = None
        self._key_file: KeyFile | None = None
        self._database: Database | None = None
        self._tls = load_tls(settings)
        self._tls_files: TlsFiles | None = None
        self._reloads: list[trio.Event] = []

    @property
    def url(self) -> str:
        """Where the server listens: the first place, if there are several. A Unix socket is `unix:PATH`.

        Raises:
            ServerNotStarted: `run` has not started it yet.
        """
        if self._listener is None or self._listener.address is None:
            raise ServerNotStarted
        place = _place(self._listener.address)
        return place if place.startswith("unix:") else f"{'http' if self._tls is None else 'https'}://{place}"

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
        watched = [each for each in (self._key_file, self._tls_files) if each is not None]
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
        return None if self._root is None else self._root.statistics()

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
            published = await commands.ask_nowait(
                Publish(event, event.id, trace=trace.text), self.settings.command_timeout
            )
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
        commands = tuple(Publish(event, event.id) for event in events)
        if len(commands) > self.settings.commit_batch:
            raise ValueError(
                f"{len(commands)} events are more than one commit takes: publish at most {self.settings.commit_batch} "
                "at a time, or raise the setting commit_batch"
            )
        if not commands:
            return []
        return await self._commands().ask_nowait(PublishAll(commands), self.settings.command_timeout)

    def _commands(self) -> CommandRef:
        if self._router is None:
            raise ServerNotStarted
        return self._router

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Open the database, serve until `request_stop` or cancellation, close everything.

        Raises:
            DatabaseLocked, MigrationError, StoreError, OSError: the database cannot be served.
            UpgradeStopped: `request_stop` was called while an older database was upgraded; the next start goes on.
            ServerFailed: the port cannot be listened on, or it had to give up while running.
        """
        trio.lowlevel.add_instrument(self._lag)
        try:
            with Watchdog(self._lag, self.telemetry, timer=self._timer).watching():
                await self._run(task_status)
        finally:
            trio.lowlevel.remove_instrument(self._lag)
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
            database.when_log_moved(guard.note_state)
            settings = self.settings
            limits = Limits(
                daily_limit=settings.daily_limit,
                critical_beyond_limit=settings.critical_beyond_limit,
                collapse_bursts=settings.collapse_bursts,
            )
            clock = SteadyClock(self._now, self._monotonic(), self.telemetry.log.warning)
            self._authenticator.keep_time(clock.seconds)
            try:
                is_shared = database.engine.is_shared
                node = name_of_node(settings.node, self._random_bytes) if is_shared else ""
                store = Inbox(database, clock, limits, node=node)
                neighbours = Neighbours(node, database, store, self.telemetry) if is_shared else None
                if is_shared:
                    self.telemetry.log.info("sharing the database", node=node)
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
        settings, telemetry, now = self.settings, self.telemetry, self._now
        meta = await store.meta()
        if await store.fold_names(self._long_start.report) > 1:
            telemetry.log.info("names folded", reason="the database is from before, or was folded by other rules")
        last_seen = await store.last_seen()
        clock.begin(None if last_seen is None else from_text(last_seen))
        pids = PidIssuer(meta.pid_key, self._random_bytes)
        users = Users(
            store if neighbours is None else neighbours.tails,
            pids,
            settings,
            telemetry,
            lambda: router,
            self._rng,
            accounts_known_for=inf if neighbours is None else KNOWN_FOR,
        )
        follower = None if neighbours is None else neighbours.follow(users, lambda: alarm, settings.history_days)
        audience = users if follower is None else follower
        key_file = KeyFile(settings, self._authenticator, users.drop_keys, telemetry)
        has_keys = file_of(settings) is not None
        self._key_file = key_file if has_keys else None
        tls_files = self._tls_files = None if self._tls is None else TlsFiles(settings, self._tls, telemetry, now)
        observer = TreeObserver(telemetry, users)
        keeping = Keeping(
            history_days=settings.history_days,
            event_days=settings.event_days,
            suppression_days=settings.suppression_days,
        )
        router_spec = ActorSpec(
            "router",
            lambda: Router(
                store, audience, telemetry, settings.commit_batch, settings.commit_delay, alarm.bring_forward
            ),
            mailbox_capacity=settings.router_mailbox,
        )
        # A clock or a retention that keeps crashing is set aside alone: deadlines and purging can wait, people cannot.
        clock_spec = ActorSpec(
            "clock",
            lambda: SlaClock(alarm, Asking(router, telemetry), clock, trusted=clock.may_fall_due),
            mailbox_capacity=sla.MAILBOX,
            when_exhausted=Exhausted.QUARANTINE,
        )
        retention_spec = ActorSpec(
            "retention",
            lambda: Retention(Asking(router, telemetry), store.reclaim_space, users, keeping, clock, clock.is_settled),
            mailbox_capacity=retention.MAILBOX,
            when_exhausted=Exhausted.QUARANTINE,
        )
        horizon = Horizon()
        room_spec = ActorSpec(
            "room",
            lambda: RoomWatch(
                Asking(router, telemetry), store, horizon, settings.database_limit, telemetry, clock, clock.is_settled
            ),
            mailbox_capacity=room.MAILBOX,
            when_exhausted=Exhausted.QUARANTINE,
        )
        presence_spec = ServiceSpec("presence", lambda: users.onlookers, when_exhausted=Exhausted.QUARANTINE)
        # The engine and the listener stay the same objects when they are restarted; they reach the router by its ref.
        root = Supervisor(
            "djactors",
            [
                ServiceSpec("users", users.supervisor),
                router_spec,
                *([] if neighbours is None or follower is None else neighbours.services(follower)),
                clock_spec,
                retention_spec,
                room_spec,
                *([presence_spec] if settings.presence else []),
                *([ServiceSpec("keys", lambda: key_file)] if has_keys else []),
                *([] if tls_files is None else [ServiceSpec("certificate", lambda: tls_files)]),
                ServiceSpec("engine", lambda: engine),
                ServiceSpec("listener", lambda: listener),
                *([] if neighbours is None else [neighbours.registration(users, lambda: self.url, now)]),
            ],
            on_event=observer.observe,
            rng=self._rng,
        )
        router: CommandRef = command_ref(root.ref(router_spec))
        alarm = Alarm(root.ref(clock_spec))
        paces = Paces(settings)
        engine = self._engine(users, router, paces, clock)
        survey = Survey(root, users, database.statistics, self._lag, telemetry, now, store.names, neighbours)
        api = Api(
            authenticator=self._authenticator,
            router=router,
            users=users,
            store=store,
            settings=settings,
            telemetry=telemetry,
            paces=paces,
            ready=Readiness(
                self._stopping.is_set, database, lambda: root.ref(router_spec).statistics(), telemetry
            ).reason,
            exposition=Exposition(root, users, self._lag, self._unproven, telemetry),
            survey=survey,
            concern=horizon.concern,
        )
        listener = self._listen(engine, Routes(api))
        self._root, self._router, self._listener = root, router, listener
        async with trio.open_nursery() as nursery:
            nursery.start_soon(telemetry.refusals.run)
            try:
                await self._serve_until_told(root, engine, listener, observer, task_status)
            finally:
                nursery.cancel_scope.cancel()
        if not observer.starting:
            telemetry.log.info("stopped")

    async def _serve_until_told(
        self,
        root: Supervisor,
        engine: EngineServer,
        listener: Listener,
        observer: TreeObserver,
        task_status: trio.TaskStatus[None],
    ) -> None:
        settings, telemetry = self.settings, self.telemetry
        async with trio.open_nursery() as nursery:
            try:
                await nursery.start(self._supervise, root)
            except ChildStartFailed as error:
                self._failure = self._start_failure(error)
                return
            observer.starting = False
            task_status.started()
            places = [_place(address) for address in listener.addresses]
            self._warn_of_shortage()
            telemetry.log.info("listening", url=self.url, addresses=places, page=self._site.problem or "served")
            await self._stopping.wait()
            telemetry.log.info("stopping", connections=listener.connections)
            engine.stop_admitting()
            nursery.start_soon(engine.close_all, settings.drain_timeout / 2)
            await listener.drain(settings.drain_timeout)
            root.request_stop()

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

    def _engine(self, users: Users, router: CommandRef, paces: Paces, clock: Callable[[], datetime]) -> EngineServer:
        settings = self.settings
        services = Services(
            authenticator=self._authenticator,
            users=users,
            router=router,
            paces=paces,
            settings=settings,
            telemetry=self.telemetry,
            random_token=self._random_token,
            now=clock,
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
            origins=self._origins,
            random_token=self._random_token,
            telemetry=self._observer,
            unproven=self._unproven,
            proven=self._proven,
            shows_proof=self._shows_token,
        )

    def _listen(self, engine: EngineServer, routes: Routes) -> Listener:
        settings = self.settings
        return Listener(
            Application(engine, self._site, routes, self._origins, self.telemetry),
            limits=HttpLimits(unproven_timeout=settings.unproven_timeout),
            proxies=TrustedProxies(settings.trusted_proxies) if settings.trusted_proxies else None,
            proxy_protocol=settings.proxy_protocol,
            proven=self._proven,
            tls=self._tls,
            host=settings.host,
            port=settings.port,
            listener_limits=ListenerLimits(
                max_connections=settings.max_connections,
                max_connections_per_address=settings.max_connections_per_address,
                max_buffered=settings.outbox_bytes,
            ),
            telemetry=self._observer,
            unproven=self._unproven,
            on_error=self._observer.failed,
            wall_clock=self._now,
            network=self._network,
        )

    def _shows_token(self, request: Request) -> bool:
        """Whether a handshake brings a good token in `Authorization`: stock clients send it with `extraHeaders`."""
        try:
            bearer_of(request, self._authenticator)
        except Unauthorized:
            return False
        return True

    def _random_token(self) -> str:
        return urlsafe_b64encode(self._random_bytes(TOKEN_BYTES)).decode()

    def _broke(self, error: StoreBroken) -> None:
        self._give_up(f"the database failed, nothing more can be acknowledged: {error}")

    def _damaged(self, error: StoreDamaged) -> None:
        self.telemetry.refusals.repeated("damaged database", type(error).__name__, error=str(error))

    def _give_up(self, reason: str) -> None:
        if self._failure is None:
            self._failure = reason
            self.telemetry.log.critical("giving up", reason=reason)
        self._stopping.set()


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
