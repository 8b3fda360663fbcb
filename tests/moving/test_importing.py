"""A tenant is brought in beside those that a server serves: nobody sees a half of it, and nothing else is disturbed."""

from __future__ import annotations

import functools
import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
import trio
from click.testing import Result

from djactors.domain.commands import ExpireSlice, PurgeSlice, RaiseAlerts, SendSummaries, SignOut, WakeSnoozed
from djactors.domain.errors import Code, Refused
from djactors.domain.importing import ABANDONED_AFTER, AbandonImport, Imported
from djactors.domain.times import utc_text
from djactors.edge import import_routes
from djactors.inbox import following, importing, schema
from djactors.inbox.unit import UnitOfWork
from djactors.operations.asking import NotDoneError
from djactors.operations.bringing_in import bring_in
from djactors.operations.handing_over import export
from djactors.operations.sending_in import Server, _Arrived, _beginning, _slices
from djactors.store.errors import StoreInPart
from djactors.store.postgresql.conninfo import Conninfo
from djactors.store.sqlite.integrity import damage
from tests.edge.rooms import Rooms, rooms
from tests.edge.sockets import Client, settle
from tests.engines import open_connection
from tests.moving.sending import of_tenants, sending, silent
from tests.operations.commands import run
from tests.serving import make_token, serving

Place = str | Path


def nothing_dangles(place: Place) -> bool:
    """Whether no row points at one that is not there. PostgreSQL sees to that itself."""
    if isinstance(place, str):
        return True
    with open_connection(place) as connection:
        return connection.execute("PRAGMA foreign_key_check").fetchall() == []


async def test_it_is_served_whole_or_not_at_all(
    tmp_path: Path, target: Place, folder: str, house: Path, autojump_clock: object
) -> None:
    directly = tmp_path / "directly.db"
    schema.apply(directly)
    bring_in(directly, folder, silent)
    async with sending(tmp_path, target, folder) as sender:
        room = sender.rooms
        other = Client(room)
        # Who has asked before is known as nobody.
        assert (await room.request("GET", "/api/notifications", token=room.token(1, 1))).json["items"] == []
        await other.connect(token=room.token(900, 7))
        assert (await sender.begin()).status == 200
        await settle()
        assert not other.gone
        for count, (table, first, lines) in enumerate(sender.slices):
            assert (await sender.rows(table, first, lines)).status == 200
            if count % 4 == 0 or count == len(sender.slices) - 1:
                await nobody_is_served(room)
        # What is done for all tenants passes over it, however much is due.
        before = of_tenants(target)
        room.clock.advance(timedelta(days=400).total_seconds())
        for command in (RaiseAlerts(500), SendSummaries(500), WakeSnoozed(500), ExpireSlice(500)):
            assert (await room.router.ask(command, 60)).rows == 0
        for table in ("changes", "notifications", "domain_events", "suppressions", "user_days"):
            assert (await room.router.ask(PurgeSlice(table, timedelta(days=1), 500), 60)).rows == 0
        with open_connection(target) as connection:
            assert following.next_due(connection) is None
        assert of_tenants(target) == before
        room.clock.advance(-timedelta(days=400).total_seconds())
        assert await room.notify(900, 7) > max(_ids(house))
        answer = await sender.finish()
        assert (answer.status, answer.json) == (200, {"done": True, "judged": sender.parcel.manifest.rows})
        page = await room.inbox(1, 1)
        assert page["items"]
        assert page["offset"] == sender.parcel.manifest.last.offset
        again = Client(room)
        assert (await again.connect(token=room.token(1, 1)))[0][0] == "connect"
        assert not other.gone
        mine = {name: [row for row in rows if 900 not in row] for name, rows in of_tenants(target).items()}
        if not isinstance(target, str):
            # Those that people have made known by connecting, and the rest, are as they would be without a server.
            assert mine["notifications"] == of_tenants(directly)["notifications"]
            assert mine["changes"] == of_tenants(directly)["changes"]
        export(target, str(tmp_path / "back"), 1, silent)
        assert (await room.router.ask(RaiseAlerts(500), 60)).rows >= 0
        assert await room.notify(1, 1) > max(_ids(house))


def _ids(house: Path) -> list[int]:
    with closing(sqlite3.connect(house)) as connection:
        return [id_ for (id_,) in connection.execute("SELECT id FROM notifications WHERE tenant_id = 1")]


async def nobody_is_served(room: Rooms) -> None:
    token, post = room.token(1, 1), {"type": "tenant.upserted", "tenantId": 1, "name": "New"}
    answers = [
        await room.request("GET", "/api/notifications", token=token),
        await room.request("GET", "/api/jobs", token=token),
        await room.request("GET", "/api/people", token=token),
        await room.request("GET", "/api/changes?since=0", token=token),
        await room.publish(post),
        await room.request("POST", "/api/users/1/sign-out", token=room.service(1)),
    ]
    for answer in answers:
        assert (answer.status, answer.error) == (503, "tenant_importing"), answer.body
        assert answer.headers["retry-after"] == "1"
    with pytest.raises(Refused, match="being imported"):
        await room.router.ask(SignOut(1, 1), 60)
    client = Client(room)
    # A client that is disconnected comes back by itself.
    assert await client.connect(token=token) == []
    assert client.gone
    with pytest.raises(StoreInPart):
        await room.store.page(1, 1, limit=5)


async def test_it_goes_on_where_it_was_interrupted(
    tmp_path: Path, target: Place, folder: str, autojump_clock: object
) -> None:
    async with sending(tmp_path, target, folder) as sender:
        await sender.begin()
        table, first, lines = sender.slices[0]
        assert (await sender.rows(table, first, lines)).json == {"arrived": 1 + len(lines)}
        # A slice whose answer was lost, and one that comes too early.
        assert (await sender.rows(table, first, lines)).json == {"arrived": 1 + len(lines)}
        table, first, lines = sender.slices[2]
        early = await sender.rows(table, first, lines)
        assert (early.status, early.error) == (409, "conflict")
    async with sending(tmp_path, target, folder) as sender:
        # After a restart, or on another node.
        assert (await sender.post("/rows", plan="0" * 64, first=2, table="users", lines="{}\n")).status == 404
        begun = await sender.begin()
        assert begun.json["arrived"] == 1 + len(sender.slices[0][2])
        await nobody_is_served(sender.rooms)
        rest = list(_slices(sender.parcel, begun.json["arrived"]))
        assert rest == sender.slices[1:]
        assert await sender.send(rest) == sender.parcel.manifest.rows
    async with sending(tmp_path, target, folder) as sender:
        begun = await sender.begin()
        assert list(_slices(sender.parcel, begun.json["arrived"])) == []
        assert (await sender.finish()).json["done"] is True
        refused = await sender.begin()
        assert (refused.status, refused.error) == (409, "conflict")
        assert "is here already" in refused.json["error"]["message"]


async def test_what_is_not_what_was_sent_is_never_served(
    tmp_path: Path, target: Place, folder: str, autojump_clock: object
) -> None:
    async with sending(tmp_path, target, folder) as sender:
        await sender.rooms.notify(900, 7)
        before = of_tenants(target)
        await sender.begin()
        table, first, lines = sender.slices[0]
        row = json.loads(lines[0])
        for wrong in (
            b"{}\n",
            json.dumps(row).encode() + b"\n",
            lines[0].replace(b'"tenant_id":1', b'"tenant_id":2'),
            lines[0].replace(row["role"].encode(), b"emperor"),
        ):
            refused = await sender.rows(table, first, [wrong])
            assert (refused.status, refused.error) == (400, "invalid"), refused.body
        for more in ({"table": "tenants"}, {"table": "meta"}, {"lines": ""}, {"lines": "{}\n" * 251}, {"first": 0}):
            refused = await sender.rows(table, first, lines, **more)
            assert (refused.status, refused.error) == (400, "invalid"), refused.body
        await sender.send(sender.slices[:-1])
        table, first, lines = sender.slices[-1]
        assert table == "suppressions"
        last = json.loads(lines[-1])
        beyond = json.dumps({**last, "id": 2**40}, separators=(",", ":")).encode() + b"\n"
        assert "the highest that was announced" in (await sender.rows(table, first, [beyond])).json["error"]["message"]
        changed = [*lines[:-1], lines[-1].replace(last["reason"].encode(), b"another reason")]
        assert (await sender.rows(table, first, changed)).status == 200
        refused = await sender.finish()
        assert (refused.status, refused.error) == (400, "invalid")
        assert "what arrived is not what the manifest says" in refused.json["error"]["message"]
        await nobody_is_served(sender.rooms)
        assert (await sender.abandon()).json["done"] is True
        assert of_tenants(target) == before
        assert (await sender.abandon()).status == 404
        assert (await sender.rows(table, first, lines)).status == 404
        # And anew.
        await sender.begin()
        await sender.send()
        assert (await sender.finish()).json["done"] is True


async def test_it_is_removed_in_slices_and_not_gone_on_with(
    tmp_path: Path, target: Place, folder: str, autojump_clock: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(import_routes, "PIECE_SECONDS", 0.0)
    async with sending(tmp_path, target, folder) as sender:
        room = sender.rooms
        before = of_tenants(target)
        await sender.begin()
        await sender.send()
        done = await room.router.ask(AbandonImport(1, limit=10), 60)
        assert (done.done, done.arrived) == (False, 10)
        assert (await sender.finish()).status == 400
        other = await sender.begin()
        assert (other.status, other.error) == (409, "conflict")
        await nobody_is_served(room)
        pieces = 1
        while not done.done:
            assert nothing_dangles(target)
            done = await room.router.ask(AbandonImport(1, limit=50), 60)
            assert done.arrived <= 50
            pieces += 1
        assert pieces > 5
        assert of_tenants(target) == before


async def test_no_slice_of_a_removal_looks_through_the_events_of_all_tenants(
    tmp_path: Path, sqlite_file: Path, folder: str, autojump_clock: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    events, limit, instructions_a_count = 50_000, 250, 100
    counts: list[int] = []
    abandon = importing.abandon

    def counted(unit: UnitOfWork, command: AbandonImport) -> Imported:
        assert isinstance(unit.connection, sqlite3.Connection)

        def one_more() -> int:
            counts[-1] += 1
            return 0

        counts.append(0)
        unit.connection.set_progress_handler(one_more, instructions_a_count)
        try:
            return abandon(unit, command)
        finally:
            unit.connection.set_progress_handler(None, 0)

    monkeypatch.setattr(importing, "abandon", counted)
    async with sending(tmp_path, sqlite_file, folder) as sender:
        room = sender.rooms
        await room.notify(2, 7)
        with open_connection(sqlite_file) as connection:
            connection.execute(
                """WITH RECURSIVE more (number) AS (SELECT 1 UNION ALL SELECT number + 1 FROM more WHERE number < ?)
                INSERT INTO domain_events (id, tenant_id, type, seq, occurred_at, received_at)
                SELECT 1000000 + number, tenant_id, type, seq, occurred_at, received_at
                FROM domain_events, more WHERE id = 1""",
                (events,),
            )
        await sender.begin()
        await sender.send()
        done = Imported(0)
        while not done.done:
            done = await room.router.ask(AbandonImport(1, limit=limit), 60)
        assert max(counts) * instructions_a_count < events
        assert len(counts) > events / limit


async def test_what_comes_with_a_removal_is_recorded_beside_it(
    tmp_path: Path, target: Place, folder: str, autojump_clock: object
) -> None:
    async with sending(tmp_path, target, folder) as sender:
        room = sender.rooms
        await sender.begin()
        await sender.send()
        async with trio.open_nursery() as nursery:
            for number in range(20):
                nursery.start_soon(room.notify, 2, number + 1)
            await sender.abandon()
        assert nothing_dangles(target)
        assert len(of_tenants(target)["notifications"]) == 20


async def test_one_that_stands_still_is_removed(
    tmp_path: Path, target: Place, folder: str, autojump_clock: object
) -> None:
    async with sending(tmp_path, target, folder) as sender:
        room = sender.rooms
        await sender.begin()
        assert await room.store.stale_import() is None
        with pytest.raises(Refused) as refused:
            await room.router.ask(AbandonImport(1, stale=True), 60)
        assert refused.value.code is Code.NOT_FOUND
        room.clock.advance(ABANDONED_AFTER.total_seconds() + 1)
        assert await room.store.stale_import() == 1
        assert (await room.router.ask(AbandonImport(1, stale=True), 60)).done
        assert await room.store.stale_import() is None
        assert (await room.publish({"type": "tenant.upserted", "tenantId": 1, "name": "New"})).status == 201


async def test_who_may_and_what_is_announced(
    tmp_path: Path, target: Place, folder: str, autojump_clock: object
) -> None:
    async with sending(tmp_path, target, folder) as sender:
        room = sender.rooms
        for token in (room.token(1, 1, role="admin"), room.service(2), room.service(1)):
            refused = await sender.post("", token, **_beginning(sender.parcel))
            assert (refused.status, refused.error) == (403, "forbidden")
        manifest = _beginning(sender.parcel)["manifest"]
        for wrong in (
            {"manifest": {**manifest, "version": 2}},
            {"manifest": {**manifest, "schema": {}}},
            {"manifest": {**manifest, "tenantId": 2}},
            {"highest": {"meta": 1}},
            {"highest": {"notifications": 2**53}},
            {"tenant": "{}\n"},
        ):
            refused = await sender.begin(**wrong)
            assert (refused.status, refused.error) == (400, "invalid"), (wrong, refused.body)
        assert of_tenants(target)["tenants"] == []
        # Somebody else's ids.
        for _ in range(max(_ids(Path(folder).parent / "house.db"))):
            await room.notify(900, 7)
        await sender.begin()
        answers = [await sender.rows(*each) for each in sender.slices]
        refused = next(answer for answer in answers if answer.status != 200)
        assert (refused.status, refused.error) == (409, "conflict")
        assert "is another tenant's" in refused.json["error"]["message"]


async def test_another_node_serves_nobody_with_a_half(
    urls: Callable[[], str], tmp_path: Path, folder: str, autojump_clock: object
) -> None:
    place = urls()
    schema.apply(place)
    async with sending(tmp_path, place, folder) as sender, rooms(tmp_path, place) as other:
        await other.publish({"type": "user.upserted", "tenantId": 900, "userId": 7, "name": "Known", "role": "user"})
        await sender.begin()
        await sender.send(sender.slices[:6])
        await nobody_is_served(other)
        with open_connection(place) as connection:
            wanted = following.Wanted(following.Position(following.Offset(0, 0), 0))
            assert following.follow(connection, {1: wanted})[1].in_part
        # The other goes on with it.
        plan = sender.plan
        sender.rooms = other
        await sender.send(sender.slices[6:])
        assert (await sender.finish()).json["done"] is True
        assert plan == sender.plan
        assert (await other.inbox(1, 1))["items"]
        now = utc_text(other.clock.now())
        with psycopg.connect(**Conninfo.of(place).parameters, autocommit=True) as connection:
            connection.execute("INSERT INTO nodes VALUES ('old', %s, %s, '0.0.1', 'http://x', 0, 0)", (now, now))
        with pytest.raises(Refused, match=r"node old is of version 0\.0\.1"):
            await other.router.ask(importing.BeginImport(77, "x", (), (), {}, "9.9"), 60)


async def command(*arguments: str, **options: Any) -> Result:
    return await trio.to_thread.run_sync(functools.partial(run, *arguments, **options))


async def test_the_command_brings_a_tenant_into_a_running_server(tmp_path: Path, folder: str) -> None:
    async with serving(tmp_path) as server:
        where = ("--url", server.url)
        held = await command("import", folder, "--database", str(server.database))
        assert held.stderr.splitlines()[-1].endswith("or import through the server with --url")
        nothing = await command("import", folder, "--abandon", *where)
        assert nothing.stderr.splitlines()[-1].endswith("is not being imported there: there is nothing to abandon")
        wrong = {"DJACTORS_TOKEN": make_token(tenant_id=1, user_id=1)}
        refused = await command("import", folder, *where, environment=wrong)
        assert "only a service may import a tenant" in refused.stderr.splitlines()[-1]
        done = await command("import", folder, *where)
        assert done.exit_code == 0, done.output
        assert done.stdout.endswith("offsets of clients hold here, the server serves it now\n")
        page = await server.request("GET", "/api/notifications", token=make_token(tenant_id=1, user_id=1))
        assert page.status == 200
        assert page.json["items"]
        again = await command("import", folder, *where)
        assert "is here already" in again.stderr.splitlines()[-1]
        assert await server.stop() == 0
    with closing(sqlite3.connect(server.database)) as connection:
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        assert damage(connection, "integrity_check", 10_000) is None
    gone = await command("import", folder, *where)
    assert "cannot be reached" in gone.stderr.splitlines()[-1]


async def test_without_a_server_a_half_is_removed_by_the_command(
    tmp_path: Path, target: Place, folder: str, autojump_clock: object
) -> None:
    async with sending(tmp_path, target, folder) as sender:
        await sender.begin()
        await sender.send(sender.slices[:3])
    where = ("--database", str(target))
    stuck = await command("import", folder, *where)
    assert "with --abandon, and then again" in stuck.stderr.splitlines()[-1]
    removed = await command("import", folder, "--abandon", *where)
    assert removed.stdout == "removed what had arrived of tenant 1\n"
    done = await command("import", folder, *where)
    assert done.exit_code == 0, done.output


def test_what_passes_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    from djactors.config import Settings
    from djactors.operations import sending_in

    answers: list[Any] = [NotDoneError("gone"), NotDoneError("busy", 503), {"arrived": 3}]
    slept: list[float] = []

    def ask(*_: Any, of_all: bool, ssl_context: None) -> Any:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(sending_in, "ask", ask)
    server = Server(Settings(), "http://x", None, slept.append)
    assert server.ask("/rows", {}, _Arrived).arrived == 3
    assert len(slept) == 2
    answers[:] = [NotDoneError("refused", 409)]
    with pytest.raises(NotDoneError, match="refused"):
        server.ask("/rows", {}, _Arrived)
    answers[:] = [NotDoneError("gone")] * 5
    with pytest.raises(NotDoneError, match="gone"):
        server.ask("/rows", {}, _Arrived, patience=2)
