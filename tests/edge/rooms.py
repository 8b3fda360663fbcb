"""The rooms behind the port, without the port: a real store, router and user actors, under a clock that is set."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import msgspec
import trio

from djactors.actors.command_ref import CommandRef, command_ref
from djactors.actors.pid import PidIssuer
from djactors.actors.router import Router
from djactors.actors.users import Users
from djactors.config import Settings
from djactors.domain.commands import Introduce
from djactors.domain.limits import Limits
from djactors.domain.permissions import Person
from djactors.edge.api import Api
from djactors.edge.auth import authenticator
from djactors.edge.exposition import Exposition
from djactors.edge.gateway import Services
from djactors.edge.paces import Paces
from djactors.edge.routes import Routes
from djactors.edge.seal import Seal
from djactors.edge.survey import Survey
from djactors.inbox import schema
from djactors.inbox.inbox import Inbox
from djactors.kernel import ActorSpec, ServiceSpec, Supervisor
from djactors.loop_lag import LoopLag
from djactors.net import Request, Response, UnprovenBytes
from djactors.operations.tokens import sign
from djactors.store.database import Database
from djactors.store.engines import Place
from djactors.store.threads import InlineRunner
from djactors.telemetry import Telemetry, make_logger
from tests.description import contract
from tests.offsets import offset_in

SECRET = "a-secret-for-tests-only-0123456789abcdef"
START = datetime(2026, 1, 27, 10, 30, tzinfo=UTC)
STOP_SECONDS = 10


class Clock:
    def __init__(self) -> None:
        self.moment = START

    def now(self) -> datetime:
        return self.moment

    def unix(self) -> float:
        return self.moment.timestamp()

    def advance(self, seconds: float) -> None:
        self.moment += timedelta(seconds=seconds)


class Answer(msgspec.Struct):
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return msgspec.json.decode(self.body)

    @property
    def error(self) -> str:
        """The code of an error, which has the contract's shape and no more."""
        content = self.json
        assert set(content) == {"error"}
        assert set(content["error"]) == {"code", "message"}
        assert content["error"]["message"]
        return str(content["error"]["code"])


class Rooms:
    """What a test uses: `request` for HTTP, `services` for sockets."""

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        database: Database,
        store: Any,
        root: Supervisor,
        users: Users,
        router: CommandRef,
        telemetry: Telemetry,
        log: io.StringIO,
    ) -> None:
        self.settings = settings
        self.clock = clock
        self.store = store
        self.router = router
        self.path = Path(database.engine.name)
        self._engine = database.engine
        self.not_ready: str | None = None
        self.concern: str | None = None
        self.log = log
        self.telemetry = telemetry
        self.root = root
        self.users = users
        self.lag = LoopLag()
        self._sids = 0
        door = authenticator(settings, clock.now)
        paces = Paces(settings)
        self.routes = Routes(
            Api(
                authenticator=door,
                router=router,
                users=users,
                store=store,
                settings=settings,
                telemetry=telemetry,
                paces=paces,
                ready=self._readiness,
                exposition=Exposition(root, users, LoopLag(), UnprovenBytes(), telemetry),
                survey=Survey(root, users, database.statistics, self.lag, telemetry, clock.now, store.names),
                seal=Seal(b"k" * 32),
                concerns=[lambda: self.concern],
            )
        )
        self.services = Services(
            authenticator=door,
            users=users,
            router=router,
            paces=paces,
            settings=settings,
            telemetry=telemetry,
            random_token=self._sid,
            now=clock.now,
        )

    async def _readiness(self) -> str | None:
        await trio.lowlevel.checkpoint()
        return self.not_ready

    def _sid(self) -> str:
        self._sids += 1
        return f"sid-{self._sids}"

    def token(self, tenant_id: int | None = None, user_id: int | None = None, *, ttl: int = 3600, **more: Any) -> str:
        return sign(self.settings, tenant_id=tenant_id, user_id=user_id, ttl=ttl, now=self.clock.unix(), **more)

    def service(self, tenant_id: int | None = None) -> str:
        return self.token(tenant_id, role="service")

    async def request(
        self,
        method: str,
        path: str,
        *,
        token: str | None = None,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        peer: str = "127.0.0.1",
    ) -> Answer:
        path, _, query = path.partition("?")
        fields = dict(headers or {})
        if token is not None:
            fields["authorization"] = f"Bearer {token}"
        content = body if isinstance(body, bytes) else b"" if body is None else msgspec.json.encode(body)
        pairs = dict(pair.split("=", 1) for pair in query.split("&")) if query else {}
        response: Response = await self.routes.handle(Request(method, path, pairs, fields, content, peer=peer))
        response.encode()
        answered = dict(response.headers)
        contract.check_answer(method, path, response.status, answered, response.body)
        return Answer(response.status, answered, response.body)

    async def publish(self, event: Mapping[str, Any], **options: Any) -> Answer:
        options.setdefault("token", self.service())
        return await self.request("POST", "/api/events", body=event, **options)

    async def notify(self, tenant_id: int = 1, user_id: int = 7, **fields: Any) -> int:
        """Put a notification into an inbox; returns its id."""
        answer = await self.publish(notification(tenant_id, user_id, **fields))
        assert answer.status == 201, answer.body
        return int(answer.json["notifications"][0]["id"])

    async def introduce(self, tenant_id: int, *user_ids: int, role: str = "user") -> Answer:
        """Have a service make people known, without whom nobody may name them; the answer to the last of them."""
        for user_id in user_ids:
            event = {"tenantId": tenant_id, "userId": user_id, "name": f"Known {user_id}", "role": role}
            answer = await self.publish({"type": "user.upserted", **event})
        return answer

    async def arrive(self, tenant_id: int, *user_ids: int) -> None:
        """Have people come by tokens of their own, so that no service has given them a role."""
        for user_id in user_ids:
            person = Person(user_id, "user", f"Known {user_id}")
            await self.router.ask_nowait(Introduce(tenant_id, person), self.settings.command_timeout)

    def stored_users(self, user_id: int) -> list[tuple[int, str, str]]:
        """The tenant, the name and the role of each user who has that number."""
        query = "SELECT tenant_id, name, role FROM users WHERE id = ? ORDER BY tenant_id"
        with self._engine.reading() as connection:
            return connection.execute(query, (user_id,)).fetchall()

    async def inbox(self, tenant_id: int = 1, user_id: int = 7, query: str = "?limit=100") -> Any:
        token = self.token(tenant_id, user_id)
        answer = await self.request("GET", f"/api/notifications{query}", token=token)
        assert answer.status == 200, answer.body
        return answer.json

    async def offset(self, tenant_id: int = 1) -> str:
        """Moves with whatever is stored of a tenant that clients can see."""
        answer = await self.request("GET", "/api/notifications/unread-count", token=self.token(tenant_id, 1))
        return str(answer.json["offset"])

    def at(self, seq: int, tenant_id: int = 1) -> str:
        """The offset of the change of this number."""
        with self._engine.reading() as connection:
            return str(offset_in(connection, seq, tenant_id))

    @property
    def entries(self) -> list[dict[str, Any]]:
        """What was logged, each a line of JSON."""
        return [msgspec.json.decode(line) for line in self.log.getvalue().splitlines()]


def notification(tenant_id: int = 1, user_id: int = 7, **fields: Any) -> dict[str, Any]:
    return {
        "type": "notification.requested",
        "tenantId": tenant_id,
        "userId": user_id,
        "notificationType": "announcement",
        "priority": "LOW",
        "title": "Hello",
        **fields,
    }


class Broken:
    """A store that raises, or does not answer; what it raises can be changed."""

    def __init__(self, store: Inbox) -> None:
        self._store = store
        self.error: Exception | None = None
        self.hangs = False

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._store, name)

        async def call(*args: Any, **options: Any) -> Any:
            if self.hangs:
                await trio.sleep_forever()
            if self.error is not None:
                await trio.lowlevel.checkpoint()
                raise self.error
            return await method(*args, **options)

        return call


@asynccontextmanager
async def rooms(folder: Path, place: Place | None = None, **settings: Any) -> AsyncIterator[Rooms]:
    """Open them on a new database in `folder`, or on the one at `place`; settings as keywords.

    Nobody is too fast or told too much here, and no commit waits for company.
    """
    generous = {"emit_burst": 100_000, "read_burst": 100_000, "daily_limit": 100_000, "commit_delay": 0}
    path = folder / "inbox.db" if place is None else place
    configured = Settings(jwt_secret=SECRET, database=str(path), **{**generous, **settings})
    clock = Clock()
    schema.apply(path, now=clock.now)
    async with await Database.open(path, threads=InlineRunner) as database:
        store = Broken(Inbox(database, clock.now, Limits(daily_limit=configured.daily_limit)))
        nonces = count()
        pids = PidIssuer(b"k" * 32, lambda size: next(nonces).to_bytes(size, "big"))
        # What the edge logs can be read; all count in one place.
        log = io.StringIO()
        told = Telemetry(make_logger("json", "debug", log))
        behind = Telemetry(metrics=told.metrics)
        users = Users(store, pids, configured, behind, lambda: router)
        router_spec = ActorSpec(
            "router",
            lambda: Router(store, users, behind, configured.commit_batch, configured.commit_delay),
            mailbox_capacity=configured.router_mailbox,
        )
        root = Supervisor(
            "test",
            [
                ServiceSpec("users", users.supervisor),
                ServiceSpec("announcer", lambda: users.announcer),
                router_spec,
                ServiceSpec("presence", lambda: users.onlookers),
            ],
        )
        router = command_ref(root.ref(router_spec))
        async with trio.open_nursery() as nursery:
            await nursery.start(root.run)
            yield Rooms(configured, clock, database, store, root, users, router, told, log)
            root.request_stop()
            nursery.cancel_scope.deadline = trio.current_time() + STOP_SECONDS
