"""A server inside another Trio program: it starts, fails, stops and is cancelled without taking its host along."""

from __future__ import annotations

import io
import re
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio

from djactors.actors.users import Users
from djactors.app import Server, ServerFailed, ServerNotStarted
from djactors.config import SettingError, Settings
from djactors.domain.commands import Published, Recorded
from djactors.domain.errors import Code, Refused
from djactors.domain.events import DomainEvent, JobAssigned, NotificationRequested
from djactors.edge import inbox_routes
from djactors.kernel import ActorCrashed, ActorStopped
from djactors.store.errors import DatabaseLocked, MigrationError
from djactors.telemetry import Telemetry, make_logger
from tests.clients.driver import stock_client
from tests.serving import SECRET, make_token, send_request, service_token

PATIENCE = 30
HELD_UP = 0.05
EVENT = {"type": "job.assigned", "tenantId": 1, "jobId": 5, "assigneeId": 7}


def settings(folder: Path, **more: Any) -> Settings:
    return Settings(**{"jwt_secret": SECRET, "database": str(folder / "inbox.db"), "port": 0, **more})


@asynccontextmanager
async def running(configured: Settings, log: io.StringIO | None = None) -> AsyncIterator[Server]:
    server = Server(configured, telemetry=Telemetry(make_logger("json", "debug", log or io.StringIO())))
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            await nursery.start(server.run)
            yield server
            server.request_stop()


async def start(configured: Settings) -> None:
    """Start what must not start, as an embedding program would."""
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            await nursery.start(Server(configured, telemetry=Telemetry(make_logger("json", "critical"))).run)
            nursery.cancel_scope.cancel()
            raise AssertionError("it has started")


async def test_events_can_be_published_from_inside(tmp_path: Path) -> None:
    async with running(settings(tmp_path)) as server:
        event = JobAssigned(tenant_id=1, job_id=5, assignee_id=7, id="k")
        first, again = await server.publish(event), await server.publish(event)
        assert (first.repeated, again.repeated) == (False, True)
        assert first.answer == again.answer
        token = make_token(tenant_id=1, user_id=7)
        page = await send_request(server.url, "GET", "/api/notifications", token=token)
        assert page.json["unreadCount"] == 1
        with pytest.raises(Refused) as refused:
            await server.publish(JobAssigned(tenant_id=1, job_id=6, assignee_id=7, id="k"))
        assert refused.value.code == "idempotency_key_reused"
        tree = server.statistics()
        assert tree is not None
        assert [child.name for child in tree.children] == [
            "users",
            "announcer",
            "router",
            "clock",
            "retention",
            "room",
            "presence",
            "engine",
            "listener",
        ]


async def test_many_events_are_published_in_one_commit_and_a_refusal_loses_nothing(tmp_path: Path) -> None:
    async with running(settings(tmp_path, daily_limit=1000)) as server:
        events: list[DomainEvent] = [
            JobAssigned(tenant_id=1, job_id=n, assignee_id=7, id=f"k{n}") for n in range(1, 201)
        ]
        events[100] = JobAssigned(tenant_id=1, job_id=1000, assignee_id=7, id="k1")
        outcomes = await server.publish_all(events)
        assert [place for place, outcome in enumerate(outcomes) if not isinstance(outcome, Published)] == [100]
        assert isinstance(outcomes[100], Refused)
        metrics = (await send_request(server.url, "GET", "/metrics")).body.decode()
        # The clock's commits, which may come meanwhile, are of one command each.
        up_to = dict(re.findall(r'djactors_commit_commands_bucket\{le="(128|256).0"\} (\S+)', metrics))
        assert float(up_to["256"]) - float(up_to["128"]) == 1
        assert await server.publish_all([]) == []
        page = await send_request(
            server.url, "GET", "/api/notifications/unread-count", token=make_token(tenant_id=1, user_id=7)
        )
        assert page.json["count"] == 199


async def test_more_events_than_a_commit_takes_are_refused_before_anything_happens(tmp_path: Path) -> None:
    async with running(settings(tmp_path, commit_batch=2)) as server:
        event = JobAssigned(tenant_id=1, job_id=5, assignee_id=7)
        with pytest.raises(ValueError, match="3 events are more than one commit takes: publish at most 2 at a time"):
            await server.publish_all([event] * 3)
        page = await send_request(server.url, "GET", "/api/notifications", token=make_token(tenant_id=1, user_id=7))
        assert page.json["items"] == []


async def test_where_it_listens_is_told_and_logged(tmp_path: Path) -> None:
    log = io.StringIO()
    async with running(settings(tmp_path), log) as server:
        assert re.fullmatch(r"http://127.0.0.1:[0-9]+", server.url)
    [entry] = [
        entry for entry in map(msgspec.json.decode, log.getvalue().splitlines()) if entry["event"] == "listening"
    ]
    assert entry["url"] == server.url
    assert entry["addresses"] == [server.url.removeprefix("http://")]


async def test_a_server_that_was_not_started_says_so(tmp_path: Path) -> None:
    server = Server(settings(tmp_path))
    event = JobAssigned(tenant_id=1, job_id=5, assignee_id=7)
    with pytest.raises(ServerNotStarted, match=r"`await nursery.start\(server.run\)` first"):
        await server.publish(event)
    with pytest.raises(ServerNotStarted):
        await server.publish_all([event])
    with pytest.raises(ServerNotStarted):
        print(server.url)


async def test_a_server_that_was_stopped_takes_nothing_more(tmp_path: Path) -> None:
    async with running(settings(tmp_path)) as server:
        pass
    with pytest.raises(ActorStopped):
        await server.publish(JobAssigned(tenant_id=1, job_id=5, assignee_id=7))


async def test_events_from_inside_are_checked_as_those_over_http(tmp_path: Path) -> None:
    good = {"tenant_id": 1, "user_id": 2, "notification_type": "note", "priority": "LOW", "title": "Hello"}
    async with running(settings(tmp_path)) as server:
        for field, value in (
            ("priority", "SUPER"),
            ("title", "x" * 300),
            ("title", None),
            ("title", "a\0"),
            ("user_id", "02"),
            ("user_id", 2**70),
        ):
            event = NotificationRequested(**{**good, field: value})  # type: ignore[arg-type]
            with pytest.raises(Refused) as refused:
                await server.publish(event)
            assert refused.value.code is Code.INVALID
            body = {"type": "notification.requested", **msgspec.to_builtins(NotificationRequested(**good))}
            camel = {"user_id": "userId"}.get(field, field)
            answer = await send_request(
                server.url, "POST", "/api/events", token=service_token(), body={**body, camel: value}
            )
            assert (answer.status, answer.json["error"]["message"]) == (400, refused.value.message)
        page = await send_request(server.url, "GET", "/api/notifications", token=make_token(tenant_id=1, user_id=2))
        assert page.json["items"] == []


async def test_what_is_no_event_is_refused_and_hurts_no_other(tmp_path: Path) -> None:
    good = JobAssigned(tenant_id=1, job_id=5, assignee_id=7)
    async with running(settings(tmp_path)) as server:
        no_tenant = JobAssigned(tenant_id=[1], job_id=5, assignee_id=7)  # type: ignore[arg-type]
        for wrong in (None, EVENT, "job.assigned", JobAssigned, no_tenant):
            with pytest.raises(Refused, match=r"domain event, got `|tenantId") as refused:
                await server.publish(wrong)  # type: ignore[arg-type]
            assert refused.value.code is Code.INVALID
            first, second = await server.publish_all([wrong, good])  # type: ignore[list-item]
            assert isinstance(first, Refused)
            assert isinstance(second, Published)
            [alone] = await server.publish_all([wrong])  # type: ignore[list-item]
            assert isinstance(alone, Refused)


async def test_an_admin_sees_the_whole_house_and_how_long_its_loop_was_held_up(tmp_path: Path) -> None:
    async with running(settings(tmp_path)) as server:
        async with stock_client("js") as clients:
            socket_ = await clients.connect(server.url, auth={"token": make_token(tenant_id=1, user_id=7)})
            await socket_.expect("event", name="notification:unread-count")
            time.sleep(HELD_UP)  # what must not happen, and is to be seen when it does
            await trio.lowlevel.checkpoint()
            admin = make_token(tenant_id=1, user_id=9, role="admin")
            seen = (await send_request(server.url, "GET", "/api/admin/actors", token=admin)).json
        parts = {node["name"]: node for node in seen["tree"]["children"]}
        assert list(parts) == [
            "users",
            "announcer",
            "router",
            "clock",
            "retention",
            "room",
            "presence",
            "engine",
            "listener",
        ]
        assert {node["state"] for node in parts.values()} == {"running"}
        assert [row["userId"] for row in seen["users"]["rows"]] == [7]
        assert seen["sessions"]["polling"] + seen["sessions"]["websocket"] == 1
        assert seen["store"]["state"] == "running"
        assert seen["loop"]["worst"] >= HELD_UP
        metrics = (await send_request(server.url, "GET", "/metrics")).body.decode().splitlines()
        [lag] = [line for line in metrics if line.startswith("djactors_loop_lag_seconds ")]
        assert float(lag.split()[1]) >= HELD_UP


async def test_two_servers_on_two_files_live_side_by_side(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    async with running(settings(tmp_path / "a")) as one, running(settings(tmp_path / "b")) as two:
        assert (await send_request(one.url, "POST", "/api/events", token=service_token(), body=EVENT)).status == 201
        token = make_token(tenant_id=1, user_id=7)
        assert (await send_request(two.url, "GET", "/api/notifications", token=token)).json["items"] == []


async def test_a_server_that_was_stopped_or_cancelled_can_be_followed_by_another(tmp_path: Path) -> None:
    configured = settings(tmp_path)
    for _ in range(2):
        async with running(configured) as server:
            server.request_stop()
            server.request_stop()
            await server.wait_stopped()
        with trio.fail_after(PATIENCE):
            async with trio.open_nursery() as nursery:
                await nursery.start(Server(configured, telemetry=Telemetry(make_logger("json", "critical"))).run)
                nursery.cancel_scope.cancel()


async def test_a_start_that_fails_raises_what_is_documented(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.RaisesGroup(
            pytest.RaisesExc(ServerFailed, match=f"cannot listen on 127.0.0.1:{port}: Address already")
        ):
            await start(settings(tmp_path, port=port))
    async with running(settings(tmp_path)):
        with pytest.RaisesGroup(pytest.RaisesExc(DatabaseLocked, match="is in use by process")):
            await start(settings(tmp_path))
    (tmp_path / "text.db").write_text("Dear diary, " * 1000)
    with pytest.RaisesGroup(MigrationError):
        await start(settings(tmp_path, database=str(tmp_path / "text.db")))
    with pytest.RaisesGroup(FileNotFoundError):
        await start(settings(tmp_path, database=str(tmp_path / "missing" / "x.db")))
    async with running(settings(tmp_path)) as server:
        assert (await send_request(server.url, "GET", "/healthz")).status == 200, "nothing was left behind"


async def test_nobody_waits_for_ever_for_a_server_that_did_not_start(tmp_path: Path) -> None:
    server = Server(settings(tmp_path, database=str(tmp_path / "missing" / "x.db")))
    with pytest.raises(FileNotFoundError):
        await server.run()
    with trio.fail_after(PATIENCE):
        await server.wait_stopped()


@pytest.mark.parametrize("wrong", [{"jwt_secret": ""}, {"jwt_secret": "short"}, {"jwt_public_key_file": "/none.pem"}])
def test_a_server_without_a_key_is_not_made(tmp_path: Path, wrong: dict[str, str]) -> None:
    with pytest.raises(SettingError):
        Server(settings(tmp_path, **wrong))


async def test_a_fault_of_ours_is_500_without_details_and_the_server_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(api: Any, member: Any) -> Any:
        raise RuntimeError(f"/secret/path {member}")

    monkeypatch.setattr(inbox_routes, "state", fail)
    log = io.StringIO()
    token = make_token(tenant_id=1, user_id=7)
    async with running(settings(tmp_path), log) as server:
        for _ in range(3):
            answer = await send_request(server.url, "GET", "/api/notifications/unread-count", token=token)
            assert answer.status == 500
            assert answer.json["error"]["code"] == "internal"
            assert b"secret" not in answer.body
        assert (await send_request(server.url, "GET", "/api/notifications", token=token)).status == 200
    entries = [msgspec.json.decode(line) for line in log.getvalue().splitlines()]
    failures = [entry for entry in entries if entry["level"] == "error"]
    first, rest = failures
    assert "exception" in first
    assert rest["more"] == 2, "the first is told in full, the others are summed up"
    assert "RuntimeError" in str(failures[0])
    assert token not in log.getvalue()


async def test_a_server_that_gives_up_says_why(tmp_path: Path) -> None:
    server = Server(settings(tmp_path), telemetry=Telemetry(make_logger("json", "critical", io.StringIO())))
    with pytest.RaisesGroup(pytest.RaisesExc(ServerFailed, match="the database failed")), trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            await nursery.start(server.run)
            (tmp_path / "inbox.db").unlink()
            answer = await send_request(server.url, "POST", "/api/events", token=service_token(), body=EVENT)
            assert answer.status == 503


async def test_who_is_connected_hears_of_a_commit_that_the_router_crashed_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deliver = Users.deliver
    crashed: list[int] = []

    async def crash_once(users: Users, recorded: Recorded, committed_at: float) -> None:
        if recorded.changes and not crashed:
            crashed.append(1)
            raise RuntimeError("between the commit and its telling")
        await deliver(users, recorded, committed_at)

    monkeypatch.setattr(Users, "deliver", crash_once)
    async with running(settings(tmp_path)) as server, stock_client("js") as clients:
        token = make_token(tenant_id=1, user_id=7)
        socket_ = await clients.connect(server.url, auth={"token": token}, transports=["websocket"])
        await socket_.expect("event", name="notification:unread-count")
        with pytest.raises(ActorCrashed):
            await server.publish(JobAssigned(tenant_id=1, job_id=5, assignee_id=7))
        await socket_.expect("event", name="notification:new")
        counted = await socket_.expect("event", name="notification:unread-count")
        assert counted.args[0] == {"count": 1, "unseen": 1}
