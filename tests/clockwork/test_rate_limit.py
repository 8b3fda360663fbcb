"""How fast anybody may go: what a socket and an address are told that go too fast."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
import trio

from djactors.config import Settings
from djactors.domain.accounts import UNTOLD, Account
from djactors.edge.api import Api
from djactors.edge.auth import authenticator
from djactors.edge.gateway import MAX_REFUSALS, MAX_REFUSED_CONNECTS, Gateway, Services
from djactors.edge.paces import Paces
from djactors.edge.routes import Routes
from djactors.edge.seal import Seal
from djactors.kernel import AskTimeout
from djactors.net import Request
from djactors.operations.tokens import sign
from djactors.protocol import EncodedPacket
from djactors.telemetry import Telemetry, make_logger

SECRET = "a-secret-for-tests-only-0123456789abcdef"
BEGINNING = datetime.fromtimestamp(0, UTC)


# A socket


class FakeSession:
    """A session that notes what it is sent."""

    def __init__(self) -> None:
        self.peer = "127.0.0.1"
        self.transport = "websocket"
        self.reason: str | None = None
        self.owner: tuple[int, int] | None = None
        self.sent: list[str] = []
        self.closed: list[str] = []

    def prove(self, owner: tuple[int, int] | None = None) -> None:
        self.owner = owner

    def send(self, packets: Sequence[EncodedPacket]) -> None:
        self.sent += [packet.payload.decode() for packet in packets]

    def close(self, reason: str) -> None:
        self.reason = self.reason or reason
        self.closed.append(reason)


class SilentRouter:
    """Takes everything and answers nobody."""

    def __init__(self) -> None:
        self.requests: list[object] = []

    def request_nowait(self, message: object, reply: object) -> None:
        self.requests.append(message)

    async def ask_nowait(self, message: object, timeout: float) -> object:
        await trio.sleep(timeout)
        raise AskTimeout("router did not answer")


class FakeUsers:
    """Lets everybody in at once."""

    def account(self, tenant_id: int, user_id: int) -> Account:
        return UNTOLD

    async def look_up(self, tenant_id: int, user_id: int) -> Account:
        return UNTOLD

    def attach(self, tenant_id: int, person: Any, socket: Any, auth: Any) -> None:
        socket.accept(None, [])

    def detach(self, tenant_id: int, user_id: int, socket: Any) -> None:
        pass


class Line:
    """A gateway and the client at its other end."""

    def __init__(self, *, user_id: int = 2, beside: Line | None = None, **options: Any) -> None:
        settings = Settings(jwt_secret=SECRET, **options)
        self.router = SilentRouter()
        # Those of one server have their buckets in common.
        self.paces = Paces(settings) if beside is None else beside.paces
        services = Services(
            authenticator=authenticator(settings, lambda: BEGINNING),
            users=FakeUsers(),  # type: ignore[arg-type]
            router=self.router,  # type: ignore[arg-type]
            paces=self.paces,
            settings=settings,
            telemetry=Telemetry(make_logger("json", "critical")),
            random_token=lambda: "sid",
            now=lambda: BEGINNING,
        )
        self.session = FakeSession()
        self.gateway = Gateway(self.session, services)  # type: ignore[arg-type]
        self.token = sign(settings, tenant_id=1, user_id=user_id, now=0)

    def connect(self) -> None:
        self.gateway.on_message("0" + msgspec.json.encode({"token": self.token}).decode())

    def emit(self, ack: int) -> None:
        self.gateway.on_message(f'2{ack}["notification:read-all"]')

    def refusals(self) -> list[Any]:
        return [msgspec.json.decode(packet[packet.index("[") :])[0] for packet in self.session.sent if "ok" in packet]


@pytest.fixture
def line() -> Line:
    return Line(emit_rate=20, emit_burst=60)


async def test_a_socket_that_goes_too_fast_is_told_so_in_its_ack(line: Line, autojump_clock):
    line.connect()
    for number in range(60):
        line.emit(number)
    assert len(line.router.requests) == 60
    line.emit(60)
    assert len(line.router.requests) == 60
    [refusal] = line.refusals()
    assert refusal == {
        "ok": False,
        "error": {"code": "too_many_requests", "message": "too many requests: try again in 1 s"},
    }
    await trio.sleep(0.05)
    line.emit(61)
    assert len(line.router.requests) == 61
    assert line.session.closed == []


async def test_a_socket_that_keeps_on_is_closed(line: Line, autojump_clock):
    line.connect()
    for number in range(60 + MAX_REFUSALS - 1):
        line.emit(number)
    assert line.session.closed == []
    line.emit(999)
    assert line.session.closed == ["too_many_requests"]


async def test_a_socket_that_stops_at_a_refusal_now_and_then_stays(autojump_clock):
    line = Line(emit_rate=20, emit_burst=1)
    line.connect()
    for number in range(3 * MAX_REFUSALS):
        await trio.sleep(0.05)
        line.emit(2 * number)
        line.emit(2 * number + 1)
        line.gateway._pending = 0  # the router's answers
    assert line.session.closed == []
    assert len(line.refusals()) == 3 * MAX_REFUSALS


async def test_connecting_and_leaving_in_a_loop_ends_the_session(autojump_clock):
    line = Line(read_rate=20, read_burst=61)
    for _ in range(61):
        line.connect()
        line.gateway.on_message("1")
    assert line.session.closed == []
    line.connect()
    assert line.session.closed == ["too_many_requests"]


async def test_a_session_that_shows_bad_tokens_again_and_again_is_closed(line: Line, autojump_clock):
    line.token = "no token"
    for _ in range(MAX_REFUSED_CONNECTS - 1):
        line.connect()
    assert line.session.closed == []
    line.connect()
    assert line.session.closed == ["too_many_requests"]


async def test_a7_all_sockets_of_a_person_share_one_bucket_and_a_colleague_has_another(autojump_clock):
    one = Line(emit_rate=20, emit_burst=10)
    other, colleague = Line(beside=one), Line(beside=one, user_id=3)
    for line in (one, other, colleague):
        line.connect()
    for number in range(10):
        (one, other)[number % 2].emit(number)
    other.emit(10)
    assert [refusal["error"]["code"] for refusal in other.refusals()] == ["too_many_requests"]
    for number in range(10):
        colleague.emit(number)
    assert (len(colleague.router.requests), colleague.refusals()) == (10, [])


async def test_a7_acks_that_nobody_asked_for_count_as_well(autojump_clock):
    line = Line(emit_rate=20, emit_burst=10)
    line.connect()
    for _ in range(10):
        line.gateway.on_message("31[]")
    line.emit(1)
    assert len(line.refusals()) == 1
    for _ in range(MAX_REFUSALS - 1):
        line.gateway.on_message("31[]")
    assert line.session.closed == ["too_many_requests"]


# HTTP


class Desk:
    """The routes, and a router that nobody reads from."""

    def __init__(self, **options: Any) -> None:
        self.settings = settings = Settings(jwt_secret=SECRET, command_timeout=0.1, **options)
        self.token = sign(settings, role="service", now=0)
        self.user_token = sign(settings, tenant_id=1, user_id=2, now=0)
        self.routes = Routes(
            Api(
                authenticator=authenticator(settings, lambda: BEGINNING),
                router=SilentRouter(),  # type: ignore[arg-type]
                users=FakeUsers(),  # type: ignore[arg-type]
                store=None,  # type: ignore[arg-type]
                settings=settings,
                telemetry=Telemetry(make_logger("json", "critical")),
                paces=Paces(settings),
                ready=trio.lowlevel.checkpoint,
                exposition=None,  # type: ignore[arg-type]
                survey=None,  # type: ignore[arg-type]
                seal=Seal(b"k" * 32),
            )
        )

    async def post(self, path: str, body: Any, peer: str = "10.0.0.1", token: str | None = None) -> tuple[int, str]:
        """Status and Retry-After; 503 is what an event gets that nobody commits."""
        request = Request(
            "POST",
            path,
            headers={"authorization": f"Bearer {token or self.token}"},
            body=msgspec.json.encode(body),
            peer=peer,
        )
        response = await self.routes.handle(request)
        return response.status, dict(response.headers).get("retry-after", "")


EVENT = {"type": "user.upserted", "tenantId": 1, "userId": 3, "name": "Jo", "role": "user"}


async def test_a_backend_that_posts_too_fast_is_told_when_to_come_back_whatever_its_address(autojump_clock):
    desk = Desk(post_rate=0.2, post_burst=2)
    assert [(await desk.post("/api/events", EVENT))[0] for _ in range(2)] == [503, 503]
    status, retry_after = await desk.post("/api/events", EVENT, peer="10.0.0.2")
    assert (status, retry_after) == (429, "5")
    await trio.sleep(5)
    assert (await desk.post("/api/events", EVENT))[0] == 503


async def test_a7_backends_are_told_apart_by_tenant_and_not_by_token(autojump_clock):
    desk = Desk(post_rate=1, post_burst=1)
    tenants = [sign(desk.settings, tenant_id=1, role="service", ttl=ttl, now=0) for ttl in (60, 61)]
    assert [(await desk.post("/api/events", EVENT, token=token))[0] for token in tenants] == [503, 429]
    assert (await desk.post("/api/events", EVENT))[0] == 503, "the installation is another sender"


async def test_a7_a_person_has_one_bucket_for_all_tokens_and_routes_that_change_something(autojump_clock):
    desk = Desk(emit_rate=0.5, emit_burst=3)
    again = sign(desk.settings, tenant_id=1, user_id=2, ttl=1234, now=0)
    answers = [
        await desk.post("/api/jobs", {"title": "x"}, token=desk.user_token),
        await desk.post("/api/jobs/1/complete", {}, token=again, peer="10.0.0.2"),
        await desk.post("/api/notifications/read-all", {}, token=again),
        await desk.post("/api/jobs", {"no": "such field"}, token=desk.user_token),
    ]
    assert [status for status, _ in answers] == [503, 503, 503, 429]
    assert answers[-1][1] == "2"
    colleague = sign(desk.settings, tenant_id=1, user_id=3, now=0)
    assert (await desk.post("/api/jobs", {"title": "x"}, token=colleague))[0] == 503
    await trio.sleep(2)
    assert (await desk.post("/api/jobs", {"title": "x"}, token=desk.user_token))[0] == 503


async def test_a_batch_counts_for_as_many_as_it_holds(autojump_clock):
    desk = Desk(post_rate=1, post_burst=10)
    assert (await desk.post("/api/events/batch", [EVENT] * 8))[0] == 503
    assert (await desk.post("/api/events/batch", [EVENT] * 8)) == (429, "6")
    assert (await desk.post("/api/events", EVENT))[0] == 503


async def test_who_may_not_publish_takes_nothing_from_those_who_may(autojump_clock):
    desk = Desk(post_rate=1, post_burst=1)
    assert (await desk.post("/api/events", EVENT, token=desk.user_token))[0] == 403
    assert (await desk.post("/api/events", EVENT))[0] == 503
