"""Whoever may import is not believed: what they send touches nobody else, and what is wrong with it is said."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from djactors.domain.errors import Refused
from djactors.domain.importing import ABANDONED_AFTER, LONGEST, AbandonImport
from djactors.domain.times import utc_text
from djactors.inbox import importing, schema
from djactors.inbox.importing import MIGRATION, ROWS_OF_A_SLICE
from djactors.inbox.losses import losses
from djactors.inbox.proving import prove
from djactors.operations.backing_up import back_up
from djactors.operations.moving import move
from djactors.operations.sending_in import _beginning
from tests.edge.rooms import Answer
from tests.engines import open_connection
from tests.moving.conftest import rows_of
from tests.moving.sending import Place, Sending, of_tenants, sending, silent
from tests.operations.commands import run

MINE, THEIRS = 1, 900
NOBODY = 77_777

REFERENCES = {
    "jobs": ("requester_id", "assignee_id", "approver_id", "manager_id"),
    "job_watchers": ("job_id", "user_id"),
    "job_mutes": ("job_id", "user_id"),
    "job_comments": ("job_id", "author_id"),
    "comment_mentions": ("comment_id", "user_id"),
    "notifications": ("user_id",),
    "notification_spells": ("notification_id",),
    "user_days": ("user_id",),
}
"""The columns that point at rows which must be here."""


def line(row: dict[str, Any]) -> bytes:
    return json.dumps(row, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"


async def until(sender: Sending, table: str) -> tuple[int, list[bytes]]:
    """Send what comes before a table. Returns the number of its first row, and its lines."""
    before = [each for each in sender.slices if each[0] != table]
    place = next(place for place, each in enumerate(sender.slices) if each[0] == table)
    await sender.send(before[:place])
    return sender.slices[place][1], sender.slices[place][2]


@pytest.mark.parametrize(
    ("table", "column", "parents"),
    [("notification_spells", "notification_id", "notifications"), ("comment_mentions", "comment_id", "job_comments")],
)
async def test_nothing_is_put_into_another_tenant(
    tmp_path: Path, target: Place, folder: str, autojump_clock: object, table: str, column: str, parents: str
) -> None:
    async with sending(tmp_path, target, folder) as sender:
        room = sender.rooms
        await room.introduce(THEIRS, 7)
        created = {"type": "job.created", "tenantId": THEIRS, "actorId": 7, "requesterId": 7, "title": "Theirs"}
        assert (await room.publish(created)).status == 201
        with open_connection(target) as connection:
            [(job_id,)] = connection.execute("SELECT id FROM jobs").fetchall()
        await sender.begin()
        # Theirs have ids behind those that will come.
        await room.notify(THEIRS, 7)
        comment = {"type": "comment.added", "tenantId": THEIRS, "actorId": 7, "jobId": job_id, "text": "Ours"}
        assert (await room.publish(comment)).status == 201
        first, lines = await until(sender, table)
        with open_connection(target) as connection:
            [(theirs,)] = connection.execute(f"SELECT max(id) FROM {parents} WHERE tenant_id = {THEIRS}").fetchall()
        before = rows_of(target)[table]
        refused = await sender.rows(table, first, [line(json.loads(lines[0]) | {column: theirs})])
        assert (refused.status, refused.error) == (400, "invalid"), refused.body
        assert table in refused.json["error"]["message"]
        assert rows_of(target)[table] == before
        # What is right still goes on.
        assert (await sender.rows(table, first, lines)).status == 200


async def test_rows_that_fit_nowhere_are_refused_with_the_reason(
    tmp_path: Path, target: Place, folder: str, autojump_clock: object
) -> None:
    async with sending(tmp_path, target, folder) as sender:
        await sender.begin()
        tried: set[str] = set()
        for table, first, lines in sender.slices:
            before = of_tenants(target)
            row = json.loads(lines[0])
            nobody = [line(row | {column: NOBODY}) for column in REFERENCES.get(table, ()) if column in row]
            for each in [[one] for one in nobody] + ([[*lines, lines[0]]] if len(lines) < ROWS_OF_A_SLICE else []):
                refused = await sender.rows(table, first, each)
                assert (refused.status, refused.error) == (400, "invalid"), (table, refused.body)
                assert refused.json["error"]["message"].startswith(table)
            assert of_tenants(target) == before
            tried.add(table)
            assert (await sender.rows(table, first, lines)).status == 200
        assert len(tried) > 8
        assert (await sender.finish()).json["done"] is True


async def test_whatever_is_sent_is_answered(tmp_path: Path, target: Place, folder: str, autojump_clock: object) -> None:
    async with sending(tmp_path, target, folder) as sender:
        await sender.begin()
        table, first, lines = sender.slices[0]
        good = {"plan": sender.plan, "first": first, "table": table, "lines": b"".join(lines).decode()}
        strange: list[Any] = [None, True, -1, 0, 1.5, 2**53, 2**63, 2**64, 10**400, "", "\0", "1", [], {}, "x" * 10_000]
        routes = (
            ("", {}, ("manifest", "tenant", "highest", "tenantId")),
            ("/rows", good, ("plan", "first", "table", "lines", "tenantId")),
            ("/finish", {"plan": sender.plan}, ("plan", "tenantId")),
            ("/abandon", {}, ("after", "tenantId")),
        )
        for path, body, fields in routes:
            for field in fields:
                for value in strange:
                    whole = body if path else {"manifest": {}, "tenant": "", "highest": {}}
                    answer = await sender.post(path, **{"tenantId": MINE, **whole, field: value})
                    assert answer.status < 500, (path, field, value, answer.body)
        for raw in (b'{"tenantId":1,"after":"\\ud800"}', b"[" * 100_000, b'{"after":0,"after":[]}', b"\xff", b"\0"):
            for path in ("", "/rows", "/finish", "/abandon"):
                answer = await sender.rooms.request(
                    "POST", f"/api/imports{path}", token=sender.rooms.service(), body=raw
                )
                assert 400 <= answer.status < 500, (path, raw[:40], answer.body)


async def test_a_service_of_the_tenant_alone_does_not_import_it(
    tmp_path: Path, target: Place, folder: str, autojump_clock: object
) -> None:
    async with sending(tmp_path, target, folder) as sender:
        room = sender.rooms
        assert await sender.begin()
        for token in (room.service(MINE), room.token(MINE, 1, role="service")):
            for path, body in (("", _beginning(sender.parcel)), ("/finish", {"plan": sender.plan}), ("/abandon", {})):
                # While the tenant is here in part, whoever names a user of it is told that first.
                refused = await sender.post(path, token, **body)
                assert refused.status in (403, 503), (path, refused.body)


def test_the_migration_is_the_one_that_makes_the_table() -> None:
    assert MIGRATION in schema.names()


async def test_an_import_that_is_under_way_moves_along(
    tmp_path: Path, urls: Callable[[], str], folder: str, autojump_clock: object
) -> None:
    source, elsewhere = tmp_path / "source.db", urls()
    schema.apply(source)
    async with sending(tmp_path, source, folder) as sender:
        await sender.begin()
        await sender.send(sender.slices[:3])
    move(source, elsewhere, silent)
    async with sending(tmp_path, elsewhere, folder) as sender:
        begun = await sender.begin()
        assert begun.status == 200, begun.body
        assert (await sender.abandon()).json["done"] is True
        assert of_tenants(elsewhere)["tenants"] == []


async def test_the_last_answer_may_be_lost(tmp_path: Path, target: Place, folder: str, autojump_clock: object) -> None:
    async with sending(tmp_path, target, folder) as sender:
        plan = (await sender.begin()).json["plan"]
        last = sender.parcel.manifest.last.offset
        asked = {"plan": plan, "last": last}
        await sender.send()
        answers: list[Answer] = []
        async with trio.open_nursery() as nursery:

            async def finish() -> None:
                answers.append(await sender.post("/finish", **asked))

            nursery.start_soon(finish)
            nursery.start_soon(finish)
        assert [answer.json["done"] for answer in answers] == [True, True]
        assert (await sender.post("/finish", plan=plan, last="0.5")).status == 404
        assert (await sender.post("/finish", plan=plan, last="?")).status == 404
    async with sending(tmp_path, target, folder) as sender:
        # After a restart, and after something was told.
        await sender.rooms.notify(MINE, 1)
        assert (await sender.post("/finish", **asked)).json["done"] is True


async def test_what_was_abandoned_is_not_finished(
    tmp_path: Path, target: Place, folder: str, autojump_clock: object
) -> None:
    async with sending(tmp_path, target, folder) as sender:
        asked = {"plan": (await sender.begin()).json["plan"], "last": sender.parcel.manifest.last.offset}
        await sender.send()
        await sender.rooms.router.ask(AbandonImport(MINE, limit=1), 60)
        assert (await sender.post("/finish", **asked)).status in (400, 404)
        await sender.abandon()
        assert (await sender.post("/finish", **asked)).status == 404


async def test_nobody_keeps_retention_waiting_for_ever(
    tmp_path: Path, target: Place, folder: str, autojump_clock: object
) -> None:
    async with sending(tmp_path, target, folder) as sender:
        room = sender.rooms
        await sender.begin()
        each, number = ABANDONED_AFTER.total_seconds() / 2, 0
        [(table, first, lines), *_] = sender.slices
        while await room.store.stale_import() is None:
            with pytest.raises(Refused):
                await room.router.ask(AbandonImport(MINE, stale=True), 60)
            assert number * each <= LONGEST.total_seconds()
            if number < len(lines):
                assert (await sender.rows(table, first + number, [lines[number]])).status == 200
            else:
                with open_connection(target) as connection:
                    connection.execute("UPDATE imports SET touched_at = ?", (utc_text(room.clock.now()),))
            number += 1
            room.clock.advance(each)
        assert (await room.router.ask(AbandonImport(MINE, stale=True), 60)).done
        assert of_tenants(target)["tenants"] == []


async def test_an_abandoned_import_leaves_nothing_and_can_be_made_again(
    tmp_path: Path, target: Place, folder: str, autojump_clock: object
) -> None:
    async with sending(tmp_path, target, folder) as sender:
        room = sender.rooms
        await room.notify(THEIRS, 7)
        before = of_tenants(target)
        for upto in range(len(sender.slices) + 1):
            assert (await sender.begin()).status == 200
            await sender.send(sender.slices[:upto])
            # Crashed in the middle of it, and told by somebody to begin elsewhere.
            await room.router.ask(AbandonImport(MINE, limit=3), 60)
            assert (await sender.post("/abandon", after=2**50)).status == 400
            await sender.abandon()
            assert of_tenants(target) == before
        await sender.begin()
        await sender.send()
        assert (await sender.finish()).json["done"] is True


async def test_no_command_does_anything_with_a_half(
    tmp_path: Path, target: Place, folder: str, autojump_clock: object
) -> None:
    async with sending(tmp_path, target, folder) as sender:
        await sender.begin()
        await sender.send(sender.slices[:4])
    before, to = of_tenants(target), tmp_path / "to"
    whose = ("--tenant", "1", "--user", "1", "--database", str(target))
    for command in (
        ("export", "--json", str(to), *whose),
        ("export", "--json", str(to), "--tenant", "1", "--database", str(target)),
        ("inbox", *whose),
        ("sign-out", *whose),
        ("erase", *whose, "--yes"),
    ):
        done = await trio.to_thread.run_sync(partial(run, *command))
        assert done.exit_code == 1, (command, done.output)
        assert "is being imported" in done.stderr.splitlines()[-1]
    assert not to.exists()
    assert of_tenants(target) == before


async def test_a_backup_may_be_made_meanwhile(
    tmp_path: Path, target: Place, folder: str, autojump_clock: object
) -> None:
    async with sending(tmp_path, target, folder) as sender:
        await sender.rooms.notify(THEIRS, 7)
        await sender.begin()
        for table, first, lines in sender.slices:
            assert (await sender.rows(table, first, lines)).status == 200
            with open_connection(target) as connection:
                in_part = importing.under_way(connection)
                assert in_part == {MINE}
                assert prove(connection, lambda *_: None, in_part).tenants == 1
                assert losses(connection, connection) == []
            if table == "changes" and not isinstance(target, str):
                copy = back_up(target, tmp_path / f"copy {first}.db", silent)
                assert (copy.tenants, copy.behind) == (1, ())
