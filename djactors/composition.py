"""The tree of a server: puts the rooms together. What is made here is started in order and stopped in reverse.

    root supervisor, in start order:
        users      a supervisor; an actor for each connected user
        router     every command, one commit a batch
        follower   what other nodes wrote, where the database is shared
        listening  hears of it, or polls
        clock      SLA alerts and daily summaries when they are due
        retention  expiry, purging, the file's space
        room       how long the disk lasts
        presence   who comes and goes, for those who look
        keys       watches the file of keys, where there is one
        certificate  watches the files of TLS, where there are any
        engine     Engine.IO sessions and their heartbeat
        listener   the port
        registration  tells other nodes that this one is there

No part of the tree is a global, and none is made by another one: each gets here what it needs.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from math import inf

from djactors.actors import retention, room, sla
from djactors.actors.accounts import KNOWN_FOR
from djactors.actors.command_ref import CommandRef, command_ref
from djactors.actors.neighbours import Neighbours
from djactors.actors.pid import PidIssuer
from djactors.actors.retention import Keeping, Retention
from djactors.actors.room import Horizon, RoomWatch
from djactors.actors.router import Router
from djactors.actors.sla import AT_ONCE, Alarm, SlaClock
from djactors.actors.slices import Asking
from djactors.actors.users import Users
from djactors.config import Settings
from djactors.domain.url_safe import url_safe
from djactors.edge.api import Api
from djactors.edge.auth import Authenticator, Unauthorized, bearer_of
from djactors.edge.exposition import Exposition
from djactors.edge.gateway import Gateway, Services
from djactors.edge.key_file import KeyFile
from djactors.edge.keys import file_of
from djactors.edge.observer import EdgeObserver
from djactors.edge.paces import Paces
from djactors.edge.readiness import Readiness
from djactors.edge.routes import Application, Routes
from djactors.edge.seal import Seal
from djactors.edge.site import Site
from djactors.edge.survey import Survey
from djactors.edge.tls_files import TlsFiles
from djactors.edge.tree_observer import TreeObserver
from djactors.engine import EngineServer, EngineSettings, OriginPolicy
from djactors.inbox.inbox import Inbox
from djactors.kernel import (
    ActorSpec,
    Exhausted,
    ServiceSpec,
    Supervisor,
)
from djactors.loop_lag import LoopLag
from djactors.net import Limits as HttpLimits
from djactors.net import (
    Listener,
    ListenerLimits,
    Network,
    ProvenAddresses,
    Request,
    ServerTls,
    TrustedProxies,
    UnprovenBytes,
)
from djactors.steady_clock import SteadyClock
from djactors.store.database import Database
from djactors.telemetry import Telemetry

TOKEN_BYTES = 18
"""144 bits: a session's name is its secret."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What a server has before its database is open; see the arguments of `Server`.

    Attributes:
        site: the page that comes with the server.
        lag: the instrument of the event loop.
        observer: is told what happens at the door.
        unproven: the budget for the bytes of those who have not proved who they are.
        proven: the addresses of those who have; when many come, these go first.
        tls: the certificate, where the server speaks TLS itself.
    """

    settings: Settings
    telemetry: Telemetry
    now: Callable[[], datetime]
    random_bytes: Callable[[int], bytes]
    rng: random.Random | None
    network: Network
    authenticator: Authenticator
    site: Site
    lag: LoopLag
    observer: EdgeObserver
    origins: OriginPolicy
    unproven: UnprovenBytes
    proven: ProvenAddresses
    tls: ServerTls | None


@dataclass(frozen=True, slots=True)
class Tree:
    """A server's tree, and those parts of it that the server speaks to. `watched` are files that may be read again."""

    root: Supervisor
    router: CommandRef
    engine: EngineServer
    listener: Listener
    observer: TreeObserver
    watched: tuple[KeyFile | TlsFiles, ...]


def compose(
    parts: Parts,
    database: Database,
    store: Inbox,
    neighbours: Neighbours | None,
    clock: SteadyClock,
    pid_key: bytes,
    *,
    is_stopping: Callable[[], bool],
    url: Callable[[], str],
) -> Tree:
    """Make the tree of a server, which nobody has started yet.

    Args:
        parts: what the server has.
        database: is open.
        store: the inbox in it.
        neighbours: the other nodes, where the database is shared.
        clock: the time of what is written.
        pid_key: the database's secret, under which pids and cursors are issued.
        is_stopping: whether the server was told to stop.
        url: where the server listens, once it does.
    """
    settings, telemetry, now = parts.settings, parts.telemetry, parts.now
    pids = PidIssuer(pid_key, parts.random_bytes)
    users = Users(
        store if neighbours is None else neighbours.tails,
        pids,
        settings,
        telemetry,
        lambda: router,
        parts.rng,
        accounts_known_for=inf if neighbours is None else KNOWN_FOR,
    )
    follower = None if neighbours is None else neighbours.follow(users, lambda: alarm, settings.history_days)
    audience = users if follower is None else follower
    key_file = KeyFile(settings, parts.authenticator, users.drop_keys, telemetry)
    has_keys = file_of(settings) is not None
    tls_files = None if parts.tls is None else TlsFiles(settings, parts.tls, telemetry, now)
    observer = TreeObserver(telemetry, users, lambda: alarm.bring_forward(AT_ONCE))
    keeping = Keeping(
        history_days=settings.history_days,
        event_days=settings.event_days,
        suppression_days=settings.suppression_days,
    )
    router_spec = ActorSpec(
        "router",
        lambda: Router(store, audience, telemetry, settings.commit_batch, settings.commit_delay, alarm.bring_forward),
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
        lambda: Retention(
            Asking(router, telemetry),
            store.stale_import,
            store.reclaim_space,
            users,
            keeping,
            clock,
            clock.is_settled,
        ),
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
            ServiceSpec("announcer", lambda: users.announcer),
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
            *([] if neighbours is None else [neighbours.registration(users, url, now)]),
        ],
        on_event=observer.observe,
        rng=parts.rng,
    )
    router: CommandRef = command_ref(root.ref(router_spec))
    alarm = Alarm(root.ref(clock_spec))
    paces = Paces(settings)
    engine = _engine(parts, users, router, paces, clock)
    survey = Survey(root, users, database.statistics, parts.lag, telemetry, now, store.names, neighbours)
    api = Api(
        authenticator=parts.authenticator,
        router=router,
        users=users,
        store=store,
        settings=settings,
        telemetry=telemetry,
        paces=paces,
        ready=Readiness(is_stopping, database, lambda: root.ref(router_spec).statistics(), telemetry).reason,
        exposition=Exposition(root, users, parts.lag, parts.unproven, telemetry),
        survey=survey,
        seal=Seal(pid_key),
        concerns=[horizon.concern] if neighbours is None else [horizon.concern, neighbours.concern],
    )
    listener = _listen(parts, engine, Routes(api))
    watched = tuple(each for each in (key_file if has_keys else None, tls_files) if each is not None)
    return Tree(root, router, engine, listener, observer, watched)


def _engine(
    parts: Parts, users: Users, router: CommandRef, paces: Paces, clock: Callable[[], datetime]
) -> EngineServer:
    settings, telemetry = parts.settings, parts.telemetry

    def random_token() -> str:
        return url_safe(parts.random_bytes(TOKEN_BYTES)).decode()

    def shows_token(request: Request) -> bool:
        """Whether a handshake brings a good token in `Authorization`: stock clients send it with `extraHeaders`."""
        try:
            bearer_of(request, parts.authenticator)
        except Unauthorized:
            return False
        return True

    services = Services(
        authenticator=parts.authenticator,
        users=users,
        router=router,
        paces=paces,
        settings=settings,
        telemetry=telemetry,
        random_token=random_token,
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
        origins=parts.origins,
        random_token=random_token,
        telemetry=parts.observer,
        unproven=parts.unproven,
        proven=parts.proven,
        shows_proof=shows_token,
    )


def _listen(parts: Parts, engine: EngineServer, routes: Routes) -> Listener:
    settings, telemetry = parts.settings, parts.telemetry
    return Listener(
        Application(engine, parts.site, routes, parts.origins, telemetry),
        limits=HttpLimits(unproven_timeout=settings.unproven_timeout),
        proxies=TrustedProxies(settings.trusted_proxies) if settings.trusted_proxies else None,
        proxy_protocol=settings.proxy_protocol,
        crowd=engine.crowd,
        proven=parts.proven,
        tls=parts.tls,
        host=settings.host,
        port=settings.port,
        listener_limits=ListenerLimits(
            max_connections=settings.max_connections,
            max_connections_per_address=settings.max_connections_per_address,
            max_buffered=settings.outbox_bytes,
        ),
        telemetry=parts.observer,
        unproven=parts.unproven,
        on_error=parts.observer.failed,
        wall_clock=parts.now,
        network=parts.network,
    )
