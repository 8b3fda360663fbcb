"""Rows 5 to 7, 33 and 38: what other people and programs do to the database file."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import trio

from tests.faults.backend import ENVIRONMENT, TENANT, USER, Backend
from tests.faults.commands import PATIENCE, command, complaint, refusal
from tests.serving import make_token, serving

PAGE = 4096


async def killed(folder: Path, backend: Backend, posts: int = 3) -> Path:
    """The database of a server that took some events and was killed; most of it is in its log."""
    async with serving(folder, environment=ENVIRONMENT) as server:
        for _ in range(posts):
            assert await backend.post(server) == 201
        server.kill()
        await server.process.wait()
    assert server.database.with_name("inbox.db-wal").stat().st_size > 0
    return server.database


def left(folder: Path) -> dict[str, bytes]:
    """All that can be recovered from."""
    return {file.name: file.read_bytes() for file in folder.iterdir() if file.name.startswith("inbox.db")}


async def test_row_5_a_read_only_database_is_refused(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        assert await server.stop() == 0
    server.database.chmod(0o444)
    line = refusal(await command("serve", "--database", server.database, folder=tmp_path, bound_by_rights=True))
    assert f"{server.database}: it is read-only: give this user the right to write it" in line


async def test_row_5_a_folder_that_may_not_be_written_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    async with serving(folder) as server:
        assert await server.stop() == 0
    for file in folder.iterdir():
        if file != server.database:
            file.unlink()
    folder.chmod(0o555)
    line = refusal(await command("serve", "--database", server.database, folder=tmp_path, bound_by_rights=True))
    assert str(server.database) in line
    assert "Permission denied" in line


async def test_row_6_the_loop_goes_on_while_a_write_waits_for_the_lock_of_another_process(tmp_path: Path) -> None:
    environment = {**ENVIRONMENT, "DJACTORS_BUSY_TIMEOUT": "60"}
    backend = Backend()
    token = make_token(tenant_id=TENANT, user_id=USER)
    statuses: list[int | None] = []

    async def post() -> None:
        statuses.append(await backend.post(server))

    async with serving(tmp_path, environment=environment) as server, trio.open_nursery() as nursery:
        assert await backend.post(server) == 201
        with closing(sqlite3.connect(server.database, isolation_level=None)) as holder:
            holder.execute("BEGIN IMMEDIATE")
            nursery.start_soon(post)
            for _ in range(20):
                assert (await server.request("GET", "/healthz")).status == 200
                assert (await server.request("GET", "/api/notifications", token=token)).json["unreadCount"] == 1
            # It is the write that is asked for by /readyz that waits longest of all, and that is no answer to wait for.
            ready = await server.request("GET", "/readyz")
            assert ready.status == 503
            assert statuses == []
            holder.execute("ROLLBACK")
        with trio.fail_after(PATIENCE):
            while not statuses:
                await trio.sleep(0.01)
        assert statuses == [201]
        assert await server.stop() == 0
    backend.judge(server.database)


def foreign(database: Path) -> None:
    database.unlink()
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("CREATE TABLE tracks (title TEXT)")


def truncated(database: Path) -> None:
    os.truncate(database, database.stat().st_size // 2)


def with_a_torn_header(database: Path) -> None:
    with database.open("r+b") as file:
        file.write(bytes(50))


def with_a_damaged_schema(database: Path) -> None:
    # Behind the header of the file, the first page has the names of all tables.
    with database.open("r+b") as file:
        file.seek(100)
        file.write(b"\xff" * (PAGE - 100))


SPOILED: dict[Callable[[Path], None], str] = {
    foreign: "it is an SQLite database of another program",
    truncated: "it is corrupt: move it away and restore a backup",
    with_a_torn_header: "it is not an SQLite database",
    with_a_damaged_schema: "it is corrupt: move it away and restore a backup",
}


async def test_row_7_a_foreign_or_corrupt_file_is_refused_with_the_mend_and_left_as_it_is(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        assert await server.stop() == 0
    for spoil, mend in SPOILED.items():
        database = tmp_path / spoil.__name__ / "inbox.db"
        database.parent.mkdir()
        shutil.copy(server.database, database)
        spoil(database)
        before = database.read_bytes()
        line = refusal(await command("serve", "--database", database, folder=tmp_path))
        assert f"{database}: {mend}" in line
        assert database.read_bytes() == before


async def test_row_33_a_second_server_through_a_hard_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    async with serving(tmp_path) as server:
        link = tmp_path / "elsewhere/link.db"
        link.hardlink_to(server.database)
        for name in ("serve", "migrate"):
            line = refusal(await command(name, "--database", link, folder=tmp_path))
            assert f"process {server.process.pid}" in line
        assert await server.stop() == 0


async def test_row_33_a_second_server_after_the_lock_file_was_removed_is_refused(tmp_path: Path) -> None:
    backend = Backend()
    async with serving(tmp_path, environment=ENVIRONMENT) as server:
        server.database.with_name("inbox.db.lock").unlink()
        for name in ("serve", "migrate"):
            line = refusal(await command(name, "--database", server.database, folder=tmp_path))
            assert "in use by" in line
        assert await backend.post(server) == 201
        assert await server.stop() == 0
    backend.judge(server.database)


async def test_row_38_a_deleted_database_is_not_made_anew_over_what_its_log_holds(tmp_path: Path) -> None:
    backend = Backend()
    database = await killed(tmp_path, backend)
    kept = tmp_path / "kept"
    database.rename(kept)
    for empty in (False, True):
        # An empty file is what `touch`, or a program that opens before it looks, puts there.
        if empty:
            database.touch()
        before = left(tmp_path)
        for name in ("serve", "migrate"):
            line = refusal(await command(name, "--database", database, folder=tmp_path))
            assert f"{database}-wal" in line
            assert "restore" in line
        assert left(tmp_path) == before | {"inbox.db.lock": left(tmp_path)["inbox.db.lock"]}
        # A look is no reason to make it either.
        assert (await command("check", "--database", database, folder=tmp_path)).returncode == 1
    database.unlink()
    kept.rename(database)
    async with serving(tmp_path, environment=ENVIRONMENT) as server:
        await backend.post_again(server)
        assert await server.stop() == 0
    backend.judge(database)


async def test_row_38_a_database_that_was_deleted_after_a_good_end_is_missed(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        assert await server.stop() == 0
    server.database.unlink()
    line = refusal(await command("serve", "--database", server.database, folder=tmp_path))
    assert f"{server.database}.lock" in line
    assert "restore" in line
    # Whoever wants to begin anew does as the line says.
    server.database.with_name("inbox.db.lock").unlink()
    async with serving(tmp_path) as server:
        assert (await server.request("GET", "/readyz")).status == 200


async def test_row_38_a_start_that_never_came_to_a_database_is_no_reason_to_refuse_the_next(tmp_path: Path) -> None:
    (tmp_path / "inbox.db.lock").write_text("")
    async with serving(tmp_path) as server:
        assert (await server.request("GET", "/readyz")).status == 200


async def test_row_38_a_database_that_is_replaced_under_the_server_ends_it(tmp_path: Path) -> None:
    backend = Backend()
    async with serving(tmp_path, environment=ENVIRONMENT) as server:
        assert await backend.post(server) == 201
        shutil.copy(server.database, tmp_path / "copy")
        (tmp_path / "copy").replace(server.database)
        assert await backend.post(server) == 503
        with trio.fail_after(PATIENCE):
            assert await server.process.wait() == 1
    assert "was replaced by another file" in complaint(server)


async def test_row_38_an_old_copy_beside_the_log_of_a_newer_one_is_refused(tmp_path: Path) -> None:
    backend = Backend()
    copy = tmp_path / "copy"
    async with serving(tmp_path, environment=ENVIRONMENT) as server:
        assert await server.stop() == 0
    shutil.copy(server.database, copy)
    async with serving(tmp_path, environment=ENVIRONMENT) as server:
        for _ in range(100):
            assert await backend.post(server, "text " * 200) == 201
        assert await server.stop() == 0
    database = await killed(tmp_path, backend)
    newer = tmp_path / "newer"
    shutil.copy(database, newer)
    shutil.copy(copy, database)
    before = left(tmp_path)
    line = refusal(await command("serve", "--database", database, folder=tmp_path))
    assert f"{database}-wal" in line
    assert (await command("check", "--database", database, folder=tmp_path)).returncode == 1
    after = left(tmp_path)
    assert (after["inbox.db"], after["inbox.db-wal"]) == (before["inbox.db"], before["inbox.db-wal"])
    # The one that the log belongs to is put back, or the copy is taken as it is.
    shutil.copy(newer, database)
    async with serving(tmp_path, environment=ENVIRONMENT) as server:
        await backend.post_again(server)
        assert await server.stop() == 0
    backend.judge(database)


async def test_row_38_a_damaged_page_is_contained(tmp_path: Path) -> None:
    backend = Backend()
    async with serving(tmp_path, environment=ENVIRONMENT) as server:
        for number in range(60):
            assert await backend.post(server, f"text {number} " * 200) == 201
        assert await server.stop() == 0
    damage(server.database, b"text 1 text 1 text 1 ")
    token = make_token(tenant_id=TENANT, user_id=USER)
    async with serving(tmp_path, environment=ENVIRONMENT) as server:
        # The newest are on other pages, the oldest are on the damaged one.
        page = (await server.request("GET", "/api/notifications?limit=20", token=token)).json
        assert len(page["items"]) == 20
        statuses = []
        while page["nextBefore"] is not None:
            path = f"/api/notifications?limit=20&before={page['nextBefore']}"
            answer = await server.request("GET", path, token=token)
            statuses.append(answer.status)
            if answer.status != 200:
                break
            page = answer.json
        assert statuses == [200, 503]
        # What is written meanwhile is committed, and only the command that needs the page is refused.
        async with trio.open_nursery() as nursery:
            for _ in range(8):
                nursery.start_soon(backend.post, server)
            read = await server.request("POST", "/api/notifications/2/read", token=token)
        assert read.status == 503
        assert [one for one in backend.history.records if getattr(one, "status", 201) != 201] == []
        assert len(backend.acknowledged) == 68
        assert (await server.request("GET", "/readyz")).status == 200
        assert await server.stop() == 0
    log = server.errors.read_text()
    assert "Traceback" not in log
    assert "the database is damaged: find out where with `djactors check`, and restore a backup" in log
    checked = await command("check", "--database", server.database, folder=tmp_path)
    assert checked.returncode == 1
    assert b"is damaged in the table notifications (" in checked.stdout + checked.stderr


def damage(database: Path, text: bytes) -> None:
    """Spoil the one page that begins a text."""
    content = bytearray(database.read_bytes())
    place = content.index(text) // PAGE * PAGE
    content[place : place + PAGE] = b"\xff" * PAGE
    database.write_bytes(content)
