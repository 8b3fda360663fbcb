"""A user's inbox at a served process: items, commands, resuming over restarts, resets, and tokens."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import pytest
import trio

from djactors.client import (
    ApiError,
    Archived,
    Connected,
    Counts,
    Deleted,
    Disconnected,
    DjactorsError,
    Inbox,
    InboxItem,
    JobMuted,
    Notification,
    OtherEvent,
    Presence,
    Read,
    Reset,
    Seen,
    Snoozed,
    TokenExpiring,
    TrioClient,
    Unarchived,
    UnreachableError,
    Unread,
    UnreadCount,
    Unsnoozed,
    connect,
)
from djactors.client.socketio import Address, SocketSettings
from djactors.domain.events import NotificationRequested
from djactors.engine import Namespace
from djactors.engine import Socket as ServerSocket
from djactors.protocol import Transport
from tests.client.socketio.memory import MemoryWay
from tests.engine.chat import Chat
from tests.serving import ServedProcess, make_token, service_token, serving
from tests.tls import Pair, client_context

PATIENCE = 120
QUICK = SocketSettings(reconnect_delay=0.02, reconnect_delay_max=0.2, jitter=0.0)
TOKEN = make_token(tenant_id=1, user_id=2)

T = TypeVar("T", bound=InboxItem)


def news(title: str, user_id: int = 2) -> dict[str, Any]:
    return {
        "type": "notification.requested",
        "tenantId": 1,
        "userId": user_id,
        "notificationType": "news",
        "priority": "HIGH",
        "title": title,
        "data": {"a": [1]},
    }


@asynccontextmanager
async def inbox_of(server: ServedProcess, token: Any = TOKEN, **options: Any) -> AsyncIterator[Inbox]:
    """An inbox that is connected, within a test's patience."""
    options.setdefault("settings", QUICK)
    with trio.fail_after(PATIENCE):
        async with connect(server.url, token, **options) as inbox:
            yield inbox


async def until(inbox: Inbox, kind: type[T], is_it: Callable[[T], bool] = lambda item: True) -> T:
    """The next item of this kind."""
    async for item in inbox:
        if isinstance(item, kind) and is_it(item):
            return item
    raise AssertionError


@pytest.mark.parametrize("transport", list(Transport))
async def test_a_notification_comes_and_is_read(tmp_path: Path, transport: Transport) -> None:
    async with serving(tmp_path) as server, inbox_of(server, settings=SocketSettings((transport,))) as inbox:
        connected = await anext(inbox)
        assert connected == Connected(transport=str(transport))
        count = await anext(inbox)
        assert isinstance(count, UnreadCount)
        assert (count.count, count.unseen, count.offset) == (0, 0, ".0")
        await server.publish(news("Hello"))
        notification = await until(inbox, Notification)
        assert (notification.title, notification.type, notification.priority) == ("Hello", "news", "HIGH")
        assert (notification.message, notification.data, notification.replaces) == (None, {"a": [1]}, None)
        assert abs(notification.created_at - datetime.now(UTC)) < timedelta(minutes=1)
        assert await inbox.read(notification.id) == Counts(0, 0)
        read = await until(inbox, Read)
        assert (read.notification_ids, read.all) == ([notification.id], False)


async def test_every_command_is_carried_out_and_told(tmp_path: Path) -> None:
    async with serving(tmp_path) as server, inbox_of(server) as inbox:
        await inbox.wait_connected()
        await server.publish(news("Hello"))
        number = (await until(inbox, Notification)).id
        later = datetime.now(UTC) + timedelta(days=1)
        with pytest.raises(ApiError, match="until"):
            await inbox.snooze(number, datetime(2020, 1, 1, tzinfo=UTC))
        steps: list[tuple[Callable[[], Awaitable[Counts]], type[Any], Counts]] = [
            (lambda: inbox.seen(), Seen, Counts(1, 0)),
            (lambda: inbox.read_all(), Read, Counts(0, 0)),
            (lambda: inbox.unread(number), Unread, Counts(1, 0)),
            (lambda: inbox.archive(number), Archived, Counts(0, 0)),
            (lambda: inbox.unarchive(number), Unarchived, Counts(1, 0)),
            (lambda: inbox.snooze(number, later), Snoozed, Counts(0, 0)),
            (lambda: inbox.unsnooze(number), Unsnoozed, Counts(1, 1)),
            (lambda: inbox.seen(number), UnreadCount, Counts(1, 0)),
            (lambda: inbox.delete(number), Deleted, Counts(0, 0)),
        ]
        for command, told, counts in steps:
            assert await command() == counts, told
            await until(inbox, told)
        await server.publish(
            {"type": "job.created", "tenantId": 1, "title": "Banner", "requesterId": 1, "assigneeId": 2}
        )
        job_id = ((await until(inbox, Notification)).data or {})["jobId"]
        await inbox.mute_job(job_id)
        assert (await until(inbox, JobMuted)).job_id == job_id
        await inbox.unmute_job(job_id)
        assert await inbox.read_job(job_id) == Counts(0, 0)
        await inbox.watch_people()
        async with inbox_of(server, make_token(tenant_id=1, user_id=9)):
            presence = await until(inbox, Presence)
            assert (presence.user_id, presence.connected) == (9, True)
        await inbox.unwatch_people()
        with pytest.raises(ApiError, match="not_found: not found") as caught:
            await inbox.read(number)
        assert caught.value.code == "not_found"
        with pytest.raises(ValueError, match="until: has no time zone"):
            await inbox.snooze(number, datetime(2030, 1, 1))


async def test_the_list_is_paged_and_narrowed(tmp_path: Path) -> None:
    async with serving(tmp_path) as server, inbox_of(server) as inbox:
        for number in range(5):
            await server.publish(news(f"news {number}"))
        first = await inbox.list(limit=3)
        assert [item.title for item in first.items] == ["news 4", "news 3", "news 2"]
        assert (first.unread_count, first.items[0].is_read, first.items[0].read_at) == (5, False, None)
        rest = await inbox.list(limit=3, before=first.next_before, unread=True, type="news", priority="HIGH")
        assert ([item.title for item in rest.items], rest.next_before) == (["news 1", "news 0"], None)
        assert (await inbox.list(query="3 new")).items[0].title == "news 3"
        assert (await inbox.list(view="archived")).items == []
        with pytest.raises(ApiError, match="limit") as caught:
            await inbox.list(limit=101)
        assert caught.value.status == 400


class Way:
    """The way to whichever server lives now."""

    def __init__(self) -> None:
        self.server: ServedProcess | None = None

    async def __call__(self, address: Address) -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        if self.server is None:
            raise OSError("no server")
        return await trio.open_tcp_stream("127.0.0.1", int(self.server.url.rsplit(":", 1)[1]))


@pytest.mark.parametrize("transports", [(Transport.WEBSOCKET,), (Transport.POLLING,)], ids=["websocket", "polling"])
async def test_nothing_is_missed_and_nothing_comes_twice_over_kills_of_the_server(
    tmp_path: Path, transports: tuple[Transport, ...]
) -> None:
    way, titles, dropped = Way(), [], 0
    settings = SocketSettings(transports, reconnect_delay=0.02, reconnect_delay_max=0.2)
    with trio.fail_after(PATIENCE):
        async with connect("http://server.test", TOKEN, settings=settings, open_stream=way) as inbox:

            async def take(count: int) -> None:
                nonlocal dropped
                while len(titles) < count:
                    item = await anext(inbox)
                    assert not isinstance(item, Reset)
                    dropped += isinstance(item, Disconnected) and item.attempt == 0
                    if isinstance(item, Notification):
                        titles.append(item.title)

            for life in range(2):
                # The server that leaves this block is killed with `kill -9`.
                async with serving(tmp_path) as way.server:
                    await inbox.wait_connected()
                    for number in range(10):
                        await way.server.publish(news(f"{life}.{number}"))
                    await take(10 * life + 3)
                way.server = None
            async with serving(tmp_path) as way.server:
                await take(20)
    assert titles == [f"{life}.{number}" for life in range(2) for number in range(10)]
    # The last end of a server may come behind the last title.
    assert dropped >= 1


async def test_a_program_goes_on_behind_the_item_that_it_has_dealt_with(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        async with inbox_of(server) as inbox:
            page = await inbox.list()
        for number in range(3):
            await server.publish(news(f"news {number}"))
        async with inbox_of(server, since=page.offset) as inbox:
            first = await until(inbox, Notification)
        async with inbox_of(server, since=first.offset, tenant_id=1) as inbox:
            rest = [await until(inbox, Notification) for _ in range(2)]
        assert [item.title for item in [first, *rest]] == ["news 0", "news 1", "news 2"]


async def test_who_cannot_be_told_what_was_missed_is_reset(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        await server.publish(news("one"))
        async with inbox_of(server, since="AAAAAAAAAAA.77") as inbox:
            assert isinstance(await anext(inbox), Connected)
            reset = await anext(inbox)
            assert isinstance(reset, Reset)
            page = await inbox.list()
            assert [item.title for item in page.items] == ["one"]
            assert reset.offset == page.offset


async def test_a_token_that_expires_is_renewed_before(tmp_path: Path) -> None:
    made: list[str] = []

    async def token() -> str:
        await trio.lowlevel.checkpoint()
        made.append(make_token(tenant_id=1, user_id=2, ttl=61 if not made else 3600))
        return made[-1]

    # The server looks at its tokens at each heartbeat.
    environment = {"DJACTORS_PING_INTERVAL": "0.2"}
    async with serving(tmp_path, environment=environment) as server, inbox_of(server, token) as inbox:
        warning = await until(inbox, TokenExpiring)
        assert warning.expires_at > datetime.now(UTC)
        while len(made) < 2:
            await trio.sleep(0.01)
        assert (await inbox.read_all()).count == 0


async def test_an_expired_token_is_replaced_by_the_function(tmp_path: Path) -> None:
    tokens = [make_token(tenant_id=1, user_id=2, ttl=-120), TOKEN]
    async with serving(tmp_path) as server, inbox_of(server, lambda: tokens.pop(0)) as inbox:
        assert isinstance(await anext(inbox), Connected)
        assert tokens == []


async def test_an_expired_token_without_a_function_is_told(tmp_path: Path) -> None:
    expired = make_token(tenant_id=1, user_id=2, ttl=-120)
    async with serving(tmp_path) as server, inbox_of(server, expired) as inbox:
        with pytest.raises(ApiError, match="Unauthorized") as caught:
            await anext(inbox)
        assert caught.value.code == "token_expired"
        with pytest.raises(ApiError):
            await inbox.read(1)
        with pytest.raises(ApiError) as asked:
            await inbox.list()
        assert asked.value.status == 401


async def test_a_refusal_that_no_token_mends_is_told_at_once(tmp_path: Path) -> None:
    async with (
        serving(tmp_path) as server,
        inbox_of(server, lambda: service_token(1), settings=SocketSettings()) as inbox,
    ):
        with pytest.raises(ApiError) as caught:
            await anext(inbox)
        assert caught.value.code == "token_without_user"


async def test_a_token_is_taken_by_hand_as_well(tmp_path: Path) -> None:
    async with serving(tmp_path) as server, inbox_of(server) as inbox:
        expires = await inbox.refresh(make_token(tenant_id=1, user_id=2, ttl=7200))
        assert timedelta(hours=1) < expires - datetime.now(UTC) < timedelta(hours=3)
        with pytest.raises(ApiError):
            await inbox.refresh(make_token(tenant_id=1, user_id=3))
        with pytest.raises(DjactorsError, match="token: is no JWT"):
            await inbox.refresh("two words")


async def test_a_token_that_is_missing_in_the_environment_is_named() -> None:
    missing: Any = None
    with pytest.raises(DjactorsError, match="token: is no JWT"):
        async with connect("http://127.0.0.1:1", missing, settings=QUICK):
            pass


async def test_a_command_that_is_not_answered_in_time_says_so() -> None:
    with trio.fail_after(PATIENCE):
        async with connect("http://127.0.0.1:1", TOKEN, settings=QUICK) as inbox:
            with pytest.raises(UnreachableError, match="notification:read"):
                await inbox.read(1, timeout=0.2)
            gone = await anext(inbox)
            assert isinstance(gone, Disconnected)
            assert (gone.reason, gone.attempt) == ("unreachable", 1)


async def test_all_clients_speak_tls_and_trust_only_whom_they_are_told_to(tmp_path: Path) -> None:
    pair = Pair(tmp_path)
    async with serving(tmp_path, environment=pair.environment) as server:
        assert server.url.startswith("https://")
        for transports in ((Transport.WEBSOCKET,), (Transport.POLLING,)):
            settings = SocketSettings(transports)
            async with inbox_of(server, settings=settings, ssl_context=client_context()) as inbox:
                await inbox.wait_connected()
                async with TrioClient(server.url, service_token(1), ssl_context=client_context()) as client:
                    await client.publish(
                        NotificationRequested(
                            tenant_id=1, user_id=2, notification_type="news", priority="LOW", title="secret"
                        )
                    )
                assert (await until(inbox, Notification)).title == "secret"
                assert (await inbox.list()).items[0].title == "secret"
        async with inbox_of(server) as stranger:
            gone = await anext(stranger)
            assert isinstance(gone, Disconnected)
            assert (gone.reason, "CERTIFICATE_VERIFY_FAILED" in gone.detail) == ("unreachable", True)


async def test_only_what_changes_nothing_is_repeated_when_the_connection_breaks(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    namespace, asked = Namespace(), []

    @namespace.on("notification:read")
    @namespace.on("notification:read-all")
    async def answer(socket: ServerSocket, payload: dict[str, Any]) -> dict[str, Any]:
        asked.append(payload)
        if len(asked) % 2:
            way.cut()
            await trio.sleep_forever()
        return {"ok": True, "count": 3, "unseen": 1}

    chat = Chat(nursery, namespace)
    await nursery.start(chat.server.run)
    way = MemoryWay(chat)
    async with connect("http://server.test:3000", TOKEN, settings=QUICK, open_stream=way) as inbox:
        assert await inbox.read(5) == Counts(3, 1)
        assert asked == [{"notificationId": 5}] * 2
        with pytest.raises(UnreachableError, match="notification:read-all: the connection ended before the ack"):
            await inbox.read_all()
        assert asked[2:] == [{}]


def test_what_a_newer_server_says_is_passed_on() -> None:
    from djactors.client._notifications import item_of

    assert item_of("news:flash", {"a": 1}, "m.1") == OtherEvent(name="news:flash", data={"a": 1}, offset="m.1")
    shape = item_of("notification:new", {"id": "one"}, "m.2")
    assert shape == OtherEvent(name="notification:new", data={"id": "one"}, offset="m.2")
    count = item_of("notification:unread-count", {"count": 1, "unseen": 0, "more": True}, "m.3")
    assert count == UnreadCount(count=1, unseen=0, offset="m.3")
