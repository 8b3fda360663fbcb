"""Which token is in use while another one is handed in, and whose inbox it is: by hand, by a function, over cuts."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import jwt
import pytest
import trio
from trio.testing import MockClock

from djactors.client import ApiError, Disconnected, DjactorsError, Inbox, TokenExpiring, UnreachableError, connect
from djactors.client._tokens import Tokens
from djactors.client.socketio import Address, SocketSettings
from djactors.engine import ConnectRefused, Namespace
from djactors.engine import Socket as ServerSocket
from tests.client.socketio.memory import MemoryWay
from tests.engine.chat import Chat
from tests.serving import ServedProcess, make_token, serving

PATIENCE = 60
QUICK = SocketSettings(reconnect_delay=0.02, reconnect_delay_max=0.2, jitter=0.0)
URL = "http://server.test:3000"


def token_of(user: object, tenant: object = 1, number: int = 0) -> str:
    """A token that only its claims matter of."""
    claims = base64.urlsafe_b64encode(json.dumps({"userId": user, "tenantId": tenant, "n": number}).encode())
    return f"e30.{claims.decode().rstrip('=')}.c2ln"


OLD, NEW, FOREIGN = token_of(2), token_of(2, number=1), token_of(3)


class TcpWay:
    """The way to a served process. Its connections can be cut."""

    def __init__(self, server: ServedProcess) -> None:
        self._port = int(server.url.rsplit(":", 1)[1])
        self._streams: list[trio.SocketStream] = []

    async def __call__(self, address: Address) -> trio.abc.Stream:
        self._streams.append(await trio.open_tcp_stream("127.0.0.1", self._port))
        return self._streams[-1]

    async def cut(self) -> None:
        for stream in self._streams:
            await trio.aclose_forcefully(stream)


@pytest.mark.parametrize(
    "other",
    [
        lambda: make_token(tenant_id=1, user_id=92),
        lambda: make_token(tenant_id=2, user_id=91),
        lambda: make_token(tenant_id=1, user_id=91, ttl=-120),
        lambda: make_token(role="service", tenant_id=1),
        lambda: jwt.encode({"userId": 91, "tenantId": 1, "role": "user", "exp": 2**33}, "another secret" * 4),
        lambda: "e30.e30.e30",
        lambda: "garbage",
    ],
    ids=["another user", "another tenant", "expired", "a service", "another secret", "no claims", "garbage"],
)
async def test_a_refused_token_is_not_used(tmp_path: Path, other: Callable[[], str]) -> None:
    async with serving(tmp_path) as server:
        for user, tenant in ((91, 1), (92, 1), (91, 2)):
            await server.publish(
                {
                    "type": "notification.requested",
                    "tenantId": tenant,
                    "userId": user,
                    "notificationType": "news",
                    "priority": "LOW",
                    "title": f"for {user} of {tenant}",
                }
            )
        way = TcpWay(server)
        with trio.fail_after(PATIENCE):
            token = make_token(tenant_id=1, user_id=91)
            async with connect(server.url, token, settings=QUICK, open_stream=way) as inbox:
                await inbox.wait_connected()
                with pytest.raises(ApiError):
                    await inbox.refresh(other())
                assert [item.title for item in (await inbox.list()).items] == ["for 91 of 1"]
                await way.cut()
                while not isinstance(await anext(inbox), Disconnected):
                    pass
                await inbox.wait_connected()
                [mine] = (await inbox.list()).items
                assert mine.title == "for 91 of 1"
                assert (await inbox.read(mine.id)).count == 0


class Desk:
    """A server in memory that lets in whom it should, and notes the tokens that it is shown."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self.shown: list[str] = []
        self.refreshed: list[str] = []
        self.expired: set[str] = set()
        self.is_silent = False
        self.answers: list[Callable[[], Any]] = []
        namespace = Namespace()
        namespace.on_connect(self._let_in)
        namespace.on("auth:refresh")(self._refresh)
        self.namespace = namespace
        self.chat = Chat(nursery, namespace)
        self.way = MemoryWay(self.chat)

    def _let_in(self, socket: ServerSocket, auth: dict[str, Any]) -> None:
        self.shown.append(auth["token"])
        if auth["token"] in self.expired:
            raise ConnectRefused("Unauthorized", {"code": "token_expired"})

    async def _refresh(self, socket: ServerSocket, payload: dict[str, Any]) -> dict[str, Any]:
        self.refreshed.append(payload["token"])
        if self.is_silent:
            await trio.sleep_forever()
        if self.answers and (answer := self.answers.pop(0)()) is not None:
            return dict(answer)
        return {"ok": True, "expiresAt": "2040-01-01T00:00:00Z"}

    @asynccontextmanager
    async def inbox(self, token: Any = OLD) -> AsyncIterator[Inbox]:
        async with connect(URL, token, settings=QUICK, open_stream=self.way) as inbox:
            await inbox.wait_connected()
            yield inbox

    async def come_back(self, inbox: Inbox) -> str:
        """Cut the connection; the token that the next one shows."""
        count = len(self.shown)
        self.way.cut()
        while len(self.shown) == count:
            await trio.sleep(0.1)
        await inbox.wait_connected()
        return self.shown[-1]


@pytest.fixture
async def desk(autojump_clock: MockClock, nursery: trio.Nursery) -> Desk:
    desk = Desk(nursery)
    await nursery.start(desk.chat.server.run)
    return desk


async def test_a_token_is_used_once_the_server_has_taken_it(desk: Desk) -> None:
    async with desk.inbox() as inbox:
        assert (await inbox.refresh(NEW)).year == 2040
        assert await desk.come_back(inbox) == NEW


REFUSAL = {"error": {"code": "unauthorized", "message": "expired"}}


@pytest.mark.parametrize("ending", ["refused", "timed out", "cancelled", "of nobody"])
async def test_a_token_that_the_server_has_not_taken_is_not_used(desk: Desk, ending: str) -> None:
    given = token_of(None, None) if ending == "of nobody" else NEW
    async with desk.inbox() as inbox:
        if ending in ("refused", "of nobody"):
            desk.answers = [lambda: REFUSAL]
            with pytest.raises(ApiError, match="expired"):
                await inbox.refresh(given)
        elif ending == "timed out":
            desk.is_silent = True
            with pytest.raises(UnreachableError, match="auth:refresh: no ack within"):
                await inbox.refresh(given, timeout=0.5)
        else:
            desk.is_silent = True
            with trio.move_on_after(1) as scope:
                await inbox.refresh(given)
            assert scope.cancelled_caught
        assert desk.refreshed == [given]
        assert await desk.come_back(inbox) == OLD


async def test_a_refresh_that_waits_for_a_connection_in_vain_changes_nothing(desk: Desk) -> None:
    async with desk.inbox() as inbox:
        desk.way.is_down = True
        desk.way.cut()
        with pytest.raises(UnreachableError, match="auth:refresh"):
            await inbox.refresh(NEW, timeout=3)
        desk.way.is_down = False
        await inbox.wait_connected()
        assert desk.shown == [OLD, OLD]


async def test_a_connection_that_is_lost_before_the_answer_is_made_by_the_former_token(desk: Desk) -> None:
    def lose() -> None:
        desk.way.cut()

    async with desk.inbox() as inbox:
        desk.answers = [lose]
        await inbox.refresh(NEW)
        # The second attempt was the one that the server answered.
        assert (desk.shown, desk.refreshed) == ([OLD, OLD], [NEW, NEW])
        assert await desk.come_back(inbox) == NEW


async def test_a_token_that_expires_during_a_refresh_is_followed_by_the_new_one(desk: Desk) -> None:
    def lose() -> None:
        desk.expired.add(OLD)
        desk.way.cut()

    async with desk.inbox() as inbox:
        desk.answers = [lose]
        await inbox.refresh(NEW)
        assert desk.shown == [OLD, OLD, NEW]


@pytest.mark.parametrize("foreign", [FOREIGN, token_of(2, tenant=2), token_of("3"), token_of(3, tenant=None)])
async def test_a_token_of_another_person_is_never_even_sent(desk: Desk, foreign: str) -> None:
    async with desk.inbox() as inbox:
        with pytest.raises(ApiError, match=r"the token is somebody else's: it is of user [23] of tenant") as caught:
            await inbox.refresh(foreign)
        assert caught.value.code == "unauthorized"
        assert desk.refreshed == []
        assert await desk.come_back(inbox) == OLD


async def test_a_function_that_returns_another_persons_token_ends_the_inbox(desk: Desk) -> None:
    tokens = [OLD, FOREIGN]
    desk.expired.add(OLD)
    with pytest.raises(ApiError, match="somebody else's: it is of user 3 of tenant 1, and the first one was of user 2"):
        async with desk.inbox(lambda: tokens.pop(0)):
            pass
    assert desk.shown == [OLD]


async def test_a_function_that_returns_another_persons_token_ends_the_inbox_at_the_warning(desk: Desk) -> None:
    tokens = [OLD, FOREIGN]

    async def follow() -> None:
        async with desk.inbox(lambda: tokens.pop(0)) as inbox:
            desk.namespace.emit("auth:expiring", {"expiresAt": "2040-01-01T00:00:00Z"}, "m.1")
            async for item in inbox:
                assert not isinstance(item, Disconnected)

    with pytest.raises(ApiError, match="somebody else's"):
        await follow()
    assert (desk.shown, desk.refreshed) == ([OLD], [])


async def test_a_function_whose_token_is_refused_is_asked_again_and_the_former_one_stays(desk: Desk) -> None:
    tokens = [OLD, NEW, token_of(2, number=2)]
    desk.answers = [lambda: REFUSAL]
    async with desk.inbox(lambda: tokens.pop(0)) as inbox:
        desk.namespace.emit("auth:expiring", {"expiresAt": "2040-01-01T00:00:00Z"}, "m.1")
        while not isinstance(await anext(inbox), TokenExpiring):
            pass
        while not desk.refreshed:
            await trio.sleep(0.1)
        assert await desk.come_back(inbox) == OLD
        while tokens:
            await trio.sleep(0.1)
        await trio.testing.wait_all_tasks_blocked()
        assert await desk.come_back(inbox) == token_of(2, number=2)


@pytest.mark.parametrize("first", ["garbage", "a.!.c", "a.e30.c", "a.W10.c", "a." + "W" * 40_000 + ".c"])
async def test_a_first_token_that_cannot_be_read_binds_to_nobody(first: str) -> None:
    tokens = Tokens(first, of_one_person=True)
    tokens.replace(OLD)
    with pytest.raises(DjactorsError, match="somebody else's"):
        tokens.checked(FOREIGN)


async def test_services_may_change_whom_they_speak_for() -> None:
    tokens = iter([token_of(None, 1), token_of(None, 2)])
    served = Tokens(lambda: next(tokens))
    assert await served.get() != await served.get(fresh=True)


async def test_of_two_tokens_that_are_offered_one_is_shown_when_the_former_is_refused(desk: Desk) -> None:
    other = token_of(2, number=2)
    async with desk.inbox() as inbox:
        desk.way.is_down = True
        desk.expired.add(OLD)
        desk.way.cut()

        async def offer_another() -> None:
            with pytest.raises(UnreachableError):
                await inbox.refresh(other, timeout=2)

        async def come_back() -> None:
            await trio.sleep(5)
            desk.way.is_down = False

        async with trio.open_nursery() as meanwhile:
            meanwhile.start_soon(offer_another)
            meanwhile.start_soon(come_back)
            await inbox.refresh(NEW, timeout=30)
    assert desk.shown[-1] == NEW
